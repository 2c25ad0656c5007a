"""Store the ids of requests whose responses are expected and dropped. Pure.

These are requests of the bridge itself, such as `logging/setLevel`, and cancelled calls: MCP 2025-11-25
basic/utilities/cancellation allows a response that crosses the cancellation.
"""

from typing import Final

# Beyond this number the oldest id is dropped, because a server that has not responded by then will not respond.
MOST_ABANDONED: Final = 1024


class AbandonedRequests:
    """The ids of abandoned requests of one server process."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        # Wire ids, oldest first.
        self._ids: dict[bytes, None] = {}

    def add(self, wire_id: bytes) -> bytes:
        self._ids[wire_id] = None
        if len(self._ids) > MOST_ABANDONED:
            del self._ids[next(iter(self._ids))]
        return wire_id

    def take(self, wire_id: bytes) -> bool:
        """Remove an id, and return whether it was stored."""
        return self._ids.pop(wire_id, self) is None
