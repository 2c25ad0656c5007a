"""Turns of clients and servers in the rounds of the poller."""

import contextlib
import time
from functools import partial

import pytest
import trio
import trio.testing

from mcpbridged.transports import turns as turns_module
from mcpbridged.transports.poller import Poller
from mcpbridged.transports.shares import SLICE
from mcpbridged.transports.turns import Activity, Allowance, PrincipalTurns, Turns, backlog_turns, give_way

pytestmark = pytest.mark.anyio


async def test_turns_are_the_shorter_the_more_there_were_in_the_last_round(anyio_backend):
    turns = Turns(Activity())
    assert (turns.take(), turns.operations) == (0.002, 16)
    turns.begin_round()
    assert turns.length == 0.002
    for _ in range(4):
        turns.take()
    turns.begin_round()
    assert (turns.length, turns.operations) == (0.0005, 4)
    for _ in range(1000):
        turns.take()
    turns.begin_round()
    assert turns.operations == 1
    turns.begin_round()
    assert turns.length == 0.002


async def started(nursery, turns, order, *principals):
    """Start tasks that wait for a turn one after the other. The first needs none."""
    for principal in principals:

        async def take(principal):
            await turns.wait(principal)
            order.append(principal)

        nursery.start_soon(take, principal)
        await trio.testing.wait_all_tasks_blocked()


async def test_each_round_has_one_turn_and_principals_take_turns(anyio_backend):
    turns, order, woken = PrincipalTurns(), [], []
    turns.connect(lambda: woken.append(True))
    async with trio.open_nursery() as nursery:
        await started(nursery, turns, order, "a", "a", "a", "a", "b", "c", "b")
        assert order == ["a"]
        assert len(woken) == 6
        for number in range(2, 8):
            assert turns.queues
            turns.begin_round()
            await trio.testing.wait_all_tasks_blocked()
            assert len(order) == number
    assert order == ["a", "a", "b", "c", "a", "b", "a"]
    assert not turns.queues
    turns.begin_round()
    await turns.wait("a")


async def test_a_task_that_is_cancelled_takes_no_turn(anyio_backend):
    turns, order = PrincipalTurns(), []
    turns.connect(lambda: None)
    async with trio.open_nursery() as nursery:
        await started(nursery, turns, order, "a")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                await started(inner, turns, order, "a", "b")
                scope.cancel()
        assert not turns.queues
        await started(nursery, turns, order, "c", "c")
        # The second task has its turn, and has not run yet.
        turns.begin_round()
        turns.begin_round()
        await trio.testing.wait_all_tasks_blocked()
        assert order == ["a", "c"]
        turns.begin_round()
    assert order == ["a", "c", "c"]


async def test_a_turn_of_a_task_that_is_being_cancelled_is_given_back(anyio_backend):
    turns, order = PrincipalTurns(), []
    turns.connect(lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + 5
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                await started(inner, turns, order, "a", "b")
                await started(nursery, turns, order, "c")
                scope.cancel()
                # The cancelled task has not run yet, and the turn is its own.
                turns.begin_round()
        assert order == ["a"]
        turns.begin_round()
        await trio.testing.wait_all_tasks_blocked()
        assert order == ["a", "c"]


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_free_turn_belongs_to_one_task_until_it_has_run(anyio_backend, monkeypatch, is_cancelled):
    turns, rounds = PrincipalTurns(), []
    turns.connect(lambda: None)

    async def checkpoint():
        # Rounds of a poller before the task runs.
        for _ in range(3):
            turns.begin_round()
            rounds.append(turns.free)
        if is_cancelled:
            raise KeyError

    with monkeypatch.context() as patch, contextlib.suppress(KeyError):
        patch.setattr(trio.lowlevel, "checkpoint", checkpoint)
        await turns.wait("a")
    assert rounds == [False] * 3
    turns.begin_round()
    assert turns.free


@pytest.fixture
def now(monkeypatch):
    found = [100.0]
    monkeypatch.setattr(turns_module.time, "perf_counter", lambda: found[0])
    return found


def test_a_turn_is_followed_by_a_pause_in_proportion(now):
    allowance = Allowance(0.25, 0.001)
    assert allowance.pause() == 0
    allowance.begin()
    now[0] += 0.009
    # 9 ms, less 1 ms that was saved and a quarter of the time meanwhile.
    assert allowance.pause() == pytest.approx((0.008 - 0.009 / 4) * 4)
    now[0] += 0.02
    assert allowance.pause() == pytest.approx(0.003)
    now[0] += 0.004
    assert allowance.pause() == 0
    # No more is saved up than the most.
    now[0] += 1000
    allowance.begin()
    now[0] += 0.009
    assert allowance.pause() == pytest.approx(0.023)


async def test_the_turns_of_large_messages_have_pauses_while_several_principals_are_active(
    anyio_backend, now, monkeypatch
):
    activity = Activity()
    monkeypatch.setattr(turns_module, "activity", activity)
    turns, order = PrincipalTurns(Allowance(0.25, 0.001)), []
    monkeypatch.setattr(turns_module, "large_turns", turns)
    assert turns_module.until_next() is None
    turns.connect(lambda: None)
    async with trio.open_nursery() as nursery:
        await started(nursery, turns, order, "a", "b")
        assert order == ["a"]
        # The turn of the first task takes 5 ms.
        now[0] += 0.005
        assert turns_module.until_next() == 0
        activity.note("a")
        activity.note("b")
        await started(nursery, turns, order, "c")
        assert turns_module.until_next() == pytest.approx(0.011)
        turns.begin_round()
        await trio.testing.wait_all_tasks_blocked()
        assert order == ["a"]
        now[0] += 0.0111
        assert turns_module.until_next() == 0
        turns.begin_round()
        await trio.testing.wait_all_tasks_blocked()
        assert order == ["a", "b"]
        activity.several = False
        turns.begin_round()
    assert order == ["a", "b", "c"]


async def test_a_poller_waits_for_the_end_of_a_pause(anyio_backend):
    poller, order = Poller(), []
    turns_module.note("a")
    turns_module.note("b")
    try:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                await nursery.start(poller.run)

                async def take(name):
                    await turns_module.large_turns.wait(name)
                    order.append(name)
                    # A long step.
                    end = time.perf_counter() + 0.02
                    while time.perf_counter() < end:
                        pass

                async with trio.open_nursery() as waiting:
                    for name in "abc":
                        waiting.start_soon(take, name)
                nursery.cancel_scope.cancel()
    finally:
        turns_module.activity.several = False
        poller.close()
    assert sorted(order) == ["a", "b", "c"]


async def test_without_a_poller_no_task_waits(anyio_backend):
    turns, order = PrincipalTurns(), []
    async with trio.open_nursery() as nursery:
        await started(nursery, turns, order, "a", "a", "a")
        assert order == ["a"] * 3
        turns.connect(lambda: None)
        await started(nursery, turns, order, "a", "a")
        # The poller ends.
        turns.connect(None)
    assert order == ["a"] * 5


async def test_a_poller_without_edges_begins_rounds_for_those_that_wait(anyio_backend):
    poller, order = Poller(), []
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(poller.run)
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as waiting:
                for number in range(50):
                    waiting.start_soon(partial(backlog_turns.wait, f"p{number % 3}"))
            nursery.cancel_scope.cancel()
    poller.close()
    assert not backlog_turns.queues
    assert order == []


async def test_a_quiet_client_waits_for_one_turn_of_a_flood(anyio_backend):
    poller, handled = Poller(), []
    async with trio.open_nursery() as nursery:
        await nursery.start(poller.run)

        async def flood():
            while True:
                handled.append("flood")
                await backlog_turns.wait("flooder")

        for _ in range(200):
            nursery.start_soon(flood)
        with trio.fail_after(20):
            while len(handled) < 1000:
                await trio.lowlevel.checkpoint()
            for _ in range(20):
                before = len(handled)
                await backlog_turns.wait("quiet")
                # Two rounds at most, each with one turn of the flood.
                assert len(handled) - before <= 3
        nursery.cancel_scope.cancel()
    poller.close()


@pytest.mark.parametrize("others", [False, True])
async def test_a_task_gives_way_only_beside_another_principal(anyio_backend, monkeypatch, others):
    turns, activity, order = PrincipalTurns(), Activity(), []
    turns.connect(lambda: None)
    monkeypatch.setattr(turns_module, "backlog_turns", turns)
    monkeypatch.setattr(turns_module, "activity", activity)
    if others:
        activity.note("ann")

    async def work():
        await give_way("bob")
        order.append("bob")

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(work)
        await trio.testing.wait_all_tasks_blocked()
        assert len(order) == (1 if others else 3)
        for _ in range(2):
            turns.begin_round()
            await trio.testing.wait_all_tasks_blocked()
    assert len(order) == 3


def test_turns_are_shorter_while_several_principals_are_active(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(turns_module.time, "perf_counter", lambda: now[0])
    activity = Activity()
    turns = Turns(activity)
    for principal in ("", "a", "a", "", "a"):
        activity.note(principal)
        assert not activity.several
    activity.note("b")
    assert activity.several
    turns.begin_round()
    assert (turns.length, turns.operations) == (SLICE, 1)

    def pass_time(until):
        now[0] = until
        for _ in range(64):
            activity.begin_round()

    pass_time(9.0)
    assert activity.several
    # The other principal is active again.
    activity.note("a")
    pass_time(18.0)
    assert activity.several
    activity.note("a")
    pass_time(20.0)
    assert not activity.several
    turns.begin_round()
    assert turns.length == 0.002
    # One principal alone, after the time of both.
    activity.note("b")
    assert not activity.several
