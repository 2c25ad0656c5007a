"""The parts of one server, and what they need of each other (`owner_control.OwnerControl`)."""

from collections.abc import Iterable
from typing import Final

import trio

from ...validators.jsonrpc import notification
from ...validators.rejection import SERVER_ERROR, Rejection, retry_after
from ..config.settings import STRICT, ServerConfig
from .adapters import AdapterFactory
from .circuit_breakers import CircuitBreakers
from .common_parts import CommonParts, DaemonParts
from .connector import Connector, ProcessConnector
from .content import content_of
from .definitions import Definitions
from .era_discovery import EraDiscovery
from .era_facts import EraFacts
from .era_moves import EraMoves
from .multiplexed_process import MultiplexedProcess
from .place_finder import PlaceFinder
from .place_table import PlaceTable
from .placement import Place
from .policies import PolicyTable, RoleTable
from .process_owner import ProcessOwner
from .process_pool import ProcessPool
from .process_starter import ProcessStarter
from .process_table import ProcessTable
from .server_log import ServerLog
from .sessions import Sessions
from .shared_process import SharedProcess
from .shared_processes import SharedProcesses
from .start_checks import StartChecks
from .start_monitor import StartMonitor
from .tasks import ServerTasks

# The list that list_changed names, by the method that lists it (MCP 2025-11-25 server/resources).
_LIST_OF: Final = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/templates/list": "resources",
}
# The time between two looks at the calls in flight of processes that are replaced (seconds).
_ROUND: Final = 0.02


class ServerParts:
    """Makes the parts of one server, each with those that it uses."""

    def __init__(
        self,
        config: ServerConfig,
        daemon: DaemonParts,
        log: ServerLog,
        roles: RoleTable,
    ) -> None:
        tasks = ServerTasks(log, self.end)
        checks = StartChecks(config, log, tasks)
        if config.validate == STRICT:
            from .message_gate import MessageGate  # noqa: PLC0415 - other servers need no schemas

            log.gate = MessageGate(log.counted)
        self.definitions = Definitions(checks, log, tasks, daemon.definition_store)
        self.common = common = CommonParts(
            daemon=daemon,
            log=log,
            tasks=tasks,
            checks=checks,
            connector=_connector(config, daemon, log),
            policies=PolicyTable(
                config.policy, roles, config.name, self.definitions.guard, content_of(config, log)
            ),
            breakers=CircuitBreakers(log, remote=config.remote is not None),
            processes=ProcessTable(log),
            facts=EraFacts(checks, log, tasks, daemon.era_store),
            adapters=AdapterFactory(config, daemon.version),
            control=self,
        )
        self.discovery = discovery = EraDiscovery(common)
        self.monitor = monitor = StartMonitor(common, discovery)
        self.pool = pool = ProcessPool(common, monitor)
        self.places = places = PlaceTable(config.name, daemon.state_keys)
        self.shared = shared = SharedProcesses(common, discovery, monitor)
        self.finder = finder = PlaceFinder(common, places, discovery, shared)
        self.starter = starter = ProcessStarter(common, discovery, monitor, pool, shared)
        self._moves = EraMoves(common, discovery, monitor, finder)
        self.sessions = Sessions(common, monitor, shared, finder, starter)

    @property
    def used(self) -> int:
        """The number that the limit `sessions` counts: sessions, and processes that several clients may share."""
        return len(self.sessions) + self.places.current + len(self.shared.current)

    # ---- owner_control.OwnerControl

    def start_again(self, owner: ProcessOwner) -> None:
        """Start a process for an owner (owner_control.OwnerControl)."""
        self.common.tasks.start_guarded(owner, self.starter.start_again, owner)

    def end(self, owner: ProcessOwner, reason: str) -> None:
        """Close an owner, and remove it from every table (owner_control.OwnerControl)."""
        self.monitor.drop(owner)
        if isinstance(owner, MultiplexedProcess):
            self.places.remove(owner)
        self.shared.remove(owner)
        owner.end(reason)

    def make_room(self, principal: str) -> None:
        """Close the process of a principal that was idle longest where a limit is reached. Raises Rejection 503."""
        limits = self.common.checks.config.limits
        places = [place for place in self.places if not place.upstream.attached]
        mine: list[MultiplexedProcess | SharedProcess] = [
            *(place.upstream for place in places if place.key.principal == principal),
            *(shared for shared in self.shared.current if shared.principal == principal),
        ]
        if len(mine) < limits.processes_per_principal:
            if len(places) + len(self.shared.current) + len(self.sessions) < limits.sessions:
                return
            limit = f"sessions = {limits.sessions}"
        else:
            limit = f"processes_per_principal = {limits.processes_per_principal}"
        idle = [owner for owner in mine if not owner.busy]
        if not idle:
            raise Rejection(
                503,
                SERVER_ERROR,
                f"the limit {limit} of server processes is reached, and each of this principal's has a call or a subscription",
                headers=retry_after(5),
            )
        self.end(
            min(idle, key=lambda owner: owner.touched),
            "its principal has too many server processes and this one was idle longest",
        )

    def move(self, upstream: MultiplexedProcess, reason: str) -> None:
        """Give the requests of a process to a process of another era (owner_control.OwnerControl)."""
        self._moves.move(upstream, reason)

    def on_era_mismatch(self, upstream: MultiplexedProcess, reason: str) -> None:
        """Replace or end a process of another era (owner_control.OwnerControl)."""
        self._moves.on_era_mismatch(upstream, reason)

    def leave_legacy_places(self) -> None:
        """Give new calls to processes of the modern era (owner_control.OwnerControl)."""
        self.places.replace_legacy()

    # ---- the end of processes

    def close_place(self, place: Place, reason: str) -> None:
        """Remove a place and end its process, a failed start if clients have waited long for its first response."""
        self.places.remove(place.upstream)
        process = self.common.processes.current(place.upstream)
        if process is not None:
            self.monitor.on_client_left(place.upstream, trio.current_time() - process.started)
        place.upstream.end(reason)

    def restart(self) -> None:
        """Replace every process when its calls have ended, and drop what went wrong before."""
        self.common.breakers.reset()
        self.common.facts.restart()
        self.discovery.restart()
        self.common.connector.restart()
        self.common.checks.restart()
        self.pool.stop_standbys()
        leaving: dict[ProcessOwner, None] = dict.fromkeys(
            [*self.places.upstreams, *self.shared.current, *self.common.processes.owners]
        )
        self.shared.replace_all()
        self.places.replace_all()
        for conversation in self.sessions:
            conversation.detach()
        for owner in leaving:
            owner.read_on()
        self.common.tasks.start_soon(self._discard, leaving)
        self.starter.warm()

    def notify_lists(self, methods: Iterable[str]) -> None:
        """Send list_changed for lists with these methods to all clients, as if the server had.

        A process of the modern era is left out: its notifications name a subscription, and the next list has the change.
        """
        lists = {_LIST_OF[method] for method in methods}
        for process in tuple(self.common.processes):
            owner = process.current_owner
            if owner is None or process.liveness is None or owner.speaks_modern:
                continue
            for name in sorted(lists):
                with self.common.tasks.guarding(owner):
                    owner.on_line(notification(f"notifications/{name}/list_changed", b""))

    async def _discard(self, leaving: dict[ProcessOwner, None]) -> None:
        end = trio.current_time() + self.common.checks.config.limits.drain_seconds
        while leaving:
            over = trio.current_time() >= end
            for owner in [owner for owner in leaving if over or not owner.calling]:
                del leaving[owner]
                with self.common.tasks.guarding(owner):
                    owner.discard("the server was restarted")
                if isinstance(owner, MultiplexedProcess):
                    self.places.remove(owner)
                elif isinstance(owner, SharedProcess):
                    self.shared.drop_replaced(owner)
            await trio.sleep(_ROUND)


def _connector(config: ServerConfig, daemon: DaemonParts, log: ServerLog) -> Connector:
    if config.remote is not None:
        from .remote_connector import RemoteConnector  # noqa: PLC0415 - servers that are processes need no HTTP client

        return RemoteConnector(log, daemon.numbers, daemon.make_authorizer)
    assert daemon.spawner is not None  # noqa: S101 - see DaemonParts
    return ProcessConnector(daemon.spawner, daemon.poller)
