"""Start the process of each owner, after an exit as well, and replace what turns out to speak another era."""

import math

import trio

from ...transports.client_process import UNKNOWN, Caller
from ...transports.options import SpawnFailed
from ...transports.ports import ModernRequest
from ...validators.rejection import SERVER_ERROR, Rejection
from ..core import era_cache
from .adapters import AdapterFactory
from .circuit_breakers import CircuitBreakers
from .conversation import LocalConversation
from .era_discovery import EraDiscovery, NotOfThisEra
from .era_facts import EraFacts
from .multiplexed_process import MultiplexedProcess
from .owner_control import OwnerControl
from .place_finder import PlaceFinder
from .process_owner import ProcessOwner
from .process_pool import ProcessPool
from .process_table import ProcessTable
from .server_log import ServerLog
from .shared_process import SharedProcess
from .shared_processes import SharedProcesses
from .start_checks import StartChecks
from .start_monitor import StartMonitor
from .tasks import ServerTasks


class ProcessStarter:
    """Starts processes of one server for sessions, stateless clients and shared processes."""

    def __init__(
        self,
        checks: StartChecks,
        breakers: CircuitBreakers,
        table: ProcessTable,
        facts: EraFacts,
        discovery: EraDiscovery,
        monitor: StartMonitor,
        pool: ProcessPool,
        shared: SharedProcesses,
        finder: PlaceFinder,
        adapters: AdapterFactory,
        server_log: ServerLog,
        tasks: ServerTasks,
        control: OwnerControl,
    ) -> None:
        self._checks = checks
        self._breakers = breakers
        self._table = table
        self._facts = facts
        self._discovery = discovery
        self._monitor = monitor
        self._pool = pool
        self._shared = shared
        self._finder = finder
        self._adapters = adapters
        self._log = server_log
        self._tasks = tasks
        self._control = control

    def warm(self) -> None:
        """Start the warm standbys, and with `eager` find the era."""
        config = self._checks.config
        self._pool.want(max(config.spare, 1 if config.eager else 0))
        if config.shares and config.eager:
            self._tasks.start_soon(self._learn_era_first)
            return
        self._tasks.start_soon(self._pool.warm)
        if config.eager:
            self._tasks.start_soon(self._discovery.learn)

    async def _learn_era_first(self) -> None:
        # A probe must not take a lock or a port from the process that serves.
        await self._discovery.learn()
        await self._pool.warm()

    async def start(self, owner: ProcessOwner) -> None:
        """Start a process for an owner. Raises SpawnFailed, and NotOfThisEra where the stored facts are wrong."""
        process = await self._pool.assign(owner)
        if owner.speaks_modern and self._facts.cache.is_restored:
            await self._discovery.confirm(process, owner)
        owner.on_start(process.child)

    async def start_again(self, owner: ProcessOwner) -> None:
        """Start a process after the pause of the circuit breaker, or fail what waits for it."""
        probe = self._discovery.probe
        if isinstance(owner, SharedProcess) and probe is not None:
            # The probe may hold what only one process can have, such as a lock or a port.
            await probe.finished.wait()
            if self._facts.for_modern_client == era_cache.MODERN:
                self._shared.translate_members(owner)
                return
        while isinstance(owner, SharedProcess) and self._has_ending_predecessor(owner):
            await self._table.changed.park()
        breaker = self._breakers.find(owner.principal, owner.client_environment)
        now = trio.current_time()
        if not breaker.is_open(now):
            await trio.sleep(breaker.pause(now))
            # Others have waited as well, and the breaker lets one start through when it is half open.
            now = trio.current_time()
        if breaker.is_open(now):
            owner.failed(
                self._breakers.why_tripped(breaker, now, owner.principal),
                {"reason": "restarts", "retry_after": math.ceil(breaker.pause(now))},
            )
            return
        # The pause may have outlasted the owner.
        if owner.ended:
            return
        try:
            await self.start(owner)
        except NotOfThisEra as fault:
            if isinstance(owner, MultiplexedProcess):
                self.move(owner, str(fault))
                return
            if isinstance(owner, LocalConversation):
                owner.expect(None)
            await self.start(owner)
        except SpawnFailed as fault:
            self._breakers.not_started(fault, breaker)
            owner.failed(str(fault), {"reason": "not started"})

    async def resolve_era(self, conversation: LocalConversation) -> None:
        """Start a session again through an adapter, if its failed `initialize` means that the server is a modern one."""
        if await self._discovery.is_legacy_only():
            self._monitor.resolve(conversation)
            conversation.resolve_era(None)
            return
        self._monitor.drop(conversation)
        self._facts.opened(legacy=False)
        conversation.resolve_era(self._adapters.modern)
        try:
            await self.start(conversation)
        except SpawnFailed as fault:
            self._breakers.not_started(fault)
            conversation.failed(str(fault), {"reason": "not started"})

    def on_era_mismatch(self, upstream: MultiplexedProcess, reason: str) -> None:
        """End a process that does not speak its era, and move its requests where the stored facts were wrong."""
        probe = self._discovery.probe_beside(upstream)
        if probe is not None:
            probe.refused = self._table.has_refused(upstream)
            probe.settled.set()
            self._control.end(upstream, reason)
            return
        recalled = self._facts.cache.is_restored
        self._facts.mismatched(reason)
        if recalled and not upstream.speaks_modern and self._table.has_refused(upstream):
            self.move(upstream, reason)
            return
        if not upstream.speaks_modern:
            upstream.not_opened(*self._monitor.on_start_timeout(upstream, reason))
        self._control.end(upstream, reason)

    def move(self, upstream: MultiplexedProcess, reason: str) -> None:
        """Give the requests that a process has not received to a process of another era."""
        self._log.info("requests_moved", reason=reason)
        upstream.withdraw()
        self._control.end(upstream, reason)
        self._tasks.start_guarded(upstream, self._move, upstream, reason)

    async def _move(self, upstream: MultiplexedProcess, reason: str) -> None:
        while (moving := upstream.next_moving()) is not None:
            caller = moving.caller if isinstance(moving.caller, Caller) else Caller(name=UNKNOWN)
            request = ModernRequest(moving.request, moving.envelope, moving.headers)
            try:
                if moving.moved:
                    raise Rejection(503, SERVER_ERROR, reason)
                found, client = await self._finder.find(
                    moving.principal, upstream.client_environment, caller, request
                )
                # The request may have been cancelled while its process was looked for.
                if upstream.next_moving() is moving:
                    found.request(moving._replace(client=client, moved=True))
                    upstream.move(moving, found)
            except Rejection as rejection:
                if upstream.next_moving() is moving:
                    upstream.refuse(moving, rejection)

    def _has_ending_predecessor(self, shared: SharedProcess) -> bool:
        # The predecessor may hold what only one process can have.
        return any(
            isinstance(other, SharedProcess)
            and other.ended
            and (other.principal, other.client_environment) == (shared.principal, shared.client_environment)
            for other in self._table.owners
        )
