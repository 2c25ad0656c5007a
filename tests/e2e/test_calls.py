"""`log.calls`: principal, method and outcome of each request, over every transport and in both eras."""

import hashlib
import json
from contextlib import AsyncExitStack

import pytest
import trio

from ..support.daemon_clients import example, open_socket, stateless_request
from ..support.daemon_process import daemon
from ..support.raw_http import connect
from ..support.stateless_requests import headers_of, request, tool

pytestmark = pytest.mark.anyio
TOKEN = f"mcpb_{'editor':x<40}"
SERVERS = {
    "own": example(limits={"call_seconds": 1}),
    "common": example(share="server"),
    "broken": {"command": ["false"], "era": "legacy"},
}
ROLE = {"sha256": hashlib.sha256(TOKEN.encode()).hexdigest(), "features": {"deny": ["prompts"]}}


def call_events(running):
    events = [json.loads(line) for line in running.lines if line.startswith("{")]
    return [event for event in events if event["event"] == "call"]


async def wait_for_call_events(running, count):
    """Wait for this number of events, and require that the event of a later request is the next."""
    with trio.fail_after(10):
        while len(call_events(running)) < count:
            await trio.sleep(0.01)
    await stateless_request(running, "own", "tools/list")
    with trio.fail_after(10):
        while len(call_events(running)) < count + 1:
            await trio.sleep(0.01)
    *found, last = call_events(running)
    assert (len(found), last["method"]) == (count, "tools/list")
    return found


def short(event):
    return tuple(event[key] for key in ("id", "method", "name", "outcome"))


async def test_each_request_is_logged_once_with_its_principal_and_outcome(tmp_path):
    with daemon(
        tmp_path, SERVERS, log={"format": "json", "calls": True}, **{"tokens.editor": ROLE}
    ) as running:
        await stateless_request(running, "own", "tools/call", tool("echo", text="not logged"), TOKEN)
        await stateless_request(running, "own", "tools/call", tool("nothing"), TOKEN)
        await stateless_request(running, "own", "prompts/list", token=TOKEN)
        await stateless_request(running, "broken", "tools/list", token=TOKEN)
        await stateless_request(running, "own", "resources/read", {"uri": "example://greeting"})
        found = await wait_for_call_events(running, 5)
        assert [(event["server"], event["principal"]) for event in found] == [
            ("own", "editor"),
            ("own", "editor"),
            ("own", "editor"),
            ("broken", "editor"),
            ("own", "owner"),
        ]
        assert list(map(short, found)) == [
            ("1", "tools/call", "echo", "ok"),
            ("1", "tools/call", "nothing", "error -32602"),
            ("1", "prompts/list", "", "error -32601"),
            ("1", "tools/list", "", found[3]["outcome"]),
            ("1", "resources/read", "example://greeting", "ok"),
        ]
        assert found[3]["outcome"].startswith("error -3260")
        assert all(event["ms"] >= 0 and event["session"] == "" for event in found)
        assert "not logged" not in "".join(running.lines)


@pytest.mark.parametrize("server", ["own", "common"])
async def test_requests_of_a_session_are_logged_with_its_id(tmp_path, server):
    with daemon(
        tmp_path, SERVERS, log={"format": "json", "calls": True}, **{"tokens.editor": ROLE}
    ) as running:
        async with AsyncExitStack() as stack:
            socket = await open_socket(running, server, stack, TOKEN)
            for number, (method, params) in enumerate(
                [
                    ("tools/call", tool("echo", text="x")),
                    ("tools/call", tool("nothing")),
                    ("prompts/list", {}),
                    ("tools/call", tool("slow", seconds=30)),
                ],
                start=1,
            ):
                await socket._send({"id": number, "method": method, "params": params})
                if number < 4:
                    await socket.answers(1)
            # This id is in use.
            await socket._send({"id": 4, "method": "tools/list"})
            await socket.answers(1)
            await socket._send({"method": "notifications/cancelled", "params": {"requestId": 4}})
            found = await wait_for_call_events(running, 6)
            assert list(map(short, found)) == [
                ("0", "initialize", "", "ok"),
                ("1", "tools/call", "echo", "ok"),
                ("2", "tools/call", "nothing", "error -32602"),
                ("3", "prompts/list", "", "error -32601"),
                ("4", "tools/list", "", "error -32600"),
                ("4", "tools/call", "slow", "cancelled"),
            ]
            [session] = {event["session"] for event in found}
            assert len(session) == 8
            assert {event["principal"] for event in found} == {"editor"}
            await socket._send({"id": 5, "method": "tools/call", "params": tool("slow", seconds=30)})
            if server == "own":
                assert (await socket.answers(1))[5]["error"]["code"] == -32001
                await socket._send({"id": 6, "method": "tools/call", "params": tool("crash")})
                await socket.answers(1)
                ends = ["error -32001", "error -32000"]
            else:
                # The call ends with its session, which must not end before the event was read.
                ends = ["error -32000"]
                while not any(one["in_flight"] for one in running.status()["servers"]):
                    await trio.sleep(0.02)
        with trio.fail_after(10):
            while len(call_events(running)) < 7 + len(ends):
                await trio.sleep(0.01)
        assert [event["outcome"] for event in call_events(running)[7:]] == ends


async def test_a_call_whose_client_leaves_is_logged_as_cancelled(tmp_path):
    with daemon(tmp_path, SERVERS, log={"format": "json", "calls": True}) as running:
        body = request("tools/call", tool("slow", seconds=30))
        async with connect(running) as connection:
            await connection.send("POST", "/servers/common/mcp", headers_of(body), json.dumps(body).encode())
            with trio.fail_after(10):
                while not running.status()["servers"][1]["in_flight"]:
                    await trio.sleep(0.01)
        with trio.fail_after(10):
            while not call_events(running):
                await trio.sleep(0.01)
        assert list(map(short, call_events(running))) == [("1", "tools/call", "slow", "cancelled")]


async def test_requests_are_not_logged_by_default(tmp_path):
    with daemon(tmp_path, SERVERS, log={"format": "json"}) as running:
        await stateless_request(running, "own", "tools/list")
        await stateless_request(running, "own", "prompts/get", {"name": "nothing"})
    assert call_events(running) == []
