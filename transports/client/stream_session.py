"""A session over one stream in each direction, HTTP+SSE or a WebSocket, which ends with its connection.

After a loss the requests in flight fail, because the server may have carried them out. The next connection gets the state of the
session (`replay.LegacySession`).
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from ...validators import jsonrpc
from ...validators.mcp_params import read_cancelled
from ...validators.rejection import INTERNAL_ERROR, METHOD_NOT_FOUND
from ...validators.stateless_request import is_modern
from .calls import Call, Calls
from .detection import SSE
from .http_failures import MAY_HAVE_RUN, Failure
from .link import GiveBack, Link
from .messages import CANCELLED, INITIALIZE, INITIALIZED, Received, Sent, read_received, read_sent
from .ports import Carrier, CarrierBusy, LoginRequired, Lost, Unreachable
from .replay import LegacySession

# The pauses between two attempts to connect again (seconds).
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 10.0
# How long the first connection may take if another transport is possible (seconds).
_ATTEMPT_SECONDS: Final = 10.0
# A connection that was open for this time (seconds) is replaced at once. After several shorter ones in a row the pauses grow, up to
# this exponent.
_LASTING_SECONDS: Final = 5.0
_MOST_GROWTH: Final = 3
_INITIALIZED: Final = jsonrpc.notification(INITIALIZED, b"")
_NO_MODERN: Final = "HTTP+SSE has no requests of MCP 2026-07-28"


class _Started(trio.TaskStatus[None]):
    """Calls a function when a carrier is connected."""

    def __init__(self, on_started: Callable[[], None]) -> None:
        self._on_started = on_started

    def started(self, value: None = None) -> None:  # noqa: ARG002 - signature of trio.TaskStatus
        self._on_started()


class StreamSession:
    """The messages of one client over carriers that `make` makes, one after the other.

    `give_back` gets the messages if the first carrier does not connect. There is no other attempt then.
    """

    def __init__(
        self, make: Callable[[], Carrier], link: Link, transport: str, give_back: GiveBack | None = None
    ) -> None:
        self._make = make
        self._link = link
        self._transport = transport
        # Set until the first connection.
        self._give_back = give_back
        self._session = LegacySession(link.limits)
        self._calls = Calls()
        # Messages that are to be sent, oldest first.
        self._waiting: deque[Sent] = deque()
        self._wake = trio.Event()
        # The connected carrier that messages of the client may use; None before, and while a session is restored.
        self._carrier: Carrier | None = None
        # The carrier that is running.
        self._running: Carrier | None = None
        self._paused = False
        # Whether the server has sent a message since the last connection.
        self._received = False

    # ---- from the client

    def send(self, sent: Sent) -> None:
        """Send a message, or keep it until there is a connection."""
        if self._transport == SSE and sent.is_request and is_modern(sent.params):
            self._link.settled(sent)
            self._link.put(jsonrpc.error(sent.id, METHOD_NOT_FOUND, _NO_MODERN), sent.id)
            return
        if not sent.method and not self._session.answers(sent.id):
            self._link.settled(sent)
            return
        self._session.record(sent)
        if sent.method == CANCELLED:
            call = self._calls.find(read_cancelled(sent.params)[0])
            if call is not None:
                call.withdrawn = True
        if sent.is_request:
            self._calls.add(Call(sent, self._on_opened if sent.method == INITIALIZE else None))
        self._waiting.append(sent)
        self._flush()
        self._wake.set()

    def pause(self) -> None:
        """Read nothing until `resume`."""
        self._paused = True
        if self._running is not None:
            self._running.pause()

    def resume(self) -> None:
        """Continue to read."""
        self._paused = False
        if self._running is not None:
            self._running.resume()

    def _flush(self) -> None:
        while self._waiting and self._carrier is not None:
            sent = self._waiting.popleft()
            self._link.settled(sent)
            reason = _send(self._carrier, sent.line)
            call = self._calls.find(sent.id) if sent.is_request else None
            if call is not None:
                call.begun = not reason
            if reason and call is not None:
                self._fail(
                    call, Failure(f"does not read: {reason}; the request was not sent", {"reason": "busy"})
                )
            elif reason:
                self._link.note(f"{sent.method or 'a response'} was not sent: {reason}")

    # ---- connections

    async def run(self) -> None:
        """Connect when there is a message, and again after a loss, until cancelled."""
        failures = short = 0
        since = trio.current_time()
        while True:
            while not (self._waiting or self._session.generation):
                await self._wake.wait()
                self._wake = trio.Event()
            if not failures:
                since = trio.current_time()
            self._received = False
            begun = trio.current_time()
            reason, data = await self._connection()
            was_open, self._carrier = self._received, None
            if self._give_back is not None:
                self._give_back(reason, [*self._waiting])
                return
            self._lose(reason, data)
            late = trio.current_time() - since > self._link.connect_seconds
            if not was_open and (late or self._link.is_new):
                # A server may change from HTTP+SSE to Streamable HTTP.
                self._link.forget()
                self._link.end(reason)
                return
            failures = 0 if was_open else failures + 1
            short = 0 if trio.current_time() - begun >= _LASTING_SECONDS else short + 1
            growth = max(failures, min(short - 1, _MOST_GROWTH))
            self._link.note(f"the connection is lost: {reason}")
            await trio.sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(growth, 8)) if growth > 0 else 0)

    async def _connection(self) -> tuple[str, dict[str, object]]:
        """Run one carrier. Returns why it has ended, as a predicate, and the data of an error."""
        carrier = self._running = self._make()
        attempt = trio.CancelScope()
        if self._give_back is not None:
            attempt.deadline = trio.current_time() + _ATTEMPT_SECONDS
        async with trio.open_nursery() as nursery:

            def connected() -> None:
                attempt.deadline, self._give_back = math.inf, None
                if self._paused:
                    carrier.pause()
                nursery.start_soon(self._on_connected, carrier)

            try:
                with attempt:
                    await carrier.run(self._on_message, task_status=_Started(connected))
            except Unreachable as fault:
                return f"cannot be reached: {fault.reason}", {"reason": "unreachable"}
            except LoginRequired as fault:
                return f"requires a login: {fault}", {"reason": "login required"}
            except Lost as fault:
                return f"has closed the connection: {fault.reason}", {"reason": "connection lost"}
            finally:
                # A carrier refers to this object, which is freed at once without it.
                self._running = self._carrier = None
                nursery.cancel_scope.cancel()
        return f"sent no endpoint within {_ATTEMPT_SECONDS:g} s", {"reason": "unreachable"}

    async def _on_connected(self, carrier: Carrier) -> None:
        if self._session.generation and not await self._restore(carrier):
            return
        self._carrier = carrier
        self._flush()

    async def _restore(self, carrier: Carrier) -> bool:
        """Open the session again on a new connection. Returns False if that has failed, and the connection is ended."""
        opened = trio.Event()
        reason = ""

        def on_response(received: Received) -> bytes:
            nonlocal reason
            reason = self._session.open(received, None)
            opened.set()
            return b""

        self._calls.add(again := Call(self._session.initialize_again(), on_response, internal=True))
        unsent = _send(carrier, again.sent.line)
        with trio.move_on_after(0 if unsent else self._link.limits.start_seconds):
            await opened.wait()
        reason = reason or unsent
        if reason or not opened.is_set():
            self._link.end(
                f"has closed the connection, and has not opened the session again: it {reason or 'did not answer'}"
            )
            return False
        lines = [_INITIALIZED] if self._session.initialized else []
        for sent in self._session.restore():
            self._calls.add(Call(sent, lambda _: b"", internal=True))
            lines.append(sent.line)
        for line in lines:
            _send(carrier, line)
        for line in self._session.missed():
            self._link.put(line)
        return True

    def _lose(self, reason: str, data: dict[str, object]) -> None:
        """Fail the requests that were sent, and cancel those of the server."""
        for line in self._session.lose():
            self._link.put(line)
        for call in self._calls:
            if call.internal:
                self._calls.end(call)
            elif call.begun:
                self._fail(call, Failure(f"{reason}; {MAY_HAVE_RUN}", data))

    def _fail(self, call: Call, failure: Failure) -> None:
        if self._calls.end(call) and not call.withdrawn:
            self._link.put(jsonrpc.error(call.id, INTERNAL_ERROR, failure.text, failure.data), call.id)

    # ---- from the server

    def _on_opened(self, received: Received) -> bytes:
        """Process the response to `initialize` (Call.on_response)."""
        self._session.open(received, None)
        return received.line

    def _on_message(self, text: bytes, related: bytes) -> None:
        """Pass on the messages of the server (ports.OnMessage)."""
        self._received = True
        self._link.answered(self._transport)
        for message in read_received(text, self._link.limits):
            self._pass(message, related)

    def _pass(self, message: Received, related: bytes) -> None:
        line = message.line
        if not message.method:
            call = self._calls.find(message.id)
            if call is None or not self._calls.end(call):
                return
            line = line if call.on_response is None else call.on_response(message)
            related = call.id
        elif message.id:
            self._session.add_request(message.id)
        elif message.method == CANCELLED:
            self._session.withdrawn(read_sent(message.line).params)
        if line:
            self._link.put(line, related)


def _send(carrier: Carrier, line: bytes) -> str:
    """Send a line. Returns why it was not sent, or an empty text."""
    try:
        carrier.send(line)
    except (CarrierBusy, Lost) as fault:
        return str(fault)
    return ""
