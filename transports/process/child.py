"""One server process, from its first line to the end of all its descendants.

Writing never waits (`stdin_writer`). Output is read at once, except while the client is slow (`pause`), and the clocks of
the server stand still meanwhile (`stdout_reader`, `PausableClock`). A keeper reports the exit of the process, and ends its
descendants (`keeper`).
"""

import enum
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import trio

from ...validators.limits import Limits
from ..poller import Poller, WakeUpSlot
from ..server_io import Exit, Filter, OnLine, OnStderr, Watchers, ignore
from ..ticker import PausableClock
from .stderr_reader import StderrMeter, StderrReader
from .stdin_writer import StdinWriter
from .stdout_reader import DRAIN_SECONDS, StdoutReader

# Time for which the output of an exited process is read, as long as there is more of it (seconds).
_LAST_SECONDS: Final = 2.0
# Time that a process may run after it has closed its stdout or stdin (seconds).
_SILENT_SECONDS: Final = 2.0
# Time for a keeper to end all processes (seconds).
_KILL_SECONDS: Final = 12.0


class ProcessState(enum.Flag):
    """The past events of a process. Flags are only added."""

    RUNNING = 0
    # `stop` was called: the process must exit.
    STOPPING = enum.auto()
    # `kill` was called: the process and all its descendants are to be killed.
    KILLED = enum.auto()
    # The process has closed its stdin, before `stop` was called.
    STDIN_CLOSED = enum.auto()
    # The end of its stdout was read.
    STDOUT_ENDED = enum.auto()
    # The keeper has reported the exit of the process, or has itself exited.
    EXITED = enum.auto()
    # The control socket of the keeper is closed: no descendant is left.
    KEEPER_EXITED = enum.auto()
    # No further line will be read.
    ENDED = enum.auto()


_EXITED_OR_KILLED: Final = ProcessState.EXITED | ProcessState.KILLED
_ENDING: Final = _EXITED_OR_KILLED | ProcessState.STDOUT_ENDED | ProcessState.STDIN_CLOSED
_UNPAUSABLE: Final = ProcessState.STOPPING | ProcessState.KILLED | ProcessState.ENDED


class Keeper(Protocol):
    """The keeper of a process, as far as it can be signalled. A server can stop or kill its keeper."""

    def resume(self) -> None: ...
    def kill(self) -> None: ...
    async def ended(self) -> None: ...
    def release(self) -> None: ...


def _drop(_line: bytes) -> None:
    """Drop a line of stderr, because `run` was not called yet."""


class Child:
    """A server process (ports.ServerConnection). All methods but `send` need `run` to be running."""

    def __init__(
        self,
        pid: int,
        control: socket.socket,
        pipes: tuple[int, int, int],
        limits: Limits,
        poller: Poller,
        keeper: Keeper,
    ) -> None:
        self.pid = pid
        self._keeper = keeper
        self._control = control
        self._limits = limits
        self._poller = poller
        self._state = ProcessState.RUNNING
        # The share of the output (poller.Poller.register).
        self._principal: str | None = None
        # Woken at each change of the state.
        self._changed = WakeUpSlot()
        self._clock = PausableClock()
        # Why the bridge has ended the process, or will.
        self._reason = ""
        self._exit: Exit | None = None
        self._stdin = StdinWriter(
            pipes[0],
            limits,
            self._clock,
            poller,
            on_closed=self._stdin_closed,
            on_stalled=self._stdin_stalled,
            on_fault=self._fail,
        )
        self._stdout = StdoutReader(
            pipes[1],
            limits.line,
            poller,
            on_end=partial(self._add, ProcessState.STDOUT_ENDED),
            on_fault=self.kill,
        )
        self._stderr = StderrReader(pipes[2], poller, StderrMeter(limits.stderr_rate, _drop))
        # Write one line, or raise ChildGone or ChildBusy (StdinWriter.send). Bound here, because every message passes.
        self.send = self._stdin.send

    # ---- for its users: no method waits

    @property
    def watchers(self) -> Watchers:
        """Functions that are called with each message and its direction. The list may be shared and change at any time."""
        return self._stdin.watchers

    @watchers.setter
    def watchers(self, watchers: Watchers) -> None:
        self._stdin.watchers = self._stdout.watchers = watchers

    @property
    def related(self) -> bytes:
        """Nothing: no line of a process names the request in whose course it was written (ServerConnection)."""
        return b""

    @property
    def has_unread_input(self) -> bool:
        """Whether the process has not read everything that was sent."""
        return self._stdin.has_unread

    @property
    def transferred(self) -> tuple[int, int]:
        """The bytes that were read from stdout and written to stdin."""
        return self._stdout.bytes_read, self._stdin.written

    @property
    def ended(self) -> bool:
        """Whether no further line will be read."""
        return ProcessState.ENDED in self._state

    @property
    def unfinished(self) -> tuple[bytes, bytes]:
        """The beginnings of the unfinished lines of stdout and stderr, for example of a prompt."""
        return self._stdout.unfinished, self._stderr.meter.unfinished

    def serve(self, principal: str) -> None:
        """Read the output in the share of this principal, or in one of its own if several have this process."""
        self._principal = principal or None
        self._poller.assign(self._stdout.descriptor, self._principal)
        self._poller.assign(self._stderr.descriptor, self._principal)

    def set_line_handler(self, on_line: OnLine) -> None:
        """Pass each line from now on to `on_line`, until `stop`. Lines before the first call are dropped.

        `on_line` may return a part of its work for the next turn of the event loop.
        """
        self._stdout.on_line = on_line

    def pause(self) -> None:
        """Stop reading lines until `resume`, unless the process is ending."""
        if not (self._stdout.paused or self._state & _UNPAUSABLE):
            self._stdout.paused = True
            self._clock.pause(trio.current_time())

    def resume(self) -> None:
        """Continue to read lines."""
        if self._stdout.paused:
            self._clock.resume(trio.current_time())
            self._stdout.resume()
            # For a task that waits for the rest of the output.
            self._changed.wake()

    def active_time(self, now: float) -> float:
        """Return the time `now` without all pauses (seconds), for the time limits of the server."""
        return self._clock.time(now)

    def stop(self) -> None:
        """Make the process exit: close its stdin, later SIGTERM to its group, later SIGKILL to all that is left."""
        self.resume()
        self._stdin.closed = True
        self._stdout.on_line = ignore
        self._add(ProcessState.STOPPING)

    def kill(self) -> None:
        """Kill the process and all its descendants now."""
        self.resume()
        self._stdout.on_line = ignore
        self._add(ProcessState.KILLED)

    # ---- running

    async def run(
        self, on_stderr: OnStderr, on_exit: Callable[[Exit], None], stderr_filter: Filter | None = None
    ) -> None:
        """Read and write until the process and all its descendants have ended. Cancelling kills them at once.

        `on_exit` is called once, when no further line will come. An exception in a callback, such as the line handler, kills
        the process and is raised here. stderr passes `stderr_filter` before it is split into lines.
        """
        self._stderr.meter = StderrMeter(self._limits.stderr_rate, on_stderr, stderr_filter)
        self._poller.register(self._stdout.descriptor, self._stdout.read, self._fail, self._principal)
        self._poller.register(self._stderr.descriptor, self._stderr.read, self._fail, self._principal)
        self._poller.register(self._control.fileno(), self._read_keeper, self._fail, None)
        try:
            async with trio.open_nursery() as nursery:
                self._stderr.start(nursery)
                self._stdin.start(nursery)
                try:
                    await self._wait_end(nursery)
                # Also if it was cancelled: no task can be started for a line while the tasks end.
                finally:
                    self._end()
                on_exit(self._exit or Exit(reason=self._reason or "has ended"))
                self._command_keeper(b"kill")
                await self._end_keeper()
                nursery.cancel_scope.cancel()
            if self._stdout.fault is not None:
                raise self._stdout.fault
        finally:
            self._release()

    def _end(self) -> None:
        self._state |= ProcessState.ENDED
        self._stdin.closed = True
        self._stdout.on_line = ignore
        self._stderr.end()

    async def _end_keeper(self) -> None:
        self._keeper.resume()
        with trio.move_on_after(_KILL_SECONDS):
            while ProcessState.KEEPER_EXITED not in self._state:
                await self._changed.wait()
        if ProcessState.KEEPER_EXITED not in self._state:
            self._keeper.kill()
        await self._keeper.ended()

    def _release(self) -> None:
        self._end()
        self._stderr.meter.report_suppressed()
        for descriptor in (self._stdout.descriptor, self._stderr.descriptor, self._control.fileno()):
            self._poller.unregister(descriptor)
        # The end of this socket makes the keeper end all processes that are left.
        self._control.close()
        if ProcessState.KEEPER_EXITED not in self._state:
            self._keeper.resume()
        self._keeper.release()
        for pipe in (self._stdin, self._stdout, self._stderr):
            if pipe.descriptor >= 0:
                os.close(pipe.descriptor)
            pipe.descriptor = -1
        # They refer to this object, which is freed at once without that.
        self._stdin.detach()
        self._stdout.detach()

    async def _wait_end(self, nursery: trio.Nursery) -> None:
        leaving = False
        while not self._state & _ENDING:
            if ProcessState.STOPPING in self._state and not leaving:
                leaving = True
                nursery.start_soon(self._exit_gracefully)
            await self._changed.wait()
        if not self._state & _EXITED_OR_KILLED:
            await self._wait_for(_EXITED_OR_KILLED, _SILENT_SECONDS)
            if ProcessState.EXITED not in self._state:
                closed = "stdin" if ProcessState.STDIN_CLOSED in self._state else "stdout"
                self._reason = self._reason or f"closed its {closed} without exiting"
        if ProcessState.EXITED in self._state:
            await self._drain()

    async def _drain(self) -> None:
        # Output is read as long as there is more, because a busy machine or a slow client must not lose the last lines.
        end = self.active_time(trio.current_time()) + _LAST_SECONDS
        before = -1
        while (
            ProcessState.STDOUT_ENDED not in self._state
            and before != self._stdout.turns
            and self.active_time(trio.current_time()) < end
        ):
            before = self._stdout.turns
            await self._wait_for(ProcessState.STDOUT_ENDED, DRAIN_SECONDS)

    async def _wait_for(self, states: ProcessState, seconds: float) -> None:
        """Wait until one of these flags is set, or this time has passed while the process was read."""
        end = self.active_time(trio.current_time()) + seconds
        while not self._state & states and (left := self._clock.time_left(end, trio.current_time())) > 0:
            with trio.move_on_after(left):
                await self._changed.wait()

    async def _exit_gracefully(self) -> None:
        await self._stdin.close()
        await trio.sleep(self._limits.stop_seconds)
        self._command_keeper(b"term")
        await trio.sleep(self._limits.stop_seconds)
        self.kill()

    # ---- events

    def _add(self, state: ProcessState) -> None:
        self._state |= state
        self._changed.wake()

    def _stdin_closed(self) -> None:
        # The process has exited, which the keeper will report, or it has closed its stdin and is of no further use.
        if ProcessState.STOPPING not in self._state:
            self._add(ProcessState.STDIN_CLOSED)

    def _stdin_stalled(self) -> None:
        self._reason = f"has not read its stdin for {self._limits.stdin_stall_seconds:g} s"
        self.kill()

    def _fail(self, fault: Exception) -> None:
        """End the process after an exception in a callback (poller.OnFault)."""
        self._stdout.fault = self._stdout.fault or fault
        self.kill()

    def _read_keeper(self, _left: bool) -> None:  # noqa: FBT001 - signature of poller.Ready
        while True:
            try:
                report = self._control.recv(64)
            except BlockingIOError:
                return
            except OSError:
                report = b""
            word, _, number = report.partition(b" ")
            if word == b"exited":
                self._exit = Exit(code=int(number), reason=self._reason)
            elif word == b"signalled":
                self._exit = Exit(signal=int(number), reason=self._reason)
            self._stdout.draining = True
            self._add(ProcessState.EXITED)
            if not report:
                self._add(ProcessState.KEEPER_EXITED)
                return

    def _command_keeper(self, command: bytes) -> None:
        try:
            self._control.send(command)
        except OSError:
            return
