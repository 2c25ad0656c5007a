import socket

import pytest
import trio
import trio.testing

from mcpbridged.transports.poller import Poller

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
