"""HTTP/2 by Hypercorn, with each connection isolated.

Only Hypercorn's `TCPServer` is used, on a stream of this module, because of faults that tests/transports/http/test_http2.py
and tests/hostile reproduce. Its accept loop fails on inputs that any peer can send. Its sends are shielded without a time
limit. An unread body blocks it, and so does a response to a closed connection. Data without flow-control window is queued
without a limit, and frames are not counted. Here a fault costs one connection, a stalled reader is closed inside the send, a
cancellation breaks the socket first, a connection ends with its peer, and input is metered (`http2_frames`).
"""

import contextlib
import logging
import math
import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import h2.stream
import hpack
import hypercorn.protocol
import hypercorn.protocol.h2
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import RawData
from hypercorn.protocol.events import EndBody
from hypercorn.protocol.h2 import BufferCompleteError, H2Protocol, StreamBuffer
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import filter_pseudo_headers

from ...validators.http2_frames import (
    FrameFlood,
    FrameMeter,
    answer,
    enhance_your_calm,
    first_header_block,
    go_away,
)
from ...validators.limits import Limits
from ...validators.rejection import Rejection
from ..correlation import headers_of
from ..options import JSON
from ..turns import activity, give_way
from .asgi import AsgiApp, AsgiScope, Send, head_of
from .gate import KeysNeeded, Peer
from .quota import CHECKING, NO_HEAD, REFUSED, Seat
from .responses import LINGER_BYTES, LINGER_SECONDS, SAFE_HEADERS, error_body
from .service import Service
from .wire import unread_by_peer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from hypercorn.typing import ASGIFramework, ConnectionState

    from ..options import Headers

_STREAMS: Final = 100
_CLOSE_SECONDS: Final = 1.0
# Time for which requests continue after the peer has disconnected, so that its last notifications arrive (seconds).
_LAST_SECONDS: Final = 1.0
_GOAWAY_BYTES_ADMITTED: Final = 4 * 1024 * 1024

# Turns of the event loop that Hypercorn needs to pass on a request.
_TURNS_FOR_A_REQUEST: Final = 16

# Hypercorn would log the mistakes of peers with tracebacks.
logging.getLogger("hypercorn").addHandler(logging.NullHandler())
logging.getLogger("hypercorn").propagate = False


class _Config(Config):
    """Configuration in which an idle unauthenticated connection ends as soon as one with an unfinished head."""

    def __init__(self, limits: Limits, seat: Seat) -> None:
        super().__init__()
        self._limits = limits
        self._seat = seat

    @property
    def keep_alive_timeout(self) -> float:  # type: ignore[override]  # read only
        """Time that Hypercorn waits for a request (seconds), read each time."""
        return self._limits.keep_alive_seconds if self._seat.principal else self._limits.head_seconds


def _config(service: Service, seat: Seat) -> Config:
    config = _Config(service.limits, seat)
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.include_date_header = True
    config.keep_alive_max_requests = 2**31
    config.h2_max_concurrent_streams = _STREAMS
    config.h2_max_header_list_size = service.limits.header_block
    return config


async def serve_http2(
    service: Service, stream: "trio.SSLStream[trio.SocketStream]", sock: socket.socket, peer: str, seat: Seat
) -> None:
    """Serve one connection that has negotiated `h2`, until either side closes."""
    owned = _OwnedStream(service, stream, sock, peer, seat)
    service.ticker.add(owned)
    app = ASGIWrapper(cast("ASGIFramework", AsgiApp(service, peer, seat, owned)))
    server = TCPServer(
        app,
        _config(service, seat),
        WorkerContext(None),
        cast("ConnectionState", {}),
        cast("trio.SSLStream[trio.SocketStream]", owned),
    )
    owned.reset = partial(_reset, server)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_break_when_cancelled, sock)
            nursery.start_soon(_end_with_peer, owned.over, nursery.cancel_scope)
            nursery.start_soon(owned.go_away, nursery.cancel_scope)
            if await owned.refuse_at_once():
                await owned.receive_some()
            else:
                await server.run()
            nursery.cancel_scope.cancel()
    except* OSError:
        # The peer has disconnected.
        pass
    except* Exception as group:  # noqa: BLE001 - the isolation of connections (see the docstring of this module)
        faults = ", ".join(sorted({type(fault).__name__ for fault in _leaves(group)}))
        service.rate_limited.warning("http2_connection_aborted", peer=peer, fault=faults)
    finally:
        service.ticker.remove(owned)


async def _break_when_cancelled(sock: socket.socket) -> None:
    try:
        await trio.sleep_forever()
    # Wakes a sender that Hypercorn has shielded from the cancellation.
    finally:
        _shut(sock)


async def _end_with_peer(over: trio.Event, scope: trio.CancelScope) -> None:
    await over.wait()
    await trio.sleep(_LAST_SECONDS)
    scope.cancel()


async def _reset(server: TCPServer, send: Send) -> None:
    """Reset the stream of the request that is answered with `send` (RFC 9113 section 6.4), and drop its queued data."""
    stream_id: int = cast("Any", send).__self__.stream_id
    protocol = cast("H2Protocol", cast("Any", server.protocol).protocol)
    buffer = protocol.stream_buffers.get(stream_id)
    if buffer is None:
        return
    await buffer.close()
    with contextlib.suppress(h2.exceptions.ProtocolError):
        protocol.connection.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
    protocol.priority.unblock(stream_id)
    await protocol.has_data.set()
    data = protocol.connection.data_to_send()
    if data:
        await protocol.send(RawData(data=data))


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _leaves(group: BaseExceptionGroup[Exception]) -> "Iterator[BaseException]":
    for fault in group.exceptions:
        if isinstance(fault, BaseExceptionGroup):
            yield from _leaves(fault)
        else:
            yield fault


def refused_head(
    service: Service, block: bytes, is_foreign: "Callable[[], bool]", peer: Peer
) -> tuple[bytes, bytes, Rejection] | None:
    """Return the encoded head, the body and the Rejection of a first request that the gate refuses, else None."""
    try:
        fields = [(bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(block, raw=True)]
    except hpack.HPACKError:
        # Hypercorn ends the connection.
        return None
    named = dict(fields)
    if b":method" not in named or b":path" not in named:
        return None
    path, _, query = named[b":path"].partition(b"?")
    scope: AsgiScope = {
        "method": named[b":method"].decode("latin-1"),
        "path": "",
        "raw_path": path,
        "query_string": query,
        "headers": filter_pseudo_headers(fields),
    }
    gate = service.gate
    cors: Headers = ()
    try:
        head = head_of(scope, service.limits)
        if gate.preflight(head) is None:
            cors = gate.cors(head)
            gate.admit(head, is_foreign, peer)
    except KeysNeeded:
        # The application waits for the keys.
        return None
    except Rejection as rejection:
        body = error_body(rejection)
        headers = [
            (b":status", b"%d" % rejection.status),
            (b"date", service.ticker.date),
            (b"content-type", JSON),
            (b"content-length", b"%d" % len(body)),
            *((name.lower(), value) for name, value in (*SAFE_HEADERS, *headers_of(rejection), *cors)),
        ]
        return (hpack.Encoder().encode(headers), b"" if scope["method"] == "HEAD" else body, rejection)
    return None


class _Buffer(StreamBuffer):
    """The unsent data of one HTTP/2 stream, whose writer waits until it is sent.

    Hypercorn's own class wakes its writer at each look into the buffer, even where the window allows no data.
    """

    async def push(self, data: bytes) -> None:
        """Add data, and wait until all of it is sent or the stream is closed."""
        if self._complete:
            raise BufferCompleteError
        self.buffer.extend(data)
        await self._is_empty.clear()
        await self._is_empty.wait()


hypercorn.protocol.h2.StreamBuffer = _Buffer  # type: ignore[misc]  # replaced on purpose


_track_content_length = h2.stream.H2Stream._track_content_length  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def _count_body(self: h2.stream.H2Stream, length: int, end_stream: bool) -> None:  # noqa: FBT001 - signature of h2
    """Count the bytes of a body; `_Protocol` compares them with its Content-Length.

    h2 would end the connection at a difference, with all its requests. RFC 9113 section 8.1.1 ends the stream.
    """
    if self.config.client_side:
        _track_content_length(self, length, end_stream)
    else:
        self._actual_content_length += length  # pyright: ignore[reportPrivateUsage]  # the counter of h2


h2.stream.H2Stream._track_content_length = _count_body  # type: ignore[method-assign] # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


class _Protocol(H2Protocol):
    """H2Protocol that handles CONNECT, and bodies that continue after the response."""

    async def initiate(
        self, headers: list[tuple[bytes, bytes]] | None = None, settings: bytes | None = None
    ) -> None:
        """Send the settings without extended CONNECT (RFC 8441), because WebSocket is served over HTTP/1.1 only."""
        del self.connection.local_settings[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL]
        await super().initiate(headers, settings)

    async def _create_stream(self, request: h2.events.RequestReceived) -> None:
        # CONNECT has no path (RFC 9113 section 8.5).
        if all(name != b":path" for name, _ in request.headers):
            request.headers = [*request.headers, (b":path", b"/")]
        await super()._create_stream(request)

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
                # The request was answered, and Hypercorn has dropped its state and would raise.
                with contextlib.suppress(h2.exceptions.ProtocolError):
                    self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(
                event, h2.events.DataReceived | h2.events.StreamEnded
            ) and self._has_another_length(event):
                await self._end_body(event)
            else:
                await super()._handle_events([event])
        await self._flush()

    def _has_another_length(self, event: h2.events.DataReceived | h2.events.StreamEnded) -> bool:
        """Return whether the body differs from its Content-Length (RFC 9113 section 8.1.1)."""
        stream = self.connection.streams.get(event.stream_id)
        if stream is None:
            return False
        expected, actual = stream._expected_content_length, stream._actual_content_length  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        if expected is None:
            return False
        return actual > expected or (isinstance(event, h2.events.StreamEnded) and actual != expected)

    async def _end_body(self, event: h2.events.DataReceived | h2.events.StreamEnded) -> None:
        """Reset the stream of a malformed request, or send the rest of a response that has begun.

        HAProxy ends a body at once, whatever its length, when the response comes first.
        """
        stream_id = event.stream_id
        if isinstance(event, h2.events.DataReceived):
            self.connection.acknowledge_received_data(event.flow_controlled_length, stream_id)
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        if cast("HTTPStream", stream).state != ASGIHTTPState.REQUEST:
            await stream.handle(EndBody(stream_id=stream_id))
            return
        self.connection.reset_stream(stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)
        await self._close_stream(stream_id)
        await self._window_updated(stream_id)

    async def _close_stream(self, stream_id: int) -> None:
        await super()._close_stream(stream_id)
        stream = self.connection.streams.get(stream_id)
        if stream is not None and stream.state_machine.state == h2.stream.StreamState.HALF_CLOSED_LOCAL:
            # The response is complete, and the rest of the request is not needed (RFC 9113 section 8.1).
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.connection.reset_stream(stream_id, h2.errors.ErrorCodes.NO_ERROR)
                await self._flush()


hypercorn.protocol.H2Protocol = _Protocol  # type: ignore[attr-defined]  # replaced on purpose
# A CONNECT is a request that the gate refuses. Hypercorn would open a WebSocket.
hypercorn.protocol.h2.WSStream = HTTPStream  # type: ignore[attr-defined, assignment]


class _OwnedStream:
    """The TLS stream after its handshake, with a time limit for each send. `over` is set when the peer has closed."""

    def __init__(
        self,
        service: Service,
        stream: "trio.SSLStream[trio.SocketStream]",
        sock: socket.socket,
        peer: str,
        seat: Seat,
    ) -> None:
        self.broken = False
        self.progress = 0
        # Reset one stream (asgi.Line).
        self.reset: Callable[[Send], Awaitable[None]]
        self.over = trio.Event()
        self._service = service
        self._stream = stream
        self._sock = sock
        self._peer = peer
        self._seat = seat
        self._stall_seconds = service.limits.write_stall_seconds
        # Since when the peer has read nothing of the data being sent (seconds), and the unread bytes in the kernel.
        self._since = math.inf
        self._unread: int = 0
        self._meter = FrameMeter()
        self._sending = trio.Lock()
        # Received data, and how much of it was passed to Hypercorn.
        self._received = b""
        self._at = 0
        # The last frames to send, and their event. After that, received data is dropped.
        self._last_frames = b""
        self._ending = trio.Event()
        self._to_drop = LINGER_BYTES

    @property
    def sock(self) -> socket.socket:
        """The socket below TLS (asgi.Line)."""
        return self._sock

    @property
    def transport_stream(self) -> trio.abc.Stream:
        """The stream that Hypercorn reads the addresses from."""
        return self._stream.transport_stream

    async def do_handshake(self) -> None:
        """Return: the handshake preceded the choice of the protocol."""
        await trio.lowlevel.checkpoint()

    def selected_alpn_protocol(self) -> str:
        """Return the negotiated protocol."""
        return "h2"

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some frames, or nothing at the end. Raises trio.BrokenResourceError."""
        await self._wait_for_gate()
        while True:
            if self._at < len(self._received) and not self._last_frames:
                await give_way(self._seat.principal)
                if piece := self._piece():
                    return piece
                continue
            data = await self._receive(max_bytes)
            if not data:
                return b""
            if self._last_frames:
                self._to_drop -= len(data)
                if self._to_drop <= 0:
                    self.abort()
            else:
                self._received, self._at = data, 0

    async def refuse_at_once(self) -> bool:
        """Read the first input, and send the response to its first request if the gate refuses it.

        Hypercorn takes ten times as long, which would slow down all clients in a flood of refused connections. Returns
        False where Hypercorn must serve the connection.
        """
        with trio.move_on_after(self._service.limits.head_seconds) as timeout:
            self._received = await self._receive(None)
        if timeout.cancelled_caught:
            self.abort()
            return True
        found = first_header_block(self._received)
        refused = found and refused_head(self._service, found[1], self._seat.is_foreign, self._seat.client)
        if not found or not refused:
            return False
        stream, (block, body, rejection) = found[0], refused
        self._service.refusals.count(rejection, self._peer)
        self._seat.set_state(REFUSED)
        self._end(answer(stream, block, body) + go_away(stream))
        return True

    async def _wait_for_gate(self) -> None:
        # The gate checks each unauthenticated request before the next is read.
        for _ in range(_TURNS_FOR_A_REQUEST):
            await trio.lowlevel.checkpoint()
            if self._seat.principal or self._seat.state != CHECKING:
                return
        self._seat.set_state(NO_HEAD)

    def _piece(self) -> bytes:
        meter, seat = self._meter, self._seat
        meter.admitted = bool(seat.principal)
        heads = meter.heads
        try:
            end = meter.cut(self._received, self._at, trio.current_time(), few=activity.several)
        except FrameFlood as flood:
            self._service.refusals.note(f"http2_{flood.name}", self._peer)
            self._end(enhance_your_calm(meter.last_stream))
            return b""
        if meter.heads > heads:
            seat.set_state(CHECKING)
        piece = self._received[self._at : end]
        self._at = end
        return piece

    async def _receive(self, max_bytes: int | None) -> bytes:
        data = b""
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        finally:
            if not data:
                self.over.set()
        return data

    def refuse(self) -> None:
        """Close the connection, because an unauthenticated request on it was refused (asgi.Line)."""
        self._seat.set_state(REFUSED)
        self._end(go_away(self._meter.last_stream))

    def _end(self, last_frames: bytes) -> None:
        if not self._last_frames:
            self._last_frames = last_frames
            if self._seat.principal:
                self._to_drop = _GOAWAY_BYTES_ADMITTED
            self._received = b""
            self._ending.set()

    async def go_away(self, scope: trio.CancelScope) -> None:
        """Wait until this side ends the connection; then send GOAWAY and give the peer time to read it."""
        await self._ending.wait()
        with trio.move_on_after(LINGER_SECONDS), contextlib.suppress(trio.BrokenResourceError):
            async with self._sending:
                await self._stream.send_all(self._last_frames)
        self.broken = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        with trio.move_on_after(LINGER_SECONDS):
            await self.over.wait()
        scope.cancel()

    async def send_all(self, data: bytes) -> None:
        """Send all data. Raises trio.BrokenResourceError, also when the peer does not read for too long."""
        self._meter.sent()
        await give_way(self._seat.principal)
        try:
            async with self._sending:
                if self.broken:
                    raise trio.BrokenResourceError
                self._since = trio.current_time()
                await self._stream.send_all(data)
                self._since = math.inf
        except trio.BrokenResourceError:
            if not self._last_frames:
                self.abort()
            raise

    def tick(self, now: float) -> None:
        """Check whether the peer reads what is sent (ticker.Ticking)."""
        if self._since == math.inf or self.broken:
            return
        unread = unread_by_peer(self._sock)
        if unread != self._unread:
            self._unread, self._since = unread, now
        elif now - self._since > self._stall_seconds:
            self.abort()

    def abort(self) -> None:
        """Close the connection at once (asgi.Line)."""
        self.broken = True
        # Wakes Hypercorn's reader.
        _shut(self._sock)

    async def aclose(self) -> None:
        """Close the TLS connection, if the peer still reads."""
        if self._last_frames:
            await trio.lowlevel.checkpoint()
            return
        with trio.move_on_after(_CLOSE_SECONDS):
            try:
                await self._stream.aclose()
            except (trio.BrokenResourceError, ssl.SSLError, OSError):
                return
