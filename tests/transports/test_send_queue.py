"""The queue between a server and one client stream: each wait lets other tasks run, and returns only with progress."""

import gc
import json
import weakref
from functools import partial

import pytest
import trio
import trio.testing

from mcpbridged.transports.send_queue import DISCONNECTED, OVERFLOWED, Backlog, SendQueue, Signal
from mcpbridged.validators.limits import Limits

pytestmark = pytest.mark.anyio


def full():
    queue = SendQueue(Limits())
    queue.enqueue(b"1", b"a")
    return queue


def finished():
    queue = full()
    queue.close()
    return queue


def left():
    queue = full()
    queue.on_disconnect()
    return queue


@pytest.mark.parametrize("wait", [SendQueue.dequeue, SendQueue.wait_answer, SendQueue.wait_closed])
@pytest.mark.parametrize("state", [full, finished, left])
async def test_no_wait_returns_without_a_checkpoint(state, wait):
    queue = state()
    if wait is SendQueue.wait_closed and state is full:
        queue.close()
    with trio.testing.assert_checkpoints():
        await wait(queue)


async def test_wait_closed_does_not_return_while_messages_come_before_the_end():
    queue = full()
    over = trio.Event()

    async def wait():
        await queue.wait_closed()
        over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        queue.heartbeat()
        queue.enqueue(b"2")
        await trio.testing.wait_all_tasks_blocked()
        assert not over.is_set()
        queue.enqueue(b"3", last=True)
    assert [await queue.dequeue() for _ in range(4)] == [(b"a", b"1"), (b"", b"2"), (b"", b"3"), Signal.END]


async def test_a_heartbeat_is_returned_once():
    queue = SendQueue(Limits())
    found = []

    async def read():
        found.append(await queue.dequeue())
        found.append(await queue.dequeue())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        queue.heartbeat()
        await trio.testing.wait_all_tasks_blocked()
        assert found == [Signal.HEARTBEAT]
        queue.close()
    assert found == [Signal.HEARTBEAT, Signal.END]


async def test_a_response_of_one_message_is_distinguished_from_a_stream():
    queue = SendQueue(Limits())
    queue.enqueue(b"{}", last=True)
    assert await queue.wait_answer()
    assert queue.pop_answer() == b"{}"
    assert queue.pop_answer() is None
    assert not await full().wait_answer()
    assert not await left().wait_answer()


async def test_a_stream_that_begins_with_a_heartbeat_does_not_repeat_it():
    queue = SendQueue(Limits())
    found = []

    async def read():
        found.append(await queue.wait_answer())
        found.append(await queue.dequeue())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        queue.heartbeat()
        await trio.testing.wait_all_tasks_blocked()
        assert found == [False]
        queue.enqueue(b"{}", last=True)
    assert found == [False, (b"", b"{}")]


async def test_no_heartbeat_is_due_where_only_answers_are_read():
    queue = SendQueue(Limits())
    queue.answers_only = True
    found = []

    async def read():
        found.append(await queue.wait_answer())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        queue.heartbeat()
        await trio.testing.wait_all_tasks_blocked()
        assert found == []
        queue.enqueue(b"{}", last=True)
    assert found == [True]


# ---- unsent bytes, and whether the server is read

SMALL = Limits(pause_bytes=10_000, unsent_bytes=40_000, replay_bytes=5_000, write_stall_seconds=30)
ANSWER = b'{"jsonrpc":"2.0","id":%d,"result":"' + b"x" * 1000 + b'"}'
NOTICE = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"' + b"x" * 1000 + b'"}}'


def watched():
    backlog, changes = Backlog(SMALL), []
    backlog.watch(lambda: changes.append(backlog.full))
    return backlog, changes


def stream_of(backlog, **how):
    queue = SendQueue(SMALL)
    queue.bind(backlog, **how)
    return queue


async def test_a_backlog_is_full_over_all_streams_until_half_of_it_is_sent():
    backlog, changes = watched()
    one, two = stream_of(backlog), stream_of(backlog)
    for _ in range(5):
        assert one.enqueue(NOTICE)
        assert two.enqueue(NOTICE)
    assert changes == [True]
    for _ in range(4):
        await one.dequeue()
    for _ in range(3):
        await two.dequeue()
    assert changes == [True]  # two more messages are in flight
    await two.dequeue()
    assert changes == [True, False]
    assert backlog.bytes > 0
    one.on_disconnect()
    two.on_disconnect()
    assert backlog.bytes == 0


async def test_a_message_counts_until_the_reader_dequeues_again_or_reports_it():
    backlog, _ = watched()
    queue = stream_of(backlog)
    queue.enqueue(b"1", last=True)
    assert await queue.wait_answer()
    assert queue.pop_answer() == b"1"
    assert backlog.bytes > 0
    queue.on_sent()
    assert backlog.bytes == 0
    assert backlog.progress == 1


async def test_the_unsent_rest_of_a_message_counts():
    backlog, _ = watched()
    queue = stream_of(backlog)
    queue.eager, queue.shortcut = True, lambda _message: queue.count_unsent(700) or True
    assert queue.enqueue(b"x" * 1000)
    assert backlog.bytes == 700
    queue.close()
    assert await queue.dequeue() is Signal.END
    assert backlog.bytes == 0


async def test_the_unsent_rest_of_a_message_is_released_also_where_a_message_follows_at_once():
    backlog, _ = watched()
    queue = stream_of(backlog)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.dequeue)
        await trio.testing.wait_all_tasks_blocked()
        queue.count_unsent(700)
        queue.enqueue(b"2")
    queue.close()
    assert await queue.dequeue() is Signal.END
    assert backlog.bytes == 0


def test_messages_queued_before_their_client_is_known_count_for_it():
    backlog, _ = watched()
    queue = SendQueue(SMALL)
    queue.enqueue(NOTICE)
    queue.bind(backlog)
    assert backlog.bytes > len(NOTICE)


def test_the_number_of_messages_closes_no_stream():
    queue = SendQueue(Limits())
    for _ in range(20_000):
        assert queue.enqueue(b"{}")
    assert len(queue) == 20_000


async def test_a_server_that_cannot_be_paused_fails_one_call_before_the_stream():
    backlog, _ = watched()
    queue = stream_of(backlog)
    while not backlog.over_limit:
        queue.enqueue(NOTICE)
    assert queue.enqueue(NOTICE)
    assert queue.enqueue(ANSWER % 7)
    count = len(queue)
    for _ in range(count - 1):
        await queue.dequeue()
    _, text = await queue.dequeue()
    error = json.loads(text)
    assert error["id"] == 7
    assert "unsent_bytes is 40000" in error["error"]["message"]
    assert backlog.dropped == 2


def test_errors_in_place_of_responses_are_limited_too():
    backlog, _ = watched()
    queue = stream_of(backlog)
    while queue.enqueue(ANSWER % 1):
        assert backlog.bytes < 2_000_000
    assert queue.state == OVERFLOWED
    assert backlog.bytes == 0


def test_a_stream_that_cannot_pause_its_server_ends_at_its_own_limit():
    backlog, changes = watched()
    queue = stream_of(backlog, pauses=False)
    while queue.enqueue(NOTICE):
        pass
    assert queue.state == OVERFLOWED
    assert not changes
    assert backlog.bytes == 0


def test_extend_lets_the_server_be_read_for_another_pause_bytes():
    backlog, changes = watched()
    queue = stream_of(backlog)
    while not backlog.full:
        queue.enqueue(NOTICE)
    at = backlog.bytes
    backlog.extend()
    backlog.extend()
    assert changes == [True, False]
    while not backlog.full:
        queue.enqueue(NOTICE)
    assert 2 * SMALL.pause_bytes < backlog.bytes <= at + SMALL.pause_bytes + 2 * len(NOTICE)
    while not backlog.over_limit:
        queue.enqueue(NOTICE)
    backlog.extend()
    assert backlog.full
    backlog.unwatch(changes.append)  # which does not watch
    queue.on_disconnect()
    assert not backlog.full


async def test_a_stalled_stream_ends_its_client_where_no_other_progresses():
    backlog, _ = watched()
    one, two = stream_of(backlog), stream_of(backlog)
    one.enqueue(NOTICE)
    two.enqueue(NOTICE)
    await one.dequeue()
    await two.dequeue()
    two.on_progress()
    one.on_stall()
    assert one.state == DISCONNECTED
    assert one.stalled
    assert not backlog.stalled
    two.on_stall()
    assert backlog.stalled
    assert not backlog.has_stalled(100.0)
    assert not backlog.has_stalled(104.0)
    assert backlog.has_stalled(105.1)


async def test_a_client_that_reads_just_after_a_stall_is_kept():
    backlog, _ = watched()
    one = stream_of(backlog)
    one.enqueue(NOTICE)
    await one.dequeue()
    one.on_stall()
    assert not backlog.has_stalled(100.0)
    other = stream_of(backlog)
    other.shortcut = lambda _message: True
    other.enqueue(b"{}", last=True)
    assert not backlog.has_stalled(110.0)
    assert not backlog.has_stalled(120.0)


async def test_wait_closed_returns_early_when_much_comes_before_the_end():
    queue = SendQueue(Limits())
    for _ in range(10):
        queue.enqueue(b"x" * 1000)
    with trio.testing.assert_checkpoints():
        assert not await queue.wait_closed(5000)
    queue.close()
    assert await queue.wait_closed(5000)


def test_a_queue_whose_response_was_sent_directly_is_freed_without_the_garbage_collector():
    """The garbage collector took a microsecond of each call over HTTP."""

    class Context:
        def __init__(self, queue):
            self.queue = queue

    queue = SendQueue(Limits())
    queue.context = Context(queue)
    queue.shortcut = partial(lambda _queue, _message: True, queue)
    freed = weakref.ref(queue.context)
    gc.disable()
    try:
        queue.enqueue(b"{}", last=True)
        del queue
        assert freed() is None
    finally:
        gc.enable()


async def test_further_messages_of_one_send_count_as_unsent_until_all_are_sent():
    queue = SendQueue(Limits())
    for message in (b"a", b"bb", b"c" * 100, b"d"):
        queue.enqueue(message)
    assert await queue.dequeue() == (b"", b"a")
    unsent = queue.unsent
    assert queue.dequeue_more(100) == [b"bb"]
    assert (queue.unsent, len(queue)) == (unsent, 2)
    assert await queue.dequeue() == (b"", b"c" * 100)
    assert queue.dequeue_more(1) == [b"d"]
    assert queue.dequeue_more(1000) == []
    assert 0 < queue.unsent < unsent
    queue.on_sent()
    assert queue.unsent == 0
