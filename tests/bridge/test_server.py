"""A server with real processes, for what cannot be seen from outside of the daemon."""

import io
import os
import sys
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from mcpbridged.bridge.log import LineLog
from mcpbridged.bridge.record import Record
from mcpbridged.bridge.server import LocalServer
from mcpbridged.bridge.settings import ServerConfig
from mcpbridged.transports.readiness import Readiness
from mcpbridged.transports.spawner import Launch, Spawner
from mcpbridged.validators.rejection import Rejection

pytestmark = pytest.mark.anyio
DEAF = "import sys\nfor line in sys.stdin: pass"


@asynccontextmanager
async def running(log, *argv, spare=1):
    """A server whose sessions bring KEY in the header x-key."""
    spawner, readiness = Spawner.start(), Readiness()
    launch = Launch(argv or (sys.executable, "-c", DEAF), {"PATH": os.environ["PATH"]})
    config = ServerConfig("one", launch, era="legacy", spare=spare, from_headers={"KEY": "x-key"})
    server = LocalServer(config, spawner, readiness, Record("one", log))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(readiness.run)
            await nursery.start(server.run)
            with trio.fail_after(20):
                yield server
                await server.close("the test is over")
                await server.emptied()
            nursery.cancel_scope.cancel()
    finally:
        readiness.close()
        spawner.close()


async def emptied_but_for_spares(server):
    while len(server.pids) > 1:
        await server._one_less.park()


async def test_values_are_hidden_as_long_as_a_process_has_them():
    log = LineLog(out=io.StringIO())
    log.hide(["of the configuration"])
    before = dict(log._hidden)
    async with running(log) as server:
        headers = [{"x-key": key} for key in ("the first key", "the second key", "the first key", "short")]
        sessions = [await server.open("owner", one) for one in (*headers, {})]
        assert log.plain("the first key, the second key") == "[secret], [secret]"
        assert {"the first key", "the second key"} == log._hidden.keys() - before.keys()
        assert log._hidden["the first key"] == 2
        for session in sessions:
            session.end("the test ends it")
        assert (
            log.plain("the first key") == "[secret]"
        )  # its process is about to leave, and may say something yet
        await emptied_but_for_spares(server)
        assert dict(log._hidden) == before
    assert dict(log._hidden) == before


async def test_values_of_a_server_that_cannot_be_started_are_not_kept():
    log = LineLog(out=io.StringIO())
    async with running(log, "/no/such/program") as server:
        for _ in range(3):
            with pytest.raises(Rejection):
                await server.open("owner", {"x-key": "the first key"})
        assert not log._hidden


async def test_a_session_that_is_refused_hides_nothing():
    log = LineLog(out=io.StringIO())
    async with running(log) as server:
        with pytest.raises(Rejection, match="x-key"):
            await server.open("owner", {"x-key": "the first\tkey"})
        assert not log._hidden
        assert server.sessions == 0


async def test_a_session_that_is_given_up_while_its_process_starts_hides_nothing():
    log = LineLog(out=io.StringIO())
    async with running(log) as server:
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.open("owner", {"x-key": "the first key"})
        await emptied_but_for_spares(server)
        assert scope.cancelled_caught
        assert not log._hidden


async def test_a_crowd_before_a_server_that_dies_gets_one_process_after_a_trip():
    async with running(LineLog(out=io.StringIO()), "false", spare=0) as server:
        server._breaker.window = 1.0
        told = []

        async def begin():
            try:
                session = await server.open("owner", {})
            except Rejection as refusal:
                told.append((refusal.status, refusal.text.partition(";")[0]))
            else:
                while not session.ended:
                    await trio.sleep(0.01)

        while not server.failing:
            await begin()
        starts = server.record.starts
        while server.failing:
            await trio.sleep(0.01)
        told.clear()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(begin)
        assert server.record.starts == starts + 1
        assert told == [(503, "the server ended unexpectedly 5 times within 1 s")] * 19


def test_a_configuration_that_wants_another_header_is_another_one():
    launch = Launch(("x",), {})
    one = ServerConfig("one", launch, from_headers={"KEY": "x-key"})
    assert one != attrs.evolve(one, from_headers={"KEY": "x-other"})
