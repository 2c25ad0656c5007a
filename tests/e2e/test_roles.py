"""Access policy of tokens: tools and features, for clients of both eras, also through the aggregate."""

import hashlib
import json
from contextlib import AsyncExitStack

import pytest
import trio
import trio_websocket

from ..support.daemon_clients import example, open_socket, stateless_request
from ..support.daemon_process import daemon, write_config
from ..support.raw_http import BOTH, INITIALIZE, connect
from ..support.stateless_requests import ASKABLE, tool

pytestmark = pytest.mark.anyio
TOKENS = {name: f"mcpb_{name:x<40}{name}" for name in ("reader", "writer")}
READS = {"tools": {"allow": ["echo", "th*"]}, "features": {"deny": ["prompts", "sampling"]}}
SERVERS = {
    "own": example(tools={"deny": ["think"]}),
    "principal": example(share="principal"),
    "common": example(share="server"),
}


def tables(**roles):
    return {
        f"tokens.{name}": {"sha256": hashlib.sha256(token.encode()).hexdigest(), **roles.get(name, {})}
        for name, token in TOKENS.items()
    }


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roles")
    aggregate = {"servers": ["own", "common"]}
    with daemon(folder, SERVERS, aggregate=aggregate, **tables(reader=READS)) as found:
        yield found


async def exchange(running, path, who, method, params=None):
    return await stateless_request(running, path, method, params, TOKENS[who], ASKABLE)


def names_in(answer):
    return {found["name"] for found in answer["result"]["tools"]}


@pytest.mark.parametrize("server", SERVERS)
async def test_a_stateless_client_sees_what_its_token_may_use(running, server):
    path = f"/servers/{server}/mcp"
    # The requests take turns, because the clients share a process of one of these servers.
    for _ in range(2):
        _, answer = await exchange(running, path, "reader", "tools/list")
        assert names_in(answer) == ({"echo"} if server == "own" else {"echo", "think"})
        assert answer["result"]["cacheScope"] == "private"
        _, answer = await exchange(running, path, "reader", "tools/call", tool("add", a=1, b=2))
        assert answer["error"]["message"] == "Unknown tool: add"
        status, answer = await exchange(running, path, "reader", "prompts/list")
        assert (status, answer["error"]["code"]) == (404, -32601)
        _, answer = await exchange(running, path, "reader", "server/discover")
        assert "prompts" not in answer["result"]["capabilities"]
        _, answer = await exchange(running, path, "writer", "tools/list")
        assert {"echo", "add"} <= names_in(answer)
        _, answer = await exchange(running, path, "writer", "prompts/list")
        assert answer["result"]["prompts"]


@pytest.mark.parametrize("server", SERVERS)
async def test_a_session_sees_what_its_token_may_use(running, server):
    async with AsyncExitStack() as stack:
        found = {}
        for who, token in TOKENS.items():
            socket = await open_socket(running, server, stack, token)
            await socket._send({"id": 1, "method": "tools/list"})
            await socket._send({"id": 2, "method": "prompts/list"})
            await socket._send({"id": 3, "method": "tools/call", "params": tool("add", a=1, b=2)})
            found[who] = await socket.answers(3)
        assert names_in(found["reader"][1]) == ({"echo"} if server == "own" else {"echo", "think"})
        assert found["reader"][2]["error"]["code"] == -32601
        assert found["reader"][3]["error"]["message"] == "Unknown tool: add"
        assert "add" in names_in(found["writer"][1])
        assert found["writer"][2]["result"]["prompts"]
        assert found["writer"][3]["result"]["content"][0]["text"] == "3"


async def test_the_aggregate_shows_a_token_no_more(running):
    _, answer = await exchange(running, "/mcp", "reader", "tools/list")
    assert names_in(answer) == {"own__echo", "common__echo", "common__think"}
    _, answer = await exchange(running, "/mcp", "reader", "tools/call", tool("own__add", a=1, b=2))
    assert "Unknown tool" in answer["error"]["message"]
    _, answer = await exchange(running, "/mcp", "reader", "prompts/list")
    assert answer["error"]["code"] == -32601
    _, answer = await exchange(running, "/mcp", "writer", "tools/call", tool("own__add", a=1, b=2))
    assert answer["result"]["content"][0]["text"] == "3"


def test_status_shows_what_a_token_may_use(running):
    rows = [line.split("  ") for line in running.do("token", "list").stdout.splitlines()]
    shown = {row[0]: [cell.strip() for cell in row if cell][1:] for row in rows}
    assert shown["reader"][:4] == ["*", "echo, th*", "*, not prompts, sampling", "never"]
    assert shown["writer"][:4] == ["*", "*", "*", "never"]


async def test_a_changed_access_policy_ends_the_session(tmp_path):
    with daemon(tmp_path, SERVERS, **tables()) as running:
        async with AsyncExitStack() as stack:
            sockets = {who: await open_socket(running, "own", stack, token) for who, token in TOKENS.items()}
            plain = {"Accept": BOTH, "Content-Type": "application/json"}
            headers = {who: {**plain, "Authorization": f"Bearer {token}"} for who, token in TOKENS.items()}
            opening = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}
            listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
            for head in headers.values():
                async with connect(running) as connection:
                    await connection.send("POST", "/servers/common/mcp", head, json.dumps(opening).encode())
                    head["Mcp-Session-Id"] = (await connection.answer()).headers["mcp-session-id"]
            write_config(running.config, SERVERS, **tables(reader=READS))
            assert "kept: own, principal, common" in running.do("reload").stdout
            with trio.fail_after(10), pytest.raises(trio_websocket.ConnectionClosed):
                await sockets["reader"].answers(1)
            await sockets["writer"].begin(1, tool("add", a=1, b=2))
            assert "result" in (await sockets["writer"].answers(1))[1]
            for who, status in (("reader", 404), ("writer", 200)):
                async with connect(running) as connection:
                    path = "/servers/common/mcp"
                    await connection.send("POST", path, headers[who], json.dumps(listing).encode())
                    assert (await connection.answer()).status == status
            opened = await open_socket(running, "own", stack, TOKENS["reader"])
            await opened._send({"id": 1, "method": "tools/list"})
            assert names_in((await opened.answers(1))[1]) == {"echo"}
            write_config(running.config, SERVERS, **tables())
            running.do("reload")
            assert "add" in names_in(
                (await exchange(running, "/servers/common/mcp", "reader", "tools/list"))[1]
            )
