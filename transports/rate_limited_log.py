"""A log for events that a peer can cause at will: each event at most once a second, so that no peer fills the disk."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from .ports import Log

_PAUSE: Final = 1.0


class RateLimitedLog:
    """Write an event at most once a second. The next event of its kind has the number of those between as `more`."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._logged_at: dict[str, float] = {}
        self._suppressed: Counter[str] = Counter()

    def info(self, event: str, **fields: object) -> None:
        """Log normal behaviour of a peer."""
        self._write(self._log.info, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log something that an operator should examine."""
        self._write(self._log.warning, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Log a fault."""
        self._write(self._log.error, event, fields)

    def _write(self, write: Callable[..., None], event: str, fields: dict[str, object]) -> None:
        now = self._clock()
        if now - self._logged_at.get(event, -_PAUSE) < _PAUSE:
            self._suppressed[event] += 1
            return
        self._logged_at[event] = now
        more = self._suppressed.pop(event, 0)
        write(event, **fields, **({"more": more} if more else {}))
