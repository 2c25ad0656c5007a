"""Counters of refusals by kind, and their events, which a flood of refusals cannot fill the log with.

The counters are exact. Refusals of one kind and one principal have at most one event a second, with their number, so the
counts of all events add up to the counter.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from ...validators.rejection import Rejection
from ..correlation import id_of
from ..counted_events import CountedEvents
from ..ports import Log

# Refusals per second after which a connection stays open for a request that was already sent.
_PIPELINED_PER_SECOND: Final = 100

# Key: HTTP status. Value: the kind of a refusal without a `reason`.
_KINDS: Final = {
    200: "rpc_error",
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


# Events of kinds that are not `refused`.
_EVENTS: Final = {
    "credential_missing": "authentication_failed",
    "credential_wrong": "authentication_failed",
    "admin_no_session": "authentication_failed",
    "uid": "authentication_failed",
    "server_denied": "policy_denied",
}
# Kinds whose events `bridge.runtime` writes, because it has the name of what was denied.
_WRITTEN_ELSEWHERE: Final = frozenset({"tool_denied", "feature_denied", "method_denied"})


class Refusals:
    """Counters by kind (`counts`), and their events. Kinds are identifiers of this program."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[str] = Counter()
        self._events = CountedEvents(log, clock)
        self._clock = clock
        self._second = 0
        self._pipelined = 0

    def count(self, rejection: Rejection, peer: str, principal: str = "", server: str = "") -> None:
        """Count a refused request. Status 500 is not counted, because it is no refusal."""
        kind = rejection.reason or _KINDS.get(rejection.status)
        if kind:
            self._add(kind, peer, principal, server, rejection.status, id_of(rejection))

    def note(self, kind: str, peer: str) -> None:
        """Count one refusal without a response."""
        self._add(kind, peer)

    def _add(
        self,
        kind: str,
        peer: str,
        principal: str = "",
        server: str = "",
        status: int = 0,
        correlation_id: str = "",
    ) -> None:
        self.counts[kind] += 1
        if kind in _WRITTEN_ELSEWHERE:
            return
        named = {"principal": principal, "server": server}
        fields: dict[str, object] = {key: value for key, value in named.items() if value}
        if status:
            fields["status"] = status
        event = _EVENTS.get(kind, "refused")
        self._events.add(event, (kind, principal), correlation_id, reason=kind, peer=peer, **fields)

    def allows_next(self) -> bool:
        """Return whether a connection may serve a request that was sent behind a refused one.

        The limit is for all connections together, because each of them could send hundreds of such requests.
        """
        second = int(self._clock())
        if second != self._second:
            self._second, self._pipelined = second, 0
        self._pipelined += 1
        return self._pipelined <= _PIPELINED_PER_SECOND

    def tick(self, now: float) -> None:
        """Write suppressed events that are due (ticker.Ticking)."""
        self._events.tick(now)

    def flush(self) -> None:
        """Write all suppressed events, on shutdown."""
        self._events.flush()
