"""Find out which eras one server speaks, from a process that serves no client or from one that is started beside it."""

from collections.abc import Callable
from functools import partial
from typing import Final, assert_never

import attrs
import trio

from ...transports.options import Directory, SpawnFailed
from ...validators.rejection import SERVER_ERROR, Rejection
from ..core import era_cache
from ..core.client_environment import ClientEnvironment
from .common_parts import CommonParts
from .era_probe import Finding, Progress, confirms, probe_era, takes_initialize
from .placement import Place
from .process_owner import ProcessOwner
from .process_table import ServerProcess
from .tasks import stopping

# How long the process beside a probe without an answer is waited for (seconds).
_SETTLING: Final = 5.0
# How long a process that is not needed any more may take to exit before another is started (seconds).
_LEAVING: Final = 0.5
# How long clients wait for a probe after the process beside it has opened its session (seconds), or for this part of the time
# that the session took to open, because a server that is slow to start is slow to answer.
_OPENED: Final = 1.0
_SLOWNESS: Final = 0.5


class NotOfThisEra(SpawnFailed):
    """A process does not speak the era that its server spoke before the start of the daemon."""


@attrs.define(eq=False)
class Probe:
    """A question for the era. After `finished`, `fault` is why it has no answer, or empty.

    With `presumed` clients go on as with a legacy server, because the server is silent, while the probe still waits.
    """

    # The place of a process that is started as that of a legacy server beside the probe, until the answer.
    beside: Place | None = None
    principal: str = ""
    # The directory of the client that has caused it, with `cwd = "client"`.
    directory: Directory | None = None
    finished: trio.Event = attrs.field(factory=trio.Event)
    fault: str = ""
    # Set when the process beside the probe has opened its session, and when it has done so, refused, or exited.
    opened: trio.Event = attrs.field(factory=trio.Event)
    settled: trio.Event = attrs.field(factory=trio.Event)
    refused: bool = False
    # Whether no other process of the server may run until the answer.
    alone: bool = True
    presumed: bool = False

    def is_beside(self, owner: ProcessOwner) -> bool:
        """Return whether this owner has the process beside the probe."""
        return self.beside is not None and self.beside.upstream is owner


class EraDiscovery:
    """The probe of one server that clients wait for, at most one at a time, and one that is answered late."""

    def __init__(self, common: CommonParts) -> None:
        self._common = common
        self.probe: Probe | None = None
        # Cancels the probe that no client waits for.
        self._late: trio.CancelScope | None = None
        self._limits = common.checks.config.limits
        self._is_remote = common.checks.config.remote is not None

    def probe_beside(self, owner: ProcessOwner) -> Probe | None:
        """Return the probe whose result decides what the end of the process of this owner means."""
        return self.probe if self.probe is not None and self.probe.is_beside(owner) else None

    def drain(self) -> None:
        """Wake the tasks that wait for the era, because the server takes no request any more."""
        if self.probe is not None:
            self.probe.finished.set()

    def restart(self) -> None:
        """Take no late answer, because it may be that of another version of the server."""
        if self._late is not None:
            self._late.cancel()

    async def learn(self) -> None:
        """Find the era before a client needs it, which shows as well whether the server can be started."""
        if not self._common.facts.for_modern_client:
            try:
                await self.run_probe()
            except Rejection as rejection:
                self._common.log.warning("era_probe_failed", reason=str(rejection))

    async def run_probe(
        self,
        principal: str = "",
        directory: Directory | None = None,
        beside: Callable[[], Place | None] | None = None,
    ) -> None:
        """Wait until it is known or presumed whether the server speaks the modern era. Raises Rejection, for this principal.

        The probe runs in `directory`, if the server runs in those of its clients. Its result is for all directories.
        `beside` returns the place of a process that is started at the same time, in case that the server does not. Without,
        no other process runs until the answer, or until a silence that is long enough.
        """
        if self.probe is None:
            self._common.tasks.check_open()
            self._common.breakers.check(principal, ClientEnvironment(directory=directory))
            self.restart()
            place = None if beside is None else beside()
            # Connections to a remote server do not disturb each other.
            together = place is not None or (beside is not None and self._is_remote)
            self.probe = Probe(place, principal, directory, alone=not together)
            self._common.tasks.start_soon(self._run, self.probe)
        probe = self.probe
        await probe.finished.wait()
        if self._common.tasks.closed:
            raise stopping(self._common.tasks.closed)
        if probe.fault:
            raise Rejection(503, SERVER_ERROR, probe.fault)

    async def is_legacy_only(self, directory: Directory | None) -> bool:
        """Return whether a failed `initialize` is a failure of the server, and no sign of another era.

        The process of that `initialize` has run in `directory` (`run_probe`).
        """
        try:
            if self._common.facts.for_modern_client != era_cache.MODERN:
                await self.run_probe(directory=directory)
            if self._common.facts.for_modern_client != era_cache.MODERN:
                return True
            # The client may have requested what no server accepts, which shows nothing of the server.
            return await self._takes_initialize(directory)
        except Rejection:
            return True

    async def confirm(self, process: ServerProcess, owner: ProcessOwner) -> None:
        """Check that a process speaks the modern era, before it receives a request. Raises NotOfThisEra and SpawnFailed."""
        modern = await confirms(process.child, process.startup.attach, self._limits, remote=self._is_remote)
        if modern:
            self._common.facts.cache.on_probe(trio.current_time(), modern=True)
            process.startup.attach(owner.on_line)
            return
        process.child.stop()
        if modern is None:
            raise SpawnFailed(
                "the remote server has not answered server/discover; check that it can be reached"
            )
        text = "the server does not answer server/discover as it did before"
        self._common.facts.mismatched(text)
        raise NotOfThisEra(text)

    async def _takes_initialize(self, directory: Directory | None) -> bool:
        try:
            await self._common.checks.check(directory)
            return await takes_initialize(partial(self._common.connect, directory), self._limits)
        except SpawnFailed as fault:
            self._not_started(fault, "", directory)
            raise Rejection(503, SERVER_ERROR, str(fault)) from None

    def _not_started(self, fault: SpawnFailed, principal: str, directory: Directory | None) -> None:
        breaker = self._common.breakers.find(principal, ClientEnvironment(directory=directory))
        self._common.breakers.not_started(fault, breaker)

    async def _run(self, probe: Probe) -> None:
        # A task of its own, because the first request may be cancelled while others wait for the same.
        probe.fault = "the server cannot be asked for its era"
        with trio.CancelScope() as scope:
            try:
                await self._common.checks.check(probe.directory)
                await self._learn(probe, await self._answer(probe, scope))
            except SpawnFailed as fault:
                self._not_started(fault, probe.principal, probe.directory)
                probe.fault = str(fault)
                await self._end_beside(probe)
            except Exception as fault:  # noqa: BLE001 - the boundary of one process that serves no client
                self._common.log.error("internal_error", fault=fault)
            finally:
                if self._late is scope:
                    self._late = None
                self._finish(probe)

    def _finish(self, probe: Probe) -> None:
        if self.probe is probe:
            self.probe = None
        probe.finished.set()

    async def _learn(self, probe: Probe, finding: Finding) -> None:
        facts, now = self._common.facts, trio.current_time()
        match finding:
            case Finding.MODERN | Finding.LEGACY:
                facts.cache.on_probe(now, modern=finding is Finding.MODERN)
            case Finding.LIKELY_LEGACY:
                facts.cache.presume_legacy(now, era_cache.LIKELY_SECONDS)
            case Finding.NOTHING:
                facts.cache.presume_legacy(now)
            case _:
                assert_never(finding)
        if probe.opened.is_set() and finding is not Finding.MODERN:
            facts.opened(legacy=True)
        shown = {Finding.MODERN: True, Finding.LEGACY: False}
        self._common.log.info("era_probed", modern=shown.get(finding))
        probe.fault = ""
        facts.remember()
        if not probe.presumed:
            await self._end_beside(probe)
        elif finding is Finding.MODERN:
            self._common.log.info("era_found_late", era=era_cache.MODERN)
            self._common.control.leave_legacy_places()

    async def _answer(self, probe: Probe, scope: trio.CancelScope) -> Finding:
        """Return the answer of the probe. Clients wait for it until the server has been silent for long enough (`_presume`)."""
        finding = Finding.NOTHING
        not_started: SpawnFailed | None = None
        connect = partial(self._common.connect, probe.directory)

        def start_beside() -> None:
            if probe.beside is not None:
                probe.beside.upstream.start()

        progress = Progress(probe.alone, start_beside)
        async with trio.open_nursery() as nursery:
            if not probe.alone:
                nursery.start_soon(self._presume, probe, progress, nursery.cancel_scope, scope)
            try:
                finding = await probe_era(connect, self._limits, progress, remote=self._is_remote)
            except SpawnFailed as fault:
                not_started = fault
            nursery.cancel_scope.cancel()
        if not_started is not None:
            raise not_started
        unanswered = finding in (Finding.LIKELY_LEGACY, Finding.NOTHING)
        if unanswered and probe.beside is not None:
            with trio.move_on_after(min(_SETTLING, self._limits.start_seconds)):
                await probe.settled.wait()
            if probe.refused:
                # The probe may have lacked what the process beside it had, such as a lock or a port.
                await self._common.processes.wait_until_gone(probe.beside.upstream)
                finding = await probe_era(connect, self._limits, remote=self._is_remote)
        return finding

    async def _presume(
        self, probe: Probe, progress: Progress, unanswered: trio.CancelScope, late: trio.CancelScope
    ) -> None:
        """After a silence let clients go on as with a legacy server. A late answer of the probe corrects that (`_learn`).

        `unanswered` ends the probe if the process beside it has not opened its session, and `late` ends one after that.
        """
        began = trio.current_time()

        async def wait_for_silence() -> None:
            await progress.silent.wait()
            if probe.beside is not None:
                # It may wait for what the probe has, such as a lock.
                with trio.move_on_after(_SETTLING):
                    await probe.opened.wait()
            nursery.cancel_scope.cancel()

        async def wait_for_process_beside() -> None:
            await probe.opened.wait()
            took = trio.current_time() - began
            # It may wait for what the process beside it has, such as a lock.
            with trio.move_on_after(took):
                await progress.read.wait()
            await trio.sleep(max(_OPENED, _SLOWNESS * took))
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_silence)
            nursery.start_soon(wait_for_process_beside)
        if probe.beside is not None and not probe.opened.is_set():
            unanswered.cancel()
            return
        # Until the end of the probe, which the time for a start limits, and then for the usual time.
        seconds = self._limits.start_seconds + era_cache.PRESUMED_SECONDS
        self._common.facts.cache.presume_legacy(trio.current_time(), seconds)
        if probe.opened.is_set():
            self._common.facts.opened(legacy=True)
            self._common.facts.remember()
        self._common.log.info("era_presumed", era=era_cache.LEGACY)
        probe.presumed, probe.fault, probe.beside = True, "", None
        self._late = late
        self._finish(probe)

    async def _end_beside(self, probe: Probe) -> None:
        """End the process beside the probe, unless the server is a legacy one."""
        place, probe.beside = probe.beside, None
        if place is not None and self._common.facts.for_modern_client != era_cache.LEGACY:
            self._common.control.close_place(place, "the server is not known to be a legacy one")
            with trio.move_on_after(_LEAVING):
                await self._common.processes.wait_until_gone(place.upstream)
