"""Counters of refusals by kind, and a log that a flood of refusals cannot fill.

The counters are exact. Each kind is logged at most once a second, with the number of refusals since its last event, so the
counts of all events add up to the counter.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from ...validators.rejection import Rejection
from ..ports import Log

# Time between two events of one kind (seconds).
_PAUSE: Final = 1.0

# Refusals per second after which a connection stays open for a request that was already sent.
_PIPELINED_PER_SECOND: Final = 100

# Key: HTTP status. Value: the kind of a refusal without a `reason`.
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
    """Counters by kind (`counts`), and their log. Kinds are identifiers of this program."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[str] = Counter()
        self._log = log
        self._clock = clock
        # Key: kind. Values: count not logged yet, peer of the last refusal, time of the last event (seconds).
        self._unlogged: dict[str, int] = {}
        self._peers: dict[str, str] = {}
        self._logged: dict[str, float] = {}
        self._second = 0
        self._pipelined = 0

    def count(self, rejection: Rejection, peer: str) -> None:
        """Count a refused request. Status 500 is not counted, because it is no refusal."""
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
        """Return whether a connection may serve a request that was sent behind a refused one.

        The limit is for all connections together, because each of them could send hundreds of such requests.
        """
        second = int(self._clock())
        if second != self._second:
            self._second, self._pipelined = second, 0
        self._pipelined += 1
        return self._pipelined <= _PIPELINED_PER_SECOND

    def tick(self, now: float) -> None:  # noqa: ARG002 - the clock of the log is not Trio's
        """Log suppressed refusals that are due (ticker.Ticking)."""
        if self._unlogged:
            time_now = self._clock()
            for kind in tuple(self._unlogged):
                self._write(kind, time_now)

    def flush(self) -> None:
        """Log all suppressed refusals, on shutdown."""
        for kind in tuple(self._unlogged):
            self._write(kind, float("inf"))

    def _write(self, kind: str, now: float) -> None:
        if now - self._logged.get(kind, -_PAUSE) >= _PAUSE:
            self._logged[kind] = now
            self._log.info("refused", reason=kind, count=self._unlogged.pop(kind), peer=self._peers[kind])
