"""Kill the daemon while clients call through `connect`. Each call ends once, with its own result or an error, and is executed at most once.

The daemon is killed at random moments, within milliseconds of its start, so mostly while sessions are being opened again, and
while `connect` leaves memory and comes back. The server writes a journal of the calls that it executes. CONNECT_KILL_CALLS is
the number of calls of each test (the default keeps CI short), CHAOS_SEED the seed of the random numbers.
"""

import json
import os
import random
import threading
import time
from collections import Counter

import pytest
import trio
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

from ..support.bridge_process import PROGRAM
from ..support.daemon_process import Daemon
from ..support.pipe_peer import connect
from ..support.raw_http import INITIALIZE
from ..support.reconnecting import Installation
from ..support.sdk import SDK_WARNINGS
from ..support.stateless_requests import request

CALLS = int(os.environ.get("CONNECT_KILL_CALLS", "30"))
SEED = int(os.environ.get("CHAOS_SEED", str(time.time_ns())))
MEBIBYTE = 1 << 20
# Calls in flight at once.
AT_ONCE = 4
# Calls between two kills.
BETWEEN = max(20, CALLS // 20)
# For one call, and for the end (seconds). No call ends while the daemon is killed at each of its starts.
PATIENCE = 60 + CALLS
# Errors that a call may get: it was in flight when its connection ended.
KNOWN = ("one closed the connection", "the server rejected the repeated initialize")
NAP = {"MCP_BRIDGE_NAP": "0.002,0,0"}


class Killed:
    """A daemon that is killed and started again."""

    def __init__(self, home, dice):
        self.home = home
        self.dice = dice
        self.kills = 0
        self.daemon = home.daemon()
        self.daemon.__enter__()

    def kill(self, delay):
        """Kill the daemon after this time (seconds), and start another."""
        time.sleep(delay)
        self.daemon.kill()
        self.kills += 1
        time.sleep(self.dice.choice((0, 0.1, 0.3)))
        self.daemon.wait_until_alone(10)
        self.daemon = self.home.daemon()
        self.daemon.__enter__()

    def close(self):
        self.daemon.__exit__(None, None, None)


class History:
    """What was sent and received by one client."""

    def __init__(self):
        self.sent = Counter()
        self.answers = {}
        self.faults = []

    def receive(self, line):
        try:
            message = json.loads(line)
        except ValueError:
            self.faults.append(f"not JSON: {line[:80]!r}")
            return None
        if "method" in message or "id" not in message:
            return None
        if message["id"] in self.answers:
            self.faults.append(f"answered twice: {message['id']}")
        if message["id"] not in self.sent:
            self.faults.append(f"answered and not sent: {message['id']}")
        self.answers[message["id"]] = message
        return message["id"]

    def judge(self, executed):
        """Return all faults."""
        faults = list(self.faults)
        faults += [f"without an answer: {number}" for number in self.sent.keys() - self.answers.keys()]
        for number, answer in self.answers.items():
            if number == 0:
                continue
            if "result" in answer:
                found = json.loads(answer["result"]["content"][0]["text"])
                if found["number"] != number:
                    faults.append(f"the answer of another call: {number}: {found['number']}")
                if executed[number] != 1:
                    faults.append(f"answered and executed {executed[number]} times: {number}")
            elif not any(text in answer["error"]["message"] for text in KNOWN):
                faults.append(f"unknown reason: {number}: {answer['error']}")
        faults += [f"executed twice: {number}" for number, count in executed.items() if count > 1]
        return faults


def written(message, dice):
    """Return the message in one of the layouts that SDKs write."""
    kind = dice.randrange(4)
    if kind == 0:
        return json.dumps(message).encode()
    if kind == 1:
        last = {"jsonrpc": message["jsonrpc"], **({"id": message["id"]} if "id" in message else {})}
        message = {**{name: value for name, value in message.items() if name not in last}, **last}
    return json.dumps(message, separators=(",", ":")).encode()


class RawClient:
    """Writes lines that are cut at random places, and reads all that arrives."""

    def __init__(self, process, dice, era, pause):
        self.process = process
        self.dice = dice
        self.era = era
        self.pause = pause
        self.history = History()
        self._free = threading.Semaphore(AT_ONCE)
        self._opened = threading.Event()
        self._all = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while line := self.process.reader.line(2 * PATIENCE):
            number = self.history.receive(line)
            if number == 0:
                self._opened.set()
            elif number is not None:
                self._free.release()
            if len(self.history.answers) == CALLS + (self.era == "legacy"):
                self._all.set()

    def _write(self, message):
        if "id" in message:
            self.history.sent[message["id"]] += 1
        data = written(message, self.dice) + b"\n"
        while data:
            cut = self.dice.randrange(1, len(data) + 1)
            os.write(self.process.write_end, data[:cut])
            data = data[cut:]
            if data and self.dice.random() < 0.5:
                time.sleep(self.dice.random() * 0.003)

    def open(self):
        if self.era == "legacy":
            self._write({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE})
            assert self._opened.wait(PATIENCE)
            self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def call(self, number):
        assert self._free.acquire(timeout=PATIENCE), (
            f"no answer: {self.history.sent.keys() - self.history.answers.keys()}"
        )
        time.sleep(self.dice.random() * self.pause)
        arguments = {"number": number, "size": MEBIBYTE if number % 10 == 0 else 0}
        params = {"name": "quick", "arguments": arguments}
        if self.era == "legacy":
            self._write({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
        else:
            self._write(request("tools/call", params, id=number))

    def end(self):
        self._all.wait(PATIENCE)
        code = self.process.end()
        self._thread.join(PATIENCE)
        return code


def executed(home):
    """Return how often each call was executed."""
    return Counter(int(line.split()[1]) for line in home.calls())


def run(home, killed, client, delays):
    """Let the client make all its calls, with a kill after each `BETWEEN` of them."""
    killing = None
    for number in range(1, CALLS + 1):
        client.call(number)
        if number % BETWEEN == 0 and (killing is None or not killing.is_alive()):
            killing = threading.Thread(target=killed.kill, args=(delays(),))
            killing.start()
    if killing is not None:
        killing.join(PATIENCE)


class Place:
    """An installation, as the support for `connect` needs it."""

    def __init__(self, home):
        self.variables = {**Daemon.variables.fget(home), "XDG_CONFIG_HOME": str(home.folder / "none")}


@pytest.fixture
def home(tmp_path):
    return Installation(tmp_path)


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("carrier", ["pipe", "socket"])
@pytest.mark.parametrize("variables", [{}, NAP], ids=["awake", "napping"])
def test_no_call_is_lost_doubled_or_cut_when_the_daemon_is_killed(
    home, era, carrier, variables, record_property
):
    record_property("seed", SEED)
    dice = random.Random(SEED)
    killed = Killed(home, dice)
    try:
        with connect(Place(home), carrier=carrier, variables=variables) as process:
            client = RawClient(process, dice, era, 0.02 if variables else 0.002)
            client.open()
            run(home, killed, client, lambda: dice.random() * 0.05)
            assert client.end() == 0
            errors = process.stderr
    finally:
        killed.close()
    faults = client.history.judge(executed(home))
    assert not faults, (SEED, faults[:10], errors[-2000:])
    assert killed.kills
    assert len(client.history.sent) == CALLS + (era == "legacy")


@pytest.mark.parametrize("variables", [{}, NAP], ids=["awake", "napping"])
def test_no_call_is_lost_doubled_or_cut_when_the_daemon_is_killed_while_sessions_are_opened_again(
    home, variables
):
    dice = random.Random(SEED)
    killed = Killed(home, dice)
    try:
        # No connection lasts until it has carried a message.
        with connect(Place(home), "--wait", "3600", variables=variables) as process:
            client = RawClient(process, dice, "legacy", 0.002)
            client.open()
            calling = threading.Thread(
                target=lambda: [client.call(number) for number in range(1, CALLS + 1)], daemon=True
            )
            calling.start()
            for _ in range(max(4, CALLS // 20)):
                killed.kill(dice.random() * 0.006)
            calling.join(PATIENCE)
            assert client.end() == 0
            errors = process.stderr
    finally:
        killed.close()
    faults = client.history.judge(executed(home))
    assert not faults, (SEED, faults[:10], errors[-2000:])


@pytest.mark.anyio
@SDK_WARNINGS[0]
@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("variables", [{}, NAP], ids=["awake", "napping"])
async def test_official_clients_survive_kills_of_the_daemon(home, mode, variables):
    dice = random.Random(SEED)
    killed = await trio.to_thread.run_sync(Killed, home, dice)
    server = StdioServerParameters(
        command=str(PROGRAM), args=["connect", "one"], env={**Place(home).variables, **variables}
    )
    outcomes = {}
    numbers = iter(range(1, CALLS + 1))

    async def use(client):
        for number in numbers:
            assert number not in outcomes
            try:
                size = MEBIBYTE if number % 10 == 0 else 0
                result = await client.call_tool("quick", {"number": number, "size": size})
                outcomes[number] = json.loads(result.content[0].text)["number"]
            except MCPError as fault:
                outcomes[number] = str(fault)
            await trio.sleep(dice.random() * 0.04)

    async def kill():
        with trio.CancelScope(shield=True):
            while len(outcomes) < CALLS - AT_ONCE:
                await trio.to_thread.run_sync(killed.kill, dice.random() * 0.5)

    try:
        with trio.fail_after(180 + CALLS / 5):
            async with Client(stdio_client(server), mode=mode) as client, trio.open_nursery() as nursery:
                nursery.start_soon(kill)
                for _ in range(AT_ONCE):
                    nursery.start_soon(use, client)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(killed.close)
    assert sorted(outcomes) == list(range(1, CALLS + 1))
    errors = {number: outcome for number, outcome in outcomes.items() if outcome != number}
    assert not [error for error in errors.values() if not any(text in str(error) for text in KNOWN)]
    counts = executed(home)
    assert max(counts.values()) == 1
    assert all(counts[number] == 1 for number in outcomes.keys() - errors.keys())
    assert killed.kills
