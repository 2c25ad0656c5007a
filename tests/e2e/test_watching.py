"""`logs`, `tap` and `restart` of one server and of all, with clients of both eras on processes of every kind."""

import json
import time
from contextlib import AsyncExitStack

import pytest
import trio

from ..support.bridge_process import MODERN
from ..support.daemon_clients import example, open_socket, stateless_request
from ..support.daemon_process import daemon, write_config
from ..support.raw_http import connect
from ..support.stateless_requests import PREFIX, headers_of, tool

pytestmark = pytest.mark.anyio

SERVERS = {
    "own": example(),
    "shared": example(share="server"),
    "new": {"command": MODERN},
    "new-shared": {"command": MODERN, "share": "server"},
    "modern": {"command": MODERN, "era": "modern"},
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    aggregate = {"servers": ["own", "shared"]}
    with daemon(tmp_path_factory.mktemp("watching"), SERVERS, aggregate=aggregate) as found:
        yield found


async def wait_for(lines, *conditions, during=None):
    """Wait until one line meets all conditions, and return it. `during` is awaited again and again."""
    with trio.fail_after(20):
        while True:
            for line in tuple(lines):
                if all(condition in line for condition in conditions):
                    return line
            if during is not None:
                await during()
            await trio.sleep(0.05)


NAMED = {f"{PREFIX}clientInfo": {"name": "Stateless", "version": "1"}}


@pytest.mark.parametrize("server", [*SERVERS])
async def test_messages_of_a_stateless_client_have_its_name(running, server):
    params = {**tool("echo" if server in ("own", "shared") else "test_simple_text", text="x"), "_meta": NAMED}

    async def ask():
        await stateless_named(running, server, params)

    with running.following("tap", server, "--client", "stateless", "--method", "tools/*", "--json") as lines:
        await wait_for(lines, '"response"', during=ask)
        seen = [json.loads(line) for line in lines]
    assert {one["client"] for one in seen} == {"Stateless"}
    assert {one["method"] for one in seen} == {"tools/call"}
    assert {one["kind"] for one in seen} == {"request", "response"}
    assert {one["direction"] for one in seen} == {"to server", "to client"}


async def stateless_named(running, server, params):
    meta = params["_meta"]
    given = {key: value for key, value in params.items() if key != "_meta"}
    body_meta = {f"{PREFIX}protocolVersion": "2026-07-28", f"{PREFIX}clientCapabilities": {}, **meta}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**given, "_meta": body_meta}}
    async with connect(running) as connection:
        await connection.send("POST", f"/servers/{server}/mcp", headers_of(body), json.dumps(body).encode())
        assert "result" in (await connection.answer()).json


@pytest.mark.parametrize("server", [*SERVERS])
async def test_messages_of_a_session_have_its_client_and_can_be_found_by_its_id(running, server):
    name = "echo" if server in ("own", "shared") else "test_simple_text"
    async with AsyncExitStack() as stack:
        socket = await open_socket(running, server, stack)
        numbers = iter(range(1, 1000))

        async def ask():
            number = next(numbers)
            await socket._send({"id": number, "method": "tools/call", "params": tool(name, text="x")})
            await socket.answers(1)

        with running.following(
            "tap", server, "--client", "owner", "--method", "tools/call", "--json"
        ) as lines:
            await wait_for(lines, '"response"', during=ask)
            seen = [json.loads(line) for line in lines]
        assert {one["principal"] for one in seen} == {"owner"}
        [session] = {one["session"] for one in seen}
        # A shared process of the modern era has no sessions.
        assert len(session) == (0 if server == "new-shared" else 8)
        assert all(one["client"] for one in seen)


async def test_all_servers_are_tapped_also_one_that_is_added_later(running):
    with running.following("tap", "--short") as lines:
        await wait_for(
            lines, "-> ", " own [", "tools/call echo", during=lambda: call(running, "own", "echo", "text=x")
        )
        await wait_for(lines, "<- ", " own [", "tools/call echo", " ok ", " ms ")
        write_config(running.config, {**SERVERS, "late": example()}, aggregate={"servers": ["own", "shared"]})
        running.reload()
        await wait_for(
            lines, "<- ", " late [", "tools/call echo", during=lambda: call(running, "late", "echo", "text=x")
        )
    write_config(running.config, SERVERS, aggregate={"servers": ["own", "shared"]})
    running.reload()


async def call(running, *words):
    await trio.to_thread.run_sync(lambda: running.do("call", *words))


async def test_the_aggregate_and_its_member_are_tapped(running):
    with running.following("tap", "--short") as lines:
        await wait_for(
            lines,
            "-> ",
            " aggregate [",
            "tools/call own__echo",
            "mcp-bridge",
            during=lambda: call(running, "aggregate", "own__echo", "text=x"),
        )
        await wait_for(lines, "-> ", " own [", "tools/call echo")


async def test_pings_of_the_bridge_are_shown_only_if_wanted(tmp_path):
    with daemon(tmp_path, {"one": example(limits={"ping_seconds": 0.2})}) as running:
        await stateless_request(running, "one", "tools/list")
        with running.following("tap", "one", "--probes") as lines:
            await wait_for(lines, "-> ", "(bridge)", '"ping"')
            await wait_for(lines, "<- ", "(bridge)", '"result"')
        with running.following("tap", "one", "--short") as lines:
            await wait_for(
                lines, "tools/list", " ok ", during=lambda: stateless_request(running, "one", "tools/list")
            )
            # Several pings are sent meanwhile.
            before = running.status()["uptime"]
            with trio.fail_after(10):
                while running.status()["uptime"] < before + 1:
                    await trio.sleep(0.1)
        assert not any("ping" in line for line in lines)


async def test_the_logs_of_all_servers_are_in_the_order_of_time(running):
    for name in ("own", "shared"):
        running.do("call", name, "echo", "text=x")
    shown = running.do("logs").stdout.splitlines()
    assert {line.split()[2] for line in shown} >= {"own", "shared"}
    entries = [json.loads(line) for line in running.do("logs", "--json").stdout.splitlines()]
    assert [one["at"] for one in entries] == sorted(one["at"] for one in entries)
    assert running.do("logs", "-n", "1").stdout.splitlines() == running.do("logs").stdout.splitlines()[-1:]
    assert running.do("logs", "--since", "1h").stdout == running.do("logs").stdout
    assert running.do("logs", "--since", "2099-01-01").stdout == ""
    assert running.do("logs", "-n", "0").stdout == ""


async def test_the_logs_of_all_servers_can_be_followed(running):
    with running.following("logs", "-f", "-n", "0") as lines:

        async def restart():
            running.do("restart", "--all")
            await call(running, "shared", "echo", "text=x")

        await wait_for(lines, " shared [", "info: started", during=restart)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("restart",), "name the servers to restart, or use --all"),
        (("restart", "own", "--all"), "name the servers to restart, or use --all"),
        (("logs", "-n", "x"), "must be a number of entries"),
        (("logs", "--since", "soon"), "must be an age such as 90s, 10m, 2h or 3d"),
    ],
)
async def test_wrong_usage_names_what_to_write(running, words, reason):
    done = running.do(*words, check=False)
    assert (done.returncode, reason in done.stderr) == (64, True), done.stderr


async def test_servers_are_restarted_by_name_and_all_at_once(running):
    for name in ("own", "shared"):
        running.do("call", name, "echo", "text=x")
    before = pids(running)
    done = running.do("restart", "own", "none", check=False)
    assert done.returncode == 1
    assert "own: restarted" in done.stdout
    assert "none: there is no server 'none'" in done.stderr
    report = json.loads(running.do("restart", "--all", "--json").stdout)
    assert report == {"restarted": [*SERVERS, "aggregate"], "failed": {}}
    end = time.monotonic() + 20
    while pids(running) & before:
        assert time.monotonic() < end
        await trio.sleep(0.05)
    assert json.loads(running.do("reload", "--json").stdout)["kept"] == [*SERVERS, "aggregate"]


def pids(running):
    return {pid for one in running.status()["servers"] for pid in one["pids"]}
