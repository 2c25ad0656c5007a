import socket

import pytest
import trio
import trio.testing

from mcpbridged.transports import poller as poller_module
from mcpbridged.transports import turns
from mcpbridged.transports.poller import Poller, WakeUpSlot
from mcpbridged.transports.shares import SLICE

pytestmark = pytest.mark.anyio


def unexpected(fault):
    raise AssertionError from fault


async def test_a_descriptor_gets_one_turn_in_a_round_however_many_edges_it_has():
    """Otherwise each edge would add a turn that is never removed, and a flood would grow by itself."""
    poller, calls = Poller(), []
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def ready(_left):
            calls.append(trio.current_time())
            poller.call_again(ours.fileno())

        poller.register(ours.fileno(), ready, unexpected)
        async with trio.open_nursery() as nursery:
            await nursery.start(poller.run)
            for _ in range(50):
                theirs.send(b"x")
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        poller.unregister(ours.fileno())
        poller.close()
    assert 10 < len(calls) < 110


async def test_any_task_may_request_another_turn_while_no_edge_comes():
    poller, called = Poller(), trio.Event()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        poller.register(ours.fileno(), lambda _left: called.set(), unexpected)
        async with trio.open_nursery() as nursery:
            await nursery.start(poller.run)
            await trio.testing.wait_all_tasks_blocked()
            poller.call_again(ours.fileno())
            with trio.fail_after(5):
                await called.wait()
            nursery.cancel_scope.cancel()
        poller.unregister(ours.fileno())
        poller.close()


async def test_after_several_edges_the_epoll_is_read_again_before_trio_watches_it(monkeypatch):
    """Watching a descriptor takes Trio two system calls, and under load more edges are there already."""
    poller, rounds, waits = Poller(), [], 0
    wait_readable = trio.lowlevel.wait_readable

    async def counted(descriptor):
        nonlocal waits
        waits += 1
        await wait_readable(descriptor)

    monkeypatch.setattr(trio.lowlevel, "wait_readable", counted)
    pairs = [socket.socketpair() for _ in range(2)]

    def ready(_left):
        if len(rounds) < 8:
            rounds.append(trio.current_time())
            for _, theirs in pairs:
                theirs.send(b"x")

    for ours, theirs in pairs:
        poller.register(ours.fileno(), ready, unexpected)
        theirs.send(b"x")
    async with trio.open_nursery() as nursery:
        await nursery.start(poller.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    for ours, theirs in pairs:
        poller.unregister(ours.fileno())
        ours.close()
        theirs.close()
    poller.close()
    assert len(rounds) == 8
    assert waits == 2


@pytest.mark.parametrize("by_edge", [True, False])
async def test_an_exception_ends_the_calls_for_its_descriptor_only(by_edge):
    poller, faults, calls, called = Poller(), [], [], trio.Event()
    pairs = [socket.socketpair() for _ in range(2)]
    (broken, to_broken), (good, to_good) = pairs

    def fail(_left):
        calls.append("broken")
        if by_edge or len(calls) > 1:
            raise RuntimeError("a bug of ours")
        poller.call_again(broken.fileno())

    poller.register(broken.fileno(), fail, faults.append)
    poller.register(good.fileno(), lambda _left: called.set(), unexpected)
    async with trio.open_nursery() as nursery:
        await nursery.start(poller.run)
        to_broken.send(b"x")
        await trio.testing.wait_all_tasks_blocked()
        assert [str(fault) for fault in faults] == ["a bug of ours"]
        count = len(calls)
        to_broken.send(b"x")
        poller.call_again(broken.fileno())
        to_good.send(b"x")
        with trio.fail_after(5):
            await called.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert len(calls) == count
        nursery.cancel_scope.cancel()
    poller.unregister(broken.fileno())
    poller.unregister(good.fileno())
    for pair in pairs:
        for sock in pair:
            sock.close()
    poller.close()
    assert len(faults) == 1


async def test_a_function_may_unregister_itself_before_it_fails():
    poller, faults = Poller(), []
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def fail(_left):
            poller.unregister(ours.fileno())
            raise RuntimeError("a bug of ours")

        poller.register(ours.fileno(), fail, faults.append)
        theirs.send(b"x")
        async with trio.open_nursery() as nursery:
            await nursery.start(poller.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    poller.close()
    assert faults == []


async def test_a_function_for_the_end_of_a_round_is_called_once_after_those_of_all_descriptors():
    poller, calls = Poller(), []
    pairs = [socket.socketpair() for _ in range(3)]

    def ready(_left):
        assert poller.round
        poller.call_at_end(lambda: calls.append(("end", poller.round)), unexpected)
        calls.append(("ready", poller.round))

    for ours, theirs in pairs:
        poller.register(ours.fileno(), ready, unexpected)
        theirs.send(b"x")
    poller.call_again(pairs[0][0].fileno())
    async with trio.open_nursery() as nursery:
        await nursery.start(poller.run)
        await trio.testing.wait_all_tasks_blocked()
        assert calls == [("ready", 1)] * 3 + [("end", 0)] * 3
        poller.call_again(pairs[0][0].fileno())
        await trio.testing.wait_all_tasks_blocked()
        assert [name for name, _ in calls[6:]] == ["ready", "end"]
        nursery.cancel_scope.cancel()
    for pair in pairs:
        poller.unregister(pair[0].fileno())
        for sock in pair:
            sock.close()
    poller.close()


async def test_an_exception_at_the_end_of_a_round_is_passed_on_and_ends_no_other_call():
    poller, faults, calls = Poller(), [], []
    ours, theirs = socket.socketpair()

    def fail():
        calls.append("broken")
        raise RuntimeError("a bug of ours")

    def ready(_left):
        poller.call_at_end(fail, faults.append)
        poller.call_at_end(lambda: calls.append("good"), unexpected)

    with ours, theirs:
        poller.register(ours.fileno(), ready, unexpected)
        async with trio.open_nursery() as nursery:
            await nursery.start(poller.run)
            for count in (1, 2):
                theirs.send(b"x")
                await trio.testing.wait_all_tasks_blocked()
                assert [str(fault) for fault in faults] == ["a bug of ours"] * count
                assert calls == ["broken", "good"] * count
            nursery.cancel_scope.cancel()
        poller.unregister(ours.fileno())
    poller.close()


class Sockets:
    """Connections of principals, which share one poller. A callback reads one byte, which takes `seconds` on a virtual clock."""

    def __init__(self, monkeypatch, seconds):
        self.poller = Poller()
        self.seconds = seconds
        self.now = 0.0
        # The principal of each byte that was read.
        self.order = []
        self.ours = {}
        self.on_byte = lambda _principal: None
        monkeypatch.setattr(poller_module.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(turns, "activity", turns.Activity())

    def connect(self, principal):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)

        def ready(_left):
            assert ours.recv(1)
            self.now += self.seconds
            self.order.append(principal)
            self.on_byte(principal)
            # As a connection with more input than it reads in one turn.
            try:
                ours.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return
            self.poller.call_again(ours.fileno())

        self.ours[ours] = theirs
        self.poller.register(ours.fileno(), ready, unexpected, principal)
        return theirs

    def close(self):
        for ours, theirs in self.ours.items():
            self.poller.unregister(ours.fileno())
            ours.close()
            theirs.close()
        self.poller.close()


@pytest.fixture
def sockets(monkeypatch):
    sockets = Sockets(monkeypatch, SLICE / 3)
    yield sockets
    sockets.close()


async def make_active(sockets, principals):
    """Let several principals be active, and forget the order of that."""
    for principal in principals:
        sockets.connect(principal).send(b"x")
        await trio.testing.wait_all_tasks_blocked()
    assert turns.activity.several
    sockets.order.clear()


async def test_a_quiet_client_is_served_after_one_slice_of_a_flood_on_many_connections(sockets):
    """The flood has 32 connections with 50 messages each. The quiet client sends when some of them were handled."""
    flood, quiet = [sockets.connect("flood") for _ in range(32)], sockets.connect("quiet")
    sent_at = []

    def on_byte(principal):
        if principal == "flood" and len(sockets.order) % 107 == 0 and len(sent_at) < 10:
            sent_at.append(len(sockets.order))
            quiet.send(b"q")

    async with trio.open_nursery() as nursery:
        await nursery.start(sockets.poller.run)
        await make_active(sockets, ["flood", "quiet"])
        sockets.on_byte = on_byte
        for theirs in flood:
            theirs.send(b"f" * 50)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert len(sent_at) == 10
    assert sockets.order.count("flood") == 1600
    for at in sent_at:
        # At most the rest of a slice, which has three messages.
        assert "quiet" in sockets.order[at : at + 3]


async def test_the_connections_of_one_principal_have_one_share(sockets):
    """Principals get the same, however many connections each of them has."""
    counts = {"one": 1, "ten": 10, "thirty": 30}
    connections = {name: [sockets.connect(name) for _ in range(count)] for name, count in counts.items()}
    async with trio.open_nursery() as nursery:
        await nursery.start(sockets.poller.run)
        await make_active(sockets, counts)
        for name, peers in connections.items():
            for theirs in peers:
                theirs.send(b"x" * (600 // counts[name]))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    early = sockets.order[:300]
    # A single connection has one turn in each step, which is why it gets less than it could have.
    assert early.count("one") > 30
    assert abs(early.count("ten") - early.count("thirty")) < 30
    assert len(sockets.order) == 1800


async def test_tasks_that_are_woken_count_as_time_of_their_principal(sockets):
    """A flood whose messages are handled by tasks must not run all of them in one step of the event loop."""
    sockets.seconds = 0.0
    flood, quiet = [sockets.connect("flood") for _ in range(30)], sockets.connect("quiet")
    slots, order = [WakeUpSlot() for _ in flood], sockets.order

    async def work(slot):
        await slot.wait()
        order.append("task")

    def on_byte(principal):
        if principal == "flood":
            slots[order.count("flood") - 1].wake()

    async with trio.open_nursery() as nursery:
        await nursery.start(sockets.poller.run)
        await make_active(sockets, ["flood", "quiet"])
        for slot in slots:
            nursery.start_soon(work, slot)
        await trio.testing.wait_all_tasks_blocked()
        sockets.on_byte = on_byte
        for theirs in (*flood, quiet):
            theirs.send(b"x")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert order.count("task") == 30
    assert order.index("quiet") <= 6
    # Six in one step, and as many in the next one, because Trio runs the tasks of a turn in any order.
    assert max(order[:at].count("flood") - order[:at].count("task") for at in range(len(order))) <= 12


async def test_a_descriptor_can_be_assigned_to_another_principal(sockets):
    theirs, ours = sockets.connect(""), next(iter(sockets.ours))
    poller = sockets.poller
    async with trio.open_nursery() as nursery:
        await nursery.start(poller.run)
        await make_active(sockets, ["a", "b"])
        share = poller._share_of[ours.fileno()]
        poller._shares.add(share, ours.fileno(), left=True)
        poller.assign(ours.fileno(), "a")
        assert not share.ready
        named = poller._share_of[ours.fileno()]
        assert (named.name, named.ready) == ("a", {ours.fileno(): True})
        assert poller._shares.named("a") is named
        theirs.send(b"x")
        sockets.poller.call_again(ours.fileno())
        await trio.testing.wait_all_tasks_blocked()
        poller.assign(ours.fileno(), None)
        assert poller._share_of[ours.fileno()].name == ""
        nursery.cancel_scope.cancel()
    assert sockets.order == [""]
    # Nothing happens for a descriptor that is not registered.
    poller.assign(10_000, "a")


async def test_a_descriptor_that_is_unregistered_in_a_slice_is_not_called(sockets):
    peers = [sockets.connect("a") for _ in range(3)]
    ours = list(sockets.ours)

    def on_byte(_principal):
        for sock in ours[1:]:
            sockets.poller.unregister(sock.fileno())

    async with trio.open_nursery() as nursery:
        await nursery.start(sockets.poller.run)
        await make_active(sockets, ["a", "b"])
        sockets.on_byte = on_byte
        for theirs in peers:
            theirs.send(b"x")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert sockets.order == ["a"]


async def test_an_exception_in_a_slice_ends_the_calls_for_its_descriptor_only(sockets):
    faults, fails = [], []
    peers = [sockets.connect("a") for _ in range(3)]
    broken, theirs = socket.socketpair()
    sockets.ours[broken] = theirs

    def fail(_left):
        fails.append(True)
        raise RuntimeError("a bug of ours")

    sockets.poller.register(broken.fileno(), fail, faults.append, "a")
    async with trio.open_nursery() as nursery:
        await nursery.start(sockets.poller.run)
        await make_active(sockets, ["a", "b"])
        for _ in range(2):
            for peer in (theirs, *peers):
                peer.send(b"x")
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert ([str(fault) for fault in faults], fails) == (["a bug of ours"], [True])
    assert sockets.order == ["a"] * 6
