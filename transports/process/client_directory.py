"""Find the directory that a client has named, without trusting its path.

The directory is opened first, and what was opened is compared with the directories that the operator allows. A symbolic link
that is replaced in between therefore changes nothing. The server enters the directory that was compared (keeper.py).
"""

import errno
import os
from collections.abc import Iterable

from ..options import Directory


class DirectoryRefused(Exception):
    """A directory that no server may be started in. The text names the reason, and not the path."""


def find_directory(path: bytes, allowed: Iterable[str]) -> Directory:
    """Return the directory at an absolute path, if it is one of the `allowed` or lies in one. Blocks.

    Raises DirectoryRefused.
    """
    try:
        descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as fault:
        raise DirectoryRefused(_why_not_opened(fault)) from None
    try:
        found = os.fstat(descriptor)
        real = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - a text
        # As the keeper does: it must be possible to enter the directory.
        enterable = os.access(f"/proc/self/fd/{descriptor}", os.X_OK)
        # The kernel appends a text to the path of a removed directory (proc_pid_fd(5)).
        present = os.stat(real)  # noqa: PTH116 - a text
    except OSError:
        raise DirectoryRefused("it was removed") from None
    finally:
        os.close(descriptor)
    identity = (found.st_dev, found.st_ino)
    if (present.st_dev, present.st_ino) != identity:
        raise DirectoryRefused("it was removed")
    if not any(_is_inside(real, os.path.realpath(one)) for one in allowed):
        raise DirectoryRefused("it lies in none of the directories in cwd_allowed")
    if not enterable:
        raise DirectoryRefused(os.strerror(errno.EACCES))
    return Directory(real, *identity)


def _why_not_opened(fault: OSError) -> str:
    number = fault.errno or 0
    if number == errno.ENOTDIR:
        return "it is not a directory"
    if number == errno.ENOENT:
        return "it does not exist"
    return os.strerror(number)


def _is_inside(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
