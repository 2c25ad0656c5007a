"""Show how many servers are done."""

import threading
from collections.abc import Callable
from typing import Final

# How many servers are checked at the same time.
AT_ONCE: Final = 8


class Counter:
    """How many servers are done, for the progress that is shown."""

    def __init__(self, what: str, total: int, progress: Callable[[str], None]) -> None:
        self._what = what
        self._total = total
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()

    def one_more(self) -> None:
        """Show that one more is done."""
        with self._lock:
            self._done += 1
            self._progress(f"{self._what}: {self._done} of {self._total} servers")
