"""Run a program at a pseudo-terminal: wait for text, type, press Ctrl-C (pty(7))."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

# Makes the terminal that of the new session, so that Ctrl-C reaches the program even if the tests ignore SIGINT.
_LEAD = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""
CTRL_C, CTRL_D = "\x03", "\x04"


class TerminalSession:
    """A program whose stdin and stderr, and unless `stdout` names a file also stdout, are a terminal of its own."""

    def __init__(
        self,
        words: Sequence[str | Path],
        environment: Mapping[str, str],
        *,
        columns: int = 80,
        stdout: Path | None = None,
    ) -> None:
        self._terminal, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        self._file = stdout.open("wb") if stdout else None
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LEAD, *words],
            stdin=theirs,
            stdout=self._file or theirs,
            stderr=theirs,
            env=dict(environment),
            start_new_session=True,
        )
        os.close(theirs)
        # What was written, with the line ends of a terminal, and how much of it `expect` has passed.
        self.shown = ""
        self._passed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)
        if self._file is not None:
            self._file.close()
        if fault is not None:
            fault.add_note(f"the terminal showed:\n{self.shown}")

    def expect(self, text: str, seconds: float = 10) -> str:
        """Wait until this text is shown after what was expected before. Return what was shown up to it."""
        end = time.monotonic() + seconds
        while (at := self.shown.find(text, self._passed)) < 0:
            assert self._read(end), f"the program ended before it showed {text!r}"
            assert time.monotonic() < end, f"not shown within {seconds} s: {text!r}"
        before = self.shown[self._passed : at]
        self._passed = at + len(text)
        return before

    def type(self, text: str) -> None:
        """Type a text; without a control character it is followed by Enter."""
        os.write(self._terminal, text.encode() if text in (CTRL_C, CTRL_D) else f"{text}\r".encode())

    def finish(self, seconds: float = 20) -> int:
        """Wait for the end of the program, and return its exit code."""
        end = time.monotonic() + seconds
        while self._read(end):
            assert time.monotonic() < end, "the program did not end"
        return self.process.wait(seconds)

    def _read(self, end: float) -> bool:
        """Read what is shown next. Return False at the end."""
        ready, _, _ = select.select([self._terminal], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return True
        try:
            data = os.read(self._terminal, 65536)
        except OSError:
            # All descriptors of the other side are closed.
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)
