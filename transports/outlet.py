"""What one client stream still has to be sent: filled by the hub without waiting, emptied by one task in order.

Never more than its limits hold: at the limit the stream is closed, the hub goes on (attacks V58, DESIGN "Limits").
"""

import enum
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from ..validators.limits import Limits
from .readiness import Spot

if TYPE_CHECKING:
    from collections.abc import Callable

# The event id in front of a message on a resumable stream; empty elsewhere.
Item = tuple[bytes, bytes]


class Signal(enum.Enum):
    """What `Outlet.next` returns where it returns no message."""

    # The client is due a sign of life.
    HEARTBEAT = enum.auto()
    # The stream is over: finished, overflowed or abandoned by its client (`Outlet.state`).
    END = enum.auto()


OPEN: Final = "open"
# Everything that will ever be sent is in the queue.
FINISHED: Final = "finished"
# The reader was too slow for its limits; what was queued is dropped.
OVERFLOWED: Final = "overflowed"
# The client has left; what is put in is dropped.
GONE: Final = "gone"


class Outlet:
    """A bounded queue with one reader, that a heartbeat or the client's departure can wake as well.

    Each of the three waits is a checkpoint (Trio's rule), also where it returns at once, and no wait can be
    repeated without progress: `next` removes what it returns, `answered` and `settled` return when the state that
    they wait for has come. So no loop over a wait can keep the event loop for itself.

    `context` belongs to the hub: what it knows of this stream. `status` is the HTTP status of an answer that is a
    single message. `shortcut` belongs to the reader: where it is set, and the
    whole answer comes as one message, the message is handed to it instead of being queued, and if it takes it the
    reader need not be woken. With `eager` every message is. While it is `repeating`, messages are put in that the client
    has missed before: they are bounded where they are kept, and do not count here.
    """

    __slots__ = (
        "_beat",
        "_bytes",
        "_limits",
        "_queue",
        "_repeated",
        "_spot",
        "context",
        "eager",
        "repeating",
        "shortcut",
        "state",
        "status",
    )

    def __init__(self, limits: Limits, spot: Spot | None = None) -> None:
        self._limits = limits
        self._queue: deque[Item] = deque()
        self._bytes = 0
        self._repeated = 0  # of those in the queue, the first ones
        self._spot = spot or Spot()
        self.shortcut: Callable[[bytes], bool] | None = None
        self.eager = False
        self.repeating = False
        self._beat = False
        self.state = OPEN
        self.status = 200
        self.context: object = None

    def put(self, message: bytes, event_id: bytes = b"", *, last: bool = False) -> bool:
        """Queue one message, the `last` one or not. A first one always fits.

        Answers False when this message was one too many: the stream is closed then, and what was queued is dropped.
        """
        if self.state != OPEN:
            return True
        if self._goes_at_once(message, last=last):
            return True
        if self.repeating:
            self._repeated += 1
        elif self._is_full(len(message)):
            self._drop()
            self._end(OVERFLOWED)
            return False
        else:
            self._bytes += len(message)
        self._queue.append((event_id, message))
        if last:
            self.state = FINISHED
        self._spot.wake()
        return True

    def _is_full(self, size: int) -> bool:
        count = len(self._queue) - self._repeated
        return count > 0 and (
            count >= self._limits.stream_messages or self._bytes + size > self._limits.stream_bytes
        )

    def _drop(self) -> None:
        self._queue.clear()
        self._bytes = self._repeated = 0

    def _goes_at_once(self, message: bytes, *, last: bool) -> bool:
        if self.shortcut is None or not (last or self.eager) or self._queue or not self.shortcut(message):
            return False
        if last:
            self.state = FINISHED
        return True

    def finish(self) -> None:
        """Nothing more will be put in; what is queued is still sent."""
        if self.state == OPEN:
            self._end(FINISHED)

    def leave(self) -> None:
        """The client is gone: what is queued, and whatever comes, is dropped."""
        if self.state != GONE:
            self._drop()
            self._end(GONE)

    def heartbeat(self) -> None:
        """Wake the reader if it is waiting, so that it shows a sign of life to the client."""
        if self._spot.taken:
            self._beat = True
            self._spot.wake()

    async def next(self) -> Item | Signal:
        """Wait for the next message and remove it. Returns a signal where a heartbeat is due, or the stream is over.

        A message comes before a heartbeat. After the client has left only END is returned.
        """
        await self._event()
        if self._queue:
            return self._pop()
        if self.state != OPEN:
            return Signal.END
        self._beat = False
        return Signal.HEARTBEAT

    async def answered(self) -> bool:
        """Wait for the first sign of an answer. Returns whether the stream is over with at most one message in it.

        `take_answer` removes that message. Otherwise, or where a heartbeat became due, the answer is a stream of events.
        """
        await self._event()
        return self.state == FINISHED and len(self._queue) <= 1

    async def settled(self) -> None:
        """Wait until nothing more will be put in: the stream is finished, overflowed, or its client has left.

        Messages before the end stay in the queue. Heartbeats that become due meanwhile are dropped.
        """
        if self.state != OPEN:
            await trio.lowlevel.checkpoint()
        while self.state == OPEN:
            await self._spot.wait()
        self._beat = False

    def take_answer(self) -> bytes | None:
        """Remove the one message of a finished stream. Returns None where it was sent directly."""
        return self._pop()[1] if self._queue else None

    def _pop(self) -> Item:
        item = self._queue.popleft()
        if self._repeated:
            self._repeated -= 1
        else:
            self._bytes -= len(item[1])
        return item

    async def _event(self) -> None:
        if self._queue or self.state != OPEN or self._beat:
            await trio.lowlevel.checkpoint()
            return
        while not (self._queue or self.state != OPEN or self._beat):
            await self._spot.wait()

    def __len__(self) -> int:
        return len(self._queue)

    def _end(self, state: str) -> None:
        self.state = state
        self._spot.wake()
