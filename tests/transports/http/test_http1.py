"""HTTP/1.1 connections during shutdown, and faults in their callbacks.

The rest of HTTP/1.1 is tested in tests/hostile and tests/e2e.
"""

import contextlib

import pytest
import trio
import trio.testing

from mcpbridged.transports.endpoints.websocket import WebSocket
from mcpbridged.transports.http import http1
from mcpbridged.transports.http.http1 import Connection
from mcpbridged.transports.http.listen import tls_context
from mcpbridged.transports.poller import Poller
from mcpbridged.transports.send_queue import DISCONNECTED
from mcpbridged.transports.turns import PrincipalTurns

from ...support.exchange import FakeBackend
from ...support.serving import TOKEN, echo, listening
from ...support.tls import tls_client_context, write_certificate
from ...support.wire import PING, TEXT, frame, fresh_key

pytestmark = pytest.mark.anyio
GET = f"GET /echo HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"


async def say(server, stream, path="/echo"):
    await stream.send_all(GET.replace("PORT", str(server.port)).replace("/echo", path).encode())


async def until(stream, end):
    """Return the input up to and including these bytes."""
    data = b""
    while not data.endswith(end):
        data += await stream.receive_some()
        assert data
    return data


async def test_an_idle_connection_is_closed_on_shutdown(anyio_backend):
    async with listening() as server, await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        with trio.fail_after(5):
            await say(server, stream)
            assert b"Connection: close" not in await until(stream, b"/echo")
            server.ticker.announce_shutdown()
            assert await stream.receive_some() == b""


async def test_a_request_during_shutdown_is_served_with_connection_close(anyio_backend):
    async with listening() as server, await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        with trio.fail_after(5):
            server.ticker.announce_shutdown()
            await say(server, stream)
            assert b"Connection: close\r\n" in await until(stream, b"/echo")
            assert await stream.receive_some() == b""


async def test_during_shutdown_a_connection_is_closed_after_its_event_stream(anyio_backend):
    async with listening() as server, await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        with trio.fail_after(5):
            await say(server, stream, "/stream")
            await until(stream, b"\r\n\r\n")
            server.ticker.announce_shutdown()
            server.streams[0].close()
            await until(stream, b"0\r\n\r\n")
            assert await stream.receive_some() == b""


INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}'
# A request that leaves its connection in each state, and the end of the response that the state begins with.
STATES = {
    "idle": ("/echo", "", b"/echo"),
    "in the middle of a head": ("/echo", "", b"/echo"),
    "event stream": ("/stream", "", b"\r\n\r\n"),
    "WebSocket": (
        "/ws",
        f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {fresh_key()}\r\n",
        b"\r\n\r\n",
    ),
}


class Broken:
    """The callback of the first connection, which fails after `begin`."""

    def __init__(self, monkeypatch):
        self.began, self.connections = False, []
        ready = Connection._ready

        def fail(connection, left):
            if connection not in self.connections:
                self.connections.append(connection)
            if self.began and connection is self.connections[0]:
                raise RuntimeError("a bug of ours")
            ready(connection, left)

        monkeypatch.setattr(Connection, "_ready", fail)

    def begin(self):
        self.began = True


@contextlib.asynccontextmanager
async def connected(server, client_context):
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    if client_context is not None:
        stream = trio.SSLStream(stream, client_context, server_hostname="127.0.0.1", https_compatible=True)
    async with stream:
        yield stream


# Over TLS a task reads the input, usually before the callback is called.
@pytest.mark.parametrize(
    ("with_tls", "state"), [*((False, state) for state in STATES), (True, "event stream")]
)
async def test_an_exception_in_a_callback_ends_its_connection_only(
    with_tls, state, monkeypatch, authority, tmp_path
):
    broken, backend = Broken(monkeypatch), FakeBackend()
    theirs = tls_client_context(authority) if with_tls else None
    ours = tls_context(*write_certificate(authority, tmp_path)) if with_tls else None
    path, more, end = STATES[state]
    async with listening(tls=ours) as server:
        server.routes.replace(
            {"/ws": WebSocket(backend, server.limits, server.log), "/stream": server.stream, "/echo": echo}
        )
        with trio.fail_after(10):
            async with connected(server, theirs) as first, connected(server, theirs) as second:
                await first.send_all(head(server, path, more))
                await until(first, end)
                if state == "WebSocket":
                    await first.send_all(frame(TEXT, INITIALIZE))
                elif state == "in the middle of a head":
                    await first.send_all(b"GET /echo HTTP/1.1\r\n")
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert server.quota.connections == 1
                broken.begin()
                if with_tls:
                    await first.transport_stream.send_eof()
                else:
                    await first.send_all(frame(PING) if state == "WebSocket" else b"G")
                await ends(first)
                assert faults_of(server) == ["a bug of ours"]
                await second.send_all(head(server, "/echo"))
                assert await until(second, b"/echo")
                assert server.quota.connections == 1
    assert [queue.state for queue in server.streams] == [DISCONNECTED] * (state == "event stream")
    assert len(backend.conversation.ended) == (state == "WebSocket")


def head(server, path, more=""):
    host = f"Host: 127.0.0.1:{server.port}\r\n"
    return f"GET {path} HTTP/1.1\r\n{host}Authorization: Bearer {TOKEN}\r\n{more}\r\n".encode()


async def ends(stream):
    """Wait for the end of a connection, which may be a reset."""
    with contextlib.suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass


def faults_of(server):
    return [str(fields["fault"]) for _, event, fields in server.log.events if event == "internal_error"]


async def test_a_connection_has_the_share_of_its_principal_and_begins_in_a_turn_of_that(
    anyio_backend, monkeypatch
):
    assigned, waits, wait = [], [], PrincipalTurns.wait

    async def counted(turns, principal):
        waits.append(principal)
        await wait(turns, principal)

    monkeypatch.setattr(
        Poller, "assign", lambda _, descriptor, principal: assigned.append((descriptor, principal))
    )
    monkeypatch.setattr(PrincipalTurns, "wait", counted)
    # As beside a request of another principal.
    monkeypatch.setattr(http1.activity, "several", True)
    async with listening() as server, await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        with trio.fail_after(5):
            for path in ("/echo", "/other"):
                server.routes.replace({"/echo": echo, "/other": echo})
                await say(server, stream, path)
                await until(stream, path.encode())
    assert [principal for _, principal in assigned] == ["owner"]
    assert assigned[0][0] > 0
    assert waits == ["owner"]


async def test_the_requests_of_a_client_that_has_left_do_not_hold_the_event_loop(anyio_backend):
    handled, steps = [], []

    async def drop(exchange):
        """As an endpoint whose request is cancelled when its client leaves."""
        handled.append(exchange.head.path)
        if len(handled) == 1:
            while not exchange._stream.disconnected:
                await trio.sleep(0.001)

    async with listening() as server, await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        server.routes.replace({"/drop": drop})
        with trio.fail_after(20):
            data = GET.replace("PORT", str(server.port)).replace("/echo", "/drop").encode()
            await stream.send_all(data * 300)
            await stream.send_eof()
            while len(handled) < 300:
                before = len(handled)
                await trio.lowlevel.checkpoint()
                steps.append(len(handled) - before)
    assert max(steps) <= 2
