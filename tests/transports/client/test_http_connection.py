import gzip
import socket
import struct
import zlib
from contextlib import asynccontextmanager

import pytest
import trio

from mcpbridged.transports.client.connector import Connection
from mcpbridged.transports.client.http_client import HttpClient
from mcpbridged.transports.client.http_connection import HttpConnection
from mcpbridged.transports.client.options import RemoteOptions
from mcpbridged.transports.client.ports import Unreachable
from mcpbridged.validators.limits import Limits

from ...support.scripted_http import scripted_server

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def answered(data, *, body=b"", **options):
    """Yield the response to one request, whose raw bytes are these."""

    async def script(peer):
        await peer.request()
        await peer.send(data)

    async with scripted_server(script) as server, HttpClient(RemoteOptions(server.url, **options)) as client:
        async with client.request("POST", server.url, (), body) as response:
            yield response


async def outcome_of(data):
    """Return the response to one request whose raw response is this, or the failure."""

    async def script(peer):
        await peer.request()
        await peer.send(data)

    async with scripted_server(script) as server, HttpClient(RemoteOptions(server.url)) as client:
        try:
            async with client.request("POST", server.url, (), b"") as response:
                return response.status, await response.read(1 << 20)
        except Unreachable as failed:
            name = f"http://127.0.0.1:{server.port} "
            return failed.reason.removeprefix(name) if failed.sent else failed


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OVER = "sent a response head of more than 16384 bytes"
INCOMPLETE = "closed the connection in the middle of a response"
FAULTY = "sent an invalid response"
INVALID = "did not send a valid HTTP/1.1 response"
EMPTY = "closed the connection before it had sent a response"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", (200, b"ok")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore", (200, b"ok")),
        (b"HTTP/1.1 200 OK\r\n\r\nok", (200, b"ok")),
        (b"HTTP/1.0 200 OK\r\n\r\nok", (200, b"ok")),
        (CHUNKED + b"1\r\no\r\n1;x=y\r\nk\r\n0\r\nTrailer: x\r\n\r\n", (200, b"ok")),
        (b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 100 Go\r\n\r\nHTTP/1.1 204 No\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 16360 + b"\r\n\r\n", (200, b"")),
        (CHUNKED + b"2\r\nok\r\n", INCOMPLETE),
        (CHUNKED + b"2\r\no", INCOMPLETE),
        (CHUNKED + b"x\r\nok\r\n", FAULTY),
        (CHUNKED + b"-2\r\nok\r\n", FAULTY),
        (CHUNKED + b"0\r\nX: " + b"y" * 20000, FAULTY),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", INCOMPLETE),
        (b"", EMPTY),
        (b"HTTP/1.1 200 OK\r\nContent-Le", EMPTY),
        (b"SSH-2.0-OpenSSH\r\n\r\n", INVALID),
        (b"\x00\xff" * 100 + b"\r\n\r\n", INVALID),
        (b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", INVALID),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok", INVALID),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", INVALID),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 16361 + b"\r\n\r\n", OVER),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 17000, OVER),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 9000, OVER),
        (b"HTTP/1.1 100 Go\r\n\r\n" * 1000, OVER),
        (b"y" * 20000, OVER),
    ],
)
async def test_a_response_ends_as_its_head_announces(data, expected):
    assert await outcome_of(data) == expected


async def test_endless_trailers_are_refused():
    async def script(peer):
        await peer.request()
        await peer.send(CHUNKED + b"0\r\n" + b"X: y\r\n" * 5000)
        await peer.ended()

    async with scripted_server(script) as server, HttpClient(RemoteOptions(server.url)) as client:
        with pytest.raises(Unreachable, match=FAULTY), trio.fail_after(5):
            async with client.request("GET", server.url) as response:
                await response.read(100)


async def test_repeated_fields_are_joined_and_challenges_are_not():
    fields = b"X: 1\r\nx: 2\r\nWWW-Authenticate: Bearer a, b\r\nWWW-Authenticate: Basic\r\nY: \xff\r\n"
    async with answered(b"HTTP/1.1 401 No\r\n%bContent-Length: 0\r\n\r\n" % fields) as response:
        assert response.headers["x"] == "1, 2"
        assert response.headers["y"] == "\xff"
        assert response.www_authenticate == ("Bearer a, b", "Basic")


async def test_a_body_is_received_in_the_parts_in_which_it_arrives():
    async with answered(CHUNKED + b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n") as response:
        assert [part async for part in response.chunks()] == [b"a", b"bc"]
        assert await response.receive() == b""


async def test_many_small_parts_do_not_hold_the_event_loop():
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with (
        answered(CHUNKED + b"1\r\nx\r\n" * 8000 + b"0\r\n\r\n") as response,
        trio.open_nursery() as nursery,
    ):
        # The whole body is received by now, except what does not fit into one read.
        nursery.start_soon(count)
        assert len(await response.read(1 << 20)) == 8000
        nursery.cancel_scope.cancel()
    assert turns >= 8000 // 16


async def test_the_begin_of_a_body_can_be_read_before_its_connection_is_closed():
    async with answered(b"HTTP/1.1 401 No\r\n\r\nabcdef") as response:
        await response.preload(4)
    assert await response.read(10) == b"abcd"
    async with answered(b"HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\nabc") as response:
        await response.preload(100)
    assert await response.read(10) == b"abc"


# ---- content codings


@pytest.mark.parametrize(
    ("coding", "encode"),
    [(b"gzip", gzip.compress), (b"X-Gzip", gzip.compress), (b"deflate", zlib.compress), (b"identity", bytes)],
)
async def test_a_body_that_is_compressed_unasked_is_decoded(coding, encode):
    content = b"text" * 50_000
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\n\r\n" % coding
    async with answered(head + encode(content)) as response:
        parts = [part async for part in response.chunks()]
        assert b"".join(parts) == content
        assert max(map(len, parts)) <= 65536


async def test_a_compression_bomb_is_decoded_up_to_the_limit_of_its_reader():
    bomb = gzip.compress(bytes(200_000_000), 9)
    with pytest.raises(Unreachable, match="more than 1000000 bytes"):
        async with answered(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + bomb) as response:
            await response.read(1_000_000)


async def test_an_unknown_or_invalid_compression_is_refused():
    with pytest.raises(Unreachable, match="content coding 'br', which was not requested"):
        async with answered(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nxx"):
            pass
    with pytest.raises(Unreachable, match="invalid compression"):
        async with answered(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nxx") as response:
            await response.read(100)
    twice = gzip.compress(b"a") + gzip.compress(b"b")
    async with answered(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + twice) as response:
        assert await response.read(100) == b"a"


# ---- writing


async def test_a_large_body_is_sent_whole():
    body = bytes(range(256)) * 40_000

    async def script(peer):
        while found := await peer.request():
            await peer.answer(b"%d" % (found[1] == body))

    async with scripted_server(script) as server, HttpClient(RemoteOptions(server.url)) as client:
        for _ in range(2):
            async with client.request("POST", server.url, (), body) as response:
                assert await response.read(10) == b"1"
        assert server.connections == 1


@pytest.mark.parametrize("then_close", [True, False])
async def test_a_refusal_before_the_body_was_read_is_received(then_close):
    async def script(peer):
        await peer.stream.receive_some(100)
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        if then_close:
            await peer.stream.send_eof()
        await trio.sleep(0.2)

    async with scripted_server(script) as server, HttpClient(RemoteOptions(server.url)) as client:
        with trio.fail_after(10):
            async with client.request("POST", server.url, (), bytes(20_000_000)) as response:
                assert (response.status, await response.read(10)) == (413, b"big")
        assert client._idle == []


@pytest.mark.parametrize("size", [10, 20_000_000])
async def test_a_server_that_closes_before_it_has_read_a_request_may_have_received_it(size):
    async def script(peer):
        await peer.stream.receive_some(5)

    async with scripted_server(script) as server, HttpClient(RemoteOptions(server.url)) as client:
        with pytest.raises(Unreachable, match="closed the connection before") as failed:
            async with client.request("POST", server.url, (), bytes(size)):
                pass
        assert failed.value.sent


async def test_a_server_that_does_not_read_a_request_fails_it_in_time():
    async def script(_peer):
        await trio.sleep_forever()

    async with scripted_server(script) as server:
        options = RemoteOptions(server.url, limits=Limits(write_stall_seconds=0.1))
        async with HttpClient(options) as client:
            with (
                pytest.raises(Unreachable, match=r"has not read the request for 0.1 s") as failed,
                trio.fail_after(3),
            ):
                async with client.request("POST", server.url, (), bytes(20_000_000)):
                    pass
            assert failed.value.sent


async def test_a_request_of_which_no_byte_was_sent_was_not_received():
    async with scripted_server(reset) as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        with trio.fail_after(5):
            while not stream.socket.is_readable():
                await trio.sleep(0.001)
        # Takes the error of the socket, so that the next write fails with EPIPE.
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some(1)
        http = HttpConnection(Connection(stream, stream), "http://a.example", 30)
        with pytest.raises(Unreachable) as failed:
            await http.exchange("POST", "/", ((b"Host", b"a"), (b"Content-Length", b"1")), b"x")
        assert not failed.value.sent


async def reset(peer):
    peer.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.lowlevel.checkpoint()
