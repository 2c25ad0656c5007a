"""One request and its response over HTTP/1.1."""

import contextlib
import ipaddress
import select
import socket
from collections.abc import Callable, Generator
from functools import lru_cache, partial
from typing import Final

import trio

from ...validators.http_body import check_length
from ...validators.http_head import Head
from ...validators.rejection import INVALID_REQUEST, Rejection
from ..client_process import PRINCIPAL_HEADER, Caller
from ..lent_descriptors import LentDescriptors
from ..options import Headers
from ..ports import Continuation, OnInput, UpgradedStream
from ..send_queue import SendQueue
from ..socket_owner import owner_of_far_end
from ..ticker import TICK
from ..turns import large_turns
from .http1_stream import Http1Stream, Wait
from .responses import JSON_LINE, REASONS, SAFE_LINES, STREAM_LINES, header_lines
from .wire import ONE_SEND, READ

# From this size (bytes) on, a body is handled in a turn of its own.
_LARGE: Final = 64 * 1024


@lru_cache(maxsize=1)
def _before_length(date: bytes) -> bytes:
    """Return the head of most responses, up to the length of the body."""
    return b"HTTP/1.1 200 OK\r\nDate: %b\r\n%b%bContent-Length: " % (date, SAFE_LINES, JSON_LINE)


class Http1Exchange:
    """One request and its response. Each request has an object of its own. `ports.Exchange` describes the methods."""

    __slots__ = (
        "_stream",
        "answered",
        "body_pending",
        "caller",
        "continuation",
        "cors",
        "ends_with_client",
        "head",
        "principal",
        "send_queue",
        "sent_directly",
        "streaming",
        "unsent",
        "upgraded",
    )

    def __init__(
        self, stream: Http1Stream, head: Head, principal: str, caller: Caller, cors: Headers
    ) -> None:
        self.head = head
        self.principal = principal
        self.caller = caller
        self.cors = cors
        self._stream = stream
        # Whether a body follows the head and was not read.
        self.body_pending = False
        # Whether a response has begun.
        self.answered = False
        # Whether the response is a chunked event stream that has not ended.
        self.streaming = False
        self.upgraded = False
        # The attached queue, and whether it is discarded when the client closes its sending side.
        self.send_queue: SendQueue | None = None
        self.ends_with_client = False
        # The rest of a response that was sent directly in part.
        self.unsent = b""
        # Whether the response was sent without the task, which still waits.
        self.sent_directly = False
        # The rest of the work on a request that was begun without the task.
        self.continuation: Continuation | None = None

    async def read_body(self) -> bytes:
        if not self.body_pending:
            return b""
        head, stream = self.head, self._stream
        check_length(head, stream.service.limits.body)
        length = head.content_length
        if length is not None and length <= len(stream.buffer):
            body = stream.buffer[:length]
            stream.buffer = stream.buffer[length:]
        else:
            if head.expect_continue:
                await stream.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await stream.read_body(length, self.principal)
            if len(body) > _LARGE:
                await large_turns.wait(self.principal)
        self.body_pending = False
        return body

    def drop_body(self) -> bool:
        """Drop the received bytes of an unread body. Returns False where more would come, and the connection must end."""
        if not self.body_pending:
            return True
        stream, length = self._stream, self.head.content_length
        if stream.close or self.head.chunked or length is None or length > len(stream.buffer):
            stream.close = True
            return False
        stream.buffer = stream.buffer[length:]
        return True

    async def answer(
        self,
        status: int,
        content_type: bytes,
        body: bytes,
        headers: Headers = (),
        *,
        protection: Headers | None = None,
    ) -> None:
        stream = self._stream
        if self.cors:
            headers += self.cors
        more = b""
        if headers:
            more = header_lines(headers)
        if content_type:
            more += b"Content-Type: %b\r\n" % content_type
        if stream.close or (self.body_pending and not self._body_is_here()):
            stream.close = True
            more += b"Connection: close\r\n"
        safe = SAFE_LINES if protection is None else header_lines(protection)
        head = self._response_head(status, more, None if status == 204 else len(body), safe)
        self.answered = True
        if self.head.method == "HEAD":
            body = b""
        if len(body) <= ONE_SEND:
            await stream.send(head + body)
        else:
            await stream.send(head)
            await stream.send(body)

    def _body_is_here(self) -> bool:
        length = self.head.content_length
        return length is not None and length <= len(self._stream.buffer)

    def _response_head(self, status: int, more: bytes, length: int | None, safe: bytes = SAFE_LINES) -> bytes:
        end = b"\r\n" if length is None else b"Content-Length: %d\r\n\r\n" % length
        date = self._stream.service.ticker.date
        return b"HTTP/1.1 %d %b\r\nDate: %b\r\n%b%b%b" % (
            status,
            REASONS[status],
            date,
            safe,
            more,
            end,
        )

    async def begin_stream(self, headers: Headers = ()) -> None:
        stream = self._stream
        self.answered = True
        framing = b"Transfer-Encoding: chunked\r\n"
        self.streaming = True
        if self.head.version == 10:
            framing, self.streaming, stream.close = b"", False, True
        if stream.close:
            framing += b"Connection: close\r\n"
        await stream.send(
            b"HTTP/1.1 200 OK\r\nDate: %b\r\n%b%b%b\r\n"
            % (stream.service.ticker.date, STREAM_LINES, header_lines(headers + self.cors), framing)
        )

    async def write(self, data: bytes) -> None:
        await self._stream.send(b"".join((b"%x\r\n" % len(data), data, b"\r\n")) if self.streaming else data)

    async def end(self) -> None:
        """Send the rest of the response."""
        if self.unsent:
            unsent, self.unsent = self.unsent, b""
            await self._stream.send(unsent)
            if self.send_queue is not None:
                self.send_queue.on_sent()
        if self.streaming:
            await self._stream.wire.send(b"0\r\n\r\n")

    def queue(self, *, direct: bool = False) -> SendQueue:
        stream = self._stream
        queue = SendQueue(stream.service.limits, stream.slot)
        if direct and stream.plain is not None and not (stream.close or self.body_pending or stream.buffer):
            queue.shortcut = self._answer_directly
        return queue

    def _answer_directly(self, body: bytes) -> bool:
        # Called in `enqueue`, while the task of the connection waits. The next request or the end of the connection wakes
        # the task, unless `Connection` begins that request without it. If the next request was received already, no edge
        # will come, so the task itself must send.
        stream = self._stream
        plain, queue = stream.plain, self.send_queue
        if plain is None or plain.readable or len(body) > ONE_SEND:
            return False
        status = 200 if queue is None else queue.status
        if status == 200 and not self.cors:
            data = b"%b%d\r\n\r\n%b" % (_before_length(stream.service.ticker.date), len(body), body)
        else:
            data = self._response_head(status, JSON_LINE + header_lines(self.cors), len(body)) + body
        self.answered = True
        try:
            sent = plain.send_some(data)
        except OSError:
            # The peer has disconnected, which is an edge of its own.
            sent = len(data)
        if sent < len(data):
            self.unsent = data[sent:]
            if queue is not None:
                queue.count_unsent(len(self.unsent))
            stream.slot.wake()
        else:
            stream.deadline.start(Wait.REQUEST, stream.service.ticker.now)
            self.continuation = None
            self.sent_directly = True
        return True

    def attach(
        self, queue: SendQueue, *, ends_with_client: bool, first_heartbeat: float | None = None
    ) -> None:
        stream = self._stream
        self.send_queue = queue
        self.ends_with_client = ends_with_client
        stream.last_sent = stream.service.ticker.now
        if stream.disconnected:
            if ends_with_client and not self.upgraded:
                queue.on_disconnect()
        elif first_heartbeat is not None:
            # As if the last bytes were sent this long ago. The clock may be a tick late.
            stream.last_sent -= max(0.0, stream.service.limits.heartbeat_seconds - first_heartbeat - TICK)

    def on_disconnect(self) -> None:
        """Handle the end of the input of the client."""
        if self.send_queue is None:
            return
        # The reader of an upgraded connection reads the input before the end of file first.
        if self.ends_with_client and not self.upgraded:
            self.send_queue.on_disconnect()
        elif not self.answered:
            # The peer may have closed its sending side only, and gets its response.
            self._stream.last_sent = self._stream.service.ticker.now

    def upgrade(self, *, local: bool = False) -> UpgradedStream:
        stream = self._stream
        if local and (stream.plain is None or not _is_local(stream.sock)):
            raise Rejection(
                400,
                INVALID_REQUEST,
                "the pipe endpoint is on the Unix socket, and on loopback without TLS",
            )
        self.upgraded = True
        stream.close = True
        # The aggregate reads as fast as its own client, which has a time limit. Other peers are refused with this header.
        delegates = stream.service.gate.delegates is not None
        is_aggregate = delegates and PRINCIPAL_HEADER in self.head.headers
        # The kernel reports the end of a local peer. One that is only stopped is kept, as a server on stdio keeps its client.
        stream.may_stall = is_aggregate or local
        return _Http1Upgrade(
            stream,
            partial(stream.service.quota.receiving, self.principal),
            # The kernel reports the end of a peer on the same machine, so a Unix socket needs no pings.
            exempt_from_pings=is_aggregate or stream.sock.family == socket.AF_UNIX,
        )

    def count_refusal(self, rejection: Rejection) -> None:
        service, principal = self._stream.service, self.principal
        server = service.route.owner(self.head.path) if principal else ""
        service.refusals.count(rejection, self._stream.peer, principal, server)


def _is_local(sock: socket.socket) -> bool:
    """Return whether the peer is on this machine."""
    if sock.family == socket.AF_UNIX:
        return True
    try:
        return ipaddress.ip_address(sock.getpeername()[0]).is_loopback
    # The peer has disconnected.
    except OSError:
        return False


def _has_no_owner(sock: socket.socket) -> bool:
    """Return whether the socket at the other end of a TCP connection on this machine was closed."""
    try:
        owner = owner_of_far_end(sock)
    except OSError:
        return True
    return owner is not None and not owner[1]


class _Http1Upgrade:
    """The bytes of an upgraded connection, first those that were read with the head (ports.UpgradedStream)."""

    def __init__(
        self,
        stream: Http1Stream,
        receiving: Callable[[], contextlib.AbstractContextManager[Callable[[int], None]]],
        *,
        exempt_from_pings: bool,
    ) -> None:
        self._stream = stream
        self._wire = stream.wire
        self._plain = stream.plain
        self._read_ahead = stream.buffer
        self._send = stream.send
        self.receiving = receiving
        self.exempt_from_pings = exempt_from_pings

    @property
    def gone(self) -> bool:
        """Whether the peer has closed the connection in both directions (ports.ByteStream)."""
        poll = select.poll()
        # These events are reported without being requested (poll(2)).
        poll.register(self._stream.sock, 0)
        if any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0)):
            return True
        sock = self._stream.sock
        # TCP does not tell a half-close from the end of a process, but the socket of that process has no owner any more.
        return sock.family != socket.AF_UNIX and _has_no_owner(sock)

    @contextlib.contextmanager
    def lent_descriptors(self) -> Generator[LentDescriptors | None]:
        """Receive descriptors while the context is open (ports.UpgradedStream)."""
        plain, stream = self._plain, self._stream
        if plain is None or stream.sock.family != socket.AF_UNIX:
            yield None
            return
        lent = LentDescriptors(stream.sock, stream.service.poller)
        receive, plain.receive_bytes = plain.receive_bytes, lent.receive
        try:
            yield lent
        finally:
            plain.receive_bytes = receive
            lent.close()

    def call_when_revoked(self, call: Callable[[], None]) -> None:
        """Call `call` when the client is no longer admitted (ports.UpgradedStream)."""
        self._stream.on_revoked = call

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some bytes, or none at the end. Raises trio.BrokenResourceError."""
        if self._read_ahead:
            data, self._read_ahead = self._read_ahead, b""
            return data
        try:
            return await self._wire.receive(max_bytes or READ)
        except OSError as fault:
            raise trio.BrokenResourceError from fault

    async def pass_input(self, max_bytes: int, on_input: OnInput) -> bool:
        """Pass input to `on_input` in the callback that reads it (ports.UpgradedStream). Over TLS return False."""
        if self._plain is None or self._read_ahead:
            return False
        return await self._plain.pass_input(max_bytes, on_input)

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
