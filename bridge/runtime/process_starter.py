"""Start the process of each owner, after an exit as well."""

import trio

from ...transports.options import SpawnFailed
from ..core import era_cache
from ..core.era_trial import OVER, EraTrial
from .common_parts import CommonParts
from .conversation import LocalConversation
from .era_discovery import EraDiscovery, NotOfThisEra
from .multiplexed_process import MultiplexedProcess
from .process_owner import ProcessOwner
from .process_pool import ProcessPool
from .shared_process import SharedProcess
from .shared_processes import SharedProcesses
from .start_monitor import StartMonitor


class ProcessStarter:
    """Starts processes of one server for sessions, stateless clients and shared processes."""

    def __init__(
        self,
        common: CommonParts,
        discovery: EraDiscovery,
        monitor: StartMonitor,
        pool: ProcessPool,
        shared: SharedProcesses,
    ) -> None:
        self._common = common
        self._discovery = discovery
        self._monitor = monitor
        self._pool = pool
        self._shared = shared

    def warm(self) -> None:
        """Start the warm standbys, and with `eager` find the era."""
        config = self._common.checks.config
        # A connection to a remote server is opened with its first message, so that a standby would do nothing.
        eager = config.eager and config.remote is None
        self._pool.want(max(config.spare, 1 if eager else 0))
        if config.shares and config.eager:
            self._common.tasks.start_soon(self._learn_era_first)
            return
        self._common.tasks.start_soon(self._pool.warm)
        if config.eager:
            self._common.tasks.start_soon(self._discovery.learn)

    async def _learn_era_first(self) -> None:
        # A probe must not take a lock or a port from the process that serves.
        await self._discovery.learn()
        await self._pool.warm()

    async def start(self, owner: ProcessOwner) -> None:
        """Start a process for an owner. Raises SpawnFailed, and NotOfThisEra where the stored facts are wrong."""
        process = await self._pool.assign(owner)
        if owner.speaks_modern and self._common.facts.cache.is_restored:
            await self._discovery.confirm(process, owner)
        owner.on_start(process.child)

    async def start_again(self, owner: ProcessOwner) -> None:
        """Start a process after the pause of the circuit breaker, or fail what waits for it."""
        probe = self._discovery.probe
        if isinstance(owner, SharedProcess) and probe is not None:
            # The probe may hold what only one process can have, such as a lock or a port.
            await probe.finished.wait()
            if self._common.facts.for_modern_client == era_cache.MODERN:
                self._shared.translate_members(owner)
                return
        while isinstance(owner, SharedProcess) and self._has_ending_predecessor(owner):
            await self._common.processes.changed.park()
        breaker = self._common.breakers.find(owner.principal, owner.client_environment)
        now = trio.current_time()
        if not breaker.is_open(now):
            await trio.sleep(breaker.pause(now))
            # Others have waited as well, and the breaker lets one start through when it is half open.
            now = trio.current_time()
        if breaker.is_open(now):
            refusal = self._common.breakers.refusal(breaker, now, owner.principal)
            owner.failed(refusal.text, refusal.data or {})
            return
        # The pause may have outlasted the owner.
        if owner.ended:
            return
        try:
            await self.start(owner)
        except NotOfThisEra as fault:
            if isinstance(owner, MultiplexedProcess):
                self._common.control.move(owner, str(fault))
                return
            if isinstance(owner, LocalConversation):
                owner.expect(None, EraTrial(OVER))
            await self.start(owner)
        except SpawnFailed as fault:
            self._common.breakers.not_started(fault, breaker)
            owner.failed(str(fault), {"reason": "not started"})

    async def resolve_era(self, conversation: LocalConversation) -> None:
        """Start a session again through an adapter, if its failed `initialize` means that the server is a modern one."""
        if await self._discovery.is_legacy_only(conversation.client_environment.directory):
            self._monitor.resolve(conversation)
            conversation.resolve_era(None)
            return
        self._monitor.drop(conversation)
        self._common.facts.opened(legacy=False)
        conversation.resolve_era(self._common.adapters.modern)
        try:
            await self.start(conversation)
        except SpawnFailed as fault:
            self._common.breakers.not_started(fault)
            conversation.failed(str(fault), {"reason": "not started"})

    def _has_ending_predecessor(self, shared: SharedProcess) -> bool:
        # The predecessor may hold what only one process can have.
        return any(
            isinstance(other, SharedProcess)
            and other.ended
            and (other.principal, other.client_environment) == (shared.principal, shared.client_environment)
            for other in self._common.processes.owners
        )
