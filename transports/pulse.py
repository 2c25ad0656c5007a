"""One clock and one watch for all connections, so that no request pays for a timer or a task of its own.

`Pulse` ticks whatever is registered a few times a second (deadlines, heartbeats). `Departures` tells within a
millisecond that a peer has closed its side, by one epoll of our own that every connection joins once.
"""

import select
import socket
from collections.abc import Callable
from email.utils import formatdate
from typing import Final, Protocol

import trio

# How finely deadlines are kept, in seconds. Those that are watched this way are seconds long.
TICK: Final = 0.25


class Ticking(Protocol):
    """Something that wants to look at the clock."""

    def tick(self, now: float) -> None:
        """Look at the time `now`, on Trio's clock. Must not wait and must not raise."""
        ...


class Pulse:
    """The sweeper task, and the time as of its last round."""

    def __init__(self) -> None:
        self.now = 0.0
        self.date = b""
        self._members: set[Ticking] = set()

    def join(self, member: Ticking) -> None:
        """Tick `member` from now on."""
        self._members.add(member)

    def leave(self, member: Ticking) -> None:
        """Stop ticking `member`."""
        self._members.discard(member)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tick for ever."""
        self._look()
        task_status.started()
        while True:
            await trio.sleep(TICK)
            self._look()
            for member in tuple(self._members):
                member.tick(self.now)

    def _look(self) -> None:
        self.now = trio.current_time()
        self.date = formatdate(usegmt=True).encode("ascii")


class Departures:
    """Tells who hung up. A half-closed peer counts: it has nothing more to ask."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}

    def watch(self, sock: socket.socket, left: Callable[[], None]) -> None:
        """Call `left` once when the peer of `sock` closes or resets its side."""
        self._watched[sock.fileno()] = left
        self._epoll.register(sock.fileno(), select.EPOLLRDHUP | select.EPOLLET)

    def forget(self, sock: socket.socket) -> None:
        """Stop watching; must come before the socket is closed."""
        if self._watched.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch for ever."""
        task_status.started()
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for fd, _ in self._epoll.poll(0):
                    left = self._watched.get(fd)
                    if left is not None:
                        left()
        finally:
            self._epoll.close()
