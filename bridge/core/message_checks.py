"""Check the messages of clients and servers against the schemas of their revision (`validate = "strict"`). Pure.

A message is checked on the side where it enters, before any translation, in the revision of that side. Its bytes are not
changed. The revision of a server is that of its response to `initialize`, and 2026-07-28 for a process that gets no
`initialize`.
"""

import re
from typing import Final, NamedTuple

from ...validators.jsonrpc import Message, Request, Response
from ...validators.mcp_params import read_cancelled
from ...validators.message_schemas.check import Fault, Side, error_fault, params_fault, result_fault
from ...validators.revisions import MODERN_REVISION
from .handshake import revision_named

# The beginning of a line to a server (jsonrpc.request, jsonrpc.notification).
_REQUEST: Final = re.compile(rb'\{"jsonrpc":"2\.0","id":([^,]++),"method":"([^"\\]++)"')
_CANCELLED: Final = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":'
_INITIALIZE: Final = "initialize"


class Invalid(NamedTuple):
    """A message that does not fit. `method` is that of the request where the message is a response."""

    method: str
    version: str
    fault: Fault

    def __str__(self) -> str:
        """Return a clause for an error text."""
        return f"{self.method} in MCP {self.version}: {self.fault}"


def check_message(message: Message, version: str, sender: Side, method: str) -> Invalid | None:
    """Return why a message does not fit, None if it does. `method` is that of the request that a response answers."""
    fault: Fault | None
    if isinstance(message, Response):
        if message.error:
            fault = error_fault(version, message.error)
        else:
            fault = result_fault(version, sender, method, message.result)
    else:
        method = message.method
        is_request = isinstance(message, Request)
        fault = params_fault(version, sender, method, message.params, request=is_request)
    return None if fault is None else Invalid(method, version, fault)


class ServerChecks:
    """The checks of the messages of one server process, and of the processes that replace it."""

    def __init__(self) -> None:
        # Empty while `initialize` has no response. Messages before that pass.
        self._version = MODERN_REVISION
        # Methods by wire id of the requests that the server has not answered.
        self._methods: dict[bytes, str] = {}

    def on_sent(self, line: bytes) -> None:
        """Record a line to the server."""
        request = _REQUEST.match(line)
        if request is not None:
            method = request[2].decode(errors="replace")
            if method == _INITIALIZE:
                self._version = ""
                self._methods.clear()
            self._methods[request[1]] = method
        elif line.startswith(_CANCELLED):
            named, _ = read_cancelled(line[len(_CANCELLED) : line.rindex(b"}")])
            self._methods.pop(named, None)

    def check(self, message: Message) -> Invalid | None:
        """Return why a message of the server does not fit, None if it does or is not awaited."""
        method = ""
        if isinstance(message, Response):
            method = self._methods.pop(message.id, "")
            if not method:
                return None
            if method == _INITIALIZE:
                self._version = revision_named(bytes(message.result))
        return check_message(message, self._version, "server", method) if self._version else None
