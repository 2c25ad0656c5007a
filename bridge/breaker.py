"""When a server that keeps dying may be started again.

Pure: the time is an argument. At most `deaths` unexpected ends within `window` seconds, with a growing pause between
the starts; after that nothing is started until the oldest has left the window (attacks V56).
"""

from collections import deque

import attrs


@attrs.define
class Breaker:
    """Counts the deaths of one command. Times in seconds on any steady clock."""

    deaths: int = 5
    window: float = 60.0
    first_pause: float = 0.1
    longest_pause: float = 30.0
    _died: deque[float] = attrs.field(factory=deque[float], init=False)

    def died(self, now: float) -> None:
        """One more unexpected end."""
        self._died.append(now)

    def pause(self, now: float) -> float:
        """How long to wait before the next start; 0 for at once."""
        self._forget(now)
        count = len(self._died)
        if not count:
            return 0.0
        if self.tripped(now):
            return self._died[-self.deaths] + self.window - now
        pause = min(self.first_pause * 2.0 ** (count - 1), self.longest_pause)
        return max(0.0, self._died[-1] + pause - now)

    def tripped(self, now: float) -> bool:
        """Whether starts are refused for now."""
        self._forget(now)
        return len(self._died) >= self.deaths

    def calm(self, now: float) -> bool:
        """Whether it is as if nothing had ever died."""
        self._forget(now)
        return not self._died

    def _forget(self, now: float) -> None:
        while self._died and now - self._died[0] >= self.window:
            self._died.popleft()
