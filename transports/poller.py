"""One edge-triggered epoll for every client socket and every server's stdout, each registered once.

Trio re-arms a descriptor for each wait, which costs a system call and a turn of its loop. At thousands of calls per second
that was a fifth of all time (benchmarks/RESULTS.md). Here Trio watches one descriptor, and edges call registered functions.
A hang-up is an edge as well, so a disconnect is seen within a millisecond at no cost.
"""

import os
import select
from collections.abc import Callable
from typing import Final

import trio

from . import turns

# Called with whether the other side will send no more.
Ready = Callable[[bool], None]
# Called with an exception of a function that the poller has called. Must not raise.
OnFault = Callable[[Exception], None]

_EDGES: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_LEFT: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
# Edges handled in one step of the event loop, which serves requests and responses itself.
_BATCH: Final = 64


class WakeUpSlot:
    """A place where one task waits until it is woken. The task must check again what it waits for."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None

    async def wait(self) -> None:
        """Wait until `wake` is called."""
        # A second task would never be woken.
        assert self._task is None  # noqa: S101 - an invariant of this class
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def wake(self) -> None:
        """Reschedule the waiting task, if there is one."""
        task = self._task
        if task is not None:
            self._task = None
            trio.lowlevel.reschedule(task)

    @property
    def occupied(self) -> bool:
        """Whether a task waits."""
        return self._task is not None

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


class Poller:
    """Call functions at edges of descriptors. A function must read until it would block, or use `call_again`.

    An exception of a function ends the calls for its descriptor only.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        # By descriptor; added by `register`, removed by `unregister` and by an exception of the function.
        self._callbacks: dict[int, Ready] = {}
        # The same for exceptions of these functions.
        self._on_fault: dict[int, OnFault] = {}
        self._again: dict[int, None] = {}
        self._waiting = False
        # The number of the round whose functions are being called, 0 between two rounds.
        self.round = 0
        self._rounds = 0
        # Functions for the end of the round, and what gets their exceptions; the end of the round removes all.
        self._at_end: list[tuple[Callable[[], None], OnFault]] = []
        # A write to it ends the wait for the other descriptors.
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._waker, _EDGES)

    def register(self, descriptor: int, ready: Ready, on_fault: OnFault) -> None:
        """Call `ready` at each edge of the descriptor, and at once if it is ready now.

        An exception of `ready` unregisters the descriptor and is passed to `on_fault`, once. Raises OSError for a file that
        cannot be polled.
        """
        # First, because it may raise OSError.
        self._epoll.register(descriptor, _EDGES)
        self._callbacks[descriptor] = ready
        self._on_fault[descriptor] = on_fault

    def unregister(self, descriptor: int) -> None:
        """Stop calling. Call this before the descriptor is closed."""
        if self._callbacks.pop(descriptor, None) is not None:
            del self._on_fault[descriptor]
            self._epoll.unregister(descriptor)

    def call_again(self, descriptor: int) -> None:
        """Call the function of the descriptor once more, after those of all others. Any task may call this at any time."""
        self._again[descriptor] = None
        self._wake()

    def _wake(self) -> None:
        if self._waiting:
            self._waiting = False
            os.eventfd_write(self._waker, 1)

    def call_at_end(self, function: Callable[[], None], on_fault: OnFault) -> None:
        """Call a function once at the end of the current round. `function` must not call this method.

        An exception of `function` is passed to `on_fault`.
        """
        self._at_end.append((function, on_fault))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Wait for edges until cancelled."""
        turns.connect(self._wake)
        task_status.started()
        try:
            await self._run()
        finally:
            turns.connect(None)

    async def _run(self) -> None:
        # Whether the last round had several edges: then more are to be expected, and Trio need not watch the epoll.
        busy = False
        while True:
            if self._again or busy or turns.waiting():
                await trio.lowlevel.checkpoint()
            else:
                self._waiting = True
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                self._waiting = False
            again, self._again = self._again, {}
            members = self._callbacks
            edges = self._epoll.poll(0, _BATCH)
            busy = len(edges) > 1
            turns.begin_round()
            self._rounds += 1
            self.round = self._rounds
            for descriptor, events in edges:
                if again:
                    # One call for each descriptor in a round, however many edges it has.
                    again.pop(descriptor, None)
                ready = members.get(descriptor)
                if ready is not None:
                    try:
                        ready(events & _LEFT != 0)
                    except Exception as fault:  # noqa: BLE001 - the boundary of one connection or server
                        self._fail(descriptor, fault)
            for descriptor in again:
                ready = members.get(descriptor)
                if ready is not None:
                    try:
                        ready(False)
                    except Exception as fault:  # noqa: BLE001 - the boundary of one connection or server
                        self._fail(descriptor, fault)
            self.round = 0
            if self._at_end:
                self._end_round()

    def _end_round(self) -> None:
        for function, on_fault in self._at_end:
            try:
                function()
            except Exception as fault:  # noqa: BLE001 - the boundary of one server
                on_fault(fault)
        self._at_end.clear()

    def _fail(self, descriptor: int, fault: Exception) -> None:
        on_fault = self._on_fault.get(descriptor)
        self.unregister(descriptor)
        if on_fault is not None:
            on_fault(fault)

    def close(self) -> None:
        """Close the epoll descriptor. All descriptors must be unregistered."""
        self._epoll.close()
        os.close(self._waker)
