"""The legacy processes of one server that several sessions share, and stateless clients as well."""

from collections.abc import Callable
from itertools import count

import trio

from ..core import era_cache
from ..core.shared_upstream import SharedUpstream
from ..eras.legacy_adapter import LegacyAdapter
from .common_parts import CommonParts
from .conversation import LocalConversation
from .era_discovery import EraDiscovery
from .multiplexed_process import MultiplexedProcess
from .placement import Key, sharer
from .process_owner import ProcessOwner
from .routes import LegacyRoute
from .shared_process import SharedProcess
from .start_monitor import StartMonitor


class SharedProcesses:
    """The shared processes by key, and what each needs of its server (`shared_process.SharedProcessHooks`)."""

    def __init__(self, common: CommonParts, discovery: EraDiscovery, monitor: StartMonitor) -> None:
        self._common = common
        # The numbers of the requests to every shared process, so that no late response meets another request.
        self.ids = count(1)
        self._discovery = discovery
        self._monitor = monitor
        # By key; those for new sessions. Added by `get`, removed by `remove` and `replace_all`.
        self._current: dict[Key, SharedProcess] = {}
        # Those that end when their calls have ended, because the server was restarted; removed by `remove`.
        self._replaced: set[SharedProcess] = set()

    @property
    def current(self) -> tuple[SharedProcess, ...]:
        """The processes for new sessions."""
        return tuple(self._current.values())

    @property
    def all(self) -> tuple[SharedProcess, ...]:
        """The processes for new sessions, and those that were replaced."""
        return (*self._current.values(), *self._replaced)

    def get(self, key: Key) -> SharedProcess:
        """Return the process of a key, and open it where there is none. Raises Rejection."""
        shared = self._current.get(key)
        if shared is not None:
            return shared
        self._common.tasks.check_open()
        self._common.breakers.check(key.principal, key.client_environment)
        self._common.control.make_room(key.principal)
        config = self._common.checks.config
        shared = SharedProcess(
            key.principal,
            config.limits,
            self._common.log,
            SharedUpstream(
                config.limits, self._new_id, self._common.policies.common, self._common.daemon.version
            ),
            self,
            era_unknown=config.era == "auto",
            client_environment=key.client_environment,
        )
        shared.touched = trio.current_time()
        self._current[key] = shared
        return shared

    def for_session(self, conversation: LocalConversation) -> SharedProcess | None:
        """Return the process that a session shares, None where the server speaks the modern era. Raises Rejection."""
        key = Key(sharer(self._common.checks.config, conversation.principal), conversation.client_environment)
        if self._common.facts.for_modern_client == era_cache.MODERN and key not in self._current:
            conversation.translate_shared(self._common.adapters.modern)
            return None
        return self.get(key)

    def attach(self, info: bytes, upstream: MultiplexedProcess) -> tuple[SharedProcess, LegacyAdapter]:
        """Return the process and the adapter for stateless clients, the first with this clientInfo. Raises Rejection."""
        shared = self.get(Key(upstream.principal, upstream.client_environment))
        shared.introduce(info, {})
        return shared, self._common.adapters.shared_legacy(shared.origins, self._new_id)

    async def era(self, key: Key) -> str:
        """Return the era of the server, from the process of this key or else from a probe. Raises Rejection."""
        # A probe could not have what only one process can have, such as a lock or a port.
        shared = self._current.get(key)
        if shared is not None and shared.era_unknown and shared.opening:
            await shared.era_resolved.wait()
            shared = self._current.get(key)
        if shared is not None and not shared.era_unknown:
            return era_cache.LEGACY
        if not self._common.facts.for_modern_client:
            await self._discovery.run_probe(directory=key.client_environment.directory)
        return self._common.facts.for_modern_client

    def remove(self, owner: ProcessOwner) -> None:
        """Remove a process that is closed."""
        self._current = {key: shared for key, shared in self._current.items() if shared is not owner}

    def replace_all(self) -> None:
        """Use other processes for new requests, because the server is restarted."""
        self._replaced.update(self._current.values())
        self._current.clear()

    def drop_replaced(self, shared: SharedProcess) -> None:
        """Remove a replaced process whose calls have ended."""
        self._replaced.discard(shared)

    def end_all(self, reason: str) -> None:
        """Close every process."""
        for shared in self.current:
            self._common.control.end(shared, reason)
        while self._replaced:
            self._replaced.pop().end(reason)

    def close_idle(self, now: float) -> None:
        """Close the processes that were idle for too long. `now` is in seconds."""
        for shared in self.current:
            if now - shared.touched > self._common.checks.config.limits.session_idle_seconds:
                self._common.control.end(shared, "it was idle for too long")

    def translate_members(self, shared: SharedProcess) -> None:
        """Give the members of a process to a process of the modern era."""
        for member in shared.members:
            if isinstance(member, LegacyRoute):
                member.translate(self._common.adapters.modern)
            elif isinstance(member, MultiplexedProcess):
                self._common.control.move(member, "the server speaks the modern era")
        self._common.control.end(shared, "the server speaks the modern era")

    def _new_id(self) -> bytes:
        return b"%d" % next(self.ids)

    # ---- shared_process.SharedProcessHooks

    def start_process(self, shared: SharedProcess) -> None:
        """Start a process (shared_process.SharedProcessHooks)."""
        self._common.control.start_again(shared)

    def on_opened(self, _shared: SharedProcess) -> None:
        """Note that a process has accepted `initialize` (shared_process.SharedProcessHooks)."""
        if not self._common.facts.known[era_cache.LEGACY]:
            self._common.facts.opened(legacy=True)

    def on_unopened(self, shared: SharedProcess, otherwise: Callable[[], None], *, refused: bool) -> None:
        """Find out whether the server speaks another era than that of `initialize` (shared_process.SharedProcessHooks)."""
        if refused:
            self._common.facts.mismatched()
        self._common.tasks.start_guarded(shared, self._resolve_era, shared, otherwise)

    def on_start_timeout(self, shared: SharedProcess, text: str) -> tuple[str, dict[str, object]]:
        """Return the text and the data of the error that ends a start (shared_process.SharedProcessHooks)."""
        return self._monitor.on_start_timeout(shared, text)

    def on_fault(self, fault: Exception) -> None:
        """Log an error of the bridge that has ended one session (shared_process.SharedProcessHooks)."""
        self._common.log.error("internal_error", fault=fault)

    async def _resolve_era(self, shared: SharedProcess, otherwise: Callable[[], None]) -> None:
        if await self._discovery.is_legacy_only(shared.client_environment.directory):
            self._monitor.resolve(shared)
            otherwise()
            return
        self._common.facts.opened(legacy=False)
        self.translate_members(shared)
