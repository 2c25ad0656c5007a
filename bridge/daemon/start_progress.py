"""Report the starts of eager servers: one line on a terminal while they start, and an event at the end."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import trio

from ...validators.counted import counted
from ..log import LineLog
from ..runtime.server import LocalServer

# Between two looks at the servers (seconds).
_LOOK_SECONDS: Final = 0.2
# A shorter wait is not shown (seconds).
_SHORT_SECONDS: Final = 1.0


async def report_starts(servers: Iterable[LocalServer], log: LineLog, width: Callable[[], int]) -> None:
    """Wait until no eager server is starting, and log how many have started. `servers` may change meanwhile.

    `width` returns the length of the longest line (characters), 0 for none.
    """
    began = trio.current_time()
    waited = False
    try:
        while starting := [one.name for one in servers if one.is_starting]:
            waited = True
            seconds = trio.current_time() - began
            if seconds >= _SHORT_SECONDS:
                eager = sum(one.config.eager for one in servers)
                log.show_progress(progress_line(starting, eager, seconds, width()))
            await trio.sleep(_LOOK_SECONDS)
    finally:
        log.show_progress("")
    if waited:
        failed = [one.name for one in servers if one.config.eager and not one.ready]
        count = sum(one.config.eager for one in servers) - len(failed)
        more = {"failed": ",".join(failed)} if failed else {}
        log.info("servers_started", count=count, seconds=round(trio.current_time() - began, 1), **more)


def progress_line(starting: list[str], total: int, seconds: float, width: int) -> str:
    """Return the line for the servers that are starting, cut to this number of characters."""
    text = f"starting {counted(total, 'server')} ({seconds:.0f} s): waiting for {', '.join(starting)}"
    return text if len(text) <= width else f"{text[: max(0, width - 3)]}..."[:width]


def progress_width(form: str, environment: Mapping[str, str]) -> int:
    """Return the width of a line below the log (characters); 0 if the log is JSON or stderr is no terminal that can erase a line."""
    try:
        if form != "text" or not sys.stderr.isatty() or environment.get("TERM", "dumb") in ("", "dumb"):
            return 0
        # A character in the last column could move the cursor to the next line.
        return max(0, os.get_terminal_size(sys.stderr.fileno()).columns - 1) or 79
    except (OSError, ValueError):
        return 0
