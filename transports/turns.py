"""Share the event loop among the clients and the servers that have much to read.

The poller works in rounds. In each round every client and every server with input gets one turn. The turns are the shorter the
more had one in the round before, so that a flood on many connections does not delay the turn of a client that sends little.
At least one message is handled in a turn. Each process has one event loop, and therefore one object of each kind.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

# Time that all clients, or all servers, with much input may occupy the event loop in one round (seconds).
_SECONDS: Final = 0.002
# Operations of all connections with much input in one round.
_OPERATIONS: Final = 16


class Turns:
    """The turns of one round. `length` is that of each turn (seconds)."""

    __slots__ = ("length", "users")

    def __init__(self) -> None:
        self.length = _SECONDS
        # How many turns were taken in this round.
        self.users = 0

    def begin_round(self) -> None:
        """Begin a round, whose turns depend on the number of turns in the last one."""
        self.length = _SECONDS / self.users if self.users > 1 else _SECONDS
        self.users = 0

    def take(self) -> float:
        """Count a turn. Return its length (seconds)."""
        self.users += 1
        return self.length

    @property
    def operations(self) -> int:
        """The operations without a wait after which a connection gives up its turn."""
        return max(1, int(_OPERATIONS * self.length / _SECONDS))


class PrincipalTurns:
    """Turns of which each round has one. Principals take turns, and the tasks of each have theirs in order.

    Without a poller there are no rounds, and no task waits.
    """

    def __init__(self) -> None:
        # Makes the poller begin a round; None while no poller runs.
        self._wake: Callable[[], None] | None = None
        # Whether the turn of this round is free.
        self.free = True
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
        """Begin a round, in which one task may continue."""
        self.free = not self.queues
        if self.queues:
            principal = next(iter(self.queues))
            queue = self.queues.pop(principal)
            queue.popleft().set()
            if queue:
                self.queues[principal] = queue

    async def wait(self, principal: str) -> None:
        """Wait for a turn of this principal; a checkpoint where it is free."""
        if self._wake is None or (self.free and not self.queues):
            self.free = False
            await trio.lowlevel.checkpoint()
            return
        event = trio.Event()
        self.queues.setdefault(principal, deque()).append(event)
        self._wake()
        try:
            await event.wait()
        except trio.Cancelled:
            queue = self.queues.get(principal)
            if queue is not None and event in queue:
                queue.remove(event)
                if not queue:
                    del self.queues[principal]
            raise


client_turns: Final = Turns()
server_turns: Final = Turns()
operation_turns: Final = Turns()
# Of connections with more input than one turn takes, and of large messages.
backlog_turns: Final = PrincipalTurns()
large_turns: Final = PrincipalTurns()


def connect(wake: Callable[[], None] | None) -> None:
    """Use the rounds of a poller, which `wake` wakes, or of none."""
    backlog_turns.connect(wake)
    large_turns.connect(wake)


def waiting() -> bool:
    """Return whether a task waits for the next round."""
    return bool(backlog_turns.queues or large_turns.queues)


def begin_round() -> None:
    """Begin a round of all kinds of turns."""
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
