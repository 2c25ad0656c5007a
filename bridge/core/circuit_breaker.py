"""When a server that keeps dying may be started again.

Pure: the time is an argument. At most `deaths` unexpected ends within `window` seconds, with a growing pause between
the starts; after that nothing is started until the oldest has left the window (attacks V56). Then one start is let through,
however many wait for one, and all others when its process has lived for `trial` seconds.
"""

from collections import deque

import attrs


@attrs.define
class CircuitBreaker:
    """Counts the deaths of one command. Times in seconds on any steady clock."""

    deaths: int = 5
    window: float = 60.0
    trial: float = 5.0
    first_pause: float = 0.1
    longest_pause: float = 30.0
    _died: deque[float] = attrs.field(factory=deque[float], init=False)
    _half_open: bool = attrs.field(default=False, init=False)  # it has tripped, and nothing has lived since
    _tried: float | None = attrs.field(default=None, init=False)  # when the one was let through

    def started(self, now: float) -> None:
        """A process is started."""
        if self._half_open and self._tried is None:
            self._tried = now

    def died(self, now: float) -> None:
        """One more unexpected end."""
        self._died.append(now)
        self._tried = None
        self._half_open = self._half_open or len(self._died) >= self.deaths

    def pause(self, now: float) -> float:
        """How long to wait before the next start; 0 for at once."""
        self._forget(now)
        if self._tried is not None:
            return self._tried + self.trial - now
        count = len(self._died)
        if not count:
            return 0.0
        if count >= self.deaths:
            return self._died[-self.deaths] + self.window - now
        pause = min(self.first_pause * 2.0 ** (count - 1), self.longest_pause)
        return max(0.0, self._died[-1] + pause - now)

    def tripped(self, now: float) -> bool:
        """Whether starts are refused for now."""
        self._forget(now)
        return len(self._died) >= self.deaths or self._tried is not None

    def calm(self, now: float) -> bool:
        """Whether it is as if nothing had ever died."""
        self._forget(now)
        return not self._died and not self._half_open

    def _forget(self, now: float) -> None:
        while self._died and now - self._died[0] >= self.window:
            self._died.popleft()
        if self._tried is not None and now - self._tried >= self.trial:
            self._tried, self._half_open = None, False
