"""The queue between a server and one client stream: each wait lets other tasks run, and returns only with progress."""

import pytest
import trio
import trio.testing

from mcpbridged.transports.outlet import Outlet, Signal
from mcpbridged.validators.limits import Limits

pytestmark = pytest.mark.anyio


def full():
    outlet = Outlet(Limits())
    outlet.put(b"1", b"a")
    return outlet


def finished():
    outlet = full()
    outlet.finish()
    return outlet


def left():
    outlet = full()
    outlet.leave()
    return outlet


@pytest.mark.parametrize("wait", [Outlet.next, Outlet.answered, Outlet.settled])
@pytest.mark.parametrize("state", [full, finished, left])
async def test_r1_no_wait_returns_without_a_checkpoint(state, wait):
    outlet = state()
    if wait is Outlet.settled and state is full:
        outlet.finish()
    with trio.testing.assert_checkpoints():
        await wait(outlet)


async def test_r1_a_wait_for_the_end_is_not_over_while_messages_come_before_it():
    outlet = full()
    over = trio.Event()

    async def wait():
        await outlet.settled()
        over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        outlet.heartbeat()
        outlet.put(b"2")
        await trio.testing.wait_all_tasks_blocked()
        assert not over.is_set()
        outlet.put(b"3", last=True)
    assert [await outlet.next() for _ in range(4)] == [(b"a", b"1"), (b"", b"2"), (b"", b"3"), Signal.END]


async def test_a_heartbeat_is_returned_once():
    outlet = Outlet(Limits())
    found = []

    async def read():
        found.append(await outlet.next())
        found.append(await outlet.next())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        outlet.heartbeat()
        await trio.testing.wait_all_tasks_blocked()
        assert found == [Signal.HEARTBEAT]
        outlet.finish()
    assert found == [Signal.HEARTBEAT, Signal.END]


async def test_an_answer_of_one_message_is_told_from_a_stream():
    outlet = Outlet(Limits())
    outlet.put(b"{}", last=True)
    assert await outlet.answered()
    assert outlet.take_answer() == b"{}"
    assert outlet.take_answer() is None
    assert not await full().answered()
    assert not await left().answered()
