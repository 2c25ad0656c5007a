"""A daemon that was stopped (SIGSTOP) and is continued reads what has come meanwhile before it decides what is too late."""

import json
import signal
import sys
import time

import pytest
import trio
import trio.testing

from mcpbridged.transports.ticker import Ticker

from ..support.daemon_process import daemon
from ..support.reconnecting import connected, message

# Answers everything, `initialize` after a second.
SLOW = """
import json, sys, time
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "initialize":
        print("starting", file=sys.stderr, flush=True)
        time.sleep(1)
    if "id" in message:
        found = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "slow", "version": "1"}}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": found}), flush=True)
"""
# So many, because the order in which a continued daemon works is by chance.
SERVERS = [f"slow{number}" for number in range(4)]


def until_started(running):
    end = time.monotonic() + 20
    while sum("starting" in line for line in running.lines) < len(SERVERS):
        assert time.monotonic() < end, running.lines
        time.sleep(0.01)


@pytest.mark.parametrize("share", ["session", "server"])
def test_c01_a_start_that_outlasts_a_stop_of_the_daemon_does_not_fail(tmp_path, share):
    entries = {name: {"command": [sys.executable, "-c", SLOW], "share": share} for name in SERVERS}
    opening = message(
        "initialize", 1, protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "x"}
    )
    with daemon(tmp_path, entries, limits={"start_seconds": 2}) as running:
        clients = [connected(running, name=name) for name in SERVERS]
        processes = [client.__enter__() for client in clients]
        try:
            for process in processes:
                process.send(opening)
            until_started(running)
            running.process.send_signal(signal.SIGSTOP)
            time.sleep(3.5)  # the clock of the daemon goes on
            running.process.send_signal(signal.SIGCONT)
            answers = [process.answer(1) for process in processes]
        finally:
            running.process.send_signal(signal.SIGCONT)
            for client in clients:
                client.__exit__(None, None, None)
    assert [json.dumps(answer["error"]) for answer in answers if "error" in answer] == []


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
