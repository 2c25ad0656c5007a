"""Check that a server may be started: its secrets are read, its command is the pinned one and its files are its user's."""

import math
from typing import Final

import trio

from ...transports.options import Directory, SpawnFailed
from ..config.child_environment import shown
from ..config.directory_code import TRUST, file_in_directory
from ..config.settings import ServerConfig
from ..config.trust import replaceable_server_files
from .pinning import PinChecker, PinMismatch
from .server_log import ServerLog
from .tasks import STOPPING, ServerTasks
from .threads import off_loop

# The most reasons in one event of the log.
_MOST_REASONS: Final = 5
# The pause before secrets that could not be read are read again for a request, doubled up to the limit (seconds).
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0


class NotResolved(SpawnFailed):
    """A value of the configuration cannot be read on this machine; the text names the value."""


class CodeInDirectory(SpawnFailed):
    """The directory of the client has a file that the command names; the text names the argument."""


class StartChecks:
    """The configuration of one server, with the values that were read from helpers, files and the keyring."""

    def __init__(self, config: ServerConfig, server_log: ServerLog, tasks: ServerTasks) -> None:
        # Replaced when secrets have been read, and by the supervisor for a change that needs no restart.
        self.config = config
        # Whether the last check has found another command or file than the pinned one.
        self.pin_mismatch = False
        self._server_log = server_log
        self._tasks = tasks
        self._pins = PinChecker()
        # Whether the owners of the files of the command were checked since the last restart.
        self._files_checked = False
        # Set when the secrets that are being read have been read; None while none are.
        self._resolving: trio.Event | None = None
        # When a request has secrets read again that could not be read.
        self._retry_at = -math.inf
        self._pause = _FIRST_PAUSE
        server_log.history.withheld = config.withheld

    def begin(self) -> None:
        """Start to read the secrets, or log the fault of the configuration."""
        if self.config.pending:
            self._begin_to_resolve()
        elif self.config.fault:
            self._server_log.error("server_failed", reason=self.config.fault)
            self._server_log.history.on_not_started(self._why_not())

    def restart(self) -> None:
        """Read what could not be read, and check the files again at the next start."""
        self._pause = _FIRST_PAUSE
        self._files_checked = False
        if self.config.fault and self._resolving is None:
            self._begin_to_resolve()

    def drain(self) -> None:
        """Wake the tasks that wait for secrets, because no process is started any more."""
        if self._resolving is not None:
            self._resolving.set()

    async def wait(self) -> None:
        """Wait until the secrets that are being read have been read, or could not be."""
        if self._resolving is not None:
            await self._resolving.wait()

    async def resolve(self) -> None:
        """Wait until the secrets have been read. Raises NotResolved."""
        if self.config.fault and self._resolving is None and trio.current_time() >= self._retry_at:
            self._begin_to_resolve()
        if self._resolving is not None:
            await self._resolving.wait()
        if self.config.pending:
            raise NotResolved(self._tasks.closed or STOPPING)
        if self.config.fault:
            raise NotResolved(self._why_not())

    async def check(self, directory: Directory | None = None) -> None:
        """Wait for the secrets, and compare the command and its files with the pin.

        `directory` is that of the client. Raises NotResolved, PinMismatch, CodeInDirectory.
        """
        await self.resolve()
        await self._check_files()
        if directory is not None and not self.config.cwd_trust:
            named = await trio.to_thread.run_sync(
                file_in_directory, self.config.launch.argv, directory.path, abandon_on_cancel=True
            )
            if named:
                raise CodeInDirectory(
                    f"cannot start {self.config.launch.argv[0]!r}: its argument {shown(named)} is a file in the directory"
                    f" of the client, which could choose what the server executes; {TRUST}"
                )
        if not (self.config.pin or self.config.needs_pin):
            return
        try:
            await trio.to_thread.run_sync(self._pins.check, self.config)
        except PinMismatch as fault:
            if not self.pin_mismatch:
                self._server_log.error("pin_mismatch", reason=str(fault))
            self.pin_mismatch = True
            raise
        self.pin_mismatch = False

    async def _check_files(self) -> None:
        """Warn of a program that other users could replace, before the first start and the first after a restart."""
        if self._files_checked:
            return
        self._files_checked = True
        reasons = await trio.to_thread.run_sync(replaceable_server_files, self.config)
        if reasons:
            self._server_log.warning("command_replaceable", reason="; ".join(reasons[:_MOST_REASONS]))

    def _why_not(self) -> str:
        config = self.config
        return f"cannot start {config.launch.argv[0]!r}: {config.fault}" if config.not_there else config.fault

    def _begin_to_resolve(self) -> None:
        self._resolving = trio.Event()
        self._tasks.start_soon(self._read_secrets, self._resolving)

    async def _read_secrets(self, finished: trio.Event) -> None:
        # A task of its own, because several requests wait for the same.
        before = self.config.fault
        try:
            config = await off_loop(self.config.resolved, self.config.limits.helper_seconds)
            self._server_log.hide(config.secrets)
            self.config = config
            self._server_log.history.withheld = config.withheld
            if config.fault:
                self._retry_at = trio.current_time() + self._pause
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
                if config.fault != before:
                    self._server_log.error("server_failed", reason=config.fault)
                self._server_log.history.on_not_started(self._why_not())
            else:
                self._pause = _FIRST_PAUSE
                if before:
                    self._server_log.info("server_resolved")
        finally:
            self._resolving = None
            finished.set()
