"""Schedule the attempts to make another connection. Pure: the caller passes the time (seconds)."""

# Between two attempts: the first pause, and the longest (seconds).
_PAUSE = 0.01
_LONGEST_PAUSE = 1.0
# A connection that has lasted this long, or has carried a message, starts the time anew in which others must succeed (seconds).
_LASTED = 10.0


class RetrySchedule:
    """The schedule of one client, which waits for at most `wait` (seconds)."""

    def __init__(self, wait: float, now: float) -> None:
        self._wait = wait
        self._deadline = now + wait
        self._pause = _PAUSE
        # Whether the last connection has carried a message.
        self._carried = False
        # When the last connection was made.
        self.since = now

    def on_connect(self, now: float) -> None:
        """Note a new connection."""
        self.since, self._carried = now, False

    def on_message(self) -> None:
        """Note that the connection carries messages."""
        self._carried = True

    def on_disconnect(self, now: float) -> None:
        """Note the loss of the connection; after a good connection the schedule starts anew."""
        if self._carried or now - self.since >= _LASTED:
            self._deadline, self._pause = now + self._wait, 0.0

    def remaining(self, now: float) -> float:
        """Return the time that is left, which is negative after the deadline."""
        return self._deadline - now

    def next_pause(self) -> float:
        """Return the longest pause before the next attempt; the caller takes a random part of it."""
        pause = self._pause
        self._pause = min(max(2 * pause, _PAUSE), _LONGEST_PAUSE)
        return pause
