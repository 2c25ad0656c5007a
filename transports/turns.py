"""How long a connection or a server with much input may occupy the event loop before others are served.

The poller works in steps. The time of all turns in a step is limited, so turns are the shorter the more there were in the
step before. While several principals are active, all turns are shorter (`shares` orders the principals). At least one message
is handled in a turn. Each process has one event loop, and therefore one object of each kind.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from .shares import SLICE

# Time that all clients, or all servers, with much input may occupy the event loop in one step (seconds).
_SECONDS: Final = 0.002
# Operations of all connections with much input in one step.
_OPERATIONS: Final = 16
# Time for which a principal counts as active after its last input (seconds).
_ACTIVE: Final = 10.0
# Calls of `begin_round` between two looks at the clock.
_LOOK: Final = 64
# The part of the time that large messages may take while several principals are active, and the most time that they save up
# (seconds). One step of a large message cannot be divided, so a call must not wait for one before its request is read and
# for another before its response is.
_LARGE_PART: Final = 0.25
_MOST_SAVED: Final = 0.0001


class Activity:
    """Whether several principals were active in the last seconds."""

    __slots__ = ("_last", "_looks", "_until", "several")

    def __init__(self) -> None:
        self.several = False
        # The principal with the last input, and until when several count as active (seconds, perf_counter).
        self._last = ""
        self._until = 0.0
        self._looks = 0

    def note(self, principal: str) -> None:
        """Note input of a principal, or output for it. Other names are empty."""
        if principal and principal != self._last:
            if self._last:
                self.several = True
                self._until = time.perf_counter() + _ACTIVE
            self._last = principal

    def begin_round(self) -> None:
        """Let the time of inactive principals pass."""
        self._looks += 1
        if self._looks >= _LOOK:
            self._looks = 0
            if time.perf_counter() > self._until:
                self.several, self._last = False, ""

    @property
    def seconds(self) -> float:
        """The time that all turns of a kind may take in one step (seconds)."""
        return SLICE if self.several else _SECONDS


class Turns:
    """The turns of one step. `length` is that of each turn (seconds)."""

    __slots__ = ("_activity", "length", "users")

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self.length = activity.seconds
        # How many turns were taken in this step.
        self.users = 0

    def begin_round(self) -> None:
        """Begin a step, whose turns depend on the number of turns in the last one."""
        seconds = self._activity.seconds
        self.length = seconds / self.users if self.users > 1 else seconds
        self.users = 0

    def take(self) -> float:
        """Count a turn. Return its length (seconds)."""
        self.users += 1
        return self.length

    @property
    def operations(self) -> int:
        """The operations without a wait after which a connection gives up its turn."""
        return max(1, int(_OPERATIONS * self.length / _SECONDS))


class Allowance:
    """The time that turns may take: this part (0 to 1) of all time, of which at most `most` seconds are saved up.

    The clock is `time.perf_counter`.
    """

    __slots__ = ("_at", "_began", "_left", "_most", "_part")

    def __init__(self, part: float, most: float) -> None:
        self._part = part
        self._most = most
        # The time left when it was last reckoned, and when that was (seconds). It is negative after a long turn.
        self._left = most
        self._at = 0.0
        # When a turn began that has not ended.
        self._began: float | None = None

    def begin(self) -> None:
        """Begin a turn, which ends with the next call of `pause`."""
        self.pause()
        self._began = self._at

    def pause(self) -> float:
        """Return the time until the next turn may begin (seconds), 0 for now."""
        now = time.perf_counter()
        if self._began is not None:
            self._left -= now - self._began
            self._began = None
        self._left = min(self._most, self._left + (now - self._at) * self._part)
        self._at = now
        return max(0.0, -self._left / self._part)


class PrincipalTurns:
    """Turns of which each round has one. Principals take turns, and the tasks of each have theirs in order.

    With an allowance, a turn begins only when that permits. Without a poller there are no rounds, and no task waits.
    """

    def __init__(self, allowance: Allowance | None = None) -> None:
        # Used while several principals are active.
        self._allowance = allowance
        # Makes the poller begin a round; None while no poller runs.
        self._wake: Callable[[], None] | None = None
        # Whether the turn of this round is free, and whether a task has got it and has not run yet.
        self.free = True
        self._granted = False
        # By principal, the tasks that wait, oldest first. The principal whose turn is next is first.
        self.queues: dict[str, deque[trio.Event]] = {}

    def connect(self, wake: Callable[[], None] | None) -> None:
        """Use the rounds of a poller, which `wake` wakes. None ends all waits."""
        self._wake = wake
        if wake is None:
            waiting, self.queues = self.queues, {}
            for queue in waiting.values():
                for event in queue:
                    event.set()

    def begin_round(self) -> None:
        """Begin a round, in which one task may continue, unless that of the last round has not run yet."""
        if self._granted or self.pause():
            return
        self.free = not self.queues
        if self.queues:
            principal = next(iter(self.queues))
            queue = self.queues.pop(principal)
            queue.popleft().set()
            self._granted = True
            if queue:
                self.queues[principal] = queue

    def pause(self) -> float:
        """Return the time until the next turn may begin (seconds), 0 for now."""
        return self._allowance.pause() if self._allowance is not None and activity.several else 0.0

    async def wait(self, principal: str) -> None:
        """Wait for a turn of this principal; a checkpoint where it is free. The turn lasts until the next checkpoint."""
        if self._wake is None or (self.free and not self.queues):
            self.free, self._granted = False, True
            try:
                await trio.lowlevel.checkpoint()
            finally:
                self._granted = False
        else:
            await self._wait(principal, self._wake)
        if self._allowance is not None:
            self._allowance.begin()

    async def _wait(self, principal: str, wake: Callable[[], None]) -> None:
        event = trio.Event()
        self.queues.setdefault(principal, deque()).append(event)
        wake()
        try:
            await event.wait()
        except trio.Cancelled:
            queue = self.queues.get(principal)
            if queue is not None and event in queue:
                queue.remove(event)
                if not queue:
                    del self.queues[principal]
            raise
        finally:
            # Also if the task was cancelled, and then got the turn before it ran.
            if event.is_set():
                self._granted = False


activity: Final = Activity()
client_turns: Final = Turns(activity)
server_turns: Final = Turns(activity)
operation_turns: Final = Turns(activity)
# Of connections with more input than one turn takes, and of large messages.
backlog_turns: Final = PrincipalTurns()
large_turns: Final = PrincipalTurns(Allowance(_LARGE_PART, _MOST_SAVED))


def connect(wake: Callable[[], None] | None) -> None:
    """Use the rounds of a poller, which `wake` wakes, or of none."""
    backlog_turns.connect(wake)
    large_turns.connect(wake)


def until_next() -> float | None:
    """Return the time until a task that waits may continue (seconds), None if none waits."""
    if backlog_turns.queues:
        return 0.0
    return large_turns.pause() if large_turns.queues else None


def note(principal: str) -> None:
    """Note input of a principal, or output for it. Other names are empty."""
    activity.note(principal)


async def give_way(principal: str) -> None:
    """Wait for a turn of this principal, if several are active."""
    activity.note(principal)
    if activity.several:
        await backlog_turns.wait(principal)


def begin_round() -> None:
    """Begin a round of all kinds of turns."""
    if activity.several:
        activity.begin_round()
    # Most rounds have one turn of one kind, and every round has this cost.
    if client_turns.users:
        client_turns.begin_round()
    if server_turns.users:
        server_turns.begin_round()
    if operation_turns.users:
        operation_turns.begin_round()
    if not backlog_turns.free:
        backlog_turns.begin_round()
    if not large_turns.free:
        large_turns.begin_round()
