"""Serve the endpoints as an ASGI 3 application, to Hypercorn, for HTTP/2.

The head of a request is written as HTTP/1.1 and parsed by the same grammar, so HTTP/2 accepts nothing that HTTP/1.1 refuses.
Unread body bytes are drained within limits, because they would block or crash Hypercorn (see `http2`).
"""

import contextlib
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

import trio

from ...validators.http_body import check_length
from ...validators.http_head import Head, parse_head
from ...validators.incremental_json import TextBuffer
from ...validators.limits import Limits
from ...validators.rejection import INVALID_REQUEST, Rejection
from ..client_process import Caller
from ..correlation import headers_of, id_of
from ..memory import LARGE, large_messages
from ..options import ANONYMOUS, JSON, Headers
from ..ports import UpgradedStream
from ..send_queue import SendQueue
from ..ticker import TICK
from ..turns import give_way
from .gate import UNKNOWN_PEER
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

# Time for which the body of a request is still read after the response (seconds).
_DRAIN_SECONDS: Final = 5.0
# Responses are sent in pieces of this size (bytes), so that the progress of a slow peer is visible.
_PIECE: Final = 64 * 1024
_LINE_ENDS: Final = frozenset(b"\r\n\0")


class Line(Protocol):
    """The connection that carries the requests. `progress` counts the pieces of any request that the peer has received."""

    progress: int

    @property
    def broken(self) -> bool:
        """Whether sending has no effect any more."""
        ...

    @property
    def sock(self) -> socket.socket:
        """The socket below TLS."""
        ...

    def abort(self) -> None:
        """Close the connection at once, because the peer does not read."""
        ...

    def refuse(self) -> None:
        """Close the connection, because an unauthenticated request on it was refused."""
        ...

    def reset(self, send: Send, /) -> Awaitable[None]:
        """Reset the stream of the request that is answered with `send`."""
        ...


class AsgiApp:
    """The ASGI application of one connection."""

    def __init__(self, service: Service, peer: str, seat: Seat, line: Line) -> None:
        self._service = service
        self._line = line
        self._peer = peer
        self._seat = seat
        self._caller = Caller(line.sock)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve one request. Ignores other scopes than HTTP."""
        if scope["type"] != "http":
            return
        async with trio.open_nursery() as nursery:
            exchange = AsgiExchange(
                self._service, receive, send, nursery, self._peer, self._line, self._caller
            )
            exchange.has_body = scope["method"] != "CONNECT"
            exchange.client = self._seat.client
            try:
                await self._answer(scope, exchange)
            finally:
                exchange.detach()
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
            # The peer has disconnected.
            pass
        except Exception as fault:  # noqa: BLE001 - the boundary of one request
            failed = internal_error()
            self._service.log.error(
                "internal_error", peer=self._peer, correlation_id=id_of(failed), fault=fault
            )
            await exchange.refuse(failed)

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
        principal = await gate.admit_after_keys(head, self._seat.is_foreign, self._seat.client)
        self._seat.identify(principal)
        self._seat.set_state(NO_HEAD)
        exchange.principal, exchange.admitted = principal, True
        # Hypercorn begins all requests of a connection at once.
        await give_way(principal)
        await self._service.route(head, exchange.principal)(exchange)


def head_of(scope: AsgiScope, limits: Limits) -> Head:
    """Return the head of an ASGI request, parsed by the grammar of HTTP/1.1. Raises Rejection."""
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
    """One request and its response over ASGI. `ports.Exchange` describes the methods."""

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
        # Set by `AsgiApp`.
        self.client = UNKNOWN_PEER
        self.head: Head
        self.principal = ANONYMOUS
        # Whether the gate has admitted the request.
        self.admitted = False
        self.cors: Headers = ()
        self.has_body = True
        self._service = service
        self._receive = receive
        self._send = send
        self._body_done = False
        self._answered = False
        self._stalled = False
        self._queue: SendQueue | None = None
        # Whether a task waits for the disconnect of the client.
        self._watched = False
        # Whether that task has seen the disconnect.
        self._disconnected = False
        self._last_sent = 0.0
        self._checked_generation = service.route.generation
        self._nursery = nursery
        self._peer = peer
        self._line = line

    async def read_body(self) -> bytes:
        limits = self._service.limits
        check_length(self.head, limits.body)
        body = TextBuffer(limits.json_depth)
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

    async def _read_piece(self, body: TextBuffer, count: Callable[[int], None]) -> None:
        event = await self._receive()
        if event["type"] == "http.disconnect":
            raise ConnectionError("the peer disconnected in the middle of a body")
        piece = event.get("body", b"")
        count(len(piece))
        body.add(piece)
        limit = self._service.limits.body
        if len(body) > limit:
            raise Rejection(413, INVALID_REQUEST, f"a body of more than {limit} bytes, the limit")
        self._body_done = not event.get("more_body", False)

    async def answer(
        self,
        status: int,
        content_type: bytes,
        body: bytes,
        headers: Headers = (),
        *,
        protection: Headers | None = None,
    ) -> None:
        self._answered = True
        if content_type:
            headers += ((b"Content-Type", content_type),)
        if status != 204:
            headers += ((b"Content-Length", b"%d" % len(body)),)
        await self._start(status, (SAFE_HEADERS if protection is None else protection) + headers + self.cors)
        # `finish` ends the response after the body was read. Hypercorn drops the state of a request with the end of its
        # response, and further body bytes would break the connection.
        await self._write(body)

    async def begin_stream(self, headers: Headers = ()) -> None:
        self._answered = True
        await self._start(200, STREAM_HEADERS + headers + self.cors)

    async def _start(self, status: int, headers: Headers) -> None:
        lowered = [(name.lower(), value) for name, value in headers]
        await self._send_event({"type": "http.response.start", "status": status, "headers": lowered})

    async def write(self, data: bytes) -> None:
        await self._write(data)
        self._last_sent = self._service.ticker.now

    async def _write(self, data: bytes) -> None:
        try:
            for at in range(0, len(data), _PIECE):
                piece = data[at : at + _PIECE]
                await self._send_event({"type": "http.response.body", "body": piece, "more_body": True})
        finally:
            # Its memory is free now, which may be long after its receipt.
            if len(data) > LARGE:
                large_messages.count += 1

    def queue(self, *, direct: bool = False) -> SendQueue:  # noqa: ARG002 - Hypercorn sends from one task only
        return SendQueue(self._service.limits)

    def attach(
        self, queue: SendQueue, *, ends_with_client: bool, first_heartbeat: float | None = None
    ) -> None:
        self._queue = queue
        self._last_sent = self._service.ticker.now
        if first_heartbeat is not None:
            # As if the last bytes were sent this long ago. The clock may be a tick late.
            self._last_sent -= max(0.0, self._service.limits.heartbeat_seconds - first_heartbeat - TICK)
        self._service.ticker.add(self)
        if self._disconnected:
            queue.on_disconnect()
        elif ends_with_client and not self._watched:
            self._watched = True
            self._nursery.start_soon(self._watch)

    async def _watch(self) -> None:
        # One task for each request, whatever queue it has by then, because Hypercorn reports a disconnect once.
        while (await self._receive())["type"] != "http.disconnect":
            self._body_done = True
        self._disconnected = True
        if self._queue is not None:
            self._queue.on_disconnect()

    def tick(self, now: float) -> None:
        """Check the access rights of the client, and whether a heartbeat is due (ticker.Ticking)."""
        if self._queue is not None and self._checked_generation != self._service.route.generation:
            self._checked_generation = self._service.route.generation
            if self.principal and not self._service.still_admits(self.head, self.principal, self.client):
                self._service.log.info("stream_closed", reason="access_revoked", principal=self.principal)
                self._queue.on_disconnect()
        if self._queue is not None and now - self._last_sent >= self._service.limits.heartbeat_seconds:
            self._last_sent = now
            self._queue.heartbeat()

    def upgrade(self, *, local: bool = False) -> UpgradedStream:  # noqa: ARG002 - both kinds need HTTP/1.1
        """Raise Rejection: an HTTP/2 stream has no connection of its own (ports.Exchange)."""
        raise Rejection(400, INVALID_REQUEST, "this path needs an upgrade of HTTP/1.1")

    def count_refusal(self, rejection: Rejection) -> None:
        server = self._service.route.owner(self.head.path) if self.principal else ""
        self._service.refusals.count(rejection, self._peer, self.principal, server)

    async def refuse(self, rejection: Rejection) -> None:
        """Send an error, or just end the stream if a response has begun."""
        self.count_refusal(rejection)
        if not self._answered:
            await self.answer(rejection.status, JSON, error_body(rejection), headers_of(rejection))

    def detach(self) -> None:
        """Detach the send queue; nothing more is written."""
        self._service.ticker.remove(self)
        if self._queue is not None:
            self._queue.on_disconnect()

    async def finish(self) -> None:
        """Read the rest of the body within limits, and end the response."""
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
            await self._send_event({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_event(self, event: MutableMapping[str, Any]) -> None:
        # Hypercorn sends to a closed connection without an error.
        if self._line.broken:
            raise ConnectionError("the peer does not read")
        await give_way(self.principal)
        progress, seconds = self._line.progress, self._service.limits.write_stall_seconds
        with trio.move_on_after(seconds) as timeout:
            await self._send(event)
        if timeout.cancelled_caught:
            await self._on_stall(progress)
            raise ConnectionError("the peer does not read")
        self._line.progress += 1
        if self._queue is not None:
            self._queue.on_progress()

    async def _on_stall(self, progress: int) -> None:
        """End this request, and the connection if no other request has progressed since `progress`."""
        self._stalled = True
        seconds = self._service.limits.write_stall_seconds
        self._service.log.warning("client_stalled", peer=self._peer, seconds=seconds)
        if self._queue is not None:
            self._queue.on_stall()
        if self._line.progress == progress:
            self._line.abort()
        else:
            await self._line.reset(self._send)
