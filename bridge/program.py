"""Which program a command means, and whether it is safe to start (attacks V25, K03)."""

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from ..transports.options import Launch


class NotRunnable(Exception):
    """A command that is never started; the text names it and the reason."""


def check_word(program: str) -> None:
    """Raise NotRunnable for a program that depends on where we stand."""
    if not program:
        raise NotRunnable("command: the program is an empty word")
    if "/" in program and not Path(program).is_absolute():
        raise NotRunnable(
            f"command: {program!r} is relative; say an absolute path, or a name to look for in PATH"
        )


def check_program(program: str) -> None:
    """Raise NotRunnable for a program that is none, or that anybody could replace."""
    if "/" not in program:
        return
    path = Path(program)
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
    # The functions of os.path take a path that is too long for one that is not there.
    if "/" in program and os.path.isdir(program):  # noqa: PTH112
        return f"{program!r} is a directory"
    if "/" in program and os.path.exists(program):  # noqa: PTH110
        return f"{program!r} is not executable; chmod +x {program}"
    return f"there is no program {program!r}"


def why_not_there(launch: Launch) -> str:
    """Return why this cannot be started now, as far as the program and the directory are concerned; nothing if it can."""
    if found_program(launch.argv, launch.env) is None:
        where = "" if "/" in launch.argv[0] else " in its PATH; mcp-bridge doctor says whether yours has it"
        return why_not_found(launch.argv[0]) + where
    if launch.cwd is not None and not os.path.isdir(launch.cwd):  # noqa: PTH112 - as above
        return f"cwd {launch.cwd} is no directory"
    return ""


def found_program(argv: tuple[str, ...], environment: Mapping[str, str]) -> str | None:
    """The file that would be executed, or None if there is none."""
    return shutil.which(argv[0], path=environment.get("PATH", os.defpath))
