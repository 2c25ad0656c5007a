"""Sessions that are opened, used and closed leave no resource behind.

CHAOS_CYCLES is the number of those with a process of their own, CHAOS_SESSIONS of those that share one.
"""

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
SESSIONS = int(os.environ.get("CHAOS_SESSIONS", "2000"))
AT_ONCE = 4
# By how much the memory of the daemon may grow for each session, and for other reasons while a part of the sessions runs (bytes).
GROWTH, OTHER = 64, 1 << 19
# The latter for sessions with a process of their own, of which there are fewer.
OF_PROCESSES = 1 << 17
PARTS = 4


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


async def repeat(cycle, running, count):
    """Run so many cycles, several at once."""
    left = iter(range(count))

    async def run():
        for _ in left:
            await cycle(running)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(run)


async def require_nothing_left(running, cycle, count, other):
    """Run so many cycles in parts, and more before them. The memory may grow by `other` (bytes) in each part."""
    await repeat(cycle, running, count // PARTS)
    before = await measured(running)
    # Bounded caches and logs are filled in one part or another; a leak is in each.
    growths = []
    for _ in range(PARTS):
        memory = resident(running)
        await repeat(cycle, running, count // PARTS)
        after = await measured(running)
        growths.append(resident(running) - memory)
    print(f"{count} sessions: {before} before, {after} after; growth of each part {growths} bytes")
    # A thread that waits for work ends after a while.
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1] <= before[1]
    assert min(growths) < other + GROWTH * count // PARTS
    [status] = running.status()["servers"]
    assert (status["sessions"], status["restarts"]) == (0, 0)
    return status


@pytest.mark.parametrize("cycle", [over_http, over_websocket])
async def test_sessions_leave_nothing_behind(tmp_path, cycle):
    with daemon(tmp_path, {"one": {"command": EXAMPLE}}) as running:
        assert (await require_nothing_left(running, cycle, CYCLES, OF_PROCESSES))["pids"] == []


@pytest.mark.parametrize("cycle", [over_http, over_websocket])
async def test_memory_does_not_grow_with_the_number_of_sessions(tmp_path, cycle):
    with daemon(tmp_path, {"one": {"command": EXAMPLE, "share": "server"}}) as running:
        await require_nothing_left(running, cycle, SESSIONS, OTHER)
