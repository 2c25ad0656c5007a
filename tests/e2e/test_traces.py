"""`_meta.traceparent`: it passes through unchanged in every pair of eras and transports, and its trace is in the log."""

import json
import shlex
from contextlib import AsyncExitStack

import pytest
import trio

from ..support.bridge_process import EXAMPLE, MODERN
from ..support.daemon_clients import example, open_socket, stateless_request
from ..support.daemon_process import daemon
from ..support.raw_http import connect
from ..support.stateless_requests import headers_of, request, tool

pytestmark = pytest.mark.anyio
TRACE = "0af7651916cd43dd8448eb211c80319c"
VALID = f"00-{TRACE}-b7ad6b7169203331-01"
META = {"traceparent": VALID, "tracestate": "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "baggage": "a=b"}
CALL = {**tool("echo", text="x"), "_meta": META}


def recording(file, command, **keys):
    """Return a server whose input is also written to a file."""
    script = f"exec 3>>{shlex.quote(str(file))}; tee /dev/fd/3 | {shlex.join(command)}"
    return {"command": ["bash", "-c", script], **keys}


def call_events(running):
    events = [json.loads(line) for line in running.lines if line.startswith("{")]
    return [event for event in events if event["event"] == "call" and event["method"] == "tools/call"]


async def wait_for_events(running, count):
    with trio.fail_after(10):
        while len(call_events(running)) < count:
            await trio.sleep(0.01)
    return call_events(running)


async def modern_http(running, meta=None):
    body = request("tools/call", tool("echo", text="x"), **(META if meta is None else meta))
    async with connect(running) as connection:
        await connection.send("POST", "/servers/it/mcp", headers_of(body), json.dumps(body).encode())
        answer = await connection.answer()
    assert answer.status == 200, answer


async def legacy_websocket(running):
    async with AsyncExitStack() as stack:
        session = await open_socket(running, "it", stack)
        await session.begin(1, CALL)
        assert "result" in (await session.answers(1))[1]


@pytest.mark.parametrize("command", [EXAMPLE, MODERN], ids=["legacy server", "modern server"])
@pytest.mark.parametrize("share", ["", "server"])
@pytest.mark.parametrize("client", [modern_http, legacy_websocket])
async def test_the_members_reach_the_server_unchanged(tmp_path, client, command, share):
    file = tmp_path / "input"
    servers = {"it": recording(file, command, **({"share": share} if share else {}))}
    with daemon(tmp_path, servers, log={"format": "json", "calls": True}) as running:
        await client(running)
        [event] = await wait_for_events(running, 1)
        assert event["trace"] == TRACE
    calls = [json.loads(line) for line in file.read_text().splitlines() if '"tools/call"' in line]
    assert calls
    for call in calls:
        meta = call["params"]["_meta"]
        assert {key: meta.get(key) for key in META} == META
        for key, value in META.items():
            assert f'"{key}":"{value}"' in file.read_text().replace('": "', '":"')


async def test_a_header_is_logged_and_not_added_to_the_message(tmp_path):
    file = tmp_path / "input"
    with daemon(tmp_path, {"it": recording(file, EXAMPLE)}, log={"format": "json", "calls": True}) as running:
        await stateless_request(running, "it", "tools/call", tool("echo", text="x"), traceparent=VALID)
        await stateless_request(running, "it", "tools/call", tool("echo", text="x"), traceparent="not-valid")
        await stateless_request(running, "it", "tools/call", tool("echo", text="x"))
        events = await wait_for_events(running, 3)
        assert [event.get("trace") for event in events] == [TRACE, None, None]
        assert "not-valid" not in "".join(running.lines)
    assert "traceparent" not in file.read_text()


async def legacy_http(running, **headers):
    async with connect(running) as connection:
        params = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "c", "version": "1"},
        }
        plain = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        begin = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        plain["Authorization"] = f"Bearer {running.token}"
        await connection.send("POST", "/servers/it/mcp", plain, json.dumps(begin).encode())
        answer = await connection.answer()
        plain["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
        for value in headers.values():
            call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": tool("echo", text="x")}
            traced = {**plain, **({"traceparent": value} if value else {})}
            await connection.send("POST", "/servers/it/mcp", traced, json.dumps(call).encode())
            assert (await connection.answer()).status == 200


async def test_the_header_of_a_handshake_revision_is_logged_as_well(tmp_path):
    file = tmp_path / "input"
    with daemon(tmp_path, {"it": recording(file, EXAMPLE)}, log={"format": "json", "calls": True}) as running:
        await legacy_http(running, one=VALID, two="not-valid", three="")
        events = await wait_for_events(running, 3)
        assert [event.get("trace") for event in events] == [TRACE, None, None]
        assert "not-valid" not in "".join(running.lines)
    assert "traceparent" not in file.read_text()


async def test_an_invalid_value_passes_and_is_not_logged(tmp_path):
    file = tmp_path / "input"
    with daemon(tmp_path, {"it": recording(file, EXAMPLE)}, log={"format": "json", "calls": True}) as running:
        await modern_http(running, {"traceparent": "forged\n00"})
        [event] = await wait_for_events(running, 1)
        assert "trace" not in event
        assert "forged" not in "".join(running.lines)
    assert '"traceparent":"forged\\n00"' in file.read_text().replace('": "', '":"')


async def test_at_the_level_debug_the_trace_is_logged_without_the_access_log(tmp_path):
    with daemon(tmp_path, {"it": example()}, log={"format": "json", "level": "debug"}) as running:
        async with AsyncExitStack() as stack:
            session = await open_socket(running, "it", stack)
            await session.begin(1, CALL)
            await session.answers(1)
        [event] = await wait_for_events(running, 1)
        assert (event["level"], event["trace"]) == ("debug", TRACE)
