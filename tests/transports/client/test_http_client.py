import pytest
import trio

from mcpbridged.transports.client.http_client import HttpClient
from mcpbridged.transports.client.options import RemoteOptions
from mcpbridged.transports.client.ports import Unreachable

from ...support.scripted_http import scripted_server

pytestmark = pytest.mark.anyio


async def answer_all(peer):
    while await peer.request():
        await peer.answer()


def lines_of(head):
    return head.decode().split("\r\n")


async def fetch(client, method="GET", url="", headers=(), body=None):
    async with client.request(method, url, headers, body) as response:
        return response.status, await response.read(1 << 20)


async def test_requests_share_a_connection_and_carry_no_more_than_was_given():
    async with scripted_server(answer_all) as server:
        options = RemoteOptions(server.url, headers=((b"X-Key", b"k"),))
        async with HttpClient(options) as client:
            assert await fetch(client, url=server.url) == (200, b"ok")
            assert await fetch(client, "POST", server.url, ((b"Accept", b"a/b"),), b"{}") == (200, b"ok")
        assert server.connections == 1
        first, second = (lines_of(head) for head, _ in server.requests)
        assert first[0] == "GET /mcp HTTP/1.1"
        names = sorted(line.partition(":")[0].lower() for line in first[1:])
        assert names == ["accept", "accept-encoding", "host", "user-agent", "x-key"]
        assert "Accept-Encoding: identity" in first
        assert "Accept: a/b" in second
        assert server.requests[1][1] == b"{}"


async def test_a_refused_connection_certainly_sent_nothing():
    async with HttpClient(RemoteOptions("http://127.0.0.1:1/mcp")) as client:
        with pytest.raises(Unreachable, match=r"http://127.0.0.1:1: Connection refused") as failed:
            await fetch(client, url="http://127.0.0.1:1/mcp")
        assert not failed.value.sent


async def test_a_request_to_another_origin_is_not_sent():
    async with (
        scripted_server(answer_all) as server,
        HttpClient(RemoteOptions("http://127.0.0.1:1/")) as client,
    ):
        with pytest.raises(Unreachable, match="not the origin"):
            await fetch(client, url=server.url)
        assert server.connections == 0


async def test_a_response_that_is_left_early_closes_its_connection_at_once():
    closed = trio.Event()

    async def stream_forever(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: \r\n\r\n")
        await peer.ended()
        closed.set()

    async with scripted_server(stream_forever) as server, HttpClient(RemoteOptions(server.url)) as client:
        async with client.request("GET", server.url) as response:
            assert await response.receive() == b": \r\n\r\n"
        with trio.fail_after(5):
            await closed.wait()
