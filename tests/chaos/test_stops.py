"""A process of any kind that is stopped for a while (SIGSTOP) delays only what needs it, and no call is lost or repeated."""

import json
import os
import signal
import subprocess
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio

from ..support.bridge_process import PROGRAM
from ..support.daemon_process import daemon
from ..support.handshake import initialize_params
from ..support.history import report
from ..support.processes import parent_of
from ..support.recorded_traffic import Traffic, counting

pytestmark = pytest.mark.anyio
# How long a process is stopped, and how long a call may take that does not need it or does (seconds).
STOPPED, OTHERS, VICTIMS = 4, 3, 15
# The servers that need the stopped process, by its kind.
KINDS = {"daemon": ("one", "all"), "fork server": (), "keeper": ("all",), "server": ("all",)}


@contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def servers_of(tmp_path):
    journal = tmp_path / "journal"
    return {"one": counting(journal), "all": counting(journal, share="server"), "new": counting(journal)}


def processes(running):
    """Return the pid of the process of each kind for the server that clients share."""
    found = {one["name"]: one["pids"] for one in running.status()["servers"]}
    [server] = found["all"]
    keeper = parent_of(server)
    kinds = {
        "daemon": running.process.pid,
        "fork server": parent_of(keeper),
        "keeper": keeper,
        "server": server,
    }
    assert len(set(kinds.values())) == 4
    return kinds


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stopped_process_delays_only_what_needs_it(tmp_path, kind):
    limits = {"new": VICTIMS, **dict.fromkeys(KINDS[kind], VICTIMS)}
    with daemon(tmp_path, servers_of(tmp_path)) as running:
        traffic = Traffic(running, tmp_path / "journal", OTHERS, limits=limits)
        async with traffic.flowing("one", "all"):
            pid = processes(running)[kind]
            async with trio.open_nursery() as nursery:
                with stopped(pid):
                    # Its process is started while the other is stopped, or afterwards.
                    nursery.start_soon(traffic.post, "new")
                    await trio.sleep(STOPPED)
            assert processes(running) | {kind: pid} == processes(running)
        report(f"stopped {kind}", traffic.check())


class Connect:
    """A client that uses a server through `mcp-bridge connect`."""

    def __init__(self, process, traffic, name):
        self.pid = process.pid
        self._process = process
        self._traffic = traffic
        self._name = name
        self.ended = 0

    async def send(self, message):
        await self._process.stdin.send_all(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def call(self, server, identity):
        params = self._traffic.params(server, self._name, identity)
        await self.send({"id": identity, "method": "tools/call", "params": params})

    async def read(self, task_status):
        buffer = b""
        while data := await self._process.stdout.receive_some():
            *lines, buffer = (buffer + data).split(b"\n")
            for line in map(json.loads, lines):
                if line.get("id") == "opening":
                    task_status.started()
                    continue
                self._traffic.history.receive(self._name, line, trio.current_time())
                self.ended += "id" in line


@asynccontextmanager
async def connected(running, traffic, server):
    """Open a session through `mcp-bridge connect`."""
    command = [PROGRAM, "connect", server, "--config", str(running.config)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            lambda task_status: trio.run_process(
                command, env=running.variables, check=False, task_status=task_status, **pipes
            )
        )
        client = Connect(process, traffic, "connect")
        await client.send({"id": "opening", "method": "initialize", "params": initialize_params()})
        await nursery.start(client.read)
        await client.send({"method": "notifications/initialized"})
        yield client
        await process.stdin.aclose()
        nursery.cancel_scope.deadline = trio.current_time() + 10


async def test_a_stopped_client_delays_only_itself(tmp_path):
    with daemon(tmp_path, servers_of(tmp_path)) as running:
        traffic = Traffic(running, tmp_path / "journal", OTHERS, limits={"new": VICTIMS})
        async with traffic.flowing("one", "all"), connected(running, traffic, "new") as client:
            for number in range(10):
                await client.call("new", number)
            with stopped(client.pid):
                for number in range(10, 40):
                    await client.call("new", number)
                await trio.sleep(STOPPED)
            with trio.fail_after(VICTIMS):
                while client.ended < 40:
                    await trio.sleep(0.05)
        report("stopped client (connect)", traffic.check())
