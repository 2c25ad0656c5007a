"""Run a program on a pseudo-terminal (pty(7)): read what a terminal emulator (pyte) shows of its output, and type."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager, suppress

import pyte

# Makes the terminal that of the new session, so that Ctrl-C reaches the program even if the tests ignore SIGINT.
_LEAD = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""
CTRL_C, CTRL_D, CTRL_Z = b"\x03", b"\x04", b"\x1a"


class TerminalSession:
    """A program on a terminal. `written` is all that it has written so far."""

    def __init__(self, process, far, columns, lines):
        self.process = process
        self.written = b""
        # How much of the text `expect` has passed.
        self._passed = 0
        self._far = far
        # The alternate screen of xterm is not emulated by pyte.
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)

    @property
    def shown(self):
        """The lines on the screen, without empty ones at the end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip("\n").split("\n")

    @property
    def text(self):
        """All that the program has written so far, with the line ends of a terminal."""
        return self.written.decode(errors="replace")

    def styles(self, word):
        """Return the colour of a word on the screen, and whether it is bold."""
        for row, line in enumerate(self.screen.display):
            if word in line:
                cell = self.screen.buffer[row][line.index(word)]
                return cell.fg, cell.bold
        raise AssertionError(f"{word!r} is not on the screen: {self.shown}")

    def read(self, seconds=0.05):
        """Read what the program writes within this time. Return False at its end."""
        if not select.select([self._far], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._far, 65536)
        # Linux reports the end of the last writer so (pty(7)).
        except OSError:
            return False
        self.written += data
        self._stream.feed(data)
        return bool(data)

    def wait_for(self, condition, timeout=20.0):
        """Read until `condition` of the screen is true, and return it."""
        end = time.monotonic() + timeout
        while not (found := condition(self)):
            assert time.monotonic() < end, (self.shown, self.written[-500:])
            assert self.read() or condition(self), ("the program has ended", self.shown, self.written[-500:])
        return found

    def expect(self, text, timeout=20.0):
        """Wait until this text is written after what was expected before. Return what was written up to it."""
        at = self.wait_for(lambda one: one.text.find(text, self._passed) + 1, timeout) - 1
        before = self.text[self._passed : at]
        self._passed = at + len(text)
        return before

    def to_the_end(self, timeout=20.0):
        """Read until the program exits, and return its exit status."""
        end = time.monotonic() + timeout
        while self.read():
            assert time.monotonic() < end, (self.shown, self.written[-500:])
        return self.process.wait(timeout)

    def resize(self, columns, lines):
        """Change the size of the terminal. The kernel sends SIGWINCH."""
        self.screen.resize(lines, columns)
        _set_size(self._far, columns, lines)

    def type(self, text):
        """Type a text. Control characters send signals, as on any terminal."""
        os.write(self._far, text)

    def enter(self, text):
        """Type a text and Enter."""
        self.type(f"{text}\r".encode())


def _set_size(descriptor, columns, lines):
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@contextmanager
def on_terminal(command, environment, columns=80, lines=24, stdout=None):
    """Run a command on a terminal of its own, and yield its session. The program has ended after it.

    Its stdin and stderr are the terminal, and its stdout too unless `stdout` is the path of a file.
    """
    far, near = pty.openpty()
    _set_size(near, columns, lines)
    variables = {"TERM": "xterm-256color", **environment}
    with open(stdout or os.devnull, "wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LEAD, *command],
            stdin=near,
            stdout=file if stdout else near,
            stderr=near,
            env=variables,
            start_new_session=True,
        )
    os.close(near)
    try:
        yield TerminalSession(process, far, columns, lines)
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        os.close(far)
