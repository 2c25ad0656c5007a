"""The handshake of a legacy client in front of a modern server, which has none (MCP 2025-11-25 basic/lifecycle).

The result of `initialize` is made of the result of `server/discover`. The capabilities of the client go into the envelope of
each request (MCP 2026-07-28 basic/index#meta). Pure.
"""

from typing import Final

import msgspec

from ...validators import json_object, stateless_request
from ...validators.revisions import LATEST_LEGACY, LEGACY_REVISIONS, MODERN_REVISION
from ..core import extensions, input_over
from . import rules_modern_to_legacy

# The log level until the client sets one: a legacy server logs by default, a modern server only if a request names a level.
DEFAULT_LEVEL: Final = "info"


class ClientHandshake:
    """Both sides of a handshake, as far as they are known.

    `name` is the name of a server that sends none. `level` is the first log level, empty for no log messages. With `own`, the
    server is a part of the bridge that supports the extension `input_over`.
    """

    def __init__(self, name: str, level: str, *, own: bool) -> None:
        self._name = name
        self._own = own
        self.level = level
        # The revision of the client, empty before `initialize`.
        self.revision = ""
        # The capabilities of the client, by name, and as the JSON text for the envelope.
        self.declared: json_object.Members = {}
        self._capabilities = b"{}"
        self._client_info: msgspec.Raw | None = None
        # The capabilities of the server, by name, and whether an extension is among them.
        self.offered: json_object.Members = {}
        self.has_extensions = False

    def begin(self, params: bytes) -> None:
        """Read the params of `initialize`."""
        found = json_object.read(params)
        wanted = json_object.string(found.get("protocolVersion"))
        self.revision = wanted if wanted in LEGACY_REVISIONS else LATEST_LEGACY
        capabilities = rules_modern_to_legacy.modern_client_capabilities(
            self.revision, found.get("capabilities")
        )
        self.declared = json_object.peek(capabilities)
        if self._own:
            capabilities = rules_modern_to_legacy.add_extension(capabilities, input_over.EXTENSION)
        self._capabilities = capabilities
        info = found.get("clientInfo")
        # A copy, so that the message of the client is not kept in memory.
        self._client_info = None if info is None else msgspec.Raw(bytes(info))

    def complete(self, discovered: bytes | msgspec.Raw) -> bytes:
        """Return the result of `initialize` for the result of `server/discover`."""
        result = rules_modern_to_legacy.initialize_result(self.revision, discovered, self._name)
        offered = bytes(json_object.peek(result)["capabilities"])
        self.offered = json_object.peek(offered)
        self.has_extensions = bool(extensions.names_in(offered))
        return result

    def set_level(self, params: bytes) -> bool:
        """Store the log level of `logging/setLevel`. Returns False if there is no such level."""
        level = json_object.string(json_object.peek(params).get("level"))
        if level not in stateless_request.LOG_LEVELS:
            return False
        self.level = level
        return True

    def offers(self, capability: str, setting: str) -> bool:
        """Return whether the server has declared this setting of a capability."""
        return bytes(json_object.peek(self.offered.get(capability)).get(setting, b"")) == b"true"

    def passes(self, method: str) -> bool:
        """Return whether a method belongs to an extension, whose messages pass unchanged."""
        return self.has_extensions and not extensions.is_core(method)

    def envelope(
        self, params: dict[str, object], *, token: bytes = b"", level: str = "", tasks: bool = False
    ) -> bytes:
        """Add the envelope to params and return them as JSON text.

        `token` replaces the progress token, if there is one. With `tasks` the request declares the tasks extension, which a
        server requires for a call that becomes a task.
        """
        meta: dict[str, object] = {**json_object.peek(_raw_or_none(params.get("_meta")))}
        if token and "progressToken" in meta:
            meta["progressToken"] = json_object.raw(token)
        capabilities = self._capabilities
        if tasks:
            capabilities = rules_modern_to_legacy.add_extension(capabilities, extensions.TASKS)
        meta[stateless_request.PROTOCOL_VERSION] = MODERN_REVISION
        meta[stateless_request.CLIENT_CAPABILITIES] = json_object.raw(capabilities)
        if self._client_info is not None:
            meta[stateless_request.CLIENT_INFO] = self._client_info
        if level:
            meta[stateless_request.LOG_LEVEL] = level
        params["_meta"] = meta
        return json_object.write(params)


def _raw_or_none(value: object) -> msgspec.Raw | None:
    return value if isinstance(value, msgspec.Raw) else None
