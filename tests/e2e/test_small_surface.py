"""An aggregate with three tools in place of all: calls are as direct ones, for clients of both eras."""

import hashlib
import json

import pytest
import trio

from ..support import sdk
from ..support.aggregate import Modern, member, names
from ..support.bridge_process import EXAMPLE
from ..support.daemon_clients import stateless_request
from ..support.daemon_process import daemon, write_config
from ..support.sdk import answer_elicitation, answer_roots, answer_sampling, text_of
from ..support.sharing import TRANSPORTS, session
from ..support.stateless_requests import ASKABLE, tool
from .test_named_aggregates import at

pytestmark = [pytest.mark.anyio, *sdk.SDK_WARNINGS]
SURFACE = ["search_tools", "describe_tools", "call_tool"]
SERVERS = {"one": {"command": EXAMPLE}, "two": {"command": EXAMPLE}}
KEYS = {
    "servers": ["one", "two"],
    "tools": {"deny": ["two__add"]},
    "rename": {"one__echo": "say"},
    "describe": {"one__echo": "Repeat a text."},
}
SECRET = f"mcpb_{'narrow':x<40}"
TABLES = {
    "aggregates.small": {**KEYS, "surface": "search"},
    "aggregates.whole": KEYS,
    "tokens.narrow": {
        "sha256": hashlib.sha256(SECRET.encode()).hexdigest(),
        "aggregates": ["small"],
        "tools": {"deny": ["ask"]},
    },
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with daemon(tmp_path_factory.mktemp("small"), SERVERS, **TABLES) as found:
        yield found


def through(name, /, **arguments):
    return {"name": "call_tool", "arguments": {"name": name, "arguments": arguments}}


async def exchange(running, params, method="tools/call", name="small", token=None):
    _, answer = await stateless_request(running, f"/aggregates/{name}/mcp", method, params, token, ASKABLE)
    assert "result" in answer, answer
    return answer["result"]


async def found(running, called, token=None, **arguments):
    result = await exchange(running, tool(called, **arguments), token=token)
    return json.loads(result["content"][0]["text"])


async def text(running, call):
    result = await exchange(running, call)
    return result.get("isError", False), result["content"][0]["text"]


async def test_three_tools_are_offered(running):
    listed = await exchange(running, None, "tools/list")
    assert [one["name"] for one in listed["tools"]] == SURFACE
    assert "tools" in (await exchange(running, None, "server/discover"))["capabilities"]
    for name in ("say", "one__think", "nothing"):
        status, answer = await stateless_request(running, "/aggregates/small/mcp", "tools/call", tool(name))
        assert (status, answer["error"]["message"]) == (200, f"Unknown tool: {name}")


async def test_tools_are_found_with_their_names_in_the_configuration(running):
    page = await found(running, "search_tools", query="repeat text")
    assert page["tools"][0] == {"name": "say", "description": "Repeat a text."}
    page = await found(running, "search_tools", server="two")
    assert {one["name"].partition("__")[0] for one in page["tools"]} == {"two"}
    assert "two__add" not in {one["name"] for one in page["tools"]}
    whole = await exchange(running, None, "tools/list", "whole")
    assert (await found(running, "search_tools", limit=1)) | {"tools": []} == {
        "tools": [],
        "total": len(whole["tools"]),
        "next_offset": 1,
    }


async def test_a_definition_is_that_of_the_whole_list(running):
    whole = {one["name"]: one for one in (await exchange(running, None, "tools/list", "whole"))["tools"]}
    assert await found(running, "describe_tools", names=["say", "two__ask"]) == {
        "tools": [whole["say"], whole["two__ask"]]
    }


@pytest.mark.parametrize(
    ("name", "arguments"), [("say", {"text": "é 1e0"}), ("one__add", {"a": 1, "b": 2}), ("two__echo", {})]
)
async def test_the_result_of_a_call_is_that_of_a_direct_call(running, name, arguments):
    assert await exchange(running, through(name, **arguments)) == await exchange(
        running, tool(name, **arguments), name="whole"
    )


async def test_an_unknown_name_is_an_error_with_similar_names(running):
    assert await text(running, through("echo")) == (True, "Unknown tool: echo; similar: two__echo")
    for name in ("one__ech", "two__ech"):
        failed, reason = await text(running, through(name))
        assert failed
        assert reason.startswith(f"Unknown tool: {name}; similar: two__echo")
    assert (await text(running, through("two__add")))[0]
    assert await text(running, tool("call_tool")) == (True, "name must be the name of a tool")
    assert await text(running, tool("describe_tools", names=["zzzzzzzz"])) == (True, "Unknown tool: zzzzzzzz")
    assert (await text(running, tool("search_tools", server="three")))[1].startswith(
        "there is no server 'three'"
    )


async def test_a_token_finds_and_calls_what_it_may_use(running):
    page = await found(running, "search_tools", SECRET, query="ask")
    assert "two__ask" not in {one["name"] for one in page["tools"]}
    result = await exchange(running, through("two__ask", question="q"), token=SECRET)
    assert result["isError"]
    assert "two__ask" in {one["name"] for one in (await found(running, "search_tools", query="ask"))["tools"]}


async def test_an_input_round_is_continued(running):
    call = through("two__ask", question="which?")
    result = await exchange(running, call)
    assert result["resultType"] == "input_required"
    [key] = result["inputRequests"]
    replies = {key: {"action": "accept", "content": {"answer": "red"}}}
    again = {**call, "inputResponses": replies, "requestState": result["requestState"]}
    assert await text(running, again) == (False, "accept: red")
    other = through("two__ask", question="what?")
    stolen = {**other, "inputResponses": replies, "requestState": result["requestState"]}
    _, answer = await stateless_request(running, "/aggregates/small/mcp", "tools/call", stolen, None, ASKABLE)
    assert answer["error"]["code"] == -32602


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("transport", sdk.TRANSPORTS)
async def test_an_official_client_calls_through_the_tools(running, mode, transport):
    if (mode, transport) == ("auto", "sse"):
        pytest.skip("that transport is of the handshake era")
    options = {
        "elicitation_callback": answer_elicitation,
        "sampling_callback": answer_sampling,
        "list_roots_callback": answer_roots,
    }
    async with sdk.connect(at(running, "small"), transport, mode=mode, **options) as client:
        assert [one.name for one in (await client.list_tools()).tools] == SURFACE
        steps = []

        async def on_progress(progress, _total, _message):
            steps.append(progress)

        slow = {"name": "two__slow", "arguments": {"seconds": 0.1, "steps": 2}}
        await client.call_tool("call_tool", slow, progress_callback=on_progress)
        assert len(steps) >= 2
        ask = {"name": "two__ask", "arguments": {"question": "abc"}}
        assert text_of(await client.call_tool("call_tool", ask)) == "accept: cba"
        think = {"name": "one__think", "arguments": {"prompt": "hello"}}
        assert text_of(await client.call_tool("call_tool", think)) == "loud: HELLO"
        assert (
            text_of(await client.call_tool("call_tool", {"name": "one__roots"}))
            == "file:///here\nfile:///there"
        )
        page = await client.call_tool("search_tools", {"query": "ask"})
        assert "two__ask" in text_of(page)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_progress_and_cancellation_reach_the_server(tmp_path, transport):
    servers = {"one": member("one")}
    table = {"servers": ["one"], "surface": "search"}
    with daemon(tmp_path, servers, **{"aggregates.small": table}) as running:
        async with session(running, transport, "/aggregates/small") as client:
            assert await names(client) == SURFACE
            params = {**through("one__slow", steps=2), "_meta": {"progressToken": "p"}}
            number = await client.begin("tools/call", params)
            await client.until(lambda one: one.get("params", {}).get("progress") == 2)
            cancel = {"method": "notifications/cancelled", "params": {"requestId": number}}
            await client.send({"jsonrpc": "2.0", **cancel})
            with trio.fail_after(20):
                while any(one["in_flight"] for one in running.status()["servers"] if one["name"] == "one"):
                    await trio.sleep(0.02)
            assert await client.call("call_tool", name="one__echo", arguments={}) == "one: echo"


async def test_a_tool_that_comes_later_can_be_called(tmp_path):
    def servers(*tools):
        return {"one": member("one", tools=["echo", *tools])}

    table = {"aggregates.small": {"servers": ["one"], "surface": "search"}}
    with daemon(tmp_path, servers(), **table) as running:
        client = Modern(running, "/aggregates/small/mcp")
        assert await client.text("call_tool", name="one__new") == "Unknown tool: one__new; similar: one__echo"
        write_config(running.config, servers("new"), **table)
        await trio.to_thread.run_sync(running.reload)
        assert await client.text("call_tool", name="one__new") == "one: new"


async def test_a_reload_changes_the_surface(tmp_path):
    servers, table = {"one": member("one")}, {"servers": ["one"]}
    with daemon(tmp_path, servers, **{"aggregates.small": table}) as running:
        async with session(running, "ws", "/aggregates/small") as client:
            assert "one__echo" in await names(client)
            write_config(running.config, servers, **{"aggregates.small": {**table, "surface": "search"}})
            await trio.to_thread.run_sync(running.reload)
            await client.until(lambda one: one.get("method") == "notifications/tools/list_changed")
            assert await names(client) == SURFACE
