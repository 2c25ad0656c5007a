"""Clients of revision 2026-07-28 in front of the bundled example server, which supports the legacy revisions only."""

import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio_websocket

from ..support.bridge_process import EXAMPLE, REPOSITORY, Bridge
from ..support.correlation import constant
from ..support.processes import threads_of
from ..support.raw_http import BOTH, Connection, connect
from ..support.stateless_requests import ASKABLE, PREFIX, SUBSCRIPTION, headers_of, request, tool

pytestmark = pytest.mark.anyio


async def send(connection: Connection, body: dict[str, Any], **more: str | None) -> None:
    await connection.send("POST", "/mcp", headers_of(body, **more), json.dumps(body).encode())


async def exchange(connection: Connection, method: str, params: Any = None, **options: Any) -> Any:
    """Return the status and the JSON of a response that no message precedes."""
    await send(connection, request(method, params, **options))
    answer = await connection.answer()
    return answer.status, answer.json


async def call(connection: Connection, name: str, /, **arguments: Any) -> str:
    status, answer = await exchange(connection, "tools/call", tool(name, **arguments))
    assert status == 200, answer
    assert answer["result"]["resultType"] == "complete"
    return answer["result"]["content"][0]["text"]


@asynccontextmanager
async def connect_unix(bridge, path):
    async with await trio.open_unix_socket(path) as stream:
        connection = Connection(bridge, stream)
        connection._authority = "localhost"
        yield connection


# ---- requests


async def test_discover_describes_the_server(bridge):
    async with connect(bridge) as connection:
        status, answer = await exchange(connection, "server/discover")
    assert status == 200
    result = answer["result"]
    assert result["supportedVersions"] == ["2026-07-28"]
    assert result["_meta"][f"{PREFIX}serverInfo"]["name"] == "example"
    assert (result["resultType"], result["ttlMs"], result["cacheScope"]) == ("complete", 0, "private")


async def test_calls_need_no_session_and_create_none(bridge):
    async with connect(bridge) as connection:
        body = request("tools/call", tool("add", a=2, b=40), id="seven")
        await send(connection, body, **{"Mcp-Session-Id": "nonsense", "Last-Event-ID": "x_1"})
        answer = await connection.answer()
    assert answer.json["id"] == "seven"
    assert answer.json["result"]["content"] == [{"type": "text", "text": "42"}]
    assert "mcp-session-id" not in answer.headers


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (request("ping"), {}, 404, -32601),
        (request("initialize"), {}, 404, -32601),
        (request("no/such"), {}, 404, -32601),
        (request("tools/list"), {"MCP-Protocol-Version": "2025-11-25"}, 400, -32020),
        (request("tools/list"), {"MCP-Protocol-Version": None}, 400, -32020),
        (request("tools/list", **{f"{PREFIX}protocolVersion": "2099-01-01"}), {}, 400, -32020),
        (request("tools/list"), {"Mcp-Method": "tools/call"}, 400, -32020),
        (request("tools/list"), {"Mcp-Method": "Tools/List"}, 400, -32020),
        (request("tools/list"), {"Mcp-Method": None}, 400, -32020),
        (request("tools/list"), {"Mcp-Name": "whatever"}, 200, None),
        (request("tools/call", tool("add", a=1, b=2)), {"Mcp-Name": None}, 400, -32020),
        (request("tools/call", tool("add", a=1, b=2)), {"Mcp-Name": "Add"}, 400, -32020),
        (request("tools/call", tool("no-such-tool")), {}, 200, -32602),
        (request("resources/read", {"uri": "example://greeting"}), {}, 200, None),
        (request("resources/read", {"uri": "example://hello"}), {"Mcp-Name": "example://hell"}, 400, -32020),
        (request("resources/read", {"uri": "example://nothing"}), {}, 200, -32602),
        (request("logging/setLevel", {"level": "info"}), {}, 404, -32601),
        (request("resources/subscribe", {"uri": "example://hello"}), {}, 404, -32601),
        (request("tools/call", tool("add", a=1, b=2)), {"Mcp-Name": "sub"}, 400, -32020),
        (request("tools/call", tool("add", a=1, b=2)), {"Mcp-Name": "=?base64?YWRk?="}, 200, None),
        (request("tools/call", tool("add", a=1, b=2)), {"Mcp-Name": "=?base64?YWRk"}, 400, -32020),
        (request("tools/list", **{f"{PREFIX}logLevel": "loud"}), {}, 400, -32602),
        ({**request("tools/list"), "params": {}}, {}, 400, -32602),
        (
            {**request("tools/list"), "params": {"_meta": {f"{PREFIX}protocolVersion": "2026-07-28"}}},
            {},
            400,
            -32602,
        ),
        ({**request("tools/list"), "params": {}}, {"MCP-Protocol-Version": "2099-01-01"}, 400, -32602),
        ({"jsonrpc": "2.0", "id": 1, "result": {}, "params": {}, "method": "x"}, {}, 400, -32600),
    ],
)
async def test_invalid_requests_get_their_status_and_code(bridge, body, headers, status, code):
    async with connect(bridge) as connection:
        await send(connection, body, **headers)
        answer = await connection.answer()
    assert (answer.status, answer.json.get("error", {}).get("code")) == (status, code), answer
    assert answer.json["id"] == 1


async def test_an_unsupported_revision_is_refused_with_the_supported_revisions(bridge):
    body = request("tools/list", **{f"{PREFIX}protocolVersion": "2099-01-01"})
    async with connect(bridge) as connection:
        await send(connection, body, **{"MCP-Protocol-Version": "2099-01-01"})
        answer = await connection.answer()
    assert answer.status == 400
    error = constant(answer.json["error"])
    assert error["code"] == -32022
    assert error["data"] == {"supported": ["2026-07-28"], "requested": "2099-01-01"}


@pytest.mark.parametrize("verb", ["GET", "DELETE"])
async def test_other_methods_than_post_are_refused(bridge, verb):
    async with connect(bridge) as connection:
        await connection.send(verb, "/mcp", {"Accept": BOTH, "MCP-Protocol-Version": "2026-07-28"})
        answer = await connection.answer()
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_a_notification_is_accepted_and_a_response_is_refused(bridge):
    headers = {"Accept": BOTH, "Content-Type": "application/json", "MCP-Protocol-Version": "2026-07-28"}
    async with connect(bridge) as connection:
        taken = await connection.request(
            "POST", "/mcp", headers, b'{"jsonrpc":"2.0","method":"notifications/x"}'
        )
        refused = await connection.request("POST", "/mcp", headers, b'{"jsonrpc":"2.0","id":1,"result":{}}')
        batch = await connection.request("POST", "/mcp", headers, b"[]")
    assert (taken.status, taken.body) == (202, b"")
    assert (refused.status, refused.json["error"]["code"]) == (400, -32600)
    assert batch.status == 400


async def test_progress_and_log_messages_arrive_on_the_stream_of_their_request(bridge):
    async with connect(bridge) as connection:
        await send(connection, request("tools/call", tool("slow", seconds=0.05, steps=2), progressToken="p"))
        status, headers = await connection.head()
        events = [event.json for event in await connection.events()]
    assert status == 200
    assert headers["content-type"] == "text/event-stream"
    assert headers["x-accel-buffering"] == "no"
    *progress, answer = events
    assert [one["params"] for one in progress] == [
        {"progressToken": "p", "progress": step, "total": 2} for step in range(3)
    ]
    assert answer["result"]["resultType"] == "complete"
    async with connect(bridge) as connection:
        await send(connection, request("tools/call", tool("log", text="x"), **{f"{PREFIX}logLevel": "info"}))
        await connection.head()
        logged, _ = [event.json for event in await connection.events()]
        assert logged["params"]["data"] == "x"
        assert await call(connection, "log", text="without a level") == "logged"


async def test_a_long_call_gets_heartbeats_and_no_event_ids(start_bridge):
    bridge = start_bridge(EXAMPLE, "--limit", "heartbeat_seconds=0.5")
    async with connect(bridge) as connection:
        body = request("tools/call", tool("slow", seconds=3))
        await send(connection, body, **{"Mcp-Session-Id": "nonsense", "Last-Event-ID": "x_1"})
        status, headers = await connection.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        assert "mcp-session-id" not in headers
        assert await connection._chunk() == b":\n\n"
        [event] = await connection.events()
        assert (event.id, event.json["result"]["content"][0]["text"]) == ("", "done in 3 s")
        assert await call(connection, "echo", text="the same connection") == "the same connection"


async def test_a_client_that_disconnects_cancels_its_call(start_bridge):
    bridge = start_bridge()
    async with connect(bridge) as idle:
        await call(idle, "echo", text="start")
        server = bridge.newest_child()
        with trio.fail_after(20):
            async with connect(bridge) as connection:
                await send(
                    connection, request("tools/call", tool("slow", seconds=60, steps=6000), progressToken=1)
                )
                await connection.head()
                await connection.event()
                assert threads_of(server) == 2
            while threads_of(server) > 1:
                await trio.sleep(0.01)
        assert await call(idle, "echo", text="still here") == "still here"


async def test_a_client_that_disconnects_at_once_cancels_its_call(start_bridge):
    bridge = start_bridge()
    async with connect(bridge) as idle:
        await call(idle, "echo", text="start")
        server = bridge.newest_child()
        # Less than the time in which a heartbeat would detect it.
        with trio.fail_after(10):
            for _ in range(5):
                async with connect(bridge) as connection:
                    await send(connection, request("tools/call", tool("slow", seconds=60)))
            # The calls may have begun or not.
            await trio.sleep(0.5)
            while threads_of(server) > 1:
                await trio.sleep(0.01)


# ---- headers that mirror the arguments of a tool


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    command = (sys.executable, str(REPOSITORY / "tests/e2e/children/mirrored.py"))
    with Bridge(tmp_path_factory.mktemp("mirrored") / "run", command) as running:
        yield running


@pytest.mark.parametrize(
    ("arguments", "headers", "status"),
    [
        ({"region": "eu"}, {"Mcp-Param-Region": "eu"}, 200),
        ({"region": "eu"}, {"mcp-param-REGION": " eu\t"}, 200),
        ({"region": "eu"}, {}, 400),
        ({"region": "eu"}, {"Mcp-Param-Region": "EU"}, 400),
        ({"region": "Hello, \u4e16\u754c"}, {"Mcp-Param-Region": "=?base64?SGVsbG8sIOS4lueVjA==?="}, 200),
        ({"region": " padded "}, {"Mcp-Param-Region": "=?base64?IHBhZGRlZCA=?="}, 200),
        ({"region": "line1\nline2"}, {"Mcp-Param-Region": "=?base64?bGluZTEKbGluZTI=?="}, 200),
        ({"region": "=?base64?literal?="}, {"Mcp-Param-Region": "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="}, 200),
        ({"region": "=?base64?literal?="}, {"Mcp-Param-Region": "=?base64?literal?="}, 400),
        ({"region": "=?BASE64?ZXU=?="}, {"Mcp-Param-Region": "=?BASE64?ZXU=?="}, 200),
        ({"region": "eu"}, {"Mcp-Param-Region": "=?base64?ZXU?="}, 400),
        ({"region": "\ufffd"}, {"Mcp-Param-Region": "=?base64?/w==?="}, 400),
        ({"region": ""}, {"Mcp-Param-Region": ""}, 200),
        ({"region": ""}, {"Mcp-Param-Region": "=?base64??="}, 200),
        ({"region": ""}, {}, 400),
        ({"region": None}, {}, 200),
        ({"region": None}, {"Mcp-Param-Region": "null"}, 400),
        ({}, {"Mcp-Param-Region": "eu"}, 400),
        ({"level": 42}, {"Mcp-Param-Level": "42"}, 200),
        ({"level": 42}, {"Mcp-Param-Level": "42.0"}, 200),
        ({"level": 42}, {"Mcp-Param-Level": "43"}, 400),
        ({"dry": True}, {"Mcp-Param-Dry-Run": "true"}, 200),
        ({"dry": True}, {"Mcp-Param-Dry-Run": "True"}, 400),
        ({"in": {"deep": "x"}}, {"Mcp-Param-Deep": "x"}, 200),
        ({"in": {"deep": "x"}}, {}, 400),
        ({"deep": "x"}, {}, 200),
        ({}, {"Mcp-Param-Unknown": "whatever"}, 200),
    ],
)
async def test_headers_that_mirror_arguments_are_compared_with_them(mirrored, arguments, headers, status):
    async with connect(mirrored) as connection:
        body = request("tools/call", {"name": "where", "arguments": arguments})
        await send(connection, body, **headers)
        answer = await connection.answer()
    assert answer.status == status, answer
    if status == 200:
        assert json.loads(answer.json["result"]["content"][0]["text"]) == arguments
    else:
        assert (answer.json["error"]["code"], answer.json["id"]) == (-32020, 1)


async def test_headers_are_compared_with_the_present_tools(start_bridge):
    bridge = start_bridge((sys.executable, str(REPOSITORY / "tests/e2e/children/mirrored.py")))

    async def status(connection, headers, **arguments):
        await send(connection, request("tools/call", {"name": "where", "arguments": arguments}), **headers)
        return (await connection.answer()).status

    async with connect(bridge) as connection:
        assert await status(connection, {"Mcp-Param-Region": "eu"}, region="eu") == 200
        assert await status(connection, {"Mcp-Param-Region": "eu"}, region="eu", change=True) == 200
        assert await status(connection, {"Mcp-Param-Region": "eu"}, region="eu") == 400
        assert await status(connection, {"Mcp-Param-New-Region": "eu"}, region="eu") == 200


# ---- shutdown


async def test_a_request_that_waits_for_era_discovery_is_answered_at_shutdown(start_bridge):
    bridge = start_bridge((sys.executable, "-c", "for line in open(0): pass", "mute"))
    async with connect(bridge) as connection:
        await send(connection, request("tools/list"))
        with trio.fail_after(20):
            while not bridge.children("mute"):
                await trio.sleep(0.01)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, bridge.stop)
            answer = await connection.answer()
    assert answer.status == 503
    assert answer.json["error"]["message"] == "the bridge is stopping"
    assert bridge.process.returncode == 0


# ---- subscriptions


async def test_a_subscription_gets_what_it_requested_until_the_bridge_stops(start_bridge):
    bridge = start_bridge()
    async with connect(bridge) as listening, connect(bridge) as connection:
        wanted = {"toolsListChanged": True, "resourceSubscriptions": ["example://hello"]}
        await send(listening, request("subscriptions/listen", {"notifications": wanted}, id="mine"))
        await listening.head()
        acknowledged = await listening.message()
        assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
        assert acknowledged["params"] == {"notifications": wanted, "_meta": {SUBSCRIPTION: "mine"}}
        assert await call(connection, "toggle") == "on"
        changed = await listening.message()
        assert changed["method"] == "notifications/tools/list_changed"
        assert changed["params"] == {"_meta": {SUBSCRIPTION: "mine"}}
        assert await call(connection, "touch", uri="example://hello") == "touched"
        updated = await listening.message()
        assert updated["params"] == {"uri": "example://hello", "_meta": {SUBSCRIPTION: "mine"}}
        bridge.process.send_signal(signal.SIGTERM)
        bridge._stopped = True
        over = await listening.message()
        assert over["id"] == "mine"
        assert over["result"] == {"resultType": "complete", "_meta": {SUBSCRIPTION: "mine"}}
        assert await listening.event() is None
    bridge.process.wait(20)


# ---- server requests


ANSWER = {"action": "accept", "content": {"answer": "blue"}}


async def first_round(connection: Connection, question: str = "colour?") -> dict[str, Any]:
    status, answer = await exchange(connection, "tools/call", tool("ask", question=question), caps=ASKABLE)
    assert status == 200, answer
    result = answer["result"]
    assert result["resultType"] == "input_required", result
    [input_] = result["inputRequests"].values()
    assert input_["params"]["message"] == question
    return result


async def retry(
    connection: Connection, result: dict[str, Any], reply: Any = ANSWER, question: str = "colour?"
) -> Any:
    responses = dict.fromkeys(result["inputRequests"], reply)
    again = {
        **tool("ask", question=question),
        "inputResponses": responses,
        "requestState": result["requestState"],
    }
    return await exchange(connection, "tools/call", again, id=2, caps=ASKABLE)


INVALID = {"code": -32602, "message": "Invalid or expired requestState"}


@pytest.mark.parametrize(
    ("name", "arguments", "reply", "text"),
    [
        ("ask", {"question": "colour?"}, ANSWER, "accept: blue"),
        ("ask", {"question": "colour?"}, {"action": "decline"}, "decline: "),
        (
            "think",
            {"prompt": "x"},
            {"role": "assistant", "content": {"type": "text", "text": "hm"}, "model": "m"},
            "m: hm",
        ),
        ("roots", {}, {"roots": [{"uri": "file:///a"}, {"uri": "file:///b"}]}, "file:///a\nfile:///b"),
    ],
)
async def test_a_server_request_becomes_an_input_round_and_the_retry_continues_the_call(
    bridge, name, arguments, reply, text
):
    async with connect(bridge) as connection:
        _, first = await exchange(connection, "tools/call", tool(name, **arguments), caps=ASKABLE)
        result = first["result"]
        assert result["resultType"] == "input_required"
        again = {
            **tool(name, **arguments),
            "inputResponses": dict.fromkeys(result["inputRequests"], reply),
            "requestState": result["requestState"],
        }
        status, answer = await exchange(connection, "tools/call", again, id=2, caps=ASKABLE)
    assert status == 200
    assert answer["result"]["content"][0]["text"] == text
    assert answer["id"] == 2


async def test_a_client_without_the_required_capability_gets_an_error(bridge):
    async with connect(bridge) as connection:
        _, answer = await exchange(connection, "tools/call", tool("ask", question="colour?"))
    assert answer["result"]["content"][0]["text"] == "this client offers no elicitation"


async def test_input_rounds_of_two_principals_are_kept_apart(start_bridge, tmp_path):
    path = tmp_path / "socket"
    bridge = start_bridge(EXAMPLE, "--unix", str(path))
    async with connect(bridge) as alice, connect_unix(bridge, path) as bob:
        first = await first_round(alice, "alice?")
        second = await first_round(bob, "bob?")
        assert len(bridge.children()) == 2
        # A state of the other principal is refused, for the same call and for another.
        status, answer = await retry(bob, first, question="alice?")
        assert (status, answer["id"], constant(answer["error"])) == (200, 2, INVALID)
        assert constant((await retry(alice, second, question="bob?"))[1]["error"]) == INVALID
        foreign = {**second, "requestState": first["requestState"]}
        assert constant((await retry(bob, foreign, question="bob?"))[1]["error"]) == INVALID
        answers = [
            (await retry(alice, first, question="alice?"))[1],
            (await retry(bob, second, {"action": "decline"}, "bob?"))[1],
        ]
        assert [one["result"]["content"][0]["text"] for one in answers] == ["accept: blue", "decline: "]
        # No state is valid twice.
        assert constant((await retry(alice, first, question="alice?"))[1]["error"]) == INVALID
        assert constant((await retry(bob, second, question="bob?"))[1]["error"]) == INVALID


TASKS = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message: continue
    result = {"resultType": "complete"}
    if message["method"] == "tools/call":
        result = {"resultType": "task", "taskId": "T", "status": "working"}
    elif message["method"] == "tasks/get":
        result |= {"taskId": "T", "status": "completed", "result": {"content": []}}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


async def test_a_task_on_a_process_of_all_principals_is_its_callers_only(start_bridge, tmp_path):
    path = tmp_path / "socket"
    command = (sys.executable, "-c", TASKS)
    bridge = start_bridge(command, "--unix", str(path), "--share", "server", "--era", "modern")
    get = request("tasks/get", {"taskId": "T"})
    async with connect(bridge) as alice, connect_unix(bridge, path) as bob:
        _, begun = await exchange(alice, "tools/call", tool("any"))
        assert begun["result"]["taskId"] == "T"
        await send(bob, get, **{"Mcp-Name": "T"})
        assert constant((await bob.answer()).json["error"]) == {"code": -32602, "message": "Unknown task"}
        await send(alice, get, **{"Mcp-Name": "T"})
        assert (await alice.answer()).json["result"]["status"] == "completed"


async def test_a_state_is_valid_for_the_same_arguments_only(bridge):
    async with connect(bridge) as connection:
        result = await first_round(connection)
        assert constant((await retry(connection, result, question="another?"))[1]["error"]) == INVALID
        status, answer = await retry(connection, result)
        assert status == 200
        assert answer["result"]["content"][0]["text"] == "accept: blue"


async def test_a_state_does_not_outlive_the_bridge(tmp_path, start_bridge):
    bridge = start_bridge()
    async with connect(bridge) as connection:
        result = await first_round(connection)
    bridge.stop()
    bridge = start_bridge()
    async with connect(bridge) as connection:
        assert constant((await retry(connection, result))[1]["error"]) == INVALID
        fresh = await first_round(connection)
        assert (await retry(connection, fresh))[1]["result"]["content"][0]["text"] == "accept: blue"


async def test_a_state_does_not_outlive_the_server(start_bridge):
    bridge = start_bridge()
    async with connect(bridge) as connection:
        result = await first_round(connection)
        [server] = bridge.children()
        os.kill(server, signal.SIGKILL)
        while not any("process_exited" in line for line in bridge.lines):
            await trio.sleep(0.01)
        assert constant((await retry(connection, result))[1]["error"]) == INVALID
        assert (await retry(connection, await first_round(connection)))[0] == 200


async def test_other_calls_are_served_while_one_waits_for_input(bridge):
    async with connect(bridge) as connection, connect(bridge) as other:
        result = await first_round(connection)
        status, answer = await exchange(other, "tools/call", tool("add", a=1, b=2), caps=ASKABLE)
        assert (status, answer["result"]["content"][0]["text"]) == (200, "3")
        assert (await retry(connection, result))[1]["result"]["content"][0]["text"] == "accept: blue"


# ---- exits of the server


async def test_a_server_killed_during_a_call_is_a_server_error_and_the_next_call_works(start_bridge):
    bridge = start_bridge()
    async with connect(bridge) as connection:
        await call(connection, "echo", text="start")
        [server] = bridge.children()
        await send(connection, request("tools/call", tool("slow", seconds=60)))
        while threads_of(server) < 2:
            await trio.sleep(0.01)
        os.kill(server, signal.SIGKILL)
        answer = await connection.answer()
        assert answer.status == 503
        assert answer.json["error"]["code"] == -32603
        assert "signal 9 (SIGKILL)" in answer.json["error"]["message"]
        assert await call(connection, "echo", text="again") == "again"


async def test_a_server_that_cannot_serve_is_never_a_client_error(start_bridge):
    bridge = start_bridge((EXAMPLE[0], "-c", "raise SystemExit(3)"))
    async with connect(bridge) as connection:
        status, answer = await exchange(connection, "tools/list")
        assert status == 503
        assert answer["error"]["code"] in (-32603, -32000)


async def test_an_idle_server_is_ended_and_started_again_by_the_next_request(start_bridge):
    bridge = start_bridge(EXAMPLE, "--limit", "session_idle_seconds=0.5")
    async with connect(bridge) as connection:
        with trio.fail_after(20):
            assert await call(connection, "echo", text="one") == "one"
            while bridge.children():
                await trio.sleep(0.05)
            assert await call(connection, "echo", text="two") == "two"


# ---- WebSocket


async def test_stateless_requests_over_a_websocket_beside_a_session(bridge):
    async def send_message(socket: Any, **message: Any) -> None:
        await socket.send_message(json.dumps({"jsonrpc": "2.0", **message}))

    async with trio_websocket.open_websocket_url(
        bridge.ws,
        subprotocols=["mcp"],
        extra_headers=[("Authorization", bridge.headers["Authorization"].encode())],
    ) as socket:
        await send_message(socket, **request("tools/call", tool("add", a=1, b=2), id="m"))
        answer = json.loads(await socket.get_message())
        assert answer["result"]["resultType"] == "complete"
        params = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "x", "version": "1"},
        }
        await send_message(socket, id=1, method="initialize", params=params)
        assert json.loads(await socket.get_message())["result"]["protocolVersion"] == "2025-06-18"
        await send_message(socket, id=2, method="tools/call", params=tool("add", a=1, b=2))
        assert "resultType" not in json.loads(await socket.get_message())["result"]
        await send_message(socket, **request("subscriptions/listen", {"notifications": {}}, id="l"))
        acknowledged = json.loads(await socket.get_message())
        assert acknowledged["params"]["_meta"] == {SUBSCRIPTION: "l"}
        await send_message(socket, method="notifications/cancelled", params={"requestId": "l"})
        await send_message(socket, **request("ping", id=9))
        assert json.loads(await socket.get_message())["error"]["code"] == -32601
        bad = request("tools/list", id=10, **{f"{PREFIX}protocolVersion": "2099-01-01"})
        await send_message(socket, **bad)
        assert json.loads(await socket.get_message())["error"]["data"]["supported"] == ["2026-07-28"]
