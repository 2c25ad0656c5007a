"""The end of the bridge as its connections see it; the rest of HTTP/1.1 is in tests/hostile and tests/e2e."""

import pytest
import trio

from ...support.serving import TOKEN, listening

pytestmark = pytest.mark.anyio
GET = f"GET /echo HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"


async def say(server, stream, path="/echo"):
    await stream.send_all(GET.replace("PORT", str(server.port)).replace("/echo", path).encode())


async def until(stream, end):
    """What comes, up to and with these bytes."""
    data = b""
    while not data.endswith(end):
        data += await stream.receive_some()
        assert data
    return data


async def test_who_rests_between_two_requests_is_sent_away_at_the_end(anyio_backend):
    async with listening() as server, await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        with trio.fail_after(5):
            await say(server, stream)
            assert b"Connection: close" not in await until(stream, b"/echo")
            server.ticker.announce_shutdown()
            assert await stream.receive_some() == b""


async def test_who_asks_at_the_end_is_answered_and_told_that_it_was_the_last(anyio_backend):
    async with listening() as server, await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        with trio.fail_after(5):
            server.ticker.announce_shutdown()
            await say(server, stream)
            assert b"Connection: close\r\n" in await until(stream, b"/echo")
            assert await stream.receive_some() == b""


async def test_the_end_of_a_stream_is_the_end_of_its_connection_at_the_end(anyio_backend):
    async with listening() as server, await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        with trio.fail_after(5):
            await say(server, stream, "/stream")
            await until(stream, b"\r\n\r\n")
            server.ticker.announce_shutdown()
            server.streams[0].close()
            await until(stream, b"0\r\n\r\n")
            assert await stream.receive_some() == b""
