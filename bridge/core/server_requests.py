"""Requests of a server to one client, and the messages that wait for a stream to the client. Pure.

Ids on the client's side are numbers of the bridge, so that a server cannot reuse an id that the client has in use.
Invariant: a request is removed once; `expire`, `enqueue` and `clear` return or drop the requests that get no response.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from ...validators import jsonrpc
from ...validators.limits import Limits
from .event_store import Stream

# How long a request of the server waits for a stream to be opened for it (seconds).
STREAM_SECONDS: Final = 60.0
# How long an unanswered request of the server excuses that a call makes no progress (seconds).
_HUMAN_SECONDS: Final = 600.0

_canonical: Final = jsonrpc.canonical_id


class ServerRequest(NamedTuple):
    """A request of the server that the client has not answered."""

    server_id: bytes
    method: str
    stream: Stream
    # When it was received (seconds).
    since: float


class _Queued(NamedTuple):
    message: bytes
    # The wire id of a request, nothing for a notification.
    wire_id: bytes
    # When it was queued (seconds).
    since: float


class ServerRequests:
    """The requests of the server, numbered from `first_id`, and the queue of messages without a stream."""

    def __init__(self, limits: Limits, first_id: int) -> None:
        self._limits = limits
        self._next_id = first_id
        # By wire id. `remove` drops an entry here and in the next table.
        self._by_wire_id: dict[bytes, ServerRequest] = {}
        # Wire ids by the canonical id of the server.
        self._wire_ids: dict[bytes, bytes] = {}
        # Messages without a stream, oldest first, and their size (bytes).
        self._queue: deque[_Queued] = deque()
        self._queue_size = 0
        # The time of the last tick.
        self._now = 0.0

    @property
    def count(self) -> int:
        """The number of requests without a response."""
        return len(self._by_wire_id)

    def get(self, wire_id: bytes) -> ServerRequest | None:
        """Return the request with this wire id, None if there is none."""
        return self._by_wire_id.get(wire_id)

    def wire_id_of(self, server_id: bytes) -> bytes | None:
        """Return the wire id of the request with this id of the server, None if there is none."""
        return self._wire_ids.get(_canonical(server_id))

    def add(self, server_id: bytes, method: str, stream: Stream) -> bytes:
        """Add a request that is sent on this stream, and return its wire id."""
        wire_id = b"%d" % self._next_id
        self._next_id += 1
        self._by_wire_id[wire_id] = ServerRequest(server_id, method, stream, self._now)
        self._wire_ids[_canonical(server_id)] = wire_id
        return wire_id

    def remove(self, wire_id: bytes) -> ServerRequest:
        """Remove a request, not its message in the queue."""
        request = self._by_wire_id.pop(wire_id)
        del self._wire_ids[_canonical(request.server_id)]
        return request

    def clear(self) -> None:
        """Drop all requests, because the server process has exited. Notifications remain in the queue."""
        self._by_wire_id.clear()
        self._wire_ids.clear()
        self._replace_queue(one for one in self._queue if not one.wire_id)

    # ---- the queue

    def enqueue(self, message: bytes, wire_id: bytes) -> tuple[ServerRequest, ...]:
        """Queue a message until a stream is opened, and return the requests that were dropped for it."""
        self._queue.append(_Queued(message, wire_id, self._now))
        self._queue_size += len(message)
        dropped: list[ServerRequest] = []
        while len(self._queue) > self._limits.stream_messages or (
            self._queue_size > self._limits.stream_bytes and len(self._queue) > 1
        ):
            oldest = self._queue.popleft()
            self._queue_size -= len(oldest.message)
            if oldest.wire_id:
                dropped.append(self.remove(oldest.wire_id))
        return tuple(dropped)

    def is_queued(self, wire_id: bytes) -> bool:
        """Return whether the message of this request is in the queue."""
        return any(one.wire_id == wire_id for one in self._queue)

    def dequeue(self, wire_id: bytes) -> None:
        """Remove the message of a request from the queue."""
        self._replace_queue(one for one in self._queue if one.wire_id != wire_id)

    def dequeue_all(self, stream: Stream, *, requests: bool, notifications: bool) -> tuple[bytes, ...]:
        """Remove messages of these kinds, and return them in order. They are sent on this stream."""
        taken: list[bytes] = []
        kept: list[_Queued] = []
        for one in self._queue:
            if not (requests if one.wire_id else notifications):
                kept.append(one)
                continue
            if one.wire_id:
                self._by_wire_id[one.wire_id] = self._by_wire_id[one.wire_id]._replace(stream=stream)
            taken.append(one.message)
        self._replace_queue(kept)
        return tuple(taken)

    def clear_queue(self) -> None:
        """Drop all messages in the queue."""
        self._replace_queue(())

    def _replace_queue(self, messages: Iterable[_Queued]) -> None:
        self._queue = deque(messages)
        self._queue_size = sum(len(one.message) for one in self._queue)

    # ---- time, in seconds on any steady clock

    def on_tick(self, now: float) -> None:
        """Set the time of later messages."""
        # Before the first tick there is no clock: requests and messages count from now.
        if not self._now:
            self._queue = deque(one._replace(since=now) for one in self._queue)
            self._by_wire_id = {id_: one._replace(since=now) for id_, one in self._by_wire_id.items()}
        self._now = now

    def expire(self) -> tuple[ServerRequest, ...]:
        """Remove and return the requests that have waited for a stream for too long."""
        late = [one.wire_id for one in self._queue if one.wire_id and self._now - one.since > STREAM_SECONDS]
        for wire_id in late:
            self.dequeue(wire_id)
        return tuple(map(self.remove, late))

    def excuse_calls(self) -> bool:
        """Return whether calls may be without progress, because a client has a recent request."""
        return any(self._now - one.since < _HUMAN_SECONDS for one in self._by_wire_id.values())
