"""Connect the definition guard of one server with its log and with the store."""

from itertools import count
from typing import Final

import msgspec
import trio

from ..core.definition_guard import DefinitionGuard, Record
from .definition_store import DefinitionStore
from .server_log import ServerLog
from .start_checks import StartChecks
from .tasks import ServerTasks

# Of all records that this daemon stores, so that an older one does not replace a newer one.
_NUMBERS: Final = count(1)


class Definitions:
    """The guard of one server, None if its definitions are not compared."""

    def __init__(
        self, checks: StartChecks, log: ServerLog, tasks: ServerTasks, store: DefinitionStore | None
    ) -> None:
        self._checks = checks
        self._log = log
        self._tasks = tasks
        self._store = store
        mode = checks.config.definitions
        self.guard: DefinitionGuard | None = None
        if store is not None and mode != "off":
            self.guard = DefinitionGuard(
                self._load,
                self._report,
                self._changed,
                blocks=mode == "block",
                limits=checks.config.limits,
            )
        # Whether a task is going to write, and the record that it writes.
        self._waiting = False

    @property
    def pending(self) -> int:
        """The number of definitions that were not approved since they have changed."""
        return self.guard.pending if self.guard is not None else 0

    def _load(self) -> Record:
        assert self._store is not None  # noqa: S101 - there is no guard without a store
        return self._store.load(self._checks.config)

    def _report(self, event: str, kind: str, name: str) -> None:
        blocked = self.guard is not None and self.guard.blocks
        self._log.warning(
            event,
            kind=kind,
            name=name,
            action="blocked" if blocked else "passed",
            see=f"mcp-bridge approve --definitions {self._log.name}",
        )

    def _changed(self, record: Record) -> None:
        if not self._waiting:
            self._waiting = True
            self._tasks.start_soon(self._write, record)

    async def _write(self, record: Record) -> None:
        # Further changes in this turn of the event loop are written with the first.
        await trio.lowlevel.checkpoint()
        self._waiting = False
        assert self._store is not None  # noqa: S101 - there is no guard without a store
        content = msgspec.json.encode(record)
        reason = await trio.to_thread.run_sync(self._store.keep, self._checks.config, content, next(_NUMBERS))
        if reason:
            self._log.warning("definitions_not_stored", reason=reason)
