"""The send queue of one client stream, and the unsent bytes of one client over all its streams.

The bridge fills a queue without waiting; one task empties it in order. While a client has too many unsent bytes, its server
is not read (`Backlog.full`). A slow client thus slows its server down as on a pipe, and loses no message.
"""

import enum
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from ..validators.jsonrpc import error, response_id
from ..validators.limits import Limits
from ..validators.rejection import SERVER_ERROR
from .poller import WakeUpSlot

if TYPE_CHECKING:
    from collections.abc import Callable

# Event id and message. The id is empty on streams that cannot be resumed.
Item = tuple[bytes, bytes]

# Memory of the objects of a queued message (bytes), counted in addition to its length.
_MESSAGE: Final = 128
# Errors that replace dropped responses may exceed `unsent_bytes` by this much (bytes).
_ERRORS: Final = 1024 * 1024
# A client that reads from any stream within this time (seconds) after a stall is kept; at most `write_stall_seconds`.
_GRACE_SECONDS: Final = 5.0


class Signal(enum.Enum):
    """Returned by `SendQueue.dequeue` where it returns no message."""

    # A heartbeat is due.
    HEARTBEAT = enum.auto()
    # The stream has ended; `SendQueue.state` has the reason.
    END = enum.auto()


OPEN: Final = "open"
# The queue holds everything that will be sent.
CLOSED: Final = "closed"
# The client read too slowly. Queued messages were dropped.
OVERFLOWED: Final = "overflowed"
# The client disconnected. All messages are dropped.
DISCONNECTED: Final = "disconnected"


class Backlog:
    """The unsent bytes of one client over all its streams.

    `full` is set above `limits.pause_bytes` and cleared below half of that. The watchers are called at each change, and
    pause or resume the reading of the client's server. A shared server cannot be paused. Its streams refuse messages above
    `at_most` bytes, one message at a time.
    """

    __slots__ = (
        "_high",
        "_limits",
        "_low",
        "_progress_seen",
        "_stalled_since",
        "_watchers",
        "at_most",
        "bytes",
        "dropped",
        "full",
        "progress",
        "stalled",
    )

    def __init__(self, limits: Limits, at_most: int | None = None) -> None:
        self._limits = limits
        self.at_most = limits.unsent_bytes if at_most is None else at_most
        self._high = limits.pause_bytes
        self._low = limits.pause_bytes // 2
        self._watchers: list[Callable[[], None]] = []
        self.bytes = 0
        self.full = False
        # Count of messages that the client read in whole, and of partial reads. Only changes matter.
        self.progress = 0
        # Count of messages that were dropped or replaced by an error.
        self.dropped = 0
        # Whether a stream stalled while no other stream of the client progressed.
        self.stalled = False
        self._progress_seen = 0
        self._stalled_since: float | None = None

    def watch(self, watcher: "Callable[[], None]") -> None:
        """Call `watcher` at each change of `full`."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: "Callable[[], None]") -> None:
        """Stop calling `watcher`."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def add(self, size: int) -> None:
        """Add unsent bytes."""
        self.bytes += size
        if self.bytes > self._high and not self.full:
            self._set_full(full=True)

    def remove(self, size: int) -> None:
        """Subtract bytes that were sent or dropped."""
        self.bytes -= size
        if self.bytes < self._low:
            self._high = self._limits.pause_bytes
            if self.full:
                self._set_full(full=False)

    @property
    def over_limit(self) -> bool:
        """Whether further messages are refused."""
        return self.bytes >= self.at_most

    def extend(self) -> None:
        """Allow another `pause_bytes`, because the server must read what the client has just sent."""
        if self.full and self.bytes < self.at_most:
            self._high = min(self.bytes + self._limits.pause_bytes, self.at_most)
            self._set_full(full=False)

    def has_stalled(self, now: float) -> bool:
        """Return whether no stream has progressed for `write_stall_seconds` and a grace time. `now` is in seconds."""
        if not self.stalled:
            return False
        if self._stalled_since is None:
            self._stalled_since, self._progress_seen = now, self.progress
        if self.progress != self._progress_seen:
            self.stalled, self._stalled_since = False, None
            return False
        return now - self._stalled_since >= min(self._limits.write_stall_seconds, _GRACE_SECONDS)

    def _set_full(self, *, full: bool) -> None:
        self.full = full
        for watcher in tuple(self._watchers):
            watcher()


class SendQueue:
    """A queue with one reader. Heartbeats and the disconnect of the client wake the reader as well.

    Each of `dequeue`, `wait_answer` and `wait_closed` is a checkpoint, as in Trio. `dequeue` removes what it returns, the
    other two return in a final state, so a loop over a wait always makes progress.

    A message counts as unsent until the reader dequeues the next message, or calls `on_sent`.

    Attributes for the two users of a queue:

    - `context`: data of the session or multiplexer about this stream.
    - `status`: HTTP status of a response that is a single message.
    - `shortcut`: set by the reader; sends a single-message response instead of queueing it, returns whether it did.
    - `eager`: `shortcut` gets every message.
    - `answers_only`: the client reads no event stream. Only responses are enqueued, and no heartbeat is due.
    - `replaying`: messages are replayed from an event store, which bounds them, and are not counted here.
    - `client`: the backlog of the client of this stream.
    - `backlog`: the backlog in which the bytes of this stream are counted.
    - `close_reason`: why the queue was closed.
    """

    __slots__ = (
        "_bytes",
        "_ends_when_full",
        "_heartbeat",
        "_in_flight",
        "_limits",
        "_progress",
        "_queue",
        "_replayed",
        "_slot",
        "answers_only",
        "backlog",
        "client",
        "close_reason",
        "context",
        "eager",
        "replaying",
        "shortcut",
        "stalled",
        "state",
        "status",
    )

    def __init__(self, limits: Limits, slot: WakeUpSlot | None = None) -> None:
        self._limits = limits
        self._queue: deque[Item] = deque()
        self._bytes = 0
        # Of `_bytes`, those that the reader has dequeued and not sent yet.
        self._in_flight = 0
        # Number of replayed messages at the front of the queue.
        self._replayed = 0
        # `client.progress` when the reader began to send what is in flight.
        self._progress = 0
        self._ends_when_full = False
        self._slot = slot or WakeUpSlot()
        self.backlog: Backlog | None = None
        self.client: Backlog | None = None
        self.shortcut: Callable[[bytes], bool] | None = None
        self.eager = False
        self.answers_only = False
        self.replaying = False
        self._heartbeat = False
        self.state = OPEN
        self.stalled = False
        self.close_reason = ""
        self.status = 200
        self.context: object = None

    def bind(self, client: Backlog, *, pauses: bool = True) -> None:
        """Count the bytes for this client. Without `pauses` they are counted apart, and over `replay_bytes` the stream ends."""
        self.client = client
        if pauses and self.backlog is None and not self._bytes:
            # The stream of a call before its first message: there is nothing to move to another backlog.
            self.backlog = client
            return
        self._count_with(client if pauses else Backlog(self._limits, self._limits.replay_bytes))
        self._ends_when_full = not pauses

    def _count_with(self, backlog: Backlog) -> None:
        if self.backlog is not None:
            self.backlog.remove(self._bytes)
        self.backlog = backlog
        if self._bytes:
            backlog.add(self._bytes)

    def enqueue(self, message: bytes, event_id: bytes = b"", *, last: bool = False) -> bool:
        """Add one message, with `last` the last one. The first message always fits.

        Returns False when the queue overflows: it is closed, and its messages are dropped.
        """
        if self.state != OPEN:
            return True
        shortcut = self.shortcut
        if shortcut is not None and (last or self.eager) and not self._queue and shortcut(message):
            if self.client is not None:
                self.client.progress += 1
            if last:
                self.state = CLOSED
                # The reader and the context refer to this queue. They would otherwise be kept until the next run of the
                # garbage collector.
                self.shortcut = self.context = None
            return True
        if self.replaying:
            self._replayed += 1
            self._queue.append((event_id, message))
        elif not self._append(message, event_id):
            return False
        if last:
            self.state = CLOSED
        self._slot.wake()
        return True

    def _append(self, message: bytes, event_id: bytes) -> bool:
        backlog = self.backlog
        if backlog is None:
            backlog = self.backlog = Backlog(self._limits)
        if self._bytes and backlog.over_limit:
            if self._ends_when_full or backlog.bytes >= backlog.at_most + _ERRORS:
                self._overflow()
                return False
            backlog.dropped += 1
            replaced = _replaced(message, backlog)
            if not replaced:
                return True
            message = replaced
        size = len(message) + _MESSAGE
        self._queue.append((event_id, message))
        self._bytes += size
        backlog.add(size)
        return True

    def _overflow(self) -> None:
        self._drop()
        self._set_state(OVERFLOWED)

    def _drop(self) -> None:
        self._queue.clear()
        size, self._bytes, self._in_flight, self._replayed = self._bytes, 0, 0, 0
        if size and self.backlog is not None:
            self.backlog.remove(size)

    def close(self, reason: str = "") -> None:
        """Close the queue for further messages. Queued messages are still sent."""
        if self.state == OPEN:
            self.close_reason = self.close_reason or reason
            self._set_state(CLOSED)

    def on_disconnect(self) -> None:
        """Discard the queue, because the client has disconnected."""
        if self.state != DISCONNECTED:
            self.shortcut = None
            self._drop()
            self._set_state(DISCONNECTED)

    def on_stall(self) -> None:
        """Discard the queue after `write_stall_seconds` without progress; mark the client if none of its streams moved."""
        self.stalled = True
        if self.client is not None and self.client.progress == self._progress:
            self.client.stalled = True
        self.on_disconnect()

    def heartbeat(self) -> None:
        """Wake a waiting reader, which then sends a heartbeat."""
        if self._slot.occupied and not self.answers_only:
            self._heartbeat = True
            self._slot.wake()

    async def dequeue(self) -> Item | Signal:
        """Wait for the next message and remove it. Returns a signal where a heartbeat is due, or the stream has ended.

        A message comes before a heartbeat. After a disconnect only END is returned.
        """
        self.on_sent()
        await self._wait()
        if self._queue:
            return self._pop()
        if self.state != OPEN:
            return Signal.END
        self._heartbeat = False
        return Signal.HEARTBEAT

    def dequeue_more(self, most: int) -> list[bytes]:
        """Remove further messages after `dequeue` has returned one, while they have at most `most` bytes in all."""
        found: list[bytes] = []
        queue = self._queue
        while queue and (most := most - len(queue[0][1])) >= 0:
            found.append(self._pop()[1])
        return found

    async def wait_answer(self) -> bool:
        """Wait for the beginning of a response. Returns whether the queue is closed with at most one message.

        `pop_answer` removes that message. Otherwise, or if a heartbeat is due, the response is an event stream.
        """
        # The same as `_wait`, without a second coroutine, because every call over HTTP waits here.
        if self._queue or self.state != OPEN or self._heartbeat:
            await trio.lowlevel.checkpoint()
        while not (self._queue or self.state != OPEN or self._heartbeat):
            await self._slot.wait()
        if self.state == CLOSED and len(self._queue) <= 1:
            return True
        # The head of the event stream serves as the heartbeat.
        self._heartbeat = False
        return False

    async def wait_closed(self, at_most: int | None = None) -> bool:
        """Wait until the queue is closed, has overflowed, or the client has disconnected.

        Queued messages stay. Heartbeats that become due meanwhile are dropped. Returns False where more than `at_most`
        bytes are queued before the end.
        """
        most = self._limits.unsent_bytes if at_most is None else at_most
        if self.state != OPEN or self._bytes > most:
            await trio.lowlevel.checkpoint()
        while self.state == OPEN and self._bytes <= most:
            await self._slot.wait()
        self._heartbeat = False
        return self.state != OPEN

    def pop_answer(self) -> bytes | None:
        """Remove the one message of a closed queue. Returns None where it was sent directly."""
        return self._pop()[1] if self._queue else None

    def on_sent(self) -> None:
        """Count the dequeued messages as sent."""
        size = self._in_flight
        if size:
            self._in_flight = 0
            self._bytes -= size
            if self.backlog is not None:
                self.backlog.remove(size)
            self.on_progress()

    def count_unsent(self, size: int) -> None:
        """Count the unsent rest of a message that was sent directly in part (bytes)."""
        self._in_flight += size
        self._bytes += size
        if self.backlog is None:
            self.backlog = Backlog(self._limits)
        self.backlog.add(size)
        if self.client is not None:
            # One more, because the message counts as progress.
            self._progress = self.client.progress + 1

    def on_progress(self) -> None:
        """Count progress: the client has read a part of what is in flight."""
        client = self.client
        if client is not None:
            client.progress += 1
            self._progress = client.progress

    def _pop(self) -> Item:
        item = self._queue.popleft()
        if self._replayed:
            self._replayed -= 1
        else:
            # Added, because the rest of a directly sent message may be in flight too.
            self._in_flight += len(item[1]) + _MESSAGE
        if self.client is not None:
            self._progress = self.client.progress
        return item

    async def _wait(self) -> None:
        if self._queue or self.state != OPEN or self._heartbeat:
            await trio.lowlevel.checkpoint()
            return
        while not (self._queue or self.state != OPEN or self._heartbeat):
            await self._slot.wait()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def unsent(self) -> int:
        """The bytes of messages that were not sent, as they are counted."""
        return self._bytes

    def _set_state(self, state: str) -> None:
        self.state = state
        self._slot.wake()


def _replaced(message: bytes, backlog: Backlog) -> bytes:
    # A response becomes an error, so that one call fails and not the stream. A notification is dropped.
    raw_id = response_id(message)
    if not raw_id:
        return b""
    text = (
        f"an answer of {len(message)} bytes was dropped: {backlog.bytes} bytes wait for this client to read, "
        f"and the limit unsent_bytes is {backlog.at_most}"
    )
    return error(raw_id, SERVER_ERROR, text, {"reason": "client does not read"})


class ConnectionQueue(SendQueue):
    """The queue of a client that has upgraded its connection. `transport` is websocket or pipe.

    `forwards` is whether the client is the aggregate, which sends the requests of other clients.
    """

    __slots__ = ("forwards", "overused", "transport")

    def __init__(self, limits: Limits, transport: str, *, forwards: bool = False) -> None:
        super().__init__(limits)
        self.transport = transport
        self.forwards = forwards
        # Whether the connection is closed because its client has exceeded a rate too often.
        self.overused = False


def forwards(queue: SendQueue | None) -> bool:
    """Return whether the client with this queue is the aggregate."""
    return isinstance(queue, ConnectionQueue) and queue.forwards


def transport_of(queue: SendQueue | None, otherwise: str = "http") -> str:
    """Return the transport of a client with this queue: websocket, pipe or `otherwise`, and http without a queue."""
    if isinstance(queue, ConnectionQueue):
        return queue.transport
    return "http" if queue is None else otherwise
