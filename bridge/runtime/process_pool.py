"""Start the processes of one server, keep warm standbys, and watch each process until it has exited."""

from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Final

import trio

from ...transports.options import SpawnFailed
from ...transports.ports import ServerConnection
from ...transports.server_io import ChildBusy, ChildGone, Exit
from ...validators.jsonrpc import Response
from ..config.settings import PRINCIPAL_VARIABLE
from ..core.client_environment import NOTHING
from .common_parts import CommonParts
from .connector import NO_VARIABLES
from .message_reader import note_sent
from .process_owner import ProcessOwner
from .process_table import ServerProcess
from .start_monitor import StartMonitor
from .startup import Startup
from .tasks import stopping

# The pause before a line is sent again to a process that reads slowly (seconds).
_RETRY: Final = 0.02


class ProcessPool:
    """The running processes of one server and its warm standbys."""

    def __init__(self, common: CommonParts, monitor: StartMonitor) -> None:
        self._common = common
        self._limits = common.checks.config.limits
        self._monitor = monitor
        # The first line that each process receives, before any message; empty for none.
        self._introduction = b""
        self._standbys: deque[ServerProcess] = deque()
        # How many standbys are wanted, and how many are being started or wait for their time.
        self._wanted = 0
        self._warming = 0

    # ---- warm standbys

    def want(self, standbys: int) -> None:
        """Set how many standbys `warm` starts."""
        self._wanted = standbys

    async def warm(self) -> None:
        """Start the missing standbys, each after the pause of the circuit breaker."""
        while len(self._standbys) + self._warming < self._wanted and not self._common.tasks.closed:
            self._warming += 1
            breaker = self._common.breakers.find("")
            try:
                await trio.sleep(breaker.pause(trio.current_time()))
                # Others may have been started during the pause.
                if self._common.tasks.closed or len(self._standbys) + self._warming > self._wanted:
                    return
                await self._common.checks.resolve()
                self._common.breakers.find("").on_start(trio.current_time())
                process = await self._spawn(NO_VARIABLES, None)
                if self._common.tasks.closed:
                    process.child.stop()
                else:
                    self._standbys.append(process)
            except SpawnFailed as fault:
                self._common.breakers.not_started(fault, self._common.breakers.find(""))
                self._common.log.warning("standby_not_started", reason=str(fault))
                # The next session tries again.
                return
            finally:
                self._warming -= 1

    def stop_standbys(self) -> None:
        """Stop the processes that serve no client yet."""
        while self._standbys:
            self._standbys.popleft().child.stop()

    # ---- the first line of each process

    def introduce(self, line: bytes) -> None:
        """Send this line to each process, and to each later one before any message."""
        if line != self._introduction:
            self._introduction = line
            for process in self._common.processes:
                self._common.tasks.start_soon(self._send_introduction, process)

    async def _send_introduction(self, process: ServerProcess) -> None:
        while process in self._common.processes:
            try:
                process.child.send(self._introduction)
            except ChildBusy:
                # Unlike other messages it is not dropped.
                await trio.sleep(_RETRY)
                continue
            except ChildGone:
                # The next process receives the line.
                pass
            return

    # ---- processes

    async def assign(self, owner: ProcessOwner) -> ServerProcess:
        """Give a process to an owner, a standby or a new one. Raises SpawnFailed."""
        # A standby was started without variables and directory of a client.
        if self._standbys and owner.client_environment == NOTHING:
            process = self._standbys.popleft()
            process.startup.attach(owner.on_line)
            process.owner = owner
            process.child.serve(owner.principal)
        else:
            await self._common.checks.resolve()
            self._common.breakers.find(owner.principal, owner.client_environment).on_start(
                trio.current_time()
            )
            variables = dict(owner.client_environment.variables)
            if self._common.checks.config.knows_principal:
                variables = {PRINCIPAL_VARIABLE: owner.principal, **variables}
            process = await self._spawn(variables, owner)
        self._wanted = self._common.checks.config.spare
        self._common.tasks.start_soon(self.warm)
        if self._introduction:
            await self._send_introduction(process)
        return process

    def on_tick(self, now: float) -> None:
        """Ping the processes, and log those that do not answer. `now` is in seconds."""
        for process in self._common.processes:
            liveness = process.liveness
            if liveness is None:
                continue
            before = liveness.silent
            liveness.on_tick(now)
            if liveness.silent and not before:
                self._common.log.warning(
                    "process_silent", pid=process.child.pid, seconds=self._limits.ping_seconds
                )

    async def _spawn(self, variables: Mapping[str, str], owner: ProcessOwner | None) -> ServerProcess:
        environment = NOTHING if owner is None else owner.client_environment
        directory, hidden = environment.directory, environment.secrets
        await self._common.checks.check(directory)
        self._common.log.hide(hidden)
        try:
            child = await self._common.connector.connect(self._common.checks.config, variables, directory)
            if self._common.tasks.nursery is None:
                await _dispose_of(child)
                raise stopping()
        except BaseException:
            self._common.log.unhide(hidden)
            raise

        def on_first_response(message: Response | None) -> None:
            # The process refers to this function. A reference to it would keep both until the garbage collector runs.
            self._monitor.on_first_response(self._common.processes.of(child), message)

        startup = Startup(child, self._limits, partial(self._common.log.stdout, child.pid), on_first_response)
        process = ServerProcess(child, startup, trio.current_time(), owner)
        # The checks of messages need the methods of the requests that the process gets.
        always = None if self._common.log.gate is None else partial(_note_sent, process)
        child.watchers = self._common.log.taps.watch(process, always)
        if owner is not None:
            startup.attach(owner.on_line)
            child.serve(owner.principal)
        self._common.processes.add(process)
        self._common.tasks.start_soon(self._run, process)
        self._common.log.started(child.pid, directory)
        return process

    async def _run(self, process: ServerProcess) -> None:
        child = process.child
        log = partial(self._common.log.stderr, child.pid)
        try:
            await child.run(log, partial(self._on_exit, process), self._common.log.redactor())
        except Exception as fault:  # noqa: BLE001 - the boundary of one process: an error of the bridge ends its owner only
            self._common.log.error("internal_error", pid=child.pid, fault=fault)
            if process.owner is not None:
                self._common.tasks.end(process.owner, "an internal error")
        finally:
            if process.owner is not None:
                self._common.log.unhide(process.owner.client_environment.secrets)
            self._common.log.taps.unwatch(process)
            self._common.processes.remove(process)

    def _on_exit(self, process: ServerProcess, exit_: Exit) -> None:
        is_standby = process in self._standbys
        if is_standby:
            self._standbys.remove(process)
            self._monitor.on_standby_exit(process, exit_)
            self._common.tasks.start_soon(self.warm)
        owner = process.current_owner
        if owner is not None and not owner.ended:
            self._monitor.on_exit(process, owner, exit_)
        elif not is_standby:
            self._common.log.info("process_stopped", pid=process.child.pid, how=exit_.describe())


async def _dispose_of(child: ServerConnection) -> None:
    with trio.CancelScope() as over:
        over.cancel()
        await child.run(_ignore, _ignore)


def _note_sent(process: ServerProcess, direction: str, line: bytes) -> None:
    if direction == "to server" and process.owner is not None:
        note_sent(process.owner.on_line, line)


def _ignore(_output: object) -> None:
    """Drop a line, or the exit of the process."""
