"""The audit file, and that of the log: lines are appended, and the file is opened again after a rotation.

An error of write(2) is no exception, because a full disk must not stop the daemon: the lines are lost.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MODE: Final = 0o600


class CannotOpen(ValueError):
    """The file cannot be opened; the text names the file and the reason."""


class AuditFile:
    """An open audit file. It is closed with its last reference."""

    # -1 before the file is open, and after it was closed.
    _descriptor = -1

    def __init__(self, path: Path) -> None:
        """Open the file, and create it with mode 0600 if it does not exist. Raises CannotOpen."""
        self.path = path
        # Why a line could not be written, of the last such line.
        self.reason = ""
        self._descriptor = _opened(path)
        # Whether the last line was written in part, perhaps by a daemon before this one.
        self._is_cut = _ends_within_line(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, -1
        with contextlib.suppress(OSError):
            os.close(descriptor)

    __del__ = close

    def write(self, lines: bytes) -> int:
        """Append these lines, and return how many of them could not be written in whole. `reason` has the reason."""
        data = b"\n" + lines if self._is_cut else lines
        done = 0
        try:
            # After a write in part, the next one has the reason.
            while done < len(data):
                done += os.write(self._descriptor, data[done:])
        except OSError as fault:
            self.reason = os.strerror(fault.errno or 0)
        if not done:
            return lines.count(b"\n")
        self._is_cut = data[done - 1 : done] != b"\n"
        return data.count(b"\n", done)


def fault_of(path: Path) -> str:
    """Return why the file cannot be used, empty if it can. No file is created."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        if os.access(path.parent, os.W_OK | os.X_OK):
            return ""
        return f"{path}: the directory {path.parent} does not exist or is not writable"
    except OSError as fault:
        return f"{path}: {os.strerror(fault.errno or 0)}"
    return _unsuitable(path, found)


def _opened(path: Path) -> int:
    try:
        descriptor = os.open(path, _FLAGS, _MODE)
    except OSError as fault:
        reason = "is a symbolic link" if fault.errno == errno.ELOOP else os.strerror(fault.errno or 0)
        raise CannotOpen(f"{path}: {reason}") from None
    reason = _unsuitable(path, os.fstat(descriptor))
    if reason:
        os.close(descriptor)
        raise CannotOpen(reason)
    return descriptor


def _ends_within_line(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def _unsuitable(path: Path, found: os.stat_result) -> str:
    # A character device, such as /dev/null, has no content that others could change.
    if stat.S_ISCHR(found.st_mode):
        return ""
    if not stat.S_ISREG(found.st_mode):
        return f"{path} is not a regular file"
    if found.st_uid != os.geteuid():
        return f"{path} belongs to the user with uid {found.st_uid}, not to uid {os.geteuid()}"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{path} is writable for other users; run: chmod go-w {path}"
    return ""
