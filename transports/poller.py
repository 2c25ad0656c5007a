"""One epoll of our own for every client socket and every server's stdout, each registered once.

Trio re-arms a descriptor for each wait, which costs a system call and a turn of its loop; at thousands of calls a second
that was a fifth of all our time (benchmarks). Here Trio watches one descriptor, and edges wake whoever waits. A peer that
hangs up is an edge as well, so a departure is known within a millisecond at no cost.
"""

import os
import select
from collections.abc import Callable
from typing import Final

import trio

# What may have happened to a descriptor: `left` is set where the other side will send no more.
Ready = Callable[[bool], None]

_EDGES: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_LEFT: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
# Few enough for one step of the event loop, since requests and answers are served in it.
_BATCH: Final = 64


class WakeUpSlot:
    """Where one task waits, and anybody who has something for it wakes it. It must look again at what it waits for."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None

    async def wait(self) -> None:
        """Park until somebody calls `wake`."""
        assert self._task is None  # noqa: S101 - a second task would never be woken
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def wake(self) -> None:
        """Let the waiting task go on, if there is one."""
        task = self._task
        if task is not None:
            self._task = None
            trio.lowlevel.reschedule(task)

    @property
    def occupied(self) -> bool:
        """Whether a task waits here."""
        return self._task is not None

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


class Poller:
    """Tells its members about edges. A member must read until it would block, or ask to be called `again`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Ready] = {}
        self._again: dict[int, None] = {}
        self._waiting = False
        # Each write to it is an edge, which ends the wait for the others.
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._waker, _EDGES)

    def register(self, descriptor: int, ready: Ready) -> None:
        """Call `ready` at each edge of the descriptor, also at once if it is ready now. It must not raise."""
        self._callbacks[descriptor] = ready
        self._epoll.register(descriptor, _EDGES)

    def unregister(self, descriptor: int) -> None:
        """No more calls; must come before the descriptor is closed."""
        if self._callbacks.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def call_again(self, descriptor: int) -> None:
        """Call the member once more after everybody else has had a turn. Any task may call this at any time."""
        self._again[descriptor] = None
        if self._waiting:
            self._waiting = False
            os.eventfd_write(self._waker, 1)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch for ever."""
        task_status.started()
        while True:
            if self._again:
                await trio.lowlevel.checkpoint()
            else:
                self._waiting = True
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                self._waiting = False
            again, self._again = self._again, {}
            members = self._callbacks
            for descriptor, events in self._epoll.poll(0, _BATCH):
                if again:
                    again.pop(descriptor, None)  # one turn for each, however many edges it makes
                ready = members.get(descriptor)
                if ready is not None:
                    ready(events & _LEFT != 0)
            for descriptor in again:
                ready = members.get(descriptor)
                if ready is not None:
                    ready(False)

    def close(self) -> None:
        """Give the descriptor back. All members must have left."""
        self._epoll.close()
        os.close(self._waker)
