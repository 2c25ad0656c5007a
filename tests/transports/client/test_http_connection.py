import pytest

from mcpbridged.transports.client.http_client import HttpClient
from mcpbridged.transports.client.options import RemoteOptions
from mcpbridged.transports.client.ports import Unreachable

from ...support.scripted_http import scripted_server

pytestmark = pytest.mark.anyio


async def outcome_of(data, *, body=b""):
    """Return the response to one request whose raw response is this, or the failure."""

    async def script(peer):
        await peer.request()
        await peer.send(data)

    async with scripted_server(script) as server, HttpClient(RemoteOptions(server.url)) as client:
        try:
            async with client.request("POST", server.url, (), body) as response:
                return response.status, await response.read(1 << 20)
        except Unreachable as failed:
            name = f"http://127.0.0.1:{server.port} "
            return failed.reason.removeprefix(name) if failed.sent else failed


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", (200, b"ok")),
        (b"HTTP/1.1 200 OK\r\n\r\nok", (200, b"ok")),
        (b"HTTP/1.0 200 OK\r\n\r\nok", (200, b"ok")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", (200, b"ok")),
        (b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 100 Go\r\n\r\nHTTP/1.1 204 No\r\n\r\n", (204, b"")),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            "sent an incomplete or invalid response",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "sent an incomplete or invalid response"),
        (b"", "closed the connection before it had sent a response"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "closed the connection before it had sent a response"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "did not send a valid HTTP/1.1 response"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 17000, "sent a response head of more than 16384 bytes"),
        (
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 17000 + b"\r\n\r\n",
            "sent a response head of more than 16384 bytes",
        ),
        (b"HTTP/1.1 100 Go\r\n\r\n" * 1000, "sent a response head of more than 16384 bytes"),
    ],
)
async def test_a_response_ends_as_its_head_announces(data, expected):
    assert await outcome_of(data) == expected
