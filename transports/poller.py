"""One edge-triggered epoll for every client socket and every server's stdout, each registered once.

Trio re-arms a descriptor for each wait, which costs a system call and a turn of its loop. At thousands of calls per second
that was a fifth of all time (benchmarks/RESULTS.md). Here Trio watches one descriptor, and edges call registered functions.
A hang-up is an edge as well, so a disconnect is seen within a millisecond at no cost.
"""

import os
import select
import time
from collections.abc import Callable
from typing import Final

import trio

from . import turns
from .shares import STEP, Share, Shares

# Called with whether the other side will send no more.
Ready = Callable[[bool], None]
# Called with an exception of a function that the poller has called. Must not raise.
OnFault = Callable[[Exception], None]

_EDGES: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_LEFT: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
# Edges handled in one step of the event loop, which serves requests and responses itself.
_BATCH: Final = 64
# Time that a woken task takes until it waits again (seconds): it sends a response, or serves a request.
_TASK: Final = 0.0001


class _Wakes:
    """How often a waiting task was woken. The task runs later, so its time is estimated (`_TASK`)."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


_wakes: Final = _Wakes()


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
            _wakes.count += 1
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

    Between two checkpoints the principals with input are served in turn (`shares`), and new edges are read after each slice.
    An exception of a function ends the calls for its descriptor only.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        # By descriptor; added by `register`, removed by `unregister` and by an exception of the function.
        self._callbacks: dict[int, Ready] = {}
        # The same for exceptions of these functions, and for the shares.
        self._on_fault: dict[int, OnFault] = {}
        self._share_of: dict[int, Share] = {}
        self._shares = Shares()
        # That of the last edge.
        self._last: Share | None = None
        self._again: dict[int, None] = {}
        self._waiting = False
        # The number of the round whose functions are being called, 0 between two rounds. One round is one slice of a share.
        self.round = 0
        self._rounds = 0
        # Functions for the end of the round, and what gets their exceptions; the end of the round removes all.
        self._at_end: list[tuple[Callable[[], None], OnFault]] = []
        # A write to it ends the wait for the other descriptors.
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._waker, _EDGES)

    def register(self, descriptor: int, ready: Ready, on_fault: OnFault, principal: str | None = "") -> None:
        """Call `ready` at each edge of the descriptor, and at once if it is ready now, in the share of a principal.

        None is a share of its own. An exception of `ready` unregisters the descriptor and is passed to `on_fault`, once.
        Raises OSError for a file that cannot be polled.
        """
        # First, because it may raise OSError.
        self._epoll.register(descriptor, _EDGES)
        self._callbacks[descriptor] = ready
        self._on_fault[descriptor] = on_fault
        self._share_of[descriptor] = self._find_share(principal)

    def assign(self, descriptor: int, principal: str | None) -> None:
        """Move a registered descriptor into the share of a principal, or into one of its own."""
        before = self._share_of.get(descriptor)
        if before is None:
            return
        share = self._share_of[descriptor] = self._find_share(principal)
        if descriptor in before.ready:
            self._shares.add(share, descriptor, left=before.ready.pop(descriptor))

    def _find_share(self, principal: str | None) -> Share:
        return Share() if principal is None else self._shares.named(principal)

    def unregister(self, descriptor: int) -> None:
        """Stop calling. Call this before the descriptor is closed."""
        if self._callbacks.pop(descriptor, None) is not None:
            del self._on_fault[descriptor]
            self._share_of.pop(descriptor).ready.pop(descriptor, None)
            self._epoll.unregister(descriptor)

    def call_again(self, descriptor: int) -> None:
        """Call the function of the descriptor once more, after a checkpoint. Any task may call this at any time."""
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
        # Whether the last step had several edges: then more are to be expected, and Trio need not watch the epoll.
        busy = False
        shares, activity = self._shares, turns.activity
        while True:
            pause = 0.0 if self._again or busy or shares else turns.until_next()
            if pause == 0:
                await trio.lowlevel.checkpoint()
            else:
                self._waiting = True
                if pause is None:
                    await trio.lowlevel.wait_readable(self._epoll.fileno())
                else:
                    with trio.move_on_after(pause):
                        await trio.lowlevel.wait_readable(self._epoll.fileno())
                self._waiting = False
            turns.begin_round()
            edges = self._epoll.poll(0, _BATCH)
            busy = len(edges) > 1
            if shares or (activity.several and (busy or self._again)):
                self._serve_shares(edges)
            else:
                self._serve_all(edges)

    def _serve_all(self, edges: list[tuple[int, int]]) -> None:
        """Call the functions of all descriptors with input, in the order of the edges: all are of one principal, or one has an edge."""
        again, self._again = self._again, {}
        share_of, callbacks = self._share_of, self._callbacks
        self._rounds += 1
        self.round = self._rounds
        for descriptor, events in edges:
            share = share_of.get(descriptor)
            # The waker, or a descriptor that was unregistered meanwhile.
            if share is None:
                continue
            if again:
                # One call for each descriptor, however many edges it has.
                again.pop(descriptor, None)
            if share is not self._last:
                self._note(share)
            try:
                callbacks[descriptor](events & _LEFT != 0)
            except Exception as fault:  # noqa: BLE001 - the boundary of one connection or server
                self._fail(descriptor, fault)
        for descriptor in again:
            if descriptor in callbacks:
                try:
                    callbacks[descriptor](False)
                except Exception as fault:  # noqa: BLE001 - the boundary of one connection or server
                    self._fail(descriptor, fault)
        self.round = 0
        if self._at_end:
            self._end_round()

    def _serve_shares(self, edges: list[tuple[int, int]]) -> None:
        """Serve the shares in turn until none has input, or for the time of one step."""
        shares, left = self._shares, STEP
        self._add(edges)
        again, self._again = self._again, {}
        for descriptor in again:
            share = self._share_of.get(descriptor)
            if share is not None:
                shares.add(share, descriptor, left=False)
        while left > 0 and (share := shares.next()) is not None:
            left -= self._serve(share)
            if shares:
                self._add(self._epoll.poll(0, _BATCH))

    def _add(self, edges: list[tuple[int, int]]) -> None:
        share_of, add = self._share_of, self._shares.add
        for descriptor, events in edges:
            share = share_of.get(descriptor)
            if share is not None:
                if share is not self._last:
                    self._note(share)
                add(share, descriptor, left=events & _LEFT != 0)

    def _note(self, share: Share) -> None:
        self._last = share
        turns.note(share.name)

    def _serve(self, share: Share) -> float:
        """Call the functions of a share for the time of its slice. Return the time, with that of the tasks woken (seconds)."""
        self._rounds += 1
        self.round = self._rounds
        ready, callbacks, credit = share.ready, self._callbacks, share.credit
        wakes, began = _wakes.count, time.perf_counter()
        while True:
            descriptor, left = share.take()
            try:
                callbacks[descriptor](left)
            except Exception as fault:  # noqa: BLE001 - the boundary of one connection or server
                self._fail(descriptor, fault)
            spent = time.perf_counter() - began + (_wakes.count - wakes) * _TASK
            if not ready or spent >= credit:
                break
        self.round = 0
        if self._at_end:
            self._end_round()
        self._shares.charge(share, spent)
        return spent

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
