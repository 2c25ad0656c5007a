"""Arguments and output of tools against their schemas: each era and transport, shared processes, remote servers, the aggregate."""

import json
import sys
from contextlib import AsyncExitStack

import pytest
import trio
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from ..support.connect_process import run_connect
from ..support.daemon_clients import open_socket
from ..support.daemon_process import CHILDREN, daemon
from ..support.handshake import initialize_params
from ..support.sdk import SDK_WARNINGS, client_of

pytestmark = [pytest.mark.anyio, *SDK_WARNINGS]
SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["id"],
}
READ = {"name": "read", "inputSchema": SCHEMA}
TABLE = {"name": "table", "inputSchema": {"type": "object"}, "outputSchema": SCHEMA}
GOOD, BAD = {"id": "1"}, {"id": "1", "tags": ["a", 7]}
REFUSE = {"arguments": "refuse", "output": "refuse"}
ARGUMENTS_TEXT = "Invalid arguments for the tool read: type is violated at /tags/1 (inputSchema)"
OUTPUT_TEXT = "Invalid output of the tool table: type is violated at /tags/1 (outputSchema)"
MODES = {"legacy": "legacy", "modern": "2026-07-28"}
ERAS = tuple(MODES)
TRANSPORTS = ("http", "sse", "ws")


def offer(folder, output=None, era="both", **more):
    result = {} if output is None else {"structuredContent": output}
    content = {
        "era": era,
        "tools": [READ, TABLE],
        "results": {"table": result},
        "calls": str(folder / "calls"),
        **more,
    }
    (folder / "one.json").write_text(json.dumps(content))


def server(folder, output=None, era="both", **keys):
    offer(folder, output, era)
    return {"command": [sys.executable, str(CHILDREN / "definitions.py"), str(folder / "one.json")], **keys}


def calls(folder):
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


def events(running, name, server="one"):
    return [line for line in running.logs(server) if name in line]


async def outcome(client, tool, arguments):
    """Return the text of a result or of an error."""
    try:
        found = await client.call_tool(tool, arguments)
    except Exception as fault:  # noqa: BLE001 - of any version of the SDK
        return str(fault)
    return found.content[0].text


def text_of(message):
    """Return the text of a response."""
    return message["error"]["message"] if "error" in message else message["result"]["content"][0]["text"]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("client_era", ERAS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_both_are_refused_for_each_era_and_transport(tmp_path, transport, client_era, era):
    if client_era == "modern" and transport == "sse":
        pytest.skip("the transport belongs to the handshake revisions")
    with daemon(tmp_path, {"one": server(tmp_path, BAD, era, content=REFUSE)}) as running:
        async with client_of(running, "one", transport, MODES[client_era]) as client:
            refused = await client.call_tool("read", BAD)
            assert refused.is_error
            assert refused.content[0].text == ARGUMENTS_TEXT
            assert await outcome(client, "read", GOOD) == "read"
            assert OUTPUT_TEXT in await outcome(client, "table", {})
            offer(tmp_path, GOOD, era)
            assert (await client.call_tool("table", {})).structured_content == GOOD
            offer(tmp_path, None, era)
            assert "table: structuredContent is missing" in await outcome(client, "table", {})
    assert calls(tmp_path) == [f"read {json.dumps(GOOD)}", *["table {}"] * 3]


@pytest.mark.parametrize("client_era", ERAS)
async def test_with_warn_all_passes_and_is_reported(tmp_path, client_era):
    content = {"arguments": "warn", "output": "warn"}
    with daemon(tmp_path, {"one": server(tmp_path, BAD)}, content=content) as running:
        async with client_of(running, "one", "http", MODES[client_era]) as client:
            assert await outcome(client, "read", BAD) == "read"
            with pytest.raises(Exception, match="Invalid structured content returned by tool table"):
                await client.call_tool("table", {})
        found = events(running, "content_warning")
        assert [line.split("content_warning ")[1] for line in found] == [
            "reason=arguments count=1 tool=read path=/tags/1 keyword=type",
            "reason=output count=1 tool=table path=/tags/1 keyword=type",
        ]
        assert events(running, "content_refused") == []
    assert calls(tmp_path) == [f"read {json.dumps(BAD)}", "table {}"]


async def test_refusals_are_audit_events_without_content(tmp_path):
    output = {"id": "1", "tags": ["top-secret", 7]}
    with daemon(
        tmp_path, {"one": server(tmp_path, output, content=REFUSE)}, audit={"file": "audit"}
    ) as running:
        async with client_of(running, "one", "http", "legacy") as client:
            for _ in range(3):
                await outcome(client, "read", {"id": 5, "more": "top-secret"})
            await outcome(client, "table", {})
    lines = (tmp_path / "audit").read_text()
    assert "top-secret" not in lines
    found = [json.loads(line) for line in lines.splitlines() if "content_refused" in line]
    assert {(one["reason"], one["tool"], one["path"], one["keyword"], one["server"]) for one in found} == {
        ("arguments", "read", "/id", "type", "one"),
        ("output", "table", "/tags/1", "type", "one"),
    }
    assert sum(one["count"] for one in found) == 4


@pytest.mark.parametrize("share", ["session", "client", "principal", "server"])
@pytest.mark.parametrize("client_era", ERAS)
@pytest.mark.parametrize("era", ERAS)
async def test_a_first_call_without_a_list_is_checked_too(tmp_path, era, client_era, share):
    with daemon(tmp_path, {"one": server(tmp_path, BAD, era, content=REFUSE, share=share)}) as running:
        async with AsyncExitStack() as stack:
            stack.enter_context(trio.fail_after(30))
            if client_era == "legacy":
                socket = await open_socket(running, "one", stack)
                await socket.begin(2, {"name": "read", "arguments": BAD})
                found = await socket.answers(2)
                assert {text_of(message) for message in found.values()} == {ARGUMENTS_TEXT}
            else:
                # The client of the SDK lists the tools before it calls one, and this command does not.
                done = running.do("call", "one", "read", json.dumps(BAD), check=False)
                assert ARGUMENTS_TEXT in done.stdout + done.stderr
    assert calls(tmp_path) == []


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_older_revisions_get_an_error_of_the_protocol(tmp_path, version):
    with daemon(tmp_path, {"one": server(tmp_path, content=REFUSE)}) as running:
        lines = [
            {"id": 1, "method": "initialize", "params": initialize_params(version)},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/call", "params": {"name": "read", "arguments": BAD}},
        ]
        done = run_connect(running, "one", [{"jsonrpc": "2.0", **line} for line in lines])
        [answer] = [found for found in map(json.loads, done.stdout.splitlines()) if found.get("id") == 2]
        if version >= "2025-11-25":
            assert answer["result"] == {
                "content": [{"type": "text", "text": ARGUMENTS_TEXT}],
                "isError": True,
            }
        else:
            error = answer["error"]
            assert (error["code"], error["message"]) == (-32602, ARGUMENTS_TEXT)
            assert (error["data"]["path"], error["data"]["keyword"]) == ("/tags/1", "type")
    assert calls(tmp_path) == []


async def test_members_of_the_aggregate_are_checked(tmp_path):
    servers = {"one": server(tmp_path, BAD, content=REFUSE)}
    with daemon(tmp_path, servers, aggregate={"servers": ["one"]}) as running:
        done = running.do("call", "aggregate", "one__read", json.dumps(BAD), check=False)
        assert ARGUMENTS_TEXT in done.stdout + done.stderr
        assert running.do("call", "aggregate", "one__read", json.dumps(GOOD)).stdout.strip() == "read"
        done = running.do("call", "aggregate", "one__table", "{}", check=False)
        assert OUTPUT_TEXT in done.stdout + done.stderr
    assert calls(tmp_path) == [f"read {json.dumps(GOOD)}", "table {}"]


@pytest.mark.parametrize("client_era", ERAS)
async def test_a_remote_server_is_checked(tmp_path, client_era):
    far, near = tmp_path / "far", tmp_path / "near"
    far.mkdir()
    near.mkdir(mode=0o700)
    with daemon(far, {"one": server(far, BAD)}) as remote:
        secret = near / "token"
        secret.write_text(remote.headers["Authorization"])
        secret.chmod(0o600)
        headers = {"Authorization": str(secret)}
        table = {"url": remote.url("one"), "content": REFUSE, "secret_headers": headers}
        with daemon(near, {"one": table}) as running:
            async with client_of(running, "one", "http", MODES[client_era]) as client:
                assert await outcome(client, "read", BAD) == ARGUMENTS_TEXT
                assert await outcome(client, "read", GOOD) == "read"
                assert OUTPUT_TEXT in await outcome(client, "table", {})
    assert calls(far) == [f"read {json.dumps(GOOD)}", "table {}"]


async def test_a_role_of_a_token_changes_no_check(tmp_path):
    with daemon(tmp_path, {"one": server(tmp_path, content=REFUSE)}) as running:
        secret = tmp_path / "ci"
        secret.write_text("k3y-of-the-ci-client-0123456789abcdefXYZ")
        secret.chmod(0o600)
        table = f'[tokens.ci]\nsecret = "{secret}"\ntools.deny = ["x"]\n'
        running.config.write_text(running.config.read_text() + table)
        running.do("reload")
        async with AsyncExitStack() as stack:
            stack.enter_context(trio.fail_after(30))
            socket = await open_socket(running, "one", stack, token=secret.read_text())
            await socket.begin(1, {"name": "read", "arguments": BAD})
            assert text_of((await socket.answers(1))[1]) == ARGUMENTS_TEXT


# ---- a server of the official SDK, without the bridge and behind it


WRONG = {
    "type": {"numbers": ["x"]},
    "missing": {"label": "a"},
    "limit": {"numbers": [1], "label": "too long"},
    "right": {"numbers": [1, 2], "label": "a"},
}


async def runs(client):
    found = {}
    for name, arguments in WRONG.items():
        result = await client.call_tool("add", arguments)
        found[name] = (result.is_error, result.content[0].text, result.structured_content)
    return found


@pytest.mark.parametrize("mode", ["off", "refuse"])
async def test_a_server_of_the_sdk_behaves_as_without_the_bridge(tmp_path, mode):
    words = [sys.executable, str(CHILDREN / "typed.py")]
    with trio.fail_after(60):
        bare = StdioServerParameters(command=words[0], args=words[1:])
        async with Client(stdio_client(bare), mode="legacy") as client:
            alone = await runs(client)
        content = {"arguments": mode, "output": mode}
        with daemon(tmp_path, {"one": {"command": words}}, content=content) as running:
            async with client_of(running, "one", "http", "legacy") as client:
                behind = await runs(client)
    assert {name: error for name, (error, *_) in alone.items()} == {
        "type": True,
        "missing": True,
        "limit": True,
        "right": False,
    }
    if mode == "off":
        assert behind == alone
        return
    # Each call has the same outcome. The text of the refused ones is that of the bridge.
    assert {name: error for name, (error, *_) in behind.items()} == {
        name: error for name, (error, *_) in alone.items()
    }
    assert behind["right"] == alone["right"]
    assert {name: text for name, (error, text, _) in behind.items() if error} == {
        "type": "Invalid arguments for the tool add: type is violated at /numbers/0 (inputSchema)",
        "missing": "Invalid arguments for the tool add: required is violated (inputSchema)",
        "limit": "Invalid arguments for the tool add: maxLength is violated at /label (inputSchema)",
    }
