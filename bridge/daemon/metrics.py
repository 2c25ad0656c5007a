"""Serve the metrics of the daemon and its servers at /metrics.

The text is written in pieces, with a checkpoint after each, because a daemon can have tens of thousands of series.
"""

import os
import platform
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import trio

from ...transports.endpoints.rejections import method_not_allowed
from ...transports.ports import Endpoint, Exchange
from ...transports.ticker import LAG_BOUNDS, Lag
from ...validators.rejection import INVALID_REQUEST, SERVER_ERROR, Rejection, retry_after
from ..config.settings import METRICS, Settings
from ..core import metric_families as families
from ..core.call_metrics import BOUNDS, CallSeries
from ..core.effects import OK
from ..core.grants import DERIVED
from ..core.metric_text import (
    END,
    OPEN_TYPE,
    PLAIN_TYPE,
    Family,
    accepts_open,
    bound_texts,
    head,
    histogram,
    sample,
)
from ..core.span_queue import SpanQueue
from ..log import LineLog
from ..runtime.server import LocalServer
from .listeners import Listeners
from .running_config import RunningConfig
from .status import add_memory, processes, resident

# Scrapes at once. Each keeps its whole text, which is a few megabytes at most, until its client has read it.
MOST_SCRAPES: Final = 4
# Series of a piece: about a millisecond of work.
_PIECE: Final = 24
_BOUNDS: Final = bound_texts(BOUNDS)
_LAG_BOUNDS: Final = bound_texts(LAG_BOUNDS)


class Metrics:
    """The endpoint /metrics. `listeners` returns those of the daemon."""

    def __init__(
        self,
        config: RunningConfig,
        servers: Iterable[LocalServer],
        listeners: Callable[[], Listeners],
        version: str,
        lag: Lag,
        log: LineLog,
        spans: SpanQueue | None = None,
    ) -> None:
        self._config = config
        self._servers = servers
        self._listeners = listeners
        self._versions = (version, platform.python_version())
        self._lag = lag
        self._log = log
        self._spans = spans
        self._started = time.time()
        self._scrapes = 0

    def table(self) -> dict[str, Endpoint]:
        """Return the endpoint by its path; none while metrics are off."""
        return {METRICS: self._answer} if self._config.settings.metrics else {}

    async def _answer(self, exchange: Exchange) -> None:
        if exchange.head.method not in ("GET", "HEAD"):
            raise method_not_allowed(b"GET, HEAD")
        check_right(exchange.principal, self._config.settings)
        if self._scrapes >= MOST_SCRAPES:
            text = f"the limit of {MOST_SCRAPES} scrapes at once is reached"
            raise Rejection(503, SERVER_ERROR, text, headers=retry_after(1), reason="scrapes")
        is_open = accepts_open(exchange.head.headers.get("accept", ""))
        self._scrapes += 1
        try:
            pieces: list[bytes] = []
            for piece in self._pieces(is_open=is_open):
                pieces.append(piece.encode(errors="replace"))
                await trio.lowlevel.checkpoint()
            await exchange.answer(200, OPEN_TYPE if is_open else PLAIN_TYPE, b"".join(pieces))
        finally:
            self._scrapes -= 1

    def _pieces(self, *, is_open: bool) -> Iterator[str]:
        """Return the text in pieces, each of which takes about a millisecond."""
        memory: dict[int, int] = {}
        for number, pid in enumerate(processes(), 1):
            add_memory(pid, memory)
            if number % _PIECE == 0:
                yield ""
        yield "".join(head(family, is_open=is_open) + "".join(lines) for family, lines in self._of_daemon())
        servers = [*self._servers]
        for family, values in _OF_SERVERS.items():
            yield head(family, is_open=is_open)
            for server in servers:
                yield "".join(sample(family, *one) for one in values(server, memory))
        # By server, in the order of the first request of each.
        series = [
            (server.name, one)
            for server in servers
            if server.server_log.metrics is not None
            for one in server.server_log.metrics
        ]
        for family, written in ((families.REQUESTS, _requests), (families.LATENCY, _latency)):
            yield head(family, is_open=is_open)
            for start in range(0, len(series), _PIECE):
                yield "".join(written(*one) for one in series[start : start + _PIECE])
        if is_open:
            yield END

    def _of_daemon(self) -> Iterator[tuple[Family, list[str]]]:
        """Return the lines of each family about the daemon itself."""
        listeners, certificate = self._listeners(), self._config.certificate
        until = None if certificate is None else certificate.until
        values: dict[Family, Iterable[tuple[float, tuple[str, ...]]]] = {
            families.BUILD: [(1, self._versions)],
            families.STARTED: [(round(self._started, 3), ())],
            families.CPU: [(round(time.process_time(), 3), ())],
            families.MEMORY: [(resident(os.getpid()), ())],
            families.OPEN_FDS: [(len(os.listdir("/proc/self/fd")), ())],  # noqa: PTH208 - only the number is needed
            families.MAX_FDS: [(resource.getrlimit(resource.RLIMIT_NOFILE)[0], ())],
            families.LOG_DROPPED: [(self._log.dropped_in_all, ())],
            families.SPANS_DROPPED: [] if self._spans is None else [(self._spans.dropped, ())],
            families.CERTIFICATE: [] if until is None else [(until.timestamp(), ())],
            families.CONNECTIONS: [(number, (name,)) for name, number in listeners.quota.by_account.items()],
            families.REFUSALS: [(number, (kind,)) for kind, number in listeners.refusals.counts.items()],
        }
        for family, samples in values.items():
            yield family, [sample(family, *one) for one in samples]
        yield families.LAG, [histogram(families.LAG, _LAG_BOUNDS, self._lag.buckets, self._lag.seconds)]


def check_right(principal: str, settings: Settings) -> None:
    """Raise Rejection 403 for a token of the configuration without the right to the metrics, and for an access token."""
    if principal.startswith(DERIVED) or any(
        token.name == principal and not token.metrics for token in settings.tokens
    ):
        raise Rejection(403, INVALID_REQUEST, f"the token of {principal!r} has no right to {METRICS}")


_Samples = Iterable[tuple[float, tuple[str, ...]]]
# Returns a value of one server. The memory is in bytes, by process session.
_OfServer = Callable[[LocalServer, dict[int, int]], float]


def _one(value: _OfServer) -> Callable[[LocalServer, dict[int, int]], _Samples]:
    return lambda server, memory: [(value(server, memory), (server.name,))]


def _states(server: LocalServer, _memory: dict[int, int]) -> _Samples:
    present = server.state
    return [(int(state == present), (server.name, state)) for state in families.STATES]


# The values of each server, by family.
_OF_SERVERS: Final[dict[Family, Callable[[LocalServer, dict[int, int]], _Samples]]] = {
    families.STATE: _states,
    families.READY: _one(lambda server, _: int(server.ready)),
    families.BREAKERS: _one(lambda server, _: server.open_breakers),
    families.SESSIONS: _one(lambda server, _: server.sessions),
    families.BUSY: _one(lambda server, _: server.in_flight),
    families.PROCESSES: _one(lambda server, _: len(server.pids)),
    families.REMOTE: _one(lambda server, _: server.connections),
    families.PROCESS_MEMORY: _one(lambda server, memory: sum(memory.get(pid, 0) for pid in server.pids)),
    families.STARTS: _one(lambda server, _: server.server_log.history.starts),
    families.EXITS: _one(lambda server, _: server.server_log.history.exits),
    families.START_FAILURES: _one(lambda server, _: server.server_log.history.failures),
    families.RESTARTS: _one(lambda server, _: server.server_log.history.restarts),
    families.UNMATCHED: _one(lambda server, _: server.server_log.unmatched_answers),
    families.STDERR: _one(lambda server, _: server.server_log.stderr_lines),
    families.RECEIVED: _one(lambda server, _: server.transferred[0]),
    families.SENT: _one(lambda server, _: server.transferred[1]),
    families.CONTENT: lambda server, _: [
        (number, (server.name, *labels)) for labels, number in server.server_log.content_findings.items()
    ],
}


def _requests(server: str, series: CallSeries) -> str:
    names = (server, series.method, series.tool)
    succeeded = series.count - sum(series.errors.values())
    return "".join(
        sample(families.REQUESTS, number, (*names, outcome))
        for outcome, number in ((OK, succeeded), *series.errors.items())
    )


def _latency(server: str, series: CallSeries) -> str:
    names = (server, series.method, series.tool)
    return histogram(families.LATENCY, _BOUNDS, series.buckets, series.seconds, names)
