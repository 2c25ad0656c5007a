"""Rates of requests, and the token buckets that enforce them. Pure: the caller gives the time.

A bucket holds at most `burst` tokens, and is filled with `count` tokens in `seconds`. Each request takes one.
"""

import math
import re
from typing import Final

import attrs

_UNITS: Final = {"second": 1, "minute": 60, "hour": 3600}
_SPELLING: Final = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour)(?: burst ([1-9][0-9]{0,8}))?")
# The same for JSON Schema, and in words.
PATTERN: Final = r"^[1-9][0-9]{0,8}/(second|minute|hour)( burst [1-9][0-9]{0,8})?\Z"
FORM: Final = 'a number by "/second", "/minute" or "/hour", such as "60/minute" or "10/second burst 50"'

# The reason of a refused request in the log, in the counters and in the data of its error.
RATE_LIMIT: Final = "rate_limit"


@attrs.frozen
class Rate:
    """`count` requests in `seconds`, of which `burst` may come at once."""

    count: int
    seconds: int
    burst: int

    def __str__(self) -> str:
        """Return the rate as it is written in the configuration."""
        [unit] = [name for name, seconds in _UNITS.items() if seconds == self.seconds]
        return f"{self.count}/{unit}" + (f" burst {self.burst}" if self.burst != self.count else "")


def parse_rate(text: str) -> Rate:
    """Return the rate that a text names. Without `burst`, all may come at once. Raises ValueError.

    >>> parse_rate("60/minute burst 10")
    Rate(count=60, seconds=60, burst=10)
    >>> parse_rate("5/second")
    Rate(count=5, seconds=1, burst=5)
    """
    found = _SPELLING.fullmatch(text)
    if found is None:
        raise ValueError(f"a rate is {FORM}")
    count, unit, burst = found.groups()
    return Rate(int(count), _UNITS[unit], int(burst or count))


class TokenBucket:
    """The tokens of one rate. A new bucket is full. A clock that goes back fills nothing."""

    __slots__ = ("_tokens", "_updated", "rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self._tokens = float(rate.burst)
        self._updated = now

    def wait(self, now: float) -> float:
        """Return the time until there is a token (seconds), 0 if there is one."""
        rate = self.rate
        if now > self._updated:
            filled = (now - self._updated) * rate.count / rate.seconds
            self._tokens = min(float(rate.burst), self._tokens + filled)
        self._updated = now
        missing = 1 - self._tokens
        return missing * rate.seconds / rate.count if missing > 0 else 0.0

    def take(self) -> None:
        """Take a token. `wait` has returned 0 at this time."""
        self._tokens -= 1


def whole_seconds(wait: float) -> int:
    """Return a time as a whole number of seconds for Retry-After, at least 1."""
    return max(1, math.ceil(wait))
