"""The state of the daemon as the page at /admin shows it. docs/ADMIN.md documents the fields."""

import time
from collections.abc import Iterable
from typing import Final

import msgspec

from ...transports.http.quota import Quota
from ..config.credentials import PRINCIPAL
from ..config.settings import ALL, Settings
from ..core.call_metrics import CallMetrics
from ..runtime.server import LocalServer
from .running_config import RunningConfig
from .session_list import SessionStatus, session_list
from .status import Status

# More rows would make the page slow.
_MOST_CALLS: Final = 100
_MOST_SESSIONS: Final = 100


class TokenUse(msgspec.Struct, frozen=True):
    """One token, without its value: its servers and aggregates, its open connections, and when the last one was closed.

    `last_used` is in seconds since the epoch, 0 if it was not used since the start of the daemon.
    """

    name: str
    servers: tuple[str, ...]
    connections: int
    last_used: float


class CallRow(msgspec.Struct, frozen=True):
    """The calls of one tool of a server, or its requests of one other method. Latencies in seconds.

    `failed` counts errors without cancelled requests. `median` and `p95` are estimates from a histogram.
    """

    server: str
    method: str
    tool: str
    count: int
    failed: int
    median: float
    p95: float
    mean: float


class PageState(msgspec.Struct, frozen=True):
    """The state. `at` is in seconds since the epoch; `actions` is whether the page can restart and reload.

    `more_sessions` is the number of clients that are not in `sessions`.
    """

    at: float
    actions: bool
    status: Status
    sessions: tuple[SessionStatus, ...]
    more_sessions: int
    calls: tuple[CallRow, ...]
    tokens: tuple[TokenUse, ...]


def page_state(status: Status, servers: Iterable[LocalServer], config: RunningConfig, quota: Quota) -> bytes:
    """Return the state as JSON."""
    found = [*servers]
    sessions = session_list(found).sessions
    state = PageState(
        at=time.time(),
        actions=config.settings.admin.actions,
        status=status,
        sessions=busiest(sessions),
        more_sessions=max(0, len(sessions) - _MOST_SESSIONS),
        calls=call_rows((server.name, server.server_log.metrics) for server in found),
        tokens=token_uses(config.settings, quota),
    )
    return msgspec.json.encode(state)


def busiest(sessions: Iterable[SessionStatus]) -> tuple[SessionStatus, ...]:
    """Return the clients that were active last, at most `_MOST_SESSIONS`."""
    return tuple(sorted(sessions, key=lambda one: (one.idle, -one.since))[:_MOST_SESSIONS])


def call_rows(metrics: Iterable[tuple[str, CallMetrics | None]]) -> tuple[CallRow, ...]:
    """Return the most frequent calls of all servers, at most `_MOST_CALLS`: those of tools before other methods."""
    found = [(name, series) for name, of in metrics if of is not None for series in of if series.count]
    found.sort(key=lambda one: (not one[1].tool, -one[1].count, one[0], one[1].method, one[1].tool))
    return tuple(
        CallRow(
            name,
            series.method,
            series.tool,
            series.count,
            series.failed,
            series.quantile(0.5),
            series.quantile(0.95),
            series.seconds / series.count,
        )
        for name, series in found[:_MOST_CALLS]
    )


def token_uses(settings: Settings, quota: Quota) -> tuple[TokenUse, ...]:
    """Return the use of each token, that of the owner first."""
    tokens = [(token.name, tuple(sorted(token.servers | token.aggregates))) for token in settings.tokens]
    if settings.authenticate:
        tokens.insert(0, (PRINCIPAL, (ALL,)))
    return tuple(TokenUse(name, servers, *quota.use_of(name)) for name, servers in tokens)
