"""The aggregate: several servers offered as one, to clients of both eras."""

import hashlib
import json
import sys
from contextlib import AsyncExitStack

import pytest
import trio

from ..support import sdk
from ..support.bridge_process import EXAMPLE
from ..support.daemon_clients import open_socket, stateless_request
from ..support.daemon_process import child, daemon
from ..support.raw_http import connect
from ..support.sdk import answer_elicitation, answer_roots, answer_sampling, text_of
from ..support.stateless_requests import ASKABLE, SUBSCRIPTION, headers_of, request, tool

pytestmark = [pytest.mark.anyio, *sdk.SDK_WARNINGS]
SERVERS = {
    "one": {"command": EXAMPLE},
    "two": {"command": EXAMPLE},
    "broken": {"command": [sys.executable, "-c", "raise SystemExit('no')"], "era": "legacy"},
    "alone": {"command": EXAMPLE},
}
TABLES = {"aggregate": {"servers": ["one", "two", "broken"]}}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with daemon(tmp_path_factory.mktemp("aggregate"), SERVERS, **TABLES) as found:
        yield found


async def exchange(running, method, params=None, token=None, caps=None, path="/mcp"):
    return await stateless_request(running, path, method, params, token, caps)


async def test_tools_of_all_servers_are_listed_with_the_name_of_their_server(running):
    _, answer = await exchange(running, "tools/list")
    names = [found["name"] for found in answer["result"]["tools"]]
    assert {"one__echo", "two__echo"} <= set(names)
    assert not [name for name in names if name.startswith(("alone__", "broken__")) or "__" not in name]
    for server in ("one", "two"):
        _, answer = await exchange(running, "tools/call", tool(f"{server}__echo", text=server))
        assert answer["result"]["content"][0]["text"] == server
    _, answer = await exchange(running, "prompts/list")
    [name, *_] = [found["name"] for found in answer["result"]["prompts"]]
    assert name.startswith("one__")


async def test_a_deeply_nested_response_passes_through_the_aggregate(tmp_path):
    deep = json.loads("[" * 150 + "]" * 150)
    command = child("strange.py", json.dumps({"content": deep}))
    servers = {"one": {"command": command, "era": "legacy"}}
    with daemon(tmp_path, servers, aggregate={"servers": ["one"]}) as running:
        with trio.fail_after(30):
            _, answer = await exchange(running, "tools/call", tool("one__it"))
    assert answer["result"]["content"] == deep


async def test_an_unknown_tool_is_named(running):
    for name in ("echo", "alone__echo", "nobody__echo"):
        _, answer = await exchange(running, "tools/call", tool(name))
        assert (answer["error"]["code"], answer["error"]["message"]) == (-32602, f"Unknown tool: {name}")
    _, answer = await exchange(running, "tools/call", tool("broken__x"))
    text = answer["error"]["message"]
    assert "exited with code 1" in text or "ended unexpectedly" in text


async def test_discovery_merges_the_capabilities_of_all_servers(running):
    _, answer = await exchange(running, "server/discover")
    assert {"tools", "prompts", "resources"} <= set(answer["result"]["capabilities"])
    assert answer["result"]["supportedVersions"] == ["2026-07-28"]


async def test_resources_keep_their_uris_and_are_read_at_their_server(running):
    _, answer = await exchange(running, "resources/list")
    uris = [found["uri"] for found in answer["result"]["resources"]]
    assert uris
    _, answer = await exchange(running, "resources/read", {"uri": uris[0]})
    assert answer["result"]["contents"][0]["uri"] == uris[0]
    _, answer = await exchange(running, "resources/read", {"uri": "example://nothing"})
    assert "error" in answer


async def test_a_client_of_an_earlier_revision_gets_requests_and_notifications(running):
    async with AsyncExitStack() as stack:
        opened = await open_socket(running, None, stack)
        question = {"name": "one__ask", "arguments": {"question": "which?"}}
        await opened._send({"id": 1, "method": "tools/call", "params": question})
        elicitation = json.loads(await opened._connection.get_message())
        assert elicitation["method"] == "elicitation/create"
        content = {"action": "accept", "content": {"answer": "blue"}}
        await opened._send({"id": elicitation["id"], "result": content})
        assert (await opened.answers(1))[1]["result"]["content"][0]["text"] == "accept: blue"
        params = {**tool("two__slow", seconds=0.2, steps=2), "_meta": {"progressToken": "p"}}
        await opened._send({"id": 2, "method": "tools/call", "params": params})
        notification = json.loads(await opened._connection.get_message())
        assert (notification["method"], notification["params"]["progressToken"]) == (
            "notifications/progress",
            "p",
        )
        await opened.answers(1)


async def test_an_input_round_is_continued_at_the_server_that_began_it(running):
    call = tool("two__ask", question="which?")
    _, answer = await exchange(running, "tools/call", call, caps=ASKABLE)
    result = answer["result"]
    assert result["resultType"] == "input_required"
    [key] = result["inputRequests"]
    replies = {key: {"action": "accept", "content": {"answer": "red"}}}
    again = {**call, "inputResponses": replies, "requestState": result["requestState"]}
    _, answer = await exchange(running, "tools/call", again, caps=ASKABLE)
    assert answer["result"]["content"][0]["text"] == "accept: red"


async def test_changes_of_all_servers_arrive_on_one_subscription(running):
    body = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id="l")
    async with connect(running) as connection:
        await connection.send("POST", "/mcp", headers_of(body), json.dumps(body).encode())
        await connection.head()
        first = await connection.message()
        assert first["method"] == "notifications/subscriptions/acknowledged"
        assert first["params"]["notifications"] == {"toolsListChanged": True}
        for server in ("one", "two"):
            await exchange(running, "tools/call", tool(f"{server}__toggle"))
            notification = await connection.message()
            assert notification["method"] == "notifications/tools/list_changed"
            assert notification["params"]["_meta"][SUBSCRIPTION] == "l"


async def test_a_server_that_is_restarted_is_connected_again(running):
    assert (await exchange(running, "tools/call", tool("one__echo", text="a")))[1]["result"]
    await trio.to_thread.run_sync(running.do, "restart", "one")
    assert (await exchange(running, "tools/call", tool("one__echo", text="b")))[1]["result"]


async def test_a_token_has_the_same_access_through_the_aggregate(tmp_path):
    tokens = {name: f"mcpb_{name}_0123456789abcdefghijklmnopqrstuvwxyz" for name in ("some", "none")}
    tables = {
        f"tokens.{name}": {"sha256": hashlib.sha256(token.encode()).hexdigest(), "servers": servers}
        for (name, token), servers in zip(tokens.items(), (["aggregate", "one"], ["one"]), strict=True)
    }
    with daemon(tmp_path, SERVERS, **TABLES, **tables) as running:
        _, answer = await exchange(running, "tools/list", token=tokens["some"])
        assert {found["name"].partition("__")[0] for found in answer["result"]["tools"]} == {"one"}
        _, answer = await exchange(running, "tools/call", tool("two__echo", text="x"), tokens["some"])
        assert "error" in answer
        assert (await exchange(running, "tools/list", token=tokens["none"]))[0] == 403
        assert (await exchange(running, "tools/list", token=tokens["none"], path="/servers/one/mcp"))[
            0
        ] == 200


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("transport", ["http", "sse", "ws"])
async def test_an_official_client_in_front_of_all(running, mode, transport):
    if (mode, transport) == ("auto", "sse"):
        pytest.skip("that transport is of the handshake era")
    options = {
        "elicitation_callback": answer_elicitation,
        "sampling_callback": answer_sampling,
        "list_roots_callback": answer_roots,
    }
    async with sdk.connect(running, transport, mode=mode, **options) as client:
        names = {found.name for found in (await client.list_tools()).tools}
        assert {"one__echo", "two__echo"} <= names
        assert text_of(await client.call_tool("two__ask", {"question": "abc"})) == "accept: cba"
        assert text_of(await client.call_tool("one__think", {"prompt": "hello"})) == "loud: HELLO"
        assert text_of(await client.call_tool("one__roots")) == "file:///here\nfile:///there"
        prompt = await client.get_prompt("two__greet", {"name": "Ada"})
        assert prompt.messages[0].content.text == "Say hello to Ada."
        assert (await client.read_resource("example://square/12")).contents[0].text == "144"


async def test_a_call_that_a_server_has_received_is_never_sent_again(tmp_path):
    servers = {"one": {"command": EXAMPLE, "limits": {"drain_seconds": 0.2}}}
    with daemon(tmp_path, servers, aggregate={"servers": ["one"]}) as running:
        answers = []

        async def call():
            answers.append((await exchange(running, "tools/call", tool("one__slow", seconds=60, steps=1)))[1])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            while not any(one["in_flight"] for one in running.status()["servers"] if one["name"] == "one"):
                await trio.sleep(0.02)
            await trio.to_thread.run_sync(running.do, "restart", "one")
        [answer] = answers
        assert "the server was restarted" in answer["error"]["message"]
        [one] = [one for one in running.status()["servers"] if one["name"] == "one"]
        # A repeated call would be a second line.
        assert one["starts"] == 1
        assert (await exchange(running, "tools/call", tool("one__echo", text="b")))[1]["result"]
