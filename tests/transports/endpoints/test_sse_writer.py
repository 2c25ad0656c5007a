"""A send queue as an event stream."""

import pytest
import trio
import trio.testing

from mcpbridged.transports.endpoints.sse_writer import write_events

from ...support.exchange import FakeExchange, head

pytestmark = pytest.mark.anyio


async def stream():
    exchange = FakeExchange(head())
    await exchange.begin_stream()
    return exchange, exchange.queue()


async def test_events_are_written_in_order_until_the_queue_ends():
    exchange, queue = await stream()
    queue.enqueue(b"1", b"a")
    queue.enqueue(b"2", last=True)
    await write_events(exchange, queue)
    assert exchange.stream == b"id: a\nevent: message\ndata: 1\n\nevent: message\ndata: 2\n\n"


async def test_a_heartbeat_is_a_comment():
    exchange, queue = await stream()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_events, exchange, queue)
        await trio.testing.wait_all_tasks_blocked()
        queue.heartbeat()
        await trio.testing.wait_all_tasks_blocked()
        assert exchange.stream == b":\n\n"
        queue.close()
    assert exchange.stream == b":\n\n"


async def test_nothing_is_written_after_a_disconnect():
    exchange, queue = await stream()
    queue.enqueue(b"1")
    queue.on_disconnect()
    await write_events(exchange, queue)
    assert exchange.stream == b""


async def test_a_disconnect_during_a_write_is_the_end():
    class Leaving(FakeExchange):
        async def write(self, data):
            await super().write(data)
            queue.on_disconnect()

    exchange = Leaving(head())
    await exchange.begin_stream()
    queue = exchange.queue()
    queue.enqueue(b"1")
    queue.enqueue(b"2")
    await write_events(exchange, queue)
    assert exchange.stream == b"event: message\ndata: 1\n\n"
