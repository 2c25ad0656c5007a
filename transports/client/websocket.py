"""The WebSocket of a remote server, with the subprotocol `mcp`: one message in each text message."""

import math
import os
from typing import Final

import trio

from ...validators.ws_client import (
    SUBPROTOCOL,
    BadServer,
    Closed,
    Message,
    ServerFrames,
    check_opened,
    close_frame,
    control_frame,
    new_key,
    text_header,
)
from ...validators.ws_frames import NORMAL, PING, PONG, PROTOCOL_ERROR, Ping, Pong, masked
from .carrier_state import Inbox, Outbox
from .connector import Connection
from .http_client import HttpClient, RemoteResponse
from .http_failures import READ, excerpt, secrets_of
from .options import RemoteOptions
from .ports import Lost, OnMessage, Unreachable

# Small, because a read may have a frame in every two bytes.
_READ: Final = 16 * 1024
# A multiple of the size of a mask.
_PIECE: Final = 64 * 1024
# The interval of pings, which keep the connection open on the way (seconds).
_PING_SECONDS: Final = 30.0
# The longest time without a byte from a server that answers pings (seconds).
_SILENT_SECONDS: Final = 90.0
# For a last frame, before the connection is closed (seconds).
_CLOSE_SECONDS: Final = 1.0


class WebSocket:
    """A carrier (ports.Carrier) over a WebSocket. Raises BadRemoteUrl for the URL of the options."""

    def __init__(self, options: RemoteOptions) -> None:
        self._options = options
        self._http = HttpClient(options)
        self._outbox = Outbox(options.limits)
        self._inbox = Inbox(options.limits, self._outbox)
        self._name = self._http.home.origin
        self._sending = trio.Lock()
        # Payload of the last ping of the server without a pong.
        self._pong: bytes | None = None
        self._pinged = trio.Event()
        self._received_at = 0.0
        self._answers_pings = False
        self._lost = ""
        self._scope = trio.CancelScope()
        self.send = self._outbox.put
        self.pause = self._inbox.pause
        self.resume = self._inbox.resume

    async def run(
        self, on_message: OnMessage, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Open the WebSocket, and carry messages until it is closed (ports.Carrier.run)."""
        self._inbox.start(on_message)
        seconds = self._options.connect_seconds
        opening = trio.CancelScope(deadline=trio.current_time() + seconds)
        key = new_key()
        fields = (
            (b"Sec-WebSocket-Version", b"13"),
            (b"Sec-WebSocket-Key", key),
            (b"Sec-WebSocket-Protocol", SUBPROTOCOL.encode()),
        )
        try:
            with self._scope, opening:
                url = str(self._http.home)
                async with (
                    self._http,
                    self._http.authorized_request("GET", url, fields, upgrade=b"websocket") as response,
                ):
                    connection, rest = await self._check(response, key)
                    opening.deadline = math.inf
                    self._outbox.open = True
                    task_status.started()
                    await self._carry(connection, rest)
        finally:
            self._outbox.open = False
        if opening.cancelled_caught:
            raise Unreachable(f"{self._name} did not open a WebSocket within {seconds:g} s")
        raise Lost(f"{self._name} {self._lost}")

    async def _check(self, response: RemoteResponse, key: bytes) -> tuple[Connection, bytes]:
        """Return the opened connection and the bytes after the handshake. Raises Unreachable."""
        if response.upgraded is None:
            await response.preload(READ)
            shown = excerpt(await response.read(READ), secrets_of(self._options.headers))
            raise Unreachable(
                f"{self._name} answered the WebSocket handshake with status {response.status}"
                f"{shown and ': '}{shown}"
            )
        try:
            check_opened(response.headers, key)
        except BadServer as fault:
            raise Unreachable(f"{self._name} {fault}") from None
        return response.upgraded

    async def _carry(self, connection: Connection, rest: bytes) -> None:
        self._received_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_messages, connection)
            nursery.start_soon(self._send_pongs, connection)
            nursery.start_soon(self._send_pings, connection)
            code = await self._receive(connection, rest)
            with trio.move_on_after(_CLOSE_SECONDS):
                await self._write(connection, close_frame(code))
            self._lose("")

    def _lose(self, predicate: str) -> None:
        self._lost = self._lost or predicate
        self._outbox.open = False
        self._scope.cancel()

    # ---- from the server

    async def _receive(self, connection: Connection, data: bytes) -> int:
        """Receive messages until the connection is lost. Returns the code for a close frame."""
        frames = ServerFrames(self._options.limits.line)
        try:
            while True:
                for event in frames.feed(data):
                    if isinstance(event, Closed):
                        self._lost = event.describe()
                        return NORMAL
                    if isinstance(event, Message):
                        await self._take(event)
                    else:
                        self._take_control(event)
                await self._inbox.ready()
                data = bytes(await connection.stream.receive_some(_READ))
                self._received_at = trio.current_time()
                if not data:
                    self._lost = "closed the connection"
                    return NORMAL
        except BadServer as fault:
            self._lost = str(fault)
            return PROTOCOL_ERROR
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._lost = "closed the connection"
            return NORMAL

    async def _take(self, message: Message) -> None:
        if message.dropped:
            await self._inbox.take_cut(message.text)
        else:
            await self._inbox.take(message.text)

    def _take_control(self, event: Ping | Pong) -> None:
        if isinstance(event, Pong):
            self._answers_pings = True
            return
        # Only the last of several pings needs a pong (RFC 6455 section 5.5.3).
        self._pong = event.payload
        self._pinged.set()

    # ---- to the server

    async def _send_messages(self, connection: Connection) -> None:
        while True:
            line = await self._outbox.get()
            # The mask must not be predictable, because it protects intermediaries (RFC 6455 section 10.3).
            mask = os.urandom(4)
            async with self._sending:
                head = text_header(len(line), mask)
                first = line[:_PIECE]
                await self._write_locked(connection, head + masked(first, mask))
                # A large message is masked in pieces, because the event loop waits for each.
                for at in range(_PIECE, len(line), _PIECE):
                    await self._write_locked(connection, masked(line[at : at + _PIECE], mask))
            self._outbox.settled(line)

    async def _send_pongs(self, connection: Connection) -> None:
        while True:
            await self._pinged.wait()
            self._pinged = trio.Event()
            payload, self._pong = self._pong, None
            if payload is not None:
                await self._write(connection, control_frame(PONG, payload))

    async def _send_pings(self, connection: Connection) -> None:
        while True:
            await trio.sleep(_PING_SECONDS)
            silent = trio.current_time() - self._received_at
            if self._inbox.paused:
                # Nothing is read meanwhile.
                self._received_at = trio.current_time()
            elif self._answers_pings and silent >= _SILENT_SECONDS:
                self._lose(f"has sent nothing for {silent:.0f} s, and does not answer pings")
            await self._write(connection, control_frame(PING, b""))

    async def _write(self, connection: Connection, frame: bytes) -> None:
        async with self._sending:
            await self._write_locked(connection, frame)

    async def _write_locked(self, connection: Connection, data: bytes) -> None:
        seconds = self._options.limits.write_stall_seconds
        try:
            with trio.fail_after(seconds):
                await connection.stream.send_all(data)
        except trio.TooSlowError:
            self._lose(f"has not read for {seconds:g} s")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # The reader finds what the server has sent before, such as a close frame, and then the end.
            return
