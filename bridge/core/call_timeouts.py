"""Limit the duration of calls: the time without progress, and the whole time. Pure.

By default there is no limit, and callers skip these methods. The clock is that of the last tick, so a call may take up to one
tick longer than its limit.
"""

import math

from ...validators.limits import Limits


class CallTimeouts:
    """The calls in flight of one side. Times are in seconds on any steady clock."""

    def __init__(self, limits: Limits) -> None:
        self._idle, self._whole = limits.call_idle_seconds, limits.call_seconds
        self.limited = min(self._idle, self._whole) < math.inf
        self._now = 0.0
        # By the wire id of each call, its start and its last progress. `remove` drops both.
        self._started: dict[bytes, float] = {}
        self._progressed: dict[bytes, float] = {}

    def add(self, key: bytes) -> None:
        """Start the time of a call."""
        self._started[key] = self._progressed[key] = self._now

    def on_progress(self, key: bytes) -> None:
        """Restart the idle time of a call."""
        self._progressed[key] = self._now

    def restart_idle(self, now: float) -> None:
        """Restart the idle time of all calls.

        A call is not idle while a client has an unanswered request of the server, because that is the time of its user.
        """
        self._progressed = dict.fromkeys(self._progressed, now)

    def remove(self, key: bytes) -> None:
        """Drop a call that has ended, if its time was started."""
        self._started.pop(key, None)
        self._progressed.pop(key, None)

    def on_tick(self, now: float) -> list[tuple[bytes, str]]:
        """Return the keys of calls beyond a limit, each with the end of a sentence that begins with "the call"."""
        # Before the first tick there is no clock: calls in flight count from now.
        if not self._now:
            self._started = dict.fromkeys(self._started, now)
            self._progressed = dict.fromkeys(self._progressed, now)
        self._now = now
        late = [
            (key, f"has taken more than {self._whole:g} s, the limit")
            for key, since in self._started.items()
            if now - since > self._whole
        ]
        named = {key for key, _ in late}
        late += [
            (key, f"has made no progress for {self._idle:g} s, the limit")
            for key, since in self._progressed.items()
            if now - since > self._idle and key not in named
        ]
        return late
