"""The first response, the silence or the exit of a process, and its effect on log, eras and clients."""

from types import SimpleNamespace

import pytest

from mcpbridged.bridge.core.client_environment import NOTHING, ClientEnvironment
from mcpbridged.bridge.core.start_errors import Output
from mcpbridged.bridge.runtime.start_monitor import StartMonitor
from mcpbridged.transports.options import Launch
from mcpbridged.transports.server_io import Exit
from mcpbridged.validators.jsonrpc import Response
from mcpbridged.validators.limits import Limits

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("autojump_clock")]
OPENED = Response(b"0", b"{}", b"")
REFUSED = Response(b"0", b"", b'{"code":-32602,"message":"no"}')


class Owner:
    """A session of one principal."""

    def __init__(self, *, principals=("alice",), unresolved=False, variables=(), modern=False):
        self.principal = principals[0]
        self.principals = principals
        self.client_environment = ClientEnvironment(variables) if variables else NOTHING
        self.era_unresolved = unresolved
        self.speaks_modern = modern
        self.is_ordinary = True
        self.exits = []

    def on_exit(self, text, data):
        self.exits.append((text, data))

    def on_line(self, _line):
        """Drop the line."""


class World:
    """A monitor and all that it records."""

    def __init__(self):
        self.failures = 0
        self.presumed = 0
        self.opened = []
        self.faults = []
        self.succeeded = 0
        self.infos = []
        self.probe = None
        self.another = False
        self.known = {"legacy": None, "modern": None}
        self.current = None
        self.closed = ""
        self.errors = 0
        self.died = []
        cache = SimpleNamespace(on_start_failed=self._presume)
        facts = SimpleNamespace(
            cache=cache,
            known=self.known,
            opened=lambda *, legacy: self.opened.append(legacy),
            remember=lambda: None,
        )
        history = SimpleNamespace(
            may_show=lambda principals: len(principals) <= 1,
            on_start_failed=lambda fault, principals=(): self.faults.append((fault.reason, principals)),
            on_start_succeeded=self._succeed,
            on_exit=lambda pid, _exit, correlation_id="": self.died.append((pid, correlation_id)),
        )
        self.log = SimpleNamespace(
            history=history,
            buffer=SimpleNamespace(tail=lambda pid: ["its stderr"]),
            info=lambda event, **_: self.infos.append(event),
            errors=0,
        )
        processes = SimpleNamespace(
            another_serves=lambda _child: self.another,
            output=lambda _process: Output((), ("its stderr",)),
            current=lambda _owner: self.current,
        )
        breaker = SimpleNamespace(on_failure=self._fail)
        common = SimpleNamespace(
            checks=SimpleNamespace(config=SimpleNamespace(limits=Limits(), launch=Launch((), {}))),
            breakers=SimpleNamespace(find=lambda *_: breaker),
            processes=processes,
            facts=facts,
            log=self.log,
            tasks=SimpleNamespace(closed=""),
        )
        self.monitor = StartMonitor(common, SimpleNamespace(probe_beside=lambda _owner: self.probe))

    def _presume(self):
        self.presumed += 1

    def _fail(self, _now):
        self.failures += 1

    def _succeed(self):
        self.succeeded += 1

    def process(self, owner, *, over=False):
        child = SimpleNamespace(pid=7, ended=False, active_time=lambda now: now)
        startup = SimpleNamespace(over=over, refused=False)
        self.current = SimpleNamespace(child=child, startup=startup, owner=owner, started=0.0, liveness=None)
        return self.current


async def test_a_first_response_opens_the_era_and_begins_the_pings():
    world = World()
    process = world.process(Owner())
    world.monitor.on_first_response(process, OPENED)
    assert (world.succeeded, world.opened) == (1, [True])
    assert process.liveness is not None


async def test_a_refusal_of_initialize_is_a_failed_start():
    world = World()
    process = world.process(Owner())
    world.monitor.on_first_response(process, REFUSED)
    assert process.startup.refused
    assert world.faults == [("refused to initialize: no", ("alice",))]
    assert (world.succeeded, process.liveness) == (0, None)


async def test_a_refusal_is_the_fault_of_the_client_where_another_process_serves():
    world = World()
    world.another = True
    world.monitor.on_first_response(world.process(Owner()), REFUSED)
    assert world.faults == []


async def test_a_failed_start_waits_until_the_era_is_known():
    for decide, faults in (("resolve", [("refused to initialize: no", ("alice",))]), ("drop", [])):
        world = World()
        owner = Owner(unresolved=True)
        world.monitor.on_first_response(world.process(owner), REFUSED)
        assert world.faults == []
        getattr(world.monitor, decide)(owner)
        world.monitor.resolve(owner)
        assert world.faults == faults


async def test_the_variables_of_one_client_show_nothing_to_others():
    world = World()
    world.monitor.on_first_response(world.process(Owner(variables=(("KEY", "x"),))), REFUSED)
    assert (world.faults, world.presumed) == ([], 1)


@pytest.mark.parametrize(
    ("principals", "shown"), [(("alice",), ["its stderr"]), (("alice", "bob"), [])], ids=["alone", "shared"]
)
@pytest.mark.parametrize("over", [True, False])
async def test_the_output_of_a_shared_process_is_sent_to_no_client(principals, shown, over):
    world = World()
    owner = Owner(principals=principals)
    world.monitor.on_exit(world.process(owner, over=over), owner, Exit(code=3))
    [(text, data)] = owner.exits
    assert text.startswith("the server exited with code 3")
    assert (data["code"], data["stderr"]) == (3, shown)
    assert world.died[0][1] == data["correlationId"] != ""
    assert ("its stderr" in text) is (bool(shown) and not over)
    assert world.failures == 1


async def test_an_exit_beside_a_probe_counts_no_failure():
    world = World()
    settled = []
    world.probe = SimpleNamespace(settled=SimpleNamespace(set=lambda: settled.append(1)))
    owner = Owner()
    world.monitor.on_exit(world.process(owner), owner, Exit(code=3))
    assert owner.exits == [("the server exited with code 3", {"reason": "exited"})]
    assert (world.failures, settled, world.died) == (0, [1], [])


async def test_a_start_that_takes_too_long_has_the_output_for_its_client():
    world = World()
    owner = Owner()
    world.process(owner)
    text, data = world.monitor.on_start_timeout(owner, "the server has not answered for 60 s")
    assert text.startswith("the server has not answered for 60 s; it printed 'its stderr'")
    assert (data["reason"], data["stderr"]) == ("not started", ["its stderr"])
    assert world.presumed == 1


@pytest.mark.parametrize(("waited", "counted"), [(1.9, False), (2.0, True)])
async def test_a_client_that_leaves_counts_only_after_a_wait(waited, counted):
    world = World()
    owner = Owner()
    world.process(owner)
    world.monitor.on_client_left(owner, waited)
    assert bool(world.faults) is counted
    assert world.log.errors == counted


@pytest.mark.parametrize("why", ["no process", "answered", "ended"])
async def test_a_client_that_leaves_a_process_that_is_not_silent_counts_nothing(why):
    world = World()
    owner = Owner()
    process = world.process(owner, over=why == "answered")
    process.child.ended = why == "ended"
    if why == "no process":
        world.current = None
    world.monitor.on_client_left(owner, 60)
    assert world.faults == []


@pytest.mark.parametrize(("seconds", "faults"), [(9, [("exited with code 1", ())]), (10, [])])
async def test_a_standby_that_exits_soon_has_failed_to_start(autojump_clock, seconds, faults):
    world = World()
    process = world.process(None)
    autojump_clock.jump(seconds)
    world.monitor.on_standby_exit(process, Exit(code=1))
    assert (world.failures, world.faults) == (1, faults)
