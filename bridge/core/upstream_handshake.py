"""The `initialize` of a shared server process, on behalf of all its clients (MCP 2025-11-25 basic/lifecycle). Pure."""

from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from ...validators import json_object
from ...validators.jsonrpc import Notification, Request
from ...validators.list_changes import declared_changes
from ...validators.revisions import LATEST_LEGACY, LEGACY_REVISIONS, negotiated_version
from . import extensions
from .access_policy import AccessPolicy
from .handshake import client_info

# The capabilities in `initialize`. A request that the client of the call has not declared is refused.
_CAPABILITIES: Final = msgspec.json.encode(
    {
        "roots": {"listChanged": True},
        "sampling": {"context": {}, "tools": {}},
        "elicitation": {"form": {}, "url": {}},
        "tasks": {
            "list": {},
            "cancel": {},
            "requests": {"sampling": {"createMessage": {}}, "elicitation": {"create": {}}},
        },
    }
)
# The most extensions of clients that are declared to the server, and the size of their names and settings (bytes).
_EXTENSIONS: Final = 256
_EXTENSIONS_BYTES: Final = 64 * 1024


class UpstreamHandshake:
    """The params of `initialize` for each process of a server, and the result of the last one that has accepted it."""

    def __init__(self, policy: AccessPolicy, version: str) -> None:
        self._policy = policy
        self._version = version
        # The clientInfo of the first client (raw), or nothing.
        self.info = b""
        # Extensions and experimental capabilities of clients, declared to the next process, and their size (bytes).
        self._extra: extensions.Found = {}
        self._extra_size = 0
        # The wire id of the last `initialize`, and the revisions that were offered to this process.
        self.wire_id = b""
        self._offered: set[str] = set()
        # The first tick since the start of the process (seconds).
        self._since = 0.0
        self.result = b""

    def set_client_info(self, info: bytes) -> None:
        """Store the clientInfo of a stateless client (raw), if it is the first client."""
        if not self.info and (found := client_info(info)):
            self.info = json_object.write(found)

    def add_extensions(self, declared: extensions.Found) -> None:
        """Store extensions of a client for the next `initialize`. Of two settings of an extension the first are stored.

        Beyond the limit extensions are not declared to the server.
        """
        for key, settings in declared.items():
            size = sum(map(len, key)) + len(settings)
            if (
                key not in self._extra
                and len(self._extra) < _EXTENSIONS
                and self._extra_size + size <= _EXTENSIONS_BYTES
            ):
                self._extra[key] = settings
                self._extra_size += size

    def start(self, wire_id: bytes) -> Request:
        """Return the first `initialize` for a process."""
        self._since = 0.0
        self._offered.clear()
        return self.offer(LATEST_LEGACY, wire_id)

    def offer(self, version: str, wire_id: bytes) -> Request:
        """Return an `initialize` with this revision."""
        self._offered.add(version)
        self.wire_id = wire_id
        capabilities = {**json_object.peek(_CAPABILITIES), **extensions.as_capabilities(self._extra.items())}
        params = json_object.write(
            {
                "protocolVersion": version,
                "capabilities": json_object.raw(self._policy.declared(json_object.write(capabilities))),
                "clientInfo": self._client_info(),
            }
        )
        return Request(wire_id, "initialize", params)

    def next_version(self, requested: AbstractSet[str]) -> str:
        """Return the latest requested revision that was not offered, an empty string if there is none.

        A server may refuse an unknown revision and accept the revision that its client has requested.
        """
        return max(requested & {*LEGACY_REVISIONS} - self._offered, default="")

    def accept(self, result: bytes | msgspec.Raw) -> None:
        """Store the result of `initialize`."""
        self.result = bytes(self._policy.opening(result))

    def is_late(self, now: float, limit: float) -> bool:
        """Return whether the process has not answered within the limit. Both are in seconds."""
        self._since = self._since or now
        return now - self._since > limit

    def result_for(self, version: str) -> bytes:
        """Return the result for a client that has requested this revision: with the older of the two revisions."""
        found = json_object.peek(self.result)
        negotiated = json_object.string(found.get("protocolVersion"))
        if (agreed := negotiated_version(version, negotiated)) != negotiated:
            found["protocolVersion"] = json_object.raw(json_object.text(agreed))
            return json_object.write(found)
        return self.result

    def has_tasks(self) -> bool:
        """Return whether the server has declared tasks."""
        return "tasks" in self._capabilities()

    def list_changes(self) -> list[Notification]:
        """Return the list_changed notifications that the server has declared."""
        return [Notification(method, b"") for method in declared_changes(self._capabilities())]

    def _capabilities(self) -> json_object.Members:
        return json_object.peek(json_object.peek(self.result).get("capabilities"))

    def _client_info(self) -> dict[str, object]:
        # The name of the first client, with which other clients share the process.
        found: dict[str, object] = {**json_object.peek(self.info)}
        name = json_object.string(json_object.peek(self.info).get("name"))
        if not name:
            return {"name": "mcp-bridge", "version": self._version}
        found["name"] = f"{name} (via mcp-bridge {self._version})"
        return found
