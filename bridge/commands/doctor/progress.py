"""Show how many servers are done."""

import threading
from collections.abc import Callable
from typing import Final

# How many servers are checked at the same time.
AT_ONCE: Final = 8


class Counter:
    """Counts the servers that are done, and shows the count."""

    def __init__(self, action: str, total: int, progress: Callable[[str], None]) -> None:
        self._action = action
        self._total = total
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()

    def one_more(self) -> None:
        """Count one more server."""
        with self._lock:
            self._done += 1
            self._progress(f"{self._action}: {self._done} of {self._total} servers")
