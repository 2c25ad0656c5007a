"""Who is connected, as the control API reports it, over each transport and in both eras."""

import json
import os
import time
from contextlib import AsyncExitStack

import pytest
import trio

from ..support.bridge_process import EXAMPLE
from ..support.daemon_clients import open_socket
from ..support.daemon_process import daemon
from ..support.pipe_client import pipe
from ..support.raw_http import BOTH, connect
from ..support.stateless_requests import PREFIX, headers_of, request, tool
from ..support.unix_client import UnixClient
from ..support.waiting import wait_until

pytestmark = pytest.mark.anyio

FIELDS = {
    "server", "session", "client", "client_version", "principal", "transport", "revision",
    "since", "idle", "pid", "in_flight",
}  # fmt: skip


def sessions(running):
    return running.control("GET", "sessions")["sessions"]


def test_a_daemon_without_clients_has_no_sessions(tmp_path):
    with daemon(tmp_path) as running:
        assert sessions(running) == []


async def test_each_transport_has_a_session_with_its_client_and_its_process(tmp_path):
    with daemon(tmp_path) as running:
        async with AsyncExitStack() as stack:
            http = UnixClient(running.unix).initialize("example").headers["mcp-session-id"]
            await open_socket(running, "example", stack)
            stack.enter_context(pipe(running, "example"))
            stream = await stack.enter_async_context(connect(running))
            await stream.send("GET", "/servers/example/sse", {"Accept": "text/event-stream"})
            await stream.head()
            found = await trio.to_thread.run_sync(sessions, running)
            pids = running.status()["servers"][0]["pids"]
        assert [set(one) for one in found] == [FIELDS] * 4
        assert [one["transport"] for one in found] == ["http", "websocket", "pipe", "sse"]
        # The client of HTTP+SSE has not sent `initialize` yet.
        assert [one["client"] for one in found] == ["test", "raw", "test", ""]
        assert [one["client_version"] for one in found] == ["1", "1", "1", ""]
        assert [one["revision"] for one in found] == ["2025-11-25"] * 3 + [""]
        # The pipe is on the Unix socket, and the others have the default token.
        assert [one["principal"] for one in found] == ["local", "owner", "local", "owner"]
        assert sorted(one["pid"] for one in found) == sorted(pids)
        assert len({one["session"] for one in found}) == 4
        assert found[0]["session"] == http[:8]
        assert all(abs(time.time() - one["since"]) < 60 and one["idle"] < 60 for one in found)


def test_requests_in_flight_are_counted_and_a_client_that_waits_is_not_idle(tmp_path):
    with daemon(tmp_path) as running, pipe(running, "example") as client:
        client.call(1, "slow", seconds=20, steps=1)
        client.call(2, "slow", seconds=20, steps=1)
        wait_until(lambda: sessions(running)[0]["in_flight"] == 2)
        assert sessions(running)[0]["idle"] == 0.0


def test_the_idle_time_begins_with_the_last_message(tmp_path):
    with daemon(tmp_path) as running, pipe(running, "example") as client:
        wait_until(lambda: sessions(running)[0]["idle"] > 3)
        client.send({"jsonrpc": "2.0", "id": 5, "method": "ping"})
        client.answer(5)
        # A message is noticed within a second.
        wait_until(lambda: sessions(running)[0]["idle"] < 2.5)


@pytest.mark.parametrize("share", ["principal", "server"])
def test_sessions_that_share_a_process_have_its_pid(tmp_path, share):
    shared = {"example": {"command": EXAMPLE, "share": share}}
    with daemon(tmp_path, shared) as running, pipe(running, "example"), pipe(running, "example"):
        found = sessions(running)
        assert {one["pid"] for one in found} == set(running.status()["servers"][0]["pids"])
        assert len(found) == 2


def test_sessions_that_share_a_modern_process_have_its_pid(tmp_path):
    shared = {"all": {"command": EXAMPLE, "share": "server"}}
    with daemon(tmp_path, shared, aggregate={"servers": ["all"]}) as running, pipe(running, "aggregate"):
        found = {one["server"]: one for one in sessions(running)}
        by_name = {one["name"]: one["pids"] for one in running.status()["servers"]}
        assert [found["aggregate"]["pid"]] == by_name["aggregate"]


@pytest.mark.parametrize("share", ["", "principal"])
async def test_a_stateless_client_is_listed_with_its_declaration_until_it_has_ended(tmp_path, share):
    keys = {"command": EXAMPLE, **({"share": share} if share else {})}
    info = {f"{PREFIX}clientInfo": {"name": "fresh", "version": "2.5"}}
    with daemon(tmp_path, {"example": keys}) as running:
        body = request("tools/call", tool("echo", text="a"), **info)
        answer = UnixClient(running.unix).exchange(
            "POST", "/servers/example/mcp", list(headers_of(body).items()), body
        )
        assert answer.status == 200
        with pipe(running, "example", initialized=False) as client:
            client.send(request("tools/call", tool("slow", seconds=20, steps=1), **info))
            # A request is in flight before its process has been started.
            wait_until(lambda: [bool(one["pid"]) for one in sessions(running)] == [True, True])
            wait_until(lambda: any(one["in_flight"] for one in sessions(running)))
            [posted, piped] = sorted(sessions(running), key=lambda one: one["transport"])
        assert (posted["transport"], piped["transport"]) == ("http", "pipe")
        assert (posted["in_flight"], piped["in_flight"]) == (0, 1)
        for one in (posted, piped):
            assert (one["client"], one["client_version"]) == ("fresh", "2.5")
            assert (one["session"], one["revision"]) == ("", "2026-07-28")
            assert one["principal"] == "local"
            assert one["pid"] in running.status()["servers"][0]["pids"]
        if share:
            # Its connection has ended.
            wait_until(lambda: [one["transport"] for one in sessions(running)] == ["http"])


@pytest.mark.parametrize("share", ["session", "principal", "server"])
def test_status_counts_the_clients_that_are_listed(tmp_path, share):
    def counted():
        return [(one["sessions"], one["pids"]) for one in running.status()["servers"]]

    with daemon(tmp_path, {"example": {"command": EXAMPLE, "share": share}}) as running:
        # The program of this client has ended, and its process may still run.
        assert "echo" in running.do("tools", "example").stdout
        wait_until(lambda: sessions(running) == [])
        assert counted()[0][0] == 0
        with pipe(running, "example"), pipe(running, "example"):
            assert (len(sessions(running)), counted()[0][0]) == (2, 2)


def test_status_names_the_methods_and_tokens_that_were_used(tmp_path):
    digest = "0" * 64
    tokens = {
        "tokens.idle": {"sha256": digest, "servers": ["*"]},
        "tokens.busy": {"sha256": digest[:-1] + "1"},
    }
    with daemon(tmp_path, metrics={"enabled": True}, **tokens) as running:
        assert sorted(running.status()["unused_tokens"]) == ["busy", "idle"]
        with pipe(running, "example", "Mcp-Token-Name: busy") as client:
            client.call(1, "echo", text="a")
            client.answer(1)
            [server] = running.status()["servers"]
            assert "tools/call" in server["used_methods"]
            assert server["since"] <= server["methods_since"] + 1 <= time.time() + 1
            assert running.status()["unused_tokens"] == ["idle"]


async def test_a_client_without_a_name_is_listed(tmp_path):
    with daemon(tmp_path) as running:
        body = request("tools/call", tool("echo", text="a"))
        async with connect(running) as connection:
            await connection.send(
                "POST",
                "/servers/example/mcp",
                {**headers_of(body), "Accept": BOTH},
                json.dumps(body).encode(),
            )
            assert (await connection.answer()).status == 200
            [found] = await trio.to_thread.run_sync(sessions, running)
    assert (found["client"], found["client_version"]) == ("", "")
    assert found["pid"] != os.getpid()


def test_a_command_that_has_ended_is_no_client_of_a_server_that_does_not_run(tmp_path):
    with daemon(tmp_path, {"broken": {"command": [EXAMPLE[0], "-c", "raise SystemExit(3)"]}}) as running:
        assert running.do("tools", "broken", check=False).returncode == 1
        wait_until(lambda: not running.status()["servers"][0]["pids"])
        assert sessions(running) == []
        assert running.status()["servers"][0]["sessions"] == 0
