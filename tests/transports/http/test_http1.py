"""HTTP/1.1 connections during shutdown. The rest of HTTP/1.1 is tested in tests/hostile and tests/e2e."""

import pytest
import trio

from ...support.serving import TOKEN, listening

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
