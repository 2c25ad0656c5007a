"""Limit the starts of a server process that fails repeatedly: a circuit breaker with a growing pause. Pure.

The breaker opens after `failures` unexpected exits within `window` seconds, so that a process that fails at once cannot load
the machine. Before that, each start waits longer than the one before. When the oldest failure has left the window the
breaker is half-open: it lets one start through, the probe. It closes when that process has run for `probe` seconds.
"""

from collections import deque

import attrs


@attrs.define
class CircuitBreaker:
    """The unexpected exits of one command. Times are in seconds on any steady clock."""

    failures: int = 5
    window: float = 60.0
    probe: float = 5.0
    first_pause: float = 0.1
    longest_pause: float = 30.0
    # The times of the last unexpected exits, oldest first. `_update` drops those outside of the window.
    _failed: deque[float] = attrs.field(factory=deque[float], init=False)
    # Whether the breaker was open and no probe has succeeded since.
    _half_open: bool = attrs.field(default=False, init=False)
    # The time at which the probe was started.
    _probe_since: float | None = attrs.field(default=None, init=False)

    def on_start(self, now: float) -> None:
        """Record that a process is started."""
        if self._half_open and self._probe_since is None:
            self._probe_since = now

    def on_failure(self, now: float) -> None:
        """Record an unexpected exit."""
        self._failed.append(now)
        self._probe_since = None
        self._half_open = self._half_open or len(self._failed) >= self.failures

    def pause(self, now: float) -> float:
        """Return how long the next start must wait (seconds), 0 for a start at once."""
        self._update(now)
        if self._probe_since is not None:
            return self._probe_since + self.probe - now
        count = len(self._failed)
        if not count:
            return 0.0
        if count >= self.failures:
            return self._failed[-self.failures] + self.window - now
        pause = min(self.first_pause * 2.0 ** (count - 1), self.longest_pause)
        return max(0.0, self._failed[-1] + pause - now)

    def is_open(self, now: float) -> bool:
        """Return whether starts are refused."""
        self._update(now)
        return len(self._failed) >= self.failures or self._probe_since is not None

    def is_closed(self, now: float) -> bool:
        """Return whether no failure counts any more."""
        self._update(now)
        return not self._failed and not self._half_open

    def _update(self, now: float) -> None:
        while self._failed and now - self._failed[0] >= self.window:
            self._failed.popleft()
        if self._probe_since is not None and now - self._probe_since >= self.probe:
            self._probe_since, self._half_open = None, False
