"""A remote server, used in the same way as a server process: lines of JSON-RPC go in, and lines come out.

Sending never waits. The transport is found with the first messages (`detection`). The connection ends when it is stopped, when
the first request cannot be sent, and when a session that the server has ended cannot be opened again; any other failure ends one
request. Its user starts another connection for the next request, as after the exit of a process.
"""

import enum
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import trio

from ..process.stderr_reader import StderrMeter
from ..server_io import ChildGone, Exit, Filter, OnLine, OnStderr, Watchers
from ..ticker import PausableClock
from .connection import Connection, MakeCarrier
from .deliveries import Deliveries
from .detection import RemoteMemory
from .http_client import HttpClient
from .link import Http
from .options import RemoteOptions

OpenHttp = Callable[[RemoteOptions], AbstractAsyncContextManager[Http]]

# The longest text that is written to the log (characters).
_NOTE: Final = 1000


class _State(enum.IntEnum):
    """The phases of a connection, in their order."""

    RUNNING = enum.auto()
    # It has a reason to end.
    FAILED = enum.auto()
    # `stop` was called.
    STOPPED = enum.auto()
    # `kill` was called.
    KILLED = enum.auto()


def _drop(_line: bytes) -> None:
    """Drop a line of the log, because `run` was not called yet."""


class RemoteServer:
    """A connection to a remote server (ports.ServerConnection). `pid` is unique in the daemon. Raises BadRemoteUrl."""

    def __init__(
        self,
        options: RemoteOptions,
        memory: RemoteMemory,
        pid: int,
        make_carrier: MakeCarrier | None = None,
        open_http: OpenHttp = HttpClient,
    ) -> None:
        self.pid = pid
        self.ended = False
        self._options = options
        self._http = open_http(options)
        self._deliveries = Deliveries(self._fail)
        self._connection = Connection(
            options, memory, make_carrier, self._deliveries, note=self._note, end=self._end
        )
        self._clock = PausableClock()
        self._log = StderrMeter(options.limits.stderr_rate, _drop)
        self._state = _State.RUNNING
        # Set when the state is not RUNNING any more.
        self._over = trio.Event()
        self._reason = ""
        # An exception of the line handler.
        self._fault: Exception | None = None

    # ---- for its users: no method waits

    def serve(self, principal: str) -> None:
        """Do nothing: the lines of a remote server are read by tasks (ports.ServerConnection)."""

    def send(self, line: bytes) -> None:
        """Send one line. Raises ChildGone, or ChildBusy over `limits.stdin_bytes`."""
        if self._state is not _State.RUNNING or self.ended:
            raise ChildGone
        for watcher in self._deliveries.watchers:
            watcher("to server", line)
        self._connection.send(line)

    @property
    def related(self) -> bytes:
        """The id of the request on whose response stream the line that is passed on now came, or empty."""
        return self._deliveries.related

    @property
    def watchers(self) -> Watchers:
        """Functions that are called with each message and its direction. The list may be shared and change at any time."""
        return self._deliveries.watchers

    @watchers.setter
    def watchers(self, watchers: Watchers) -> None:
        self._deliveries.watchers = watchers

    @property
    def has_unread_input(self) -> bool:
        """Whether the server has not begun its response to everything that was sent."""
        return self._connection.unsent > 0

    @property
    def transferred(self) -> tuple[int, int]:
        """Nothing, because there is no pipe (ServerConnection)."""
        return 0, 0

    @property
    def unfinished(self) -> tuple[bytes, bytes]:
        """Nothing: a message is passed on when it is complete."""
        return b"", b""

    def set_line_handler(self, on_line: OnLine) -> None:
        """Pass each line from now on to `on_line`, until `stop`. Lines before the first call are dropped."""
        if self._state <= _State.FAILED and not self.ended:
            self._deliveries.on_line = on_line

    def pause(self) -> None:
        """Stop reading until `resume`, unless the connection is ending."""
        if self._state is _State.RUNNING and not self.ended and not self._deliveries.paused:
            self._deliveries.pause()
            self._connection.pause()
            self._clock.pause(trio.current_time())

    def resume(self) -> None:
        """Continue to read."""
        if self._deliveries.paused:
            self._clock.resume(trio.current_time())
            self._connection.resume()
            self._deliveries.resume()

    def active_time(self, now: float) -> float:
        """Return the time `now` without all pauses (seconds), for the time limits of the server."""
        return self._clock.time(now)

    def stop(self) -> None:
        """End the session in order: send what was to be sent, and close it at the server."""
        self._leave(_State.STOPPED)

    def kill(self) -> None:
        """Close the connection now."""
        self._leave(_State.KILLED)

    def _leave(self, state: _State) -> None:
        self.resume()
        self._deliveries.drop()
        self._state = max(self._state, state)
        self._over.set()

    # ---- running

    async def run(
        self, on_stderr: OnStderr, on_exit: Callable[[Exit], None], stderr_filter: Filter | None = None
    ) -> None:
        """Send and receive until the connection has ended. Cancelling closes it at once.

        `on_exit` is called once, when no further line will come. An exception of the line handler ends the connection, and is
        raised here. Remarks on the connection go to `on_stderr`, after `stderr_filter`.
        """
        self._log = StderrMeter(self._options.limits.stderr_rate, on_stderr, stderr_filter)
        try:
            async with self._http as http:
                await self._serve(http)
                self._finish()
                on_exit(Exit(reason=self._reason or "has closed the connection"))
                if self._state is not _State.KILLED:
                    with trio.move_on_after(self._options.limits.stop_seconds):
                        await self._connection.end_session()
        finally:
            self._finish()
            self._log.report_suppressed()
            # Their functions refer to this object, which is freed at once without that.
            self._connection.detach()
            self._deliveries.detach()
        if self._fault is not None:
            raise self._fault

    async def _serve(self, http: Http) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliveries.run)
            nursery.start_soon(self._connection.run, http)
            await self._over.wait()
            if self._state is _State.STOPPED:
                await self._connection.flush()
            nursery.cancel_scope.cancel()

    def _finish(self) -> None:
        if self.ended:
            return
        if self._state is _State.FAILED:
            self._clock.resume(trio.current_time())
            self._deliveries.flush()
        self.ended = True
        self._deliveries.drop()

    # ---- events

    def _end(self, reason: str) -> None:
        """End the connection, because it is of no further use."""
        self._reason = self._reason or reason
        self._state = max(self._state, _State.FAILED)
        self._over.set()

    def _fail(self, fault: Exception) -> None:
        """End the connection after an exception of the line handler."""
        self._fault = self._fault or fault
        self.kill()

    def _note(self, text: str) -> None:
        line = " ".join(text[:_NOTE].split())
        self._log.feed(f"{line}\n".encode(), trio.current_time())
