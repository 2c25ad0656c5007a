"""The command itself: print each finding as soon as it is known."""

import sys
import threading

from ...core.exit_codes import EX_FAILED, EX_OK
from ...log import escaped, write_stderr
from ..invocation import Invocation
from ..output import print_line
from .examine import examine
from .finding import ERROR


def doctor(invocation: Invocation) -> int:
    """Print the findings, and return 1 if one of them is an error."""
    progress = _Progress()
    worst = EX_OK
    try:
        for finding in examine(invocation.file, invocation.environment, invocation.source, progress.show):
            progress.clear()
            print_line(escaped(f"{finding.kind:<7} {finding.text}"))
            if finding.fix:
                print_line(escaped(f"{'':<7} {finding.fix}"))
            if finding.kind == ERROR:
                worst = EX_FAILED
    finally:
        progress.clear()
    return worst


class _Progress:
    """The last line of the terminal, which shows how far the command is. Empty where stderr is no terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._lock = threading.Lock()

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._shown:
            with self._lock:
                write_stderr(f"\r\x1b[K{text}")

    def clear(self) -> None:
        """Erase the line before another output."""
        self.show("")
