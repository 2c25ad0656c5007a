import json
import time

import pytest
import trio
import trio.testing

from mcpbridged.transports.client.options import RemoteOptions
from mcpbridged.transports.client.ports import CarrierBusy, LoginRequired, Lost, Unreachable
from mcpbridged.transports.client.websocket import WebSocket
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.ws_frames import Close, FrameReader, Ping, Pong, Text, accept_value

from ...support.carriers_under_test import running
from ...support.scripted_http import scripted_server

pytestmark = pytest.mark.anyio


def frame(opcode, payload=b"", *, final=True):
    size = len(payload)
    length = bytes((size,)) if size < 126 else b"\x7f" + size.to_bytes(8, "big")
    return bytes(((0x80 if final else 0) | opcode,)) + length + payload


class WebSocketServer:
    """The script of a server. `events` are those of the frames that it has read."""

    def __init__(self, *, begin=b"", fields=(b"Sec-WebSocket-Protocol: mcp",), reads=True):
        self.begin = begin
        self.fields = fields
        self.reads = reads
        self.peer = None
        self.events = []
        self.ended = trio.Event()

    async def __call__(self, peer):
        head, _ = await peer.request()
        fields = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n"))
        }
        accept = accept_value(fields[b"sec-websocket-key"])
        lines = (b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade")
        answer = (*lines, b"Sec-WebSocket-Accept: " + accept, *self.fields, b"", b"")
        self.peer = peer
        await peer.send(b"\r\n".join(answer) + self.begin)
        reader = FrameReader(1 << 26)
        if not self.reads:
            await trio.sleep_forever()
        data = peer._buffer
        while True:
            self.events += reader.feed(data, trio.current_time())
            try:
                data = await peer.stream.receive_some(65536)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                self.ended.set()
                return

    async def seen(self, count):
        with trio.fail_after(10):
            while len(self.events) < count:
                await trio.sleep(0.001)
        return self.events

    async def send(self, *frames):
        await self.peer.send(b"".join(frames))


def url_of(server):
    return server.url.replace("http", "ws")


async def test_messages_pass_in_both_directions():
    script = WebSocketServer(begin=frame(1, b'{"a":1}'))
    async with scripted_server(script) as server:
        options = RemoteOptions(url_of(server) + "?x=1", headers=((b"X-Key", b"k"),))
        async with running(WebSocket(options)) as client:
            assert await client.message() == b'{"a":1}'
            client.carrier.send(b'{"b":"\xc3\xbc"}\n')
            client.carrier.send(b"x" * 200_000)
            texts = [event.text for event in await script.seen(2)]
            assert texts == [b'{"b":"\xc3\xbc"}', b"x" * 200_000]
            await script.send(
                frame(1, b'{"c":\n', final=False), frame(9, b"p"), frame(0, b"2}"), frame(2, b"{}")
            )
            assert await client.message() == b'{"c": 2}'
            assert await client.message() == b"{}"
            assert (await script.seen(3))[2] == Ping(b"p") or script.events[2] == Pong()
        lines = server.requests[0][0].split(b"\r\n")
        assert lines[0] == b"GET /mcp?x=1 HTTP/1.1"
        assert {b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13"} < set(lines)
        assert {b"Sec-WebSocket-Protocol: mcp", b"X-Key: k", b"Host: 127.0.0.1:%d" % server.port} < set(lines)
        with trio.fail_after(5):
            await script.ended.wait()


async def test_a_server_need_not_select_a_subprotocol():
    script = WebSocketServer(fields=(), begin=frame(1, b"{}"))
    async with scripted_server(script) as server, running(WebSocket(RemoteOptions(server.url))) as client:
        assert await client.message() == b"{}"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            b"HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\ngone",
            "answered the WebSocket handshake with status 404: gone",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "with status 200"),
        (b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "invalid response"),
        (b"nonsense\r\n\r\n", "valid HTTP/1.1 response"),
        (b"HTTP/1.1 101 Yes\r\nX: " + b"y" * 20_000, "more than 16384 bytes"),
        (
            b"HTTP/1.1 307 Yes\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n",
            "redirects to http://evil",
        ),
        (b"", "did not open a WebSocket within 0.3 s"),
    ],
)
async def test_a_handshake_that_fails_has_a_reason(answer, reason):
    async def script(peer):
        await peer.request()
        await peer.send(answer)
        await peer.ended()

    async with scripted_server(script) as server:
        options = RemoteOptions(url_of(server), connect_seconds=0.3)
        with pytest.raises(Unreachable, match=reason):
            async with running(WebSocket(options)):
                pass


async def test_a_selected_extension_is_refused():
    script = WebSocketServer(fields=(b"Sec-WebSocket-Extensions: permessage-deflate",))
    async with scripted_server(script) as server:
        with pytest.raises(Unreachable, match="extension that was not offered"):
            async with running(WebSocket(RemoteOptions(url_of(server)))):
                pass


async def test_wss_uses_tls(tls, ca_file):
    script = WebSocketServer(begin=frame(1, b"{}"))
    async with scripted_server(script, tls=tls) as server:
        async with running(WebSocket(RemoteOptions(url_of(server), ca_file=ca_file))) as client:
            assert await client.message() == b"{}"
            client.carrier.send(b"x" * 200_000)
            assert [event.text for event in await script.seen(1)] == [b"x" * 200_000]
        with pytest.raises(Unreachable, match="certificate is not trusted"):
            async with running(WebSocket(RemoteOptions(url_of(server)))):
                pass


async def test_a_websocket_goes_through_a_tunnel_of_a_proxy():
    script = WebSocketServer(begin=frame(1, b"{}"))

    async def proxy(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await script(peer)

    async with scripted_server(proxy) as server:
        options = RemoteOptions("ws://a.example/ws", proxy=f"http://127.0.0.1:{server.port}")
        async with running(WebSocket(options)) as client:
            assert await client.message() == b"{}"
        assert server.requests[0][0].startswith(b"CONNECT a.example:80 HTTP/1.1\r\n")
        assert server.requests[1][0].startswith(b"GET /ws HTTP/1.1\r\nHost: a.example\r\n")


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


async def test_a_refused_handshake_is_repeated_with_other_credentials():
    script = WebSocketServer(begin=frame(1, b"{}"))

    async def check(peer):
        head, _ = await peer.request()
        if b"X-Key: 2" not in head:
            await peer.answer(b"", b"401 No")
            return
        peer._buffer = head + b"\r\n\r\n"
        await script(peer)

    async with scripted_server(check) as server:
        async with running(WebSocket(RemoteOptions(url_of(server), authorizer=Keys(b"1", b"2")))) as client:
            assert await client.message() == b"{}"
        with pytest.raises(LoginRequired):
            async with running(WebSocket(RemoteOptions(url_of(server), authorizer=Keys()))):
                pass
        with pytest.raises(Unreachable, match="with status 401"):
            async with running(WebSocket(RemoteOptions(url_of(server), authorizer=Keys(b"1")))):
                pass


# ---- the end


@pytest.mark.parametrize(
    ("last", "reason", "code"),
    [
        (
            frame(8, b"\x03\xf1too large"),
            "closed the WebSocket with code 1009 (message too big): too large",
            1000,
        ),
        (frame(8), "closed the WebSocket with code 1005 (no code)", 1000),
        (frame(3), "sent an invalid WebSocket frame (RFC 6455 section 5)", 1002),
        (None, "closed the connection", None),
    ],
)
async def test_the_end_of_the_connection_has_a_reason(last, reason, code):
    script = WebSocketServer()
    async with scripted_server(script) as server, running(WebSocket(RemoteOptions(url_of(server)))) as client:
        await script.send(frame(1, b"{}"))
        if last is None:
            await trio.aclose_forcefully(script.peer.stream)
        else:
            await script.send(last, frame(1, b"[]"))
        assert await client.message() == b"{}"
        lost = await client.end()
        assert isinstance(lost, Lost)
        assert lost.reason == f"http://127.0.0.1:{server.port} {reason}"
        assert client.messages == []
        with pytest.raises(Lost):
            client.carrier.send(b"{}")
        with trio.fail_after(5):
            await script.ended.wait()
        assert script.events == ([] if code is None else [Close(code)])


async def test_a_message_is_refused_before_and_sent_once_after_the_connection_is_open():
    script = WebSocketServer()
    async with scripted_server(script) as server:
        carrier = WebSocket(RemoteOptions(url_of(server)))
        with pytest.raises(Lost):
            carrier.send(b"{}")
        async with running(carrier):
            carrier.send(b"[]")
            assert [event.text for event in await script.seen(1)] == [b"[]"]


async def test_a_server_that_does_not_read_is_lost_in_time():
    script = WebSocketServer(reads=False)
    async with scripted_server(script) as server:
        options = RemoteOptions(
            url_of(server), limits=Limits(write_stall_seconds=0.2, stdin_bytes=30_000_000)
        )
        async with running(WebSocket(options)) as client:
            client.carrier.send(b"x" * 20_000_000)
            with pytest.raises(CarrierBusy):
                client.carrier.send(b"x" * 20_000_000)
            # Messages and pongs must not wait for each other.
            await script.send(frame(9, b""), frame(1, b"{}"))
            assert await client.message() == b"{}"
            assert "has not read for 0.2 s" in (await client.end()).reason


async def test_messages_that_were_sent_count_no_more():
    script = WebSocketServer()
    async with scripted_server(script) as server:
        options = RemoteOptions(url_of(server), limits=Limits(stdin_bytes=200))
        async with running(WebSocket(options)) as client:
            for count in range(1, 20):
                client.carrier.send(b"x" * 150)
                await script.seen(count)
                # The server may have it before the task that has sent it goes on.
                await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize(("pongs", "lost"), [(True, True), (False, False)])
async def test_a_silent_server_is_lost_if_it_has_answered_pings_before(pongs, lost, autojump_clock):
    script = WebSocketServer(begin=frame(10) if pongs else b"")
    async with scripted_server(script) as server, running(WebSocket(RemoteOptions(url_of(server)))) as client:
        await trio.sleep(40)
        assert script.events == [Ping(b"")]
        await trio.sleep(100)
        assert (client.ended is not None) is lost
        if lost:
            assert "does not answer pings" in client.ended.reason


async def test_a_connection_has_no_end_of_its_own(autojump_clock):
    script = WebSocketServer()
    async with scripted_server(script) as server, running(WebSocket(RemoteOptions(url_of(server)))) as client:
        await trio.sleep(10_000)
        await script.send(frame(1, b"{}"))
        assert await client.message() == b"{}"


async def test_a_silent_server_is_not_lost_while_nothing_is_read(autojump_clock):
    script = WebSocketServer(begin=frame(10))
    async with scripted_server(script) as server, running(WebSocket(RemoteOptions(url_of(server)))) as client:
        await trio.sleep(1)
        client.carrier.pause()
        await trio.sleep(500)
        assert client.ended is None
        client.carrier.resume()
        await trio.sleep(50)
        assert client.ended is None


async def test_only_the_last_of_many_pings_needs_a_pong():
    script = WebSocketServer(begin=b"".join(frame(9, b"%d" % number) for number in range(5000)))
    async with scripted_server(script) as server, running(WebSocket(RemoteOptions(url_of(server)))) as client:
        await script.send(frame(1, b"{}"))
        await client.message()
        await script.send(frame(9, b"last"))
        await script.seen(2)
        with trio.fail_after(5):
            # No task runs on after the pongs.
            await trio.testing.wait_all_tasks_blocked()
        assert all(event == Pong() for event in script.events)
        assert len(script.events) < 100


# ---- pauses and large messages


async def test_a_paused_carrier_passes_nothing_on():
    script = WebSocketServer()
    async with scripted_server(script) as server, running(WebSocket(RemoteOptions(url_of(server)))) as client:
        client.carrier.pause()
        await script.send(*(frame(1, b"{}") for _ in range(5)))
        client.carrier.send(b"[]")
        assert await script.seen(1) == [Text(b"[]")]
        await trio.sleep(0.05)
        assert client.messages == []
        with trio.move_on_after(0.5) as waited:
            for _ in range(1000):
                await script.send(frame(1, b"x" * 100_000))
        assert waited.cancelled_caught
        client.carrier.resume()
        for _ in range(5):
            assert await client.message() == b"{}"


async def test_a_response_over_the_limit_is_an_error_of_its_request_only():
    script = WebSocketServer()
    async with scripted_server(script) as server:
        options = RemoteOptions(url_of(server), limits=Limits(line=5000))
        async with running(WebSocket(options)) as client:
            await script.send(
                frame(1, b'{"jsonrpc":"2.0","id":7,"result":"%b"}' % (b"x" * 10_000)), frame(1, b"{}")
            )
            error = json.loads(await client.message())
            assert error["id"] == 7
            assert "limits.line" in error["error"]["message"]
            assert await client.message() == b"{}"


async def test_a_flood_of_small_frames_does_not_hold_the_event_loop():
    longest = 0.0

    async def measure():
        nonlocal longest
        while True:
            # Processor time, because other programs may delay this one.
            before = time.thread_time()
            await trio.lowlevel.checkpoint()
            longest = max(longest, time.thread_time() - before)

    begin = frame(1, b"{", final=False) + frame(0, b"", final=False) * 200_000 + frame(0, b"}")
    script = WebSocketServer()
    async with scripted_server(script) as server, running(WebSocket(RemoteOptions(url_of(server)))) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(measure)
            nursery.start_soon(script.send, begin)
            assert await client.message() == b"{}"
            nursery.cancel_scope.cancel()
    assert longest < 0.2


async def test_a_refused_handshake_is_shown_without_the_configured_secrets():
    async def refuse(peer):
        await peer.request()
        await peer.answer(b"your X-Key: 0123456789", b"400 No")

    async with scripted_server(refuse) as server:
        options = RemoteOptions(url_of(server), headers=((b"X-Key", b"0123456789"),))
        with pytest.raises(Unreachable, match=r"your X-Key: …$"):
            async with running(WebSocket(options)):
                pass
