"""Start, replace and remove the servers of one daemon, and route paths to them.

Each server runs in a task of its own, so that a fault of one server does not affect the others.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Final

import attrs
import trio

from ...transports.endpoints.http_sse import SharedMessagePost
from ...transports.http.routes import endpoints
from ...transports.options import Paths, aggregate_of, member_path
from ...transports.poller import Poller
from ...transports.ports import Endpoint
from ...transports.process.spawner import Spawner
from ..config.settings import ALL, WRAPPED, ServerConfig, Settings, TokenConfig
from ..core.aggregate_members import Membership, line
from ..core.exit_codes import EX_UNAVAILABLE
from ..core.grants import Grant, Roles
from ..core.span_queue import SpanQueue
from ..log import LineLog
from ..runtime.common_parts import DaemonParts
from ..runtime.definition_store import DefinitionStore
from ..runtime.era_store import EraStore
from ..runtime.server import LocalServer
from ..runtime.server_log import OnCall, ServerLog
from ..runtime.tasks import STOPPING

if TYPE_CHECKING:
    from ..runtime.remote_connector import MakeAuthorizer

# The pause before a server whose task has failed is served again (seconds).
_RETRY_SECONDS: Final = 1.0
_MESSAGES: Final = Paths().messages


@attrs.define
class _Member:
    server: LocalServer
    scope: trio.CancelScope
    table: dict[str, Endpoint]
    # Different for each server that was ever started, also for one of the same name.
    number: int


@attrs.frozen
class Changes:
    """The changes of a reload, by the names of the servers and of the tokens.

    `stale` are the tables whose changes need a restart. `warnings` name the faults of the new certificate.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    stale: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tokens_added: tuple[str, ...] = ()
    tokens_changed: tuple[str, ...] = ()
    tokens_revoked: tuple[str, ...] = ()


class Supervisor:
    """All servers of the daemon. `apply` works while `run` is running."""

    def __init__(
        self,
        spawner: Spawner,
        poller: Poller,
        log: LineLog,
        version: str,
        *,
        era_store: EraStore | None = None,
        definition_store: DefinitionStore | None = None,
        make_authorizer: "MakeAuthorizer | None" = None,
    ) -> None:
        self._parts = DaemonParts(spawner, poller, version, era_store, definition_store, make_authorizer)
        self._log = log
        # Whether each request of a client is logged, and counted by method and tool. `record_calls` sets them.
        self._logs_calls = self._counts_calls = False
        # Receives each request of a client for the audit file. `record_calls` sets it.
        self._audit_call: OnCall | None = None
        # Gets a span of each request; None without an exporter.
        self._spans: SpanQueue | None = None
        # Whether errors have the output of processes. `show_output` sets it.
        self._shows_output = True
        # By name, in the order of the configuration. An entry is removed when its server begins to drain.
        self._members: dict[str, _Member] = {}
        # By name. A log is kept over restarts and changes, and dropped once a removed server is drained and no command follows it.
        self._server_logs: dict[str, ServerLog] = {}
        # Called with the log of each server that is added. Added and removed by the control API.
        self.log_observers: list[Callable[[ServerLog], None]] = []
        # The names of the configuration.
        self._configured: frozenset[str] = frozenset()
        # Removed or replaced servers that still have requests in flight.
        self._draining: set[LocalServer] = set()
        # What each principal may use. `assign` replaces those of tokens; the gate adds others; each server reads them.
        self.roles = Roles()
        self._numbers = count(1)
        self._nursery: trio.Nursery | None = None

    def use_state_keys(self, keys: tuple[str, ...]) -> None:
        """Sign the states of modern servers with the first of these keys, and accept those of all; none for random keys."""
        self._parts.state_keys.keys = tuple(key.encode() for key in keys)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the servers until cancelled. All their processes have exited then."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def __iter__(self) -> Iterator[LocalServer]:
        return iter([member.server for member in self._members.values()])

    @property
    def server_logs(self) -> tuple[ServerLog, ...]:
        """The logs of all servers."""
        return tuple(self._server_logs.values())

    def find(self, name: str) -> LocalServer | None:
        """Return the server of this name, or None."""
        member = self._members.get(name)
        return None if member is None else member.server

    def may_delegate(self, pid: int, principal: str, path: str) -> bool:
        """Return whether a process is that of an aggregate for this principal, in whose name it may send requests to this path.

        The paths of the members of a named aggregate are for the processes of that aggregate only.
        """
        name = aggregate_of(path)
        return any(
            server.config.knows_principal
            and name in ("", server.name)
            and server.principals_by_pid.get(pid) == principal
            for server in self._all()
        )

    def is_ready(self, name: str = "") -> bool:
        """Return whether this server, or every server without a name, can serve clients."""
        servers = [server for server in self if name in ("", server.name)]
        return (not name or bool(servers)) and all(server.ready for server in servers)

    async def resolved(self) -> None:
        """Wait until the secrets of every server are read, or have failed to be read."""
        for server in self:
            await server.resolved()

    # ---- configurations

    async def apply(self, wanted: Iterable[ServerConfig]) -> Changes:
        """Run exactly these servers, and return the changes.

        A server with the same configuration keeps its sessions. A server that was removed or changed is drained. An aggregate
        with other members keeps its sessions too: `send_members` sends the new members to its process.
        """
        configs = {config.name: config for config in wanted}
        self._configured = frozenset(configs)
        self._parts.rates.keep(self._configured)
        before = {name: member.server.config for name, member in self._members.items()}
        changes = Changes(
            added=tuple(name for name in configs if name not in before),
            changed=tuple(name for name in configs if name in before and before[name] != configs[name]),
            removed=tuple(name for name in before if name not in configs),
            kept=tuple(name for name in configs if before.get(name) == configs[name]),
        )
        kept_running = [name for name in changes.changed if self._update_aggregate(name, configs[name])]
        replaced = [name for name in changes.changed if name not in kept_running]
        for name in (*replaced, *changes.removed):
            reason = refusal = "the server was removed from the configuration"
            if name in configs:
                reason = "its configuration has changed"
                refusal = "the server is being replaced: the configuration of the server has changed"
            self._remove(self._members.pop(name), reason, refusal, is_replaced=name in configs)
        for name in (*replaced, *changes.added):
            self._members[name] = await self._start_server(configs[name])
        self._members = {name: self._members[name] for name in configs}
        self._drop_server_logs()
        return changes

    def _update_aggregate(self, name: str, config: ServerConfig) -> bool:
        server = self._members[name].server
        if config.aggregate is None or server.config.start_config != config.start_config:
            return False
        server.config = config
        return True

    def send_members(self) -> None:
        """Send the present members to each aggregate. Call it after the routes were replaced."""
        for member in self._members.values():
            about = member.server.config.aggregate
            if about is not None:
                membership = Membership(
                    {name: self._members[name].number for name in about.servers},
                    about.name,
                    about.version or self._parts.version,
                    about.title,
                    about.instructions,
                    about.without,
                    member.server.config.limits.drain_seconds,
                    about.allow,
                    about.deny,
                    {**about.rename},
                    {**about.describe},
                    about.surface,
                )
                member.server.introduce(line(membership))

    def record_calls(
        self, *, logs: bool, counts: bool, audit: OnCall | None = None, spans: SpanQueue | None = None
    ) -> None:
        """Record each request of a client from now on as `ServerLog.record_calls`."""
        self._logs_calls, self._counts_calls, self._audit_call, self._spans = logs, counts, audit, spans
        for server_log in self._server_logs.values():
            self._record_calls(server_log)

    def _record_calls(self, server_log: ServerLog) -> None:
        server_log.record_calls(
            logs=self._logs_calls, counts=self._counts_calls, audit=self._audit_call, spans=self._spans
        )

    def show_output(self, *, shown: bool) -> None:
        """Set whether errors have the output of processes that have served one principal."""
        self._shows_output = shown
        for server_log in self._server_logs.values():
            server_log.history.shows_output = shown

    def limit_clients(self, settings: Settings) -> None:
        """Limit the requests and the sessions of clients from now on. Nothing is closed or restarted."""
        self._parts.rates.configure(settings.rates)
        self._parts.sessions_of.clear()
        self._parts.sessions_of.update(settings.sessions_of)

    def assign(self, settings: Settings) -> None:
        """Apply the permissions of the tokens. Sessions and streams of a principal whose permissions changed are closed."""
        for name in self.roles.assign(grants_of(settings)):
            for server in self._all():
                server.on_permissions_changed(name)

    def restart(self, name: str) -> None:
        """Stop the processes of this server, if there is one. The next request starts them again."""
        member = self._members.get(name)
        if member is not None:
            member.server.restart()

    async def _start_server(self, config: ServerConfig) -> _Member:
        assert self._nursery is not None  # noqa: S101 - `run` is running
        server_log = self._server_logs.get(config.name)
        if server_log is None:
            server_log = self._server_logs[config.name] = ServerLog(config.name, self._log)
            for observer in self.log_observers:
                observer(server_log)
        self._record_calls(server_log)
        server_log.history.shows_output = self._shows_output
        # An aggregate forwards requests, and the members check the permissions of the principal.
        roles = None if config.knows_principal else self.roles
        server = LocalServer(config, self._parts, server_log, roles)
        scope = await self._nursery.start(self._guard, server, server_log)
        table = endpoints(Paths.below(config.name), server, config.limits, server_log)
        if config.is_named_aggregate:
            table |= endpoints(config.paths, server, config.limits, server_log)
        return _Member(server, scope, table, next(self._numbers))

    async def _guard(
        self,
        server: LocalServer,
        server_log: ServerLog,
        *,
        task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        begun = False
        with trio.CancelScope() as scope:
            while True:
                try:
                    async with trio.open_nursery() as nursery:
                        await nursery.start(server.run)
                        if not begun:
                            begun = True
                            task_status.started(scope)
                except Exception as fault:  # noqa: BLE001 - the boundary of one server
                    server_log.error("internal_error", fault=fault)
                    await trio.sleep(_RETRY_SECONDS)

    def _remove(self, member: _Member, reason: str, refusal: str, *, is_replaced: bool) -> None:
        assert self._nursery is not None  # noqa: S101 - `run` is running
        self._draining.add(member.server)
        self._nursery.start_soon(self._drain_removed, member, reason, refusal, is_replaced)

    async def _drain_removed(self, member: _Member, reason: str, refusal: str, is_replaced: bool) -> None:  # noqa: FBT001 - start_soon passes no keywords
        server = member.server
        with trio.move_on_after(server.config.limits.drain_seconds):
            await server.drain(refusal, moves=is_replaced)
        await server.close(reason, 0 if is_replaced else EX_UNAVAILABLE)
        await server.emptied()
        member.scope.cancel()
        self._draining.discard(server)
        self._drop_server_logs()

    def _drop_server_logs(self) -> None:
        kept = {*self._configured, *(server.name for server in self._draining)}
        self._server_logs = {
            name: log for name, log in self._server_logs.items() if name in kept or log.watched
        }

    # ---- paths

    def table(self, settings: Settings) -> dict[str, Endpoint]:
        """Return the endpoint of every path."""
        table: dict[str, Endpoint] = {}
        for member in self._members.values():
            table |= member.table
        root = self._members.get(settings.root)
        if root is not None:
            table |= endpoints(settings.paths, root.server, root.server.config.limits, root.server.server_log)
        if settings.root != WRAPPED:
            table[_MESSAGES] = self._messages()
        return table

    @property
    def paths_of_members(self) -> dict[str, Endpoint]:
        """The endpoints by which the processes of named aggregates reach their members. They belong on the Unix socket only."""
        return {
            member_path(name, server): self._members[server].table[Paths.below(server).ws]
            for name, member in self._members.items()
            for server in _members_by_path(member.server.config)
        }

    def _messages(self) -> Endpoint:
        """Return the endpoint that finds the session of a message in all servers."""
        servers = {
            name: (member.server, member.table[Paths.below(name).messages])
            for name, member in self._members.items()
        }
        return SharedMessagePost(servers, self.roles.permits)

    def owners(self, settings: Settings) -> dict[str, str]:
        """Return the name of the server that each path belongs to."""
        owners = {path: name for name, member in self._members.items() for path in member.table}
        # A right to a named aggregate is enough for the requests that its processes send in the name of the principal.
        owners |= {path: aggregate_of(path) for path in self.paths_of_members}
        owners |= dict.fromkeys(attrs.astuple(settings.paths), settings.root)
        if settings.root != WRAPPED:
            # The path belongs to the server of each session.
            owners.pop(_MESSAGES, None)
        return owners

    # ---- shutdown

    async def drain(self) -> None:
        """Refuse new requests, and wait until every request in flight is answered."""
        async with trio.open_nursery() as nursery:
            for server in self._all():
                nursery.start_soon(server.drain)

    @property
    def waits_for(self) -> str:
        """Return what a stop waits for: servers with requests in flight or running processes; empty if there are none."""
        counts = [(server.name, server.in_flight, len(server.pids)) for server in self._all()]
        if calls := [f"{name} ({count} in flight)" for name, count, _ in counts if count]:
            return f"requests: {', '.join(calls)}"
        processes = [f"{name} ({count} running)" for name, _, count in counts if count]
        return f"processes: {', '.join(processes)}" if processes else ""

    async def close(self) -> None:
        """Close every session."""
        for server in self._all():
            await server.close(STOPPING)

    async def emptied(self) -> None:
        """Wait until every process has exited."""
        for server in self._all():
            await server.emptied()

    def _all(self) -> list[LocalServer]:
        return [*(member.server for member in self._members.values()), *self._draining]


def _members_by_path(config: ServerConfig) -> tuple[str, ...]:
    return config.aggregate.servers if config.aggregate is not None and config.aggregate.named else ()


def grants_of(settings: Settings) -> Iterator[tuple[str, Grant]]:
    """Return the permissions of each token by its name, with the servers and aggregates that it may use."""
    named = {server.name: server for server in settings.servers if server.is_named_aggregate}
    others = {server.name for server in settings.servers} - named.keys()
    for token in settings.tokens:
        if ALL in token.servers and ALL in token.aggregates:
            yield token.name, token.grant
            continue
        aggregates = named.keys() if ALL in token.aggregates else token.aggregates & named.keys()
        servers = others if ALL in token.servers else token.servers - named.keys()
        through = {member for name in aggregates for member in _members_by_path(named[name])}
        grant = attrs.evolve(token.grant, servers=frozenset(servers | aggregates), through=frozenset(through))
        yield token.name, grant


def token_changes(before: Iterable[TokenConfig], after: Iterable[TokenConfig]) -> dict[str, tuple[str, ...]]:
    """Return the names of the tokens that were added, changed and revoked, as fields of `Changes`."""
    old, new = {token.name: token for token in before}, {token.name: token for token in after}
    return {
        "tokens_added": tuple(name for name in new if name not in old),
        "tokens_changed": tuple(name for name in new if name in old and new[name] != old[name]),
        "tokens_revoked": tuple(name for name in old if name not in new),
    }


def pin_changes(
    before: Iterable[ServerConfig], after: Iterable[ServerConfig]
) -> tuple[tuple[str, str, str], ...]:
    """Return the name, the former pin and the new pin of each server whose pin differs. No pin is an empty text."""
    old, new = {server.name: server.pin for server in before}, {server.name: server.pin for server in after}
    return tuple((name, old.get(name, ""), pin) for name, pin in new.items() if pin != old.get(name, ""))
