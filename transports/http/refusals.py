"""Counts of refusals by kind, and a log that no flood of them can fill.

The counters are exact. The log has one event for each kind in a second; its `count` is the number of refusals of this
kind since the event before it, so the counts of all events add up to the counter.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from ...validators.rejection import Rejection
from ..ports import Log

# Between two events of one kind, in seconds.
_PAUSE: Final = 1.0

# Refused requests in a second after which a connection goes on, because the next request was already sent behind them.
_PIPELINED_PER_SECOND: Final = 100

# The kind of a refusal that names none, by its HTTP status.
_KINDS: Final = {
    400: "bad_request",
    401: "credential_missing",
    403: "forbidden",
    404: "not_found",
    405: "method",
    406: "not_acceptable",
    408: "too_slow",
    409: "conflict",
    413: "too_large",
    414: "target_too_long",
    415: "content_type",
    417: "expectation",
    421: "host",
    426: "upgrade",
    429: "too_many_requests",
    431: "head_too_large",
    501: "not_implemented",
    503: "unavailable",
    505: "http_version",
}


class Refusals:
    """The counters (`counts`, by kind, kinds are identifiers of this program), and their log."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[str] = Counter()
        self._log = log
        self._clock = clock
        # By kind: how many were not logged yet, the peer of the last one, and when the kind was logged last (seconds).
        self._unlogged: dict[str, int] = {}
        self._peers: dict[str, str] = {}
        self._logged: dict[str, float] = {}
        self._second = 0
        self._pipelined = 0

    def count(self, rejection: Rejection, peer: str) -> None:
        """Count a refused request, unless the fault is ours (status 500)."""
        kind = rejection.reason or _KINDS.get(rejection.status)
        if kind:
            self.note(kind, peer)

    def note(self, kind: str, peer: str) -> None:
        """Count one refusal, and log it unless its kind was logged less than a second ago."""
        self.counts[kind] += 1
        self._unlogged[kind] = self._unlogged.get(kind, 0) + 1
        self._peers[kind] = peer
        self._write(kind, self._clock())

    def allows_next(self) -> bool:
        """Return whether a connection may be answered a request that it had sent behind a refused one already.

        There is a limit for all connections together, because each of them could hold hundreds of such requests.
        """
        second = int(self._clock())
        if second != self._second:
            self._second, self._pipelined = second, 0
        self._pipelined += 1
        return self._pipelined <= _PIPELINED_PER_SECOND

    def tick(self, now: float) -> None:  # noqa: ARG002 - the clock of the log is not Trio's
        """Log what was suppressed and is due (Pulse)."""
        if self._unlogged:
            time_now = self._clock()
            for kind in tuple(self._unlogged):
                self._write(kind, time_now)

    def flush(self) -> None:
        """Log what was suppressed, at the end."""
        for kind in tuple(self._unlogged):
            self._write(kind, float("inf"))

    def _write(self, kind: str, now: float) -> None:
        if now - self._logged.get(kind, -_PAUSE) >= _PAUSE:
            self._logged[kind] = now
            self._log.info("refused", reason=kind, count=self._unlogged.pop(kind), peer=self._peers[kind])
