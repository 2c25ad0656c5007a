"""Streams of one session to its client, and their events for a client that resumes (MCP 2025-11-25 basic/transports). Pure.

Invariant: a message leaves only on a stream of this session.
"""

import re
from collections import deque
from collections.abc import Callable
from typing import Final, cast

import msgspec

from ...validators.counted import counted
from ...validators.limits import Limits
from ...validators.rejection import INVALID_REQUEST, Rejection
from ...validators.revisions import PRIMING_SINCE
from .effects import EndStream, ToClient

# The number of streams whose events are stored.
_STREAMS: Final = 64
_EVENT_ID: Final = re.compile(r"([0-9A-Za-z-]{1,32})_([0-9]{1,18})\Z")

# The number of an event in its stream, and its message.
_Event = tuple[int, bytes]
_no_events = cast("Callable[[], deque[_Event]]", deque)


class Stream(msgspec.Struct, eq=False):
    """One stream to the client. `queue` is None while no connection carries the stream.

    `listens` is set for a stream that belongs to no request: a GET stream, or the only stream of a transport. With
    `answers_only` the stream carries the responses to its requests and nothing else, and no event is stored: the client
    accepts no event stream for its POST, or has left before the first event id was sent.
    """

    queue: object | None
    listens: bool
    answers_only: bool = False
    # The number of requests on this stream without a response.
    pending: int = 0
    # The number of the last event.
    seq: int = 0
    # The random first part of event ids, empty until an event is stored.
    key: str = ""
    # Whether the client has resumed the stream, so that it has an event id.
    resumed: bool = False
    # Whether an event, which may be a priming event, was put on the stream.
    used: bool = False
    # The stored events, oldest first, and the size of their messages (bytes).
    backlog: deque[_Event] = msgspec.field(default_factory=_no_events)
    bytes: int = 0


class EventStore:
    """The streams of one session. `new_key` returns a random key, `pipe` is the queue of a transport with one stream only."""

    def __init__(self, limits: Limits, new_key: Callable[[], str], pipe: object | None) -> None:
        self._limits = limits
        self._new_key = new_key
        # The only stream of HTTP+SSE and WebSocket, None for Streamable HTTP.
        self.pipe = Stream(pipe, listens=True) if pipe is not None else None
        # Open GET streams, oldest first. `disconnect` removes a stream.
        self.listeners: list[Stream] = []
        # Whether the client has ever opened a GET stream.
        self.has_listened = False
        # Streams with an event id by key, oldest first, and the size of their events (bytes). `_drop_oldest` removes them.
        self._stored: dict[str, Stream] = {}
        self._size = 0

    @property
    def home(self) -> Stream | None:
        """The stream for messages that belong to no request."""
        if self.pipe is not None:
            return self.pipe
        return self.listeners[-1] if self.listeners else None

    def listen(self, queue: object) -> Stream:
        """Add a GET stream. Raises Rejection 409 at the limit."""
        self._refuse_more_listeners()
        stream = Stream(queue, listens=True)
        self.has_listened = True
        self.listeners.append(stream)
        return stream

    def resume(self, last_event_id: str, queue: object) -> tuple[Stream, tuple[EndStream | ToClient, ...]]:
        """Connect a stream to another queue, and replay its events after this one.

        Raises Rejection 400 for an unknown event id, 409 at the limit of GET streams.
        """
        match = _EVENT_ID.match(last_event_id)
        stream = self._stored.get(match[1]) if match else None
        if match is None or stream is None:
            raise Rejection(400, INVALID_REQUEST, "Last-Event-ID is not the id of an event of this session")
        seen = int(match[2])
        replaced: tuple[EndStream, ...] = ()
        if stream.queue is not None:
            replaced = (EndStream(stream.queue),)
        elif stream.listens:
            self._refuse_more_listeners()
        if stream.listens and stream not in self.listeners:
            self.listeners.append(stream)
        stream.queue = queue
        stream.resumed = True
        replayed = (
            ToClient(queue, message, _event_id(stream, seq)) for seq, message in stream.backlog if seq > seen
        )
        return stream, (*replaced, *replayed)

    def on_events_start(self, stream: Stream, version: str) -> bytes:
        """Return the id of the priming event of a stream, nothing if the revision or the stream has none.

        A resumed stream has none, because the client would resume at an earlier event the next time.
        """
        stream.used = True
        if self.pipe is not None or version < PRIMING_SINCE or stream.resumed or stream.answers_only:
            return b""
        self._store(stream)
        return _event_id(stream, 0)

    def disconnect(self, stream: Stream, queue: object, *, begun: bool) -> bool:
        """Detach a queue from its stream. Return False if another connection carries the stream already.

        Later events are stored. If the stream has not `begun`, its client has no event id, so no event is stored.
        """
        if stream.queue is not queue:
            return False
        stream.queue = None
        if not begun and not stream.resumed:
            self._drop(stream)
        if stream in self.listeners:
            self.listeners.remove(stream)
        return True

    def put(self, stream: Stream, text: bytes, *, last: bool = False) -> tuple[ToClient, ...]:
        """Put a message on a stream, and store it if the client can resume there. After the `last` message the stream ends."""
        queue = stream.queue
        if stream is self.pipe:
            return (ToClient(queue, text),)
        # A stream with one response and nothing before it can be sent as JSON, which no client resumes.
        if (last and not stream.used and not stream.listens) or stream.answers_only:
            return () if queue is None else (ToClient(queue, text, b"", last),)
        stream.used = True
        self._store(stream)
        stream.seq += 1
        stream.backlog.append((stream.seq, text))
        stream.bytes += len(text)
        self._size += len(text)
        while self._size > self._limits.replay_bytes and self._drop_oldest():
            pass
        return () if queue is None else (ToClient(queue, text, _event_id(stream, stream.seq), last),)

    def end_if_done(self, stream: Stream) -> tuple[EndStream, ...]:
        """End the stream of a POST if all its requests have their responses."""
        if stream.listens or stream.pending or stream.queue is None:
            return ()
        return (EndStream(stream.queue),)

    def close(self) -> list[Stream]:
        """Drop all events, and return the streams that belong to no request."""
        streams = [*self.listeners, *([self.pipe] if self.pipe is not None else [])]
        self.listeners.clear()
        self._stored.clear()
        return streams

    def _refuse_more_listeners(self) -> None:
        limit = self._limits.streams_per_session
        if len(self.listeners) >= limit:
            raise Rejection(
                409, INVALID_REQUEST, f"the limit of {counted(limit, 'stream')} of one session is reached"
            )

    def _store(self, stream: Stream) -> None:
        if stream.key:
            return
        stream.key = self._new_key()
        self._stored[stream.key] = stream
        if len(self._stored) > _STREAMS:
            self._drop_oldest()

    def _drop(self, stream: Stream) -> None:
        stream.answers_only = True
        if self._stored.pop(stream.key, None) is not None:
            self._size -= stream.bytes
        stream.key, stream.bytes = "", 0
        stream.backlog.clear()

    def _drop_oldest(self) -> bool:
        # First the oldest finished stream, of a POST before a GET stream that the client may resume. Then the oldest
        # event of any stream.
        done = [key for key, stream in self._stored.items() if stream.queue is None and not stream.pending]
        if done:
            key = next((key for key in done if not self._stored[key].listens), done[0])
            self._size -= self._stored.pop(key).bytes
            return True
        for stream in self._stored.values():
            if stream.backlog:
                _, text = stream.backlog.popleft()
                stream.bytes -= len(text)
                self._size -= len(text)
                return True
        return False


def _event_id(stream: Stream, seq: int) -> bytes:
    return b"%b_%d" % (stream.key.encode("ascii"), seq)
