"""Run the test files in several processes, and report the number of tests of each kind: `python -m tests.suite.run [FILE ...]`.

Each process takes one file after the other from two queues: tests that start whole daemons, which mostly wait, and tests that
compute, which run beside them with a low priority. A process is a fork of this one, which has imported the libraries once.
Exits with 1 if a test failed, a process died, or a file has no tests. The output of each file is in build/tests.
"""

import argparse
import contextlib
import gc
import importlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import attrs
import msgspec
import pytest

from .kinds import Counts, Recorder, table

ROOT: Final = Path(__file__).parents[2]
OUTPUT: Final = ROOT / "build/tests"
# Tests that start whole daemons, or have time limits. The longest files are in the first folders; the last ones to start should be short.
WAITING: Final = ("chaos", "e2e", "hostile", "cases", "transports", "documents", "container/test_lint.py")
COMPUTING: Final = (
    "security",
    "supply_chain",
    "bridge",
    "validators",
    "fuzz",
    "mutation",
    "suite",
    "test_*.py",
)
# Small files are one unit up to so many bytes, because each unit starts pytest anew.
_UNIT_BYTES: Final = {False: 20_000, True: 60_000}
_LOWEST_PRIORITY: Final = 19
# Plugins were imported before pytest could rewrite their assertions, which concerns those of the plugins only.
_OPTIONS: Final = (
    "--no-header",
    "-pno:cacheprovider",
    "-Wignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning",
)
# The exit code in place of 0 of a process that ended before its last test.
_NO_RESULT: Final = -1
# Libraries and helpers that many tests import.
_IMPORTED: Final = (
    "_hypothesis_pytestplugin",
    "anyio.pytest_plugin",
    "hypothesis.stateful",
    "jsonschema",
    "mcp.client.streamable_http",
    "mcpbridged.bridge.commands.wrapper",
    "mcpbridged.bridge.daemon.app",
    "tests.support.daemon_process",
    "tests.support.hostile_bridge",
    "tests.support.sdk",
    "trio.testing",
    "trustme",
)


@attrs.frozen
class Unit:
    """Files that one call of pytest runs, with the name of the first. `computes` is False for tests that start daemons."""

    name: str
    files: tuple[Path, ...]
    computes: bool = False


@attrs.frozen
class Ended:
    """The end of a process. `cpu` is its processor time and that of its descendants (seconds)."""

    unit: Unit
    code: int
    seconds: float
    cpu: float


def _files(folder: str) -> list[Path]:
    tests = ROOT / "tests"
    found = tests.glob(folder) if folder.endswith(".py") else (tests / folder).rglob("test_*.py")
    return sorted(found, key=lambda file: file.stat().st_size, reverse=True)


def all_units() -> list[Unit]:
    """Return the units of the whole run, those that should start first at the beginning of each kind."""
    units: list[Unit] = []
    for computes, folders in ((False, WAITING), (True, COMPUTING)):
        for folder in folders:
            units += _joined(_files(folder), computes=computes)
    return units


def _joined(files: Iterable[Path], *, computes: bool) -> Iterable[Unit]:
    """Join small files to units."""
    part: list[Path] = []
    for file in files:
        part.append(file)
        if sum(one.stat().st_size for one in part) >= _UNIT_BYTES[computes]:
            yield Unit(_name(part[0]), tuple(part), computes)
            part = []
    if part:
        yield Unit(_name(part[0]), tuple(part), computes)


def _name(file: Path) -> str:
    return str(file.relative_to(ROOT / "tests") if file.is_relative_to(ROOT) else file.name)


def places(processors: int) -> tuple[int, int]:
    """Return the number of processes for tests that wait, and of those for tests that compute."""
    return min(2 * processors, 8), min(max(processors - 1, 1), 8)


class Runner:
    """The processes that run, and the units that wait for one."""

    def __init__(self, units: Sequence[Unit], processors: int, output: Path = OUTPUT) -> None:
        self._output = output
        self._queues = {
            computes: deque(unit for unit in units if unit.computes == computes) for computes in (False, True)
        }
        waiting, computing = places(processors)
        # Free places: whether units that compute are preferred there.
        self._free = [False] * waiting + [True] * computing
        # Key: the pid of a running process. Removed when it has ended.
        self._running: dict[int, tuple[Unit, bool, float]] = {}

    def run(self) -> Iterable[Ended]:
        """Run all units. Yields the end of each. If the caller wants no more, the processes get SIGINT, so that tests end what they started."""
        try:
            while self._start() or self._running:
                yield self._wait()
        finally:
            for pid in self._running:
                os.kill(pid, signal.SIGINT)

    def _start(self) -> bool:
        """Start a unit in each free place. Return whether one was started."""
        started = False
        while self._free and (queue := self._queues[self._free[-1]] or self._queues[not self._free[-1]]):
            place, unit = self._free.pop(), queue.popleft()
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                self._running.clear()
                raise SystemExit(self._run(unit, low_priority=place))
            self._running[pid] = unit, place, time.monotonic()
            started = True
        return started

    def _run(self, unit: Unit, *, low_priority: bool) -> int:
        """Run pytest in this process, and write what it prints and counts into the folder of the output."""
        log = os.open(self.file(unit, "log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        if low_priority:
            os.nice(_LOWEST_PRIORITY)
        recorder = Recorder()
        code = pytest.main([*_OPTIONS, *map(str, unit.files)], plugins=[recorder])
        self.file(unit, "json").write_bytes(msgspec.json.encode(recorder.counts))
        return int(code)

    def _wait(self) -> Ended:
        pid, status, usage = os.wait4(-1, 0)
        unit, place, begun = self._running.pop(pid)
        self._free.append(place)
        code = os.waitstatus_to_exitcode(status)
        if code == 0 and not self.file(unit, "json").exists():
            # A test ended the process.
            code = _NO_RESULT
        return Ended(unit, code, time.monotonic() - begun, usage.ru_utime + usage.ru_stime)

    def file(self, unit: Unit, ending: str) -> Path:
        """Return the path of an output of a unit."""
        return self._output / f"{unit.name.replace('/', '.')}.{ending}"

    def counts(self, unit: Unit) -> Counts:
        """Return what the process of a unit counted, which is nothing if it died."""
        with contextlib.suppress(FileNotFoundError):
            return msgspec.json.decode(self.file(unit, "json").read_bytes(), type=Counts)
        return {}


def main(arguments: Sequence[str]) -> int:
    """Run the files, or all. Print a line for each, the output of those that failed, and the table of kinds."""
    parser = argparse.ArgumentParser(prog="tests.suite.run")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the folder for the output of each file")
    parser.add_argument("files", nargs="*", type=Path)
    given = parser.parse_args(arguments)
    units = [Unit(_name(file.absolute()), (file.absolute(),)) for file in given.files] or all_units()
    given.output.mkdir(parents=True, exist_ok=True)
    for old in (*given.output.glob("*.log"), *given.output.glob("*.json")):
        old.unlink()
    # Each process would compile the fixtures of all tests again (PYTHONDONTWRITEBYTECODE).
    sys.dont_write_bytecode = False
    for module in _IMPORTED:
        importlib.import_module(module)
    # The objects of the libraries are not looked at again by collections of the processes.
    gc.freeze()
    runner = Runner(units, os.cpu_count() or 1, given.output)
    failed, counts = [], []
    for end in runner.run():
        result = "passed" if end.code == 0 else f"FAILED with {end.code}"
        print(
            f"{result}, {end.seconds:.1f} s, {end.cpu:.1f} s of processor time: {end.unit.name}", flush=True
        )
        counts.append(runner.counts(end.unit))
        if end.code:
            failed.append(end.unit)
            print(runner.file(end.unit, "log").read_text(errors="replace"), flush=True)
    text = table(counts)
    (given.output / "kinds.txt").write_text(text)
    print(text)
    for unit in failed:
        print(f"FAILED: {unit.name}: {runner.file(unit, 'log')}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
