"""Find the program of a command, and explain why it cannot be executed."""

import errno
import os
import shutil
import stat
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ...transports.options import Launch, SpawnFailed
from .child_environment import shown

# The kernel reads this much of a file to find its interpreter (BINPRM_BUF_SIZE, execve(2)), in bytes.
_HEAD_BYTES: Final = 256
_ELF: Final = b"\x7fELF"
# Errors of execve(2) that are about the contents of a file, or about an interpreter or loader that it names.
_NOT_EXECUTED: Final = tuple(os.strerror(number) for number in (errno.ENOENT, errno.ENOEXEC, errno.EACCES))

_INTO_ARGS: Final = "; write its arguments into args, a string each"


class NotRunnable(Exception):
    """Raised for a command that cannot start. The text names the program and the reason."""


def check_word(program: str) -> None:
    """Check that the program does not depend on the working directory. Raises NotRunnable."""
    if not program:
        raise NotRunnable("command: the program is an empty word")
    if "/" in program and not Path(program).is_absolute():
        raise NotRunnable(
            f"command: {shown(program)} is a relative path; use an absolute path, or a name in PATH"
        )


def check_program(program: str) -> None:
    """Check that a program with a path is executable, and that only its owner can change it. Raises NotRunnable."""
    if "/" not in program:
        return
    path = Path(program)
    try:
        found = path.stat()
    except OSError:
        # The program may be installed later. The start reports that it is missing.
        return
    if stat.S_ISDIR(found.st_mode) or not os.access(path, os.X_OK):
        raise NotRunnable(f"command: {why_not_found(program)}")
    if found.st_mode & stat.S_IWOTH:
        raise NotRunnable(f"command: {program!r} is writable by every user; chmod o-w {program}")


def why_not_found(program: str) -> str:
    """Return the error text for a program that cannot be found or executed."""
    # The functions of os.path return False for a path that is too long.
    if "/" in program and os.path.isdir(program):  # noqa: PTH112 - see above
        return f"{program!r} is a directory"
    if "/" in program and os.path.exists(program):  # noqa: PTH110 - see above
        return f"{program!r} is not executable; chmod +x {program}"
    _, space, rest = program.strip().partition(" ")
    hint = _INTO_ARGS if space and rest else ""
    return f"there is no program {program!r}{hint}"


def why_not_there(launch: Launch) -> str:
    """Return why a program or its working directory is missing; empty if both exist."""
    if find_program(launch.argv, launch.env) is None:
        reason = why_not_found(launch.argv[0])
        if "/" in launch.argv[0] or reason.endswith(_INTO_ARGS):
            return reason
        return f"{reason} in its PATH; mcp-bridge doctor compares it with yours"
    if launch.cwd is not None and not os.path.isdir(launch.cwd):  # noqa: PTH112 - as above
        return f"cwd {launch.cwd} is not a directory"
    return ""


@contextmanager
def explained(launch: Launch) -> Generator[None]:
    """Add to a SpawnFailed why the program was not executed, from the first bytes of its file."""
    try:
        yield
    except SpawnFailed as fault:
        why = why_not_executed(launch) if str(fault).endswith(_NOT_EXECUTED) else ""
        raise SpawnFailed(f"{fault}; {why}" if why else str(fault)) from None


def why_not_executed(launch: Launch) -> str:
    """Return why the kernel did not execute an existing program (execve(2)); empty where the file does not show it."""
    if launch.sandbox.confines_files:
        return "its sandbox may not contain the program or its interpreter: add the directory to read"
    head = _head(find_program(launch.argv, launch.env) or "")
    if head is None:
        return ""
    if head.startswith(_ELF):
        return "it is damaged, or built for another machine, or its loader is missing"
    return _why_no_script(head)


def why_no_script(program: str) -> str:
    """Return why a script cannot be executed, from the first bytes of its file; empty for another kind of program."""
    head = _head(program)
    is_text = head is not None and head.isascii() and b"\0" not in head
    return _why_no_script(head) if head is not None and is_text else ""


def interpreter_line(program: str) -> list[str]:
    """Return the words of the `#!` line of a script, none for another program or an unreadable file."""
    head = _head(program)
    if head is None or not head.startswith(b"#!"):
        return []
    return os.fsdecode(head[2:].partition(b"\n")[0]).split()


def _head(program: str) -> bytes | None:
    try:
        with open(program, "rb") as file:  # noqa: PTH123 - as below
            return file.read(_HEAD_BYTES)
    except (OSError, ValueError):
        return None


def _why_no_script(head: bytes) -> str:
    if head.startswith(b"#!"):
        return _why_not_interpreted(head[2:].partition(b"\n")[0])
    return "it has no #! line: a script needs one, such as #!/bin/sh, or its interpreter as first word of the command"


def _why_not_interpreted(line: bytes) -> str:
    interpreter = os.fsdecode((line.strip(b" \t").replace(b"\t", b" ").split(b" "))[0])
    if not interpreter.strip():
        return "its #! line names no interpreter"
    if os.access(interpreter, os.X_OK) and not os.path.isdir(interpreter):  # noqa: PTH112 - as above
        return ""
    ending = "; its lines end with CR LF, and must end with LF" if interpreter.endswith("\r") else ""
    missing = "is not executable" if os.path.exists(interpreter) else "does not exist"  # noqa: PTH110 - as above
    return f"its #! line names {interpreter!r}, which {missing}{ending}"


def find_program(argv: tuple[str, ...], environment: Mapping[str, str]) -> str | None:
    """Return the file that would be executed, or None if there is none."""
    return shutil.which(argv[0], path=environment.get("PATH", os.defpath))
