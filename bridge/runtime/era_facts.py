"""The eras of one server: the facts of this run, and those that the state directory keeps across restarts of the daemon."""

import math
import time
from functools import partial
from typing import Final

import trio

from ..core import era_cache
from ..core.era_cache import FACT_SECONDS, EraCache
from .era_store import EraStore, Fact
from .server_log import ServerLog
from .start_checks import StartChecks
from .tasks import ServerTasks

# The files of a command are not looked up again within this time (seconds).
_RECALL_SECONDS: Final = 10.0
# A client waits so long for the disk of the facts (seconds).
_READ_SECONDS: Final = 1.0


class EraFacts:
    """The cache of eras, and its copy in the state directory. `store` is None where no fact is kept."""

    def __init__(
        self, checks: StartChecks, server_log: ServerLog, tasks: ServerTasks, store: EraStore | None
    ) -> None:
        self._policy = checks.config.era
        # Replaced by `restart`.
        self.cache = EraCache(self._policy)
        self._checks = checks
        self._log = server_log
        self._tasks = tasks
        self._store = store if self._policy == "auto" else None
        # The name under which the facts of the command are stored; empty until the first `recall`.
        self._name = ""
        # By era; the facts that are stored under the name.
        self._stored: dict[str, bool | None] = {}
        # For how long a fact is valid (seconds).
        self._valid = FACT_SECONDS
        self._recalled_at = -math.inf
        # Set when the facts have been read; None while nothing reads. Until when clients wait for it (seconds).
        self._reading: trio.Event | None = None
        self._read_until = -math.inf
        # Why the facts were not stored the last time; empty if they were.
        self._fault = ""

    @property
    def was_recalled(self) -> bool:
        """Whether the name of the facts is known, so that a session need not wait for it."""
        return bool(self._name)

    @property
    def known(self) -> dict[str, bool | None]:
        """Whether the server speaks each era, None where that is not known."""
        return self.cache.facts(trio.current_time())

    @property
    def for_modern_client(self) -> str:
        """The era of a process for a modern client; empty where a probe must find it."""
        return self.cache.for_modern_client(trio.current_time())

    def restart(self) -> None:
        """Drop the facts of this run."""
        self.cache = EraCache(self._policy, self._valid)

    def opened(self, *, legacy: bool) -> None:
        """Note whether a process has accepted `initialize`."""
        self.cache.on_initialize(trio.current_time(), legacy=legacy)

    def mismatched(self, reason: str = "") -> None:
        """Drop the facts, because a process speaks another era. A reason is logged."""
        if reason:
            self._log.warning("era_mismatch", reason=reason)
        self.cache.on_mismatch()
        self.remember()

    async def recall(self) -> None:
        """Read the stored facts of the command, and drop those of files that have changed since.

        A client waits for that, but not longer than for `_READ_SECONDS`, because the disk may be slow.
        """
        now = trio.current_time()
        if self._store is None or now - self._recalled_at < _RECALL_SECONDS:
            return
        await self._checks.wait()
        config = self._checks.config
        if config.pending or config.fault:
            return
        if self._reading is None:
            self._reading, self._read_until = trio.Event(), trio.current_time() + _READ_SECONDS
            self._tasks.start_soon(self._recall, self._store, self._reading)
        with trio.move_on_at(self._read_until):
            await self._reading.wait()

    async def _recall(self, store: EraStore, read: trio.Event) -> None:
        config, before = self._checks.config, self._name
        identity = () if config.remote is None else config.remote.identity
        try:
            # Later only the files of the command are looked up, and not the disk of the facts.
            find = partial(store.find_name, config.launch, identity)
            if before and await trio.to_thread.run_sync(find, abandon_on_cancel=True) == before:
                return
            recall = partial(store.recall, config.launch, identity)
            name, valid, fact = await trio.to_thread.run_sync(recall, abandon_on_cancel=True)
            if name != before:
                self._use(name, valid, fact)
        finally:
            self._recalled_at = trio.current_time()
            self._reading = None
            read.set()

    def _use(self, name: str, valid: float, fact: Fact | None) -> None:
        now = trio.current_time()
        if self._name:
            self.cache.on_mismatch()
        self._name = name
        self._valid = valid
        known = self.cache.facts(now)
        self.cache.set_lifetime(self._valid)
        if fact is not None and known[era_cache.MODERN] is known[era_cache.LEGACY] is None:
            age = max(0.0, time.time() - fact.since)
            self.cache.restore(now, age, modern=fact.modern, legacy=fact.legacy)
            self._stored = {era_cache.MODERN: fact.modern, era_cache.LEGACY: fact.legacy}
        self.remember()

    def remember(self) -> None:
        """Store the facts where they have changed."""
        known = self.known
        if self._store is not None and self._name and known != self._stored:
            self._stored = known
            self._tasks.start_soon(self._write, self._store, self._name, known)

    async def _write(self, store: EraStore, name: str, known: dict[str, bool | None]) -> None:
        if any(fact is not None for fact in known.values()):
            await trio.to_thread.run_sync(store.keep, name, known[era_cache.MODERN], known[era_cache.LEGACY])
        else:
            await trio.to_thread.run_sync(store.forget, name)
        fault, before = store.fault, self._fault
        self._fault = fault
        if fault:
            # The next session tries again, for example when the disk has space.
            self._stored = {}
        if fault and fault != before:
            self._log.warning("era_not_stored", reason=fault)
