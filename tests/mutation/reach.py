"""Which tests run which lines: `python -m tests.mutation.reach OUTPUT PATH...` runs tests, and writes it as JSON.

The file has the time of each test (seconds), and for each module and line the numbers of the tests that ran it.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import coverage
import pytest

from .modules import FOLDERS, PACKAGE, ROOT, TESTS, sources
from .selection import ARGUMENTS, Measured

_FAILED: Final = 1
_READ: Final = ("tests/support", "tests/fuzz", "tests/specification", "tests/bridge/config/fixtures")


class BaselineFailedError(Exception):
    """Tests fail although nothing was changed, so no result would have a meaning."""


@dataclass(frozen=True)
class Reach:
    """Key of `seconds`: a test. Keys of `lines`: a module and a line; the value has the tests that run it."""

    seconds: dict[str, float]
    lines: dict[str, dict[int, frozenset[str]]]

    def tests(self, module: str, lines: range | None) -> set[str]:
        """Return the tests that run one of the lines, or any line of the module."""
        found = self.lines.get(module, {})
        return set().union(*(tests for line, tests in found.items() if lines is None or line in lines))

    def ran(self, module: str, lines: range | None) -> bool:
        """Return whether one of the lines was run by a test, or when a test file was imported."""
        return any(lines is None or line in lines for line in self.lines.get(module, {}))


def load(build: Path, workers: int, root: Path = ROOT, paths: Iterable[str] = TESTS) -> Reach:
    """Return the table of a checkout, from a file if nothing has changed. Raises BaselineFailedError."""
    stored = build / "reach.json"
    files = _test_files(root, paths)
    digest = _digest(root, files)
    if stored.exists():
        found = json.loads(stored.read_text(encoding="utf-8"))
        if found["digest"] == digest:
            return _reach(found["parts"])
    parts = _measure(build, [files[number::workers] for number in range(min(workers, len(files)))], root)
    stored.write_text(json.dumps({"digest": digest, "parts": parts}), encoding="utf-8")
    return _reach(parts)


def _test_files(root: Path, paths: Iterable[str]) -> list[str]:
    found: list[str] = []
    for path in paths:
        files = [root / path] if path.endswith(".py") else (root / path).rglob("test_*.py")
        found += sorted(str(file.relative_to(root)) for file in files)
    # Large files first, so that the parts take about the same time.
    return sorted(found, key=lambda file: -(root / file).stat().st_size)


def _digest(root: Path, files: list[str]) -> str:
    """Return a hash of what the table depends on: the program, the tests, and what tests import or read."""
    found = hashlib.sha256(repr((sys.version, files)).encode())
    read = [file for folder in _READ for file in (root / folder).rglob("*")] + [root / "tests/conftest.py"]
    others = {
        str(file.relative_to(root)) for file in read if file.is_file() and "__pycache__" not in file.parts
    }
    for path in sorted({*sources(root), *files, *others}):
        if (root / path).exists():
            found.update(path.encode() + b"\0" + (root / path).read_bytes())
    return found.hexdigest()


def _measure(build: Path, parts: list[list[str]], root: Path) -> list[dict[str, Any]]:
    running = []
    for number, files in enumerate(parts):
        output = build / f"reach-{number}.json"
        output.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.mutation.reach", str(output), *files]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True)
        running.append((process, output))
    texts = [process.communicate()[0] for process, _ in running]
    for (process, output), text in zip(running, texts, strict=True):
        if process.returncode or not output.exists():
            raise BaselineFailedError(text or f"the tests ended with {process.returncode}")
    return [json.loads(output.read_text(encoding="utf-8")) for _, output in running]


def _reach(parts: list[dict[str, Any]]) -> Reach:
    seconds: dict[str, float] = {}
    lines: defaultdict[str, defaultdict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for part in parts:
        tests = list(part["seconds"])
        seconds.update(part["seconds"])
        for module, rows in part["lines"].items():
            for line, numbers in rows.items():
                lines[module][int(line)].update(tests[number] for number in numbers)
    return Reach(
        seconds,
        {module: {line: frozenset(tests) for line, tests in rows.items()} for module, rows in lines.items()},
    )


def main() -> int:
    output, *paths = sys.argv[1:]
    measured = coverage.Coverage(
        data_file=None, config_file=False, source_pkgs=[f"{PACKAGE}.{folder}" for folder in FOLDERS]
    )
    plugin = Measured(measured)
    measured.start()
    status = pytest.main([*ARGUMENTS, *paths], plugins=[plugin])
    measured.stop()
    if status or plugin.failed or not plugin.seconds:
        print("\n".join(plugin.failed) or f"pytest ended with {status!r}")
        return _FAILED
    numbers = {test: number for number, test in enumerate(plugin.seconds)}
    data = measured.get_data()
    lines: dict[str, dict[int, list[int]]] = {}
    modules = _modules()
    for file in data.measured_files():
        module = modules.get(os.path.realpath(file))
        # A program of a test may have imported a script that is no module.
        if module is not None:
            rows = data.contexts_by_lineno(file)
            lines[module] = {
                line: [numbers[test] for test in tests if test in numbers] for line, tests in rows.items()
            }
    Path(output).write_text(json.dumps({"seconds": plugin.seconds, "lines": lines}), encoding="utf-8")
    return 0


def _modules() -> dict[str, str]:
    """Return the path in the repository of each file of the program that is imported. Coverage measures files, not links."""
    found = {}
    for name, module in sys.modules.items():
        if name.startswith(f"{PACKAGE}.") and module.__file__:
            path = name.removeprefix(f"{PACKAGE}.").replace(".", "/")
            end = "/__init__.py" if hasattr(module, "__path__") else ".py"
            found[os.path.realpath(module.__file__)] = f"{path}{end}"
    return found


if __name__ == "__main__":
    sys.exit(main())
