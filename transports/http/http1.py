"""HTTP/1.1 connections: the hot path of the bridge.

One task serves one connection, one request after the other, with no task, nursery, lock or timer for each request. `Ticker`
checks the deadlines: it shuts the socket down, and the task reads an end of file. `validators.http_head` is the grammar of
heads; a head that breaks it ends the connection after the response.
"""

import contextlib
import socket
from functools import partial
from typing import Final

import attrs
import trio

from ...validators.http_head import Head, parse_head
from ...validators.rejection import INVALID_REQUEST, Rejection
from ..client_process import Caller
from ..correlation import headers_of, id_of
from ..options import ANONYMOUS, JSON, Headers
from ..ports import EagerEndpoint, Endpoint, Exchange
from ..send_queue import OPEN
from ..ticker import TICK
from ..turns import activity, backlog_turns
from .http1_exchange import Http1Exchange
from .http1_stream import Http1Stream, Wait
from .quota import REFUSED, Seat
from .responses import (
    DRAIN_BODIES,
    LINGER_BYTES,
    LINGER_SECONDS,
    error_body,
    internal_error,
    last_response,
    too_slow_body,
)
from .service import Service
from .wire import PlainWire

# On shutdown, connections that were idle for this long are closed (seconds), because no request can be on its way.
_LAST_IDLE: Final = 2 * TICK
# An authenticated client that is refused in the middle of a body or of a WebSocket message may go on sending for this long
# (seconds), because many clients read no response before they have sent everything.
_DRAIN_SECONDS: Final = 10.0

# The head before the first one was parsed.
_NO_HEAD: Final = Head(
    method="",
    path="",
    query="",
    version=11,
    headers={},
    content_length=None,
    chunked=False,
    keep_alive=False,
    expect_continue=False,
    upgrade="",
)


async def _raise(fault: Exception) -> None:
    raise fault


async def _do_nothing(_exchange: Exchange) -> None:
    """Do nothing: the request was answered before (Endpoint)."""


@attrs.define(eq=False)
class _Admission:
    """The last head and what the gate and the routes have decided about it, which holds for equal heads."""

    head: Head = _NO_HEAD
    # The bytes of the head; empty while it is not admitted.
    block: bytes = b""
    # Whether the gate has admitted the head.
    admitted: bool = False
    cors: Headers = ()
    endpoint: Endpoint | None = None
    # The endpoint, if it can begin the next request without the task.
    eager: EagerEndpoint | None = None
    # `Route.generation` at the decision.
    generation: int = 0


class Connection:
    """One client connection, which serves its requests one after the other."""

    def __init__(
        self,
        service: Service,
        sock: socket.socket,
        peer: str,
        seat: Seat,
        tls: "trio.SSLStream[trio.SocketStream] | None" = None,
    ) -> None:
        self._service = service
        self._seat = seat
        self._stream = Http1Stream(service, sock, peer, seat, tls)
        self._principal = ANONYMOUS
        self._caller = Caller(sock, trusted=service.gate.delegates is not None)
        self._admission = _Admission()
        self._exchange = self._new_exchange()
        # `Route.generation` when the access rights of the client were last checked.
        self._checked_generation = service.route.generation
        # Cancelled after an exception in a callback.
        self._scope = trio.CancelScope()

    def _new_exchange(self) -> Http1Exchange:
        admission = self._admission
        return Http1Exchange(self._stream, admission.head, self._principal, self._caller, admission.cors)

    # ---- the loop

    async def serve(self) -> None:
        """Serve requests until either side closes. Raises nothing that a peer can cause."""
        service, stream = self._service, self._stream
        service.ticker.add(self)
        service.poller.register(stream.sock.fileno(), self._ready, self._fail)
        with self._scope:
            try:
                while not stream.close and await self._serve_one():
                    if service.ticker.shutting_down and self._exchange.continuation is None:
                        stream.close = True
                    # Further requests of a client that has left, which take no time at the server.
                    if stream.disconnected and stream.buffer:
                        await backlog_turns.wait(self._principal)
                if stream.close:
                    await stream.linger(*self._linger_limits())
            except OSError:
                # The peer has disconnected. Attached queues were notified.
                pass
            finally:
                service.poller.unregister(stream.sock.fileno())
                service.ticker.remove(self)
                exchange = self._exchange
                if exchange.send_queue is not None:
                    exchange.send_queue.on_disconnect()
                # The task was cancelled, and the rest of the work is cancelled with it.
                if exchange.continuation is not None:
                    await exchange.continuation()

    async def _serve_one(self) -> bool:
        """Serve one request. Returns whether another may follow."""
        exchange = self._exchange
        continuation, exchange.continuation = exchange.continuation, None
        try:
            if continuation is not None:
                await continuation()
            else:
                endpoint = await self._next_endpoint()
                if endpoint is None:
                    return False
                await endpoint(self._exchange)
        except Rejection as rejection:
            await self._refuse(rejection)
        except OSError:
            raise
        except Exception as fault:  # noqa: BLE001 - the boundary of one connection
            failed = internal_error()
            self._service.log.error(
                "internal_error", peer=self._stream.peer, correlation_id=id_of(failed), fault=fault
            )
            await self._refuse(failed)
        # Further requests may have been begun while the task waited for the first response.
        exchange = self._exchange
        if exchange.upgraded:
            return False
        await exchange.end()
        exchange.sent_directly = False
        if exchange.continuation is None:
            exchange.send_queue = None
        return exchange.drop_body()

    async def _next_endpoint(self) -> Endpoint | None:
        """Read a head and return the endpoint of its request, None at the end of the connection. Raises Rejection."""
        service, stream = self._service, self._stream
        exchange = self._exchange = self._new_exchange()
        try:
            block = await stream.read_head()
        except Rejection:
            self._admission.admitted = False
            raise
        if not block:
            return None
        admission = self._admission
        if block != admission.block or admission.generation != service.route.generation:
            # Most clients repeat the same head, which is then not parsed and admitted again.
            admission = self._admission = _Admission(admission.head)
            exchange.cors = ()
            exchange.head = admission.head = parse_head(block, service.limits)
        head = admission.head
        stream.close = not head.keep_alive or service.ticker.shutting_down
        exchange.body_pending = head.chunked or bool(head.content_length)
        if admission.endpoint is None:
            endpoint = await self._admit(admission, exchange)
            if endpoint is None:
                return _do_nothing
            admission.endpoint = endpoint
            if isinstance(endpoint, EagerEndpoint) and not head.chunked:
                admission.eager = endpoint
        admission.block = block
        return admission.endpoint

    def _begin_eagerly(self, plain: PlainWire, eager: EagerEndpoint) -> None:
        """Serve a whole request with the same head as the last one. Wake the task for any other input."""
        stream = self._stream
        # Until the task has run, further input is for the task.
        self._exchange.sent_directly = False
        data = plain.receive_now()
        if data is None:
            stream.slot.wake()
            return
        admission = self._admission
        block = admission.block
        if len(data) != len(block) + (admission.head.content_length or 0) or not data.startswith(block):
            stream.buffer = data
            stream.slot.wake()
            return
        stream.deadline.kind = Wait.NOTHING
        exchange = Http1Exchange(stream, admission.head, self._principal, self._caller, admission.cors)
        self._exchange = exchange
        try:
            continuation = eager.begin(exchange, data[len(block) :])
        except Exception as fault:  # noqa: BLE001 - raised again in the task, which is the boundary
            exchange.continuation = partial(_raise, fault)
            stream.slot.wake()
            return
        if exchange.answered:
            return
        if continuation is None:
            stream.buffer, exchange.send_queue = data, None
        exchange.continuation, queue = continuation, exchange.send_queue
        if queue is None or queue.shortcut is None or queue.state != OPEN:
            stream.slot.wake()

    async def _admit(self, admission: _Admission, exchange: Http1Exchange) -> Endpoint | None:
        """Pass the gate and return the endpoint, None where a preflight was answered. Raises Rejection."""
        service, stream, head = self._service, self._stream, admission.head
        gate = service.gate
        preflight = gate.preflight(head) if head.method == "OPTIONS" else None
        if preflight is not None:
            await exchange.answer(204, b"", b"", preflight)
            return None
        # Set before the credential is checked, because a page must be able to read a 401 as well.
        exchange.cors = admission.cors = gate.cors(head) if gate.shared_with else ()
        principal = await gate.admit_after_keys(head, self._seat.is_foreign, self._seat.client)
        gate.check_delegate(head, stream.sock)
        control = head.path in service.control
        if principal != self._principal or control:
            self._seat.identify(principal, control=control)
            self._principal = exchange.principal = principal
            service.poller.assign(stream.sock.fileno(), principal)
            # Many new connections of one principal must not begin all at once beside another principal.
            if activity.several:
                await backlog_turns.wait(principal)
            stream.wire.principal = principal
        admission.admitted = True
        # An idle connection must not occupy one of the few places of control endpoints.
        stream.close = stream.close or control
        admission.generation = service.route.generation
        return service.route(head, principal)

    async def _refuse(self, rejection: Rejection) -> None:
        stream, exchange, admitted = self._stream, self._exchange, self._admission.admitted
        if not admitted:
            # That of an earlier request of the connection.
            exchange.principal = ANONYMOUS
        exchange.count_refusal(rejection)
        # Too late for an error: the response is cut off.
        if exchange.answered or exchange.upgraded:
            stream.close, exchange.streaming = True, False
            return
        stream.deadline.kind = Wait.NOTHING
        stream.close = stream.close or rejection.close or not (admitted or self._next_is_here())
        if stream.close:
            stream.cork()
        await exchange.answer(rejection.status, JSON, error_body(rejection), headers_of(rejection))
        if not admitted:
            self._seat.set_state(REFUSED)

    def _next_is_here(self) -> bool:
        # A whole request behind a refused one is still served, within a limit.
        is_here = not self._exchange.body_pending and b"\r\n\r\n" in self._stream.buffer.lstrip(b"\r\n")
        return is_here and self._service.refusals.allows_next()

    def _linger_limits(self) -> tuple[float, int]:
        """Return for how long (seconds) and how many bytes input is read and dropped after the last response."""
        exchange = self._exchange
        if not (
            self._admission.admitted and self._principal and (exchange.body_pending or exchange.upgraded)
        ):
            return LINGER_SECONDS, LINGER_BYTES
        most = DRAIN_BODIES * self._service.limits.body
        length = exchange.head.content_length
        return _DRAIN_SECONDS, most if length is None else min(length, most)

    # ---- edges, deadlines and disconnects

    def _ready(self, left: bool) -> None:  # noqa: FBT001 - signature of poller.Ready
        stream, exchange = self._stream, self._exchange
        if left:
            stream.disconnected, exchange.sent_directly = True, False
            exchange.on_disconnect()
        plain, admission, service = stream.plain, self._admission, self._service
        if plain is None:
            return
        if (
            exchange.sent_directly
            and not stream.disconnected
            and admission.eager is not None
            and admission.generation == service.route.generation
            and not service.ticker.shutting_down
        ):
            self._begin_eagerly(plain, admission.eager)
        elif plain.ready(left=left):
            service.poller.call_again(stream.sock.fileno())

    def _fail(self, fault: Exception) -> None:
        """End the connection after an exception in a callback (poller.OnFault)."""
        self._service.log.error("internal_error", peer=self._stream.peer, fault=fault)
        self._scope.cancel()

    def tick(self, now: float) -> None:
        """Check the deadline and the access rights of the client, and whether a heartbeat is due (ticker.Ticking)."""
        service, stream, exchange = self._service, self._stream, self._exchange
        queue = exchange.send_queue
        # After a direct response the queue is still attached, and closed.
        if self._checked_generation != service.route.generation and queue is not None and queue.state == OPEN:
            self._checked_generation = service.route.generation
            if self._principal and not service.still_admits(
                exchange.head, self._principal, self._seat.client
            ):
                service.log.info(
                    "connection_closed", reason="access_revoked", peer=stream.peer, principal=self._principal
                )
                (stream.on_revoked or stream.abort)()
        if exchange.upgraded and service.ticker.shutting_down and queue is not None:
            queue.close("the bridge is stopping")
        deadline, limits = stream.deadline, service.limits
        waited = now - deadline.since
        match deadline.kind:
            case Wait.HEAD if waited > limits.head_seconds:
                text = f"no complete head within {limits.head_seconds:g} s"
                self._expire(Rejection(408, INVALID_REQUEST, text))
            case Wait.REQUEST if waited > self._idle_limit():
                stream.abort()
            case Wait.BODY if waited > limits.body_grace_seconds:
                if deadline.received < limits.body_rate * limits.body_grace_seconds:
                    self._expire(too_slow_body(limits))
                else:
                    deadline.start(Wait.BODY, now)
            case Wait.READER:
                self._watch_reader(now)
            case _:
                if queue is not None and now - stream.last_sent >= limits.heartbeat_seconds:
                    stream.last_sent = now
                    queue.heartbeat()

    def _watch_reader(self, now: float) -> None:
        """Close the connection of a peer that does not read what is sent."""
        stream, queue, seconds = (
            self._stream,
            self._exchange.send_queue,
            self._service.limits.write_stall_seconds,
        )
        if stream.has_progress(now):
            if queue is not None:
                queue.on_progress()
        elif now - stream.deadline.since > seconds and not (
            # Only as long as its session is open.
            stream.may_stall and queue is not None and queue.state == OPEN
        ):
            self._service.log.warning("client_stalled", peer=stream.peer, seconds=seconds)
            if queue is not None:
                queue.on_stall()
            stream.abort()

    def _idle_limit(self) -> float:
        if self._service.ticker.shutting_down:
            return _LAST_IDLE
        limits = self._service.limits
        return limits.keep_alive_seconds if self._seat.principal else limits.head_seconds

    def _expire(self, rejection: Rejection) -> None:
        stream = self._stream
        self._exchange.count_refusal(rejection)
        # Sent only if it fits into the socket buffer. Over TLS the peer reads an end of file only.
        if stream.plain is not None:
            with contextlib.suppress(OSError):
                stream.sock.send(last_response(rejection))
        stream.deadline.kind = Wait.NOTHING
        stream.abort()
