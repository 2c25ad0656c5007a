"""Show on a terminal how far a command is: one line on stderr, which later output replaces.

Nothing is written if stderr is no terminal, or a terminal without cursor control (TERM=dumb).
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self, TextIO

from ..log import escaped

_CLEAR: Final = "\r\x1b[K"
_FAINT: Final = "\x1b[2m"
_PLAIN: Final = "\x1b[0m"
# Of a stream without a size.
_USUAL_WIDTH: Final = 80
# Between two updates of the time that a wait has taken, and before the first one (seconds).
_TICK_SECONDS: Final = 1.0


class Progress:
    """The progress line of one command. Its methods may be called on several threads.

    Use it as a context manager, which erases the line at the end. Call `clear` before any other output.
    """

    def __init__(self, out: TextIO | None = None, environment: Mapping[str, str] = os.environ) -> None:
        self._out = out or sys.stderr
        self.is_shown = self._out.isatty() and environment.get("TERM") != "dumb"
        # https://no-color.org
        self._faint, self._plain = ("", "") if environment.get("NO_COLOR") else (_FAINT, _PLAIN)
        self._lock = threading.Lock()
        self._text = ""
        # The end of the present wait; None without one. Written by `wait`, removed by its end and by other output.
        self._wait: threading.Event | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def show(self, text: str) -> None:
        """Replace the line, and end a wait. A text that is longer than the terminal is wide is cut, so that it stays one line."""
        if not self.is_shown:
            return
        with self._lock:
            self._wait = None
            self._replace(text)

    def clear(self) -> None:
        """Erase the line, if there is one, and end a wait."""
        self.show("")

    def count(self, action: str, total: int, noun: str = "servers") -> "Count":
        """Return a count of the items that are done, which the line shows: `ACTION: 3 of 10 NOUN`."""
        return Count(self, action, total, noun)

    @contextmanager
    def wait(self, text: str | Callable[[], str]) -> Generator[None]:
        """Show after a second what the block waits for, and for how long. Other output ends this, as does the block.

        A function is called once, on a thread, and only if the block takes so long.
        """
        if not self.is_shown:
            yield
            return
        ended = threading.Event()
        with self._lock:
            self._wait = ended
        threading.Thread(target=self._update, args=(text, ended, time.monotonic()), daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            with self._lock:
                if self._wait is ended:
                    self._wait = None
                    self._replace("")

    def _update(self, text: str | Callable[[], str], ended: threading.Event, began: float) -> None:
        shown = ""
        while not ended.wait(_TICK_SECONDS):
            shown = shown or (text if isinstance(text, str) else text())
            with self._lock:
                if self._wait is not ended:
                    return
                self._replace(f"{shown} ({time.monotonic() - began:.0f} s)")

    def _replace(self, text: str) -> None:
        # A character in the last column could move the cursor to the next line.
        width = _width(self._out) - 1
        text = escaped(text)
        cut = text if len(text) <= width else f"{text[: max(0, width - 1)]}…"
        if cut != self._text:
            self._text = cut
            self._write(f"{_CLEAR}{self._faint}{cut}{self._plain}" if cut else _CLEAR)

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            # The terminal was closed.
            self.is_shown = False


def _width(out: TextIO) -> int:
    from .terminal import terminal_of  # noqa: PLC0415 - only for a terminal

    return terminal_of(out, os.environ).width or _USUAL_WIDTH


class Count:
    """Counts the items that are done, and shows the count. Its methods may be called on several threads."""

    def __init__(self, progress: Progress, action: str, total: int, noun: str) -> None:
        self._progress = progress
        self._action = action
        self._total = total
        self._noun = noun
        self._done = 0
        self._lock = threading.Lock()

    def one_more(self) -> None:
        """Count one more item."""
        with self._lock:
            self._done += 1
            self._progress.show(f"{self._action}: {self._done} of {self._total} {self._noun}")
