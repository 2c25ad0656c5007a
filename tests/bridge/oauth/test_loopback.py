"""The listener for the redirect of an authorization server."""

import pytest
import trio

from mcpbridged.bridge.oauth.loopback import DEFAULT_REDIRECT, Loopback
from mcpbridged.validators.oauth_refusal import OAuthRefusal, WrongState

from ...support.authorization_server import visit

pytestmark = pytest.mark.anyio


def accept(query):
    if "good" not in query:
        raise WrongState("wrong")
    if "hostile" in query:
        raise OAuthRefusal("refused")
    return query


class Waiting:
    def __init__(self, loopback, nursery):
        self.uri = loopback.redirect_uri
        self.result = None
        self.done = trio.Event()
        nursery.start_soon(self._wait, loopback)

    async def _wait(self, loopback):
        try:
            self.result = await loopback.wait(accept)
        except OAuthRefusal as fault:
            self.result = fault
        self.done.set()


async def test_a_free_port_is_used_and_the_query_accepted():
    async with Loopback.open(DEFAULT_REDIRECT) as loopback, trio.open_nursery() as nursery:
        waiting = Waiting(loopback, nursery)
        page = await visit(f"{waiting.uri}?good=1&x=%3Cscript%3E")
        await waiting.done.wait()
        assert waiting.result == "good=1&x=%3Cscript%3E"
        head, _, body = page.partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'" in head
        assert "Content-Type: text/plain; charset=utf-8" in head
        assert "Referrer-Policy: no-referrer" in head
        assert "script" not in page
        assert body.endswith("You can close this page.\n")
    with pytest.raises(OSError):
        await visit(waiting.uri)


async def test_a_refused_redirect_ends_the_wait():
    async with Loopback.open(DEFAULT_REDIRECT) as loopback, trio.open_nursery() as nursery:
        waiting = Waiting(loopback, nursery)
        assert "HTTP/1.1 400 Refused" in await visit(f"{waiting.uri}?good=1&hostile")
        await waiting.done.wait()
        assert str(waiting.result) == "refused"


OTHERS = {
    "another state": ("GET /callback?x HTTP/1.1\r\nHost: {host}\r\n\r\n", "400"),
    "another path": ("GET /favicon.ico?good HTTP/1.1\r\nHost: {host}\r\n\r\n", "404"),
    "a longer path": ("GET /callback/?good HTTP/1.1\r\nHost: {host}\r\n\r\n", "404"),
    "another method": ("POST /callback?good HTTP/1.1\r\nHost: {host}\r\n\r\n", "404"),
    "another host": ("GET /callback?good HTTP/1.1\r\nHost: evil.example\r\n\r\n", "404"),
    "no host": ("GET /callback?good HTTP/1.1\r\n\r\n", "404"),
    "two hosts": ("GET /callback?good HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n", "404"),
    "a URL": ("GET http://{host}/callback?good HTTP/1.1\r\nHost: {host}\r\n\r\n", "404"),
    "no HTTP": ("\x16\x03\x01\r\n\r\n", "404"),
    "too much": ("GET /callback?good HTTP/1.1\r\nX: " + "x" * 100_000, "400"),
}


@pytest.mark.parametrize("name", OTHERS)
async def test_other_requests_change_nothing(name):
    request, status = OTHERS[name]
    async with Loopback.open(DEFAULT_REDIRECT) as loopback, trio.open_nursery() as nursery:
        waiting = Waiting(loopback, nursery)
        host = waiting.uri.split("/")[2]
        stream = await trio.open_tcp_stream("127.0.0.1", int(host.partition(":")[2]))
        async with stream:
            answer = b""
            try:
                await stream.send_all(request.format(host=host).encode("latin-1"))
                with trio.fail_after(10):
                    while data := await stream.receive_some(4096):
                        answer += data
            except trio.BrokenResourceError:
                # The rest of a head that is too large is not read.
                assert name == "too much"
            else:
                assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert waiting.result is None
        await visit(f"{waiting.uri}?good")
        await waiting.done.wait()
        assert waiting.result == "good"


async def test_connections_that_send_nothing_do_not_keep_a_redirect_out():
    async with Loopback.open(DEFAULT_REDIRECT) as loopback, trio.open_nursery() as nursery:
        waiting = Waiting(loopback, nursery)
        port = int(waiting.uri.split("/")[2].partition(":")[2])
        idle = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(5)]
        await visit(f"{waiting.uri}?good")
        await waiting.done.wait()
        for stream in idle:
            await stream.aclose()
    assert waiting.result == "good"


@pytest.mark.parametrize("host", ["localhost", "[::1]", "127.0.0.1"])
async def test_the_host_of_a_configured_uri_is_kept(host):
    try:
        async with Loopback.open(f"http://{host}/cb") as loopback, trio.open_nursery() as nursery:
            waiting = Waiting(loopback, nursery)
            assert waiting.uri.startswith(f"http://{host}:")
            assert waiting.uri.endswith("/cb")
            await visit(f"{waiting.uri}?good")
            await waiting.done.wait()
    except OSError:
        # A machine without IPv6.
        assert host == "[::1]"
        return
    assert waiting.result == "good"


async def test_a_configured_port_is_used():
    async with Loopback.open(DEFAULT_REDIRECT) as loopback:
        port = loopback.redirect_uri.split("/")[2].partition(":")[2]
    async with Loopback.open(f"http://127.0.0.1:{port}") as loopback:
        assert loopback.redirect_uri == f"http://127.0.0.1:{port}"
        with pytest.raises(OSError, match="in use"):
            async with Loopback.open(f"http://127.0.0.1:{port}/other"):
                pass
        async with trio.open_nursery() as nursery:
            waiting = Waiting(loopback, nursery)
            await visit(f"{waiting.uri}/?good")
            await waiting.done.wait()
