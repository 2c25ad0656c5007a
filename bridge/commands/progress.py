"""Show on a terminal how far a command is: one line on stderr, which later output replaces.

Nothing is written if stderr is no terminal, or a terminal without cursor control (TERM=dumb).
"""

import os
import shutil
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self, TextIO

from ..log import escaped

_CLEAR: Final = "\r\x1b[K"
_FAINT: Final = "\x1b[2m"
_PLAIN: Final = "\x1b[0m"
# Between two updates of the time that a wait has taken (seconds).
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def show(self, text: str) -> None:
        """Replace the line. A text that is longer than the terminal is wide is cut, so that it stays one line."""
        if not self.is_shown:
            return
        # A character in the last column could move the cursor to the next line.
        width = shutil.get_terminal_size().columns - 1
        text = escaped(text)
        cut = text if len(text) <= width else f"{text[: max(0, width - 1)]}…"
        with self._lock:
            if cut != self._text:
                self._text = cut
                self._write(f"{_CLEAR}{self._faint}{cut}{self._plain}" if cut else _CLEAR)

    def clear(self) -> None:
        """Erase the line, if there is one."""
        self.show("")

    def count(self, action: str, total: int, noun: str = "servers") -> "Count":
        """Return a count of the items that are done, which the line shows: `ACTION: 3 of 10 NOUN`."""
        return Count(self, action, total, noun)

    @contextmanager
    def wait(self, text: str) -> Generator[None]:
        """Show a text while the block runs, and after a second how long it has taken. Erases the line at the end."""
        if not self.is_shown:
            yield
            return
        ended = threading.Event()
        began = time.monotonic()

        def update() -> None:
            while not ended.wait(_TICK_SECONDS):
                self.show(f"{text} ({time.monotonic() - began:.0f} s)")

        self.show(text)
        thread = threading.Thread(target=update, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.clear()

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            # The terminal was closed.
            self.is_shown = False


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
