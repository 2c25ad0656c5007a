"""Check the content of requests of clients and of messages of a server, as far as the configuration of the server asks for it. Pure.

This is the one place of the message path that looks into arguments and results: `on_request` for a request of a client before
it reaches the server, `on_response` for each response of the server, also an error, before it reaches the client, and
`on_notification` and `on_server_request` for its other messages. They are called only if a check is on. Everything passes
unchanged that no check refuses or changes.
"""

from collections.abc import Callable
from typing import Final

import attrs

from ...validators.jsonrpc import Notification, Request, Response
from .schema_checks import OFF, Finding, SchemaChecks, ToolSchemas
from .text_checks import NO_TEXTS, TextChecks, TextModes


@attrs.frozen
class ContentModes:
    """The checks of one server: each is off, reports (warn), or refuses too (refuse)."""

    arguments: str = OFF
    output: str = OFF
    texts: TextModes = NO_TEXTS

    @property
    def on(self) -> bool:
        """Return whether any check is on."""
        return self.reads_schemas or self.texts.on

    @property
    def reads_schemas(self) -> bool:
        """Return whether schemas of tools are needed."""
        return self.arguments != OFF or self.output != OFF


NO_CHECKS: Final = ContentModes()
# Methods whose findings have the name of the tool or prompt. That of a resource is its URI.
_NAMED: Final = frozenset({"tools/call", "prompts/get"})


class ContentPolicy:
    """The checks of one server. `report` gets each finding."""

    def __init__(self, modes: ContentModes, report: Callable[[Finding], None], server: str = "") -> None:
        self._schemas = SchemaChecks(modes.arguments, modes.output, report) if modes.reads_schemas else None
        self._texts = TextChecks(modes.texts, server, report) if modes.texts.on else None

    def needs_tools(self, tools: ToolSchemas, method: str) -> bool:
        """Return whether a request with this method cannot be checked before the tools are listed."""
        return self._schemas is not None and method == "tools/call" and not tools.known

    def on_request(self, tools: ToolSchemas, request: Request, name: str, version: str) -> Request | Response:
        """Return the request as the server gets it, or the response to a request that is refused. Raises Rejection.

        `tools` is what the connection of the client knows of the tools, `name` the name of the tool or prompt, and `version`
        the revision of the client.
        """
        if self._schemas is not None and request.method == "tools/call":
            return self._schemas.on_call(tools, request, name, version)
        return request

    def on_response(self, tools: ToolSchemas, method: str, name: str, message: Response) -> Response:
        """Return the response to a request with this method as its client gets it."""
        if self._schemas is not None and not message.error:
            if method == "tools/call":
                message = self._schemas.on_result(tools, name, message)
            elif method == "tools/list":
                self._schemas.on_list(tools, message)
        if self._texts is None:
            return message
        return self._texts.on_response(name if method in _NAMED else "", message)

    def on_notification(self, message: Notification) -> Notification | None:
        """Return a notification of the server as its client gets it, or None if the client does not get it."""
        return message if self._texts is None else self._texts.on_notification(message)

    def on_server_request(self, message: Request) -> Request | Response:
        """Return a request of the server as its client gets it, or the response that the server gets in its place."""
        return message if self._texts is None else self._texts.on_server_request(message)
