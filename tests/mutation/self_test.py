"""Check that the gate can fail: `python -m tests.mutation.self_test`.

Runs it for one module in copies of the checkout: as it is, with tests that check nothing, with a test that fails, and for no mutant.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .modules import ROOT, mirror

_MODULE: Final = "validators/token_bucket.py"
_TESTS: Final = f"{mirror(_MODULE)}.py"
_COPIED: Final = ("bridge", "tests", "transports", "validators", "docs", "Makefile", "pyproject.toml")
_MUTANTS: Final = 40


@dataclass(frozen=True)
class Plant:
    """A change of the test file. `status` and `text` are the exit status and a text of the output that it must lead to."""

    change: Callable[[str], str]
    status: int
    text: str
    mutants: int = _MUTANTS


PLANTS: Final = {
    "nothing is changed": Plant(lambda tests: tests, 0, "% killed"),
    "the tests check nothing": Plant(
        lambda tests: re.sub(r"^( +)assert .*", r"\1pass", tests, flags=re.MULTILINE), 1, "survived:"
    ),
    "a test fails without a mutant": Plant(
        lambda tests: f"{tests}\n\ndef test_planted():\n    assert False\n", 2, "NO RESULT"
    ),
    "there is no mutant": Plant(lambda tests: tests, 1, "no mutant was run", mutants=0),
}


def _run(plant: Plant) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in _COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(
                    ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules")
                )
            else:
                shutil.copy(ROOT / name, copy)
        for name in (".deps", ".venv"):
            (copy / name).symlink_to(ROOT / name)
        tests = copy / _TESTS
        changed = plant.change(tests.read_text(encoding="utf-8"))
        tests.write_text(changed, encoding="utf-8")
        command = [sys.executable, "-m", "tests.mutation.run", "--mutants", str(plant.mutants)]
        return subprocess.run(
            [*command, _MODULE, "--tests", _TESTS], cwd=copy, capture_output=True, text=True, check=False
        )


def main() -> int:
    missed = 0
    for name, plant in PLANTS.items():
        done = _run(plant)
        good = done.returncode == plant.status and plant.text in done.stdout
        missed += not good
        last = (done.stdout.splitlines() or ["no output"])[-1]
        print(f"{'as expected' if good else 'WRONG'}: {name}: status {done.returncode}: {last}", flush=True)
        if not good:
            print(done.stdout + done.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
