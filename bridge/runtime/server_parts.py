"""The parts of one server, and what they need of each other (`owner_control.OwnerControl`)."""

from collections.abc import Mapping
from typing import Final

import trio

from ...transports.poller import Poller
from ...transports.process.spawner import Spawner
from ...validators.rejection import SERVER_ERROR, Rejection
from ..config.settings import ServerConfig, TokenConfig
from .adapters import AdapterFactory
from .circuit_breakers import CircuitBreakers
from .era_discovery import EraDiscovery
from .era_facts import EraFacts
from .era_store import EraStore
from .multiplexed_process import MultiplexedProcess
from .place_finder import PlaceFinder
from .place_table import PlaceTable
from .placement import Place
from .policies import PolicyTable
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

# The time between two looks at the calls in flight of processes that are replaced (seconds).
_ROUND: Final = 0.02


class ServerParts:
    """Makes the parts of one server, each with those that it uses."""

    def __init__(
        self,
        config: ServerConfig,
        spawner: Spawner,
        poller: Poller,
        log: ServerLog,
        version: str,
        roles: Mapping[str, TokenConfig],
        store: EraStore | None,
    ) -> None:
        self.policies = policies = PolicyTable(config.policy, roles)
        self.tasks = tasks = ServerTasks(log, self.end)
        self.checks = checks = StartChecks(config, log, tasks)
        self.breakers = breakers = CircuitBreakers(log)
        self.processes = processes = ProcessTable(log)
        self.facts = facts = EraFacts(checks, log, tasks, store)
        self.discovery = discovery = EraDiscovery(
            spawner, poller, checks, breakers, processes, facts, log, tasks, self.close_place
        )
        self.monitor = monitor = StartMonitor(
            config.limits, breakers, processes, facts, discovery, log, tasks
        )
        self.pool = pool = ProcessPool(spawner, poller, checks, breakers, processes, monitor, log, tasks)
        adapters = AdapterFactory(config, version)
        self.places = places = PlaceTable()
        self.shared = shared = SharedProcesses(
            checks, policies.common, version, breakers, facts, discovery, monitor, adapters, log, tasks, self
        )
        self.finder = finder = PlaceFinder(
            places,
            checks,
            policies,
            breakers,
            facts,
            discovery,
            shared,
            adapters,
            log,
            tasks,
            self,
            self.close_place,
        )
        self.starter = starter = ProcessStarter(
            checks,
            breakers,
            processes,
            facts,
            discovery,
            monitor,
            pool,
            shared,
            finder,
            adapters,
            log,
            tasks,
            self,
        )
        self.sessions = Sessions(
            checks, policies, breakers, facts, monitor, shared, finder, starter, adapters, log, tasks, self
        )

    @property
    def used(self) -> int:
        """The number that the limit `sessions` counts: sessions, and processes that several clients may share."""
        return len(self.sessions) + self.places.current + len(self.shared.current)

    # ---- owner_control.OwnerControl

    def start_again(self, owner: ProcessOwner) -> None:
        """Start a process for an owner (owner_control.OwnerControl)."""
        self.tasks.start_guarded(owner, self.starter.start_again, owner)

    def end(self, owner: ProcessOwner, reason: str) -> None:
        """Close an owner, and remove it from every table (owner_control.OwnerControl)."""
        self.monitor.drop(owner)
        if isinstance(owner, MultiplexedProcess):
            self.places.remove(owner)
        self.shared.remove(owner)
        owner.end(reason)

    def make_room(self, principal: str) -> None:
        """Close the process of a principal that was idle longest where a limit is reached. Raises Rejection 503."""
        limits = self.checks.config.limits
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
                headers=((b"Retry-After", b"5"),),
            )
        self.end(
            min(idle, key=lambda owner: owner.touched),
            "its principal has too many server processes and this one was idle longest",
        )

    def move(self, upstream: MultiplexedProcess, reason: str) -> None:
        """Give the requests of a process to a process of another era (owner_control.OwnerControl)."""
        self.starter.move(upstream, reason)

    def on_era_mismatch(self, upstream: MultiplexedProcess, reason: str) -> None:
        """Replace or end a process of another era (owner_control.OwnerControl)."""
        self.starter.on_era_mismatch(upstream, reason)

    # ---- the end of processes

    def close_place(self, place: Place, reason: str) -> None:
        """Remove a place and end its process, a failed start if clients have waited long for its first response."""
        self.places.remove(place.upstream)
        process = self.processes.current(place.upstream)
        if process is not None:
            self.monitor.on_client_left(place.upstream, trio.current_time() - process.started)
        place.upstream.end(reason)

    def restart(self) -> None:
        """Replace every process when its calls have ended, and drop what went wrong before."""
        self.breakers.reset()
        self.facts.restart()
        self.checks.restart()
        self.pool.stop_standbys()
        leaving: dict[ProcessOwner, None] = dict.fromkeys(
            [*self.places.upstreams, *self.shared.current, *self.processes.owners]
        )
        self.shared.replace_all()
        self.places.replace_all()
        for conversation in self.sessions:
            conversation.detach()
        for owner in leaving:
            owner.read_on()
        self.tasks.start_soon(self._discard, leaving)
        self.starter.warm()

    async def _discard(self, leaving: dict[ProcessOwner, None]) -> None:
        end = trio.current_time() + self.checks.config.limits.drain_seconds
        while leaving:
            over = trio.current_time() >= end
            for owner in [owner for owner in leaving if over or not owner.calling]:
                del leaving[owner]
                with self.tasks.guarding(owner):
                    owner.discard("the server was restarted")
                if isinstance(owner, MultiplexedProcess):
                    self.places.remove(owner)
                elif isinstance(owner, SharedProcess):
                    self.shared.drop_replaced(owner)
            await trio.sleep(_ROUND)
