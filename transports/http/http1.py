"""HTTP/1.1 connections: the hot path of the bridge.

One task serves one connection, one request after the other, with no task, nursery, lock or timer for each request. `Ticker`
checks the deadlines: it shuts the socket down, and the task reads an end of file. `validators.http_head` is the grammar of
heads; a head that breaks it ends the connection after the response.
"""

import contextlib
import socket
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import Final

import trio

from ...validators.http_body import ChunkedDecoder, check_length
from ...validators.http_head import Head, parse_head, reject_early, skip_empty_lines
from ...validators.incremental_json import Gathering
from ...validators.rejection import INVALID_REQUEST, Rejection
from ..client_process import Caller
from ..options import ANONYMOUS, JSON, Headers
from ..poller import WakeUpSlot
from ..ports import Continuation, EagerEndpoint, Endpoint, Exchange, UpgradedStream
from ..send_queue import OPEN, SendQueue
from ..ticker import TICK
from .quota import REFUSED, Seat
from .responses import (
    DRAIN_BODIES,
    JSON_LINE,
    LINGER_BYTES,
    LINGER_SECONDS,
    REASONS,
    SAFE_LINES,
    STREAM_LINES,
    error_body,
    header_lines,
    internal_error,
    last_response,
    too_slow_body,
)
from .service import Service
from .wire import ONE_SEND, READ, PlainWire, TlsWire, Wire, unread_by_peer

# Bytes read at once before the credential is known, so that unauthenticated peers cost little memory.
_FIRST_READ: Final = 16 * 1024
# Bytes read at once of a chunked body, whose chunks may have one byte each.
_READ_CHUNKS: Final = 16 * 1024
# Contents of the buffer before a head: nothing, or the first half of an empty line.
_BEFORE_HEAD: Final = (b"", b"\r")
# On shutdown, connections that were idle for this long are closed (seconds), because no request can be on its way.
_LAST_REST: Final = 2 * TICK
# An authenticated client that is refused in the middle of a body or of a WebSocket message may go on sending for this long
# (seconds), because many clients read no response before they have sent everything.
_DRAIN_SECONDS: Final = 10.0


@lru_cache(maxsize=1)
def _before_length(date: bytes) -> bytes:
    """Return the head of most responses, up to the length of the body."""
    return b"HTTP/1.1 200 OK\r\nDate: %b\r\n%b%bContent-Length: " % (date, SAFE_LINES, JSON_LINE)


async def _raise(fault: Exception) -> None:
    raise fault


async def _do_nothing(_exchange: Exchange) -> None:
    """Do nothing: the request was answered before (Endpoint)."""


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


class Connection:
    """One client connection, and its current request (ports.Exchange)."""

    def __init__(
        self,
        service: Service,
        sock: socket.socket,
        peer: str,
        seat: Seat,
        tls: "trio.SSLStream[trio.SocketStream] | None" = None,
    ) -> None:
        self.head = _NO_HEAD
        self.principal = ANONYMOUS
        self.peer = peer
        self._seat = seat
        self.limits = service.limits
        self._service = service
        self._sock = sock
        self._slot = WakeUpSlot()
        self._plain: PlainWire | None = None
        self._wire: Wire
        if tls is None:
            self._wire = self._plain = PlainWire(sock, self._slot)
        else:
            self._wire = TlsWire(tls)
        self._unsent = b""
        self._buffer = b""
        self._body_pending = False
        self._last_endpoint: Endpoint | None = None
        self._last_block: bytes = b""
        # Whether the task waits for the next request, after a response that was sent without it.
        self._eager_next = False
        self._last_eager: EagerEndpoint | None = None
        # The rest of the work on a request that was begun without the task.
        self._continuation: Continuation | None = None
        self._generation = 0
        self._checked_generation = service.route.generation
        self._close = False
        self._streaming = False
        self._answered = False
        # Whether the gate has admitted the last head.
        self._admitted = False
        self._upgraded = False
        self._cors: Headers = ()
        self._caller: Caller | None = None
        self._queue: SendQueue | None = None
        self._ends_with_client = False
        self._disconnected = False
        # The current deadline: what is awaited, since when (seconds, Ticker's time), and the bytes received since.
        self._waiting = ""
        self._since = 0.0
        self._received = 0
        # Bytes that may still be read at the end of the connection.
        self._to_drop = 0
        self._last_sent = 0.0
        self._is_aggregate = False
        # Bytes that the peer had received at the last check.
        self._peer_received: int = 0

    # ---- the loop

    async def serve(self) -> None:
        """Serve requests until either side closes. Raises nothing that a peer can cause."""
        service = self._service
        service.ticker.add(self)
        service.poller.register(self._sock.fileno(), self._ready)
        try:
            while not self._close and await self._serve_one():
                if service.ticker.shutting_down and self._continuation is None:
                    self._close = True
            await self._linger()
        except OSError:
            # The peer has disconnected. Attached queues were notified.
            pass
        finally:
            service.poller.unregister(self._sock.fileno())
            service.ticker.remove(self)
            if self._queue is not None:
                self._queue.on_disconnect()
            # The task was cancelled, and the rest of the work is cancelled with it.
            if self._continuation is not None:
                await self._continuation()

    async def _serve_one(self) -> bool:
        continuation, self._continuation = self._continuation, None
        try:
            if continuation is not None:
                await continuation()
            else:
                endpoint = await self._next_endpoint()
                if endpoint is None:
                    return False
                await endpoint(self)
        except Rejection as rejection:
            await self._refuse(rejection)
        except OSError:
            raise
        except Exception as fault:  # noqa: BLE001 - the boundary of one connection
            self._service.log.error("internal error", peer=self.peer, fault=fault)
            await self._refuse(internal_error())
        if self._upgraded:
            return False
        if self._unsent:
            unsent, self._unsent = self._unsent, b""
            await self._send(unsent)
            if self._queue is not None:
                self._queue.on_sent()
        if self._streaming:
            await self._wire.send(b"0\r\n\r\n")
        self._eager_next = False
        if self._continuation is None:
            self._queue = None
        return self._drop_body()

    async def _next_endpoint(self) -> Endpoint | None:
        """Read a head and return the endpoint of its request, None at the end of the connection. Raises Rejection."""
        self._answered = self._streaming = False
        block = await self._read_head()
        if not block:
            return None
        if block != self._last_block or self._generation != self._service.route.generation:
            # Most clients repeat the same head, which is then not parsed and admitted again.
            self._last_endpoint = None
            self._last_block = b""
            self._admitted = False
            self._cors = ()
            self.head = parse_head(block, self.limits)
        head = self.head
        self._close = not head.keep_alive or self._service.ticker.shutting_down
        self._body_pending = head.chunked or bool(head.content_length)
        if self._last_endpoint is None:
            endpoint = await self._admit(head)
            if endpoint is None:
                return _do_nothing
            self._last_endpoint = endpoint
            self._last_eager = endpoint if isinstance(endpoint, EagerEndpoint) and not head.chunked else None
        self._last_block = block
        return self._last_endpoint

    def _begin_eagerly(self, plain: PlainWire, eager: EagerEndpoint) -> None:
        """Serve a whole request with the same head as the last one. Wake the task for any other input."""
        # Until the task has run, further input is for the task.
        self._eager_next = False
        data = plain.receive_now()
        if data is None:
            self._slot.wake()
            return
        block = self._last_block
        if len(data) != len(block) + (self.head.content_length or 0) or not data.startswith(block):
            self._buffer = data
            self._slot.wake()
            return
        self._answered = False
        self._waiting, self._queue = "", None
        try:
            continuation = eager.begin(self, data[len(block) :])
        except Exception as fault:  # noqa: BLE001 - raised again in the task, which is the boundary
            self._continuation = partial(_raise, fault)
            self._slot.wake()
            return
        if self._answered:
            return
        if continuation is None:
            self._buffer, self._queue = data, None
        self._continuation, queue = continuation, self._queue
        if queue is None or queue.shortcut is None or queue.state != OPEN:
            self._slot.wake()

    async def _admit(self, head: Head) -> Endpoint | None:
        """Pass the gate and return the endpoint. The result depends on the head alone, so it holds for equal heads."""
        gate = self._service.gate
        preflight = gate.preflight(head) if head.method == "OPTIONS" else None
        if preflight is not None:
            await self.answer(204, b"", b"", preflight)
            return None
        # Set before the credential is checked, because a page must be able to read a 401 as well.
        self._cors = gate.cors(head) if gate.shared_with else ()
        principal = gate.admit(head, self._seat.is_foreign)
        gate.check_delegate(head, self._sock)
        control = head.path in self._service.control
        if principal != self.principal or control:
            self._seat.identify(principal, control=control)
            self.principal = principal
        self._admitted = True
        # An idle connection must not occupy one of the few places of control endpoints.
        self._close = self._close or control
        self._generation = self._service.route.generation
        return self._service.route(head, principal)

    async def _read_head(self) -> bytes:
        buffer = self._buffer
        if buffer[:1] == b"\r":
            buffer = self._skip_empty_lines(buffer)
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            self._wait_for("request" if buffer in _BEFORE_HEAD else "head")
            while end < 0:
                if buffer:
                    self._reject_early(buffer)
                data = await self._wire.receive(READ if self._seat.principal else _FIRST_READ)
                if not data:
                    self._waiting = ""
                    return b""
                begun, buffer = buffer not in _BEFORE_HEAD, buffer + data
                if buffer[:1] == b"\r":
                    buffer = self._skip_empty_lines(buffer)
                if not begun and buffer not in _BEFORE_HEAD:
                    self._wait_for("head")
                end = buffer.find(b"\r\n\r\n", max(0, len(buffer) - len(data) - 3))
            self._waiting = ""
        self._buffer = buffer[end + 4 :]
        return buffer[: end + 4]

    def _reject_early(self, buffer: bytes) -> None:
        try:
            reject_early(buffer, self.limits)
        except Rejection:
            self._admitted = False
            raise

    def _skip_empty_lines(self, buffer: bytes) -> bytes:
        try:
            return skip_empty_lines(buffer)
        except Rejection:
            self._admitted = False
            raise

    def _drop_body(self) -> bool:
        # Received bytes of an unread body are dropped. If there are more, the connection is closed.
        if not self._body_pending:
            return True
        length = self.head.content_length
        if self._close or self.head.chunked or length is None or length > len(self._buffer):
            self._close = True
            return False
        self._buffer = self._buffer[length:]
        return True

    # ---- the current request (ports.Exchange)

    @property
    def caller(self) -> Caller:
        """The client at the other end (ports.Exchange)."""
        if self._caller is None:
            self._caller = Caller(self._sock, trusted=self._service.gate.delegates is not None)
        return self._caller

    async def read_body(self) -> bytes:
        """Return the whole body (ports.Exchange)."""
        head = self.head
        if not self._body_pending:
            return b""
        check_length(head, self.limits.body)
        length = head.content_length
        if length is not None and length <= len(self._buffer):
            body = self._buffer[:length]
            self._buffer = self._buffer[length:]
        else:
            if head.expect_continue:
                await self._wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._wait_for("body")
            body = await (self._read_chunked() if length is None else self._read_exactly(length))
            self._waiting = ""
        self._body_pending = False
        return body

    async def _read_exactly(self, length: int) -> bytes:
        body = Gathering(self.limits.json_depth)
        body.add(self._buffer)
        with self._service.quota.receiving(self.principal) as count:
            count(len(self._buffer))
            self._buffer = b""
            while (missing := length - len(body)) > 0:
                data = await self._receive_body()
                count(len(data))
                body.add(data[:missing])
                self._buffer = data[missing:]
        return body.take()

    async def _read_chunked(self) -> bytes:
        decoder = ChunkedDecoder(self.limits)
        with self._service.quota.receiving(self.principal) as count:
            decoder.feed(self._buffer)
            while not decoder.done:
                data = await self._receive_body(_READ_CHUNKS)
                count(len(data))
                decoder.feed(data)
                await trio.lowlevel.checkpoint()
        self._buffer = decoder.rest
        return decoder.take()

    async def _receive_body(self, max_bytes: int = READ) -> bytes:
        data = await self._wire.receive(max_bytes)
        if not data:
            raise ConnectionError("the peer left in the middle of a body")
        self._received += len(data)
        return data

    async def answer(self, status: int, content_type: bytes, body: bytes, headers: Headers = ()) -> None:
        """Send a whole response (ports.Exchange)."""
        if self._cors:
            headers += self._cors
        more = b""
        if headers:
            more = header_lines(headers)
        if content_type:
            more += b"Content-Type: %b\r\n" % content_type
        if self._close or (self._body_pending and not self._body_is_here()):
            self._close = True
            more += b"Connection: close\r\n"
        head = self._answer_head(status, more, None if status == 204 else len(body))
        self._answered = True
        if self.head.method == "HEAD":
            body = b""
        if len(body) <= ONE_SEND:
            await self._send(head + body)
        else:
            await self._send(head)
            await self._send(body)

    def _answer_head(self, status: int, more: bytes, length: int | None) -> bytes:
        end = b"\r\n" if length is None else b"Content-Length: %d\r\n\r\n" % length
        date = self._service.ticker.date
        return b"HTTP/1.1 %d %b\r\nDate: %b\r\n%b%b%b" % (
            status,
            REASONS[status],
            date,
            SAFE_LINES,
            more,
            end,
        )

    async def begin_stream(self, headers: Headers = ()) -> None:
        """Send the head of an event stream (ports.Exchange)."""
        self._answered = True
        framing = b"Transfer-Encoding: chunked\r\n"
        self._streaming = True
        if self.head.version == 10:
            framing, self._streaming, self._close = b"", False, True
        if self._close:
            framing += b"Connection: close\r\n"
        await self._send(
            b"HTTP/1.1 200 OK\r\nDate: %b\r\n%b%b%b\r\n"
            % (self._service.ticker.date, STREAM_LINES, header_lines(headers + self._cors), framing)
        )

    async def write(self, data: bytes) -> None:
        """Send a part of the event stream (ports.Exchange)."""
        await self._send(b"".join((b"%x\r\n" % len(data), data, b"\r\n")) if self._streaming else data)

    def queue(self, *, direct: bool = False) -> SendQueue:
        """Return a send queue for this request (ports.Exchange)."""
        queue = SendQueue(self.limits, self._slot)
        if direct and self._plain is not None and not (self._close or self._body_pending or self._buffer):
            queue.shortcut = self._answer_directly
        return queue

    def _answer_directly(self, body: bytes) -> bool:
        # Called in `enqueue`, while the task of this connection waits. The next request or the end of the connection wakes
        # the task, unless `_begin_eagerly` serves that request too. If the next request was received already, no edge will
        # come, so the task itself must send.
        plain = self._plain
        if plain is None or plain.readable or len(body) > ONE_SEND:
            return False
        status = 200 if self._queue is None else self._queue.status
        if status == 200 and not self._cors:
            data = b"%b%d\r\n\r\n%b" % (_before_length(self._service.ticker.date), len(body), body)
        else:
            data = self._answer_head(status, JSON_LINE + header_lines(self._cors), len(body)) + body
        self._answered = True
        try:
            sent = plain.send_some(data)
        except OSError:
            # The peer has disconnected, which is an edge of its own.
            sent = len(data)
        if sent < len(data):
            self._unsent = data[sent:]
            if self._queue is not None:
                self._queue.count_unsent(len(self._unsent))
            self._slot.wake()
        else:
            self._wait_for("request")
            self._continuation = None
            self._eager_next = not self._disconnected
        return True

    def attach(
        self, queue: SendQueue, *, ends_with_client: bool, first_heartbeat: float | None = None
    ) -> None:
        """Attach the send queue of this request (ports.Exchange)."""
        self._queue = queue
        self._ends_with_client = ends_with_client
        self._last_sent = self._service.ticker.now
        if self._disconnected:
            if ends_with_client and not self._upgraded:
                queue.on_disconnect()
        elif first_heartbeat is not None:
            # As if the last bytes were sent this long ago. The clock may be a tick late.
            self._last_sent -= max(0.0, self.limits.heartbeat_seconds - first_heartbeat - TICK)

    def upgrade(self) -> UpgradedStream:
        """Hand over the connection (ports.Exchange)."""
        self._upgraded = True
        self._close = True
        # The aggregate reads as fast as its own client, which has a time limit. Other peers are refused with this header.
        delegates = self._service.gate.delegates is not None
        self._is_aggregate = delegates and "mcp-bridge-principal" in self.head.headers
        return _Http1Upgrade(
            self._wire,
            self._plain,
            self._buffer,
            self._send,
            partial(self._service.quota.receiving, self.principal),
            # The kernel reports the end of a peer on the same machine, so a Unix socket needs no pings.
            exempt_from_pings=self._is_aggregate or self._sock.family == socket.AF_UNIX,
        )

    def _body_is_here(self) -> bool:
        length = self.head.content_length
        return length is not None and length <= len(self._buffer)

    async def _send(self, data: bytes) -> None:
        self._wait_for("reader")
        await self._wire.send(data)
        self._waiting = ""
        self._last_sent = self._service.ticker.now

    def _next_is_here(self) -> bool:
        # A whole request behind a refused one is still served, within a limit.
        is_here = not self._body_pending and b"\r\n\r\n" in self._buffer.lstrip(b"\r\n")
        return is_here and self._service.refusals.allows_next()

    def count_refusal(self, rejection: Rejection) -> None:
        """Count a refusal (ports.Exchange)."""
        self._service.refusals.count(rejection, self.peer)

    async def _refuse(self, rejection: Rejection) -> None:
        self.count_refusal(rejection)
        if self._answered or self._upgraded:
            self._close, self._streaming = True, False
            return
        self._waiting = ""
        self._close = self._close or rejection.close
        self._close = self._close or not (self._admitted or self._next_is_here())
        if self._close:
            self._cork()
        await self.answer(rejection.status, JSON, error_body(rejection), rejection.headers)
        if not self._admitted:
            self._seat.set_state(REFUSED)

    def _cork(self) -> None:
        # Bun 1.3.14 reuses the connection of a refusal, whatever `Connection` says, unless the end of the stream is in the
        # same segment. The kernel sends a partial segment after 200 ms at the latest (tcp(7)). Unix sockets have no segments.
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)

    # ---- deadlines and disconnects

    def _wait_for(self, what: str) -> None:
        self._waiting = what
        self._since = self._service.ticker.now
        self._received = 0

    def tick(self, now: float) -> None:
        """Check the deadline and the access rights of the client, and whether a heartbeat is due (ticker.Ticking)."""
        if self._checked_generation != self._service.route.generation and self._is_open():
            self._checked_generation = self._service.route.generation
            if self.principal and not self._service.still_admits(self.head, self.principal):
                self._service.log.info(
                    "connection_closed",
                    reason="access_revoked",
                    peer=self.peer,
                    principal=self.principal,
                )
                self.abort()
        if self._upgraded and self._service.ticker.shutting_down and self._queue is not None:
            self._queue.close("the bridge is stopping")
        waited, limits = now - self._since, self.limits
        match self._waiting:
            case "head" if waited > limits.head_seconds:
                self._expire(
                    Rejection(408, INVALID_REQUEST, f"no complete head within {limits.head_seconds:g} s")
                )
            case "request" if waited > self._idle_limit():
                self.abort()
            case "body" if waited > limits.body_grace_seconds:
                if self._received < limits.body_rate * limits.body_grace_seconds:
                    self._expire(too_slow_body(limits))
                else:
                    self._wait_for("body")
            case "reader":
                self._watch_reader(now)
            case _:
                if self._queue is not None and now - self._last_sent >= limits.heartbeat_seconds:
                    self._last_sent = now
                    self._queue.heartbeat()

    def _watch_reader(self, now: float) -> None:
        """Close the connection of a peer that does not read what is sent."""
        seconds, queue = self.limits.write_stall_seconds, self._queue
        taken: int = self._wire.sent - unread_by_peer(self._sock)
        if taken != self._peer_received:
            self._peer_received, self._since = taken, now
            if queue is not None:
                queue.on_progress()
        elif now - self._since > seconds and not self._is_aggregate:
            self._service.log.warning("client_stalled", peer=self.peer, seconds=seconds)
            if queue is not None:
                queue.on_stall()
            self.abort()

    def _idle_limit(self) -> float:
        if self._service.ticker.shutting_down:
            return _LAST_REST
        return self.limits.keep_alive_seconds if self._seat.principal else self.limits.head_seconds

    def _is_open(self) -> bool:
        # After a direct response the queue is still attached, and closed.
        return self._queue is not None and self._queue.state == OPEN

    def abort(self) -> None:
        """Shut the socket down, which wakes the task with an end of file or a broken pipe."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _expire(self, rejection: Rejection) -> None:
        self.count_refusal(rejection)
        # Sent only if it fits into the socket buffer. Over TLS the peer reads an end of file only.
        if self._plain is not None:
            with contextlib.suppress(OSError):
                self._sock.send(last_response(rejection))
        self._waiting = ""
        self.abort()

    def _ready(self, left: bool) -> None:  # noqa: FBT001 - signature of poller.Ready
        if left:
            self._on_disconnect()
        plain, eager, service = self._plain, self._last_eager, self._service
        if plain is None:
            return
        if (
            self._eager_next
            and eager is not None
            and self._generation == service.route.generation
            and not service.ticker.shutting_down
        ):
            self._begin_eagerly(plain, eager)
        else:
            plain.ready(left=left)

    def _on_disconnect(self) -> None:
        self._disconnected, self._eager_next = True, False
        if self._queue is None:
            return
        # The reader of an upgraded connection reads the input before the end of file first.
        if self._ends_with_client and not self._upgraded:
            self._queue.on_disconnect()
        elif not self._answered:
            # The peer may have closed its sending side only, and gets its response.
            self._last_sent = self._service.ticker.now

    async def _linger(self) -> None:
        # Closing a socket with unread input would reset the connection (responses.LINGER_SECONDS).
        if not self._close:
            return
        self._waiting = ""
        seconds, self._to_drop = self._linger_limits()
        with trio.move_on_after(seconds):
            self._sock.shutdown(socket.SHUT_WR)
            await self._drop()

    async def _drop(self) -> None:
        while self._to_drop > 0:
            count = await self._wire.drop()
            self._to_drop -= count or self._to_drop

    def _linger_limits(self) -> tuple[float, int]:
        """Return for how long (seconds) and how many bytes input is read and dropped after the last response."""
        if not (self._admitted and self.principal and (self._body_pending or self._upgraded)):
            return LINGER_SECONDS, LINGER_BYTES
        most = DRAIN_BODIES * self.limits.body
        length = self.head.content_length
        return _DRAIN_SECONDS, most if length is None else min(length, most)


class _Http1Upgrade:
    """The bytes of an upgraded connection, first those that were read with the head (ports.UpgradedStream)."""

    def __init__(
        self,
        wire: Wire,
        plain: PlainWire | None,
        read_ahead: bytes,
        send: Callable[[bytes], Awaitable[None]],
        receiving: Callable[[], contextlib.AbstractContextManager[Callable[[int], None]]],
        *,
        exempt_from_pings: bool,
    ) -> None:
        self._wire = wire
        self._plain = plain
        self._read_ahead = read_ahead
        self._send = send
        self.receiving = receiving
        self.exempt_from_pings = exempt_from_pings

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some bytes, or none at the end. Raises trio.BrokenResourceError."""
        if self._read_ahead:
            data, self._read_ahead = self._read_ahead, b""
            return data
        try:
            return await self._wire.receive(max_bytes or READ)
        except OSError as fault:
            raise trio.BrokenResourceError from fault

    async def send_all(self, data: bytes) -> None:
        """Send all data. Raises trio.BrokenResourceError."""
        try:
            await self._send(data)
        except OSError as fault:
            raise trio.BrokenResourceError from fault

    def send_some(self, data: bytes) -> int:
        """Send without waiting and return the number of bytes; over TLS send nothing."""
        if self._plain is None:
            return 0
        try:
            return self._plain.send_some(data)
        except OSError:
            # The peer has disconnected, which is an edge of its own.
            return len(data)
