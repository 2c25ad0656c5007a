"""The servers of one daemon: which there are, which come and go with a new configuration, and the paths to them.

One server's trouble never shows on another: each lives in a task of its own, behind a guard.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Final

import attrs
import trio

from ...transports.endpoints.http_sse import SharedMessagePost
from ...transports.http.routes import endpoints
from ...transports.options import Paths
from ...transports.poller import Poller
from ...transports.ports import Endpoint
from ...transports.process.spawner import Spawner
from ..config.settings import ALL, WRAPPED, ServerConfig, Settings, TokenConfig
from ..core.aggregate_members import Membership, line
from ..log import LineLog
from ..runtime.era_store import EraStore
from ..runtime.server import LocalServer
from ..runtime.server_log import ServerLog

# After a fault of ours, how long before the server is served again, in seconds.
_AFTER_FAULT: Final = 1.0
_MESSAGES: Final = Paths().messages
_EVERYTHING: Final = TokenConfig("", b"").role


@attrs.define
class _Member:
    server: LocalServer
    scope: trio.CancelScope
    table: dict[str, Endpoint]
    number: int  # another one for each server that was ever begun


@attrs.frozen
class Changes:
    """What a new configuration has changed, by the names of the servers; `stale` are tables that need a restart.

    `warnings` say what is wrong all the same.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    stale: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Supervisor:
    """All servers. `run` must be running for `apply` to work. With `tells` each request of a client is logged."""

    def __init__(
        self,
        spawner: Spawner,
        poller: Poller,
        log: LineLog,
        version: str,
        *,
        tells: bool,
        facts: EraStore | None = None,
    ) -> None:
        self._spawner = spawner
        self._poller = poller
        self._log = log
        self._version = version
        self._tells = tells
        self._facts = facts
        self._members: dict[str, _Member] = {}
        # By name. A server's past outlives its restart and its change, not its removal, except for those who follow it.
        self._server_logs: dict[str, ServerLog] = {}
        self._wanted: frozenset[str] = frozenset()  # the names of the configuration
        self._leaving: set[LocalServer] = set()
        self._roles: dict[str, TokenConfig] = {}
        self._numbers = count(1)
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the servers until cancelled; then none of their processes is left."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def __iter__(self) -> Iterator[LocalServer]:
        return iter([member.server for member in self._members.values()])

    def find(self, name: str) -> LocalServer | None:
        """The server of this name."""
        member = self._members.get(name)
        return None if member is None else member.server

    def may_delegate(self, pid: int) -> bool:
        """Whether this process is one of ours that works for several clients (the aggregate)."""
        return any(server.config.knows_principal and pid in server.pids for server in self._all())

    def is_ready(self, name: str = "") -> bool:
        """Whether clients of this server, or of every one, would be served, as far as is known."""
        servers = [server for server in self if name in ("", server.name)]
        return (not name or bool(servers)) and all(server.ready for server in servers)

    async def resolved(self) -> None:
        """Wait until it is known of every server whether it can be started."""
        for server in self:
            await server.resolved()

    # ---- configurations

    async def apply(self, wanted: Iterable[ServerConfig]) -> Changes:
        """Let there be exactly these servers.

        One whose configuration has not changed goes on with all its sessions. One that is gone, or is another now, takes
        nothing new, answers what is in flight, and ends. An aggregate goes on with other members: `introduce` sends them to it.
        """
        configs = {config.name: config for config in wanted}
        self._wanted = frozenset(configs)
        before = {name: member.server.config for name, member in self._members.items()}
        changes = Changes(
            added=tuple(name for name in configs if name not in before),
            changed=tuple(name for name in configs if name in before and before[name] != configs[name]),
            removed=tuple(name for name in before if name not in configs),
            kept=tuple(name for name in configs if before.get(name) == configs[name]),
        )
        going_on = [name for name in changes.changed if self._adopts(name, configs[name])]
        replaced = [name for name in changes.changed if name not in going_on]
        for name in (*replaced, *changes.removed):
            reason = refusal = "the server was removed from the configuration"
            if name in configs:
                reason = "its configuration has changed"
                refusal = "the server is being replaced: the configuration of the server has changed"
            self._retire(self._members.pop(name), reason, refusal)
        for name in (*replaced, *changes.added):
            self._members[name] = await self._begin(configs[name])
        self._members = {name: self._members[name] for name in configs}  # in the order of the file
        self._forget_removed()
        return changes

    def _adopts(self, name: str, config: ServerConfig) -> bool:
        server = self._members[name].server
        if config.aggregate is None or server.config.lasting != config.lasting:
            return False
        server.config = config
        return True

    def introduce(self) -> None:
        """Send its members to the aggregate, if there is one. Their paths must lead to them already."""
        for member in self._members.values():
            about = member.server.config.aggregate
            if about is not None:
                membership = Membership(
                    {name: self._members[name].number for name in about.servers},
                    about.name,
                    about.version or self._version,
                    about.title,
                    about.instructions,
                    about.without,
                    member.server.config.limits.drain_seconds,
                )
                member.server.introduce(line(membership))

    def allot(self, tokens: Iterable[TokenConfig]) -> None:
        """Let these principals use what their tokens say from now on.

        What a principal has open ends where that is another thing than before.
        """
        before = {name: token.role for name, token in self._roles.items()}
        self._roles.clear()
        self._roles.update({token.name: token for token in tokens if token.role != _EVERYTHING})
        for name in before.keys() | self._roles.keys():
            if name not in self._roles or before.get(name) != self._roles[name].role:
                for server in self._all():
                    server.on_permissions_changed(name)

    def restart(self, name: str) -> None:
        """End the processes of this server, if there is one."""
        member = self._members.get(name)
        if member is not None:
            member.server.restart()

    async def _begin(self, config: ServerConfig) -> _Member:
        assert self._nursery is not None  # noqa: S101 - `run` is running
        server_log = self._server_logs.setdefault(
            config.name, ServerLog(config.name, self._log, tells=self._tells)
        )
        # Whoever comes to the aggregate has its role where that asks for it.
        roles = None if config.knows_principal else self._roles
        server = LocalServer(
            config, self._spawner, self._poller, server_log, self._version, roles, self._facts
        )
        scope = await self._nursery.start(self._guard, server, server_log)
        table = endpoints(Paths.below(config.name), server, config.limits, server_log)
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
                except Exception as fault:  # noqa: BLE001 - the boundary of one server: a fault of ours costs it only
                    server_log.error("internal error", fault=fault)
                    await trio.sleep(_AFTER_FAULT)

    def _retire(self, member: _Member, reason: str, refusal: str) -> None:
        assert self._nursery is not None  # noqa: S101 - `run` is running
        self._leaving.add(member.server)
        self._nursery.start_soon(self._see_off, member, reason, refusal)

    async def _see_off(self, member: _Member, reason: str, refusal: str) -> None:
        server = member.server
        with trio.move_on_after(server.config.limits.drain_seconds):
            await server.drain(refusal)
        await server.close(reason)
        await server.emptied()
        member.scope.cancel()
        self._leaving.discard(server)
        self._forget_removed()

    def _forget_removed(self) -> None:
        kept = {*self._wanted, *(server.name for server in self._leaving)}
        self._server_logs = {
            name: one for name, one in self._server_logs.items() if name in kept or one.watched
        }

    # ---- paths

    def table(self, settings: Settings) -> dict[str, Endpoint]:
        """The endpoint of every path."""
        table: dict[str, Endpoint] = {}
        for member in self._members.values():
            table |= member.table
        root = self._members.get(settings.root)
        if root is not None:
            table |= endpoints(settings.paths, root.server, root.server.config.limits, root.server.server_log)
        if settings.root != WRAPPED:
            table[_MESSAGES] = self._messages(rights_of(settings))
        return table

    def _messages(self, rights: Mapping[str, frozenset[str]]) -> Endpoint:
        """Return the endpoint that finds the session of a message whichever server it belongs to."""
        servers = {
            name: (member.server, member.table[Paths.below(name).messages])
            for name, member in self._members.items()
        }
        return SharedMessagePost(
            servers, lambda principal, name: principal not in rights or name in rights[principal]
        )

    def owners(self, settings: Settings) -> dict[str, str]:
        """The server that each path belongs to."""
        owners = {path: name for name, member in self._members.items() for path in member.table}
        owners |= dict.fromkeys(attrs.astuple(settings.paths), settings.root)
        if settings.root != WRAPPED:
            owners.pop(_MESSAGES, None)  # it belongs to the server of each session
        return owners

    # ---- the end

    async def drain(self) -> None:
        """Take nothing new, and wait until every call in flight is answered."""
        async with trio.open_nursery() as nursery:
            for server in self._all():
                nursery.start_soon(server.drain)

    async def close(self) -> None:
        """End every session."""
        for server in self._all():
            await server.close("the bridge is stopping")

    async def emptied(self) -> None:
        """Wait until no process is left."""
        for server in self._all():
            await server.emptied()

    def _all(self) -> list[LocalServer]:
        return [*(member.server for member in self._members.values()), *self._leaving]


def rights_of(settings: Settings) -> Mapping[str, frozenset[str]]:
    """The servers that each principal may use, for those that may not use all."""
    return {token.name: token.servers for token in settings.tokens if ALL not in token.servers}
