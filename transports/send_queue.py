"""The send queue of one client stream, and the unsent bytes of one client over all its streams.

The bridge fills a queue without waiting, one task empties it in order. While too much is unsent, the server of that client
is not read (`Backlog.full`), so a slow client slows its server down as it would on a pipe, and loses no message.
"""

import enum
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from ..validators.jsonrpc import answered_id, error
from ..validators.limits import Limits
from ..validators.rejection import SERVER_ERROR
from .poller import WakeUpSlot

if TYPE_CHECKING:
    from collections.abc import Callable

# The event id in front of a message on a resumable stream; empty elsewhere.
Item = tuple[bytes, bytes]

# A queued message counts so many bytes more than it has, because its objects take that much memory.
_MESSAGE: Final = 128
# Above `unsent_bytes` so many bytes are queued all the same, of errors that replace answers.
_ERRORS: Final = 1024 * 1024
# After a stall, a client that progresses on any stream within so many seconds is kept (at most `write_stall_seconds`).
_GRACE_SECONDS: Final = 5.0


class Signal(enum.Enum):
    """What `SendQueue.next` returns where it returns no message."""

    # The client is due a sign of life.
    HEARTBEAT = enum.auto()
    # The stream is over: finished, overflowed or abandoned by its client (`SendQueue.state`).
    END = enum.auto()


OPEN: Final = "open"
# Everything that will ever be sent is in the queue.
CLOSED: Final = "closed"
# The reader was too slow for its limits; what was queued is dropped.
OVERFLOWED: Final = "overflowed"
# The client has left; what is put in is dropped.
DISCONNECTED: Final = "disconnected"


class Backlog:
    """The unsent bytes of one client over all its streams.

    `full` is set from more than `limits.pause_bytes` until half of that is left; the watchers are called at each change,
    and stop or resume the reading of the client's server. A server that cannot be paused, because others use it as well,
    is read on: then a stream refuses what comes above `at_most` bytes, one message at a time.
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
        # Counts each message that the client has read in whole, and each sign that it reads one. Only changes matter.
        self.progress = 0
        # Messages that were dropped or replaced by an error, since the start.
        self.dropped = 0
        # Whether a stream was given up while none of the others progressed.
        self.stalled = False
        self._progress_seen = 0
        self._stalled_since: float | None = None

    def watch(self, watcher: "Callable[[], None]") -> None:
        """Call this at each change of `full`."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: "Callable[[], None]") -> None:
        """Stop calling this."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def add(self, size: int) -> None:
        """Count so many bytes that wait to be sent."""
        self.bytes += size
        if self.bytes > self._high and not self.full:
            self._set_full(full=True)

    def remove(self, size: int) -> None:
        """Count so many bytes that were sent, or dropped."""
        self.bytes -= size
        if self.bytes < self._low:
            self._high = self._limits.pause_bytes
            if self.full:
                self._set_full(full=False)

    @property
    def over_limit(self) -> bool:
        """Whether a message more is refused."""
        return self.bytes >= self.at_most

    def extend(self) -> None:
        """Let the server be read on for another `pause_bytes`: it must get at what the client has sent just now."""
        if self.full and self.bytes < self.at_most:
            self._high = min(self.bytes + self._limits.pause_bytes, self.at_most)
            self._set_full(full=False)

    def has_stalled(self, now: float) -> bool:
        """Return whether no stream has progressed for `write_stall_seconds`, and a moment longer. `now` in seconds."""
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
    """A queue with one reader, that a heartbeat or the client's departure can wake as well.

    Each of the three waits is a checkpoint (Trio's rule), also where it returns at once, and no wait can be
    repeated without progress: `next` removes what it returns, `answered` and `settled` return when the state that
    they wait for has come. So no loop over a wait can keep the event loop for itself.

    A message counts as unsent until the reader comes for the next one, or reports it as `sent`.

    `context` belongs to the hub: what it knows of this stream. `status` is the HTTP status of an answer that is a
    single message. `shortcut` belongs to the reader: where it is set, and the
    whole answer comes as one message, the message is handed to it instead of being queued, and if it takes it the
    reader need not be woken. With `eager` every message is. With `answers_only` the client reads no event stream: the owner
    puts only answers in, and no heartbeat is due. While it is `repeating`, messages are put in that the client
    has missed before: they are bounded where they are kept, and do not count here. `client` is whose stream this is,
    `backlog` where its bytes are counted. `why` says why it was finished.
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
        self._in_flight = 0  # of these bytes, those that the reader has taken and not sent yet
        self._replayed = 0  # of the messages in the queue, the first ones
        self._progress = 0  # `client.moved` when the reader began with what it has in hand
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
        """Count its bytes as this client's. Without `pauses` they are its own, and at `replay_bytes` the stream ends."""
        self.client = client
        if pauses and self.backlog is None and not self._bytes:
            self.backlog = client  # the stream of a call, before its first message
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
        """Queue one message, the `last` one or not. A first one always fits.

        Returns False when this message was one too many: the stream is closed then, and what was queued is dropped.
        """
        if self.state != OPEN:
            return True
        shortcut = self.shortcut
        if shortcut is not None and (last or self.eager) and not self._queue and shortcut(message):
            if self.client is not None:
                self.client.progress += 1
            if last:
                self.state = CLOSED
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

    def close(self, why: str = "") -> None:
        """Nothing more will be put in, for this reason; what is queued is still sent."""
        if self.state == OPEN:
            self.close_reason = self.close_reason or why
            self._set_state(CLOSED)

    def on_disconnect(self) -> None:
        """The client is gone: what is queued, and whatever comes, is dropped."""
        if self.state != DISCONNECTED:
            self._drop()
            self._set_state(DISCONNECTED)

    def on_stall(self) -> None:
        """The client has not read for `write_stall_seconds`: drop the stream, and the client if no stream progressed."""
        self.stalled = True
        if self.client is not None and self.client.progress == self._progress:
            self.client.stalled = True
        self.on_disconnect()

    def heartbeat(self) -> None:
        """Wake the reader if it is waiting, so that it shows a sign of life to the client."""
        if self._slot.occupied and not self.answers_only:
            self._heartbeat = True
            self._slot.wake()

    async def dequeue(self) -> Item | Signal:
        """Wait for the next message and remove it. Returns a signal where a heartbeat is due, or the stream is over.

        A message comes before a heartbeat. After the client has left only END is returned.
        """
        self.on_sent()
        await self._wait()
        if self._queue:
            return self._pop()
        if self.state != OPEN:
            return Signal.END
        self._heartbeat = False
        return Signal.HEARTBEAT

    async def wait_answer(self) -> bool:
        """Wait for the first sign of an answer. Returns whether the stream is over with at most one message in it.

        `take_answer` removes that message. Otherwise, or where a heartbeat became due, the answer is a stream of events.
        """
        # As `_event`, without a second coroutine: every call over HTTP waits here.
        if self._queue or self.state != OPEN or self._heartbeat:
            await trio.lowlevel.checkpoint()
        while not (self._queue or self.state != OPEN or self._heartbeat):
            await self._slot.wait()
        if self.state == CLOSED and len(self._queue) <= 1:
            return True
        self._heartbeat = False  # the head of the stream is a sign of life
        return False

    async def wait_closed(self, at_most: int | None = None) -> bool:
        """Wait until nothing more will be put in: the stream is finished, overflowed, or its client has left.

        Messages before the end stay in the queue. Heartbeats that become due meanwhile are dropped. Returns False
        where more than `at_most` bytes wait before the end.
        """
        most = self._limits.unsent_bytes if at_most is None else at_most
        if self.state != OPEN or self._bytes > most:
            await trio.lowlevel.checkpoint()
        while self.state == OPEN and self._bytes <= most:
            await self._slot.wait()
        self._heartbeat = False
        return self.state != OPEN

    def pop_answer(self) -> bytes | None:
        """Remove the one message of a finished stream. Returns None where it was sent directly."""
        return self._pop()[1] if self._queue else None

    def on_sent(self) -> None:
        """Count what the reader has taken as sent."""
        size = self._in_flight
        if size:
            self._in_flight = 0
            self._bytes -= size
            if self.backlog is not None:
                self.backlog.remove(size)
            self.on_progress()

    def count_unsent(self, size: int) -> None:
        """Count so many bytes of a message that was sent directly and in part as in the reader's hand."""
        self._in_flight += size
        self._bytes += size
        if self.backlog is None:
            self.backlog = Backlog(self._limits)
        self.backlog.add(size)
        if self.client is not None:
            self._progress = self.client.progress + 1  # which counts this message

    def on_progress(self) -> None:
        """The client has read something of what the reader has in hand."""
        client = self.client
        if client is not None:
            client.progress += 1
            self._progress = client.progress

    def _pop(self) -> Item:
        item = self._queue.popleft()
        if self._replayed:
            self._replayed -= 1
        else:
            # Beside what a direct sending still owes.
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

    def _set_state(self, state: str) -> None:
        self.state = state
        self._slot.wake()


def _replaced(message: bytes, backlog: Backlog) -> bytes:
    # One call fails before the stream does; a notification is dropped.
    raw_id = answered_id(message)
    if not raw_id:
        return b""
    text = (
        f"an answer of {len(message)} bytes was dropped: {backlog.bytes} bytes wait for this client to read, "
        f"and the limit unsent_bytes is {backlog.at_most}"
    )
    return error(raw_id, SERVER_ERROR, text, {"reason": "client does not read"})
