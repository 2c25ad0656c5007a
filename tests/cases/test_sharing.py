"""Share one legacy server process between clients: `share = "principal"` and `share = "server"`.

S1: one process, with any capabilities of its clients. S2: a call that waits for its client delays that client only. S3: the
response and the cancellation of the server reach a client that has not answered.
"""

import itertools
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from ..support.daemon_process import daemon
from ..support.sharing import ASKABLE, TRANSPORTS, over_process, session

pytestmark = pytest.mark.anyio

PROGRAM = str(Path(__file__).parents[1] / "support/servers/shared.py")
COMMAND = [sys.executable, "-I", "-S", PROGRAM]
SHARES = ("principal", "server")
# The transports of the clients of the aggregate, each with a member of its own.
AGGREGATED = ("http", "sse", "ws")
LEVELS = {"level": "debug"}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Yield a daemon with a server for each test, because calls of the last two seconds count (`attribution.AFTER_ANSWER`)."""
    folder = tmp_path_factory.mktemp("sharing")
    names = [f"{share}{number}" for share in SHARES for number in range(40)]
    servers = {
        name: {"command": [*COMMAND, str(folder / f"{name}.lock")], "share": name.rstrip("0123456789")}
        for name in names
    }
    members = [f"{share}{number}" for share in SHARES for number in range(len(AGGREGATED))]
    tables = {"aggregate": {"servers": members}}
    with daemon(folder, servers, **tables) as found:
        found.fresh = {share: itertools.count(len(AGGREGATED)) for share in SHARES}
        yield found


def fresh(running, share="server"):
    """Return the name of a server that no other test uses."""
    return f"{share}{next(running.fresh[share])}"


async def state(client):
    return json.loads(await client.call("state"))


# ---- S1: one process for all


@pytest.mark.parametrize("share", SHARES)
async def test_s1_one_process_serves_clients_of_every_transport_and_with_other_capabilities(running, share):
    name = fresh(running, share)
    declared = [{}, ASKABLE, {"roots": {}}, {"elicitation": {"url": {}}, "sampling": {"tools": {}}}]
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(session(running, transport, name, capabilities))
            for transport, capabilities in zip(TRANSPORTS, declared, strict=True)
        ]
        states = [await state(client) for client in clients]
        called = running.do("call", name, "state")
        assert f'"pid": {states[0]["pid"]}' in called.stdout.replace("\\", "")
        listed = running.do("tools", name).stdout
        assert "echo" in listed
    assert len({one["pid"] for one in states}) == 1
    [initialize] = states[-1]["declared"]
    assert set(initialize) >= {"roots", "sampling", "elicitation"}


@pytest.mark.parametrize("share", SHARES)
async def test_s1_the_commands_start_the_process_that_sessions_use_then(running, share):
    name = fresh(running, share)
    called = running.do("call", name, "state").stdout
    async with session(running, "ws", name) as one, session(running, "http", name, {}) as other:
        first, second = await state(one), await state(other)
    assert first["pid"] == second["pid"]
    assert f'"pid": {first["pid"]}' in called.replace("\\", "")


async def test_s1_a_client_of_an_older_revision_shares_it_as_well(running):
    name = fresh(running)
    async with (
        session(running, "ws", name, version="2024-11-05") as one,
        session(running, "ws", name, version="2025-06-18") as other,
    ):
        assert (one.initialize_result["protocolVersion"], other.initialize_result["protocolVersion"]) == (
            "2024-11-05",
            "2025-06-18",
        )
        assert (await state(one))["pid"] == (await state(other))["pid"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_s1_a_client_without_the_capability_gets_no_server_request(running, transport):
    name = fresh(running)
    async with session(running, "ws", name) as asked, session(running, transport, name, {}) as plain:
        await asked.call("echo")
        for method in ("elicitation/create", "sampling/createMessage", "roots/list"):
            assert json.loads(await plain.call("ask", method=method))["code"] == -32601
        assert not [message for message in plain.received if "method" in message]


async def test_s1_a_process_that_exits_is_replaced_for_all_clients(running):
    name = fresh(running)
    async with session(running, "ws", name) as one, session(running, "http", name) as other:
        before = await state(other)
        await one.request("logging/setLevel", LEVELS)
        await one.request("resources/subscribe", {"uri": "x://a"})
        waiting = await other.begin("tools/call", {"name": "ask", "arguments": {"patience": 20}})
        server_request = await other.server_request()
        exited = await one.request("tools/call", {"name": "die"})
        assert "exited with code 3" in exited["error"]["message"]
        failed = await other.answer(waiting)
        assert "exited with code 3" in failed["error"]["message"]
        assert server_request["id"] in [
            message["params"].get("requestId") for message in other.received if "params" in message
        ]
        after = await state(other)
        assert (after["pid"] != before["pid"], after["levels"]) == (True, ["debug"])
        await one.until(lambda message: message.get("method") == "notifications/tools/list_changed")
        await one.until(lambda message: message.get("method") == "notifications/resources/updated")
        assert (await state(one))["pid"] == after["pid"]


async def test_s1_a_restart_waits_for_the_process_that_has_the_lock(running):
    name = fresh(running)
    async with session(running, "ws", name) as one, session(running, "http", name) as other:
        before = await state(one)
        running.restart(name)
        after, again = await state(other), await state(one)
    assert before["pid"] != after["pid"] == again["pid"]


# ---- S2: a call that waits for its client delays that client only


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_s2_another_client_is_served_while_one_does_not_answer(running, transport):
    name = fresh(running)
    async with session(running, transport, name) as silent, session(running, "ws", name) as other:
        waiting = await silent.begin("tools/call", {"name": "ask", "arguments": {"patience": 20}})
        server_request = await silent.server_request()
        with trio.fail_after(5):
            assert await other.call("echo") == "echo"
            running.do("call", name, "echo")
        await silent.reply(server_request, {"action": "accept", "content": {}})
        answer = await silent.answer(waiting)
        assert json.loads(answer["result"]["content"][0]["text"])["action"] == "accept"
        assert not [message for message in other.received if "method" in message]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_s2_a_client_that_disconnects_ends_its_call_and_its_server_request(running, transport):
    name = fresh(running)
    async with session(running, "ws", name) as other:
        async with session(running, transport, name) as leaving:
            await leaving.begin("tools/call", {"name": "ask", "arguments": {"patience": 20}})
            await leaving.server_request()
        with trio.fail_after(10):
            while not (found := await state(other))["cancelled"]:
                await trio.sleep(0.01)
        assert await other.call("echo") == "echo"
        assert found["pid"]


async def test_s2_a_server_request_that_several_clients_can_have_caused_reaches_none(running):
    name = fresh(running)
    async with session(running, "ws", name) as one, session(running, "http", name) as other:
        await one.begin("tools/call", {"name": "ask", "arguments": {"patience": 20}})
        await one.server_request()
        refused = json.loads(await other.call("ask"))
        assert refused["code"] == -32603
        assert not [message for message in other.received if "method" in message]
        logged = running.do("logs", name).stdout
        assert "server_request_refused" in logged
        assert "reason=ambiguous" in logged


# ---- S3: the server times out, or cancels its request


async def given_up(client, *, withdraw):
    """Make a call and do not answer its server request. Return how long the call took (seconds)."""
    began = trio.current_time()
    number = await client.begin("tools/call", {"name": "ask", "arguments": {"withdraw": withdraw}})
    server_request = await client.server_request()
    answer = await client.answer(number)
    assert answer["result"]["content"][0]["text"] == "gave up"
    cancelled = [
        message["params"]["requestId"]
        for message in client.received
        if message.get("method") == "notifications/cancelled"
    ]
    assert cancelled == ([server_request["id"]] if withdraw else [])
    return trio.current_time() - began


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_s3_the_answer_and_the_withdrawal_reach_a_client_at_once(running, transport):
    name = fresh(running)
    async with over_process(COMMAND) as direct, session(running, transport, name) as client:
        await direct.initialize(ASKABLE)
        for withdraw in (False, True):
            took: list[float] = []

            async def measure(one, withdraw=withdraw, took=took):
                took.append(await given_up(one, withdraw=withdraw))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(measure, direct)
                nursery.start_soon(measure, client)
            # This limit is against hanging, and no measurement.
            assert abs(took[0] - took[1]) < 5


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("transport", AGGREGATED)
async def test_s3_the_answer_reaches_a_client_of_the_aggregate_at_once(running, transport, share):
    tool = f"{share}{AGGREGATED.index(transport)}__ask"
    async with session(running, transport, "") as client:
        number = await client.begin("tools/call", {"name": tool, "arguments": {"withdraw": True}})
        server_request = await client.server_request()
        answer = await client.answer(number)
        assert answer["result"]["content"][0]["text"] == "gave up"
        named = [
            message["params"]
            for message in client.received
            if message.get("method") == "notifications/cancelled"
        ]
        assert [params["requestId"] for params in named] == [server_request["id"]]


# ---- what belongs to one client


async def test_s1_equal_ids_and_progress_tokens_stay_apart(running):
    name = fresh(running)
    async with session(running, "ws", name) as one, session(running, "ws", name) as other:
        for client in (one, other):
            await client.call("progress", _meta={"progressToken": "same"})
        for client in (one, other):
            [told] = [
                message for message in client.received if message.get("method") == "notifications/progress"
            ]
            assert told["params"]["progressToken"] == "same"


@pytest.mark.parametrize("share", SHARES)
async def test_s1_many_sessions_with_equal_ids_and_tokens_at_once_stay_apart(running, share):
    """Every client has all its calls in flight at once, and each call the id and the token of a call of all others."""
    name, count = fresh(running, share), 24

    async def calls(transport, number):
        async with session(running, transport, name) as client:
            text = f"{transport} {number}"
            ids = {}
            for token in range(count):
                params = {"name": "progress", "arguments": {"text": f"{text}: {token}"}}
                number = await client.begin("tools/call", {**params, "_meta": {"progressToken": token}})
                ids[number] = token
            expected = {token: f"{text}: {token}" for token in range(count)}
            progress, results = {}, {}
            while len(progress) < count or len(results) < count:
                message = await client.receive()
                if "method" in message:
                    params = message["params"]
                    progress[params["progressToken"]] = params["message"]
                else:
                    results[ids[message["id"]]] = message["result"]["content"][0]["text"]
            assert progress == results == expected
            assert len(client.received) == 2 * count + 1

    async with trio.open_nursery() as nursery:
        for number in range(4):
            for transport in TRANSPORTS:
                nursery.start_soon(calls, transport, number)


async def test_s1_a_log_line_reaches_the_client_whose_call_has_caused_it_only(running):
    name = fresh(running)
    async with session(running, "ws", name) as one, session(running, "http", name) as other:
        await other.request("logging/setLevel", LEVELS)
        await one.call("log", level="warning")
        assert [message["params"]["data"] for message in one.received if "method" in message] == ["line"]
        await other.request("ping")
        assert not [message for message in other.received if "method" in message]
