"""A daemon that was stopped (SIGSTOP) and is continued reads pending input before any deadline expires."""

import signal
import sys
import time
from contextlib import ExitStack

import pytest
import trio
import trio.testing

from mcpbridged.transports.ticker import Ticker

from ..support.daemon_process import daemon
from ..support.reconnecting import connected, message

# Answers every request. Before the answer to `initialize` it waits for the file that its argument names, and afterwards it
# creates a file beside it.
GATED = """
import json, os, sys, time
gate = sys.argv[1]
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "initialize":
        print("starting", file=sys.stderr, flush=True)
        while not os.path.exists(gate):
            time.sleep(0.01)
    if "id" in message:
        found = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "gated", "version": "1"}}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": found}), flush=True)
        open(f"{gate}-{os.getpid()}", "w").close()
"""
SHARES = ("session", "server")
# Several servers of each kind, because a continued daemon may handle the deadline and the answer in either order.
SERVERS = [f"{share}{number}" for share in SHARES for number in range(4)]
START_SECONDS = 3


def wait_until(true):
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Return the answers to `initialize` by server. All came while the daemon was stopped, until no start could last longer."""
    folder = tmp_path_factory.mktemp("stopped")
    gate = folder / "gate"
    command = [sys.executable, "-I", "-S", "-c", GATED, str(gate)]
    servers = {name: {"command": command, "share": name[:-1]} for name in SERVERS}
    opening = message(
        "initialize", 1, protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "x"}
    )
    with daemon(folder, servers, limits={"start_seconds": START_SECONDS}) as running, ExitStack() as stack:
        clients = {name: stack.enter_context(connected(running, name=name)) for name in SERVERS}
        for client in clients.values():
            client.send(opening)
        wait_until(lambda: sum("starting" in line for line in running.lines) == len(SERVERS))
        running.process.send_signal(signal.SIGSTOP)
        try:
            gate.touch()
            wait_until(lambda: len(list(folder.glob("gate-*"))) == len(SERVERS))
            # The clock of a stopped daemon goes on.
            time.sleep(START_SECONDS)
        finally:
            running.process.send_signal(signal.SIGCONT)
        yield {name: client.answer(1) for name, client in clients.items()}


@pytest.mark.parametrize("share", SHARES)
def test_c01_a_start_that_outlasts_a_stop_of_the_daemon_does_not_fail(answers, share):
    found = {name: answer.get("error") for name, answer in answers.items() if name.startswith(share)}
    assert found == dict.fromkeys(found)
    assert len(found) == 4


def test_a_delayed_tick_is_not_passed_on_and_the_next_tick_is():
    ticker, seen = Ticker(), []

    class Member:
        def tick(self, now):
            seen.append(now)

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(ticker.run)
            ticker.add(Member())
            await trio.sleep(0.6)
            assert len(seen) == 2
            clock.jump(30)
            await trio.sleep(0.01)
            assert len(seen) == 2
            assert ticker.now > seen[0] + 30
            clock.jump(30)
            await trio.sleep(0.01)
            assert len(seen) == 3
            assert seen[-1] > seen[0] + 60
            nursery.cancel_scope.cancel()

    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(main, clock=clock)
