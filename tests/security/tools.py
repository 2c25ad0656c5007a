"""Find and run the tools of the gates, and list the files that they check.

The tools of the dependency group `security` have an environment of their own, .deps/security, because their dependencies
contradict those of the tests. A gate gets the folder that it checks; the tools are always those of this checkout.
"""

import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = (ROOT / ".deps/security/bin", ROOT / ".deps/supply/bin", ROOT / ".venv/bin")
SECONDS: Final = 600
# The version of a gate that needs Python only; its rules are those of the commit.
OWN: Final = f"Python {platform.python_version()}"
# Files of clients, as tests need them: with comments in JSON, and with the mistakes of people.
FIXTURES: Final = ":(exclude,glob)tests/**/fixtures/**"
# Variables that change where a tool looks for its configuration, or that colour its output.
_ENVIRONMENT: Final = {"NO_COLOR": "1", "TERM": "dumb", "PYTHONDONTWRITEBYTECODE": "1"}


class ToolMissing(Exception):
    """A tool is not installed. The text says how to install it."""


class ToolFailed(Exception):
    """A tool ended with a status that is neither "clean" nor "findings"."""


@cache
def tool(name: str) -> str:
    """Return the path of a program. Raises ToolMissing."""
    for folder in FOLDERS:
        if (folder / name).is_file():
            return str(folder / name)
    if found := shutil.which(name):
        return found
    message = f"{name} is not installed (make security-tools)"
    raise ToolMissing(message)


def run(
    arguments: list[str], root: Path, *, clean: int = 0, found: tuple[int, ...] = (1,), text: str = ""
) -> str:
    """Run a program in a folder and return what it printed.

    Raises ToolFailed if its status is neither `clean` nor in `found`, and ToolMissing if there is no such program.
    """
    done = subprocess.run(
        [tool(arguments[0]), *arguments[1:]],
        cwd=root,
        input=text,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
        env={**os.environ, **_ENVIRONMENT},
    )
    if done.returncode not in {clean, *found}:
        message = (
            f"{arguments[0]} exited with {done.returncode}: {(done.stdout + done.stderr).strip()[-2000:]}"
        )
        raise ToolFailed(message)
    return done.stdout + done.stderr


def lines(
    arguments: list[str], root: Path, *, clean: int = 0, found: tuple[int, ...] = (1,), text: str = ""
) -> list[str]:
    """As `run`, with the lines of the output that are not empty."""
    return [
        line
        for line in run(arguments, root, clean=clean, found=found, text=text).splitlines()
        if line.strip()
    ]


@cache
def version(name: str, option: str = "--version") -> str:
    """Return the first line with a digit of what a tool prints as its version."""
    printed = lines([name, option], ROOT, found=(1, 2))
    found = next((line.strip() for line in printed if any(map(str.isdigit, line))), "unknown")
    return found if name in found else f"{name} {found}"


def files(root: Path, *patterns: str) -> list[str]:
    """Return the paths of the files that git tracks or would track, relative to the root, that match git's patterns."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [
        path
        for path in listed.split("\0")
        if path and (root / path).is_file() and not (root / path).is_symlink()
    ]
