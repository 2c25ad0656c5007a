"""The process of one owner, which is read only as fast as its clients read what it sends."""

from typing import TYPE_CHECKING, Protocol

import trio

from ...transports.send_queue import Backlog, SendQueue
from ...transports.ticker import PausableClock
from ...validators.limits import Limits
from ..core.requests import ClientRequest

if TYPE_CHECKING:
    from ...transports.ports import ServerConnection


class PacedProcess:
    """The current process of an owner, paused while `is_behind`. The time limits of a paused process stand still."""

    __slots__ = ("_clock", "child", "reads_on")

    def __init__(self) -> None:
        # None before the first process. Written by the owner.
        self.child: ServerConnection | None = None
        # Whether the process is read although a client is behind, because it is to be stopped. Written by the owner.
        self.reads_on = False
        self._clock = PausableClock()

    @property
    def related(self) -> bytes:
        """The request to which the present line belongs (ServerConnection.related)."""
        return b"" if self.child is None else self.child.related

    @property
    def is_behind(self) -> bool:
        """Whether the process waits for a client."""
        raise NotImplementedError

    def on_exit(self) -> None:
        """Let the time limits count, because there is no process that could be read."""
        self._clock.resume(trio.current_time())

    def stop(self) -> None:
        """Stop the process, if there is one."""
        if self.child is not None:
            self.child.stop()

    def discard(self, *, kill: bool = False) -> None:
        """Stop or kill the process, which is no longer the current one."""
        child, self.child = self.child, None
        if child is None:
            return
        if kill:
            child.kill()
        else:
            child.stop()

    def read_on(self) -> None:
        """Read the process however much is unsent, because it is stopped after its responses."""
        self.reads_on = True
        self.update()

    def update(self) -> None:
        """Pause or resume the process, because what a client has to read has changed."""
        child = self.child
        if child is None:
            return
        if not self.reads_on and self.is_behind:
            child.pause()
            self._clock.pause(trio.current_time())
        else:
            child.resume()
            self._clock.resume(trio.current_time())

    def time(self, now: float) -> float:
        """Return the time (seconds) without all pauses."""
        return self._clock.time(now)


class SessionProcess(PacedProcess):
    """The process of one session, whose client has one backlog over all its streams."""

    __slots__ = ("_backlog",)

    def __init__(self, backlog: Backlog) -> None:
        super().__init__()
        self._backlog = backlog
        backlog.watch(self.update)

    @property
    def is_behind(self) -> bool:
        """Whether too much is unsent."""
        return self._backlog.full

    def close(self) -> None:
        """Stop the process, because the session has ended."""
        self._backlog.unwatch(self.update)
        self.stop()


class Requests(Protocol):
    """The requests of the clients (`multiplexer.Multiplexer`)."""

    @property
    def queues(self) -> set[object]:
        """The queues of the requests without a response."""
        ...


class StatelessProcess(PacedProcess):
    """The process of several stateless clients. It waits for a client only while that is its only one."""

    __slots__ = ("_backlogs", "_limits", "_requests", "behind")

    def __init__(self, limits: Limits, requests: Requests) -> None:
        super().__init__()
        self._limits = limits
        self._requests = requests
        # Backlogs of clients that are behind (`Backlog.full`). Added by `on_full`, removed by `update`.
        self.behind: dict[Backlog, None] = {}
        # By `Client.key`; those of known clients. Added by `bind`, removed by `drop_idle`.
        self._backlogs: dict[str, Backlog] = {}

    @property
    def is_behind(self) -> bool:
        """Whether the only client is behind."""
        if not self.behind:
            return False
        queues = self._requests.queues
        backlogs = {one.backlog if isinstance(one, SendQueue) else None for one in queues}
        return len(backlogs.union(self.behind)) == 1

    def bind(self, request: ClientRequest) -> None:
        """Count what is unsent for a known client over all its streams. Another stream is counted by itself."""
        client, queue = request.client, request.queue
        # Such a key may stand for several programs.
        if not client.known or client.key in ("", request.principal):
            return
        if isinstance(queue, SendQueue) and queue.backlog is None:
            backlog = self._backlogs.get(client.key)
            if backlog is None:
                backlog = self._backlogs[client.key] = Backlog(self._limits)
            queue.bind(backlog)

    def drop_idle(self) -> None:
        """Drop the backlogs without unsent bytes, because no request is in flight."""
        if self._backlogs:
            self._backlogs = {key: one for key, one in self._backlogs.items() if one.bytes}

    def on_full(self, backlog: Backlog) -> None:
        """Pause the process where its only client is behind."""
        if backlog not in self.behind:
            self.behind[backlog] = None
            backlog.watch(self.update)
        self.update()

    def extend(self, queue: object) -> None:
        """Read on for a client that is behind, because the server must read what the client has just sent."""
        if self.behind and isinstance(queue, SendQueue) and queue.backlog in self.behind:
            queue.backlog.extend()

    def update(self) -> None:
        """Pause or resume the process, because what a client has to read has changed."""
        for backlog in [one for one in self.behind if not one.full]:
            self._unwatch(backlog)
        super().update()

    def close(self) -> None:
        """Stop the process, because its owner has ended."""
        self.stop()
        for backlog in tuple(self.behind):
            self._unwatch(backlog)
        super().update()

    def _unwatch(self, backlog: Backlog) -> None:
        del self.behind[backlog]
        backlog.unwatch(self.update)
