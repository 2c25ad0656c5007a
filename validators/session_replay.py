"""The state of a session that another server process must get: `initialize`, the log level, subscriptions. Pure.

A server process may exit while its client has a session (MCP 2025-11-25 basic/lifecycle). The next process receives what the
client has sent to the former one, and the client is notified of lists and resources that may have changed meanwhile.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from . import json_object, jsonrpc
from .limits import Limits
from .list_changes import declared_changes
from .mcp_params import read_uri

# Requests that change the state of a session.
REPLAYED: Final = frozenset({"logging/setLevel", "resources/subscribe", "resources/unsubscribe"})


class SessionReplay:
    """The requests of one client that are repeated for another process."""

    __slots__ = ("_level", "_limits", "_list_changes", "_subscriptions", "initialize")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # The params of `initialize` and of the last `logging/setLevel`.
        self.initialize = b""
        self._level = b""
        # Subscribed URIs. `record` adds and removes them.
        self._subscriptions: dict[str, None] = {}
        # The methods of the list_changed notifications that the server has declared.
        self._list_changes: tuple[str, ...] = ()

    def record(self, method: str, params: bytes) -> None:
        """Record a request of the client, one of `REPLAYED`."""
        if method == "logging/setLevel":
            self._level = params
            return
        # Only the URI, whose length is limited: other params were for that one request.
        uri = read_uri(params)
        if method == "resources/unsubscribe":
            self._subscriptions.pop(uri, None)
        elif uri and len(self._subscriptions) < self._limits.stream_messages:
            self._subscriptions[uri] = None

    def record_result(self, result: bytes | msgspec.Raw) -> None:
        """Record the result of the first `initialize`."""
        declared = json_object.peek(json_object.peek(result).get("capabilities"))
        self._list_changes = declared_changes(declared)

    def clear(self) -> None:
        """Drop the recorded requests, because the server has refused `initialize`."""
        self._level = b""
        self._subscriptions.clear()

    def requests(self, next_id: Callable[[], bytes]) -> list[bytes]:
        """Return the requests for another process after its `initialize`, each as a line."""
        lines: list[bytes] = []
        if self._level:
            lines.append(jsonrpc.request(next_id(), "logging/setLevel", self._level))
        lines.extend(
            jsonrpc.request(next_id(), "resources/subscribe", json_object.write({"uri": uri}))
            for uri in self._subscriptions
        )
        return lines

    def missed(self) -> list[bytes]:
        """Return notifications of what may have changed while there was no process, each as a line."""
        lines = [jsonrpc.notification(method, b"") for method in self._list_changes]
        lines.extend(
            jsonrpc.notification("notifications/resources/updated", json_object.write({"uri": uri}))
            for uri in self._subscriptions
        )
        return lines
