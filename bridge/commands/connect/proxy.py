"""Carry messages between stdin and stdout and the WebSocket of a server.

Lines of stdin become messages of the WebSocket and the other way round, whatever era they are of. When the connection is lost,
another is made; `Reconnection` decides what is sent on it, and which requests have failed.
"""

import contextlib
import os
import random
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, NamedTuple, assert_never

import trio

from ....validators.limits import Limits
from ....validators.ws_frames import GOING_AWAY, NO_CODE, NORMAL, Ping
from ...config.addresses import BadAddress
from ..control_client import ErrorResponse, Unreachable
from ..output import notice
from . import websocket
from .bounded_lines import Lines, Oversize
from .client_output import ClientOutput
from .effects import Effects, Notice, ToClient, ToServer
from .handshake import READ_SIZE, OpenStream, PeerBusy, handshake
from .raw_messages import one_line
from .reconnection import Reconnection
from .retry import RetrySchedule
from .target import HANDSHAKE_SECONDS, Stream, Target

# How long responses are awaited after stdin was closed (seconds).
_LAST_RESPONSES: Final = 30.0
# How long the last errors may take to be written (seconds).
_LAST_ERRORS: Final = 1.0
# How many messages that are not JSON-RPC are shown.
_SHOWN: Final = 5
# Of such a message (bytes).
_EXCERPT: Final = 200
# The daemon has limits of its own, and has applied them already.
_UNLIMITED: Final = 2**62
# A peer that does not respond to the handshake within this time is awaited with a line on stderr (seconds).
_SILENT: Final = 2.0


def run(target: Target, limits: Limits, wait: float) -> None:
    """Carry messages until one side ends. Raises Unreachable, ErrorResponse and BadAddress.

    A line of stdin has at most `limits.body` bytes, and a message from a URL at most `limits.line`. A daemon that does not
    respond yet, or whose connection is lost, is awaited for `wait` (seconds).
    """
    interrupted = False
    try:
        trio.run(_run, target, limits, wait)
    except* KeyboardInterrupt:
        interrupted = True
    if interrupted:
        raise KeyboardInterrupt


async def _run(target: Target, limits: Limits, wait: float) -> None:
    async with trio.lowlevel.FdStream(os.dup(1)) as stdout:
        await _Proxy(target, limits, wait, stdout).run()


class _Wire:
    """One connection. Messages that are sent after its end are dropped."""

    def __init__(self, stream: Stream, *, secret: bool) -> None:
        self.stream = stream
        self._secret = secret
        self._sending = trio.Lock()

    async def send_text(self, text: bytes) -> None:
        """Send a message."""
        await self.send(websocket.text_frame(text, secret=self._secret))

    async def send(self, frame: bytes) -> None:
        async with self._sending:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.stream.send_all(frame)


class _Lost(NamedTuple):
    """Why a connection has ended. With `in_order` that is no failure as long as no request is in flight."""

    reason: str
    in_order: bool = False


class _Proxy:
    """Both directions, over one connection after another."""

    def __init__(self, target: Target, limits: Limits, wait: float, stdout: trio.lowlevel.FdStream) -> None:
        self._target = target
        self._limits = limits
        self._wait = wait
        self._output = ClientOutput(stdout)
        self._client = Reconnection(limits)
        self._retry = RetrySchedule(wait, trio.current_time())
        self._wire: _Wire | None = None
        self._stdin_closed = False
        # Whether a connection is lost and it is not known yet whether another will be made.
        self._deciding = False
        # Set and replaced when a message was sent, received or lost.
        self._changed = trio.Event()
        # Set when a request was rejected and waits for the next connection.
        self._rejected = trio.Event()
        # How many messages that are not JSON-RPC were dropped.
        self._noise = 0
        # The reason why the proxy ends, for the requests that fail with it.
        self._ending = ""
        # The exception that `run` raises; with `_unreachable` only if no connection was ever made.
        self._failure: Unreachable | ErrorResponse | BadAddress | None = None
        self._unreachable: Unreachable | None = None
        self._over = trio.CancelScope()

    async def run(self) -> None:
        """Run until one side ends. Requests without a response fail then. Raises Unreachable, ErrorResponse and BadAddress."""
        first = await self._first()
        signals: list[int] = []
        with self._over:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._return_rejections)
                for task in (
                    self._from_stdin,
                    partial(self._connections, first),
                    partial(self._until_signal, signals),
                ):
                    nursery.start_soon(partial(_then, task, self._over.cancel))
        with trio.move_on_after(_LAST_ERRORS, shield=True):
            await self._close()
        if signal.SIGINT in signals:
            raise KeyboardInterrupt
        if self._failure is not None and not self._output.closed:
            raise self._failure

    async def _close(self) -> None:
        await self._output.end_line()
        await self._perform(self._client.close(self._ending, self._output.take_unwritten()))
        if self._wire is not None:
            await self._wire.send(websocket.close_frame(NORMAL))
            await trio.aclose_forcefully(self._wire.stream)

    async def _perform(self, effects: Effects) -> None:
        # All are for the connection that is open now: on a later connection they would be out of place.
        wire = self._wire
        for effect in effects:
            if isinstance(effect, ToClient):
                self._output.expect(effect.responses)
        for effect in effects:
            match effect:
                case ToClient():
                    if not await self._output.write(effect):
                        self._over.cancel()
                case ToServer():
                    if wire is not None:
                        await wire.send_text(effect.text)
                case Notice():
                    notice(effect.text)
                case _:
                    assert_never(effect)
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # ---- from the client

    async def _from_stdin(self) -> None:
        lines = Lines(self._limits.body)
        async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
            while data := await stdin.receive_some(READ_SIZE):
                for line in lines.feed(data):
                    await self._on_line(line)
                while self._client.full:
                    await self._changed.wait()
        for line in lines.end():
            await self._on_line(line)
        self._stdin_closed = True
        await self._last_responses(trio.current_time())
        self._ending = self._ending or "stdin was closed"
        self._failure = self._failure or self._unreachable

    async def _last_responses(self, closed: float) -> None:
        while self._deciding or not self._output.settled or not self._client.settled:
            if self._wire is None:
                # The task that makes connections decides when to give up.
                await self._changed.wait()
                continue
            left = max(closed, self._retry.since) + _LAST_RESPONSES - trio.current_time()
            if left <= 0:
                self._ending = f"no response within {_LAST_RESPONSES:g} s after stdin was closed"
                return
            with trio.move_on_after(left):
                await self._changed.wait()

    async def _on_line(self, line: bytes | Oversize) -> None:
        if isinstance(line, Oversize):
            effects = self._client.on_oversize(line, self._limits.body, "limits.body", from_client=True)
        else:
            effects = self._client.on_client_message(line)
        await self._perform(effects)

    # ---- connections

    async def _first(self) -> OpenStream | None:
        """Return a connection, or None if the daemon is to be awaited. Raises Unreachable, ErrorResponse and BadAddress."""
        try:
            return await self._attempt()
        except Unreachable as fault:
            if isinstance(fault, PeerBusy) or not self._target.unix or self._overdue():
                raise
            self._unreachable = fault
        notice(f"{self._unreachable}; retrying for at most {self._wait:g} s")
        return None

    def _overdue(self) -> bool:
        return self._retry.remaining(trio.current_time()) <= 0

    async def _connections(self, found: OpenStream | None) -> None:
        """Make one connection after another, until none can be made or none is needed."""
        while found := found or await self._again():
            stream, rest = found
            found = None
            self._wire = _Wire(stream, secret=self._target.unix is None)
            self._retry.on_connect(trio.current_time())
            self._unreachable = None
            await self._perform(self._client.on_connect())
            lost = await self._to_stdout(self._wire, rest)
            self._wire, self._deciding = None, True
            failing = not self._client.settled
            effects = self._client.on_disconnect(lost.reason)
            await trio.aclose_forcefully(stream)
            await self._perform(effects)
            if not self._goes_on(lost, failing=failing):
                return
            notice(f"{lost.reason}; reconnecting")
            self._deciding = False
            self._change()

    def _goes_on(self, lost: _Lost, *, failing: bool) -> bool:
        """Return whether another connection is made; `failing` if requests were in flight on the one that is lost."""
        self._retry.on_disconnect(trio.current_time())
        needless = self._stdin_closed and not self._client.has_unsent
        if not needless and not self._overdue():
            return True
        self._ending = lost.reason
        if not needless or failing or not lost.in_order:
            self._failure = Unreachable(lost.reason)
        return False

    async def _again(self) -> OpenStream | None:
        """Return another connection, or None if the proxy has to end."""
        while True:
            # A random part, so that not all clients come at once.
            await trio.sleep(self._retry.next_pause() * random.uniform(0.5, 1))  # noqa: S311 - no secret
            try:
                return await self._attempt()
            except Unreachable as fault:
                if not self._overdue():
                    continue
                self._failure = fault
            except (ErrorResponse, BadAddress) as fault:
                self._failure = fault
            self._ending = str(self._failure)
            return None

    async def _attempt(self) -> OpenStream:
        """Connect once. Raises Unreachable, ErrorResponse and BadAddress."""
        patience, silence = HANDSHAKE_SECONDS, trio.CancelScope()
        if self._target.unix:
            # The socket of a service manager is there before the daemon is.
            patience = max(patience, self._retry.remaining(trio.current_time()))
        found: list[OpenStream] = []
        failure: Unreachable | ErrorResponse | BadAddress | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._report_silence, silence, patience)
            try:
                found.append(await handshake(self._target, patience))
            except (Unreachable, ErrorResponse, BadAddress) as fault:
                failure = fault
            silence.cancel()
        if failure is not None:
            raise failure
        return found[0]

    async def _report_silence(self, scope: trio.CancelScope, patience: float) -> None:
        with scope:
            await trio.sleep(_SILENT)
            if self._target.unix:
                notice(
                    f"{self._target.unix} accepted the connection and has not responded; "
                    f"waiting for at most {patience:.0f} s"
                )

    # ---- from the server

    async def _to_stdout(self, wire: _Wire, data: bytes | bytearray) -> _Lost:
        name, stream = self._target.name, wire.stream
        frames = websocket.ServerFrames(_UNLIMITED if self._target.unix else self._limits.line)
        try:
            while True:
                for event in frames.feed(data):
                    if isinstance(event, websocket.Closed):
                        return self._closed(event)
                    self._retry.on_message()
                    await self._on_event(wire, event)
                data = await stream.receive_some(READ_SIZE)
                if not data:
                    break
        except websocket.BadPeer as fault:
            return _Lost(f"{name} {fault}")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        return _Lost(f"{name} closed the connection", in_order=self._target.unix is not None)

    def _closed(self, event: websocket.Closed) -> _Lost:
        in_order = event.code in (NORMAL, GOING_AWAY, NO_CODE)
        why = f": {' '.join(event.reason.split())}" if event.reason else ""
        return _Lost(f"{self._target.name} closed the connection with code {event.code}{why}", in_order)

    async def _on_event(self, wire: _Wire, event: bytes | Oversize | Ping) -> None:
        if isinstance(event, Ping):
            await wire.send(websocket.pong_frame(event.payload))
        elif isinstance(event, Oversize):
            limit = self._limits.line
            await self._perform(self._client.on_oversize(event, limit, "limits.line", from_client=False))
        else:
            line = one_line(event)
            effects = self._client.on_server_message(line)
            if effects is None:
                self._on_noise(line)
                return
            await self._perform(effects)
            if not effects and self._client.has_rejected:
                self._rejected.set()

    async def _return_rejections(self) -> None:
        """Pass on the rejections of a server that is being replaced, if its connection does not end in time."""
        while True:
            await self._rejected.wait()
            with trio.move_on_after(self._wait):
                while self._client.has_rejected:
                    await self._changed.wait()
            self._rejected = trio.Event()
            await self._perform(self._client.return_rejections())

    def _on_noise(self, line: bytes) -> None:
        self._noise += 1
        if self._noise <= _SHOWN:
            notice(f"dropped a message that is not JSON-RPC: {line[:_EXCERPT].decode(errors='replace')}")
        elif self._noise == _SHOWN + 1:
            notice("further messages that are not JSON-RPC are dropped without a notice")

    # ---- the end

    async def _until_signal(self, received: list[int]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            received.append(await anext(signals))
        self._ending = f"connect was stopped by {signal.Signals(received[0]).name}"


async def _then(task: Callable[[], Coroutine[Any, Any, None]], end: Callable[[], None]) -> None:
    await task()
    end()
