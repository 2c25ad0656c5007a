"""How long a call may take: without a sign of progress, and in all. Without a limit, as it is by default, nothing is kept.

Pure. The clock is that of the last tick, so a call may take up to a tick longer than its limit.
"""

import math

from ...validators.limits import Limits


class CallTimeouts:
    """The calls in flight of one side, by any key. Times in seconds on any steady clock."""

    def __init__(self, limits: Limits) -> None:
        self._idle, self._whole = limits.call_idle_seconds, limits.call_seconds
        self.limited = min(self._idle, self._whole) < math.inf
        self._now = 0.0
        self._begun: dict[bytes, float] = {}
        self._touched: dict[bytes, float] = {}

    def begun(self, key: bytes) -> None:
        """A call was made."""
        self._begun[key] = self._touched[key] = self._now

    def progressed(self, key: bytes) -> None:
        """It has given a sign of life."""
        self._touched[key] = self._now

    def excused(self, now: float) -> None:
        """As long as a client is asked in their course, calls are not idle: it is the client who takes its time (digest 8.8)."""
        self._touched = dict.fromkeys(self._touched, now)

    def ended(self, key: bytes) -> None:
        """It was answered, or given up."""
        self._begun.pop(key, None)
        self._touched.pop(key, None)

    def on_tick(self, now: float) -> list[tuple[bytes, str]]:
        """Those that have taken too long by now, and what to say after "the call"."""
        if not self._now:  # the first look at the clock: what is in flight has been so since now
            self._begun = dict.fromkeys(self._begun, now)
            self._touched = dict.fromkeys(self._touched, now)
        self._now = now
        late = [
            (key, f"has taken more than {self._whole:g} s, the limit")
            for key, since in self._begun.items()
            if now - since > self._whole
        ]
        named = {key for key, _ in late}
        late += [
            (key, f"has made no progress for {self._idle:g} s, the limit")
            for key, since in self._touched.items()
            if now - since > self._idle and key not in named
        ]
        return late
