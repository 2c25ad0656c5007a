"""The queue between a server and one client stream: each wait lets other tasks run, and returns only with progress."""

import json

import pytest
import trio
import trio.testing

from mcpbridged.transports.send_queue import GONE, OVERFLOWED, Backlog, SendQueue, Signal
from mcpbridged.validators.limits import Limits

pytestmark = pytest.mark.anyio


def full():
    queue = SendQueue(Limits())
    queue.put(b"1", b"a")
    return queue


def finished():
    queue = full()
    queue.finish()
    return queue


def left():
    queue = full()
    queue.leave()
    return queue


@pytest.mark.parametrize("wait", [SendQueue.next, SendQueue.answered, SendQueue.settled])
@pytest.mark.parametrize("state", [full, finished, left])
async def test_r1_no_wait_returns_without_a_checkpoint(state, wait):
    queue = state()
    if wait is SendQueue.settled and state is full:
        queue.finish()
    with trio.testing.assert_checkpoints():
        await wait(queue)


async def test_r1_a_wait_for_the_end_is_not_over_while_messages_come_before_it():
    queue = full()
    over = trio.Event()

    async def wait():
        await queue.settled()
        over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        queue.heartbeat()
        queue.put(b"2")
        await trio.testing.wait_all_tasks_blocked()
        assert not over.is_set()
        queue.put(b"3", last=True)
    assert [await queue.next() for _ in range(4)] == [(b"a", b"1"), (b"", b"2"), (b"", b"3"), Signal.END]


async def test_a_heartbeat_is_returned_once():
    queue = SendQueue(Limits())
    found = []

    async def read():
        found.append(await queue.next())
        found.append(await queue.next())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        queue.heartbeat()
        await trio.testing.wait_all_tasks_blocked()
        assert found == [Signal.HEARTBEAT]
        queue.finish()
    assert found == [Signal.HEARTBEAT, Signal.END]


async def test_an_answer_of_one_message_is_told_from_a_stream():
    queue = SendQueue(Limits())
    queue.put(b"{}", last=True)
    assert await queue.answered()
    assert queue.take_answer() == b"{}"
    assert queue.take_answer() is None
    assert not await full().answered()
    assert not await left().answered()


async def test_a_stream_that_begins_with_a_heartbeat_does_not_repeat_it():
    queue = SendQueue(Limits())
    found = []

    async def read():
        found.append(await queue.answered())
        found.append(await queue.next())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        queue.heartbeat()
        await trio.testing.wait_all_tasks_blocked()
        assert found == [False]
        queue.put(b"{}", last=True)
    assert found == [False, (b"", b"{}")]


async def test_no_heartbeat_is_due_where_only_answers_are_read():
    queue = SendQueue(Limits())
    queue.answers_only = True
    found = []

    async def read():
        found.append(await queue.answered())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        queue.heartbeat()
        await trio.testing.wait_all_tasks_blocked()
        assert found == []
        queue.put(b"{}", last=True)
    assert found == [True]


# ---- R7: what is unsent, and whether its server is read on

SMALL = Limits(pause_bytes=10_000, unsent_bytes=40_000, replay_bytes=5_000, write_stall_seconds=30)
ANSWER = b'{"jsonrpc":"2.0","id":%d,"result":"' + b"x" * 1000 + b'"}'
NOTICE = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"' + b"x" * 1000 + b'"}}'


def watched():
    backlog, changes = Backlog(SMALL), []
    backlog.watch(lambda: changes.append(backlog.full))
    return backlog, changes


def stream_of(backlog, **how):
    queue = SendQueue(SMALL)
    queue.join(backlog, **how)
    return queue


async def test_r7_a_client_is_full_over_all_its_streams_until_half_of_it_is_sent():
    backlog, changes = watched()
    one, two = stream_of(backlog), stream_of(backlog)
    for _ in range(5):
        assert one.put(NOTICE)
        assert two.put(NOTICE)
    assert changes == [True]
    for _ in range(4):
        await one.next()
    for _ in range(3):
        await two.next()
    assert changes == [True]  # of two messages more each reader has one in its hand
    await two.next()
    assert changes == [True, False]
    assert backlog.bytes > 0
    one.leave()
    two.leave()
    assert backlog.bytes == 0


async def test_r7_a_message_counts_until_the_reader_comes_back_or_reports_it():
    backlog, _ = watched()
    queue = stream_of(backlog)
    queue.put(b"1", last=True)
    assert await queue.answered()
    assert queue.take_answer() == b"1"
    assert backlog.bytes > 0
    queue.sent()
    assert backlog.bytes == 0
    assert backlog.moved == 1


async def test_r7_what_was_sent_in_part_counts():
    backlog, _ = watched()
    queue = stream_of(backlog)
    queue.eager, queue.shortcut = True, lambda _message: queue.owe(700) or True
    assert queue.put(b"x" * 1000)
    assert backlog.bytes == 700
    queue.finish()
    assert await queue.next() is Signal.END
    assert backlog.bytes == 0


async def test_r7_what_was_sent_in_part_is_released_also_where_a_message_follows_at_once():
    backlog, _ = watched()
    queue = stream_of(backlog)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.next)
        await trio.testing.wait_all_tasks_blocked()
        queue.owe(700)
        queue.put(b"2")
    queue.finish()
    assert await queue.next() is Signal.END
    assert backlog.bytes == 0


def test_r7_what_was_queued_before_its_client_is_known_counts_as_the_clients():
    backlog, _ = watched()
    queue = SendQueue(SMALL)
    queue.put(NOTICE)
    queue.join(backlog)
    assert backlog.bytes > len(NOTICE)


def test_r7_the_number_of_messages_closes_no_stream():
    queue = SendQueue(Limits())
    for _ in range(20_000):
        assert queue.put(b"{}")
    assert len(queue) == 20_000


async def test_r7_a_server_that_cannot_wait_costs_one_call_before_the_stream():
    backlog, _ = watched()
    queue = stream_of(backlog)
    while not backlog.over:
        queue.put(NOTICE)
    assert queue.put(NOTICE)
    assert queue.put(ANSWER % 7)
    count = len(queue)
    for _ in range(count - 1):
        await queue.next()
    _, text = await queue.next()
    error = json.loads(text)
    assert error["id"] == 7
    assert "unsent_bytes is 40000" in error["error"]["message"]
    assert backlog.lost == 2


def test_r7_errors_in_place_of_answers_are_bounded_too():
    backlog, _ = watched()
    queue = stream_of(backlog)
    while queue.put(ANSWER % 1):
        assert backlog.bytes < 2_000_000
    assert queue.state == OVERFLOWED
    assert backlog.bytes == 0


def test_r7_a_stream_that_cannot_pause_ends_at_its_own_limit():
    backlog, changes = watched()
    queue = stream_of(backlog, pauses=False)
    while queue.put(NOTICE):
        pass
    assert queue.state == OVERFLOWED
    assert not changes
    assert backlog.bytes == 0


def test_r7_a_cancellation_lets_the_server_be_read_on_for_as_much_again():
    backlog, changes = watched()
    queue = stream_of(backlog)
    while not backlog.full:
        queue.put(NOTICE)
    at = backlog.bytes
    backlog.grant()
    backlog.grant()
    assert changes == [True, False]
    while not backlog.full:
        queue.put(NOTICE)
    assert 2 * SMALL.pause_bytes < backlog.bytes <= at + SMALL.pause_bytes + 2 * len(NOTICE)
    while not backlog.over:
        queue.put(NOTICE)
    backlog.grant()
    assert backlog.full
    backlog.unwatch(changes.append)  # which does not watch
    queue.leave()
    assert not backlog.full


async def test_r7_a_stalled_stream_gives_up_its_client_where_no_other_progresses():
    backlog, _ = watched()
    one, two = stream_of(backlog), stream_of(backlog)
    one.put(NOTICE)
    two.put(NOTICE)
    await one.next()
    await two.next()
    two.moves()
    one.stall()
    assert one.state == GONE
    assert one.stalled
    assert not backlog.stalled
    two.stall()
    assert backlog.stalled
    assert not backlog.given_up(100.0)
    assert not backlog.given_up(104.0)
    assert backlog.given_up(105.1)


async def test_r7_a_client_that_reads_just_after_a_stall_is_kept():
    backlog, _ = watched()
    one = stream_of(backlog)
    one.put(NOTICE)
    await one.next()
    one.stall()
    assert not backlog.given_up(100.0)
    other = stream_of(backlog)
    other.shortcut = lambda _message: True
    other.put(b"{}", last=True)
    assert not backlog.given_up(110.0)
    assert not backlog.given_up(120.0)


async def test_r7_an_answer_is_not_waited_for_when_much_comes_before_it():
    queue = SendQueue(Limits())
    for _ in range(10):
        queue.put(b"x" * 1000)
    with trio.testing.assert_checkpoints():
        assert not await queue.settled(5000)
    queue.finish()
    assert await queue.settled(5000)
