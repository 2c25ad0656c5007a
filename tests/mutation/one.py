"""Run tests in this process with a changed module. The process is a fork, which ends with it.

Nothing is written beside the sources: a loader gives the changed source to Python, and no byte code is stored.
"""

import importlib
import importlib.machinery
import json
import os
import resource
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final, NoReturn

import pytest

from .selection import ARGUMENTS, Chosen

# The memory of one process (bytes).
_MEMORY: Final = 4 << 30
_FAILED, _INTERRUPTED = 1, 2

SURVIVED: Final = "survived"
KILLED: Final = "killed"
INVALID: Final = "invalid"
BROKEN: Final = "broken"


@dataclass(frozen=True)
class Run:
    """Tests with a changed source of a module. `processor` is the limit of processor time (seconds)."""

    name: str
    source: str
    tests: tuple[str, ...]
    processor: int


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        # A changed source may compare with `is` what it should not.
        with warnings.catch_warnings(action="ignore"):
            code: CodeType = compile(self._source, self.path, "exec", dont_inherit=True)
        return code


class _Finder(MetaPathFinder):
    def __init__(self, name: str, source: str) -> None:
        self._name = name
        self._source = source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _Loader(fullname, spec.origin, self._source)
        return spec


def result_of(run: Run) -> dict[str, object]:
    """Import the module and run the tests.

    `status` is `invalid` if the module cannot be imported, and `broken` if the reason of a failure is not the change.
    """
    sys.meta_path.insert(0, _Finder(run.name, run.source))
    try:
        importlib.import_module(run.name)
    except Exception as error:  # noqa: BLE001 - the change may raise anything
        return {"status": INVALID, "by": f"{type(error).__name__}: {error}"}
    chosen = Chosen(run.tests)
    files = dict.fromkeys(test.partition("::")[0] for test in run.tests)
    status = pytest.main([*ARGUMENTS, "--exitfirst", *files], plugins=[chosen])
    if status == 0 and chosen.ran:
        return {"status": SURVIVED, "by": ""}
    # Exit status 2: a file could not be collected. Without the change each can be, so it has a name that is missing now.
    if status in (_FAILED, _INTERRUPTED) and chosen.failed:
        return {"status": KILLED, "by": chosen.failed}
    return {"status": BROKEN, "by": f"pytest ended with {status!r} after {chosen.ran} tests"}


def main(run: Run, output: Path, log: Path) -> NoReturn:
    """Run the tests and end the process. `output` gets the result as JSON, `log` what is printed."""
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (run.processor, run.processor + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.dont_write_bytecode = True
        text = json.dumps(result_of(run))
        # At once, so that a process that is killed leaves no half of it.
        output.with_suffix(".new").write_text(text, encoding="utf-8")
        output.with_suffix(".new").rename(output)
    finally:
        os._exit(0)
