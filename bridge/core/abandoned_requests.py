"""Ids of requests that a server may still answer, although the answer changes nothing any more.

They are requests of the bridge itself, such as `logging/setLevel`, and calls that were cancelled. Pure.
"""

from typing import Final

# At this number of ids the oldest is dropped: a server that has not answered by then does not answer.
MOST: Final = 1024


class AbandonedRequests:
    """The ids of one server process."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: dict[bytes, None] = {}

    def add(self, wire_id: bytes) -> bytes:
        """Keep an id, and return it."""
        self._ids[wire_id] = None
        if len(self._ids) > MOST:
            del self._ids[next(iter(self._ids))]
        return wire_id

    def take(self, wire_id: bytes) -> bool:
        """Return whether this id was kept, and drop it."""
        return self._ids.pop(wire_id, self) is None
