"""A log for what any peer can cause as often as it likes: each event once in a second, so that nobody fills a disk with them."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from .ports import Log

_PAUSE: Final = 1.0


class RateLimitedLog:
    """Tells an event, and says with the next of its kind how many there were in between (attacks H14, G34)."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._told: dict[str, float] = {}
        self._untold: Counter[str] = Counter()

    def info(self, event: str, **fields: object) -> None:
        """What happened."""
        self._tell(self._log.info, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """What somebody should look at."""
        self._tell(self._log.warning, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """What went wrong."""
        self._tell(self._log.error, event, fields)

    def _tell(self, tell: Callable[..., None], event: str, fields: dict[str, object]) -> None:
        now = self._clock()
        if now - self._told.get(event, -_PAUSE) < _PAUSE:
            self._untold[event] += 1
            return
        self._told[event] = now
        more = self._untold.pop(event, 0)
        tell(event, **fields, **({"more": more} if more else {}))
