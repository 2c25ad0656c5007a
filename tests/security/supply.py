"""Run the checks of tests/supply_chain, in the environment of their libraries, as gates."""

import subprocess
from pathlib import Path
from typing import Final

from ..supply_chain.report import EX_FINDINGS, EX_NOT_RUN
from .result import Result, checked, not_run
from .tools import ROOT, ToolFailed, ToolMissing

PYTHON: Final = ROOT / ".deps/supply/bin/python"
SECONDS: Final = 1200


def check(module: str, root: Path, *arguments: str, version: str) -> Result:
    """Run a module of tests/supply_chain for a folder. Each line that it prints is a finding.

    Raises ToolMissing without its environment, and ToolFailed for another exit status.
    """
    if not PYTHON.is_file():
        message = f"{PYTHON.relative_to(ROOT)} is not installed (make .deps/supply/.installed)"
        raise ToolMissing(message)
    done = subprocess.run(
        [str(PYTHON), "-m", f"tests.supply_chain.{module}", "--root", str(root), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
    )
    printed = [line for line in done.stdout.splitlines() if line.strip()]
    if done.returncode == EX_NOT_RUN:
        return not_run("; ".join(printed).removeprefix("NOT RUN: "), version)
    if done.returncode not in {0, EX_FINDINGS} or bool(printed) != bool(done.returncode):
        message = f"{module} exited with {done.returncode}: {(done.stdout + done.stderr).strip()[-2000:]}"
        raise ToolFailed(message)
    return checked(printed, version)


def versions(*names: str) -> str:
    """Return the versions of libraries of the environment, or an empty text without it."""
    if not PYTHON.is_file():
        return ""
    code = (
        "import importlib.metadata as m, sys; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=', ')"
    )
    return subprocess.run(
        [str(PYTHON), "-c", code, *names], capture_output=True, text=True, check=True
    ).stdout.strip()
