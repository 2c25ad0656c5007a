"""The same endpoints behind any ASGI 3 server; here it is Hypercorn, for HTTP/2.

The head of a request is written out and read again by our own grammar, so that nothing passes here that would not pass
on HTTP/1.1. What a request's body holds beyond its answer is drained within bounds: an unread body would block, or
crash, the server underneath (see http2).
"""

import contextlib
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

import trio

from ...validators.http_body import check_length
from ...validators.http_head import Head, parse_head
from ...validators.incremental_json import Gathering
from ...validators.limits import Limits
from ...validators.rejection import INVALID_REQUEST, Rejection
from ..client_process import Caller
from ..options import ANONYMOUS, JSON, Headers
from ..ports import UpgradedStream
from ..send_queue import SendQueue
from ..ticker import TICK
from .quota import NO_HEAD, REFUSED, Seat
from .responses import (
    DRAIN_BODIES,
    LINGER_BYTES,
    LINGER_SECONDS,
    SAFE_HEADERS,
    STREAM_HEADERS,
    error_body,
    internal_error,
    too_slow_body,
)
from .service import Service

AsgiScope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# How long an answered request's body is still read, in seconds, and how much of it, in times of `limits.body`.
_DRAIN_SECONDS: Final = 5.0
# An answer is sent in pieces of this size, so that the progress of a slow peer is seen (bytes).
_PIECE: Final = 64 * 1024
_LINE_ENDS: Final = frozenset(b"\r\n\0")


class Line(Protocol):
    """The connection that carries the requests. `moved` counts the pieces that its peer has taken, of any request."""

    moved: int

    @property
    def broken(self) -> bool:
        """Whether what is sent goes nowhere."""
        ...

    @property
    def sock(self) -> socket.socket:
        """The socket under it."""
        ...

    def cut(self) -> None:
        """End it: its peer does not read."""
        ...

    def refuse(self) -> None:
        """End it: it has no credential, and a request on it was refused."""
        ...

    def reset(self, send: Send, /) -> Awaitable[None]:
        """End the one request that is answered with this."""
        ...


class AsgiApp:
    """An ASGI application that serves what one listener serves, to one connection."""

    def __init__(self, service: Service, peer: str, seat: Seat, line: Line) -> None:
        self._service = service
        self._line = line
        self._peer = peer
        self._seat = seat
        self._caller = Caller(line.sock)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve one request. Nothing but HTTP is spoken here."""
        if scope["type"] != "http":
            return
        async with trio.open_nursery() as nursery:
            exchange = AsgiExchange(
                self._service, receive, send, nursery, self._peer, self._line, self._caller
            )
            exchange.has_body = scope["method"] != "CONNECT"
            try:
                await self._answer(scope, exchange)
            finally:
                exchange.let_go()
            nursery.cancel_scope.cancel()
        await exchange.finish()
        if not exchange.admitted and not self._seat.principal:
            self._line.refuse()

    async def _answer(self, scope: AsgiScope, exchange: "AsgiExchange") -> None:
        try:
            await self._serve(scope, exchange)
        except Rejection as rejection:
            if not exchange.admitted:
                self._seat.set_state(REFUSED)
            await exchange.refuse(rejection)
        except OSError:
            pass  # the peer is gone
        except Exception as fault:  # noqa: BLE001 - the boundary of one request
            self._service.log.error("internal error", peer=self._peer, fault=fault)
            await exchange.refuse(internal_error())

    async def _serve(self, scope: AsgiScope, exchange: "AsgiExchange") -> None:
        gate = self._service.gate
        head = exchange.head = head_of(scope, self._service.limits)
        preflight = gate.preflight(head)
        if preflight is not None:
            exchange.admitted = True
            self._seat.set_state(NO_HEAD)
            await exchange.answer(204, b"", b"", preflight)
            return
        exchange.cors = gate.cors(head)
        principal = gate.admit(head, self._seat.is_foreign)
        self._seat.identify(principal)
        self._seat.set_state(NO_HEAD)
        exchange.principal, exchange.admitted = principal, True
        await self._service.route(head, exchange.principal)(exchange)


def head_of(scope: AsgiScope, limits: Limits) -> Head:
    """The head of an ASGI request, through the grammar of HTTP/1.1. Raises Rejection."""
    target: bytes = scope.get("raw_path") or scope["path"].encode()
    if target[:1] != b"/" and target != b"*":
        raise Rejection(400, INVALID_REQUEST, ":path must begin with /")
    query: bytes = scope["query_string"]
    if query:
        target += b"?" + query
    lines = [b"%b %b HTTP/1.1" % (scope["method"].encode("latin-1"), target)]
    lines += [b"%b: %b" % (name, value) for name, value in scope["headers"] if name != b"transfer-encoding"]
    if any(not _LINE_ENDS.isdisjoint(line) for line in lines):
        raise Rejection(400, INVALID_REQUEST, "a header field holds a line end")
    return parse_head(b"\r\n".join(lines) + b"\r\n\r\n", limits)


class AsgiExchange:
    """One request and its answer over ASGI (ports.Exchange)."""

    def __init__(
        self,
        service: Service,
        receive: Receive,
        send: Send,
        nursery: trio.Nursery,
        peer: str,
        line: Line,
        caller: Caller,
    ) -> None:
        self.caller = caller
        self.head: Head
        self.principal = ANONYMOUS
        self.admitted = False  # whether the head has passed the gate
        self.cors: Headers = ()
        self.has_body = True
        self._service = service
        self._receive = receive
        self._send = send
        self._body_done = False
        self._answered = False
        self._stalled = False
        self._queue: SendQueue | None = None
        self._watched = False  # whether a task waits for the departure of the client
        self._left = False  # whether that task has seen it
        self._last_sent = 0.0
        self._looked = service.route.generation
        self._nursery = nursery
        self._peer = peer
        self._line = line

    async def read_body(self) -> bytes:
        """The whole body (ports.Exchange)."""
        limits = self._service.limits
        check_length(self.head, limits.body)
        body = Gathering(limits.json_depth)
        with self._service.quota.receiving(self.principal) as count:
            while not self._body_done:
                before = len(body)
                with trio.move_on_after(limits.body_grace_seconds) as grace:
                    while not self._body_done:
                        await self._read_piece(body, count)
                if (
                    grace.cancelled_caught
                    and len(body) - before < limits.body_rate * limits.body_grace_seconds
                ):
                    raise too_slow_body(limits)
        return body.take()

    async def _read_piece(self, body: Gathering, count: Callable[[int], None]) -> None:
        event = await self._receive()
        if event["type"] == "http.disconnect":
            raise ConnectionError("the peer left in the middle of a body")
        piece = event.get("body", b"")
        count(len(piece))
        body.add(piece)
        limit = self._service.limits.body
        if len(body) > limit:
            raise Rejection(413, INVALID_REQUEST, f"a body of more than {limit} bytes, the limit")
        self._body_done = not event.get("more_body", False)

    async def answer(self, status: int, content_type: bytes, body: bytes, headers: Headers = ()) -> None:
        """Send a whole answer (ports.Exchange)."""
        self._answered = True
        if content_type:
            headers += ((b"Content-Type", content_type),)
        if status != 204:
            headers += ((b"Content-Length", b"%d" % len(body)),)
        await self._start(status, SAFE_HEADERS + headers + self.cors)
        # The end of the answer is `finish`, after the body: Hypercorn forgets a request with its answer's end, and what
        # still comes of the body then breaks the connection.
        await self._write(body)

    async def begin_stream(self, headers: Headers = ()) -> None:
        """Send the head of a 200 event stream (ports.Exchange)."""
        self._answered = True
        await self._start(200, STREAM_HEADERS + headers + self.cors)

    async def _start(self, status: int, headers: Headers) -> None:
        lowered = [(name.lower(), value) for name, value in headers]
        await self._say({"type": "http.response.start", "status": status, "headers": lowered})

    async def write(self, data: bytes) -> None:
        """Send a piece of the stream (ports.Exchange)."""
        await self._write(data)
        self._last_sent = self._service.ticker.now

    async def _write(self, data: bytes) -> None:
        for at in range(0, len(data), _PIECE):
            piece = data[at : at + _PIECE]
            await self._say({"type": "http.response.body", "body": piece, "more_body": True})

    def queue(self, *, direct: bool = False) -> SendQueue:  # noqa: ARG002 - Hypercorn sends from one task only
        """An outlet for this request (ports.Exchange)."""
        return SendQueue(self._service.limits)

    def attach(
        self, queue: SendQueue, *, ends_with_client: bool, first_heartbeat: float | None = None
    ) -> None:
        """Heartbeats, and where asked the departure, go to this outlet (ports.Exchange)."""
        self._queue = queue
        self._last_sent = self._service.ticker.now
        if first_heartbeat is not None:
            # As if the last one was sent so long ago. The clock may be a tick behind.
            self._last_sent -= max(0.0, self._service.limits.heartbeat_seconds - first_heartbeat - TICK)
        self._service.ticker.add(self)
        if self._left:
            queue.on_disconnect()
        elif ends_with_client and not self._watched:
            self._watched = True
            self._nursery.start_soon(self._watch)

    async def _watch(self) -> None:
        # One task for a request, whatever outlet it has by then, because Hypercorn reports a disconnect once.
        while (await self._receive())["type"] != "http.disconnect":
            self._body_done = True
        self._left = True
        if self._queue is not None:
            self._queue.on_disconnect()

    def tick(self, now: float) -> None:
        """Look whether a heartbeat is due, and whether the client may still be here (Pulse)."""
        if self._queue is not None and self._looked != self._service.route.generation:
            self._looked = self._service.route.generation
            if self.principal and not self._service.still_admits(self.head, self.principal):
                self._service.log.info("a stream ends with its right", principal=self.principal)
                self._queue.on_disconnect()
        if self._queue is not None and now - self._last_sent >= self._service.limits.heartbeat_seconds:
            self._last_sent = now
            self._queue.heartbeat()

    def upgrade(self) -> UpgradedStream:
        """There is no connection under an HTTP/2 stream to hand over (ports.Exchange)."""
        raise Rejection(400, INVALID_REQUEST, "WebSocket needs HTTP/1.1")

    def count_refusal(self, rejection: Rejection) -> None:
        """Count what is answered with this error (ports.Exchange)."""
        self._service.refusals.count(rejection, self._peer)

    async def refuse(self, rejection: Rejection) -> None:
        """Answer with an error, unless an answer has begun: then the stream just ends."""
        self.count_refusal(rejection)
        if not self._answered:
            await self.answer(rejection.status, JSON, error_body(rejection), rejection.headers)

    def let_go(self) -> None:
        """Nothing more is written, whatever still comes."""
        self._service.ticker.remove(self)
        if self._queue is not None:
            self._queue.on_disconnect()

    async def finish(self) -> None:
        """Read what is left of the body, so that it cannot hurt, and end the answer."""
        if self._stalled:
            return
        self._body_done = self._body_done or not self.has_body
        seconds, left = LINGER_SECONDS, LINGER_BYTES
        if self.principal:
            seconds, left = _DRAIN_SECONDS, DRAIN_BODIES * self._service.limits.body
        with trio.move_on_after(seconds):
            while not self._body_done and left > 0:
                event = await self._receive()
                left -= len(event.get("body", b""))
                self._body_done = event["type"] == "http.disconnect" or not event.get("more_body", False)
        with contextlib.suppress(ConnectionError):
            await self._say({"type": "http.response.body", "body": b"", "more_body": False})

    async def _say(self, event: MutableMapping[str, Any]) -> None:
        # To a connection that is gone Hypercorn sends into nothing, at once and for ever.
        if self._line.broken:
            raise ConnectionError("the peer does not read")
        moved, seconds = self._line.moved, self._service.limits.write_stall_seconds
        with trio.move_on_after(seconds) as patience:
            await self._send(event)
        if patience.cancelled_caught:
            await self._give_up(moved)
            raise ConnectionError("the peer does not read")
        self._line.moved += 1
        if self._queue is not None:
            self._queue.on_progress()

    async def _give_up(self, moved: int) -> None:
        """End this request, and the connection where no other request has progressed since `moved`."""
        self._stalled = True
        seconds = self._service.limits.write_stall_seconds
        self._service.log.warning("a client does not read", peer=self._peer, seconds=seconds)
        if self._queue is not None:
            self._queue.on_stall()
        if self._line.moved == moved:
            self._line.cut()
        else:
            await self._line.reset(self._send)
