"""MCP over WebSocket (specification digest, section 5.2): subprotocol `mcp`, one text message is one JSON-RPC message.

One connection is one session and its loss ends it. trio-websocket carries it, on a connection that has passed the gate
and behind a `FrameGuard`; what the library is given as a handshake is written anew from the head we have checked.
"""

from typing import TYPE_CHECKING, Final

import trio

from ..validators.envelope import decode, error, readable_id
from ..validators.limits import Limits
from ..validators.rejection import Rejection
from ..validators.ws_frames import FrameGuard, check_upgrade
from .outlet import GONE, OPEN, OVERFLOWED, Outlet
from .ports import Backend, Conversation, Exchange, Hijacked, Log
from .streamable import method_not_allowed

if TYPE_CHECKING:
    from trio_websocket import WebSocketConnection

_HANDSHAKE: Final = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mcp\r\n\r\n"
)
_READ: Final = 64 * 1024
_NORMAL: Final = 1000
_INTERNAL: Final = 1011
_TRY_LATER: Final = 1013


class WebSocket:
    """The endpoint `/ws` of one server."""

    def __init__(self, backend: Backend, limits: Limits, log: Log) -> None:
        self._backend = backend
        self._limits = limits
        self._log = log

    async def __call__(self, exchange: Exchange) -> None:
        """Upgrade and serve one connection until either side leaves. Raises Rejection before the upgrade only."""
        head = exchange.head
        if head.method != "GET":
            raise method_not_allowed(b"GET")
        check_upgrade(head.headers, head.upgrade, head.version)
        outlet = Outlet(self._limits)  # not the exchange's: here reading and writing wait at the same time
        conversation = await self._backend.open(exchange.principal, outlet)
        try:
            exchange.attend(outlet, to_the_end=True)
            handshake = _HANDSHAKE.format(key=head.headers["sec-websocket-key"]).encode("ascii")
            await self._serve(
                _GuardedStream(exchange.hijack(), handshake, self._limits), conversation, outlet
            )
        finally:
            conversation.end("the client closed its WebSocket")

    async def _serve(self, stream: "_GuardedStream", conversation: Conversation, outlet: Outlet) -> None:
        # Imported late: a bridge that nobody speaks WebSocket to starts faster and stays smaller.
        from trio_websocket import ConnectionClosed, HandshakeError, wrap_server_stream  # noqa: PLC0415

        try:
            async with trio.open_nursery() as nursery:  # of its own: the library's reader raises into it
                request = await wrap_server_stream(
                    nursery,
                    stream,  # type: ignore[arg-type]
                    max_message_size=self._limits.body,
                    receive_buffer_size=_READ,
                )
                socket = await request.accept(subprotocol="mcp")
                nursery.start_soon(_Talk(socket, conversation, outlet, self._limits, self._log).send)
                await _Talk(socket, conversation, outlet, self._limits, self._log).receive()
                nursery.cancel_scope.cancel()
        except* (ConnectionClosed, HandshakeError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client is gone, one way or the other


class _Talk:
    """Both directions of an open WebSocket."""

    def __init__(
        self,
        socket: "WebSocketConnection",
        conversation: Conversation,
        outlet: Outlet,
        limits: Limits,
        log: Log,
    ) -> None:
        self._socket = socket
        self._conversation = conversation
        self._outlet = outlet
        self._limits = limits
        self._log = log
        self._unanswered = False

    async def receive(self) -> None:
        from trio_websocket import ConnectionClosed  # noqa: PLC0415

        while True:
            try:
                message = await self._socket.get_message()
            except ConnectionClosed:
                return
            text = message.encode() if isinstance(message, str) else message
            try:
                self._conversation.receive(decode(text, self._limits), None)
            except Rejection as rejection:
                self._refuse(text, rejection)

    def _refuse(self, text: bytes, rejection: Rejection) -> None:
        raw_id = readable_id(text)
        if raw_id == b"null":  # an error without an id would break half of the clients (digest 1.3)
            self._log.info("dropped a message of a client", reason=rejection.text)
        else:
            self._outlet.put(error(raw_id, rejection.code, rejection.text))

    async def send(self) -> None:
        outlet = self._outlet
        async with trio.open_nursery() as nursery:
            while True:
                item = outlet.take()
                if item is not None:
                    await self._socket.send_message(item[1].decode())
                elif outlet.beat:
                    outlet.beat = False
                    if not self._unanswered:
                        self._unanswered = True
                        nursery.start_soon(self._ping)
                elif outlet.state != OPEN:
                    break
                else:
                    await outlet.wait()
            if outlet.state != GONE:
                code = _TRY_LATER if outlet.state == OVERFLOWED else _NORMAL
                await self._socket.aclose(code, "the queue is full" if code == _TRY_LATER else None)
            nursery.cancel_scope.cancel()

    async def _ping(self) -> None:
        with trio.move_on_after(2 * self._limits.heartbeat_seconds) as patience:
            await self._socket.ping()
        self._unanswered = False
        if patience.cancelled_caught:
            self._log.info("a client does not answer pings", seconds=2 * self._limits.heartbeat_seconds)
            with trio.move_on_after(1):
                await self._socket.aclose(_INTERNAL, "no pong")
            self._outlet.leave()


class _GuardedStream:
    """The connection as the library sees it: first our handshake, then what the guard lets through."""

    def __init__(self, stream: Hijacked, handshake: bytes, limits: Limits) -> None:
        self._stream = stream
        self._first = handshake
        self._guard = FrameGuard(limits.body)
        self._broken = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        if self._broken:
            return b""
        data = await self._stream.receive_some(max_bytes)
        code = self._guard.feed(data, trio.current_time())
        if code:
            self._broken = True
            await self._stream.send_all(b"\x88\x02" + code.to_bytes(2, "big"))
            return b""
        return data

    async def send_all(self, data: bytes) -> None:
        if self._broken:
            raise trio.BrokenResourceError
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await self._stream.aclose()
        await trio.lowlevel.checkpoint()
