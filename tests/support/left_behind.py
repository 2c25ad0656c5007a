"""Watch what a test leaves behind in its own process: tasks of Trio, descriptors, and steps that block the loop.

Processor time of the thread is counted, and not the time of the clock, so that a busy machine is no fault.
"""

import gc
import os
import time
from collections.abc import Iterable
from contextlib import contextmanager
from typing import Final

import pytest
import trio

# The longest step of a task that is permitted (seconds of processor time). Tests themselves make and parse large messages in a step.
LONGEST_STEP: Final = 3.0
# Tasks that Trio itself starts.
_OF_TRIO: Final = frozenset({"<TrioToken.run_sync_soon task>"})
# Tests replace functions of os, also until after the look at descriptors.
_listdir, _readlink = os.listdir, os.readlink
_DESCRIPTORS: Final = "/proc/self/fd"
# Open descriptors of fixtures that several tests share, with their targets.
_shared: Final[set[tuple[int, str]]] = set()


class Steps(trio.abc.Instrument):
    """Finds steps of tasks that take too long. `slow` has a text for each."""

    def __init__(self, longest: float = LONGEST_STEP) -> None:
        self._longest = longest
        self._begun = 0.0
        self.slow: list[str] = []

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._begun = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        used = time.thread_time() - self._begun
        if used > self._longest:
            self.slow.append(f"a step of {task.name} took {used:.2f} s of processor time")


def _tasks_left() -> Iterable[str]:
    """Yield the names of the tasks that run beside the main task, and that Trio would cancel after it."""
    main, pending = trio.lowlevel.current_task(), [trio.lowlevel.current_root_task()]
    while pending:
        for nursery in pending.pop().child_nurseries:
            for task in nursery.child_tasks:
                pending.append(task)
                if task is not main and task.name not in _OF_TRIO:
                    yield f"the task {task.name} was left"


def _descriptors() -> dict[int, str]:
    """Return the target of each open descriptor."""
    found = {}
    for name in _listdir(_DESCRIPTORS):
        try:
            found[int(name)] = _readlink(f"{_DESCRIPTORS}/{name}")
        except FileNotFoundError:
            # The descriptor with which the directory was read.
            continue
    return found


@contextmanager
def shared():
    """Let a test leave what the block opens, which is the work of a fixture that other tests use as well."""
    before = _descriptors().items()
    yield
    _shared.update(_descriptors().items() - before)


@contextmanager
def nothing_left(longest: float = LONGEST_STEP, *, descriptors: bool = True):
    """Require that the block leaves no task, no descriptor and no step above `longest` (seconds). Raises AssertionError.

    Without `descriptors` they are not looked at.
    """
    steps, left = Steps(longest), []
    run, start_guest_run = trio.run, trio.lowlevel.start_guest_run

    def watched(function):
        def start(main, *arguments, instruments=(), **options):
            async def watched_main(*values):
                try:
                    return await main(*values)
                finally:
                    left.extend(_tasks_left())

            return function(watched_main, *arguments, instruments=[*instruments, steps], **options)

        return start

    before = _descriptors()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio, "run", watched(run))
        patch.setattr(trio.lowlevel, "start_guest_run", watched(start_guest_run))
        yield
    new = _descriptors().items() - before.items() - _shared if descriptors else set()
    if new:
        # Objects in cycles are closed by a collection.
        gc.collect()
        new = _descriptors().items() - before.items() - _shared
    left += [f"the descriptor {number} of {target} was left" for number, target in sorted(new)]
    assert not left + steps.slow, left + steps.slow
