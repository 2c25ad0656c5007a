"""Frames to a client in memory: messages at once, pings, pongs and close frames."""

import contextlib

import pytest
import trio
import trio.testing

from mcpbridged.transports.endpoints.websocket_writer import CloseLog, FrameWriter
from mcpbridged.transports.rate_limited_log import RateLimitedLog
from mcpbridged.transports.send_queue import SendQueue
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.ws_frames import close_frame, ping_frame, pong_frame, text_frame

from ...support.serving import RecordingLog
from ...support.upgraded import FakeUpgrade

pytestmark = pytest.mark.anyio
settle = trio.testing.wait_all_tasks_blocked


class World:
    """A writer with its queue, its client and its log. `limits` are options of Limits."""

    def __init__(self, room=None, **limits):
        self.limits = Limits(**limits)
        self.client = FakeUpgrade(room)
        self.queue = SendQueue(self.limits)
        self.log = RecordingLog()
        self.writer = FrameWriter(
            self.client, self.queue, self.limits, RateLimitedLog(self.log), CloseLog(self.log)
        )
        self.scope = trio.CancelScope()

    async def run(self):
        with self.scope:
            await self.writer.run(self.scope)


@contextlib.asynccontextmanager
async def running(world):
    """Run the writer until the end of the block."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await settle()
        yield
        nursery.cancel_scope.cancel()


async def test_a_message_is_sent_as_soon_as_it_is_enqueued():
    world = World()
    world.writer.start()
    world.queue.enqueue(b"1")
    assert world.client.sent == text_frame(b"1")
    assert len(world.queue) == 0


async def test_the_rest_of_a_message_that_was_sent_in_part_precedes_the_next():
    world = World(room=3)
    world.writer.start()
    async with running(world):
        world.queue.enqueue(b"12345")
        world.queue.enqueue(b"67890")
        await settle()
        assert world.client.sent.startswith(text_frame(b"12345") + text_frame(b"67890"))


async def test_the_rest_of_a_message_is_sent_without_a_ping():
    world = World(room=3)
    world.writer.start()
    async with running(world):
        world.queue.enqueue(b"12345")
        await settle()
        assert world.client.sent == text_frame(b"12345")


async def test_the_unsent_rest_of_a_message_counts_as_unsent():
    world = World(room=3)
    world.writer.start()
    world.queue.enqueue(b"12345")
    assert world.queue.backlog.bytes == len(text_frame(b"12345")) - 3


async def test_a_message_without_room_waits_in_the_queue():
    world = World(room=0)
    world.writer.start()
    world.queue.enqueue(b"1")
    assert (world.client.sent, len(world.queue)) == (b"", 1)


async def test_a_message_does_not_overtake_a_frame_that_is_being_sent():
    world = World()
    world.writer.start()
    async with trio.open_nursery() as nursery:
        world.client.blocked = True
        nursery.start_soon(world.writer.heartbeat)
        await settle()
        world.queue.enqueue(b"1")
        assert (world.client.sent, len(world.queue)) == (b"", 1)
        world.client.unblock()


async def test_a_pong_never_waits():
    world = World()
    world.writer.answer_ping(b"a")
    assert world.client.sent == pong_frame(b"a")


async def test_a_client_that_does_not_read_gets_one_pong_for_its_newest_ping():
    world = World(room=0)
    async with running(world):
        world.client.blocked = True
        for payload in (b"a", b"b", b"c"):
            world.writer.answer_ping(payload)
        await settle()
        world.client.unblock()
        await settle()
        assert world.client.sent == pong_frame(b"c")


async def test_a_pong_that_was_sent_in_part_is_completed():
    world = World(room=1)
    async with running(world):
        world.writer.answer_ping(b"abc")
        await settle()
        assert world.client.sent == pong_frame(b"abc")


async def test_a_heartbeat_is_a_ping(autojump_clock):
    world = World()
    await trio.sleep(1)
    await world.writer.heartbeat()
    assert (world.client.sent, world.writer.pinged_at) == (ping_frame(), 1)


async def test_a_client_that_leaves_pings_unanswered_is_closed(autojump_clock):
    world = World(heartbeat_seconds=2)
    await trio.sleep(1)
    await world.writer.heartbeat()
    await trio.sleep(9)
    await world.writer.heartbeat()
    assert world.client.sent == ping_frame() * 2
    await trio.sleep(1)
    await world.writer.heartbeat()
    assert world.client.sent == ping_frame() * 2 + close_frame(1011, "no pong within 10 s")
    assert world.queue.state == "disconnected"
    assert [event for _, event, _ in world.log.events] == ["websocket_pings_unanswered", "websocket_closed"]


async def test_a_usual_heartbeat_leaves_a_stopped_program_five_minutes(autojump_clock):
    world = World()
    await trio.sleep(1)
    await world.writer.heartbeat()
    await trio.sleep(299)
    await world.writer.heartbeat()
    assert world.queue.state == "open"
    await trio.sleep(1)
    await world.writer.heartbeat()
    assert world.queue.state == "disconnected"


async def test_the_time_of_a_pong_begins_when_a_slow_client_has_read_the_ping(autojump_clock):
    world = World(heartbeat_seconds=2)
    await trio.sleep(1)
    world.client.blocked = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.writer.heartbeat)
        await trio.sleep(8)
        world.client.unblock()
    assert world.writer.pinged_at == 9


async def test_a_peer_that_needs_no_pings_gets_none():
    world = World()
    world.client.exempt_from_pings = True
    await world.writer.heartbeat()
    assert world.client.sent == b""


async def test_the_close_frame_of_the_client_is_answered_with_its_code():
    world = World()
    await world.writer.answer_close(1001, "", "going home")
    assert world.client.sent == close_frame(1001, "closed by the client")
    assert world.writer.closed_by_client == "1001 going home"
    assert world.log.events == [
        ("info", "websocket_closed", {"side": "client", "code": 1001, "reason": "going home"})
    ]


async def test_a_close_frame_without_a_code_is_answered_without_a_code():
    world = World()
    await world.writer.answer_close(0, "", "")
    assert world.client.sent == close_frame(0)
    assert world.writer.closed_by_client == "no code"


async def test_only_the_first_close_frame_is_sent():
    world = World()
    await world.writer.send_close(1009, "too big")
    await world.writer.send_close(1001, "again")
    await world.writer.answer_close(1000, "", "")
    assert world.client.sent == close_frame(1009, "too big")
    assert world.writer.closed_because == "too big"


async def test_a_violation_of_the_protocol_is_closed_with_its_reason():
    world = World()
    await world.writer.answer_close(1002, "a mask is missing", "")
    assert world.client.sent == close_frame(1002, "a mask is missing")


@pytest.mark.parametrize(
    ("end", "frame"),
    [
        (lambda queue: queue.close(), close_frame(1001, "the session has ended")),
        (lambda queue: queue.close("the bridge is stopping"), close_frame(1001, "the bridge is stopping")),
        (
            lambda queue: queue._overflow(),
            close_frame(1013, "more is waiting for this client than may (limits.unsent_bytes)"),
        ),
        (lambda queue: queue.on_disconnect(), b""),
    ],
)
async def test_the_end_of_the_queue_closes_the_connection(autojump_clock, end, frame):
    world = World()
    end(world.queue)
    await world.run()
    assert world.client.sent == frame
    assert world.scope.cancel_called
    assert trio.current_time() == (1 if frame else 0)


async def test_queued_messages_precede_the_close_frame(autojump_clock):
    world = World()
    world.queue.enqueue(b"1")
    world.queue.enqueue(b"2", last=True)
    await world.run()
    assert world.client.sent == text_frame(b"1") + text_frame(b"2") + close_frame(
        1001, "the session has ended"
    )


async def test_a_client_that_disconnects_ends_the_writer():
    world = World()
    world.client.broken = True
    world.queue.enqueue(b"1")
    await world.run()
    assert world.scope.cancel_called


async def test_an_exception_of_the_bridge_is_an_internal_error():
    world = World()
    await world.writer.fail()
    assert world.client.sent == close_frame(1011, "internal error")


async def test_a_frame_that_was_given_up_in_part_is_not_followed_by_another(autojump_clock):
    world = World()
    world.client.blocked = True
    with trio.move_on_after(1):
        await world.writer.heartbeat()
    world.client.unblock()
    await world.writer.fail()
    assert world.client.sent == b""


async def test_a_failing_connection_has_a_second_for_its_close_frame(autojump_clock):
    world = World()
    world.client.blocked = True
    await world.writer.fail()
    assert trio.current_time() == 1


def test_each_code_of_each_side_is_logged_once_a_second():
    log = RecordingLog()
    closes = CloseLog(log)
    for code in (1000, 1001):
        closes.note(code, "", by_client=True)
        closes.note(code, "", by_client=False)
        closes.note(code, "", by_client=False)
    assert [(fields["side"], fields["code"]) for _, _, fields in log.events] == [
        ("client", 1000),
        ("bridge", 1000),
        ("bridge", 1001),
    ]
