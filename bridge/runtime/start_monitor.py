"""Observe the start of each process: its first response, silence or exit, and which part of that a client may see in an error."""

from typing import Final

import trio

from ...transports.correlation import MEMBER, new_id
from ...transports.server_io import Exit
from ...validators.jsonrpc import Response
from ..core import era_cache
from ..core.errors import read_fault
from ..core.start_errors import StartFault
from .common_parts import CommonParts
from .era_discovery import EraDiscovery
from .liveness import Liveness
from .process_owner import ProcessOwner
from .process_table import ServerProcess

# A warm standby that exits within this time after its start has failed to start (seconds).
_SOON: Final = 10.0
# A client that leaves after this time without a response to `initialize` is counted as a failed start (seconds).
_WAITED: Final = 2.0


class StartMonitor:
    """Record failed and successful starts in the log, in the facts of the eras and in the circuit breakers."""

    def __init__(self, common: CommonParts, discovery: EraDiscovery) -> None:
        self._common = common
        self._limits = common.checks.config.limits
        self._discovery = discovery
        # By owner; why a start has failed, if the server should turn out to speak no other era. Added by `_start_failed`,
        # removed when that is known and when the owner is closed.
        self._undecided: dict[ProcessOwner, StartFault] = {}

    def on_first_response(self, process: ServerProcess, message: Response | None) -> None:
        """Judge the first response of a process; None for a first batch."""
        owner = process.owner
        if owner is None:
            return
        child, startup = process.child, process.startup
        probe = self._discovery.probe_beside(owner)
        if message is not None and message.error and not owner.speaks_modern:
            startup.refused = True
            if probe is not None:
                return
            reason = f"refused to initialize: {read_fault(message.error).message}"
            if owner.is_ordinary and not self._common.processes.another_serves(child):
                self._start_failed(owner, self._fault(process, reason))
            return
        self._common.log.history.on_start_succeeded()
        known = self._common.facts.known
        if probe is not None:
            probe.opened.set()
            probe.settled.set()
        elif not owner.speaks_modern and not (
            known[era_cache.LEGACY] and known[era_cache.MODERN] is not None
        ):
            self._common.facts.opened(legacy=True)
            self._common.facts.remember()
        process.liveness = Liveness(
            child, owner.on_line, self._limits, trio.current_time(), modern=owner.speaks_modern
        )

    def on_standby_exit(self, process: ServerProcess, exit_: Exit) -> None:
        """Count the exit of a warm standby."""
        self._common.breakers.find("").on_failure(trio.current_time())
        self._common.log.history.on_exit(process.child.pid, exit_)
        if trio.current_time() - process.started < _SOON:
            self._common.log.history.on_start_failed(
                self._fault(process, exit_.describe(), ended=process.child.pid > 0)
            )

    def on_exit(self, process: ServerProcess, owner: ProcessOwner, exit_: Exit) -> None:
        """Count the exit of the current process of an owner, and fail what is in flight."""
        pid = process.child.pid
        text = f"the server {exit_.describe()}"
        probe = self._discovery.probe_beside(owner)
        if probe is not None:
            probe.settled.set()
            # It may have lacked what the probe had, such as a lock or a port, and is started again by the first request.
            self._common.log.info("process_beside_exited", pid=pid, how=exit_.describe())
            owner.on_exit(text, {"reason": "exited"})
            return
        self._common.breakers.find(owner.principal, owner.client_environment).on_failure(trio.current_time())
        correlation_id = new_id()
        self._common.log.history.on_exit(pid, exit_, correlation_id)
        # The output may be about any principal that the process has served.
        alone = self._common.log.history.may_show(owner.principals)
        data: dict[str, object] = {
            "reason": "exited",
            "code": exit_.code,
            "signal": exit_.signal,
            "stderr": self._common.log.buffer.tail(pid) if alone else [],
        }
        if not process.startup.over:
            before = " before its first answer" if owner.speaks_modern else " before it answered initialize"
            # The reason of a remote server is a whole sentence.
            fault = self._fault(process, f"{exit_.describe()}{before if pid > 0 else ''}", ended=pid > 0)
            self._start_failed(owner, fault)
            text, data = _error(fault, data, alone=alone)
        owner.on_exit(text, {**data, MEMBER: correlation_id})

    def on_start_timeout(self, owner: ProcessOwner, text: str) -> tuple[str, dict[str, object]]:
        """Record that a process has not opened its session, for this reason. Return the text and the data of the error."""
        # An undecided fault stays until the era is known, which also drops what was presumed of the eras.
        fault = self._undecided.get(owner) or self._silence(
            self._common.processes.current(owner), text.removeprefix("the server ")
        )
        self._common.facts.cache.on_start_failed()
        self._note(owner, fault)
        return _error(
            fault, {"reason": "not started"}, alone=self._common.log.history.may_show(owner.principals)
        )

    def on_client_left(self, owner: ProcessOwner, waited: float) -> None:
        """Record a failed start where a client has left after waiting so long (seconds) for the first response."""
        process = self._common.processes.current(owner)
        if waited < _WAITED or process is None or self._common.tasks.closed:
            return
        if self._discovery.probe_beside(owner) is not None or process.startup.over or process.child.ended:
            return
        reason = f"had not answered initialize after {waited:.0f} s, when its client ended the session"
        self._common.log.errors += 1
        self._common.facts.cache.on_start_failed()
        self._note(owner, self._silence(process, reason))

    def resolve(self, owner: ProcessOwner) -> None:
        """Record the failed start of an owner, because the server speaks no other era."""
        fault = self._undecided.pop(owner, None)
        if fault is not None:
            self._common.facts.cache.on_start_failed()
            self._note(owner, fault)

    def drop(self, owner: ProcessOwner) -> None:
        """Drop the failed start of an owner, because the server speaks another era or the owner is closed."""
        self._undecided.pop(owner, None)

    def _start_failed(self, owner: ProcessOwner, fault: StartFault) -> None:
        self._common.facts.cache.on_start_failed()
        if owner.era_unresolved:
            self._undecided[owner] = fault
        else:
            self._note(owner, fault)

    def _note(self, owner: ProcessOwner, fault: StartFault) -> None:
        # A failure with the variables of one client shows nothing of the server for others.
        if not owner.client_environment.variables:
            self._common.log.history.on_start_failed(fault, owner.principals)

    def _silence(self, process: ServerProcess | None, reason: str) -> StartFault:
        if process is None:
            return StartFault(reason)
        hangs = process.child.pid > 0 and not process.startup.over
        return self._fault(process, reason, hangs=hangs)

    def _fault(
        self, process: ServerProcess, reason: str, *, hangs: bool = False, ended: bool = False
    ) -> StartFault:
        output = self._common.processes.output(process)
        return StartFault(reason, output, hangs, ended, self._common.checks.config.launch.sandbox)


def _error(fault: StartFault, data: dict[str, object], *, alone: bool) -> tuple[str, dict[str, object]]:
    """Return the text and the data of an error, with the output only for a client that is `alone` with the process."""
    if not alone:
        return f"the server {fault.reason}", data
    stdout, stderr = map(list, fault.output)
    found: dict[str, object] = {**data, "stdout": stdout, "stderr": stderr}
    if fault.hint:
        found["hint"] = fault.hint
    return f"the server {fault.summary}", found
