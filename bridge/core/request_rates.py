"""Limit how many requests clients may send: token buckets by principal, transport, server and tool. Pure.

Every rate that applies to a request must have a token. If one has none, the request is refused and takes no token at all.
Notifications and responses of clients are not counted.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import translate
from typing import Final, NamedTuple

import attrs

from ...validators.rejection import SERVER_ERROR, Rejection, retry_after
from ...validators.token_bucket import RATE_LIMIT, Rate, TokenBucket, whole_seconds

# The most buckets. At the limit the bucket that was used longest ago is dropped, and is full when it is used again.
MOST_BUCKETS: Final = 16_384
TRANSPORTS: Final = ("http", "sse", "websocket", "pipe")

# What a bucket counts: its key in the configuration, and the server and the principal if it is one of several.
_Identity = tuple[str, str, str]
ToolRates = tuple[tuple[str, Rate], ...]


@attrs.frozen
class ServerRates:
    """The rates of one server: of each principal, of all principals together, and of each principal by pattern of tools."""

    principal: Rate | None = None
    server: Rate | None = None
    tools: ToolRates = ()


@attrs.frozen
class RateTable:
    """All rates of the configuration.

    `principal` is the rate of each principal at all servers together, `tokens` those of single principals in its place, and
    `transports` those of each principal by transport. `server` is the rate of each server that has none of its own, and
    `tools` are the rates of each principal at each server, by pattern of tools.
    """

    principal: Rate | None = None
    transports: Mapping[str, Rate] = attrs.field(factory=dict[str, Rate])
    server: Rate | None = None
    tools: ToolRates = ()
    servers: Mapping[str, ServerRates] = attrs.field(factory=dict[str, ServerRates])
    tokens: Mapping[str, Rate] = attrs.field(factory=dict[str, Rate])


class Applied(NamedTuple):
    """One rate that applies to a request. `key` is its key in the configuration."""

    key: str
    rate: Rate
    identity: _Identity


class _ToolRule(NamedTuple):
    pattern: re.Pattern[str]
    key: str
    rate: Rate


class ServerGuard:
    """The rates of requests to one server. `on` is whether there is any rate."""

    __slots__ = ("_by_principal", "_by_server", "_rates", "_table", "_tools", "name", "on", "reads_tools")

    def __init__(self, name: str, table: RateTable, rates: "RequestRates") -> None:
        self.name = name
        self._rates = rates
        self.configure(table)

    def configure(self, table: RateTable) -> None:
        """Use these rates from now on."""
        own = table.servers.get(self.name, ServerRates())
        at = f"servers.{self.name}"
        self._table = table
        self._by_principal = own.principal
        self._by_server = (
            (f"{at}.rates.server", own.server) if own.server is not None else ("rates.server", table.server)
        )
        self._tools = [*_rules(f"{at}.tool_rates", own.tools), *_rules("tool_rates", table.tools)]
        # Whether the name of a tool must be known.
        self.reads_tools = bool(self._tools)
        self.on = bool(
            table.principal
            or table.tokens
            or table.transports
            or self._by_principal
            or self._by_server[1]
            or self._tools
        )

    def applied(
        self, principal: str, transport: str, tool: str | None, *, forwarded: bool = False
    ) -> Iterator[Applied]:
        """Yield each rate that applies to a request. `tool` is None for a request that calls no tool.

        A `forwarded` request came through the aggregate, which has counted it for its principal and its transport.
        """
        table = self._table
        if not forwarded:
            own = table.tokens.get(principal)
            if own is not None:
                yield _applied(f"tokens.{principal}.rates.requests", own, "", principal)
            elif table.principal is not None:
                yield _applied("rates.principal", table.principal, "", principal)
            carried = table.transports.get(transport)
            if carried is not None:
                yield _applied(f"rates.{transport}", carried, "", principal)
        if self._by_principal is not None:
            yield _applied(f"servers.{self.name}.rates.principal", self._by_principal, self.name, principal)
        key, rate = self._by_server
        if rate is not None:
            yield _applied(key, rate, self.name, "")
        if tool is not None:
            for rule in self._tools:
                if rule.pattern.match(tool):
                    yield _applied(rule.key, rule.rate, self.name, principal)

    def take(
        self, principal: str, transport: str, tool: str | None, now: float, *, forwarded: bool = False
    ) -> None:
        """Count one request. Raises Rejection 429 if it exceeds a rate. `now` is in seconds on any steady clock."""
        self._rates.take(self.applied(principal, transport, tool, forwarded=forwarded), now)


class RequestRates:
    """The buckets of a daemon."""

    def __init__(self, table: RateTable | None = None) -> None:
        self._table = table or RateTable()
        # By what they count, the one that was used last at the end. Bounded by `MOST_BUCKETS`.
        self._buckets: dict[_Identity, TokenBucket] = {}
        # By the names of servers. Replaced by `configure`, which keeps those of the servers that are named.
        self._guards: dict[str, ServerGuard] = {}

    def configure(self, table: RateTable) -> None:
        """Use these rates from now on. Buckets whose rate is unchanged keep their tokens."""
        self._table = table
        for guard in self._guards.values():
            guard.configure(table)

    def guard(self, server: str) -> ServerGuard:
        """Return the rates of a server. Its object stays the same while the configuration changes."""
        found = self._guards.get(server)
        if found is None:
            found = self._guards[server] = ServerGuard(server, self._table, self)
        return found

    def keep(self, servers: frozenset[str]) -> None:
        """Drop what is stored for servers that are not among these."""
        self._guards = {name: guard for name, guard in self._guards.items() if name in servers}

    def take(self, rates: Iterable[Applied], now: float) -> None:
        """Count one request to which these rates apply. Raises Rejection 429 if it exceeds any (`ServerGuard.take`)."""
        taken: list[TokenBucket] = []
        longest, over = 0.0, None
        for applied in rates:
            bucket = self._bucket(applied, now)
            wait = bucket.wait(now)
            if wait > longest:
                longest, over = wait, applied
            taken.append(bucket)
        if over is not None:
            raise too_many(over, longest)
        for bucket in taken:
            bucket.take()

    def _bucket(self, applied: Applied, now: float) -> TokenBucket:
        bucket = self._buckets.pop(applied.identity, None)
        if bucket is None or bucket.rate != applied.rate:
            bucket = TokenBucket(applied.rate, now)
            if len(self._buckets) >= MOST_BUCKETS:
                del self._buckets[next(iter(self._buckets))]
        self._buckets[applied.identity] = bucket
        return bucket


def too_many(over: Applied, wait: float) -> Rejection:
    """Return the Rejection of a request that may be repeated after this time (seconds): 429, -32000."""
    seconds = whole_seconds(wait)
    return Rejection(
        429,
        SERVER_ERROR,
        f"the limit of {over.rate} requests is reached ({over.key})",
        headers=retry_after(seconds),
        data={
            "reason": RATE_LIMIT,
            "limit": over.rate.count,
            "seconds": over.rate.seconds,
            "burst": over.rate.burst,
            "key": over.key,
            "retryAfter": seconds,
        },
        reason=RATE_LIMIT,
    )


def _applied(key: str, rate: Rate, server: str, principal: str) -> Applied:
    return Applied(key, rate, (key, server, principal))


def _rules(at: str, rates: ToolRates) -> Iterator[_ToolRule]:
    for pattern, rate in rates:
        yield _ToolRule(re.compile(translate(pattern)), f'{at}."{pattern}"', rate)
