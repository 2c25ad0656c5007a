"""Limit the notifications of one server process. Pure: the caller gives the time.

Log messages and progress above the rate are dropped and counted. Any other notification may be the last that reports a change,
so it is held and passed on later. Equal notifications that are held are one. Responses and requests are not limited.
"""

from typing import Final

from ...validators.jsonrpc import Notification
from ...validators.token_bucket import Rate, TokenBucket

# The notifications of one process that are held: their number, and the size of the params of each (bytes).
MOST_HELD: Final = 256
_LARGEST_HELD: Final = 8 * 1024
# How many seconds' worth of notifications may come at once.
_BURST_SECONDS: Final = 10
_DROPPED: Final = frozenset({"notifications/message", "notifications/progress"})


class NotificationFlow:
    """The notifications of one process, `per_second` on average. `dropped` counts those that were dropped."""

    __slots__ = ("_bucket", "_held", "dropped")

    def __init__(self, per_second: int, now: float) -> None:
        self.dropped = 0
        self._bucket = TokenBucket(Rate(per_second, 1, _BURST_SECONDS * per_second), now)
        # By method and params, in the order in which they came. Removed when they are passed on.
        self._held: dict[tuple[str, bytes], Notification] = {}

    def admits(self, message: Notification, now: float) -> bool:
        """Return whether a notification may pass now. Otherwise it is held or dropped."""
        key = (message.method, b"") if message.method in _DROPPED else _key_of(message)
        if not self._bucket.wait(now):
            self._bucket.take()
            if self._held:
                self._held.pop(key, None)
            return True
        if key[0] in _DROPPED or len(key[1]) > _LARGEST_HELD or len(self._held) >= MOST_HELD:
            self.dropped += key not in self._held
        else:
            self._held[key] = message
        return False

    def due(self, now: float) -> list[Notification]:
        """Remove and return the held notifications that may pass now, the oldest first."""
        found: list[Notification] = []
        while self._held and not self._bucket.wait(now):
            self._bucket.take()
            found.append(self._held.pop(next(iter(self._held))))
        return found

    def take_dropped(self) -> int:
        """Return the number of notifications that were dropped since the last call."""
        count, self.dropped = self.dropped, 0
        return count


def _key_of(message: Notification) -> tuple[str, bytes]:
    return message.method, bytes(message.params)
