"""Rates of requests and limits of arguments, with a real daemon over every transport."""

import hashlib
import json
from contextlib import ExitStack

import pytest

from ..support.daemon_clients import example, stateless_request
from ..support.daemon_process import daemon, write_config
from ..support.handshake import initialize_request
from ..support.pipe_client import pipe
from ..support.raw_http import BOTH, INITIALIZE, connect, message, tool_call
from ..support.stateless_requests import tool
from ..support.waiting import wait_until
from ..support.websocket_handshake import open_session
from ..support.wire import CLOSE, fresh_key
from ..support.wire import connect as connect_socket

TOKENS = {name: f"mcpb_{name:x<40}{name}" for name in ("a", "b", "free")}
SERVERS = {
    "plain": example(),
    "tools": example(tool_rates={"ech*": "2/hour"}),
    "own": example(rates={"server": "3/hour"}),
    "member": example(),
    "small": example(argument_bytes={"think": 1000}, limits={"argument_bytes": 100, "argument_depth": 3}),
}
RATES = {"principal": "6/hour", "sse": "2/hour"}
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def tables(**more):
    tokens = {
        f"tokens.{name}": {"sha256": hashlib.sha256(token.encode()).hexdigest()}
        for name, token in TOKENS.items()
    }
    tokens["tokens.free"]["rates"] = {"requests": "100000/second"}
    return {"rates": RATES, "aggregate": {"servers": ["member"]}, **tokens, **more}


@pytest.fixture
def running(tmp_path):
    with daemon(tmp_path, SERVERS, **tables()) as found:
        yield found


def as_(who):
    return {"Authorization": f"Bearer {TOKENS[who]}"}


async def call(running, who, server="plain", name="echo", **arguments):
    """Call a tool without a session. Return the status and the error, if there is one."""
    status, answer = await stateless_request(
        running, server, "tools/call", tool(name, **arguments), TOKENS[who]
    )
    return status, answer.get("error")


def assert_over(error, key, limit):
    assert error["code"] == -32000
    assert key in error["message"]
    data = error["data"]
    assert (data["reason"], data["key"], data["limit"], data["seconds"]) == ("rate_limit", key, limit, 3600)
    assert 0 < data["retryAfter"] <= 3600


@pytest.mark.anyio
async def test_a_stateless_client_over_its_rate_gets_429_and_others_do_not(running):
    for _ in range(6):
        assert await call(running, "a", text="x") == (200, None)
    status, error = await call(running, "a", text="x")
    assert status == 429
    assert_over(error, "rates.principal", 6)
    assert await call(running, "b", text="x") == (200, None)
    # One rate for all servers.
    assert (await call(running, "a", server="tools", name="add", a=1, b=2))[0] == 429


@pytest.mark.anyio
async def test_a_session_over_its_rate_gets_429_with_retry_after(running):
    path, headers = "/servers/plain/mcp", {**as_("a"), "Accept": BOTH, "Content-Type": "application/json"}
    async with connect(running) as connection:
        opened = await connection.request("POST", path, headers, message("initialize", INITIALIZE, id=0))
        assert opened.status == 200
        headers["Mcp-Session-Id"] = opened.headers["mcp-session-id"]
        initialized = await connection.request("POST", path, headers, message("notifications/initialized"))
        assert initialized.status == 202
        # `initialize` is counted once, the notification is not.
        for number in range(1, 6):
            answer = await connection.request("POST", path, headers, tool_call("echo", number, text="x"))
            assert answer.status == 200
        answer = await connection.request("POST", path, headers, tool_call("echo", 7, text="x"))
        assert answer.status == 429
        assert int(answer.headers["retry-after"]) == answer.json["error"]["data"]["retryAfter"]
        assert answer.json["id"] == 7
        assert_over(answer.json["error"], "rates.principal", 6)
        # A notification and the end of the session still pass.
        assert (await connection.request("POST", path, headers, message("notifications/x"))).status == 202
        assert (await connection.request("DELETE", path, headers)).status == 204


@pytest.mark.anyio
async def test_no_process_is_started_for_an_initialize_over_the_rate(running):
    headers = {**as_("a"), "Accept": BOTH, "Content-Type": "application/json"}
    async with connect(running) as connection:
        for number in range(8):
            server = "tools" if number > 5 else "plain"
            path, body = f"/servers/{server}/mcp", message("initialize", INITIALIZE, id=number)
            answer = await connection.request("POST", path, headers, body)
            assert answer.status == (429 if number > 5 else 200)
            assert answer.json["id"] == number
    [status] = [
        one for one in json.loads(running.do("status", "--json").stdout)["servers"] if one["name"] == "tools"
    ]
    assert status["pids"] == []


@pytest.mark.anyio
async def test_a_tool_has_a_rate_of_its_own(running):
    for _ in range(2):
        assert await call(running, "a", "tools", text="x") == (200, None)
    status, error = await call(running, "a", "tools", text="x")
    assert status == 429
    assert_over(error, 'servers.tools.tool_rates."ech*"', 2)
    assert await call(running, "a", "tools", "add", a=1, b=2) == (200, None)


@pytest.mark.anyio
async def test_the_rate_of_a_server_is_shared_by_its_principals(running):
    for who in ("a", "b", "free"):
        assert await call(running, who, "own", text="x") == (200, None)
    status, error = await call(running, "free", "own", text="x")
    assert status == 429
    assert_over(error, "servers.own.rates.server", 3)


@pytest.mark.anyio
async def test_a_token_has_a_rate_of_its_own(running):
    for _ in range(10):
        assert await call(running, "free", text="x") == (200, None)


@pytest.mark.anyio
async def test_a_request_through_the_aggregate_counts_once(running):
    for _ in range(6):
        status, answer = await stateless_request(
            running, "/mcp", "tools/call", tool("member__echo", text="x"), TOKENS["a"]
        )
        assert (status, "result" in answer) == (200, True), answer
    status, answer = await stateless_request(
        running, "/mcp", "tools/call", tool("member__echo", text="x"), TOKENS["a"]
    )
    assert status == 429
    assert_over(answer["error"], "rates.principal", 6)


def test_a_websocket_gets_errors_and_is_closed_when_its_client_goes_on(tmp_path):
    with daemon(
        tmp_path,
        {"plain": example()},
        **tables(aggregate={"servers": ["plain"]}, limits={"refusals_per_minute": 10}),
    ) as running:
        with connect_socket(running.address) as connection:
            socket = open_session(
                running, connection, f"Authorization: Bearer {TOKENS['a']}", target="/servers/plain/ws"
            )
            for _ in range(5):
                socket.send(PING)
                assert socket.message()["result"] == {}
            for _ in range(10):
                socket.send(PING)
                assert_over(socket.message()["error"], "rates.principal", 6)
            socket.send(PING)
            assert_over(socket.message()["error"], "rates.principal", 6)
            opcode, payload = socket.next()
            assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, 1013)
            assert b"limits.refusals_per_minute" in payload


def test_a_pipe_gets_errors_and_stays_open(tmp_path):
    more = {"rates": {"pipe": "2/hour"}, "limits": {"refusals_per_minute": 3}}
    with daemon(
        tmp_path, {"plain": example()}, **tables(aggregate={"servers": ["plain"]}, **more)
    ) as running:
        with pipe(running, "plain") as client:
            client.call(1, "echo", text="x")
            assert "result" in client.answer(1)
            for number in range(2, 12):
                client.call(number, "echo", text="x")
                assert_over(client.answer(number)["error"], "rates.pipe", 2)


@pytest.mark.anyio
async def test_an_event_stream_gets_errors(running):
    headers = {**as_("a"), "Accept": "text/event-stream"}
    async with connect(running) as stream, connect(running) as posts:
        await stream.send("GET", "/servers/plain/sse", headers)
        assert (await stream.head())[0] == 200
        endpoint = (await stream.event()).data
        path = f"/servers/plain/{endpoint}"
        posted = {**as_("a"), "Content-Type": "application/json"}
        # The request that opened the stream was counted, and `initialize` is not counted again.
        for body in (initialize_request(), {**PING, "id": 1}):
            assert (await posts.request("POST", path, posted, json.dumps(body).encode())).status == 202
            assert "result" in (await stream.event()).json
        assert (
            await posts.request("POST", path, posted, json.dumps({**PING, "id": 2}).encode())
        ).status == 202
        event = (await stream.event()).json
        assert event["id"] == 2
        assert_over(event["error"], "rates.sse", 2)


@pytest.mark.anyio
async def test_requests_of_a_batch_are_counted_one_by_one(running):
    path, headers = "/servers/plain/mcp", {**as_("a"), "Accept": BOTH, "Content-Type": "application/json"}
    async with connect(running) as connection:
        params = {**INITIALIZE, "protocolVersion": "2025-03-26"}
        opened = await connection.request("POST", path, headers, message("initialize", params, id=0))
        headers["Mcp-Session-Id"] = opened.headers["mcp-session-id"]
        headers["Accept"] = "application/json"
        await connection.request("POST", path, headers, message("notifications/initialized"))
        batch = b"[%b]" % b",".join(message("ping", id=number) for number in range(1, 9))
        answer = await connection.request("POST", path, headers, batch)
    found = {one["id"]: one for one in json.loads(answer.body)}
    assert [number for number in found if "result" in found[number]] == [1, 2, 3, 4, 5]
    for number in (6, 7, 8):
        assert_over(found[number]["error"], "rates.principal", 6)


@pytest.mark.anyio
async def test_a_reload_changes_the_rates_and_closes_nothing(running):
    async with connect(running) as connection:
        path, headers = "/servers/plain/mcp", {**as_("a"), "Accept": BOTH, "Content-Type": "application/json"}
        opened = await connection.request("POST", path, headers, message("initialize", INITIALIZE, id=0))
        headers["Mcp-Session-Id"] = opened.headers["mcp-session-id"]
        await connection.request("POST", path, headers, message("notifications/initialized"))
        more = tables(rates={"principal": "1/hour"})
        write_config(running.config, SERVERS, **more)
        assert running.do("reload").stdout.startswith("kept: plain,")
        statuses = [
            (await connection.request("POST", path, headers, tool_call("echo", number, text="x"))).status
            for number in (1, 2)
        ]
        assert statuses == [200, 429]
        del more["rates"]
        write_config(running.config, SERVERS, **more)
        running.do("reload")
        answer = await connection.request("POST", path, headers, tool_call("echo", 3, text="x"))
        assert answer.status == 200


@pytest.mark.anyio
async def test_arguments_over_a_limit_do_not_reach_the_server(running):
    assert await call(running, "free", "small", text="x" * 80) == (200, None)
    status, error = await call(running, "free", "small", text="x" * 101)
    assert (status, error["code"]) == (200, -32602)
    del error["data"]["correlationId"]
    assert error["data"] == {"limit": 100, "value": 113, "key": "limits.argument_bytes"}
    _, error = await call(running, "free", "small", "think", text="x" * 1000)
    assert error["data"]["key"] == 'servers.small.argument_bytes."think"'
    _, error = await call(running, "free", "small", text=[[[1]]])
    del error["data"]["correlationId"]
    assert error["data"] == {"limit": 3, "key": "limits.argument_depth"}
    path, headers = "/servers/small/mcp", {**as_("free"), "Accept": BOTH, "Content-Type": "application/json"}
    async with connect(running) as connection:
        opened = await connection.request("POST", path, headers, message("initialize", INITIALIZE, id=0))
        headers["Mcp-Session-Id"] = opened.headers["mcp-session-id"]
        await connection.request("POST", path, headers, message("notifications/initialized"))
        answer = await connection.request("POST", path, headers, tool_call("echo", 1, text="x" * 101))
        assert answer.json["error"]["data"]["value"] == 113
        answer = await connection.request("POST", path, headers, tool_call("echo", 2, text="x"))
        assert "result" in answer.json


@pytest.mark.anyio
async def test_a_feature_is_denied_for_all_servers_at_once(tmp_path):
    servers = {"one": example(features={"deny": ["resources"]}), "other": example()}
    with daemon(tmp_path, servers, features={"deny": ["prompts"]}) as running:
        for server in servers:
            status, answer = await stateless_request(running, server, "prompts/list")
            assert (status, answer["error"]["code"]) == (404, -32601)
            _, answer = await stateless_request(running, server, "server/discover")
            assert "prompts" not in answer["result"]["capabilities"]
            assert ("resources" in answer["result"]["capabilities"]) is (server == "other")


def test_a_token_has_limits_of_connections_and_sessions(tmp_path):
    more = tables(aggregate={"servers": ["plain"]}, rates={"principal": "100000/second"})
    more["tokens.a"]["limits"] = {"connections": 3, "sessions": 2}
    with daemon(tmp_path, {"plain": example()}, **more) as running, ExitStack() as stack:

        def opened(who):
            connection = stack.enter_context(connect_socket(running.address))
            fields = (f"Authorization: Bearer {TOKENS[who]}",)
            return open_session(running, connection, *fields, target="/servers/plain/ws")

        def refused(status, key):
            with connect_socket(running.address) as connection:
                host = "{}:{}".format(*running.address)
                connection.send(
                    post(host, TOKENS["a"], "/servers/plain/mcp", json.dumps(initialize_request()))
                )
                reply = connection.reply()
                assert (reply.status, key in reply.body.decode()) == (status, True), reply

        sockets = [opened("a"), opened("a")]
        for socket in sockets:
            # A call in flight, so that the session is not idle.
            socket.send(
                {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": tool("slow", seconds=60)}
            )
        refused(503, "the limit of 2 sessions of one principal")

        def upgraded():
            connection = stack.enter_context(connect_socket(running.address))
            connection.send(upgrade_request(running, TOKENS["a"]))
            return connection.head().status == 101

        # The connection of the refused request may still be there.
        wait_until(upgraded)
        refused(503, "the limit of 3 connections of this token is reached (tokens.a.limits.connections)")
        # Others have the usual limits.
        for _ in range(4):
            opened("b")


def post(host, token, path, body):
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {token}", f"Accept: {BOTH}"]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


def upgrade_request(running, token):
    lines = ["GET /servers/plain/ws HTTP/1.1", "Host: {}:{}".format(*running.address), "Connection: Upgrade"]
    lines += ["Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {fresh_key()}"]
    return "\r\n".join([*lines, f"Authorization: Bearer {token}", "", ""]).encode()
