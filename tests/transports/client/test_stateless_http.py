"""The Streamable HTTP client of MCP 2026-07-28: headers, cancellation, refusals and the list of tools."""

import pytest
import trio
import trio.testing

from ...support.remote_peer import META, connected, remote_peer

pytestmark = pytest.mark.anyio
ANNOTATED = {
    "name": "query",
    "inputSchema": {
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "count": {"type": "integer", "x-mcp-header": "Count"},
            "deep": {"type": "object", "properties": {"on": {"type": "boolean", "x-mcp-header": "On"}}},
        },
    },
}
INVALID = {
    "name": "bad",
    "inputSchema": {"type": "object", "properties": {"a": {"type": "number", "x-mcp-header": "A"}}},
}


def error(exchange, code, **data):
    return {"jsonrpc": "2.0", "id": exchange.id, "error": {"code": code, "message": "no", **data}}


async def echo(exchange):
    await exchange.result({"resultType": "complete"})


async def test_a_request_has_the_headers_that_mirror_its_body():
    async with remote_peer(echo) as peer, connected(peer.url) as client:
        await client.ask_modern(1, "tools/call", name="a ☃ b", arguments={})
        await client.ask_modern(2, "resources/read", uri="file:///x")
        await client.ask_modern(3, "server/discover")
    found = [
        {
            name: e.headers.get(name)
            for name in ("mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id")
        }
        for e in peer.journal
    ]
    version = {"mcp-protocol-version": "2026-07-28", "mcp-session-id": None}
    assert found == [
        {**version, "mcp-method": "tools/call", "mcp-name": "=?base64?YSDimIMgYg==?="},
        {**version, "mcp-method": "resources/read", "mcp-name": "file:///x"},
        {**version, "mcp-method": "server/discover", "mcp-name": None},
    ]
    # Stateless requests have no session that could be closed.
    assert {e.verb for e in peer.journal} == {"POST"}


async def test_a_cancellation_closes_the_response_and_is_not_sent():
    left = trio.Event()

    async def handler(exchange):
        await exchange.events()
        await exchange.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}})
        await exchange.left()
        left.set()

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        client.modern(1)
        await client.received.until(1)
        client.send(method="notifications/cancelled", params={"requestId": 1})
        await left.wait()
        assert (len(peer.journal), client.received.related) == (1, [b"1"])
        assert not client.server.has_unread_input


@pytest.mark.parametrize(("status", "code"), [(400, -32022), (400, -32021), (404, -32601), (400, -32602)])
async def test_a_refusal_with_an_error_is_the_answer(status, code):
    async def handler(exchange):
        await exchange.json(error(exchange, code, data={"supported": ["2026-07-28"]}), status)

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        answer = await client.ask_modern(1, "server/discover")
        assert answer["error"] == {"code": code, "message": "no", "data": {"supported": ["2026-07-28"]}}


async def test_arguments_are_mirrored_as_the_list_of_tools_demands():
    async def handler(exchange):
        tools = {"tools": [ANNOTATED, INVALID], "resultType": "complete"}
        await exchange.result(tools if exchange.method == "tools/list" else {})

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        listed = await client.ask_modern(1, "tools/list")
        arguments = {"region": "a\r\nX: y", "count": 42, "deep": {"on": True}}
        await client.ask_modern(2, name="query", arguments=arguments)
        await client.ask_modern(3, name="query", arguments={"region": None})
    # A client over HTTP must not use a tool with invalid annotations.
    assert listed["result"]["tools"] == [ANNOTATED]
    assert any(b"'bad'" in note for note in client.received.notes)
    found = [
        {name: value for name, value in e.headers.items() if name.startswith("mcp-param")}
        for e in peer.journal[1:]
    ]
    assert found == [
        {"mcp-param-region": "=?base64?YQ0KWDogeQ==?=", "mcp-param-count": "42", "mcp-param-on": "true"},
        {},
    ]


async def test_a_call_is_sent_again_with_the_annotations_of_a_new_list():
    async def handler(exchange):
        if exchange.method == "tools/list":
            cursor = exchange.message["params"].get("cursor")
            await exchange.result({"tools": [ANNOTATED]} if cursor else {"tools": [], "nextCursor": "next"})
        elif "mcp-param-region" in exchange.headers:
            await exchange.result({"resultType": "complete"})
        else:
            await exchange.json(error(exchange, -32020), 400)

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        answer = await client.ask_modern(1, name="query", arguments={"region": "eu"})
        assert answer["result"] == {"resultType": "complete"}
        assert peer.sent() == ["tools/call", "tools/list", "tools/list", "tools/call"]
        assert len(client.received.lines) == 1


async def test_a_call_whose_headers_are_refused_twice_is_an_error():
    async def handler(exchange):
        if exchange.method == "tools/list":
            await exchange.result({"tools": []})
        else:
            await exchange.json(error(exchange, -32020), 400)

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        assert (await client.ask_modern(1, name="query"))["error"]["code"] == -32020
        assert peer.sent() == ["tools/call", "tools/list", "tools/call"]


async def test_a_subscription_is_a_long_stream():
    async def handler(exchange):
        await exchange.events()
        for _ in range(3):
            await exchange.chunk(b":\r\n")
            await exchange.event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        await exchange.event({"jsonrpc": "2.0", "id": exchange.id, "result": {}})
        await exchange.end()

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        await client.ask_modern(5, "subscriptions/listen", notifications={})
        assert client.received.related == [b"5"] * 4


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 502, 503])
async def test_a_refusal_that_may_pass_is_no_answer_to_the_probe(status):
    async def handler(exchange):
        await exchange.json(error(exchange, -32603), status, Retry_After="7")

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        client.modern(1, "server/discover")
        assert f"answered with HTTP {status}" in await client.received.end()
        assert client.received.lines == []


@pytest.mark.parametrize("body", [b"Missing session ID", b"", b'{"detail":"Not Found"}'])
async def test_a_refusal_without_an_error_is_an_answer_to_the_probe(body):
    async def handler(exchange):
        await exchange.send(body, 400, "text/plain", Mcp_Session_Id="minted")

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        answer = await client.ask_modern(1, "server/discover")
        assert answer["error"]["code"] == -32603
        await client.ask_modern(2, "server/discover")
        assert "mcp-session-id" not in peer.journal[1].headers


async def test_requests_do_not_wait_for_each_other():
    async def handler(exchange):
        if exchange.id < 20:
            await exchange.left()
        else:
            await exchange.result()

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        for number in range(1, 21):
            client.modern(number)
        await client.answer(20)
        assert sorted(e.message["id"] for e in peer.journal) == [*range(1, 21)]


async def test_a_notification_is_posted_with_its_headers():
    async def handler(exchange):
        await exchange.accepted()

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        client.send(method="notifications/com.example/x", params={"_meta": META})
        await peer.until(lambda journal: journal)
        assert peer.journal[0].headers["mcp-method"] == "notifications/com.example/x"


@pytest.mark.parametrize("listing", ["refused", "broken", "too large"])
async def test_a_call_is_not_sent_again_without_a_list_of_tools(listing):
    async def handler(exchange):
        if exchange.method == "tools/call":
            await exchange.json(error(exchange, -32020), 400)
        elif listing == "refused":
            await exchange.json(error(exchange, -32603))
        elif listing == "broken":
            await exchange.reset()
        else:
            await exchange.result({"tools": [{"name": str(number)} for number in range(5000)]})

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        assert (await client.ask_modern(1, name="query"))["error"]["code"] == -32020
        assert peer.sent() == ["tools/call", "tools/list"]
        assert len(client.received.lines) == 1


async def test_calls_that_are_refused_at_once_share_one_list():
    refused = 0

    async def handler(exchange):
        nonlocal refused
        if exchange.method == "tools/list":
            await exchange.result({"tools": [ANNOTATED]})
        elif "mcp-param-region" in exchange.headers:
            await exchange.result()
        else:
            refused += 1
            while refused < 3:
                await trio.sleep(0.01)
            await exchange.json(error(exchange, -32020), 400)

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        for number in (1, 2, 3):
            client.modern(number, name="query", arguments={"region": "eu"})
        for number in (1, 2, 3):
            assert "result" in await client.answer(number)
        assert len(peer.sent("tools/list")) == 1


async def test_a_notification_that_is_refused_is_logged():
    async def handler(exchange):
        await exchange.send(b"no", 400, "text/plain")

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        client.send(method="notifications/x")
        await peer.until(lambda journal: journal)
        client.modern(1, "server/discover")
        await client.answer(1)
        assert any(b"notifications/x was refused" in note for note in client.received.notes)
        assert not client.server.has_unread_input


async def test_a_request_of_a_server_is_passed_on_for_its_receiver_to_refuse():
    async def handler(exchange):
        await exchange.events()
        await exchange.event({"jsonrpc": "2.0", "id": "q", "method": "roots/list"})
        await exchange.event(
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "q"}}
        )
        await exchange.event({"jsonrpc": "2.0", "id": exchange.id, "result": {}})
        await exchange.end()

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        await client.ask_modern(1)
        assert [one.get("method") for one in client.received.messages] == [
            "roots/list",
            "notifications/cancelled",
            None,
        ]
