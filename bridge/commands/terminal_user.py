"""Put questions to the user at the terminal: they are written to stderr, and the answers are read from stdin."""

import sys
from collections.abc import Callable
from typing import Final

from ..log import write_stderr

# Of an answer (characters).
_LONGEST: Final = 1 << 20


class TerminalUser:
    """The user at the terminal of this program (`input_responder.Terminal`). `write` writes a line to the terminal."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def show(self, text: str) -> None:
        """Write a line."""
        self._write(text)

    def ask(self, prompt: str) -> str | None:
        """Return the line that the user types after a prompt, None at the end of the input."""
        while True:
            write_stderr(prompt)
            try:
                line = sys.stdin.readline(_LONGEST)
                line.encode()
            except UnicodeError:
                self.show("    not valid UTF-8; type it again")
                continue
            if not line:
                write_stderr("\n")
                return None
            return line.rstrip("\n")


def terminal_user(write: Callable[[str], None]) -> TerminalUser | None:
    """Return the user, None if stdin or stderr is not a terminal. `write` writes a line to the terminal."""
    try:
        return TerminalUser(write) if sys.stdin.isatty() and sys.stderr.isatty() else None
    except (AttributeError, ValueError):
        # A stream that was closed before the start.
        return None
