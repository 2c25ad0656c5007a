"""Sessions that are opened, used and closed leave no resource behind. CHAOS_CYCLES is their number."""

import json
import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from ..support.bridge_process import EXAMPLE
from ..support.daemon_clients import open_socket
from ..support.daemon_process import daemon
from ..support.raw_http import BOTH, INITIALIZE, connect
from ..support.stateless_requests import tool

pytestmark = pytest.mark.anyio
CYCLES = int(os.environ.get("CHAOS_CYCLES", "60"))
AT_ONCE = 4


async def over_http(running):
    async with connect(running) as connection:
        headers = {"Content-Type": "application/json", "Accept": BOTH}

        async def post(message):
            body = json.dumps({"jsonrpc": "2.0", **message}).encode()
            await connection.send("POST", "/servers/one/mcp", headers, body)
            return await connection.answer()

        opened = await post({"id": 1, "method": "initialize", "params": INITIALIZE})
        headers["Mcp-Session-Id"] = opened.headers["mcp-session-id"]
        assert (await post({"method": "notifications/initialized"})).status == 202
        called = await post({"id": 2, "method": "tools/call", "params": tool("echo", text="x")})
        assert called.json["result"]["content"][0]["text"] == "x"
        await connection.send("DELETE", "/servers/one/mcp", headers)
        assert (await connection.answer()).status == 204


async def over_websocket(running):
    async with AsyncExitStack() as stack:
        opened = await open_socket(running, "one", stack)
        await opened.begin(1, tool("echo", text="x"))
        assert (await opened.answers(1))[1]["result"]["content"][0]["text"] == "x"


async def measured(running):
    """Return the number of descriptors, threads and processes of the daemon, when these no longer change."""
    last = None
    for _ in range(200):
        pid = running.process.pid
        now = (
            len(os.listdir(f"/proc/{pid}/fd")),
            len(os.listdir(f"/proc/{pid}/task")),
            len(running.family()),
        )
        if now == last and now[2] <= 3:
            break
        last = now
        await trio.sleep(0.1)
    return now


def resident(running):
    return int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("cycle", [over_http, over_websocket])
async def test_sessions_leave_nothing_behind(tmp_path, cycle):
    with daemon(tmp_path, {"one": {"command": EXAMPLE}}) as running:
        left = 0

        async def repeat():
            nonlocal left
            while left > 0:
                left -= 1
                await cycle(running)

        async def run(count):
            nonlocal left
            left = count
            async with trio.open_nursery() as nursery:
                for _ in range(AT_ONCE):
                    nursery.start_soon(repeat)

        await run(2 * AT_ONCE)
        before, memory = await measured(running), resident(running)
        await run(CYCLES)
        after = await measured(running)
        print(
            f"{CYCLES} cycles: {before} before, {after} after; {memory >> 10} KiB and {resident(running) >> 10} KiB"
        )
        assert after == before
        [status] = running.status()["servers"]
        assert (status["sessions"], status["pids"], status["restarts"]) == (0, [], 0)
