import socket

import pytest
import trio
import trio.testing

from mcpbridged.transports.poller import Poller

pytestmark = pytest.mark.anyio


async def test_a_descriptor_gets_one_turn_in_a_round_however_many_edges_it_has():
    """Otherwise each edge would add a turn that is never removed, and a flood would grow by itself."""
    poller, calls = Poller(), []
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def ready(_left):
            calls.append(trio.current_time())
            poller.call_again(ours.fileno())

        poller.register(ours.fileno(), ready)
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
        poller.register(ours.fileno(), lambda _left: called.set())
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
        poller.register(ours.fileno(), ready)
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
