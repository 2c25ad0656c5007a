"""HTTP/2 by Hypercorn, each connection in a guard of its own.

Only Hypercorn's `TCPServer` is used, on a stream that we own: its accept loop dies of inputs that any peer can send,
its sends are shielded without a time limit, an unread body blocks it, an answer to a peer that is gone waits for ever, and
what a peer gives no room for is held without a limit, and frames cost nothing (each is a regression test of ours). Here a
fault costs one connection, a stalled reader is cut off inside the send, a cancellation breaks the socket first, a
connection ends with its peer, and what a client sends is counted and handed on in small pieces (`h2_frames`).
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

from ...validators.http2_frames import FrameFlood, FrameMeter, answer, calm_down, first_head, no_more
from ...validators.limits import Limits
from ...validators.rejection import Rejection
from ..options import JSON
from .asgi import AsgiApp, AsgiScope, Send, head_of
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
# How long what a peer has asked may go on after it has left, so that what it only said still arrives, in seconds.
_LAST_SECONDS: Final = 1.0
_GOAWAY_BYTES_ADMITTED: Final = 4 * 1024 * 1024

# Turns of the loop in which Hypercorn hands on a request.
_TURNS_FOR_A_REQUEST: Final = 16

# Hypercorn would tell the peer's mistakes with tracebacks; ours is the only log.
logging.getLogger("hypercorn").addHandler(logging.NullHandler())
logging.getLogger("hypercorn").propagate = False


class _Config(Config):
    """With which an idle connection of nobody ends as soon as one that does not finish its first head."""

    def __init__(self, limits: Limits, seat: Seat) -> None:
        super().__init__()
        self._limits = limits
        self._seat = seat

    @property
    def keep_alive_timeout(self) -> float:  # type: ignore[override]
        """How long Hypercorn waits for a request, in seconds; it asks each time."""
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
    """Serve one connection on which `h2` was negotiated, until either side leaves."""
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
        pass  # the peer is gone
    except* Exception as group:  # noqa: BLE001 - the guard (see the module's docstring)
        faults = ", ".join(sorted({type(fault).__name__ for fault in _leaves(group)}))
        service.rate_limited.warning("HTTP/2 gave up a connection", peer=peer, fault=faults)
    finally:
        service.ticker.remove(owned)


async def _break_when_cancelled(sock: socket.socket) -> None:
    try:
        await trio.sleep_forever()
    finally:  # wakes a sender that Hypercorn has shielded from the cancellation
        _shut(sock)


async def _end_with_peer(over: trio.Event, scope: trio.CancelScope) -> None:
    await over.wait()
    await trio.sleep(_LAST_SECONDS)
    scope.cancel()


async def _reset(server: TCPServer, send: Send) -> None:
    """Reset the stream whose answer is sent with this (RFC 9113, section 6.4), and drop what waits on it."""
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
    service: Service, block: bytes, is_foreign: "Callable[[], bool]"
) -> tuple[bytes, bytes, Rejection] | None:
    """Return the encoded head and the body of the answer to a request that the gate refuses, and why; None for others."""
    try:
        fields = [(bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(block, raw=True)]
    except hpack.HPACKError:
        return None  # Hypercorn ends the connection
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
            gate.admit(head, is_foreign)
    except Rejection as rejection:
        body = error_body(rejection)
        headers = [
            (b":status", b"%d" % rejection.status),
            (b"date", service.ticker.date),
            (b"content-type", JSON),
            (b"content-length", b"%d" % len(body)),
            *((name.lower(), value) for name, value in (*SAFE_HEADERS, *rejection.headers, *cors)),
        ]
        return (
            hpack.Encoder().encode(headers),
            b"" if scope["method"] == "HEAD" else body,
            rejection,
        )
    return None


class _Buffer(StreamBuffer):
    """What one HTTP/2 stream still has to be sent, which whoever puts something in waits for.

    Hypercorn's own lets its writer go on each time that it was looked into, also where nothing could be taken out.
    """

    async def push(self, data: bytes) -> None:
        """Put in, and wait until the peer has given room for all of it, or is gone."""
        if self._complete:
            raise BufferCompleteError
        self.buffer.extend(data)
        await self._is_empty.clear()
        await self._is_empty.wait()


hypercorn.protocol.h2.StreamBuffer = _Buffer  # type: ignore[misc]


_track_content_length = h2.stream.H2Stream._track_content_length  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def _count_body(self: h2.stream.H2Stream, length: int, end_stream: bool) -> None:  # noqa: FBT001 - h2's
    """Count the bytes of a body without comparing them with its Content-Length, which `_Protocol` does.

    h2 ends the connection where they differ, with all other requests on it; RFC 9113 section 8.1.1 has the stream end.
    """
    if self.config.client_side:
        _track_content_length(self, length, end_stream)
    else:
        self._actual_content_length += length  # pyright: ignore[reportPrivateUsage]


h2.stream.H2Stream._track_content_length = _count_body  # type: ignore[method-assign] # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


class _Protocol(H2Protocol):
    """Hypercorn's, for a client that sends more of a body than was waited for, or CONNECT."""

    async def initiate(
        self, headers: list[tuple[bytes, bytes]] | None = None, settings: bytes | None = None
    ) -> None:
        """Send the settings, without the offer of extended CONNECT (RFC 8441): WebSocket is served over HTTP/1.1."""
        del self.connection.local_settings[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL]
        await super().initiate(headers, settings)

    async def _create_stream(self, request: h2.events.RequestReceived) -> None:
        if all(name != b":path" for name, _ in request.headers):  # CONNECT has none (RFC 9113 section 8.5)
            request.headers = [*request.headers, (b":path", b"/")]
        await super()._create_stream(request)

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
                # Of a request that was answered: an exception in Hypercorn, which forgets a request with its answer.
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
        """Reset the stream of a malformed request, or send the rest of an answer that has begun.

        HAProxy ends a body at once, whatever its length, when the answer comes first.
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
            # The answer is complete, and the rest of the request is not wanted (RFC 9113 section 8.1).
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.connection.reset_stream(stream_id, h2.errors.ErrorCodes.NO_ERROR)
                await self._flush()


hypercorn.protocol.H2Protocol = _Protocol  # type: ignore[attr-defined]
# A CONNECT is a request like any other, which the gate refuses. Hypercorn would make a WebSocket of it.
hypercorn.protocol.h2.WSStream = HTTPStream  # type: ignore[attr-defined, assignment]


class _OwnedStream:
    """The TLS stream after its handshake, with a time limit inside each send. `over` is set when the peer has left."""

    def __init__(
        self,
        service: Service,
        stream: "trio.SSLStream[trio.SocketStream]",
        sock: socket.socket,
        peer: str,
        seat: Seat,
    ) -> None:
        self.broken = False
        self.moved = 0
        self.reset: Callable[[Send], Awaitable[None]]  # asgi.Line
        self.over = trio.Event()
        self._service = service
        self._stream = stream
        self._sock = sock
        self._peer = peer
        self._seat = seat
        self._stall_seconds = service.limits.write_stall_seconds
        # Since when the peer takes nothing of what is being sent (seconds), and how much of it the kernel holds (bytes).
        self._since = math.inf
        self._unread: int = 0
        self._meter = FrameMeter()
        self._sending = trio.Lock()
        # What was received and not handed on, and how much of it was.
        self._received = b""
        self._at = 0
        # The last frame to send, and the event of it: from then on what is received is dropped.
        self._goodbye = b""
        self._ending = trio.Event()
        self._to_drop = LINGER_BYTES

    @property
    def sock(self) -> socket.socket:
        """The socket under TLS (asgi.Line)."""
        return self._sock

    @property
    def transport_stream(self) -> trio.abc.Stream:
        """What Hypercorn asks for the addresses."""
        return self._stream.transport_stream

    async def do_handshake(self) -> None:
        """It was done before the protocol could be known."""
        await trio.lowlevel.checkpoint()

    def selected_alpn_protocol(self) -> str:
        """Why we are here."""
        return "h2"

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Some frames, or nothing at the end. Raises trio.BrokenResourceError."""
        await self._let_others_run()
        while True:
            if self._at < len(self._received) and not self._goodbye:
                if piece := self._piece():
                    return piece
                continue
            data = await self._receive(max_bytes)
            if not data:
                return b""
            if self._goodbye:
                self._to_drop -= len(data)
                if self._to_drop <= 0:
                    self.cut()
            else:
                self._received, self._at = data, 0

    async def refuse_at_once(self) -> bool:
        """Read what the client sends first, and answer its first request if the gate refuses it.

        Hypercorn takes ten times as long for that, which a flood of refused connections would make all others feel.
        Returns False where Hypercorn has to go on.
        """
        with trio.move_on_after(self._service.limits.head_seconds) as patience:
            self._received = await self._receive(None)
        if patience.cancelled_caught:
            self.cut()
            return True
        found = first_head(self._received)
        refused = found and refused_head(self._service, found[1], self._seat.is_foreign)
        if not found or not refused:
            return False
        stream, (block, body, rejection) = found[0], refused
        self._service.refusals.count(rejection, self._peer)
        self._seat.set_state(REFUSED)
        self._end(answer(stream, block, body) + no_more(stream))
        return True

    async def _let_others_run(self) -> None:
        # Without a credential a request has to be judged before the next one is read.
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
            end = meter.cut(self._received, self._at, trio.current_time())
        except FrameFlood as flood:
            self._service.refusals.note(f"http2_{flood.name}", self._peer)
            self._end(calm_down(meter.last_stream))
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
        """End the connection, because it has no credential and a request on it was refused (asgi.Line)."""
        self._seat.set_state(REFUSED)
        self._end(no_more(self._meter.last_stream))

    def _end(self, goodbye: bytes) -> None:
        if not self._goodbye:
            self._goodbye = goodbye
            if self._seat.principal:
                self._to_drop = _GOAWAY_BYTES_ADMITTED
            self._received = b""
            self._ending.set()

    async def go_away(self, scope: trio.CancelScope) -> None:
        """Wait for the end of the connection by our side; then say so, stop what was asked on it, and let the peer read."""
        await self._ending.wait()
        with trio.move_on_after(LINGER_SECONDS), contextlib.suppress(trio.BrokenResourceError):
            async with self._sending:
                await self._stream.send_all(self._goodbye)
        self.broken = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        with trio.move_on_after(LINGER_SECONDS):
            await self.over.wait()
        scope.cancel()

    async def send_all(self, data: bytes) -> None:
        """All of the data. Raises trio.BrokenResourceError, also when the peer does not read for too long."""
        self._meter.sent()
        try:
            async with self._sending:
                if self.broken:
                    raise trio.BrokenResourceError
                self._since = trio.current_time()
                await self._stream.send_all(data)
                self._since = math.inf
        except trio.BrokenResourceError:
            if not self._goodbye:
                self.cut()
            raise

    def tick(self, now: float) -> None:
        """Look whether the peer takes something of what is sent (pulse.Ticking)."""
        if self._since == math.inf or self.broken:
            return
        unread = unread_by_peer(self._sock)
        if unread != self._unread:
            self._unread, self._since = unread, now
        elif now - self._since > self._stall_seconds:
            self.cut()

    def cut(self) -> None:
        """End it now (asgi.Line)."""
        self.broken = True
        _shut(self._sock)  # wakes Hypercorn's reader

    async def aclose(self) -> None:
        """Say goodbye where the peer still listens."""
        if self._goodbye:
            await trio.lowlevel.checkpoint()
            return
        with trio.move_on_after(_CLOSE_SECONDS):
            try:
                await self._stream.aclose()
            except (trio.BrokenResourceError, ssl.SSLError, OSError):
                return
