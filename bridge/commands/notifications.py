"""Show the progress and the log messages of a call on stderr. On a terminal the progress is one line that is written again."""

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Any, Final, TextIO

from ..log import escaped
from .content import as_object
from .printable import json_text
from .progress import Progress

# Of a log message (characters).
_LONGEST: Final = 4096


class Notifications:
    """Shows the notifications of one call."""

    def __init__(self, stream: TextIO | None = None, environment: Mapping[str, str] = os.environ) -> None:
        self._stream = stream or sys.stderr
        self.progress = Progress(self._stream, environment)
        self.is_terminal = self._stream.isatty()

    def __call__(self, message: Mapping[str, Any]) -> None:
        """Show a notification of a server."""
        about = as_object(message.get("params"))
        match message.get("method"):
            case "notifications/progress" if self.progress.is_shown:
                self.progress.show(progress_text(about))
            case "notifications/progress":
                self.line(escaped(progress_text(about)))
            case "notifications/message":
                self.line(_log_line(about))
            case _:
                pass

    def line(self, text: str) -> None:
        """Write a line. Its control characters are escaped already."""
        self.clear()
        # The result is worth more than its progress.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def clear(self) -> None:
        """Erase the progress line, before something else is written."""
        self.progress.clear()


def progress_text(about: Mapping[str, Any]) -> str:
    """Return a notification of progress in words."""
    total = f"/{about['total']}" if "total" in about else ""
    text = f": {about['message']}" if "message" in about else ""
    return f"{about.get('progress', '')}{total}{text}"


def _log_line(about: Mapping[str, Any]) -> str:
    data: object = about.get("data")
    text = data if isinstance(data, str) else json_text(data, indent=None)
    logger = f" {about['logger']}" if about.get("logger") else ""
    return escaped(f"{about.get('level', 'info')}{logger}: {text[:_LONGEST]}")
