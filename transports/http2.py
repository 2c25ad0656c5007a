"""HTTP/2 by Hypercorn, each connection in a guard of its own.

Only Hypercorn's `TCPServer` is used, on a stream that we own: its accept loop dies of inputs that any peer can send,
its sends are shielded without a time limit, an unread body blocks it, an answer to a peer that is gone waits for ever, and
what a peer gives no room for is held without a limit (each is a regression test of ours). Here a fault costs one
connection, a stalled reader is cut off inside the send, a cancellation breaks the socket first, and a connection ends
with its peer.
"""

import contextlib
import logging
import socket
import ssl
from typing import TYPE_CHECKING, Final, cast

import hypercorn.protocol.h2
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.protocol.h2 import BufferCompleteError, StreamBuffer
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from ..validators.limits import Limits
from .asgi import AsgiApp
from .http1 import Seat, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypercorn.typing import ASGIFramework, ConnectionState

_STREAMS: Final = 100
_CLOSE_SECONDS: Final = 1.0
# How long what a peer has asked may go on after it has left, so that what it only said still arrives, in seconds.
_LAST_SECONDS: Final = 1.0

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
    owned = _OwnedStream(stream, sock, service.limits.write_stall_seconds)
    app = ASGIWrapper(cast("ASGIFramework", AsgiApp(service, peer, seat, owned)))
    server = TCPServer(
        app,
        _config(service, seat),
        WorkerContext(None),
        cast("ConnectionState", {}),
        cast("trio.SSLStream[trio.SocketStream]", owned),
    )
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_break_when_cancelled, sock)
            nursery.start_soon(_end_with_peer, owned.over, nursery.cancel_scope)
            await server.run()
            nursery.cancel_scope.cancel()
    except* OSError:
        pass  # the peer is gone
    except* Exception as group:  # noqa: BLE001 - the guard (see the module's docstring)
        faults = ", ".join(sorted({type(fault).__name__ for fault in _leaves(group)}))
        service.seldom.warning("HTTP/2 gave up a connection", peer=peer, fault=faults)


async def _break_when_cancelled(sock: socket.socket) -> None:
    try:
        await trio.sleep_forever()
    finally:  # wakes a sender that Hypercorn has shielded from the cancellation
        _shut(sock)


async def _end_with_peer(over: trio.Event, scope: trio.CancelScope) -> None:
    await over.wait()
    await trio.sleep(_LAST_SECONDS)
    scope.cancel()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _leaves(group: BaseExceptionGroup[Exception]) -> "Iterator[BaseException]":
    for fault in group.exceptions:
        if isinstance(fault, BaseExceptionGroup):
            yield from _leaves(fault)
        else:
            yield fault


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


class _OwnedStream:
    """The TLS stream after its handshake, with a time limit inside each send. `over` is set when the peer has left."""

    def __init__(
        self, stream: "trio.SSLStream[trio.SocketStream]", sock: socket.socket, stall_seconds: float
    ) -> None:
        self.broken = False
        self.over = trio.Event()
        self._stream = stream
        self._sock = sock
        self._stall_seconds = stall_seconds

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
        """Some bytes, or none at the end. Raises trio.BrokenResourceError."""
        data = b""
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        finally:
            if not data:
                self.over.set()
        return data

    async def send_all(self, data: bytes) -> None:
        """All of the data. Raises trio.BrokenResourceError, also when the peer does not read for too long."""
        try:
            with trio.fail_after(self._stall_seconds):
                await self._stream.send_all(data)
        except (trio.TooSlowError, trio.BrokenResourceError):
            self.cut()
            raise trio.BrokenResourceError from None

    def cut(self) -> None:
        """End it now (asgi.Line)."""
        self.broken = True
        _shut(self._sock)  # wakes Hypercorn's reader

    async def aclose(self) -> None:
        """Say goodbye where the peer still listens."""
        with trio.move_on_after(_CLOSE_SECONDS):
            try:
                await self._stream.aclose()
            except (trio.BrokenResourceError, ssl.SSLError, OSError):
                return
