"""One clock for the deadlines and heartbeats of all connections, so that requests need no timers of their own."""

from bisect import bisect_left
from email.utils import formatdate
from typing import Final, Protocol

import trio

# Resolution of deadlines (seconds). The deadlines that are checked with it are seconds long.
TICK: Final = 0.25
# A round that is late by this much (seconds) was held up: the process was stopped (SIGSTOP), or had no processor time.
# Such a round calls no member, because input that arrived meanwhile must be read before a peer counts as late. The next
# round calls the members in any case.
HELD_UP: Final = 1.0
# The upper bounds of the buckets of `Lag` (seconds). One more bucket has everything above.
LAG_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Lag:
    """How late the rounds of the ticker were: how long other work held the event loop. `seconds` is the sum."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(LAG_BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one round that was late by this time."""
        self.buckets[bisect_left(LAG_BOUNDS, seconds)] += 1
        self.seconds += seconds


class Ticking(Protocol):
    """A member of the ticker."""

    def tick(self, now: float) -> None:
        """Check deadlines at the time `now` (seconds, Trio's clock). Must not wait and must not raise."""
        ...


class PausableClock:
    """A clock that stands still between `pause` and `resume`. Times in seconds of any steady clock."""

    __slots__ = ("_paused_for", "_paused_since")

    def __init__(self) -> None:
        self._paused_for = 0.0
        self._paused_since: float | None = None

    def pause(self, now: float) -> None:
        """Stop the clock, unless it is stopped."""
        if self._paused_since is None:
            self._paused_since = now

    def resume(self, now: float) -> None:
        """Continue the clock, if it is stopped."""
        if self._paused_since is not None:
            self._paused_for += now - self._paused_since
            self._paused_since = None

    def time(self, now: float) -> float:
        """Return the time without all pauses."""
        return (now if self._paused_since is None else self._paused_since) - self._paused_for

    def time_left(self, end: float, now: float) -> float:
        """Return how long to wait for the time `end` of this clock: at least a tick while paused, 0 or less if it is over."""
        left = end - self.time(now)
        return max(left, TICK) if left > 0 and self._paused_since is not None else left


class Ticker:
    """A task that calls its members regularly. `now` and `date` are the time of its last round."""

    def __init__(self) -> None:
        self.now = 0.0
        self.date = b""
        self.shutting_down = False
        self.lag = Lag()
        self._members: set[Ticking] = set()

    def add(self, member: Ticking) -> None:
        """Call `member` from now on."""
        self._members.add(member)

    def remove(self, member: Ticking) -> None:
        """Stop calling `member`."""
        self._members.discard(member)

    def announce_shutdown(self) -> None:
        """Let idle connections close, and let connections with a request close after the response."""
        self.shutting_down = True
        self._tick_all()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Call the members until cancelled."""
        self._read_clock()
        task_status.started()
        held_up = False
        while True:
            planned = trio.current_time() + TICK
            await trio.sleep_until(planned)
            late = trio.current_time() - planned
            self.lag.add(late)
            held_up = not held_up and late >= HELD_UP
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
