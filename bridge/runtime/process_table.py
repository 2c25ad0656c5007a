"""The processes of one server that run, and the owner of each."""

from collections.abc import Iterator

import attrs
import trio

from ...transports.ports import ServerConnection
from ..core.start_errors import Output
from .liveness import Liveness
from .process_owner import ProcessOwner
from .server_log import ServerLog
from .startup import Startup


@attrs.define(eq=False)
class ServerProcess:
    """One process. `started` is the time of its start (seconds)."""

    child: ServerConnection
    startup: Startup
    started: float
    # None while the process is a warm standby.
    owner: ProcessOwner | None
    # Set by the first successful response.
    liveness: Liveness | None = None

    @property
    def pid(self) -> int:
        """The process id, negative for a connection to a remote server."""
        return self.child.pid

    @property
    def current_owner(self) -> ProcessOwner | None:
        """The owner, if this is its current process."""
        owner = self.owner
        return owner if owner is not None and owner.is_served_by(self.child) else None


class ProcessTable:
    """The running processes. `changed` wakes the tasks that wait until one has exited."""

    def __init__(self, server_log: ServerLog) -> None:
        self.changed = trio.lowlevel.ParkingLot()
        self._server_log = server_log
        # By child; added and removed by `ProcessPool`.
        self._processes: dict[ServerConnection, ServerProcess] = {}

    def __iter__(self) -> Iterator[ServerProcess]:
        return iter(self._processes.values())

    def __contains__(self, process: ServerProcess) -> bool:
        return process.child in self._processes

    def of(self, child: ServerConnection) -> ServerProcess:
        """Return the process with this connection, which has not exited."""
        return self._processes[child]

    def add(self, process: ServerProcess) -> None:
        """Add a process that has been started."""
        self._processes[process.child] = process

    def remove(self, process: ServerProcess) -> None:
        """Remove a process that has exited."""
        del self._processes[process.child]
        self._server_log.transferred = _sum(self._server_log.transferred, process.child.transferred)
        self.changed.unpark_all()

    @property
    def transferred(self) -> tuple[int, int]:
        """The bytes that were read from and written to all processes of the server, also those that have exited."""
        found = self._server_log.transferred
        for child in self._processes:
            found = _sum(found, child.transferred)
        return found

    @property
    def pids(self) -> tuple[int, ...]:
        """The ids of the running processes."""
        return tuple(child.pid for child in self._processes if child.pid > 0)

    @property
    def connections(self) -> int:
        """The number of connections to a remote server."""
        return sum(child.pid < 0 for child in self._processes)

    @property
    def directories(self) -> dict[int, str]:
        """The directory of each running process that runs in that of its client, by pid, as it may be shown."""
        return {
            child.pid: process.owner.client_environment.directory.shown
            for child, process in self._processes.items()
            if process.owner is not None and process.owner.client_environment.directory is not None
        }

    @property
    def principals(self) -> dict[int, str]:
        """The principal in whose name each running process runs, by pid, without standbys."""
        return {
            child.pid: process.owner.principal
            for child, process in self._processes.items()
            if process.owner is not None
        }

    @property
    def silent(self) -> tuple[int, ...]:
        """The ids of the processes that have not answered their last ping."""
        return tuple(
            process.child.pid
            for process in self._processes.values()
            if process.liveness is not None and process.liveness.silent
        )

    @property
    def owners(self) -> list[ProcessOwner]:
        """The owner of each process that is no standby."""
        return [process.owner for process in self._processes.values() if process.owner is not None]

    def current(self, owner: ProcessOwner) -> ServerProcess | None:
        """Return the process that serves an owner now."""
        return next((process for process in self._processes.values() if process.current_owner is owner), None)

    def has_refused(self, owner: ProcessOwner) -> bool:
        """Return whether the current process of an owner has refused `initialize`."""
        process = self.current(owner)
        return process is not None and process.startup.refused

    def another_serves(self, child: ServerConnection) -> bool:
        """Return whether another process has opened its session."""
        return any(
            process.startup.over and not process.startup.refused
            for other, process in self._processes.items()
            if other is not child
        )

    def output(self, process: ServerProcess) -> Output:
        """Return what a process has printed, or where that is nothing its first messages. A remote server prints nothing."""
        output = self._server_log.output(process.child.pid, process.child.unfinished)
        if output.stdout or process.child.pid < 0:
            return output
        return output._replace(stdout=self._server_log.messages(process.startup.sent))

    async def wait_until_gone(self, owner: ProcessOwner) -> None:
        """Wait until every process of an owner has exited."""
        while owner in self.owners:
            await self.changed.park()

    async def wait_until_empty(self) -> None:
        """Wait until every process has exited."""
        while self._processes:
            await self.changed.park()


def _sum(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]
