import json

import pytest
import trio

from mcpbridged.transports.client.http_sse import HttpSse
from mcpbridged.transports.client.options import RemoteOptions
from mcpbridged.transports.client.ports import CarrierBusy, LoginRequired, Lost, Unreachable
from mcpbridged.validators.limits import Limits

from ...support.carriers_under_test import running
from ...support.scripted_http import scripted_server

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n"
ENDPOINT = b"event: endpoint\r\ndata: /messages?id=1\r\n\r\n"


def request(number, method="tools/call"):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method}).encode()


NOTIFICATION = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'


class SseServer:
    """The script of a server: each POST is handled by `on_post(peer, body)`, and `stream` is the event stream."""

    def __init__(self, on_post=None, begin=HEAD + ENDPOINT):
        self.on_post = on_post or self.accept
        self.begin = begin
        self.stream = None
        self.ended = trio.Event()
        # The first lines and bodies of POSTs, in the order in which they were read.
        self.posts = []

    async def __call__(self, peer):
        while found := await peer.request():
            line = found[0].split(b"\r\n")[0].decode()
            if line.startswith("GET"):
                await peer.send(self.begin)
                self.stream = peer
                await peer.ended()
                self.ended.set()
                return
            self.posts.append((line, found[1]))
            await self.on_post(peer, found[1])

    async def accept(self, peer, _body):
        await peer.answer(b"Accepted", b"202 Accepted")

    async def event(self, data, kind=b"message"):
        await self.stream.send(b"event: %b\ndata: %b\n\n" % (kind, data))

    async def posted(self, count):
        with trio.fail_after(10):
            while len(self.posts) < count:
                await trio.sleep(0.001)
        return [body for _, body in self.posts]


async def test_messages_go_by_post_and_come_on_the_stream():
    script = SseServer()
    async with scripted_server(script) as server, running(HttpSse(RemoteOptions(server.url))) as client:
        client.carrier.send(request(1, "initialize") + b"\n")
        await script.posted(1)
        await script.event(b'{"jsonrpc":"2.0","id":1,"result":{}}')
        assert await client.json() == {"jsonrpc": "2.0", "id": 1, "result": {}}
        client.carrier.send(NOTIFICATION)
        assert await script.posted(2) == [request(1, "initialize"), NOTIFICATION]
        assert {line for line, _ in script.posts} == {"POST /messages?id=1 HTTP/1.1"}
        heads = [head for head, _ in server.requests]
        assert b"Accept: text/event-stream" in heads[0]
        assert all(b"Content-Type: application/json" in head for head in heads[1:])
        # One connection for the stream, and one that all POSTs use.
        assert server.connections == 2


@pytest.mark.parametrize(
    ("url", "endpoint", "target"),
    [
        ("/prefix/sse?key=1", b"messages?id=1", "/prefix/messages?id=1"),
        ("/prefix/sse?key=1", b"/prefix/messages?id=1", "/prefix/messages?id=1"),
        ("/prefix/sse?key=1", b"?id=1", "/prefix/sse?id=1"),
        ("/sse", b"http://127.0.0.1:PORT/m?id=1", "/m?id=1"),
        ("/sse", b" /m ", "/m"),
        ("/sse", "/ä".encode(), "/%C3%A4"),
    ],
)
async def test_the_endpoint_is_resolved_against_the_configured_url(url, endpoint, target):
    script = SseServer()
    async with scripted_server(script) as server:
        endpoint = endpoint.replace(b"PORT", str(server.port).encode())
        script.begin = HEAD + b"event: endpoint\ndata: " + endpoint + b"\n\n"
        options = RemoteOptions(server.url.replace("/mcp", url))
        async with running(HttpSse(options)) as client:
            client.carrier.send(NOTIFICATION)
            await script.posted(1)
        assert script.posts[0][0] == f"POST {target} HTTP/1.1"
        assert server.requests[0][0].startswith(f"GET {url} HTTP/1.1".encode())


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        (b"http://evil.example/steal", "another origin, http://evil.example"),
        (b"//evil.example/steal", "another origin, http://evil.example"),
        (b"https://127.0.0.1:PORT/steal", "another origin, https://127.0.0.1"),
        (b"http://127.0.0.1:1/steal", "another origin"),
        (b"http://127.0.0.1:PORT@evil.example/", "user name"),
        (b"javascript:alert(1)", "cannot be used"),
        (b"/a\\b", "cannot be used"),
        (b"/" + b"a" * 9000, "cannot be used"),
    ],
)
async def test_an_endpoint_of_another_origin_gets_no_message(endpoint, reason):
    script = SseServer()
    async with scripted_server(script) as server:
        endpoint = endpoint.replace(b"PORT", str(server.port).encode())
        script.begin = HEAD + b"event: endpoint\ndata: " + endpoint + b"\n\n"
        with pytest.raises(Unreachable, match=reason):
            async with running(HttpSse(RemoteOptions(server.url))):
                pass
        assert script.posts == []
        script.begin = HEAD + ENDPOINT
        async with running(HttpSse(RemoteOptions(server.url))) as client:
            await script.event(endpoint, b"endpoint")
            assert isinstance(await client.end(), Lost)
        assert script.posts == []


@pytest.mark.parametrize(
    ("begin", "reason"),
    [
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "with status 404"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nx",
            "with 'text/html', not with text/event-stream",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nx", "with no content type"),
        (HEAD + b": comment\n\n", "sent no endpoint within 0.3 s"),
        (HEAD + b"event: message\ndata: {}\n\n", "sent no endpoint within 0.3 s"),
        (b"", "sent no endpoint within 0.3 s"),
        (b"x\r\n\r\n", "valid HTTP/1.1 response"),
    ],
)
async def test_a_server_without_an_endpoint_cannot_be_reached(begin, reason):
    async with scripted_server(SseServer(begin=begin)) as server:
        options = RemoteOptions(server.url, connect_seconds=0.3 if "0.3 s" in reason else 10)
        with pytest.raises(Unreachable, match=reason):
            async with running(HttpSse(options)):
                pass


async def test_a_stream_that_ends_before_its_endpoint_cannot_be_used():
    async def script(peer):
        await peer.request()
        await peer.send(HEAD + ENDPOINT[:-2])

    async with scripted_server(script) as server:
        with pytest.raises(Unreachable, match="closed the event stream before it sent an endpoint"):
            async with running(HttpSse(RemoteOptions(server.url))):
                pass


async def test_events_are_messages_in_any_form():
    script = SseServer()
    async with scripted_server(script) as server, running(HttpSse(RemoteOptions(server.url))) as client:
        await script.stream.send(
            b': comment\r\n\r\ndata: {"a":1,\rdata: "b":2}\n\nevent: other\ndata: {}\n\nevent: message\ndata:\n\n'
            b'id: 7\nretry: 10\ndata:{"c":"\xe2\x80\xa8"}\n\n'
        )
        assert await client.message() == b'{"a":1, "b":2}'
        assert await client.message() == b'{"c":"\xe2\x80\xa8"}'
        assert client.messages == []


async def test_a_changed_endpoint_of_the_same_origin_is_used():
    script = SseServer()
    async with scripted_server(script) as server, running(HttpSse(RemoteOptions(server.url))) as client:
        await script.event(b"/other", b"endpoint")
        await script.event(b"{}")
        await client.message()
        client.carrier.send(NOTIFICATION)
        await script.posted(1)
        assert script.posts[0][0] == "POST /other HTTP/1.1"


# ---- failures of a POST


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (
            b"400 Bad",
            b"no\x1b[2J such\nthing",
            "refused the message with HTTP status 400: no\ufffd[2J such thing",
        ),
        (b"500 Oops", b"", "refused the message with HTTP status 500"),
        (b"413 Large", b"x" * 10000, "refused the message with HTTP status 413: " + "x" * 300 + "…"),
    ],
)
async def test_a_refused_request_gets_an_error(status, body, text):
    async def refuse(peer, _body):
        await peer.answer(body, status)

    script = SseServer(refuse)
    async with scripted_server(script) as server, running(HttpSse(RemoteOptions(server.url))) as client:
        client.carrier.send(NOTIFICATION)
        client.carrier.send(request("a"))
        error = await client.json()
        assert error["id"] == "a"
        assert error["error"]["code"] == -32603
        assert error["error"]["message"] == f"http://127.0.0.1:{server.port} {text}"
        await script.event(b"{}")
        assert await client.message() == b"{}"
        assert len(script.posts) == 2


@pytest.mark.parametrize("status", [b"404 No", b"410 Gone"])
async def test_a_session_that_the_server_does_not_know_ends_the_connection(status):
    async def refuse(peer, _body):
        await peer.answer(b"", status)

    script = SseServer(refuse)
    async with scripted_server(script) as server, running(HttpSse(RemoteOptions(server.url))) as client:
        client.carrier.send(request(1))
        assert "HTTP status 4" in (await client.json())["error"]["message"]
        assert "does not know the session any more" in (await client.end()).reason
        assert len(script.posts) == 1
        with pytest.raises(Lost):
            client.carrier.send(request(2))


async def test_a_post_without_a_response_may_have_been_carried_out_and_is_not_repeated():
    async def drop(peer, _body):
        await trio.aclose_forcefully(peer.stream)

    script = SseServer(drop)
    async with scripted_server(script) as server, running(HttpSse(RemoteOptions(server.url))) as client:
        client.carrier.send(request(1))
        message = (await client.json())["error"]["message"]
        assert "closed the connection before it had sent a response; it may have been carried out" in message
        assert len(script.posts) == 1


async def test_a_post_that_cannot_be_sent_was_not_carried_out():
    script = SseServer()
    async with scripted_server(script) as server:
        options = RemoteOptions(server.url, limits=Limits(connections=1))
        async with running(HttpSse(options)) as client:
            client.carrier.send(request(1))
            message = (await client.json())["error"]["message"]
            assert "limits.connections" in message
            assert message.endswith("it was not sent")
            assert script.posts == []


class Keys:
    def __init__(self, *keys):
        self.keys = list(keys)

    async def headers(self):
        if not self.keys:
            raise LoginRequired("mcp-bridge login")
        return ((b"X-Key", self.keys[0]),)

    async def renew(self, _challenge, _used):
        self.keys.pop(0)
        return bool(self.keys)


async def test_other_credentials_are_used_for_the_stream_and_for_messages():
    script = SseServer()
    wanted = b"2"

    async def check(peer):
        while found := await peer.request():
            if b"X-Key: " + wanted not in found[0]:
                await peer.answer(b"", b"401 No")
            elif found[0].startswith(b"GET"):
                await peer.send(HEAD + ENDPOINT)
                await peer.ended()
            else:
                script.posts.append(("", found[1]))
                await peer.answer(b"", b"202 OK")

    async with scripted_server(check) as server:
        options = RemoteOptions(server.url, authorizer=Keys(b"1", b"2", b"3"))
        async with running(HttpSse(options)) as client:
            wanted = b"3"
            client.carrier.send(request(1))
            assert await script.posted(1) == [request(1)]
            wanted = b"4"
            client.carrier.send(request(2))
            assert "HTTP status 401" in (await client.json())["error"]["message"]
            client.carrier.send(request(3))
            assert (await client.json())["error"]["message"] == "mcp-bridge login"
            assert len(script.posts) == 1
        with pytest.raises(LoginRequired):
            async with running(HttpSse(options)):
                pass


# ---- order


async def test_requests_do_not_wait_for_each_other_and_other_messages_keep_their_order(autojump_clock):
    release = trio.Event()

    async def hold_calls(peer, body):
        if b"tools/call" in body:
            await release.wait()
        await peer.answer(b"", b"202 OK")

    script = SseServer(hold_calls)
    async with scripted_server(script) as server, running(HttpSse(RemoteOptions(server.url))) as client:
        for number in range(3):
            client.carrier.send(request(number))
        client.carrier.send(NOTIFICATION)
        client.carrier.send(request(4, "ping"))
        await trio.sleep(0.9)
        assert sorted(body for _, body in script.posts) == [request(number) for number in range(3)]
        # A server that responds only after its work must be able to get an answer meanwhile.
        await trio.sleep(0.2)
        assert [body for _, body in script.posts][3:] == [NOTIFICATION]
        release.set()
        await trio.sleep(0.1)
        assert [body for _, body in script.posts][4:] == [request(4, "ping")]


async def test_initialize_is_accepted_before_anything_else_is_sent(autojump_clock):
    async def slow(peer, _body):
        await trio.sleep(0.5)
        await peer.answer(b"", b"202 OK")

    script = SseServer(slow)
    async with scripted_server(script) as server, running(HttpSse(RemoteOptions(server.url))) as client:
        client.carrier.send(request(1, "initialize"))
        client.carrier.send(request(2))
        await trio.sleep(0.4)
        assert len(script.posts) == 1
        await trio.sleep(0.3)
        assert len(script.posts) == 2


async def test_the_number_of_posts_is_limited():
    release = trio.Event()

    async def hold(peer, _body):
        await release.wait()
        await peer.answer(b"", b"202 OK")

    script = SseServer(hold)
    async with scripted_server(script) as server, running(HttpSse(RemoteOptions(server.url))) as client:
        for number in range(100):
            client.carrier.send(request(number))
        await script.posted(64)
        await trio.sleep(0.05)
        assert len(script.posts) == 64
        release.set()
        await script.posted(100)


async def test_unsent_messages_are_limited():
    async def hold(_peer, _body):
        await trio.sleep_forever()

    async with scripted_server(SseServer(hold)) as server:
        options = RemoteOptions(server.url, limits=Limits(stdin_bytes=200))
        async with running(HttpSse(options)) as client:
            large = request(1, "x" * 300)
            client.carrier.send(large)
            with pytest.raises(CarrierBusy, match="200"):
                client.carrier.send(request(2))


async def test_messages_that_were_sent_count_no_more():
    script = SseServer()
    async with scripted_server(script) as server:
        options = RemoteOptions(server.url, limits=Limits(stdin_bytes=200))
        async with running(HttpSse(options)) as client:
            for count in range(1, 20):
                client.carrier.send(NOTIFICATION * 3)
                await script.posted(count)
                with trio.fail_after(5):
                    while client.carrier._open_posts:
                        await trio.sleep(0.001)


# ---- the end, pauses and large messages


@pytest.mark.parametrize(
    ("head", "last", "reason"),
    [
        (HEAD, b"", "ended the event stream"),
        (HEAD, b"data: {}\n", "ended the event stream"),
        (HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 1000\r\n\r\n"), b"", "in the middle of a response"),
    ],
)
async def test_the_end_of_the_stream_is_the_end_of_the_connection(head, last, reason):
    script = SseServer(begin=head + ENDPOINT)
    async with scripted_server(script) as server, running(HttpSse(RemoteOptions(server.url))) as client:
        await script.event(b"{}")
        assert await client.message() == b"{}"
        if last:
            await script.stream.send(last)
        await trio.aclose_forcefully(script.stream.stream)
        lost = await client.end()
        assert isinstance(lost, Lost)
        assert reason in lost.reason
        assert client.messages == []
        with pytest.raises(Lost):
            client.carrier.send(NOTIFICATION)


async def test_a_cancelled_carrier_closes_its_connections():
    script = SseServer()
    async with scripted_server(script) as server:
        carrier = HttpSse(RemoteOptions(server.url))
        with pytest.raises(Lost):
            carrier.send(NOTIFICATION)
        async with running(carrier):
            pass
        with trio.fail_after(5):
            await script.ended.wait()


async def test_a_connection_has_no_end_of_its_own(autojump_clock):
    script = SseServer()
    async with scripted_server(script) as server, running(HttpSse(RemoteOptions(server.url))) as client:
        await trio.sleep(100_000)
        await script.event(b"{}")
        assert await client.message() == b"{}"


async def test_a_paused_carrier_passes_nothing_on():
    script = SseServer()
    async with scripted_server(script) as server, running(HttpSse(RemoteOptions(server.url))) as client:
        await script.event(b'{"a":0}')
        await client.message()
        client.carrier.pause()
        await script.stream.send(b'data: {"a":1}\n\n' * 5)
        await trio.sleep(0.05)
        assert client.messages == []
        client.carrier.send(NOTIFICATION)
        await script.posted(1)
        client.carrier.resume()
        for _ in range(5):
            assert await client.message() == b'{"a":1}'


async def test_a_paused_carrier_makes_its_server_wait():
    script = SseServer()
    async with scripted_server(script) as server, running(HttpSse(RemoteOptions(server.url))) as client:
        client.carrier.pause()
        with trio.move_on_after(0.5) as waited:
            for _ in range(1000):
                await script.event(b"x" * 100_000)
        assert waited.cancelled_caught


async def test_a_response_over_the_limit_is_an_error_of_its_request_only():
    script = SseServer()
    async with scripted_server(script) as server:
        options = RemoteOptions(server.url, limits=Limits(line=5000))
        async with running(HttpSse(options)) as client:
            await script.event(b'{"jsonrpc":"2.0","id":7,"result":{"a":"%b"}}' % (b"x" * 10_000))
            error = await client.json()
            assert error["id"] == 7
            assert "exceeds the limit of 5000 bytes (limits.line)" in error["error"]["message"]
            await script.event(b'{"result":{"a":"%b"},"jsonrpc":"2.0","id":"z"}' % (b"x" * 10_000))
            assert (await client.json())["id"] == "z"
            await script.event(b'{"jsonrpc":"2.0","id":8,"method":"m","params":{"a":"%b"}}' % (b"x" * 10_000))
            (answer,) = await script.posted(1)
            assert json.loads(answer)["id"] == 8
            assert "error" in json.loads(answer)
            await script.event(b'{"jsonrpc":"2.0","method":"m","params":{"a":"%b"}}' % (b"x" * 10_000))
            await script.event(b"{}")
            assert await client.message() == b"{}"


async def test_a_flood_of_small_messages_does_not_hold_the_event_loop():
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    script = SseServer(begin=HEAD + ENDPOINT + b"data: {}\n\n" * 5000)
    async with scripted_server(script) as server, trio.open_nursery() as nursery:
        nursery.start_soon(count)
        async with running(HttpSse(RemoteOptions(server.url))) as client:
            for _ in range(5000):
                await client.message()
        nursery.cancel_scope.cancel()
    assert turns > 5000 / 16


async def test_a_refusal_whose_body_has_no_end_is_an_error(autojump_clock):
    async def stall(peer, _body):
        await peer.send(b"HTTP/1.1 500 No\r\nContent-Length: 10\r\n\r\nout")
        await peer.ended()

    script = SseServer(stall)
    async with scripted_server(script) as server, running(HttpSse(RemoteOptions(server.url))) as client:
        client.carrier.send(request(1))
        with trio.fail_after(60):
            assert (await client.json())["error"]["message"].endswith("HTTP status 500: out")


async def test_a_refusal_is_shown_without_the_configured_secrets():
    async def refuse(peer, _body):
        await peer.answer(b"your X-Key: 0123456789 and Authorization: Bearer abcdefghij", b"400 No")

    options = {"headers": ((b"X-Key", b"0123456789"),)}
    async with (
        scripted_server(SseServer(refuse)) as server,
        running(HttpSse(RemoteOptions(server.url, **options))) as client,
    ):
        client.carrier.send(request(1))
        message = (await client.json())["error"]["message"]
        assert message.endswith("400: your X-Key: … and Authorization: Bearer …")
