"""The bytes of one HTTP/1.1 connection: heads and bodies in, responses out, with the current deadline."""

import contextlib
import enum
import socket
from typing import TYPE_CHECKING, Final

import attrs
import trio

from ...validators.http_body import ChunkedDecoder
from ...validators.http_head import reject_early, skip_empty_lines
from ...validators.incremental_json import TextBuffer
from ..memory import LARGE, large_messages
from ..poller import WakeUpSlot
from .quota import Seat
from .service import Service
from .wire import READ, PlainWire, TlsWire, Wire, unread_by_peer

if TYPE_CHECKING:
    from collections.abc import Callable

# Bytes read at once before the credential is known, so that unauthenticated peers cost little memory.
_FIRST_READ: Final = 16 * 1024
# Bytes read at once of a chunked body, whose chunks may have one byte each.
_READ_CHUNKS: Final = 16 * 1024
# Contents of the buffer before a head: nothing, or the first half of an empty line.
_BEFORE_HEAD: Final = (b"", b"\r")


class Wait(enum.Enum):
    """The event that a connection waits for."""

    NOTHING = enum.auto()
    # The first byte of a request.
    REQUEST = enum.auto()
    # The rest of a head.
    HEAD = enum.auto()
    BODY = enum.auto()
    # The peer, which must read what is sent.
    READER = enum.auto()


@attrs.define(eq=False)
class Deadline:
    """The awaited event, the time when the wait began (seconds, Ticker's time), and the body bytes received since then."""

    kind: Wait = Wait.NOTHING
    since: float = 0.0
    received: int = 0

    def start(self, kind: Wait, now: float) -> None:
        """Begin to wait."""
        self.kind = kind
        self.since = now
        self.received = 0


class Http1Stream:
    """One connection, without the meaning of its requests."""

    def __init__(
        self,
        service: Service,
        sock: socket.socket,
        peer: str,
        seat: Seat,
        tls: "trio.SSLStream[trio.SocketStream] | None",
    ) -> None:
        self.service = service
        self.sock = sock
        self.peer = peer
        self.seat = seat
        # Where the task waits for input, or for a response.
        self.slot = WakeUpSlot()
        # The wire, if it has no TLS.
        self.plain: PlainWire | None = None
        self.wire: Wire
        if tls is None:
            self.wire = self.plain = PlainWire(sock, self.slot)
        else:
            self.wire = TlsWire(tls)
        # Received bytes that were not parsed.
        self.buffer = b""
        self.deadline = Deadline()
        # When bytes were last sent (seconds, Ticker's time).
        self.last_sent = 0.0
        # Whether the connection ends after the current response.
        self.close = False
        # Whether the peer has closed its sending side.
        self.disconnected = False
        # Whether the peer may stop reading for any time.
        self.may_stall = False
        # Called when the peer is no longer admitted. None aborts the connection.
        self.on_revoked: Callable[[], None] | None = None
        # Bytes that the peer had received at the last check.
        self._peer_received: int = 0

    async def send(self, data: bytes) -> None:
        """Send all data. Raises OSError."""
        self.deadline.start(Wait.READER, self.service.ticker.now)
        try:
            await self.wire.send(data)
        finally:
            # Its memory is free now, which may be long after its receipt.
            if len(data) > LARGE:
                large_messages.count += 1
        self.deadline.kind = Wait.NOTHING
        self.last_sent = self.service.ticker.now

    def has_progress(self, now: float) -> bool:
        """Return whether the peer has received bytes since the last check. Restarts the deadline if it has."""
        received: int = self.wire.sent - unread_by_peer(self.sock)
        if received == self._peer_received:
            return False
        self._peer_received, self.deadline.since = received, now
        return True

    async def read_head(self) -> bytes:
        """Return the next head, or nothing at the end of the connection. Raises Rejection and OSError."""
        limits, deadline, ticker = self.service.limits, self.deadline, self.service.ticker
        buffer = self.buffer
        if buffer[:1] == b"\r":
            buffer = skip_empty_lines(buffer)
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            deadline.start(Wait.REQUEST if buffer in _BEFORE_HEAD else Wait.HEAD, ticker.now)
            while end < 0:
                if buffer:
                    reject_early(buffer, limits)
                data = await self.wire.receive(READ if self.seat.principal else _FIRST_READ)
                if not data:
                    deadline.kind = Wait.NOTHING
                    return b""
                begun, buffer = buffer not in _BEFORE_HEAD, buffer + data
                if buffer[:1] == b"\r":
                    buffer = skip_empty_lines(buffer)
                if not begun and buffer not in _BEFORE_HEAD:
                    deadline.start(Wait.HEAD, ticker.now)
                end = buffer.find(b"\r\n\r\n", max(0, len(buffer) - len(data) - 3))
            deadline.kind = Wait.NOTHING
        self.buffer = buffer[end + 4 :]
        return buffer[: end + 4]

    async def read_body(self, length: int | None, principal: str) -> bytes:
        """Return a body of this length, or a chunked body. Raises Rejection and OSError."""
        self.deadline.start(Wait.BODY, self.service.ticker.now)
        body = await (
            self._read_chunked(principal) if length is None else self._read_exactly(length, principal)
        )
        self.deadline.kind = Wait.NOTHING
        return body

    async def _read_exactly(self, length: int, principal: str) -> bytes:
        body = TextBuffer(self.service.limits.json_depth)
        body.add(self.buffer)
        with self.service.quota.receiving(principal) as count:
            count(len(self.buffer))
            self.buffer = b""
            while (missing := length - len(body)) > 0:
                data = await self._receive_body()
                count(len(data))
                body.add(data[:missing])
                self.buffer = data[missing:]
        return body.take()

    async def _read_chunked(self, principal: str) -> bytes:
        decoder = ChunkedDecoder(self.service.limits)
        with self.service.quota.receiving(principal) as count:
            decoder.feed(self.buffer)
            while not decoder.done:
                data = await self._receive_body(_READ_CHUNKS)
                count(len(data))
                decoder.feed(data)
                await trio.lowlevel.checkpoint()
        self.buffer = decoder.rest
        return decoder.take()

    async def _receive_body(self, max_bytes: int = READ) -> bytes:
        data = await self.wire.receive(max_bytes)
        if not data:
            raise ConnectionError("the peer disconnected in the middle of a body")
        self.deadline.received += len(data)
        return data

    async def linger(self, seconds: float, most: int) -> None:
        """Send the end of the stream, then read and drop input for this long (seconds) and this many bytes."""
        # Closing a socket with unread input would reset the connection (responses.LINGER_SECONDS).
        self.deadline.kind = Wait.NOTHING
        with trio.move_on_after(seconds):
            self.sock.shutdown(socket.SHUT_WR)
            while most > 0:
                count = await self.wire.drop()
                most -= count or most

    def abort(self) -> None:
        """Shut the socket down, which wakes the task with an end of file or a broken pipe."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def cork(self) -> None:
        """Hold the last segment back until the end of the stream."""
        # Bun 1.3.14 reuses the connection of a refusal, regardless of `Connection`, unless the end of the stream is in the
        # same segment. The kernel sends a partial segment after 200 ms at the latest (tcp(7)). Unix sockets have no segments.
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
