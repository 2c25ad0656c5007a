"""Run mutants in forked processes, some at once, each with limits of time and memory."""

import gc
import importlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from . import one

# What the tests import, except for the program. Loaded once, before processes are forked.
_LOADED: Final = (
    "anyio.pytest_plugin",
    "h11",
    "h2.connection",
    "hypothesis.stateful",
    "hypothesis.strategies",
    "joserfc.jwt",
    "msgspec.json",
    "pytest",
    "tomlkit",
    "trio.testing",
    "trustme",
    "yaml",
)
TIMEOUT: Final = "timeout"
# A process may wait for the machine this many times longer than its limit of processor time.
_WAITS: Final = 6


@dataclass(frozen=True)
class Job:
    """The tests of a mutant in stages. A stage is run if no test of those before it has failed."""

    number: int
    name: str
    source: str
    stages: tuple[tuple[str, ...], ...]
    processor: int


@dataclass(frozen=True)
class Outcome:
    """`status` is one of those of `one`, or `timeout`. `by` is the test that failed."""

    status: str
    by: str = ""


@dataclass
class _Process:
    job: Job
    stage: int
    pid: int
    descriptor: int
    until: float
    output: Path


class Pool:
    """Forks processes. `folder` has their results and what they print."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder = folder
        self._workers = workers
        self._running: dict[int, _Process] = {}
        for name in _LOADED:
            with suppress(ImportError):
                importlib.import_module(name)

    def run(self, take: Callable[[], Job | None]) -> Iterator[tuple[Job, Outcome]]:
        """Yield the outcome of each job, when it is there. Kills all processes when it ends early.

        `take` returns the next job, or None as long as there is none. The pool ends when no process runs and there is no job.
        """
        gc.collect()
        gc.freeze()
        try:
            yield from self._run(take)
        finally:
            for process in self._running.values():
                _kill(process.pid)
                os.waitpid(process.pid, 0)
            self._running.clear()

    def _run(self, take: Callable[[], Job | None]) -> Iterator[tuple[Job, Outcome]]:
        while True:
            while len(self._running) < self._workers and (job := take()) is not None:
                self._start(job, 0)
            if not self._running:
                return
            for process in self._ended():
                outcome = self._outcome(process)
                if outcome.status == one.SURVIVED and process.stage + 1 < len(process.job.stages):
                    self._start(process.job, process.stage + 1)
                else:
                    yield process.job, outcome

    def _start(self, job: Job, stage: int) -> None:
        output = self._folder / f"{job.number}.json"
        output.unlink(missing_ok=True)
        run = one.Run(job.name, job.source, job.stages[stage], job.processor)
        pid = os.fork()
        if pid == 0:
            one.main(run, output, self._folder / f"{job.number}.log")
        until = time.monotonic() + job.processor * _WAITS
        self._running[pid] = _Process(job, stage, pid, os.pidfd_open(pid), until, output)

    def _ended(self) -> list[_Process]:
        """Wait until a process has ended or is over its time."""
        poll = select.poll()
        for process in self._running.values():
            poll.register(process.descriptor, select.POLLIN)
        first = min(process.until for process in self._running.values())
        ready = {descriptor for descriptor, _ in poll.poll(max(0, first - time.monotonic()) * 1000)}
        now = time.monotonic()
        return [one for one in self._running.values() if one.descriptor in ready or one.until <= now]

    def _outcome(self, process: _Process) -> Outcome:
        del self._running[process.pid]
        late = process.until <= time.monotonic()
        _kill(process.pid)
        _, status = os.waitpid(process.pid, 0)
        os.close(process.descriptor)
        if process.output.exists():
            return Outcome(**json.loads(process.output.read_text(encoding="utf-8")))
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if ended_by == signal.SIGXCPU or (late and ended_by == signal.SIGKILL):
            return Outcome(TIMEOUT, f"no end within {process.job.processor} seconds")
        if ended_by:
            return Outcome(one.KILLED, signal.Signals(ended_by).name)
        return Outcome(one.BROKEN, "a process has ended without a result")


def without_change(job: Job, tests: tuple[str, ...], source: str) -> Job:
    """Return the job that runs some tests of another one with the unchanged source."""
    return replace(job, source=source, stages=(tests,))


def _kill(pid: int) -> None:
    """Kill a process and those that its tests have started."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
