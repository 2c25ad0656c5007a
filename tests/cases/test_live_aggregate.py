"""A reload adds, removes or changes a member of an aggregate, and its clients go on (S4)."""

import contextlib
import json

import pytest
import trio

from ..support.aggregate import (
    KINDS,
    Modern,
    aggregate,
    member,
    names,
    servers_of,
    text_of,
    wait_for_all_list_changes,
    wait_for_list_changes,
)
from ..support.sharing import ASKABLE, TRANSPORTS, session

pytestmark = pytest.mark.anyio
FIRST = {"one": member("one", tools=["client", "slow", "echo"], page=2)}
BOTH = {**FIRST, "two": member("two")}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with aggregate(tmp_path_factory.mktemp("live"), FIRST, limits={"drain_seconds": 0.2}) as found:
        yield found


@pytest.fixture
def configuration(running):
    return running.configuration


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_s4_sessions_go_on_when_a_member_comes_and_goes(running, configuration, transport):
    async with session(running, transport, "aggregate") as client:
        pid = json.loads(await client.call("one__client"))["pid"]
        assert servers_of(await names(client)) == {"one"}
        assert await names(client, "prompts/list") == []
        async with configuration.reloaded_with(BOTH):
            await wait_for_list_changes(client)
            assert servers_of(await names(client)) == {"one", "two"}
            assert await names(client, "prompts/list") == ["two__greet"]
            assert await names(client, "resources/list") == ["note://two/1"]
            assert await client.call("two__echo") == "two: echo"
            read = await client.request("resources/read", {"uri": "note://two/1"})
            assert read["result"]["contents"][0]["text"] == "two"
        await wait_for_list_changes(client)
        assert servers_of(await names(client)) == {"one"}
        refused = await client.request("tools/call", {"name": "two__echo"})
        assert refused["error"]["message"] == "Unknown tool: two__echo"
        # The process of the member that stays is the same one.
        assert json.loads(await client.call("one__client"))["pid"] == pid


async def test_s4_a_client_without_sessions_is_notified_and_finds_the_member(running, configuration):
    client = Modern(running)
    async with client.listening(**KINDS) as following:
        assert (await following())["params"]["notifications"] == KINDS
        async with configuration.reloaded_with(BOTH):
            await wait_for_all_list_changes(following)
            assert servers_of(await client.tools()) == {"one", "two"}
            assert await client.text("two__echo") == "two: echo"
        await wait_for_all_list_changes(following)
        assert servers_of(await client.tools()) == {"one"}


async def test_s4_a_reload_prints_the_aggregate_as_changed(running, configuration):
    configuration.write(BOTH)
    printed = (await trio.to_thread.run_sync(running.do, "reload")).stdout
    assert "added: two" in printed
    assert "changed: aggregate" in printed
    await configuration.reload()


# The server is removed, or only from the aggregate.
@pytest.mark.parametrize(("transport", "whole"), [*((one, True) for one in TRANSPORTS), ("ws", False)])
async def test_s4_a_call_in_flight_to_a_removed_member_ends_with_the_reason(
    running, configuration, transport, whole
):
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(configuration.reloaded_with(BOTH))
        client = await stack.enter_async_context(session(running, transport, "aggregate"))
        call_id = await client.begin(
            "tools/call", {"name": "two__slow", "arguments": {"steps": 1}, "_meta": {"progressToken": 1}}
        )
        await client.until(lambda one: one.get("method") == "notifications/progress")
        kept = FIRST if whole else BOTH
        await configuration.reload(kept, servers=["one"])
        answer = await client.answer(call_id)
        assert answer["error"]["code"] == -32603
        assert "configuration" in answer["error"]["message"]
        assert await client.call("one__echo") == "one: echo"


# The change of the server that has sent a request, and a word of the reason.
FATES = {
    "removed": (FIRST, {}, "no longer part of the aggregate"),
    "not a member": (BOTH, {"servers": ["one"]}, "no longer part of the aggregate"),
    "replaced": ({**FIRST, "two": member("two", tools=["other"])}, {}, "was replaced"),
}


@pytest.mark.parametrize(
    ("transport", "fate"), [*((one, "removed") for one in TRANSPORTS), ("ws", "not a member"), ("ws", "replaced"), ("http", "replaced")]
)  # fmt: skip
async def test_s4_a_server_request_of_a_removed_member_is_cancelled_and_its_call_ends_with_the_reason(
    running, configuration, transport, fate
):
    servers, how, reason = FATES[fate]
    async with configuration.reloaded_with(BOTH), session(running, transport, "aggregate", ASKABLE) as client:
        call_id = await client.begin("tools/call", {"name": "two__ask"})
        server_request = await client.server_request()
        await configuration.reload(servers, **how)
        answer = await client.answer(call_id)
        assert answer["error"]["code"] == -32603
        assert reason in answer["error"]["message"]
        cancelled = [one for one in client.received if one.get("method") == "notifications/cancelled"]
        assert [one["params"]["requestId"] for one in cancelled] == [server_request["id"]]
        # This response is too late.
        await client.reply(server_request, {"action": "accept", "content": {}})
        assert await client.call("one__echo") == "one: echo"


async def test_s4_a_server_request_of_another_member_goes_on(running, configuration):
    with_requests = {"three": member("three", tools=["ask"])}
    async with (
        configuration.reloaded_with({**BOTH, **with_requests}),
        session(running, "ws", "aggregate", ASKABLE) as client,
    ):
        call_id = await client.begin("tools/call", {"name": "three__ask"})
        server_request = await client.server_request()
        await configuration.reload({**FIRST, **with_requests})
        await client.reply(server_request, {"action": "decline"})
        assert "decline" in text_of(await client.answer(call_id))


async def test_s4_a_call_in_flight_that_ends_soon_is_answered(running, configuration):
    async with configuration.reloaded_with(BOTH), session(running, "ws", "aggregate") as client:
        params = {"name": "two__slow", "arguments": {"steps": 1, "seconds": 0.05}}
        call_id = await client.begin("tools/call", {**params, "_meta": {"progressToken": 1}})
        await client.until(lambda one: one.get("method") == "notifications/progress")
        await configuration.reload(FIRST)
        assert text_of(await client.answer(call_id)) == "done"


async def test_s4_a_changed_member_is_a_new_process_for_the_same_session(running, configuration):
    async with configuration.reloaded_with(BOTH), session(running, "ws", "aggregate") as client:
        assert "two__echo" in await names(client)
        await configuration.reload({**FIRST, "two": member("two", tools=["other"], prompts=["p"])})
        await wait_for_list_changes(client)
        assert [name for name in await names(client) if name.startswith("two")] == ["two__other"]
        assert await names(client, "prompts/list") == ["two__p"]
        assert await names(client, "resources/list") == []
        assert await client.call("two__other") == "two: other"


async def test_s4_after_a_change_all_that_a_server_sends_reaches_its_client(running, configuration):
    async with session(running, "ws", "aggregate") as client:
        await client.request("logging/setLevel", {"level": "info"})
        async with configuration.reloaded_with(BOTH):
            await wait_for_list_changes(client)
            call_id = await client.begin("tools/call", {"name": "two__ask"})
            await client.reply(await client.server_request(), {"action": "accept", "content": {}})
            assert '"accept"' in text_of(await client.answer(call_id))
            client.received.clear()
            assert await client.call("two__log") == "logged"
            assert "line" in [one["params"].get("data") for one in client.received if "method" in one]
            slow = {"name": "two__slow", "arguments": {"steps": 2}, "_meta": {"progressToken": "p"}}
            number = await client.begin("tools/call", slow)
            await client.until(lambda one: one.get("params", {}).get("progress") == 2)
            cancel = {"method": "notifications/cancelled", "params": {"requestId": number}}
            await client.send({"jsonrpc": "2.0", **cancel})
            assert await client.call("two__echo") == "two: echo"


async def test_s4_a_subscription_to_a_resource_comes_back_with_its_server(running, configuration):
    uri = "note://two/1"
    async with session(running, "ws", "aggregate") as client:
        async with configuration.reloaded_with(BOTH):
            await wait_for_list_changes(client)
            assert "result" in await client.request("resources/subscribe", {"uri": uri})
            call_id = await client.begin("tools/call", {"name": "two__touch", "arguments": {"uri": uri}})
            updated = await client.until(lambda one: one.get("method") == "notifications/resources/updated")
            assert updated["params"]["uri"] == uri
            await client.answer(call_id)
        await wait_for_list_changes(client)
        assert await client.call("one__echo") == "one: echo"
        async with configuration.reloaded_with(BOTH):
            await client.until(lambda one: one.get("method") == "notifications/resources/updated")
            assert json.loads(await client.call("two__subscribed")) == [uri]
            assert "result" in await client.request("resources/unsubscribe", {"uri": uri})


async def test_s4_clients_at_once_and_reloads_one_after_the_other(running, configuration):
    more = {**BOTH, "three": member("three")}
    async with session(running, "http", "aggregate") as one, session(running, "sse", "aggregate") as other:
        for servers in (BOTH, more, {**FIRST, "three": more["three"]}):
            await configuration.reload(servers)
            for client in (one, other):
                with trio.fail_after(20):
                    while servers_of(await names(client)) != set(servers):
                        await wait_for_list_changes(client)
        await configuration.reload()


async def test_s4_name_and_instructions_of_the_aggregate_can_be_reloaded(running, configuration):
    async with session(running, "ws", "aggregate") as client:
        async with configuration.reloaded_with(FIRST, name="mine", instructions="be brief"):
            async with session(running, "http", "aggregate") as other:
                assert other.initialize_result["serverInfo"]["name"] == "mine"
                assert other.initialize_result["instructions"] == "be brief"
        assert await client.call("one__echo") == "one: echo"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_s4_a_client_cannot_name_the_members(running, transport):
    message = {"jsonrpc": "2.0", "method": "notifications/mcp-bridge/members"}
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    async with session(running, transport, "aggregate") as client:
        for params in ({"members": {"evil": 1}}, {"members": {}, "_meta": meta}):
            await client.send({**message, "params": params})
        assert await client.call("one__echo") == "one: echo"
        assert servers_of(await names(client)) == {"one"}
