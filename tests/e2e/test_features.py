"""Features that are switched off, before real servers of both eras that use them all the same."""

import json
from contextlib import AsyncExitStack

import pytest
import trio_websocket

from ..support.daemon_process import child, daemon
from ..support.raw_http import BOTH, INITIALIZE, connect
from ..support.stateless_requests import ASKABLE, headers_of, request, tool

pytestmark = pytest.mark.anyio
OFF = ["prompts", "sampling", "logging"]
OFFERED = {"tools", "resources", "completions"}
LEGACY_TEXT = {"code": -32601, "message": "sampling is disabled for this server"}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")

    def forward(name, *words, **keys):
        command = child("forward.py", str(folder / f"{name}.heard"), *words)
        return {"command": command, "features": {"deny": OFF}, **keys}

    servers = {
        "legacy": forward("legacy", era="legacy"),
        "shared": forward("shared", era="legacy", share="principal"),
        "modern": forward("modern", "modern", era="modern"),
    }
    with daemon(folder, servers, aggregate={"servers": list(servers)}) as found:
        yield found


def heard(running, *servers):
    """What has reached these servers."""
    files = [running.folder / f"{server}.heard" for server in servers]
    return [json.loads(line) for file in files if file.exists() for line in file.read_text().splitlines()]


def check_what_was_heard(running, *servers):
    """Nothing of what is off, in neither shape of what a client declares."""
    messages = heard(running, *servers)
    assert messages
    methods = {message.get("method", "") for message in messages}
    assert not [method for method in methods if method.startswith(("prompts/", "logging/"))]
    assert "logLevel" not in json.dumps(messages)
    for message in messages:
        params = message.get("params", {})
        meta = params.get("_meta", {})
        for key in (params.get("capabilities"), meta.get("io.modelcontextprotocol/clientCapabilities")):
            assert "sampling" not in (key or {})


async def ask(connection, path, method, params=None, **meta):
    body = request(method, params, caps=ASKABLE, **meta)
    await connection.send("POST", path, headers_of(body), json.dumps(body).encode())
    answer = await connection.answer()
    return answer.status, answer.json


@pytest.mark.parametrize("server", ["legacy", "shared", "modern"])
async def test_a_stateless_client_finds_nothing_of_them(running, server):
    path = f"/servers/{server}/mcp"
    async with connect(running) as connection:
        _, answer = await ask(connection, path, "server/discover")
        assert set(answer["result"]["capabilities"]) == OFFERED
        status, answer = await ask(connection, path, "prompts/list")
        assert (status, answer["error"]["code"]) == (404, -32601)
        assert answer["error"]["message"] == "prompts is disabled for this server"
        level = {"io.modelcontextprotocol/logLevel": "debug"}
        _, answer = await ask(connection, path, "tools/call", tool("think"), **level)
        if server == "modern":
            assert answer["error"] == {
                "code": -32603,
                "message": "the server requires input, and sampling is disabled for this server",
            }
        else:
            [block] = answer["result"]["content"]
            assert json.loads(block["text"])["code"] == -32601
    check_what_was_heard(running, server)


@pytest.mark.parametrize("server", ["legacy", "shared", "modern"])
async def test_a_session_finds_nothing_of_them(running, server):
    async with AsyncExitStack() as stack:
        socket = await stack.enter_async_context(
            trio_websocket.open_websocket_url(
                running.url(server, "ws"),
                subprotocols=["mcp"],
                extra_headers=[("Authorization", f"Bearer {running.token}")],
            )
        )
        seen = []

        async def ask(number, method, params):
            await socket.send_message(
                json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
            )
            while True:
                seen.append(json.loads(await socket.get_message()))
                if seen[-1].get("id") == number and "method" not in seen[-1]:
                    return seen[-1]

        opened = await ask(0, "initialize", INITIALIZE)
        assert set(opened["result"]["capabilities"]) == OFFERED
        await socket.send_message('{"jsonrpc":"2.0","method":"notifications/initialized"}')
        for number, (method, params) in enumerate(
            [("prompts/list", {}), ("logging/setLevel", {"level": "debug"})], start=1
        ):
            refused = await ask(number, method, params)
            assert refused["error"]["code"] == -32601
        answer = await ask(3, "tools/call", tool("think"))
        [block] = answer["result"]["content"]
        if server == "legacy":
            assert json.loads(block["text"]) == LEGACY_TEXT
        else:
            assert "sampling" in block["text"] or json.loads(block["text"])["code"] == -32601
        assert not [message for message in seen if "method" in message]  # neither asked nor told
    check_what_was_heard(running, server)


async def test_over_streamable_http_it_is_the_same(running):
    async with connect(running) as connection:
        body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}
        headers = {"Accept": BOTH, "Content-Type": "application/json"}
        path = "/servers/legacy/mcp"
        await connection.send("POST", path, headers, json.dumps(body).encode())
        answer = await connection.answer()
        assert set(answer.json["result"]["capabilities"]) == OFFERED
        headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
        body = {"jsonrpc": "2.0", "id": 2, "method": "prompts/list"}
        await connection.send("POST", path, headers, json.dumps(body).encode())
        answer = await connection.answer()
        assert (answer.status, answer.json["error"]["code"]) == (200, -32601)
    check_what_was_heard(running, "legacy")


async def test_the_aggregate_has_of_a_server_what_it_offers(running):
    async with connect(running) as connection:
        _, answer = await ask(connection, "/mcp", "server/discover")
        assert set(answer["result"]["capabilities"]) <= OFFERED
        _, answer = await ask(connection, "/mcp", "prompts/list")
        assert answer["error"]["code"] == -32601
        _, answer = await ask(connection, "/mcp", "tools/call", tool("modern__think"))
        assert "sampling is disabled" in answer["error"]["message"]
    check_what_was_heard(running, "legacy", "shared", "modern")


def test_the_effective_configuration_says_so(running):
    assert running.do("config", "show").stdout.count("deny prompts, sampling, logging") == 3
