"""The audit file, and that of the log: lines are appended, and the file is opened again after a rotation.

A thread writes, because a disk may take seconds for a write, in which no client may wait. Ordinarily the lines are written when
`write` returns. An error of write(2) is no exception, because a full disk must not stop the daemon: the lines are lost, and
counted in the file.
"""

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

# Returns the line about so many lost lines before it, with the reason.
GapLine = Callable[[int, str], bytes]
# How long `write` waits for the disk, if no lines wait for it already (seconds).
_AT_ONCE: Final = 0.02
# How long `close` waits for the disk (seconds).
_AT_CLOSE: Final = 10.0
# How many bytes wait for a slow disk. Further lines are lost.
_MOST: Final = 4 * 1024 * 1024
_TOO_SLOW: Final = "the disk is too slow"
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MODE: Final = 0o600


class CannotOpen(ValueError):
    """The file cannot be opened; the text names the file and the reason."""


class AuditFile:
    """An open file of lines. `gap_line` makes the line that is written in the place of lines that were lost."""

    def __init__(self, path: Path, gap_line: GapLine) -> None:
        """Open the file, and create it with mode 0600 if it does not exist. Blocks. Raises CannotOpen."""
        self.path = path
        # Why a line could not be written, of the last such line.
        self.reason = ""
        self._gap_line = gap_line
        self._descriptor = _opened(path)
        # Whether the last line was written in part, perhaps by a daemon before this one.
        self._is_cut = _ends_within_line(self._descriptor)
        # Guards all that follows. Notified when there is something to write, and when all is written.
        self._changed = threading.Condition()
        # Lines that the thread has not taken, and the bytes of those and of the lines that it is writing.
        self._waiting: list[bytes] = []
        self._size = 0
        # The lines lost since the last one that was written, and since the last call of `write`.
        self._gap = 0
        self._lost = 0
        self._closing = False
        # Started with the first line.
        self._thread: threading.Thread | None = None
        # The file that this one has replaced, while a slow disk still takes its lines.
        self._before: AuditFile | None = None

    def write(self, lines: bytes) -> int:
        """Append these lines. Return how many lines were lost since the last call, these included; `reason` has the reason.

        Lines that wait for a slow disk may still be lost, and are then returned by a later call.
        """
        with self._changed:
            is_idle = not self._size
            if self._closing or self._size + len(lines) > _MOST:
                self.reason = self.reason if self._closing else _TOO_SLOW
                self._lose(lines.count(b"\n"))
            else:
                self._waiting.append(lines)
                self._size += len(lines)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="file of lines", daemon=True)
                    self._thread.start()
                self._changed.notify_all()
                if is_idle:
                    self._changed.wait_for(lambda: not self._size, _AT_ONCE)
            lost, self._lost = self._lost, 0
        return lost

    @property
    def is_writing(self) -> bool:
        """Whether lines wait for the disk, or the file is open for more."""
        return self._thread is not None and self._thread.is_alive()

    def replace(self, before: "AuditFile") -> None:
        """Let a former file close when its lines are written, before any line of this one. `close` waits for that as well."""
        before.close(0)
        before.drop_finished()
        self._before = before

    def drop_finished(self) -> None:
        """Drop the former file if its lines are written."""
        if self._before is not None and not self._before.is_writing:
            self._before = None

    def close(self, seconds: float = _AT_CLOSE) -> None:
        """Close the file when all lines are written. Waits for that, for at most this time (seconds)."""
        if self._before is not None:
            self._before.close(seconds)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is None:
            self._release()
        else:
            self._thread.join(seconds)

    def _run(self) -> None:
        if self._before is not None:
            # Both may be the same file, whose lines stay in order.
            self._before.close()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._closing)
                lines, gap = b"".join(self._waiting), self._gap
                self._waiting.clear()
                self._gap = 0
            if not lines:
                break
            before = self._gap_line(gap, self.reason) if gap else b""
            lost = self._append(before + lines)
            # If no line was written, that of the gap was not written either.
            is_gap_lost = bool(before) and lost > lines.count(b"\n")
            with self._changed:
                self._size -= len(lines)
                self._lose(lost - is_gap_lost)
                self._gap += gap if is_gap_lost else 0
                self._changed.notify_all()
        self._release()

    def _lose(self, count: int) -> None:
        self._gap += count
        self._lost += count

    def _append(self, lines: bytes) -> int:
        """Write these lines, and return how many of them could not be written in whole."""
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

    def _release(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


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
