"""An HTTP/1.1 proxy that breaks exchanges on purpose, between a client and a real server on the loopback.

For each request a function chooses a fault or none. A fault that breaks an answer passes the request on first, therefore the
server has carried it out; the other faults do not pass it on.
"""

import json
import math
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Literal

import attrs
import h11
import trio

# Limit on a request of the client, and on what one read returns (bytes).
_LARGEST, _READ = 1 << 26, 1 << 16
_HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding"}

Kind = Literal[
    # No fault.
    "none",
    # The connection is broken after the request. The server gets nothing.
    "cut before",
    # The proxy answers with `status` itself. The server gets nothing.
    "refuse",
    # The server gets a DELETE of the session of this request, then the request.
    "forget",
    # The server carries the request out, and the client gets no answer, a part of the head, or a part of the body.
    "cut after",
    "cut head",
    "cut body",
    # As "cut body", but the part ends with an event of an event stream.
    "cut events",
    # The server carries the request out, and the client gets `status` instead.
    "replace",
    # The whole answer is passed on, and then the connection is broken, although the head has promised to keep it.
    "cut idle",
    # The request is passed on after `seconds`, or the answer.
    "delay request",
    "delay answer",
]
# Faults after which the server may have carried out the request.
EXECUTED: frozenset[str] = frozenset(
    {"none", "cut after", "cut head", "cut body", "cut events", "replace", "cut idle", "delay request"}
    | {"delay answer", "forget"}
)


@attrs.frozen
class Fault:
    kind: Kind = "none"
    # How a connection is broken: with RST, with FIN, with FIN while the proxy goes on reading for a moment, or (in a body)
    # with a correct end of the body.
    how: Literal["reset", "close", "half-close", "end"] = "reset"
    # Where it is broken: the share of the bytes of that part of the answer, or the number of events.
    share: float = 0.5
    events: int = 1
    status: int = 502
    seconds: float = 0.05


@attrs.frozen
class Request:
    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @property
    def rpc_method(self) -> str:
        """Return the method of the JSON-RPC message, "response" for a response, or "" for no message."""
        if not self.body:
            return ""
        message = json.loads(self.body)
        return message.get("method", "response") if isinstance(message, dict) else "batch"

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)


class _Broken(Exception):
    """The connection to the client has been broken on purpose."""


_GONE = (_Broken, trio.BrokenResourceError, trio.ClosedResourceError)


class _Client:
    """A connection of the client. h11 frames what is sent, and a limit on the bytes cuts it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.http = h11.Connection(h11.SERVER)

    async def request(self) -> Request | None:
        """Return the next request, or None if the client has closed the connection."""
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self.http.next_event()
            if event is h11.NEED_DATA:
                self.http.receive_data(await self.stream.receive_some(_READ))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                assert len(body) <= _LARGEST
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return Request(head.method.decode(), head.target, tuple(head.headers), bytes(body))
            else:
                return None

    async def send(self, event: h11.Event, share: float = 1) -> None:
        """Send an event, or this share of its bytes."""
        data = self.http.send(event) or b""
        await self.stream.send_all(data[: math.ceil(len(data) * share)])

    async def break_off(self, how: str) -> None:
        """Break the connection. Raises _Broken always."""
        if how == "reset":
            self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == "half-close":
            await self.stream.send_eof()
            # The other half of the connection stays open for a moment.
            await trio.sleep(0.2)
        await self.stream.aclose()
        raise _Broken


class FaultProxy:
    """A proxy in front of a server on the loopback. `choose` is called with each request that is read whole."""

    def __init__(self, port: int, choose: Callable[[Request], Fault]) -> None:
        self._server = port
        self._choose = choose
        # Number of faults by kind, and of requests by JSON-RPC method.
        self.faults: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.port = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until the task is cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, listener)
            task_status.started()

    async def _listen(self, listener: trio.SocketListener) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                with trio.CancelScope() as self._listening:
                    await trio.serve_listeners(self._serve, [listener], handler_nursery=nursery)
                await listener.aclose()
                await trio.sleep(self._refused_for)
                (listener,) = await trio.open_tcp_listeners(self.port, host="127.0.0.1")

    def refuse_connections(self, seconds: float) -> None:
        """Refuse new connections for this time. Established connections stay."""
        self.faults["refused connections"] += 1
        self._refused_for = seconds
        self._listening.cancel()

    async def _serve(self, stream: trio.SocketStream) -> None:
        client = _Client(stream)
        try:
            async with stream:
                while await self._exchange(client):
                    client.http.start_next_cycle()
        except (*_GONE, h11.RemoteProtocolError):
            # The client has gone, as it may.
            return

    async def _exchange(self, client: _Client) -> bool:
        """Pass one request on, or break it. Return whether the connection can be used again."""
        request = await client.request()
        if request is None:
            return False
        fault = self._choose(request)
        self.faults[fault.kind] += 1
        self.requests[request.rpc_method or request.method] += 1
        if fault.kind == "cut before":
            await client.break_off(fault.how)
        if fault.kind == "refuse":
            await _refuse(client, fault.status)
        else:
            if fault.kind == "forget" and request.header(b"mcp-session-id"):
                await self._forget(request)
            if fault.kind == "delay request":
                await trio.sleep(fault.seconds)
            await self._pass_on(client, request, fault)
        if fault.kind == "cut idle":
            await client.break_off(fault.how)
        return client.http.our_state is h11.DONE and client.http.their_state is h11.DONE

    async def _forget(self, request: Request) -> None:
        kept = [pair for pair in request.headers if pair[0].startswith((b"mcp-", b"host", b"authorization"))]
        deletion = Request("DELETE", request.target, tuple(kept), b"")
        await self._carry_out(deletion)

    async def _carry_out(self, request: Request) -> None:
        async with aclosing(self._ask(request)) as answer:
            async for _ in answer:
                pass

    async def _ask(self, request: Request) -> AsyncIterator[h11.Event]:
        """Send a request to the server on a connection of its own, and yield the events of the answer."""
        http = h11.Connection(h11.CLIENT)
        headers = [pair for pair in request.headers if pair[0] not in _HOP_BY_HOP | {b"content-length"}]
        if request.body:
            headers.append((b"content-length", str(len(request.body)).encode()))
        async with await trio.open_tcp_stream("127.0.0.1", self._server) as stream:
            head = h11.Request(
                method=request.method, target=request.target, headers=[*headers, (b"connection", b"close")]
            )
            data = http.send(head) or b""
            if request.body:
                data += http.send(h11.Data(data=request.body)) or b""
            data += http.send(h11.EndOfMessage()) or b""
            await stream.send_all(data)
            while True:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    http.receive_data(await stream.receive_some(_READ))
                    continue
                yield event
                if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                    return

    async def _pass_on(self, client: _Client, request: Request, fault: Fault) -> None:
        """Send the request to the server, and its answer, broken by the fault, to the client. Raises _Broken."""
        broken: Exception | None = _Broken()
        async with trio.open_nursery() as nursery:
            # A client that leaves takes its request with it, as behind any proxy.
            nursery.start_soon(_watch, client, nursery.cancel_scope)
            try:
                await self._answer(client, request, fault)
                broken = None
            except (*_GONE, h11.RemoteProtocolError) as gone:
                broken = gone
            except OSError:
                await _refuse(client, 502)
                broken = None
            nursery.cancel_scope.cancel()
        if broken is not None:
            await client.stream.aclose()
            raise broken

    async def _answer(self, client: _Client, request: Request, fault: Fault) -> None:
        if fault.kind == "replace":
            await self._carry_out(request)
            await _refuse(client, fault.status)
            return
        async with aclosing(self._ask(request)) as answer:
            await self._copy(answer, client, fault)

    async def _copy(self, answer: AsyncIterator[h11.Event], client: _Client, fault: Fault) -> None:
        stream = False
        events = 0
        held = b""
        async for event in answer:
            if isinstance(event, h11.InformationalResponse):
                continue
            if isinstance(event, h11.Response):
                stream = dict(event.headers).get(b"content-type", b"").startswith(b"text/event-stream")
                if fault.kind == "delay answer":
                    await trio.sleep(fault.seconds)
                if fault.kind == "cut after":
                    # The head comes from some servers before the request is carried out, and the end certainly after it.
                    continue
                kept = [pair for pair in event.headers if pair[0] not in _HOP_BY_HOP]
                head = h11.Response(
                    status_code=event.status_code, headers=kept, reason=event.reason, http_version=b"1.1"
                )
                if fault.kind == "cut head":
                    await client.send(head, fault.share)
                    await client.break_off(fault.how)
                await client.send(head)
            elif isinstance(event, h11.Data):
                data = bytes(event.data)
                if fault.kind == "cut after":
                    continue
                if fault.kind == "cut body" and not (stream and fault.share >= 1):
                    await self._cut(client, data, fault)
                if fault.kind == "cut events" and stream:
                    held += data
                    while b"\n\n" in (text := held.replace(b"\r\n", b"\n")):
                        whole, held = text.split(b"\n\n", 1)
                        await client.send(h11.Data(data=whole + b"\n\n"))
                        events += 1
                        if events >= fault.events:
                            await self._cut(client, b"", fault)
                    continue
                await client.send(h11.Data(data=data))
            elif isinstance(event, h11.EndOfMessage):
                if fault.kind == "cut after":
                    await client.break_off(fault.how)
                if held:
                    await client.send(h11.Data(data=held))
                await client.send(h11.EndOfMessage())
            else:
                raise trio.BrokenResourceError

    async def _cut(self, client: _Client, data: bytes, fault: Fault) -> None:
        """Send a part of these bytes of a body, and break the connection or end the body there."""
        part = data[: math.ceil(len(data) * fault.share)]
        if part:
            # Of a body with a known length, and of a chunk, the rest is missing.
            await client.send(h11.Data(data=part if fault.how == "end" else data), _share(part, data, fault))
        if fault.how == "end":
            try:
                await client.send(h11.EndOfMessage())
            except h11.LocalProtocolError:
                await client.break_off("close")
            raise _Broken
        await client.break_off(fault.how)


def _share(part: bytes, data: bytes, fault: Fault) -> float:
    return 1 if fault.how == "end" else len(part) / len(data)


async def _refuse(client: _Client, status: int) -> None:
    """Answer as a gateway does, which has no JSON-RPC."""
    body = f"<html><head><title>{status}</title></head><body>from a gateway</body></html>\n".encode()
    headers = [("content-type", "text/html"), ("content-length", str(len(body)))]
    if status == 503:
        headers.append(("retry-after", "0"))
    await client.send(h11.Response(status_code=status, headers=headers, reason=b"Refused"))
    await client.send(h11.Data(data=body))
    await client.send(h11.EndOfMessage())


async def _watch(client: _Client, scope: trio.CancelScope) -> None:
    """Cancel a scope if the client closes its connection. What it sends meanwhile is kept for the next request."""
    try:
        while data := await client.stream.receive_some(_READ):
            client.http.receive_data(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()
