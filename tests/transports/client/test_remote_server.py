"""A remote server in the place of a process: its lines, its end, and the transport that it has."""

import gc
import json
import weakref

import pytest
import trio
import trio.testing

from mcpbridged.transports.client import stream_session
from mcpbridged.transports.client.detection import RemoteMemory
from mcpbridged.transports.client.options import RemoteOptions
from mcpbridged.transports.client.ports import Lost
from mcpbridged.transports.client.remote_server import RemoteServer
from mcpbridged.transports.server_io import ChildBusy, ChildGone
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.remote_url import BadRemoteUrl

from ...support.remote_peer import RESULT, Exchange, connected, remote_peer
from ...support.scripted_http import Peer, ScriptedServer
from .test_legacy_http import serving

pytestmark = pytest.mark.anyio


def unused_url():
    return "http://127.0.0.1:1/mcp"


def test_it_has_the_interface_of_a_connection():
    server = RemoteServer(RemoteOptions(unused_url()), RemoteMemory(), -5, None)
    assert (server.pid, server.ended, server.unfinished, server.related) == (-5, False, (b"", b""), b"")
    assert not server.has_unread_input
    watchers = [lambda *_: None]
    server.watchers = watchers
    assert server.watchers is watchers


def test_a_wrong_url_raises():
    with pytest.raises(BadRemoteUrl):
        RemoteServer(RemoteOptions("ftp://x"), RemoteMemory(), -1, None)


@pytest.mark.parametrize("method", ["initialize", "server/discover"])
async def test_a_server_that_cannot_be_reached_has_ended(method):
    async with connected(unused_url()) as client:
        (client.modern if method == "server/discover" else client.call)(1, method)
        assert "cannot be reached: " in await client.received.end()
        assert client.received.lines == []
        assert client.server.ended
        with pytest.raises(ChildGone):
            client.server.send(b"{}")


async def test_a_call_of_a_server_that_cannot_be_reached_is_an_error():
    async with connected(unused_url()) as client:
        error = (await client.ask_modern(1))["error"]
        assert "the request was not carried out" in error["message"]
        assert error["data"] == {"reason": "unreachable", "sent": False}
        assert not client.server.ended


async def test_a_connection_is_made_once_the_server_runs_again():
    memory = RemoteMemory()
    async with remote_peer(serving()) as peer, connected(peer.url, memory=memory) as client:
        await client.initialize()
    port = int(peer.url.split(":")[2].split("/")[0])
    async with trio.open_nursery() as nursery, connected(peer.url, memory=memory) as client:
        client.call(0, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={})
        await trio.sleep(0.3)
        (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")

        async def serve(stream):
            requests = Peer(stream, ScriptedServer(port))
            while (request := await requests.request()) is not None:
                await serving()(Exchange(requests, *request))

        nursery.start_soon(trio.serve_listeners, serve, [listener])
        assert (await client.answer(0))["result"] == RESULT
        nursery.cancel_scope.cancel()


async def test_an_ended_connection_is_freed_without_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        async with remote_peer(serving()) as peer:
            async with connected(peer.url) as client:
                await client.initialize()
                client.server.stop()
                await client.received.end()
            found = weakref.ref(client.server)
            del client
        assert found() is None
    finally:
        gc.enable()


async def test_input_over_the_limit_is_refused():
    async def handler(exchange):
        await exchange.left()

    async with remote_peer(handler) as peer, connected(peer.url, limits=Limits(stdin_bytes=500)) as client:
        client.modern(1, x="y" * 1000)
        await peer.until(lambda journal: journal)
        assert client.server.has_unread_input
        with pytest.raises(ChildBusy, match="the limit is 500"):
            client.modern(2)


async def test_stop_sends_what_waits_and_closes_the_session():
    async with remote_peer(serving()) as peer, connected(peer.url) as client:
        await client.initialize()
        client.call(1)
        client.send(method="notifications/cancelled", params={"requestId": 9})
        client.send(method="notifications/roots/list_changed")
        client.server.stop()
        await client.received.end()
        await peer.until(lambda journal: journal[-1].verb == "DELETE")
        assert sorted(peer.sent("tools/call", "notifications/roots/list_changed")) == [
            "notifications/roots/list_changed",
            "tools/call",
        ]
        assert client.received.answers(1) == []


async def test_a_server_that_does_not_respond_delays_the_end_for_a_short_time_only():
    async def silent(exchange):
        await exchange.left()

    async with remote_peer(serving(tools_call=silent, DELETE=silent)) as peer:
        begun = trio.current_time()
        async with connected(peer.url, limits=Limits(stop_seconds=0.2)) as client:
            await client.initialize()
            client.call(1)
            await peer.until(lambda _: peer.sent("tools/call"))
            client.server.stop()
            await client.received.end()
        assert trio.current_time() - begun < 2


async def test_kill_closes_the_connection_without_closing_the_session():
    left = trio.Event()

    async def call(exchange):
        await exchange.left()
        left.set()

    async with remote_peer(serving(tools_call=call)) as peer, connected(peer.url) as client:
        await client.initialize()
        client.call(1)
        await peer.until(lambda _: peer.sent("tools/call"))
        client.server.kill()
        await left.wait()
        await client.received.end()
    assert "DELETE" not in [e.verb for e in peer.journal]


async def test_an_exception_of_the_line_handler_ends_the_connection_only():
    async with remote_peer(serving()) as peer:
        server = RemoteServer(RemoteOptions(peer.url), RemoteMemory(), -1, None)

        def on_line(line):
            raise RuntimeError("planted")

        server.set_line_handler(on_line)
        server.send(b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}')
        exits = []
        with trio.fail_after(5), pytest.raises(RuntimeError, match="planted"):
            await server.run(lambda _: None, exits.append)
        assert len(exits) == 1


async def test_watchers_see_both_directions():
    seen = []
    async with remote_peer(serving()) as peer, connected(peer.url) as client:
        client.server.watchers = [lambda direction, line: seen.append((direction, line[:20]))]
        await client.ask(1, "initialize")
    assert [direction for direction, _ in seen] == ["to server", "to client"]


# ---- the transport


class FakeCarrier:
    """A carrier of a server that answers each request (ports.Carrier)."""

    made = 0

    def __init__(self, fault=None):
        type(self).made += 1
        self.fault = fault
        self.sent = []
        self.lost = trio.Event()
        self.paused = False

    async def run(self, on_message, *, task_status=trio.TASK_STATUS_IGNORED):
        if self.fault is not None:
            raise self.fault
        self.on_message = on_message
        task_status.started()
        await self.lost.wait()
        raise Lost("the peer has left")

    def send(self, line):
        message = json.loads(line)
        self.sent.append(message)
        if "id" in message and "method" in message:
            result = RESULT if message["method"] == "initialize" else {}
            self.on_message(
                json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode(), b""
            )

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False


def error_of(raw_id, code=-32600):
    error = {"code": code, "message": "method not allowed"}
    return {"jsonrpc": "2.0", "error": error, **({} if raw_id is ... else {"id": raw_id})}


@pytest.mark.parametrize("status", [400, 404, 405])
@pytest.mark.parametrize(
    "body", [b"no", *(json.dumps(error_of(raw_id)).encode() for raw_id in (..., None, "server-error", 0))]
)
async def test_a_server_that_refuses_the_post_has_the_first_transport(status, body):
    carriers = []

    def make(transport):
        carriers.append((transport, FakeCarrier()))
        return carriers[-1][1]

    async def handler(exchange):
        await exchange.send(body, status, "text/plain")

    memory = RemoteMemory()
    async with remote_peer(handler) as peer:
        async with connected(peer.url, memory=memory, make_carrier=make) as client:
            await client.initialize()
            await client.ask(1)
        assert (memory.transport, len(peer.journal)) == ("sse", 1)
        assert [one["method"] for one in carriers[0][1].sent] == [
            "initialize",
            "notifications/initialized",
            "tools/call",
        ]
        # The next connection does not try Streamable HTTP again.
        async with connected(peer.url, memory=memory, make_carrier=make) as client:
            await client.initialize()
            assert (await client.ask_modern(1, "server/discover"))["error"]["code"] == -32601
        assert len(peer.journal) == 1


async def test_a_server_with_neither_transport_has_ended_with_both_reasons():
    async def handler(exchange):
        await exchange.send(b"no such page", 404, "text/plain")

    async with remote_peer(handler) as peer:
        make = lambda _: FakeCarrier(Lost("no endpoint"))  # noqa: E731
        async with connected(peer.url, make_carrier=make) as client:
            client.call(1, "initialize")
            reason = await client.received.end()
    assert "HTTP 404 (Not Found): no such page" in reason
    assert "HTTP+SSE: has closed the connection: no endpoint" in reason


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_a_refusal_that_may_pass_is_no_evidence(status):
    async def handler(exchange):
        await exchange.send(b"no", status, "text/plain")

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        client.call(1, "initialize")
        assert f"HTTP {status}" in await client.received.end()
        assert {e.verb for e in peer.journal} == {"POST"}


async def silence(exchange):
    await exchange.events()
    await exchange.left()


async def other_page(exchange):
    await exchange.send(b"a page", kind="text/html")


async def no_get(exchange):
    await exchange.json(error_of(None), 405)


@pytest.mark.parametrize("get", [silence, other_page, no_get])
async def test_a_refusal_is_the_answer_of_a_server_without_an_event_stream(get, monkeypatch):
    monkeypatch.setattr(stream_session, "_ATTEMPT_SECONDS", 0.5)

    async def handler(exchange):
        if exchange.verb == "GET":
            await get(exchange)
        elif exchange.method == "initialize" and len(peer.sent("initialize")) == 1:
            await exchange.json(error_of(exchange.id, -32602), 400)
        else:
            await exchange.result(RESULT if exchange.method == "initialize" else {})

    memory = RemoteMemory()
    async with remote_peer(handler) as peer, connected(peer.url, memory=memory) as client:
        # A message that waits for the response to `initialize` is sent over the former transport as well.
        client.call(1, "initialize")
        client.call(2, "ping")
        assert (await client.answer(1))["error"]["code"] == -32602
        assert (await client.answer(2))["result"] == {}
        assert memory.transport == ""
        assert (await client.ask(3, "initialize"))["result"] == RESULT
        assert memory.transport == "http"
        assert peer.sent() == ["initialize", "ping", "initialize"]


@pytest.mark.parametrize("code", [-32020, -32021, -32022])
async def test_an_error_of_the_modern_era_is_the_answer_at_once(code):
    async def handler(exchange):
        await exchange.json(error_of(exchange.id, code), 400)

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        assert (await client.ask(1, "initialize"))["error"]["code"] == code
        assert [e.verb for e in peer.journal] == ["POST"]


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_a_refused_discovery_does_not_decide_the_transport(status):
    async def handler(exchange):
        await exchange.json(error_of(exchange.id), status)

    memory = RemoteMemory()
    async with remote_peer(handler) as peer:
        async with connected(peer.url, memory=memory) as client:
            assert (await client.ask_modern(1, "server/discover"))["error"]["code"] == -32600
            assert memory.transport == ""
        async with connected(peer.url, memory=memory, make_carrier=lambda _: FakeCarrier()) as client:
            assert (await client.initialize())["result"] == RESULT
    assert memory.transport == "sse"


async def test_connections_at_the_same_time_find_the_same_transport():
    refused = trio.Event()

    async def handler(exchange):
        await refused.wait()
        await exchange.json(error_of(None), 405)

    memory = RemoteMemory()
    async with (
        remote_peer(handler) as peer,
        connected(peer.url, memory=memory, make_carrier=lambda _: FakeCarrier()) as client,
    ):
        client.call(1, "initialize")
        await peer.until(len)
        memory.found("sse")
        refused.set()
        assert (await client.answer(1))["result"] == RESULT


async def test_the_configured_transport_is_the_only_one():
    async def handler(exchange):
        await exchange.send(b"no", 405, "text/plain")

    async with remote_peer(handler) as peer, connected(peer.url, transport="http") as client:
        client.call(1, "initialize")
        assert "HTTP 405" in await client.received.end()
        assert [e.verb for e in peer.journal] == ["POST"]


async def test_a_server_may_change_to_another_transport():
    memory = RemoteMemory(transport="sse")

    async def handler(exchange):
        if exchange.verb == "GET":
            await exchange.send(status=405, kind="")
        elif exchange.method == "initialize":
            await exchange.result(RESULT)
        else:
            await exchange.accepted()

    async with remote_peer(handler) as peer:
        async with connected(peer.url, memory=memory) as client:
            client.call(0, "initialize")
            assert "with status 405" in await client.received.end()
        async with connected(peer.url, memory=memory) as client:
            assert (await client.initialize())["result"] == RESULT
    assert memory.transport == "http"


async def test_a_server_may_change_to_the_first_transport():
    memory = RemoteMemory(transport="http")

    async def handler(exchange):
        await exchange.send(b"no", 405, "text/plain")

    async with remote_peer(handler) as peer:
        async with connected(peer.url, memory=memory) as client:
            client.call(0, "initialize")
            assert "HTTP 405" in await client.received.end()
        async with connected(peer.url, memory=memory, make_carrier=lambda _: FakeCarrier()) as client:
            await client.initialize()
    assert memory.transport == "sse"
