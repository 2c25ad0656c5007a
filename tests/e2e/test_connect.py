"""`mcp-bridge connect NAME`: official clients that start a command, in front of a server of the daemon."""

import contextlib
import functools
import json
import signal
import threading
import time

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from ..support.bridge_process import EXAMPLE, PROGRAM
from ..support.connect_process import exchange, run_connect, start_connect
from ..support.daemon_process import child, daemon
from ..support.raw_http import INITIALIZE
from ..support.stateless_requests import request, tool

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with daemon(tmp_path_factory.mktemp("connect"), {"one": {"command": EXAMPLE}}) as found:
        yield found


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_an_official_client_over_stdio(running, mode):
    server = StdioServerParameters(
        command=str(PROGRAM), args=["connect", "one", "--config", str(running.config)], env=running.variables
    )
    async with Client(stdio_client(server), mode=mode) as client:
        assert "echo" in {found.name for found in (await client.list_tools()).tools}
        result = await client.call_tool("echo", {"text": "through \u00fc"})
        assert result.content[0].text == "through \u00fc"


def test_responses_still_arrive_after_the_end_of_the_input(running):
    messages = [request("tools/call", tool("slow", seconds=0.5, steps=1), id=number) for number in range(3)]
    done = run_connect(running, "one", messages)
    assert done.returncode == 0
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(answer["id"] for answer in answers if "id" in answer) == [0, 1, 2]
    assert all("result" in answer for answer in answers if "id" in answer)


def test_a_batch_of_a_revision_with_batches_is_answered(running):
    with start_connect(running, "one") as process:
        params = {**INITIALIZE, "protocolVersion": "2025-03-26"}
        exchange(process, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
        batch = [{"jsonrpc": "2.0", "id": number, "method": "ping"} for number in (1, 2, 3)]
        out, _ = process.communicate(json.dumps(batch).encode() + b"\n", timeout=20)
        assert [json.loads(line)["id"] for line in out.splitlines()] == [1, 2, 3]
        assert process.returncode == 0


@pytest.mark.parametrize(
    "messages",
    [
        [request("subscriptions/listen", {"notifications": {}})],
        [
            request("tools/call", tool("slow", seconds=60)),
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
        ],
    ],
    ids=["subscription", "cancelled"],
)
def test_connect_does_not_wait_for_messages_that_get_no_response(running, messages):
    assert run_connect(running, "one", messages, timeout=20).returncode == 0


def test_a_line_within_the_limits_of_the_server_passes(tmp_path):
    deep = json.loads("[" * 150 + "]" * 150)
    servers = {
        "one": {"command": child("strange.py", json.dumps({"content": deep})), "limits": {"json_depth": 200}}
    }
    with daemon(tmp_path, servers) as running:
        done = run_connect(running, "one", [request("tools/call", tool("it"))])
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["result"]["content"] == deep


def test_an_unknown_server_is_named(running):
    done = run_connect(running, "nobody", [])
    known = ", ".join(one["name"] for one in running.status()["servers"])
    assert (done.returncode, done.stderr) == (
        69,
        f"mcp-bridge: there is no server 'nobody'; there are: {known}\n",
    )
    assert run_connect(running, "ona", []).stderr.endswith("did you mean 'one'?\n")


def test_a_refused_request_gets_an_error(running):
    done = run_connect(running, "one", [{"jsonrpc": "2.0", "id": 5, "method": "tools/list"}])
    answer = json.loads(done.stdout)
    assert (answer["id"], "error" in answer) == (5, True)


def test_connect_exits_on_a_signal_also_during_calls(running):
    with start_connect(running, "one") as process:
        exchange(process, request("tools/list"))
        slow = request("tools/call", tool("slow", seconds=60), id=2)
        process.stdin.write(json.dumps(slow).encode() + b"\n")
        process.stdin.flush()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM


def test_a_message_of_the_maximum_depth_arrives(tmp_path):
    deep = functools.reduce(lambda inner, _: [inner], range(62), 0)
    result = {"resultType": "complete", "content": [], "structuredContent": deep}
    servers = {"deep": {"command": child("strange.py", json.dumps(result), "modern")}}
    with daemon(tmp_path, servers) as running, start_connect(running, "deep") as process:
        exchange(process, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE})
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "it"}}
        # The second message shows whether the first has ended the process.
        for number in range(2):
            answer = exchange(process, {**call, "id": number + 1})
            assert answer["result"]["structuredContent"] == {"result": deep}
        process.stdin.close()
        assert process.wait(20) == 0


def test_connect_without_wait_exits_with_the_daemon(tmp_path):
    with daemon(tmp_path, {"one": {"command": EXAMPLE}}) as found:
        with start_connect(found, "one", "--wait", "0") as process:
            assert exchange(process, request("tools/list"))["id"] == 1
            found.stop()
            assert process.wait(10) == 69
            assert process.stderr.read().startswith(b"mcp-bridge: one closed the connection")
    assert run_connect(found, "one", []).returncode == 69


def test_connect_exits_with_the_daemon_also_while_it_sends(tmp_path):
    line = json.dumps({"jsonrpc": "2.0", "method": "notifications/x", "params": {"text": "y" * 50_000}})

    def talk(process):
        with contextlib.suppress(BrokenPipeError):
            while True:
                process.stdin.write(f"{line}\n".encode())

    with daemon(tmp_path, {"one": {"command": EXAMPLE}}) as found:
        with start_connect(found, "one", "--wait", "0") as process:
            assert exchange(process, request("tools/list"))["id"] == 1
            talking = threading.Thread(target=talk, args=(process,))
            talking.start()
            time.sleep(0.5)
            found.kill()
            assert process.wait(10) == 69
            assert process.stderr.read() == b"mcp-bridge: one closed the connection\n"
            talking.join()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
