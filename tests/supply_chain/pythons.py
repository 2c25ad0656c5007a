"""Run tests with each version of Python that is here: `python -m tests.supply_chain.pythons [VERSION...]`.

A version is that of a program python3.X in PATH or of pyenv. Each has an environment with the locked packages in build/python-3.X. A
version that is not here is NOT RUN, which is printed last and is never a pass; nothing is downloaded.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from .lock import VERSIONS, uv_program
from .report import ROOT

TESTS: Final = (
    "tests/validators",
    "tests/bridge",
    "tests/transports",
    "tests/supply_chain",
    "tests/test_sources.py",
    "tests/e2e/test_aggregate.py::test_an_official_client_in_front_of_all",
    "tests/e2e/test_connect.py::test_an_official_client_over_stdio",
)


def found(version: str, path: str | None = None, home: Path | None = None) -> str:
    """Return the newest interpreter of a version 3.X, or an empty text."""
    pyenv = (home or Path.home()) / ".pyenv/versions"
    candidates = sorted(pyenv.glob(f"{version}.*/bin/python"), key=_numbers, reverse=True)
    for candidate in [shutil.which(f"python{version}", path=path), *map(str, candidates)]:
        if candidate and version_of(candidate) == version:
            return candidate
    return ""


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.parts[-3])]


def version_of(python: str) -> str:
    """Return the version 3.X of an interpreter, or an empty text if it does not run, as a shim of pyenv without its version."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [python, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def passes(version: str, python: str) -> bool:
    """Install the program with its locked packages, and run the tests. Returns whether they passed."""
    folder = ROOT / f"build/python-{version}"
    uv = [uv_program(), "--quiet", "--no-config", "--system-certs"]
    install = [*uv, "pip", "install", "--python", str(folder / "bin/python")]
    commands = (
        [*uv, "venv", "--clear", "--seed", "--no-python-downloads", "--python", python, str(folder)],
        [*install, "--require-hashes", "-r", "requirements/test.txt"],
        [*install, "--no-deps", "."],
        [str(folder / "bin/python"), "-m", "pytest", "--quiet", "-p", "no:cacheprovider", *TESTS],
    )
    environment = {**os.environ, "MCP_BRIDGE": str(folder / "bin/mcp-bridge")}
    return all(
        subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0
        for command in commands
    )


def outcome(version: str) -> str:
    if not (python := found(version)):
        return f"NOT RUN: there is no python{version} in PATH or of pyenv"
    print(f"Python {version}: {python}", flush=True)
    return "passed" if passes(version, python) else "FAILED"


def main(arguments: list[str]) -> int:
    outcomes = {version: outcome(version) for version in arguments or VERSIONS}
    for version, text in outcomes.items():
        print(f"Python {version}: {text}")
    return int("FAILED" in outcomes.values() or "passed" not in outcomes.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
