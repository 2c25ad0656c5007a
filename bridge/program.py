"""Which program a command means, and whether it is safe to start (attacks V25, K03)."""

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path


class NotRunnable(Exception):
    """A command that is never started; the text names it and the reason."""


def check_program(program: str) -> None:
    """Raise NotRunnable for a program that depends on where we stand, or that anybody could replace."""
    if not program:
        raise NotRunnable("command: the program is an empty word")
    if "/" not in program:
        return
    path = Path(program)
    if not path.is_absolute():
        raise NotRunnable(
            f"command: {program!r} is relative; say an absolute path, or a name to look for in PATH"
        )
    try:
        found = path.stat()
    except OSError:
        return  # it may come later; a start says that it is not there
    if stat.S_ISDIR(found.st_mode) or not os.access(path, os.X_OK):
        raise NotRunnable(f"command: {why_not_found(program)}")
    if found.st_mode & stat.S_IWOTH:
        raise NotRunnable(f"command: {program!r} can be changed by everybody; chmod o-w {program}")


def why_not_found(program: str) -> str:
    """What is told of a program that is none."""
    path = Path(program)
    if "/" in program and path.is_dir():
        return f"{program!r} is a directory"
    if "/" in program and path.exists():
        return f"{program!r} is not executable; chmod +x {program}"
    return f"there is no program {program!r}"


def found_program(argv: tuple[str, ...], environment: Mapping[str, str]) -> str | None:
    """The file that would be executed, or None if there is none."""
    return shutil.which(argv[0], path=environment.get("PATH", os.defpath))
