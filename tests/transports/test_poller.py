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
