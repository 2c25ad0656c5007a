"""One HTTP/1.1 connection of a client, and the responses on it (RFC 9112). h11 parses; sizes and times have limits here.

A response is read only as far as its user reads it. Closing it early closes the connection at once, which is how a request is
cancelled (MCP 2026-07-28 basic/transports).
"""

import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import h11
import trio

from ..options import Headers
from .connector import Connection, is_certificate_alert
from .ports import Unreachable

# The largest head of a response, together with interim responses before it (bytes).
LARGEST_HEAD: Final = 16 * 1024
_PIECE: Final = 64 * 1024
# A request body up to this size fits into the send buffer of a socket, so that writing it does not wait for the server.
_SMALL: Final = 64 * 1024
# The first byte of a TLS alert (RFC 8446 section 5.1).
_TLS_ALERT: Final = b"\x15"
# Time that an idle connection is kept if the server does not announce another (seconds). Common servers close after 5 seconds.
KEEP_SECONDS: Final = 4.0
_LONGEST_KEEP_SECONDS: Final = 60.0
# Parts of a body that are returned without waiting, before other tasks run. Each chunk of the chunked coding is a part.
_MOST_AT_ONCE: Final = 16


class RemoteResponse:
    """A response whose body has not been read yet. Header names are in lower case."""

    def __init__(self, http: "HttpConnection", head: h11.Response | h11.InformationalResponse) -> None:
        self.status = head.status_code
        # With status 101: the connection, and the bytes of the other protocol that were received already.
        self.upgraded = http.upgraded if head.status_code == 101 else None
        fields: dict[str, list[str]] = {}
        for name, value in head.headers:
            fields.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        # Values of repeated fields are joined with a comma (RFC 9110 section 5.3).
        self.headers: Mapping[str, str] = {name: ", ".join(values) for name, values in fields.items()}
        # Each field, because a challenge contains commas.
        self.www_authenticate = tuple(fields.get("www-authenticate", ()))
        self._http = http
        self._decode = _decoder(self.headers.get("content-encoding", ""), http.name)
        # Decoded pieces that were not returned yet.
        self._decoded: Iterator[bytes] = iter(())
        # The whole body, once it was read by `preload`.
        self._preloaded: list[bytes] | None = None
        # The end of the body was read.
        self._ended = False
        # Parts that were returned, and their bytes.
        self._parts = self._size = 0
        # The connection may carry another response already.
        self._closed = False

    async def receive(self) -> bytes:
        """Return the next part of the body, empty at its end. Raises Unreachable for an incomplete body.

        Raises ClosedResourceError after `close`.
        """
        if self._preloaded is not None:
            return self._preloaded.pop(0) if self._preloaded else b""
        if self._closed:
            raise trio.ClosedResourceError("the context of the response was left")
        piece = next(self._decoded, b"")
        while not (piece or self._ended):
            data = await self._http.receive_body()
            if not data:
                self._ended = True
            elif self._decode is None:
                piece = data
            else:
                self._decoded = self._decode(data)
                piece = next(self._decoded, b"")
        self._parts += 1
        if not self._parts % _MOST_AT_ONCE:
            # Parts that were received already are returned without waiting.
            await trio.lowlevel.checkpoint()
        self._size += len(piece)
        if self._http.most is not None and self._size > self._http.most:
            raise self._over(self._http.most)
        return piece

    async def preload(self, limit: int) -> None:
        """Read the body, so that it can be received when the connection is closed.

        It ends at `limit` bytes, at a fault, and where this is cancelled.
        """
        parts: list[bytes] = []
        size = 0
        try:
            while size < limit and (piece := await self.receive()):
                parts.append(piece[: limit - size])
                size += len(piece)
        except Unreachable:
            pass
        finally:
            # Also if it was cancelled: the rest is not read later.
            self._preloaded = parts

    def close(self) -> None:
        """Read no further part of the body."""
        self._closed = True

    def chunks(self) -> "_Chunks":
        """Return an asynchronous iterator over the rest of the body, in parts as they arrive."""
        return _Chunks(self)

    async def read(self, limit: int) -> bytes:
        """Return the rest of the body. Raises Unreachable for a body of more than `limit` bytes."""
        body = bytearray()
        while piece := await self.receive():
            body += piece
            if len(body) > limit:
                raise self._over(limit)
        return bytes(body)

    def _over(self, limit: int) -> Unreachable:
        return Unreachable(f"{self._http.name} sent a response of more than {limit} bytes", sent=True)


class _Chunks:
    """The parts of one body. Not a generator, because there is nothing to finish when its user leaves early."""

    def __init__(self, response: RemoteResponse) -> None:
        self._response = response

    def __aiter__(self) -> "_Chunks":
        return self

    async def __anext__(self) -> bytes:
        piece = await self._response.receive()
        if not piece:
            raise StopAsyncIteration
        return piece


class HttpConnection:
    """A connection, which carries one request after the other. `name` is the origin in error texts."""

    def __init__(self, connection: Connection, name: str, write_stall_seconds: float) -> None:
        self.connection = connection
        self.name = name
        # The largest body of a response (bytes), and when it must have been read (trio.current_time()).
        self.most: int | None = None
        self.deadline = math.inf
        # The longest time without a byte of the response (seconds).
        self.idle_seconds = math.inf
        # Until when the connection can be used again (trio.current_time()), set by `finish`.
        self.expires = 0.0
        self._write_stall_seconds = write_stall_seconds
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)
        # Bytes of the request that were passed to the kernel, and received bytes before the head was complete.
        self._written = 0
        self._head_bytes = 0
        self._keep_seconds = KEEP_SECONDS
        # Set by a response of status 101 (RFC 9110 section 7.8).
        self.upgraded: tuple[Connection, bytes] | None = None

    async def exchange(self, method: str, target: str, headers: Headers, body: bytes) -> RemoteResponse:
        """Send a request and return its response. Raises Unreachable. The connection is closed if it fails."""
        self._written = self._head_bytes = 0
        try:
            request = h11.Request(method=method, target=target, headers=list(headers))
            data = self._h11.send(request) or b""
            if body:
                data += self._h11.send(h11.Data(body)) or b""
            data += self._h11.send(h11.EndOfMessage()) or b""
            if len(data) <= _SMALL:
                fault = await self._write(data)
                head = await self._receive_head(fault)
            else:
                head = await self._write_and_receive(data)
            return RemoteResponse(self, head)
        except BaseException:
            self.connection.close()
            raise

    async def _write_and_receive(self, data: bytes) -> h11.Response | h11.InformationalResponse:
        """Write a request while the response is awaited: a server may refuse a body before it has read it."""
        faults: list[str] = []
        heads: list[h11.Response | h11.InformationalResponse | Unreachable] = []
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                try:
                    heads.append(await self._receive_head("", faults))
                except Unreachable as fault:
                    heads.append(fault)
                nursery.cancel_scope.cancel()

            nursery.start_soon(read)
            try:
                fault = await self._write(data)
            except Unreachable as stalled:
                heads.append(stalled)
                nursery.cancel_scope.cancel()
            else:
                faults.extend([fault] if fault else [])
        head = heads[0]
        if isinstance(head, Unreachable):
            raise head
        if self._written < len(data):
            # The rest of the request cannot follow on this connection.
            self._keep_seconds = 0
        return head

    async def _write(self, data: bytes) -> str:
        """Write a request. Returns why it could not be written, or an empty text.

        A server may close the connection early and have sent a response before, so that the response is read in any case.
        """
        stream = self.connection.stream
        view = memoryview(data)
        try:
            while view:
                with trio.fail_after(self._write_stall_seconds):
                    if isinstance(stream, trio.SocketStream):
                        # After a fault of send_all it is unknown how much was written.
                        sent = await stream.socket.send(view[:_PIECE])
                    else:
                        sent = len(view[:_PIECE])
                        self._written = self._written or 1
                        await stream.send_all(bytes(view[:_PIECE]))
                self._written += sent
                view = view[sent:]
        except trio.TooSlowError:
            raise self._failed(f"has not read the request for {self._write_stall_seconds:g} s") from None
        except (OSError, trio.BrokenResourceError) as fault:
            if is_certificate_alert(fault):
                self._written = 0
                return "requires a client certificate that it accepts"
            return "closed the connection before it had read the request"
        return ""

    async def _receive_head(
        self, fault: str, faults: list[str] | None = None
    ) -> h11.Response | h11.InformationalResponse:
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                raise self._invalid(error) from None
            if isinstance(event, h11.Response):
                self._take_keep_alive(event)
                return event
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                self.upgraded = self.connection, self._h11.trailing_data[0]
                return event
            if event is not h11.NEED_DATA:
                # An interim response (RFC 9110 section 15.2).
                continue
            room = LARGEST_HEAD - self._head_bytes
            if room <= 0:
                raise self._failed(f"sent a response head of more than {LARGEST_HEAD} bytes")
            data = await self._receive(room, fault or (faults[0] if faults else ""))
            if not self._head_bytes and data[:1] == _TLS_ALERT and not self.name.startswith("https"):
                self._written = 0
                raise self._failed("requires TLS; use an https:// URL")
            self._head_bytes += len(data)
            self._h11.receive_data(data)

    async def receive_body(self) -> bytes:
        """Return the next bytes of the body, empty at its end. Raises Unreachable."""
        ended = False
        try:
            while True:
                try:
                    event = self._h11.next_event()
                except h11.RemoteProtocolError:
                    if ended:
                        raise self._failed("closed the connection in the middle of a response") from None
                    raise self._failed("sent an invalid response") from None
                if isinstance(event, h11.Data):
                    if not event.data:
                        continue
                    return bytes(event.data)
                if event is h11.NEED_DATA:
                    data = await self._receive(_PIECE, "", body=True)
                    ended = not data
                    self._h11.receive_data(data)
                else:
                    return b""
        except BaseException:
            self.connection.close()
            raise

    async def _receive(self, size: int, fault: str, *, body: bool = False) -> bytes:
        """Return received bytes; empty at the end of the stream in the middle of a body."""
        what = "rest of the response" if body else "response"
        idle = trio.current_time() + self.idle_seconds
        try:
            with trio.fail_at(min(self.deadline, idle)):
                data = bytes(await self.connection.stream.receive_some(size))
        except trio.TooSlowError:
            if idle < self.deadline:
                raise self._failed(f"has sent nothing for {self.idle_seconds:g} s") from None
            raise self._failed("has not sent a complete response in time") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            if is_certificate_alert(error):
                self._written = 0
                raise self._failed("requires a client certificate that it accepts") from None
            raise self._failed(fault or f"closed the connection before it had sent the {what}") from None
        if not data and not body:
            raise self._failed(fault or "closed the connection before it had sent a response")
        return data

    def _failed(self, predicate: str) -> Unreachable:
        return Unreachable(f"{self.name} {predicate}", sent=self._written > 0)

    def _invalid(self, error: h11.RemoteProtocolError) -> Unreachable:
        if error.error_status_hint == 431 or "too long" in str(error):
            return self._failed(f"sent a response head of more than {LARGEST_HEAD} bytes")
        return self._failed("did not send a valid HTTP/1.1 response")

    def _take_keep_alive(self, head: h11.Response) -> None:
        """Store how long the server keeps an idle connection: Keep-Alive: timeout=SECONDS."""
        self._keep_seconds = KEEP_SECONDS
        names = {name for name, _ in head.headers}
        if {b"content-length", b"transfer-encoding"} <= names:
            # Two readings of the end of the body: no other response follows on this connection (RFC 9112 section 6.3).
            self._keep_seconds = 0
        for name, value in head.headers:
            if name == b"keep-alive":
                for part in value.lower().split(b","):
                    key, _, number = part.strip().partition(b"=")
                    if key == b"timeout" and number.isdigit() and len(number) < 6:
                        # One second less, because the request must arrive before.
                        self._keep_seconds = min(max(int(number) - 1.0, 0), _LONGEST_KEEP_SECONDS)

    def finish(self) -> bool:
        """Return whether the connection can carry another request. Otherwise it is closed."""
        try:
            # The end of the body may have been received and not been read.
            for _ in range(_MOST_AT_ONCE):
                if not isinstance(self._h11.next_event(), h11.Data):
                    break
            done = self._h11.our_state is self._h11.their_state is h11.DONE
            if done and self._keep_seconds > 0 and not self._h11.trailing_data[0]:
                self._h11.start_next_cycle()
                self.expires = trio.current_time() + self._keep_seconds
                return True
        except h11.RemoteProtocolError:
            pass
        self.connection.close()
        return False

    @property
    def usable(self) -> bool:
        """Whether the idle connection can carry a request: the server has not closed it and will not soon."""
        return trio.current_time() < self.expires and not self.connection.readable


def _decoder(coding: str, name: str) -> Callable[[bytes], Iterator[bytes]] | None:
    """Return the decoder of a content coding, None for identity. Raises Unreachable for an unknown coding.

    No coding is requested, but some intermediaries compress anyway. Parts of at most 64 KiB are decoded, so that no input needs
    much memory at once.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return None
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise Unreachable(
            f"{name} sent a response in the content coding {coding[:32]!r}, which was not requested",
            sent=True,
        )
    # 32 more than the window size: zlib detects the header of gzip or of zlib.
    inflate = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)

    def decode(data: bytes) -> Iterator[bytes]:
        try:
            while data:
                piece = inflate.decompress(data, _PIECE)
                data = inflate.unconsumed_tail
                if piece:
                    yield piece
                elif inflate.eof:
                    return
        except zlib.error:
            raise Unreachable(f"{name} sent a response with invalid compression", sent=True) from None

    return decode
