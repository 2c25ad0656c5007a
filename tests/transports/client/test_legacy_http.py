"""The Streamable HTTP client of the handshake revisions: order, sessions, streams and failures."""

import pytest
import trio

from ...support.remote_peer import RESULT, connected, remote_peer

pytestmark = pytest.mark.anyio


def serving(**handlers):
    """Return a handler of a server with a session. Keyword: a method, with `_` for `/`."""

    async def handler(exchange):
        special = handlers.get(exchange.method.replace("/", "_") or exchange.verb)
        if special is not None:
            await special(exchange)
        elif exchange.method == "initialize":
            await exchange.result(RESULT, Mcp_Session_Id="s1")
        elif exchange.verb == "GET":
            await exchange.send(status=405, kind="")
        elif exchange.verb == "DELETE" or exchange.id is None or "method" not in exchange.message:
            await exchange.accepted()
        else:
            await exchange.result({"echo": exchange.message.get("params")})

    return handler


async def test_a_session_is_opened_used_and_closed():
    async with remote_peer(serving()) as peer, connected(peer.url) as client:
        assert (await client.initialize())["result"] == RESULT
        assert (await client.ask(7, name="x"))["result"] == {"echo": {"name": "x"}}
        client.server.stop()
        assert await client.received.end() == "has closed the connection"
        await peer.until(lambda journal: journal[-1].verb == "DELETE")
    first, *rest = peer.journal
    assert not {"mcp-session-id", "mcp-protocol-version"} & first.headers.keys()
    assert {(e.headers["mcp-session-id"], e.headers["mcp-protocol-version"]) for e in rest} == {
        ("s1", "2025-11-25")
    }
    assert first.headers["accept"] == "application/json, text/event-stream"
    assert sorted((e.verb, e.method) for e in rest) == [
        ("DELETE", ""),
        ("GET", ""),
        ("POST", "notifications/initialized"),
        ("POST", "tools/call"),
    ]


async def test_messages_on_the_stream_of_a_request_are_related_to_it():
    async def call(exchange):
        await exchange.events()
        await exchange.event(
            {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
        )
        await exchange.event({"jsonrpc": "2.0", "id": "q", "method": "roots/list"})
        await exchange.event({"jsonrpc": "2.0", "id": exchange.id, "result": {}})
        await exchange.end()

    async with remote_peer(serving(tools_call=call)) as peer, connected(peer.url) as client:
        await client.initialize()
        await client.ask(7)
        client.send(id="q", result={"roots": []})
        await peer.until(lambda journal: "result" in journal[-1].message)
        assert client.received.related == [b"0", b"7", b"7", b"7"]
        assert [one.get("method") for one in client.received.messages[1:3]] == [
            "notifications/progress",
            "roots/list",
        ]


async def test_the_stream_of_the_session_is_opened_after_initialized():
    async def get(exchange):
        await exchange.events()
        await exchange.event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        await trio.sleep_forever()

    async with remote_peer(serving(GET=get)) as peer, connected(peer.url) as client:
        await client.initialize()
        assert (await client.received.until(2))[1]["method"] == "notifications/tools/list_changed"
        assert client.received.related == [b"0", b""]
        assert [e.method or e.verb for e in peer.journal] == [
            "initialize",
            "notifications/initialized",
            "GET",
        ]


async def test_requests_wait_for_the_acceptance_of_initialized():
    accepted = trio.Event()

    async def initialized(exchange):
        await accepted.wait()
        await exchange.accepted()

    async with (
        remote_peer(serving(notifications_initialized=initialized)) as peer,
        connected(peer.url) as client,
    ):
        await client.initialize()
        client.call(1)
        client.call(2)
        await peer.until(lambda journal: len(journal) == 2)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert peer.sent() == ["initialize", "notifications/initialized"]
        accepted.set()
        await client.received.until(3)


async def test_an_interrupted_stream_is_continued():
    async def call(exchange):
        await exchange.events()
        await exchange.event(b"", "one", retry=10)
        await exchange.reset()

    async def get(exchange):
        if "last-event-id" not in exchange.headers:
            await exchange.send(status=405)
            return
        await exchange.events()
        await exchange.event({"jsonrpc": "2.0", "id": 7, "result": {"n": 1}}, "two")
        await exchange.end()

    async with remote_peer(serving(tools_call=call, GET=get)) as peer, connected(peer.url) as client:
        await client.initialize()
        assert (await client.ask(7))["result"] == {"n": 1}
        assert peer.journal[-1].headers["last-event-id"] == "one"
        assert peer.journal[-1].headers["mcp-session-id"] == "s1"
        assert len(peer.sent("tools/call")) == 1
        assert client.received.related[-1] == b"7"


@pytest.mark.parametrize("reset", [False, True])
async def test_a_stream_without_answer_and_id_is_an_error(reset):
    async def call(exchange):
        await exchange.events()
        await (exchange.reset() if reset else exchange.end())

    async with remote_peer(serving(tools_call=call)) as peer, connected(peer.url) as client:
        await client.initialize()
        error = (await client.ask(7))["error"]
        assert "the request may have been carried out" in error["message"]
        assert len(peer.sent("tools/call")) == 1


async def test_a_lost_session_is_opened_again_and_the_refused_request_is_sent_again():
    lost = trio.Event()

    async def initialize(exchange):
        number = len([e for e in peer.journal if e.method == "initialize"])
        await exchange.result(
            {**RESULT, "capabilities": {"tools": {"listChanged": True}}}, Mcp_Session_Id=f"s{number}"
        )

    async def call(exchange):
        if exchange.message["params"].get("slow"):
            await exchange.events()
            await trio.sleep_forever()
        if lost.is_set() and exchange.headers["mcp-session-id"] == "s1":
            await exchange.json(
                {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "gone"}}, 404
            )
            return
        await exchange.result({"session": exchange.headers["mcp-session-id"]})

    async with (
        remote_peer(serving(initialize=initialize, tools_call=call)) as peer,
        connected(peer.url) as client,
    ):
        await client.initialize()
        await client.ask(1, "logging/setLevel", level="info")
        await client.ask(2, "resources/subscribe", uri="a:b")
        client.call(3, slow=True)
        await peer.until(lambda _: len(peer.sent("tools/call")) == 1)
        lost.set()
        assert (await client.ask(4))["result"] == {"session": "s2"}
        assert "may have been carried out" in (await client.answer(3))["error"]["message"]
        assert peer.sent() == [
            "initialize",
            "notifications/initialized",
            "logging/setLevel",
            "resources/subscribe",
            "tools/call",
            "tools/call",
            "initialize",
            "notifications/initialized",
            "logging/setLevel",
            "resources/subscribe",
            "tools/call",
        ]
        assert [one["method"] for one in client.received.messages if "method" in one] == [
            "notifications/tools/list_changed",
            "notifications/resources/updated",
        ]
