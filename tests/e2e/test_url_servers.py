"""Servers with a `url`: real remote servers beside local ones, for clients of both eras."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time

import pytest
import trio
from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError

from ..support.authorization_server import authorization_server, visit
from ..support.bridge_process import EXAMPLE, PROGRAM, REPOSITORY
from ..support.daemon_clients import stateless_request
from ..support.daemon_process import daemon, write_config
from ..support.remote_process import remote_process
from ..support.sdk import SDK_WARNINGS
from ..support.stateless_requests import tool

pytestmark = [pytest.mark.anyio, *SDK_WARNINGS]
REMOTE = REPOSITORY / "tests/support/servers/http_sdk.py"
SECRET = "s3cret-of-the-operator"
CLIENTS = ("legacy", "2026-07-28")


def start_remote(port=0):
    process = subprocess.Popen(
        [sys.executable, str(REMOTE), str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return process, process.stdout.readline().strip()


@contextlib.contextmanager
def remote(port=0):
    """Run the server of the official SDK, and yield its URL."""
    process, url = start_remote(port)
    with process:
        try:
            yield url
        finally:
            process.kill()


def kept(folder, text, name="secret"):
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Run a daemon in front of the SDK's server and of another bridge, over each transport and in each era."""
    folder = tmp_path_factory.mktemp("url")
    (folder / "other").mkdir()
    (folder / "front").mkdir()
    with remote() as url, daemon(folder / "other") as other:
        token = {"secret_headers": {"Authorization": kept(folder, other.token)}}
        secret = {"secret_headers": {"X-Api-Key": kept(folder, SECRET, "key")}, "headers": {"X-Team": "red"}}
        servers = {
            "sdk": {"url": url, **secret},
            "sdk-legacy": {"url": url, "era": "legacy"},
            "sdk-modern": {"url": url, "era": "modern"},
            "sdk-shared": {"url": url, "era": "legacy", "share": "server"},
            "sdk-principal": {"url": url, "share": "principal"},
            "http-legacy": {"url": other.url("example"), "era": "legacy", **token},
            "http-modern": {"url": other.url("example"), "era": "modern", **token},
            "sse": {"url": other.url("example", "sse"), "transport": "sse", **token},
            "sse-found": {"url": other.url("example", "sse"), **token},
            "ws-legacy": {"url": other.url("example", "ws"), "era": "legacy", **token},
            "ws-modern": {"url": other.url("example", "ws"), "era": "modern", **token},
            "filtered": {"url": f"{url}?api_key={SECRET}x", "tools": {"deny": ["a*"]}},
            "local": {"command": EXAMPLE},
        }
        tables = {"aggregate": {"servers": ["sdk", "local", "ws-modern"]}}
        with daemon(folder / "front", servers, **tables) as front:
            front.remote = url
            yield front


@contextlib.asynccontextmanager
async def connected(running, server, mode="legacy", **options):
    """Yield a client of the official SDK. The block is limited to 30 s."""
    with trio.fail_after(30):
        async with create_mcp_http_client(headers={**running.headers, "X-Of-The-Client": "private"}) as http:
            streams = streamable_http_client(running.url(server) if server else running.mcp, http_client=http)
            async with Client(streams, mode=mode, **options) as client:
                yield client


async def text_of(client, name, **arguments):
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result
    return result.content[0].text


def status_of(running, name):
    return next(server for server in running.status()["servers"] if server["name"] == name)


async def accept(_context, params):
    return types.ElicitResult(action="accept", content={"value": f"of {params.message}"})


@pytest.mark.parametrize("mode", CLIENTS)
@pytest.mark.parametrize(
    "server",
    [
        *("sdk", "sdk-legacy", "sdk-modern", "sdk-shared", "sdk-principal"),
        *("http-legacy", "http-modern", "sse", "sse-found", "ws-legacy", "ws-modern"),
    ],
)
async def test_a_client_of_each_era_calls_a_remote_server_of_each_era(running, server, mode):
    async with connected(running, server, mode) as client:
        assert "echo" in {one.name for one in (await client.list_tools()).tools}
        assert await text_of(client, "echo", text="é\u2028 x") == "é\u2028 x"
        found = status_of(running, server)
        assert (found["state"], found["pids"], found["command"]) == ("connected", [], [])
        assert found["connections"] >= 1


@pytest.mark.parametrize("mode", CLIENTS)
@pytest.mark.parametrize("server", ["sdk-legacy", "sdk-shared"])
async def test_a_remote_server_requests_input_from_a_client_of_each_era(running, server, mode):
    async with connected(running, server, mode, elicitation_callback=accept) as client:
        assert await text_of(client, "ask", text="me") == "me: of me"


@pytest.mark.parametrize("server", ["sdk-shared", "sdk-legacy"])
@pytest.mark.parametrize("mode", CLIENTS)
async def test_each_request_of_a_remote_server_reaches_the_client_of_its_call(running, server, mode):
    """All calls run at once over one session. The response streams name the calls; there is no other way to know them."""
    results = {}

    async def one(name):
        async def answer(_context, params):
            assert params.message == name
            return types.ElicitResult(action="accept", content={"value": f"of {name}"})

        async with connected(running, server, mode, elicitation_callback=answer) as client:
            results[name] = await text_of(client, "ask", text=name, seconds=0.3)

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(one, f"client {number}")
    assert results == {f"client {number}": f"client {number}: of client {number}" for number in range(6)}


async def test_no_header_of_a_client_reaches_a_remote_server(running):
    async with connected(running, "sdk") as client:
        heads = json.loads(await text_of(client, "seen"))
    mine = [head for head in heads if head.get("x-team") == "red"]
    assert mine
    assert all(head["x-api-key"] == SECRET for head in mine)
    names = {name for head in heads for name in head}
    assert not names & {
        "x-of-the-client",
        "authorization",
        "cookie",
        "origin",
        "forwarded",
        "x-forwarded-for",
    }
    assert not any(running.token in value for head in heads for value in head.values())


async def test_the_policy_and_the_limits_apply_to_a_remote_server(running):
    async with connected(running, "filtered") as client:
        assert {one.name for one in (await client.list_tools()).tools} == {"echo", "pause", "seen"}
        with pytest.raises(MCPError, match="Unknown tool: ask"):
            await client.call_tool("ask", {"text": "x"})


async def test_a_remote_server_is_a_member_of_the_aggregate(running):
    async with connected(running, "") as client:
        tools = {one.name for one in (await client.list_tools()).tools}
        assert {"sdk__echo", "local__echo", "ws-modern__echo"} <= tools
        for name in ("sdk", "local", "ws-modern"):
            assert await text_of(client, f"{name}__echo", text=name) == name


async def test_no_secret_of_a_remote_server_is_shown(running):
    for server in ("sdk", "filtered"):
        async with connected(running, server) as client:
            await text_of(client, "echo", text=SECRET)
    found = status_of(running, "filtered")
    assert found["url"] == f"{running.remote}?…"
    shown = [json.dumps(running.status()), *running.lines]
    for words in (["status"], ["config", "show"], ["doctor"], ["logs", "filtered"], ["config", "check"]):
        done = running.do(*words, check=False)
        shown += [done.stdout, done.stderr]
    assert not any(SECRET in text for text in shown)
    assert any("X-Api-Key = " in text for text in shown)


async def test_tap_prints_the_messages_of_a_remote_server(running):
    with running.following("tap", "sdk") as lines:
        async with connected(running, "sdk") as client:
            end = time.monotonic() + 10
            while not any("tools/call" in line for line in lines) and time.monotonic() < end:
                await text_of(client, "echo", text="tapped")
        while not any("tapped" in line and "result" in line for line in lines) and time.monotonic() < end:
            await trio.sleep(0.05)
    assert any(line.startswith("<-") for line in lines)


@pytest.mark.parametrize(
    ("words", "reason"),
    [(["env", "sdk"], "is a remote server (url)"), (["approve", "sdk"], "is a remote server (url)")],
)
def test_commands_about_processes_name_a_remote_server(running, words, reason):
    done = running.do(*words, check=False)
    assert done.returncode == 78
    assert reason in done.stderr


@pytest.mark.parametrize("mode", CLIENTS)
async def test_a_client_of_each_era_calls_an_official_server_of_the_first_revision(tmp_path, mode):
    async with remote_process("sse=1", path="/sse") as url:
        with daemon(tmp_path, {"first": {"url": url}}) as running:
            async with connected(running, "first", mode) as client:
                assert await text_of(client, "echo", text="x") == "x"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def test_the_stored_era_of_a_remote_server_that_is_away_stays_valid(tmp_path):
    port = free_port()
    servers = {"one": {"url": f"http://127.0.0.1:{port}/mcp", "connect_seconds": 1}}
    with remote(port), daemon(tmp_path, servers) as running:
        assert (await stateless_request(running, "one", "tools/list"))[0] == 200
    with daemon(tmp_path, servers) as running:
        answer = (await stateless_request(running, "one", "tools/list"))[1]
        assert "reached" in answer["error"]["message"]
        with remote(port):
            running.restart("one")
            assert (await stateless_request(running, "one", "tools/list"))[0] == 200
        assert not any("era_mismatch" in line for line in running.lines)


async def test_a_remote_server_that_cannot_be_reached_fails_its_calls_only(tmp_path):
    port = free_port()
    servers = {
        "away": {"url": f"http://127.0.0.1:{port}/mcp", "connect_seconds": 1},
        "local": {"command": EXAMPLE},
    }
    with daemon(tmp_path, servers) as running:
        began = time.monotonic()
        status, answer = await stateless_request(running, "away", "tools/list")
        assert time.monotonic() - began < 10
        assert status in (200, 503)
        assert "cannot be reached" in answer["error"]["message"]
        assert f"127.0.0.1:{port}" in answer["error"]["message"]
        assert (await stateless_request(running, "local", "tools/list"))[0] == 200
        found = status_of(running, "away")
        assert found["state"] in ("failed", "failing")
        assert "cannot be reached" in found["fault"]
        assert "printed" not in found["fault"]
        with remote(port):
            running.restart("away")
            status, answer = await stateless_request(running, "away", "tools/call", tool("echo", text="here"))
            assert (status, answer["result"]["content"][0]["text"]) == (200, "here")
            assert status_of(running, "away")["state"] == "connected"


@pytest.mark.parametrize("mode", CLIENTS)
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_remote_server_that_is_killed_fails_what_is_in_flight_and_is_used_again(tmp_path, era, mode):
    port = free_port()
    process, url = start_remote(port)
    with daemon(tmp_path, {"one": {"url": url, "era": era}}) as running:
        async with connected(running, "one", mode, raise_exceptions=False) as client:
            assert await text_of(client, "echo", text="1") == "1"
            failures = []

            async def call():
                try:
                    failures.append(await client.call_tool("pause", {"seconds": 60}))
                except Exception as fault:  # noqa: BLE001 - any error of the SDK
                    failures.append(fault)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                await trio.sleep(0.5)
                process.kill()
                process.wait()
                process.stdout.close()
            assert "may have been carried out" in str(failures)
            with remote(port):
                assert await text_of(client, "echo", text="2") == "2"


async def test_a_reload_replaces_a_remote_server_whose_url_has_changed_and_keeps_others(tmp_path):
    with remote() as one, remote() as other:
        secret = {"secret_headers": {"Authorization": kept(tmp_path, SECRET)}}
        servers = {"moved": {"url": one, "era": "legacy"}, "kept": {"url": one, "era": "legacy", **secret}}
        with daemon(tmp_path, servers) as running:
            async with connected(running, "kept") as client:
                await text_of(client, "echo", text="x")
                assert (await stateless_request(running, "moved", "tools/list"))[0] == 200
                servers["moved"]["url"] = other
                write_config(running.config, servers)
                changes = running.reload()
                assert (changes["changed"], changes["kept"]) == (["moved"], ["kept"])
                assert (await stateless_request(running, "moved", "tools/list"))[0] == 200
                assert await text_of(client, "echo", text="x") == "x"
                assert status_of(running, "moved")["url"] == other
                assert status_of(running, "kept")["starts"] == 1


async def test_a_secret_that_is_missing_fails_the_server_until_it_is_there(tmp_path):
    with remote() as url:
        secret = tmp_path / "secret"
        servers = {"one": {"url": url, "secret_headers": {"X-Key": str(secret)}}}
        with daemon(tmp_path, servers) as running:
            assert status_of(running, "one")["state"] == "failed"
            kept(tmp_path, SECRET)
            running.restart("one")
            answer = await stateless_request(running, "one", "tools/call", tool("seen"))
            heads = json.loads(answer[1]["result"]["content"][0]["text"])
            assert heads[-1]["x-key"] == SECRET


async def test_a_daemon_without_remote_servers_loads_no_client_of_them(tmp_path):
    code = "import sys, mcpbridged.bridge.daemon.app; print([n for n in sys.modules if 'transports.client.' in n or 'oauth.' in n])"
    done = await trio.run_process([sys.executable, "-c", code], capture_stdout=True, env=os.environ)
    assert done.stdout.decode().strip() == "[]"


def answering(server):
    """Let the MCP server of an authorization server answer requests that have a token."""
    protected = server._protected
    opened = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "x", "version": "1"},
    }

    def answer(request):
        found = protected(request)
        if found[0] != 200 or request.method != "POST":
            return found
        message = json.loads(request.body)
        result = opened if message["method"] == "initialize" else {"tools": []}
        body = {"jsonrpc": "2.0", "id": message["id"], "result": result} if "id" in message else {}
        return 200 if body else 202, json.dumps(body).encode(), ()

    server._protected = answer


async def log_in(running, server):
    """Run `mcp-bridge login one` with a browser."""
    words = [PROGRAM, "login", "one", "--config", str(running.config)]
    command = await trio.lowlevel.open_process(words, stdout=subprocess.PIPE, env=running.variables)
    async with command.stdout:
        out = b""
        while b"\n" not in out:
            out += await command.stdout.receive_some()
        await visit(server.authorize(out.decode().splitlines()[0]))
        assert await command.wait() == 0


async def test_a_remote_server_that_requires_a_login_is_used_after_it(tmp_path):
    async with authorization_server() as server:
        answering(server)
        servers = {"one": {"url": server.url, "era": "legacy"}, "local": {"command": EXAMPLE}}
        with trio.fail_after(60), daemon(tmp_path, servers) as running:

            async def found(key):
                status = await trio.to_thread.run_sync(running.status)
                return next(one[key] for one in status["servers"] if one["name"] == "one")

            for _ in range(2):
                _, answer = await stateless_request(running, "one", "tools/list")
                assert "mcp-bridge login one" in answer["error"]["message"]
            assert await found("state") == "login required"
            assert "mcp-bridge login one" in await found("fault")
            doctor = await trio.to_thread.run_sync(lambda: running.do("doctor", check=False))
            assert "        run mcp-bridge login one\n" in doctor.stdout
            await log_in(running, server)
            status, answer = await stateless_request(running, "one", "tools/list")
            assert (status, answer["result"]["tools"]) == (200, [])
            assert await found("state") == "connected"
            assert not any(token in line for token in server.tokens for line in running.lines)
