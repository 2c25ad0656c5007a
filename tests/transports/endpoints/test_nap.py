"""The nap of an idle client, on a connection whose server is replaced."""

import pytest
import trio
import trio.testing

from mcpbridged.transports.client_process import Caller
from mcpbridged.transports.endpoints.pipe_connection import PipeConnection
from mcpbridged.transports.rate_limited_log import RateLimitedLog
from mcpbridged.transports.send_queue import SendQueue
from mcpbridged.validators.limits import Limits

from ...support.exchange import FakeBackend
from ...support.serving import RecordingLog
from ...support.upgraded import FakeUpgrade

pytestmark = pytest.mark.anyio
settle = trio.testing.wait_all_tasks_blocked
INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}'
NOTE = b'{"jsonrpc":"2.0","method":"x"}'


class Lent:
    """The stdin of a client. `refuses` is set where it cannot be watched."""

    def __init__(self):
        self.refuses = False
        self.ready = self.on_fault = None

    def watch(self, ready, on_fault):
        if self.refuses:
            return False
        self.ready, self.on_fault = ready, on_fault
        return True

    def unwatch(self):
        self.ready = None


def ignore(_refusal):
    pass


class World:
    def __init__(self, lent=None):
        self.client = FakeUpgrade()
        self.backend = FakeBackend()
        self.log = RecordingLog()
        self.lent = lent
        self.queue = SendQueue(Limits())
        log = RateLimitedLog(self.log)
        caller = Caller(name="test")
        self.connection = PipeConnection(
            self.client, self.backend, "owner", {}, caller, self.queue, Limits(), log, ignore, lent
        )

    async def send(self, *lines):
        for line in lines:
            await self.client.from_client(line + b"\n")
            await settle()

    @property
    def lines(self):
        return self.client.sent.splitlines()


@pytest.fixture
async def world():
    world = World(Lent())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.send(INITIALIZE)
        yield world
        nursery.cancel_scope.cancel()
    assert world.lent.ready is None


async def test_a_client_that_has_received_everything_sleeps_until_a_message_comes(world):
    await world.send(b"#sleep")
    assert world.lines == [b"#asleep"]
    world.queue.enqueue(NOTE)
    world.queue.enqueue(NOTE)
    assert world.lines == [b"#asleep", b"#wake", NOTE, NOTE]
    assert world.lent.ready is None


@pytest.mark.parametrize("left", [False, True])
async def test_a_client_is_woken_by_its_stdin_once(world, left):
    await world.send(b"#sleep")
    ready = world.lent.ready
    ready(left)
    ready(left)
    assert world.lines == [b"#asleep", b"#wake"]
    assert world.lent.ready is None


async def test_a_client_sleeps_only_when_it_was_sent_everything(world):
    world.client.room, world.client.blocked = 0, True
    world.queue.enqueue(NOTE)
    await world.send(b"#sleep")
    assert (world.lines, world.lent.ready) == ([], None)
    world.client.room = None
    world.client.unblock()
    await settle()
    assert world.lines == [NOTE, b"#asleep"]
    assert world.lent.ready is not None


async def test_a_line_of_the_client_ends_the_nap_that_it_wanted(world):
    world.client.room, world.client.blocked = 0, True
    world.queue.enqueue(NOTE)
    await world.send(b"#sleep", NOTE)
    world.client.room = None
    world.client.unblock()
    await settle()
    assert (world.lines, world.lent.ready) == ([NOTE], None)


async def test_a_line_of_the_client_ends_its_nap(world):
    await world.send(b"#sleep", NOTE)
    assert world.lent.ready is None
    world.queue.enqueue(NOTE)
    assert world.lines == [b"#asleep", NOTE]
    assert [one.method for one in world.backend.conversation.received] == ["initialize", "x"]


async def test_a_client_may_sleep_again(world):
    await world.send(b"#sleep", b"#sleep")
    assert world.lines == [b"#asleep", b"#asleep"]
    world.lent.ready(False)
    assert world.lines[2:] == [b"#wake"]


async def test_the_word_of_the_client_is_returned(world):
    await world.send(b"#sleep 7", b"#sleep " + b"x" * 1000)
    assert world.lines == [b"#asleep 7", b"#asleep " + b"x" * 32]


async def test_a_similar_line_is_ignored(world):
    await world.send(b"#sleepy", b"#sleep7")
    assert world.lines == []


async def test_a_client_whose_stdin_cannot_be_watched_stays_awake(world):
    world.lent.refuses = True
    await world.send(b"#sleep")
    world.queue.enqueue(NOTE)
    assert world.lines == [b"#awake", NOTE]


async def test_a_client_that_cannot_lend_its_stdin_stays_awake():
    world = World()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.send(b"#sleep")
        assert world.lines == [b"#awake"]
        nursery.cancel_scope.cancel()


async def test_a_client_that_cannot_be_sent_the_line_stays_awake(world):
    world.client.room = 3
    world.client.blocked = True
    await world.send(b"#sleep")
    assert world.lent.ready is None
    world.queue.enqueue(NOTE)
    world.client.room = None
    world.client.unblock()
    await settle()
    assert world.lines == [b"#asleep", b"#wake", NOTE]


@pytest.mark.parametrize("room", [0, 2])
async def test_the_line_that_wakes_precedes_messages_also_where_the_socket_is_full(world, room):
    await world.send(b"#sleep")
    world.client.room, world.client.blocked = room, True
    world.queue.enqueue(NOTE)
    world.queue.enqueue(NOTE)
    await settle()
    world.client.room = None
    world.client.unblock()
    await settle()
    assert world.lines == [b"#asleep", b"#wake", NOTE, NOTE]


async def test_the_line_that_wakes_precedes_messages_also_where_the_socket_has_room_again(world):
    await world.send(b"#sleep")
    takes, send_some = iter([0]), world.client.send_some
    world.client.send_some = lambda data: next(takes, None) if data == b"#wake\n" else send_some(data)
    world.queue.enqueue(NOTE)
    await settle()
    assert world.lines == [b"#asleep", b"#wake", NOTE]


async def test_a_drain_and_an_end_wake_the_client_first(world):
    await world.send(b"#sleep")
    world.connection.drain()
    await world.send(b"#sleep")
    world.connection.set_exit_code(69)
    world.connection.close("removed")
    await settle()
    assert world.lines == [b"#asleep", b"#wake", b"#drain", b"#asleep", b"#wake", b"#end 69 removed"]


async def test_an_exception_of_the_bridge_in_a_callback_ends_the_connection(world):
    await world.send(b"#sleep")
    world.lent.on_fault(ZeroDivisionError())
    await settle()
    assert [event for _, event, _ in world.log.events] == ["internal_error"]
    assert world.queue.state == "disconnected"
