"""One client with lines in both directions, with the server replaced."""

import json
from itertools import pairwise

import pytest
import trio
import trio.testing

from mcpbridged.transports.client_process import Caller
from mcpbridged.transports.endpoints import client_messages
from mcpbridged.transports.endpoints.pipe_connection import PipeConnection
from mcpbridged.transports.rate_limited_log import RateLimitedLog
from mcpbridged.transports.send_queue import SendQueue
from mcpbridged.validators.jsonrpc import Request
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ...support.exchange import FakeBackend, FakeConversation
from ...support.serving import RecordingLog
from ...support.stateless_requests import request, tool
from ...support.upgraded import FakeUpgrade

pytestmark = pytest.mark.anyio
settle = trio.testing.wait_all_tasks_blocked
INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}'
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
PONG = b'{"jsonrpc":"2.0","id":1,"result":{}}'
NOTE = b'{"jsonrpc":"2.0","method":"x"}'
CALL = json.dumps(request("tools/call", tool("x"), id=7)).encode()


class World:
    """A connection: its client, its backend and its log."""

    def __init__(self, *, limits=None, **backend):
        self.client = FakeUpgrade()
        self.backend = FakeBackend(**backend)
        self.log = RecordingLog()
        self.refusals = []
        limits = limits or Limits()
        self.queue = SendQueue(limits)
        self.connection = PipeConnection(
            self.client,
            self.backend,
            "owner",
            {},
            Caller(name="test"),
            self.queue,
            limits,
            RateLimitedLog(self.log),
            self.refusals.append,
        )

    async def send(self, *lines):
        for line in lines:
            await self.client.from_client(line + b"\n")
            await settle()

    async def run(self, *lines):
        """Send lines of a client that leaves then. Return the lines that it got."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.connection.run)
            await self.send(*lines)
            self.client.gone = True
            await self.client.leave()
        return self.lines

    @property
    def lines(self):
        return self.client.sent.splitlines()

    @property
    def methods(self):
        return [message.method for message in self.backend.conversation.received]

    @property
    def ended(self):
        return self.backend.conversation.ended


async def test_the_first_line_opens_the_session_and_its_end_is_that_of_the_connection():
    world = World()
    assert await world.run(INITIALIZE, NOTE) == []
    assert (world.methods, world.backend.opened) == (["initialize", "x"], 1)
    assert world.backend.lasts
    assert (world.ended, world.queue.state) == (["the client has disconnected"], "disconnected")


async def test_a_message_of_the_server_is_one_line():
    world = World()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.send(INITIALIZE)
        world.backend.queue.enqueue(b'{"jsonrpc":"2.0","method":"a"}')
        assert world.client.sent == b'{"jsonrpc":"2.0","method":"a"}\n'
        nursery.cancel_scope.cancel()


async def test_messages_that_had_to_wait_are_sent_together():
    world = World()
    world.client.room = 0
    sends, send_all = [], world.client.send_all

    async def recorded(data):
        sends.append(data)
        await send_all(data)

    world.client.send_all = recorded
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.send(INITIALIZE)
        for name in (b"a", b"b", b"c" * 70_000, b"d"):
            world.queue.enqueue(name)
        await settle()
        nursery.cancel_scope.cancel()
    assert sends == [b"a\nb\n", b"c" * 70_000 + b"\n", b"d\n"]


async def test_lines_of_one_read_are_handled_in_order_and_control_lines_are_ignored():
    world = World()
    assert await world.run(INITIALIZE + b"\n#unknown words\n" + NOTE + b"\n\n#\r\n" + PING) == []
    assert world.methods == ["initialize", "x", "ping"]


async def test_an_unreadable_line_gets_an_error_and_the_connection_goes_on():
    world = World()
    lines = await world.run(b'{"jsonrpc":"2.0","id":5,"method":7}', b"\xff", b"{", PING)
    assert [json.loads(line)["id"] for line in lines] == [5, None, None, 1]


async def test_a_line_over_the_limit_gets_an_error_and_the_connection_goes_on():
    world = World(limits=Limits(body=1000))
    large = b'{"method":"x","params":{"y":"' + b"z" * 5000 + b'"},"jsonrpc":"2.0","id":5}'
    lines = await world.run(large, PING)
    assert [json.loads(line)["id"] for line in lines] == [5, 1]


async def test_an_unfinished_line_over_the_limit_of_the_principal_is_refused_alone():
    world = World()
    world.client.most = 100_000
    large = b'{"jsonrpc":"2.0","id":5,"method":"x","params":{"y":"' + b"z" * 200_000 + b'"}}'
    lines = await world.run(large, PING)
    assert [json.loads(line)["id"] for line in lines] == [5, 1]
    assert "too much unfinished" in json.loads(lines[0])["error"]["message"]
    assert world.client.held == 0


async def test_stateless_requests_need_no_session_and_are_cancelled_with_the_connection():
    world = World()
    cancelled = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}'
    await world.run(CALL, cancelled)
    assert [message.id for message in world.backend.requests] == [b"7"]
    assert world.backend.upstream.cancelled == [b"7"]
    assert (world.backend.opened, world.backend.upstream.disconnects) == (0, 1)


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_requests_in_flight_get_their_responses_after_the_end_of_the_input(era, autojump_clock):
    world = World()
    server, name = (
        (world.backend.conversation, "calling") if era == "legacy" else (world.backend.upstream, "waiting")
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.send(INITIALIZE if era == "legacy" else CALL)
        setattr(server, name, True)
        await world.client.leave()
        await trio.sleep(100)
        assert (world.ended, world.backend.upstream.disconnects) == ([], 0)
        world.queue.enqueue(PONG)
        setattr(server, name, False)
    assert world.lines == [PONG]
    assert (world.ended, world.backend.upstream.disconnects) in (
        (["the client has ended its input"], 0),
        ([], 1),
    )


async def test_what_is_unsent_at_the_end_of_the_input_is_sent_however_slowly_the_client_reads(autojump_clock):
    world = World()
    world.client.room, world.client.blocked = 0, True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.send(INITIALIZE)
        world.queue.enqueue(PONG)
        await world.client.leave()
        await trio.sleep(100)
        assert (world.queue.state, world.ended) == ("open", [])
        world.client.unblock()
    assert world.lines == [PONG]


async def test_a_client_that_leaves_after_the_end_of_its_input_ends_its_session(autojump_clock):
    world = World()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.send(INITIALIZE)
        world.backend.conversation.calling = True
        await world.client.leave()
        await trio.sleep(1)
        assert world.ended == []
        world.client.gone = True
    assert world.ended == ["the client has ended its input"]


async def test_a_long_wait_for_the_last_response_costs_little_and_its_end_is_seen_soon(autojump_clock):
    """Each look costs half a millisecond, and every client of the daemon may have closed its sending side."""
    looks = []

    class Watched(FakeConversation):
        @property
        def calling(self):
            looks.append(trio.current_time())
            return len(looks) < 400

        @calling.setter
        def calling(self, value):
            """Ignore the value of the base class."""

    world = World(conversation=Watched())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.send(INITIALIZE)
        began = trio.current_time()
        await world.client.leave()
    times = [look - began for look in looks]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert sum(time < 0.2 for time in times) > 5
    assert sum(time < 20 for time in times) < 150
    assert max(pauses) < 0.21


@pytest.mark.parametrize(("gone", "received"), [(False, ["initialize", "x"]), (True, ["initialize"])])
async def test_a_last_line_needs_no_newline_unless_the_client_has_left(autojump_clock, gone, received):
    world = World()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.send(INITIALIZE)
        await world.client.from_client(NOTE)
        world.client.gone = gone
        await world.client.leave()
    assert world.methods == received


async def test_a_last_line_may_open_the_session():
    world = World()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.client.from_client(INITIALIZE)
        await world.client.leave()
    assert world.methods == ["initialize"]


async def test_a_session_that_the_bridge_ends_ends_the_connection():
    world = World()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.send(INITIALIZE)
        world.queue.enqueue(PONG)
        world.queue.close("the bridge is stopping")
    assert world.lines == [PONG]
    assert world.ended == ["the bridge closed the connection: the bridge is stopping"]


async def test_a_server_that_has_ended_ends_a_connection_without_a_session():
    world = World(refusal=Rejection(503, -32000, "the server has ended", close=True))
    [line] = await world.run(INITIALIZE)
    assert json.loads(line)["error"]["message"] == "the server has ended"
    assert world.queue.close_reason == "the server has ended"


async def test_a_client_that_does_not_read_is_named_in_the_reason():
    world = World()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.send(INITIALIZE)
        world.queue.on_stall()
    assert world.ended == ["the client has not read its connection for 30 s"]


async def test_a_client_that_leaves_while_it_is_sent_to_ends_its_session():
    world = World()
    world.client.room, world.client.broken = 0, True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.send(INITIALIZE)
        world.queue.enqueue(PONG)
    assert world.ended == ["the client has disconnected"]


async def test_a_batch_depends_on_the_revision_of_the_session():
    world = World(conversation=FakeConversation(version="2025-03-26"))
    await world.run(INITIALIZE, b"[" + NOTE + b"," + NOTE + b"]")
    assert world.methods == ["initialize", "x", "x"]


async def test_a_refused_notification_of_a_batch_stops_none_of_the_others():
    def reply(message, _queue):
        if message.method == "bad":
            raise Rejection(400, -32600, "no")

    world = World(conversation=FakeConversation(version="2025-03-26", reply=reply))
    await world.run(INITIALIZE, b"[" + NOTE.replace(b'"x"', b'"bad"') + b"," + NOTE + b"]")
    assert world.methods == ["initialize", "bad", "x"]
    assert [refused.text for refused in world.refusals] == ["no"]


async def test_an_exception_of_the_bridge_ends_one_connection(monkeypatch):
    def fail(_text, _limits):
        raise ZeroDivisionError

    monkeypatch.setattr(client_messages, "decode", fail)
    world = World()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.client.from_client(INITIALIZE + b"\n")
    assert [event for _, event, _ in world.log.events] == ["internal_error"]


async def test_a_large_line_is_received_and_answered():
    def answer(message, queue):
        if isinstance(message, Request) and message.method != "initialize":
            world.queue.enqueue(b'{"jsonrpc":"2.0","id":%b,"result":{}}' % message.id)

    world = World(conversation=FakeConversation(reply=answer))
    large = b'{"jsonrpc":"2.0","id":5,"method":"x","params":{"y":"' + b"z" * 2_000_000 + b'"}}'
    assert await world.run(INITIALIZE, large) == [b'{"jsonrpc":"2.0","id":5,"result":{}}']


async def test_a_drain_is_one_line_and_the_end_of_the_input_is_noted():
    world = World()
    pipes = world.backend.pipes
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.send(INITIALIZE)
        assert len(pipes) == 1
        world.backend.conversation.calling = True
        nursery.start_soon(pipes.drain)
        await settle()
        assert world.lines == [b"#drain"]
        await world.client.from_client(NOTE)
        await world.client.leave()
        await settle()
        assert pipes.finishing
        # The last line was received before the drain was over.
        assert world.methods == ["initialize", "x"]
        world.backend.conversation.calling = False
    assert (len(pipes), pipes.finishing) == (0, False)


@pytest.mark.parametrize(("code", "lines"), [(0, [PONG]), (69, [PONG, b"#end 69 removed"])])
async def test_a_connection_that_is_closed_for_good_has_the_client_exit(code, lines):
    world = World()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.send(INITIALIZE)
        world.backend.pipes.set_exit_code(code)
        world.queue.enqueue(PONG)
        world.backend.pipes.close("removed")
    assert world.lines == lines
    assert world.ended == ["the bridge closed the connection: removed"]


async def test_a_client_that_is_no_longer_admitted_gets_its_errors_and_exits():
    class Conversation(FakeConversation):
        def end(self, reason):
            super().end(reason)
            world.queue.enqueue(PONG)

    world = World(conversation=Conversation())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.send(INITIALIZE, CALL)
        world.connection.revoke()
    reason = "its token is no longer accepted for this server"
    assert world.lines == [PONG, b"#end 69 " + reason.encode()]
    assert world.ended[0] == reason
    assert world.backend.upstream.disconnects == 2


async def test_a_client_that_is_no_longer_admitted_and_does_not_read_is_closed(autojump_clock):
    world = World()
    world.client.room, world.client.blocked = 0, True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.connection.run)
        await world.send(INITIALIZE)
        world.queue.enqueue(PONG)
        await settle()
        world.connection.revoke()
    assert (world.lines, trio.current_time()) == ([], 1)
