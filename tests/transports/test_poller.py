import socket

import pytest
import trio
import trio.testing

from mcpbridged.transports.poller import Poller

pytestmark = pytest.mark.anyio


async def test_a_member_that_wants_more_gets_one_turn_however_many_edges_it_makes():
    """Or each edge would add a turn that is never taken back, and a flood would grow by itself."""
    readiness, calls = Poller(), []
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def ready(_left):
            calls.append(trio.current_time())
            readiness.again(ours.fileno())

        readiness.join(ours.fileno(), ready)
        async with trio.open_nursery() as nursery:
            await nursery.start(readiness.run)
            for _ in range(50):
                theirs.send(b"x")
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        readiness.leave(ours.fileno())
        readiness.close()
    assert 10 < len(calls) < 110


async def test_r7_any_task_may_ask_for_another_turn_while_nothing_happens():
    readiness, called = Poller(), trio.Event()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        readiness.join(ours.fileno(), lambda _left: called.set())
        async with trio.open_nursery() as nursery:
            await nursery.start(readiness.run)
            await trio.testing.wait_all_tasks_blocked()
            readiness.again(ours.fileno())
            with trio.fail_after(5):
                await called.wait()
            nursery.cancel_scope.cancel()
        readiness.leave(ours.fileno())
        readiness.close()
