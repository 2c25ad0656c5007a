"""Show a page of text that changes, on the alternate screen of a terminal (xterm control sequences, ECMA-48).

Each page replaces the former one in a single write, without clearing the screen before, so that it does not flicker. The
cursor and the former content come back at the end: after Ctrl-C, after SIGTERM and SIGHUP, and while the program is stopped.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from types import FrameType
from typing import Final, NoReturn, TextIO

from ...validators.counted import counted

# Alternate screen, no cursor, no wrapped lines.
_OPEN: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_CLOSE: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_ERASE_LINE: Final = "\x1b[K"
_ERASE_BELOW: Final = "\x1b[J"
_ENDS: Final = (signal.SIGTERM, signal.SIGHUP)
# Blocked while the screen is open, and received by `wait`.
_RECEIVED: Final = (signal.SIGWINCH, signal.SIGTSTP)
# The exit status of a program that a signal has ended is this plus its number, by the convention of shells.
_BY_SIGNAL: Final = 128


class Screen:
    """The alternate screen of a terminal, while it is open."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, lines: Sequence[str], height: int | None) -> None:
        """Replace the page. Lines that have no place are counted in the last one."""
        if height is not None and len(lines) > height:
            rest = len(lines) - height + 1
            lines = [*lines[: height - 1], f"({counted(rest, 'more line')}; enlarge the terminal)"][:height]
        text = f"{_ERASE_LINE}\n".join(lines)
        self._write(f"{_HOME}{text}{_ERASE_LINE}{_ERASE_BELOW}")

    def wait(self, seconds: float) -> None:
        """Wait until the time is over, or the size of the terminal has changed."""
        received = signal.sigtimedwait(_RECEIVED, seconds)
        if received is not None and received.si_signo == signal.SIGTSTP:
            self._write(_CLOSE)
            # SIGTSTP is blocked. The program goes on after SIGCONT.
            os.kill(os.getpid(), signal.SIGSTOP)
            self._write(_OPEN)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


@contextlib.contextmanager
def open_screen(stream: TextIO = sys.stdout) -> Generator[Screen]:
    """Yield the alternate screen of the terminal at a stream, and bring the former content back after it."""
    handlers = {number: signal.signal(number, _exit) for number in _ENDS}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _RECEIVED)
    try:
        stream.write(_OPEN)
        yield Screen(stream)
    finally:
        # The terminal may have gone.
        with contextlib.suppress(OSError):
            stream.write(_CLOSE)
            stream.flush()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(_BY_SIGNAL + number)


def watch(seconds: float, page: Callable[[], tuple[Sequence[str], int | None]]) -> NoReturn:
    """Show a page again and again. `page` returns its lines and the height of the terminal (lines)."""
    with open_screen(sys.stdout) as screen:
        while True:
            screen.show(*page())
            screen.wait(seconds)
