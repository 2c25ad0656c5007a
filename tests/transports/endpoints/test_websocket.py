"""One WebSocket in memory, with the server replaced."""

import json

import pytest
import trio
import trio.testing

from mcpbridged.transports.endpoints import client_messages
from mcpbridged.transports.endpoints.websocket import WebSocket
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ...support.exchange import FakeBackend, FakeConversation, FakeExchange, head
from ...support.serving import RecordingLog
from ...support.stateless_requests import request, tool
from ...support.upgraded import FakeUpgrade
from ...support.wire import CLOSE, PING, PONG, TEXT, frame, fresh_key

pytestmark = pytest.mark.anyio
settle = trio.testing.wait_all_tasks_blocked
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": fresh_key(),
    "Sec-WebSocket-Protocol": "mcp",
}
INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}'
CALL = json.dumps(request("tools/call", tool("x"), id=7)).encode()


class World:
    """A connection: its client, its backend and its log."""

    def __init__(self, *, limits=None, **backend):
        self.client = FakeUpgrade()
        self.backend = FakeBackend(**backend)
        self.log = RecordingLog()
        self.exchange = FakeExchange(head("GET", "/ws", HANDSHAKE), upgraded=self.client)
        self.endpoint = WebSocket(self.backend, limits or Limits(), self.log)

    async def run(self, talk):
        """Serve the connection while `talk` runs; return the frames that the client got."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.endpoint, self.exchange)
            await settle()
            await talk()
            await settle()
            await self.client.leave()
        return self.frames()

    def frames(self):
        """Return the opcode and the payload of each frame after the head."""
        _, _, data = self.client.sent.partition(b"\r\n\r\n")
        frames = []
        while data:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            frames.append((data[0] & 0x0F, data[start : start + size]))
            data = data[start + size :]
        return frames

    @property
    def events(self):
        return [(event, fields.get("reason")) for _, event, fields in self.log.events]


def sends(client, *texts):
    async def talk():
        for text in texts:
            await client.text(text)
            await settle()

    return talk


async def test_the_handshake_is_answered_and_the_first_message_opens_a_session():
    world = World()
    await world.run(sends(world.client, INITIALIZE, b'{"jsonrpc":"2.0","id":1,"method":"ping"}'))
    assert world.client.sent.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Protocol: mcp\r\n" in world.client.sent
    assert [message.method for message in world.backend.conversation.received] == ["initialize", "ping"]
    assert (world.backend.opened, world.backend.lasts) == (1, False)
    assert world.backend.conversation.ended == ["the connection of the client ended without a close frame"]


@pytest.mark.parametrize(("method", "without", "status"), [("POST", "", 405), ("GET", "Upgrade", 426)])
async def test_another_request_is_refused_before_the_upgrade(method, without, status):
    world = World()
    headers = {name: value for name, value in HANDSHAKE.items() if name != without}
    world.exchange.head = head(method, "/ws", headers)
    with pytest.raises(Rejection) as caught:
        await world.endpoint(world.exchange)
    assert (caught.value.status, world.client.sent) == (status, b"")


async def test_a_ping_before_the_session_is_answered_by_the_bridge():
    world = World()
    frames = await world.run(sends(world.client, b'{"jsonrpc":"2.0","id":1,"method":"ping"}'))
    assert frames == [(TEXT, b'{"jsonrpc":"2.0","id":1,"result":{}}')]
    assert world.backend.opened == 0


async def test_another_first_request_gets_an_error_and_starts_no_server():
    world = World()
    [(_, text)] = await world.run(
        sends(world.client, b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}')
    )
    assert json.loads(text)["id"] == 1
    assert "error" in json.loads(text)
    assert world.backend.opened == 0


async def test_a_server_that_does_not_start_refuses_the_session_and_leaves_the_connection_open():
    world = World(refusal=Rejection(503, -32000, "full"))
    frames = await world.run(sends(world.client, INITIALIZE, INITIALIZE))
    assert [json.loads(text)["error"]["message"] for _, text in frames] == ["full", "full"]


async def test_a_refusal_that_closes_ends_a_connection_without_a_session():
    world = World(refusal=Rejection(503, -32000, "the server has ended", close=True))
    frames = await world.run(sends(world.client, INITIALIZE))
    assert [opcode for opcode, _ in frames] == [TEXT, CLOSE]
    assert frames[1][1][2:] == b"the server has ended"


async def test_a_request_of_the_session_that_is_refused_gets_an_error():
    def refuse(message, _queue):
        if message.method != "initialize":
            raise Rejection(400, -32602, "no", close=True)

    world = World(conversation=FakeConversation(reply=refuse))
    frames = await world.run(sends(world.client, INITIALIZE, b'{"jsonrpc":"2.0","id":1,"method":"x"}'))
    assert [json.loads(text)["error"]["message"] for _, text in frames] == ["no"]


async def test_a_notification_that_is_refused_is_counted():
    def refuse(message, _queue):
        if message.method != "initialize":
            raise Rejection(400, -32602, "no")

    world = World(conversation=FakeConversation(reply=refuse))
    assert await world.run(sends(world.client, INITIALIZE, b'{"jsonrpc":"2.0","method":"x"}')) == []
    assert world.events == []
    assert world.exchange.refusals == [400]


async def test_an_unreadable_message_gets_an_error_and_the_connection_stays_open():
    world = World()
    frames = await world.run(
        sends(
            world.client, b'{"jsonrpc":"2.0","id":5,"method":7}', b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
        )
    )
    assert [json.loads(text)["id"] for _, text in frames] == [5, 1]


@pytest.mark.parametrize(("version", "received"), [("2025-03-26", 3), ("2025-06-18", 1)])
async def test_a_batch_depends_on_the_revision_of_the_session(version, received):
    world = World(conversation=FakeConversation(version=version))
    note = b'{"jsonrpc":"2.0","method":"x"}'
    await world.run(sends(world.client, INITIALIZE, b"[" + note + b"," + note + b"]"))
    assert len(world.backend.conversation.received) == received


async def test_stateless_requests_need_no_session_and_are_cancelled_with_the_connection():
    world = World()
    await world.run(sends(world.client, CALL))
    assert [message.id for message in world.backend.requests] == [b"7"]
    assert (world.backend.opened, world.backend.upstream.disconnects) == (0, 1)


async def test_a_cancellation_reaches_the_server_of_the_stateless_request():
    world = World()
    cancelled = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}'
    await world.run(sends(world.client, CALL, cancelled))
    assert world.backend.upstream.cancelled == [b"7"]
    assert len(world.backend.notifications) == 1


async def test_a_notification_before_any_request_has_no_receiver():
    world = World()
    await world.run(sends(world.client, b'{"jsonrpc":"2.0","method":"notifications/x"}'))
    assert world.backend.notifications == []


async def test_pings_are_answered_in_order_with_messages():
    world = World()
    frames = await world.run(lambda: world.client.from_client(frame(PING, b"a")))
    assert frames == [(PONG, b"a")]


async def test_frames_of_one_read_are_handled_in_order():
    world = World()

    async def talk():
        await world.client.from_client(
            frame(TEXT, INITIALIZE) + frame(PING, b"a") + frame(TEXT, b'{"jsonrpc":"2.0","method":"x"}')
        )

    await world.run(talk)
    assert [message.method for message in world.backend.conversation.received] == ["initialize", "x"]


async def test_a_close_frame_of_the_client_ends_the_session_with_its_code():
    world = World()

    async def talk():
        await world.client.text(INITIALIZE)
        await world.client.from_client(frame(CLOSE, (1000).to_bytes(2, "big") + b"done"))

    frames = await world.run(talk)
    assert frames == [(CLOSE, (1000).to_bytes(2, "big") + b"closed by the client")]
    assert world.backend.conversation.ended == ["the client closed its WebSocket: 1000 done"]


async def test_a_violation_of_the_protocol_ends_the_session_with_its_reason():
    world = World()

    async def talk():
        await world.client.text(INITIALIZE)
        await world.client.from_client(frame(TEXT, b"{}", masked=False))

    [(opcode, _)] = await world.run(talk)
    assert opcode == CLOSE
    [reason] = world.backend.conversation.ended
    assert reason.startswith("the bridge closed the WebSocket: ")


async def test_a_client_that_does_not_read_is_named_in_the_reason():
    world = World()

    async def talk():
        await world.client.text(INITIALIZE)
        await settle()
        world.backend.queue.on_stall()

    await world.run(talk)
    assert world.backend.conversation.ended == ["the client has not read its WebSocket for 30 s"]


async def test_a_message_over_the_limit_gets_an_error_and_the_connection_stays_open():
    world = World(limits=Limits(body=1000))
    large = b'{"jsonrpc":"2.0","id":5,"method":"x","params":{"y":"' + b"z" * 1000 + b'"}}'
    frames = await world.run(sends(world.client, large, b'{"jsonrpc":"2.0","id":1,"method":"ping"}'))
    assert [json.loads(text)["id"] for _, text in frames] == [5, 1]


async def test_an_unfinished_message_over_the_limit_of_the_principal_is_refused_alone():
    world = World()
    world.client.most = 100_000
    large = b'{"jsonrpc":"2.0","id":5,"method":"x","params":{"y":"' + b"z" * 300_000 + b'"}}'
    frames = await world.run(sends(world.client, large, b'{"jsonrpc":"2.0","id":1,"method":"ping"}'))
    assert [json.loads(text)["id"] for _, text in frames] == [5, 1]
    assert "too much unfinished" in json.loads(frames[0][1])["error"]["message"]
    assert world.client.held == 0


async def test_the_bytes_of_an_unfinished_message_count_until_it_is_whole():
    world = World()
    whole = frame(TEXT, b'{"jsonrpc":"2.0","method":"x","params":{"y":"' + b"z" * 300_000 + b'"}}')

    async def talk():
        await world.client.from_client(whole[:200_000])
        await settle()
        assert world.client.held > 190_000
        await world.client.from_client(whole[200_000:])
        await settle()
        assert world.client.held == 0

    await world.run(talk)


async def test_the_rest_of_a_refused_message_has_a_time_limit(autojump_clock):
    world = World(limits=Limits(body=1000))
    whole = frame(TEXT, b'{"id":5,"x":"' + b"z" * 2000 + b'"}')

    async def talk():
        await trio.sleep(1)
        await world.client.from_client(whole[:1500])
        await trio.sleep(60)
        await world.client.from_client(whole[1500:1600])
        await settle()
        assert world.frames() == []
        await trio.sleep(1)
        await world.client.from_client(whole[1600:1700])

    [(opcode, payload)] = await world.run(talk)
    assert (opcode, payload[:2]) == (CLOSE, (1009).to_bytes(2, "big"))
    assert b"did not come within 60 s" in payload


async def test_an_exception_of_the_bridge_closes_one_connection(monkeypatch):
    def fail(*_):
        raise RuntimeError("a fault")

    monkeypatch.setattr(client_messages, "decode", fail)
    world = World()
    [(opcode, payload)] = await world.run(sends(world.client, INITIALIZE))
    assert (opcode, payload[2:]) == (CLOSE, b"internal error")
    assert "internal_error" in [event for _, event, _ in world.log.events]


async def test_a_client_that_disconnects_during_the_handshake_is_no_error():
    world = World()
    world.client.broken = True
    await world.endpoint(world.exchange)
    assert world.log.events == []
    assert world.exchange.attached.state == "disconnected"
