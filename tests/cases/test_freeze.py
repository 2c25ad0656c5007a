"""A server sends legal messages at inconvenient times, or fails, and the daemon goes on serving all others.

R1: a log message before the response to `initialize` must not make the event loop spin.
"""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio_websocket

from ..support.connect_process import start_connect
from ..support.daemon_process import daemon
from ..support.raw_http import BOTH, INITIALIZE, Connection, message
from ..support.servers import inserting
from ..support.stateless_requests import headers_of, request, tool

PROGRAM = str(Path(__file__).parents[1] / "support/servers/inserting.py")
# How long /healthz may take (seconds). It answers within a millisecond unless the event loop is held.
PROMPT = 1.0
LEGAL = [*inserting.MESSAGES, *inserting.RAW]
KINDS = [*LEGAL, *inserting.ENDS]
# Servers with a request that these clients declare to answer and do not. The result of their call is the matter of S3.
UNANSWERED = {"roots-shared", "sampling-shared", "elicitation-shared"}
# The pause between the message and the answer (seconds). It is long enough for the message to be handled alone.
PAUSE = "0.1"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    command = [sys.executable, "-I", "-S", PROGRAM]
    servers = {kind: {"command": [*command, kind, PAUSE]} for kind in KINDS}
    servers |= {f"{kind}-shared": {"command": [*command, kind, PAUSE], "share": "server"} for kind in KINDS}
    limits = {"start_seconds": 2, "call_seconds": 2}
    servers = {name: {**table, "limits": limits} for name, table in servers.items()}
    with daemon(tmp_path_factory.mktemp("freeze"), servers) as found:
        yield found


@contextlib.asynccontextmanager
async def connected(running):
    async with await trio.open_tcp_stream(*running.address) as stream:
        yield Connection(running, stream)


async def assert_serving(running):
    with trio.fail_after(PROMPT):
        async with connected(running) as connection:
            assert (await connection.request("GET", "/healthz")).status == 200


def result_in(answer):
    """Return the answer to the only request, from JSON or from a finished event stream."""
    if answer.headers.get("content-type", "").startswith("application/json"):
        return answer.json
    texts = [part.partition("data: ")[2] for part in answer.body.decode().split("\n\n")]
    found = [json.loads(text) for text in texts if text]
    return next(one for one in found if "method" not in one)


CALL = {"name": "echo", "arguments": {}}


async def over_http(running, name, accept=BOTH):
    path = f"/servers/{name}/mcp"
    headers = {"Accept": accept, "Content-Type": "application/json"}
    async with connected(running) as connection:
        opened = await connection.request("POST", path, headers, message("initialize", INITIALIZE, id=0))
        if opened.status != 200:
            return opened.json
        headers["Mcp-Session-Id"] = opened.headers.get("mcp-session-id", "")
        if "result" not in result_in(opened):
            return result_in(opened)
        called = await connection.request("POST", path, headers, message("tools/call", CALL, id=1))
        return result_in(called)


async def over_http_events(running, name):
    return await over_http(running, name, "text/event-stream, application/json")


async def over_modern_http(running, name):
    body = request("tools/call", tool("echo"))
    async with connected(running) as connection:
        path = f"/servers/{name}/mcp"
        return result_in(await connection.request("POST", path, headers_of(body), json.dumps(body).encode()))


async def over_sse(running, name):
    async with connected(running) as stream, connected(running) as posts:
        await stream.send("GET", f"/servers/{name}/sse", {"Accept": "text/event-stream"})
        status, _ = await stream.head()
        if status != 200:
            return {"error": status}
        path = (await stream.event()).data
        if not path.startswith("/"):
            path = f"/servers/{name}/{path}"

        async def exchange(body):
            await posts.request("POST", path, {"Content-Type": "application/json"}, body)
            while "method" in (answer := await stream.message()):
                pass
            return answer

        opened = await exchange(message("initialize", INITIALIZE, id=0))
        return await exchange(message("tools/call", CALL, id=1)) if "result" in opened else opened


async def over_websocket(running, name):
    async with (
        trio_websocket.open_websocket_url(
            running.url(name, "ws"),
            subprotocols=["mcp"],
            extra_headers=[("Authorization", f"Bearer {running.token}")],
            disconnect_timeout=1,
        ) as socket,
        # The library leaves the stream open if the other side closes first.
        socket._stream,
    ):

        async def exchange(body):
            await socket.send_message(body.decode())
            while "method" in (answer := json.loads(await socket.get_message())):
                pass
            return answer

        opened = await exchange(message("initialize", INITIALIZE, id=0))
        return await exchange(message("tools/call", CALL, id=1)) if "result" in opened else opened


async def over_connect(running, name):
    process = start_connect(running, name)

    def talk():
        with process:
            for body in (message("initialize", INITIALIZE, id=0), message("tools/call", CALL, id=1)):
                process.stdin.write(body + b"\n")
                process.stdin.flush()
                while "method" in (answer := json.loads(process.stdout.readline())):
                    pass
                if "error" in answer:
                    break
            process.stdin.close()
            return answer

    try:
        return await trio.to_thread.run_sync(talk, abandon_on_cancel=True)
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.kill()


TRANSPORTS = [over_http, over_http_events, over_modern_http, over_sse, over_websocket, over_connect]


def servers_for(transport):
    """Return the names of the servers. Each use of `connect` starts an interpreter, so shared servers are left out there."""
    return KINDS if transport is over_connect else [*KINDS, *(f"{kind}-shared" for kind in KINDS)]


async def use_all(running, uses, at_once):
    """Return the answers of servers by transport and name, for these pairs. The daemon has to serve others all the time."""
    answers, places = {}, trio.CapacityLimiter(at_once)

    async def use(transport, name):
        async with places:
            with trio.move_on_after(15):
                try:
                    answers[transport, name] = await transport(running, name)
                except (
                    ConnectionError,
                    trio.BrokenResourceError,
                    trio_websocket.ConnectionClosed,
                    AssertionError,
                ) as fault:
                    answers[transport, name] = {"error": repr(fault)}

    async def watch(*, task_status=trio.TASK_STATUS_IGNORED):
        task_status.started()
        while True:
            await assert_serving(running)
            await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        await nursery.start(watch)
        async with trio.open_nursery() as clients:
            for transport, name in uses:
                clients.start_soon(use, transport, name)
        await assert_serving(running)
        nursery.cancel_scope.cancel()
    return answers


@pytest.fixture(scope="module")
def answers(running):
    """Return the answers by transport and server. All transports are in use at once, except for `connect`."""
    pairs = [(transport, name) for transport in TRANSPORTS for name in servers_for(transport)]
    others = [pair for pair in pairs if pair[0] is not over_connect]
    found = trio.run(use_all, running, others, 20)
    return found | trio.run(use_all, running, [pair for pair in pairs if pair not in others], 4)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_r1_the_daemon_answers_while_a_server_misbehaves(answers, transport):
    for name in servers_for(transport):
        kind = name.removesuffix("-shared")
        answer = answers.get((transport, name))
        assert answer is not None, f"{name} hangs"
        if name in UNANSWERED:
            continue
        if kind in LEGAL:
            assert answer.get("result", {}).get("content"), (name, answer)
        else:
            assert "error" in answer, (name, answer)
