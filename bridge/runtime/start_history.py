"""Record the starts and exits of the processes of one server, and why the last start has failed."""

import time
from collections.abc import Collection, Iterable
from typing import Final

from ...transports.ports import Log
from ...transports.server_io import Exit
from ..config.child_environment import named
from ..core.start_errors import StartFault

# A process that exits within this time after its start has failed to start (seconds).
_START_SECONDS: Final = 60.0
# For how many processes the time of their start is stored.
_PIDS: Final = 1024


class StartHistory:
    """The starts and exits of one server. It outlives a reload of the configuration."""

    def __init__(self, log: Log) -> None:
        self._log = log
        # How many processes were started, and how many have exited without being stopped.
        self.starts = 0
        self.exits = 0
        # How many starts have failed, and how often the server was restarted by order.
        self.failures = 0
        self.restarts = 0
        # How the last process has exited or was not started, after "the server".
        self.last_exit = ""
        # When that was (seconds since 1970, 0 without one), and whether a start has succeeded, or was ordered, since.
        self.last_exit_at = 0.0
        self.recovered = False
        # Why the last start has failed, None since a start has succeeded; and the principals that its process has served.
        self.fault: StartFault | None = None
        self._fault_of: frozenset[str] = frozenset()
        # The names of the variables that are set in the daemon and not passed to the server. Written by `StartChecks`.
        self.withheld: tuple[str, ...] = ()
        self._failed = False
        # Whether clients may see the output of processes. The supervisor sets it.
        self.shows_output = True
        # The times of the starts by pid, of time.monotonic(). Added by `on_start`, the oldest is removed at the limit.
        self._since: dict[int, float] = {}

    @property
    def lacking(self) -> tuple[str, ...]:
        """The names of the variables that the server may lack: empty unless its last start has failed."""
        return self.withheld if self._failed else ()

    def on_start(self, pid: int, directory: str = "") -> None:
        """Record the start of a process. `directory` is that of its client, if it runs there."""
        self.starts += 1
        self._since.pop(pid, None)
        self._since[pid] = time.monotonic()
        if len(self._since) > _PIDS:
            del self._since[next(iter(self._since))]
        self._log.info("started", pid=pid, **({"directory": directory} if directory else {}))

    def on_exit(self, pid: int, exit_: Exit, correlation_id: str = "") -> None:
        """Record the unexpected exit of a process. The errors of the calls that it fails have the correlation id."""
        self.exits += 1
        self._note(exit_.describe())
        event = "process_exited" if pid > 0 else "connection_failed"
        named = {"correlation_id": correlation_id} if correlation_id else {}
        self._log.warning(event, how=self.last_exit, pid=pid, **named)
        self._log_withheld(failed=time.monotonic() - self._since.get(pid, 0.0) < _START_SECONDS)

    def on_not_started(self, reason: str) -> None:
        """Record that no process could be started."""
        self._note(f"was not started: {reason}")
        self._log_withheld(failed=True)

    def on_start_failed(self, fault: StartFault, principals: Iterable[str] = ()) -> None:
        """Record a failed start, and the principals whose requests its process has received."""
        self.failures += 1
        self.fault, self._fault_of = fault, frozenset(principals)
        self._log.warning("start_failed", reason=fault.summary)

    def on_start_succeeded(self) -> None:
        """Record the first response of a process."""
        self.recovered = bool(self.last_exit)
        if self.fault is not None:
            self.fault = None
            self._log.info("start_succeeded")

    def begin_again(self) -> None:
        """Drop what went wrong with another configuration, or before a restart by order."""
        self.fault = None
        self.recovered = bool(self.last_exit)

    def may_show(self, principals: Collection[str]) -> bool:
        """Return whether an error may have the output of a process that has served these principals."""
        return self.shows_output and len(principals) <= 1

    def last_failure(self, principal: str) -> str:
        """Return how the last process has failed, after "the server", as far as this principal may see it."""
        fault = self.fault
        if fault is None:
            return self.last_exit
        return fault.summary if self.shows_output and self._fault_of <= {principal} else fault.reason

    def _note(self, how: str) -> None:
        self.last_exit, self.last_exit_at, self.recovered = how, time.time(), False

    def _log_withheld(self, *, failed: bool) -> None:
        """Log once, of a server whose starts fail, which variables of the daemon it was not given."""
        if failed and self.withheld and not self._failed:
            self._log.warning("variables_not_passed", names=named(self.withheld))
        self._failed = failed
