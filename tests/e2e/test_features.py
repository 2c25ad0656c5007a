"""Denied features, in front of real servers of both eras that use these features anyway."""

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
        command = child("forward.py", str(folder / f"{name}.received"), *words)
        return {"command": command, "features": {"deny": OFF}, **keys}

    servers = {
        "legacy": forward("legacy", era="legacy"),
        "shared": forward("shared", era="legacy", share="principal"),
        "modern": forward("modern", "modern", era="modern"),
    }
    with daemon(folder, servers, aggregate={"servers": list(servers)}) as found:
        yield found


def received_by(running, *servers):
    """Return the messages that reached these servers."""
    files = [running.folder / f"{server}.received" for server in servers]
    return [json.loads(line) for file in files if file.exists() for line in file.read_text().splitlines()]


def assert_no_denied_feature_was_used(running, *servers):
    """Require that no message uses or declares a denied feature, in the form of either era."""
    messages = received_by(running, *servers)
    assert messages
    methods = {message.get("method", "") for message in messages}
    assert not [method for method in methods if method.startswith(("prompts/", "logging/"))]
    assert "logLevel" not in json.dumps(messages)
    for message in messages:
        params = message.get("params", {})
        meta = params.get("_meta", {})
        for key in (params.get("capabilities"), meta.get("io.modelcontextprotocol/clientCapabilities")):
            assert "sampling" not in (key or {})


async def exchange(connection, path, method, params=None, **meta):
    body = request(method, params, caps=ASKABLE, **meta)
    await connection.send("POST", path, headers_of(body), json.dumps(body).encode())
    answer = await connection.answer()
    return answer.status, answer.json


@pytest.mark.parametrize("server", ["legacy", "shared", "modern"])
async def test_a_stateless_client_does_not_see_denied_features(running, server):
    path = f"/servers/{server}/mcp"
    async with connect(running) as connection:
        _, answer = await exchange(connection, path, "server/discover")
        assert set(answer["result"]["capabilities"]) == OFFERED
        status, answer = await exchange(connection, path, "prompts/list")
        assert (status, answer["error"]["code"]) == (404, -32601)
        assert answer["error"]["message"] == "prompts is disabled for this server"
        level = {"io.modelcontextprotocol/logLevel": "debug"}
        _, answer = await exchange(connection, path, "tools/call", tool("think"), **level)
        if server == "modern":
            assert answer["error"] == {
                "code": -32603,
                "message": "the server requires input, and sampling is disabled for this server",
            }
        else:
            [block] = answer["result"]["content"]
            assert json.loads(block["text"])["code"] == -32601
    assert_no_denied_feature_was_used(running, server)


@pytest.mark.parametrize("server", ["legacy", "shared", "modern"])
async def test_a_session_does_not_see_denied_features(running, server):
    async with AsyncExitStack() as stack:
        socket = await stack.enter_async_context(
            trio_websocket.open_websocket_url(
                running.url(server, "ws"),
                subprotocols=["mcp"],
                extra_headers=[("Authorization", f"Bearer {running.token}")],
            )
        )
        seen = []

        async def send(number, method, params):
            await socket.send_message(
                json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
            )
            while True:
                seen.append(json.loads(await socket.get_message()))
                if seen[-1].get("id") == number and "method" not in seen[-1]:
                    return seen[-1]

        opened = await send(0, "initialize", INITIALIZE)
        assert set(opened["result"]["capabilities"]) == OFFERED
        await socket.send_message('{"jsonrpc":"2.0","method":"notifications/initialized"}')
        for number, (method, params) in enumerate(
            [("prompts/list", {}), ("logging/setLevel", {"level": "debug"})], start=1
        ):
            refused = await send(number, method, params)
            assert refused["error"]["code"] == -32601
        answer = await send(3, "tools/call", tool("think"))
        [block] = answer["result"]["content"]
        if server == "legacy":
            assert json.loads(block["text"]) == LEGACY_TEXT
        else:
            assert "sampling" in block["text"] or json.loads(block["text"])["code"] == -32601
        # The client got no request and no notification.
        assert not [message for message in seen if "method" in message]
    assert_no_denied_feature_was_used(running, server)


async def test_a_session_over_streamable_http_does_not_see_denied_features(running):
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
    assert_no_denied_feature_was_used(running, "legacy")


async def test_the_aggregate_does_not_see_denied_features(running):
    async with connect(running) as connection:
        _, answer = await exchange(connection, "/mcp", "server/discover")
        assert set(answer["result"]["capabilities"]) <= OFFERED
        _, answer = await exchange(connection, "/mcp", "prompts/list")
        assert answer["error"]["code"] == -32601
        _, answer = await exchange(connection, "/mcp", "tools/call", tool("modern__think"))
        assert "sampling is disabled" in answer["error"]["message"]
    assert_no_denied_feature_was_used(running, "legacy", "shared", "modern")


def test_the_effective_configuration_shows_denied_features(running):
    assert running.do("config", "show").stdout.count('deny = ["prompts", "sampling", "logging"]') == 3
