"""Kill servers at random under load. Every call ends with its own result or with an error and its reason.

CHAOS_SECONDS is the duration (the default keeps CI short), CHAOS_SEED the seed of the random numbers.
"""

import json
import os
import random
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack

import pytest
import trio
import trio_websocket

from ..support.bridge_process import EXAMPLE
from ..support.daemon_clients import open_socket
from ..support.daemon_process import daemon
from ..support.raw_http import connect
from ..support.stateless_requests import headers_of, request, tool

pytestmark = pytest.mark.anyio
SECONDS = float(os.environ.get("CHAOS_SECONDS", "5"))
SEED = int(os.environ.get("CHAOS_SEED", str(time.time_ns())))
SERVERS = {
    "own": {"command": EXAMPLE, "spare": 1},
    "principal": {"command": EXAMPLE, "share": "principal"},
    "all": {"command": EXAMPLE, "share": "server"},
}
PATIENCE = 60
# Errors that a call may get instead of its result: an exit, the open circuit breaker, or a failed start.
CAUSES = ("was killed by signal 9", "ended unexpectedly", "closed its stdout", "session is over", "has ended")


def answered(answer):
    """Return the JSON-RPC response in an HTTP response, which is a stream or JSON."""
    if answer.headers.get("content-type") != "text/event-stream":
        return answer.json
    data = [line[6:] for line in answer.body.decode().split("\n") if line.startswith("data: {")]
    return json.loads(data[-1])


class Load:
    """Clients, and the outcomes of their calls."""

    def __init__(self, running, dice):
        self.running = running
        self.dice = dice
        self.outcomes = Counter()
        self.wrong = []
        self.over = False
        self._next = 0

    def call(self):
        """Return the parameters of a unique call, and the text of its result. One in ten is slow."""
        self._next += 1
        if self.dice.random() < 0.1:
            seconds = round(0.2 + self._next / 1e7, 7)
            return tool("slow", seconds=seconds, steps=2), f"done in {seconds} s"
        text = f"call {self._next}"
        return tool("echo", text=text), text

    def judge(self, text, answer):
        if "error" in answer:
            reason = answer["error"]["message"]
            self.outcomes["error"] += 1
            if not any(cause in reason for cause in CAUSES):
                self.wrong.append((text, answer))
        elif answer["result"]["content"][0]["text"] == text:
            self.outcomes["answer"] += 1
        else:
            self.wrong.append((text, answer))

    async def stateless(self, server):
        while not self.over:
            async with connect(self.running) as connection:
                for _ in range(20):
                    params, text = self.call()
                    body = request("tools/call", params)
                    with trio.fail_after(PATIENCE):
                        path = f"/servers/{server}/mcp"
                        await connection.send("POST", path, headers_of(body), json.dumps(body).encode())
                        answer = await connection.answer()
                    self.judge(text, answered(answer))
                    if "connection" in answer.headers or self.over:
                        break

    async def session(self, server):
        while not self.over:
            async with AsyncExitStack() as stack:
                try:
                    opened = await open_socket(self.running, server, stack)
                except (trio_websocket.HandshakeError, trio_websocket.ConnectionClosed, AssertionError):
                    # Its server was killed during the handshake, or its circuit breaker is open.
                    self.outcomes["no session"] += 1
                    await trio.sleep(0.2)
                    continue
                for _ in range(self.dice.randrange(1, 10)):
                    calls = {number: self.call() for number in range(1, self.dice.randrange(2, 8))}
                    for number, (params, _) in calls.items():
                        await opened._send({"id": number, "method": "tools/call", "params": params})
                    with trio.fail_after(PATIENCE):
                        answers = await opened.answers(len(calls))
                    for number, (_, text) in calls.items():
                        self.judge(text, answers[number])

    async def kill(self):
        while not self.over:
            # At this pace circuit breakers open sometimes. Their error is a valid outcome too.
            await trio.sleep(self.dice.uniform(0.3, 2.5))
            status = await trio.to_thread.run_sync(self.running.status)
            pids = [pid for one in status["servers"] for pid in one["pids"]]
            if pids:
                try:
                    os.kill(self.dice.choice(pids), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                self.outcomes["killed"] += 1


async def test_every_call_ends_in_its_own_answer_or_in_a_clear_error(tmp_path):
    print(f"CHAOS_SEED={SEED}")
    with daemon(tmp_path, SERVERS) as running:
        load = Load(running, random.Random(SEED))
        async with trio.open_nursery() as nursery:
            for server in SERVERS:
                for _ in range(2):
                    nursery.start_soon(load.stateless, server)
                    nursery.start_soon(load.session, server)
            nursery.start_soon(load.kill)
            await trio.sleep(SECONDS)
            load.over = True
        print(dict(load.outcomes))
        assert load.wrong == []
        assert load.outcomes["killed"] >= 1
        assert load.outcomes["answer"] > 100
        assert not any("internal_error" in line for line in running.lines)
        # A circuit breaker counts an exit for a minute.
        end = time.monotonic() + 90
        for server in SERVERS:
            while (
                called := await trio.to_thread.run_sync(
                    lambda name=server: running.do("call", name, "echo", '{"text": "x"}', check=False)
                )
            ).returncode:
                assert time.monotonic() < end, called.stderr
                await trio.sleep(1)
