"""One clock for all connections, so that no request pays for a timer of its own: deadlines and heartbeats."""

from email.utils import formatdate
from typing import Final, Protocol

import trio

from .memory import HeapTrimmer

# How finely deadlines are kept, in seconds. Those that are watched this way are seconds long.
TICK: Final = 0.25
# A round that comes so much later than planned was held up: the process was stopped (SIGSTOP) and continued, or had no
# processor (seconds). What has come meanwhile is read before anything is found to be late: such a round decides nothing, but
# the next one does in any case.
HELD_UP: Final = 1.0


class Ticking(Protocol):
    """Something that wants to look at the clock."""

    def tick(self, now: float) -> None:
        """Look at the time `now`, on Trio's clock. Must not wait and must not raise."""
        ...


class PausableClock:
    """Time that stands still between `stop` and `go`. Times in seconds on any steady clock."""

    __slots__ = ("_paused_for", "_paused_since")

    def __init__(self) -> None:
        self._paused_for = 0.0
        self._paused_since: float | None = None

    def pause(self, now: float) -> None:
        """Let it stand still, if it does not already."""
        if self._paused_since is None:
            self._paused_since = now

    def resume(self, now: float) -> None:
        """Let it go on, if it stands still."""
        if self._paused_since is not None:
            self._paused_for += now - self._paused_since
            self._paused_since = None

    def time(self, now: float) -> float:
        """Return the time without that for which it stood still."""
        return (now if self._paused_since is None else self._paused_since) - self._paused_for


class Ticker:
    """The sweeper task, and the time as of its last round."""

    def __init__(self) -> None:
        self.now = 0.0
        self.date = b""
        self.shutting_down = False
        self._members: set[Ticking] = set()

    def add(self, member: Ticking) -> None:
        """Tick `member` from now on."""
        self._members.add(member)

    def remove(self, member: Ticking) -> None:
        """Stop ticking `member`."""
        self._members.discard(member)

    def announce_shutdown(self) -> None:
        """No more requests are wanted: whoever rests between two may go, and who answers one says that it was the last."""
        self.shutting_down = True
        self._tick_all()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tick for ever."""
        self.add(HeapTrimmer())
        self._read_clock()
        task_status.started()
        held_up = False
        while True:
            planned = trio.current_time() + TICK
            await trio.sleep_until(planned)
            held_up = not held_up and trio.current_time() >= planned + HELD_UP
            if held_up:
                self._read_clock()
            else:
                self._tick_all()

    def _tick_all(self) -> None:
        self._read_clock()
        for member in tuple(self._members):
            member.tick(self.now)

    def _read_clock(self) -> None:
        self.now = trio.current_time()
        self.date = formatdate(usegmt=True).encode("ascii")
