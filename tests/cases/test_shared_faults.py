"""Faults around a process that eight sessions and two stateless clients share: kills, the end of the daemon, reloads, bad clients.

Each call ends once, each message reaches its own client only, and clients continue after the fault.
"""

import json
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from urllib.parse import urljoin

import pytest
import trio

from ..support.daemon_process import Daemon, write_config
from ..support.disorderly import LANES, SERVER, parties
from ..support.handshake import INITIALIZED, initialize_request
from ..support.raw_http import connect

pytestmark = pytest.mark.anyio

# Limit on each wait (seconds).
TIMEOUT = 20


def server(seed=1, **keys):
    return {"shared": {"command": [*SERVER, str(seed)], "share": "server", **keys}}


@pytest.fixture
def running(tmp_path):
    write_config(tmp_path / "config.toml", server(limits={"unsent_bytes": 1024 * 1024}))
    with Daemon(tmp_path) as found:
        yield found


@contextmanager
def first_fault():
    """Raise the first exception of nested groups, so that a failed test shows its own."""
    try:
        yield
    except BaseExceptionGroup as group:
        fault = group
        while isinstance(fault, BaseExceptionGroup):
            fault = fault.exceptions[0]
        raise fault from None


@asynccontextmanager
async def connected(running, count=8, beside=2):
    everyone = parties(count, beside)
    with first_fault():
        async with AsyncExitStack() as stack:
            for party in everyone:
                party.may_fail = True
                await stack.enter_async_context(party.connected(running, "shared"))
                # A session without a level may get every line; `Party` counts those below its level as mistakes.
                await party.set_level()
            yield everyone


def check(everyone):
    mistakes = [mistake for party in everyone for mistake in party.mistakes]
    assert not mistakes, mistakes[:5]
    assert not any(party.calls or party.by_token for party in everyone)


async def begin_all(everyone, name="long", **arguments):
    """Begin a call on each lane of all clients, with equal progress tokens."""
    return [
        (party, (await party.work(f"{name} {lane}", **arguments))[1])
        for party in everyone
        for lane in range(LANES)
    ]


async def end_all(begun):
    """Wait for the end of the calls. Return the texts of those that have failed."""
    for party, call in begun:
        await party.end(call)
        party.check(call)
    return [error["message"] for party in {party for party, _ in begun} for error in party.errors]


async def wait_until(condition):
    with trio.fail_after(TIMEOUT):
        while not condition():
            await trio.sleep(0.01)


async def test_a_process_that_is_killed_is_replaced_while_all_clients_call(running):
    async with connected(running) as everyone:
        pids = [(await everyone[0].state())["pid"]]
        async with trio.open_nursery() as nursery:
            for party in everyone:
                for lane in range(LANES):
                    nursery.start_soon(party.lane, lane, 25)
            for round_ in range(1, 4):
                await wait_until(lambda: sum(party.finished for party in everyone) > 150 * round_)  # noqa: B023
                os.kill(pids[-1], signal.SIGKILL)
                pids.append((await everyone[round_].state()).get("pid"))
                while pids[-1] is None:
                    pids[-1] = (await everyone[round_].state()).get("pid")
        states = [await party.state() for party in everyone]
        check(everyone)
        errors = [error["message"] for party in everyone for error in party.errors]
    assert len(set(pids)) == len(pids)
    assert {state["pid"] for state in states} == {pids[-1]}
    assert sum(party.finished for party in everyone) == len(everyone) * LANES * 25
    assert errors
    assert all("signal" in error or "exited" in error or "SIGKILL" in error for error in errors), set(errors)


async def test_the_calls_in_flight_end_with_their_answers_when_the_daemon_is_terminated(running):
    async with connected(running) as everyone:
        begun = await begin_all(everyone, seconds=0.5)
        await everyone[0].state()
        codes = []

        async def stop():
            codes.append(await trio.to_thread.run_sync(running.stop))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            assert not await end_all(begun)
        check(everyone)
    assert codes == [0]


async def test_the_calls_in_flight_end_with_their_answers_when_the_server_is_changed(running):
    async with connected(running) as everyone:
        before = await everyone[0].state()
        begun = await begin_all(everyone, seconds=0.5)
        await everyone[0].state()
        write_config(running.config, server(2))
        await trio.to_thread.run_sync(running.reload)
        assert not await end_all(begun)
        check(everyone)
    async with connected(running) as everyone:
        assert not await end_all(await begin_all(everyone))
        after = await everyone[-1].state()
        check(everyone)
    assert before["pid"] != after["pid"]


async def test_all_clients_continue_when_the_server_is_restarted(running):
    async with connected(running) as everyone:
        before = await everyone[0].state()
        begun = await begin_all(everyone, seconds=0.5)
        await everyone[0].state()
        await trio.to_thread.run_sync(running.restart, "shared")
        more = await begin_all(everyone, "short", seconds=0)
        assert not await end_all(more)
        assert not await end_all(begun)
        pids = {(await party.state())["pid"] for party in everyone}
        check(everyone)
    assert len(pids) == 1
    assert before["pid"] not in pids


async def test_a_client_that_disconnects_in_the_middle_of_its_calls_disturbs_no_other(running):
    async with connected(running) as everyone:
        async with connected(running, 6, 2) as leaving:
            for party in leaving:
                await party.work("left", seconds=TIMEOUT)
                await party.work("asked", asks=party.asks)
            assert not await end_all(await begin_all(everyone))
        # Whatever the server still sends for calls of clients that have left reaches no client.
        async with trio.open_nursery() as nursery:
            for party in everyone:
                for lane in range(LANES):
                    nursery.start_soon(party.lane, lane, 5)
        check(everyone)
        with trio.fail_after(TIMEOUT):
            while (await everyone[0].state())["waiting"]:
                await trio.sleep(0.01)
        assert not any(party.mistakes for party in leaving)


async def test_a_client_that_never_reads_delays_no_other(running):
    path = "/servers/shared"
    async with connect(running) as stream, connect(running) as posts, connected(running) as everyone:
        await stream.send("GET", f"{path}/sse", {"Accept": "text/event-stream"})
        await stream.head()
        target = urljoin(f"{path}/sse", (await stream.event()).data)

        async def post(message):
            body = json.dumps(message).encode()
            return await posts.request("POST", target, {"Content-Type": "application/json"}, body)

        await post(initialize_request())
        await post(INITIALIZED)
        arguments = {"of": "no client", "word": "unread", "size": 100_000}
        params = {"name": "work", "arguments": arguments}
        # The answers are ten times `unsent_bytes`.
        for number in range(1, 100):
            await post({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
        with trio.fail_after(TIMEOUT):
            async with trio.open_nursery() as nursery:
                for party in everyone:
                    for lane in range(LANES):
                        nursery.start_soon(party.lane, lane, 5)
        check(everyone)
        assert not any(party.errors for party in everyone)
