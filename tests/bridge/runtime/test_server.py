"""A server with real processes, for behaviour that is not visible from outside of the daemon."""

import gc
import io
import json
import os
import signal
import sys
import uuid
import weakref
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from mcpbridged.bridge.config.settings import ServerConfig
from mcpbridged.bridge.daemon.supervisor import Supervisor
from mcpbridged.bridge.log import LineLog
from mcpbridged.bridge.runtime.common_parts import DaemonParts
from mcpbridged.bridge.runtime.server import LocalServer
from mcpbridged.bridge.runtime.server_log import ServerLog
from mcpbridged.transports import client_process
from mcpbridged.transports.client_process import stream
from mcpbridged.transports.endpoints.client_messages import ClientMessages
from mcpbridged.transports.options import Launch
from mcpbridged.transports.poller import Poller
from mcpbridged.transports.ports import ModernRequest
from mcpbridged.transports.process import child as child_module
from mcpbridged.transports.process.spawner import Spawner
from mcpbridged.transports.send_queue import SendQueue
from mcpbridged.validators.jsonrpc import Notification, Request
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection
from mcpbridged.validators.stateless_request import read_envelope

from ...support.children import alive

pytestmark = pytest.mark.anyio
INITIALIZE = b'{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}'
MARK = uuid.uuid4().hex
DEAF = "import sys\nfor line in sys.stdin: pass"


MODERN = """
import json, sys, time
time.sleep(0.3)
for line in sys.stdin:
    result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}}
    print(json.dumps({"jsonrpc": "2.0", "id": json.loads(line)["id"], "result": result}), flush=True)
"""
# Speaks the modern era only, and exits after another first request.
STRICT = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    answer = {"jsonrpc": "2.0", "id": asked["id"]}
    if asked["method"] == "initialize":
        print(json.dumps(answer | {"error": {"code": -32601, "message": "no"}}), flush=True)
        sys.exit(1)
    answer["result"] = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
    print(json.dumps(answer), flush=True)
"""
# Ends each subscription as soon as it has begun.
RESTLESS = """
import json, sys
result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {"listChanged": True}}}
for line in sys.stdin:
    asked = json.loads(line)
    if asked["method"] == "subscriptions/listen":
        meta = {"io.modelcontextprotocol/subscriptionId": asked["id"]}
        params = {"notifications": asked["params"]["notifications"], "_meta": meta}
        print(json.dumps({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params}))
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""
# Answers `initialize`, and reads nothing after it.
SATED = """
import json, sys, time
asked = json.loads(sys.stdin.readline())
print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": {"protocolVersion": "2025-11-25"}}), flush=True)
time.sleep(1000)
"""


@asynccontextmanager
async def running(log, *argv, **more):
    """A server whose sessions bring KEY in the header x-key."""
    spawner, poller = Spawner.start(), Poller()
    launch = Launch(argv or (sys.executable, "-c", DEAF), {"PATH": os.environ["PATH"]})
    given = {"era": "legacy", "spare": 1, "from_headers": {"KEY": "x-key"}, **more}
    config = ServerConfig("one", launch, **given)
    server = LocalServer(config, DaemonParts(spawner, poller), ServerLog("one", log))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.run)
            await nursery.start(server.run)
            with trio.fail_after(20):
                yield server
                await server.close("the test is over")
                await server.emptied()
            nursery.cancel_scope.cancel()
    finally:
        poller.close()
        spawner.close()


async def emptied_but_for_spares(server):
    while server._parts.common.processes.owners:
        await server._parts.common.processes.changed.park()


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
        assert log.plain("the first key") == "[secret]"  # its process is about to exit, and may still write
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
        server._parts.common.breakers.find("").window = 1.0
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
        starts = server.server_log.history.starts
        while server.failing:
            await trio.sleep(0.01)
        told.clear()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(begin)
        assert server.server_log.history.starts == starts + 1
        assert told == [(503, "the server ended unexpectedly 5 times within 1 s")] * 19


def test_a_configuration_that_wants_another_header_is_another_one():
    launch = Launch(("x",), {})
    one = ServerConfig("one", launch, from_headers={"KEY": "x-key"})
    assert one != attrs.evolve(one, from_headers={"KEY": "x-other"})


class Pipe(SendQueue):
    """The one stream of a session, and what has come on it."""

    def __init__(self):
        super().__init__(Limits())
        self.answers = {}
        self.shortcut = self.took
        self.eager = True
        self._more = trio.Event()

    def took(self, text):
        message = json.loads(text)
        self.answers.setdefault(message["id"], []).append(message)
        self._more.set()
        return True

    async def answer(self, number):
        while number not in self.answers:
            self._more = trio.Event()
            await self._more.wait()
        [answer] = self.answers[number]
        return answer


async def begun(server):
    pipe = Pipe()
    session = await server.open("owner", {}, pipe)
    session.receive(Request(b"1", "initialize", INITIALIZE), None)
    assert (await pipe.answer(1))["result"]["protocolVersion"] == "2025-11-25"
    return session, pipe


async def test_a_call_beyond_the_room_of_its_server_fails_once_and_affects_no_other_client():
    log = LineLog(out=(lines := io.StringIO()))
    limits = Limits(stdin_bytes=1000, stdin_stall_seconds=1000, call_idle_seconds=1)
    async with running(log, sys.executable, "-c", SATED, spare=0, limits=limits) as server:
        other, _ = await begun(server)
        session, pipe = await begun(server)
        large = b'{"name":"t","arguments":{"x":"%b"}}' % (b"x" * 1_000_000)
        session.receive(Request(b"2", "tools/call", large), None)
        session.receive(Request(b"3", "tools/call", b'{"name":"t"}'), None)
        refused = await pipe.answer(3)
        assert "the server does not read" in refused["error"]["message"]
        # No cancellation can be sent to the server, because it reads nothing.
        late = await pipe.answer(2)
        assert "made no progress for 1 s" in late["error"]["message"]
        assert not session.calling
        assert (session.ended, other.ended) == (False, False)
        session.end("the test ends it")
        assert {number: len(answers) for number, answers in pipe.answers.items()} == {1: 1, 2: 1, 3: 1}
    assert "internal_error" not in lines.getvalue()


def fail(*_arguments):
    raise RuntimeError("a fault of ours")


PREFIX = "io.modelcontextprotocol/"
STATELESS = json.dumps(
    {"_meta": {f"{PREFIX}protocolVersion": "2026-07-28", f"{PREFIX}clientCapabilities": {}}}
).encode()


async def test_a_connection_keeps_no_upstream_that_is_over():
    log = LineLog(out=io.StringIO())
    async with running(log, sys.executable, "-c", MODERN, spare=0, era="modern", from_headers={}) as server:
        pipe = Pipe()
        connection = ClientMessages(server, "owner", {}, pipe, Limits(), log, client_process.stream())
        for number in range(1, 5):
            rest = connection._dispatch(Request(b"%d" % number, "server/discover", STATELESS))
            if rest is not None:
                await rest()
            await pipe.answer(number)
            [upstream] = server._places.upstreams
            server._parts.end(upstream, "it is over")
        assert list(connection._upstreams) == [upstream]


async def test_a_connection_with_requests_that_were_sent_at_once_is_closed_with_its_server():
    log, caller = LineLog(out=io.StringIO()), stream()
    request = Request(b"1", "server/discover", STATELESS)
    asked = ModernRequest(request, read_envelope(request.method, STATELESS, Limits()), None)
    async with running(log, sys.executable, "-c", MODERN, spare=0, era="modern", from_headers={}) as server:
        pipes = [Pipe(), Pipe()]
        for pipe in pipes:
            # The server closes the pipes that `start_request` has seen.
            assert server.start_request_now("owner", asked, pipe, caller, pipe=True) is None
            upstream = await server.start_request("owner", {}, asked, pipe, pipe=True, caller=caller)
            await pipe.answer(1)
            pipe.answers.clear()
            assert server.start_request_now("owner", asked, pipe, caller, pipe=True) is upstream
            await pipe.answer(1)
        await server.close("it is over")
        assert [(pipe.state, pipe.close_reason) for pipe in pipes] == [("closed", "it is over")] * 2


@pytest.mark.parametrize(
    ("share", "processes"), [("", 1), ("session", 1), ("principal", 1), ("server", 1), ("client", 2)]
)
async def test_clients_share_a_modern_server_unless_each_is_to_have_its_own(share, processes):
    asked = ModernRequest(
        Request(b"1", "server/discover", STATELESS),
        read_envelope("server/discover", STATELESS, Limits()),
        None,
    )
    log = LineLog(out=io.StringIO())
    async with running(
        log, sys.executable, "-c", MODERN, spare=0, era="modern", from_headers={}, share=share
    ) as server:
        callers = [stream(), stream()]
        for caller in (*callers, *callers):
            pipe = Pipe()
            await server.start_request("owner", {}, asked, pipe, pipe=True, caller=caller)
            await pipe.answer(1)
        assert len(server.pids) == processes
        callers[0].end()
        await trio.testing.wait_all_tasks_blocked()
        assert server.sessions == 1


async def test_a_client_that_disconnects_during_the_probe_costs_no_other_that_waits():
    request = Request(b"1", "server/discover", STATELESS)
    asked = ModernRequest(request, read_envelope(request.method, STATELESS, Limits()), None)
    log = LineLog(out=io.StringIO())
    async with (
        running(log, sys.executable, "-c", MODERN, spare=0, era="auto", from_headers={}) as server,
        trio.open_nursery() as nursery,
    ):
        answers = []

        async def ask(scope):
            pipe = Pipe()
            with scope:
                await server.start_request("owner", {}, asked, pipe, pipe=True)
                answers.append(await pipe.answer(1))

        leaves = trio.CancelScope()
        nursery.start_soon(ask, leaves)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, trio.CancelScope())
        await trio.testing.wait_all_tasks_blocked()
        leaves.cancel()
        while not answers:
            await trio.sleep(0.01)
        assert answers[0]["result"]["supportedVersions"] == ["2026-07-28"]


@pytest.mark.parametrize("share", ["", "principal"])
async def test_a_modern_server_that_exits_at_initialize_gets_the_request_again_in_its_era(share):
    log = LineLog(out=io.StringIO())
    keys = {"spare": 0, "era": "auto", "share": share, "from_headers": {}}
    async with running(log, sys.executable, "-c", STRICT, **keys) as server:
        _, pipe = await begun(server)
        assert "tools" in (await pipe.answer(1))["result"]["capabilities"]


@pytest.mark.parametrize("share", ["", "principal"])
async def test_a_server_that_refuses_and_exits_is_reported_with_its_reason(share):
    code = STRICT.replace('asked["method"] == "initialize"', "True")
    log = LineLog(out=io.StringIO())
    keys = {"spare": 0, "era": "auto", "share": share, "from_headers": {}}
    async with running(log, sys.executable, "-c", code, **keys) as server:
        pipe = Pipe()
        session = await server.open("owner", {}, pipe)
        session.receive(Request(b"1", "initialize", INITIALIZE), None)
        assert (await pipe.answer(1))["error"]["message"] == "no"
        while not (session.ended or share):
            await trio.sleep(0.01)


async def test_no_process_starts_for_a_session_that_has_ended_before():
    log = LineLog(out=io.StringIO())
    keys = {"spare": 0, "era": "auto", "share": "principal", "from_headers": {}}
    async with running(log, sys.executable, "-c", MODERN, **keys) as server:
        session = await server.open("owner", {}, Pipe())
        session.receive(Request(b"1", "initialize", INITIALIZE), None)
        session.end("the client has left")
        while not server.eras["modern"]:
            await trio.sleep(0.01)
        await trio.testing.wait_all_tasks_blocked()
        assert not any(upstream.busy for upstream in server._places.upstreams)


async def test_no_process_starts_for_a_session_that_has_ended_during_its_wait():
    """Here the server ends each subscription at once, so the session would open the next after a pause."""
    log = LineLog(out=io.StringIO())
    keys = {"spare": 0, "era": "modern", "share": "principal", "from_headers": {}}
    async with running(log, sys.executable, "-c", RESTLESS, **keys) as server:
        due = []
        server._sessions.call_later = lambda _session, _seconds, call: due.append(call)
        session, _ = await begun(server)
        session.receive(Notification("notifications/initialized", b""), None)
        while not due:
            await trio.sleep(0.01)
        session.end("the client has left")
        for call in due:
            call()
        await trio.testing.wait_all_tasks_blocked()
        assert not any(upstream.busy for upstream in server._places.upstreams)


@pytest.mark.parametrize(
    "descriptor_of",
    [
        lambda child: child._stdout.descriptor,
        lambda child: child._stderr.descriptor,
        lambda child: child._control.fileno(),
    ],
    ids=["stdout", "stderr", "keeper"],
)
async def test_an_exception_in_a_callback_of_a_process_ends_its_session_only(descriptor_of, monkeypatch):
    # Without reports of the keeper its end is not seen.
    monkeypatch.setattr(child_module, "_KILL_SECONDS", 0.5)
    log = LineLog(out=(lines := io.StringIO()))
    async with running(log, sys.executable, "-c", SATED, spare=0) as server:
        (one, its_pipe), (other, _) = await begun(server), await begun(server)
        poller, child = server._parts.common.daemon.poller, one._process.child
        one.receive(Request(b"2", "tools/call", b'{"name":"t"}'), None)
        poller._callbacks[descriptor_of(child)] = fail
        poller.call_again(descriptor_of(child))
        assert "error" in await its_pipe.answer(2)
        while child.pid in server.pids:
            await trio.sleep(0.01)
        assert (one.ended, other.ended, server.sessions) == (True, False, 1)
        assert not alive(child.pid)
    assert lines.getvalue().count("internal_error") == 1


async def test_a_fault_of_ours_in_one_session_costs_no_other(monkeypatch):
    log = LineLog(out=(lines := io.StringIO()))
    async with running(log, sys.executable, "-c", SATED, spare=0) as server:
        (one, its_pipe), (other, _) = await begun(server), await begun(server)
        monkeypatch.setattr(one, "on_tick", fail)
        one.receive(Request(b"2", "tools/call", b'{"name":"t"}'), None)
        assert "an internal error" in (await its_pipe.answer(2))["error"]["message"]
        assert (one.ended, other.ended, server.sessions) == (True, False, 1)
    assert lines.getvalue().count("internal_error") >= 1


@asynccontextmanager
async def fleet_of(*argv, **more):
    """A fleet of one server, and where its processes are started."""
    spawner, poller = Spawner.start(), Poller()
    launch = Launch(argv, {"PATH": os.environ["PATH"], "MARK": MARK})
    fleet = Supervisor(spawner, poller, LineLog(out=io.StringIO()), "0")
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.run)
            await nursery.start(fleet.run)
            await fleet.apply([ServerConfig("one", launch, era="legacy", **more)])
            with trio.fail_after(20):
                yield fleet, spawner
            nursery.cancel_scope.cancel()
    finally:
        poller.close()
        spawner.close()


async def test_after_an_internal_error_of_a_server_no_task_waits_for_a_process_that_has_exited(monkeypatch):
    async with fleet_of(sys.executable, "-c", SATED, spare=1) as (fleet, _):
        [server] = fleet
        session, pipe = await begun(server)
        while len(server.pids) < 2:  # the spare
            await trio.sleep(0.01)
        session.receive(Request(b"2", "tools/call", b'{"name":"t"}'), None)
        with monkeypatch.context() as broken:
            broken.setattr(server._parts.pool, "on_tick", fail)
            assert "the session has ended" in (await pipe.answer(2))["error"]["message"]
        assert session.ended
        while True:
            try:
                again, _ = await begun(server)
            except Rejection:  # it is not served again yet
                await trio.sleep(0.1)
            else:
                break
        again.end("the test ends it")


async def test_an_ended_process_is_freed_without_the_garbage_collector():
    async with running(LineLog(out=io.StringIO()), sys.executable, "-c", SATED, spare=0) as server:
        gc.collect()
        gc.disable()
        try:
            session, queue = await server.open("owner", {}), SendQueue(Limits())
            session.receive(Request(b"1", "initialize", INITIALIZE), queue)
            await queue.wait_closed()
            found = weakref.ref(server._parts.common.processes.current(session))
            session.end("the test is over")
            await emptied_but_for_spares(server)
            await trio.testing.wait_all_tasks_blocked()
            assert found() is None
        finally:
            gc.enable()


async def test_a_process_that_is_started_for_a_server_that_is_gone_by_then_is_ended():
    async with fleet_of(sys.executable, "-c", SATED) as (fleet, spawner), trio.open_nursery() as nursery:
        [server] = fleet
        outcomes = []

        async def open_one():
            try:
                await server.open("owner", {})
            except Rejection as rejection:
                outcomes.append((rejection.status, rejection.data))

        os.kill(spawner._process.pid, signal.SIGSTOP)
        nursery.start_soon(open_one)
        await trio.testing.wait_all_tasks_blocked()
        await fleet.apply([])
        while fleet._draining:
            await trio.sleep(0.01)
        await trio.testing.wait_all_tasks_blocked()
        os.kill(spawner._process.pid, signal.SIGCONT)
        while not outcomes:
            await trio.sleep(0.01)
        assert outcomes == [(503, {"reason": "stopping"})]
        while any("time.sleep(1000)" in command for command in commands()):  # of SATED
            await trio.sleep(0.01)
        assert (server.pids, server.sessions) == ((), 0)


def commands():
    """Return the command line of every process of this POSIX session that can be read."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if MARK.encode() in path.with_name("environ").read_bytes():
                yield path.read_text()


@pytest.mark.parametrize(
    ("share", "names"), [("", ["a", "a", "b"]), ("principal", ["a", "b"]), ("server", [""])]
)
@pytest.mark.parametrize("spare", [0, 1])
async def test_the_output_of_a_process_has_the_share_of_the_principal_it_serves(share, names, spare):
    keys = {"spare": spare, "from_headers": {}, "share": share}
    async with running(LineLog(out=io.StringIO()), **keys) as server:
        if spare:
            while not server._parts.pool._standbys:
                await trio.sleep(0.01)
        for principal in ("a", "a", "b"):
            (await server.open(principal, {})).receive(
                Request(b"1", "initialize", b'{"protocolVersion":"2025-11-25"}'), SendQueue(Limits())
            )
        shares = []
        while len(shares) < len(names):
            await trio.sleep(0.01)
            served = [one.child for one in server._parts.common.processes if one.owner is not None]
            pollers = [(child._poller._share_of, child._stdout.descriptor) for child in served]
            shares = [table[pipe] for table, pipe in pollers if pipe in table]
        assert sorted(one.name for one in shares) == names
        # The share without a name is that of clients that are not known yet.
        assert served[0]._poller._shares.named("") not in shares
