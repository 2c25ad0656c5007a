"""Input of WebSockets in the callbacks of the poller, and the same input in the task of the connection, over real sockets."""

import contextlib
import json
import random
import socket

import pytest
import trio
import trio.testing

from mcpbridged.transports import turns as turns_module
from mcpbridged.transports.endpoints import websocket_receiver
from mcpbridged.transports.endpoints.websocket import WebSocket
from mcpbridged.transports.endpoints.websocket_writer import FrameWriter
from mcpbridged.transports.http.wire import PlainWire
from mcpbridged.validators.jsonrpc import Request, Response, response
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ...support.correlation import without_ids
from ...support.exchange import FakeBackend, FakeConversation
from ...support.serving import TOKEN, listening
from ...support.stateless_requests import request, tool
from ...support.wire import BINARY, CLOSE, PING, PONG, TEXT, frame, fresh_key

pytestmark = pytest.mark.anyio
CONTINUATION = 0
INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}'
SEEDS = range(60)


async def turns(count=8):
    for _ in range(count):
        await trio.lowlevel.checkpoint()


class Backend(FakeBackend):
    """A server whose session opens after a while, and of whose stateless requests every third must wait."""

    def __init__(self, events):
        super().__init__(conversation=FakeConversation(version="2025-03-26", reply=self._answer))
        self.events = events
        self.reply = self._answer

    def _answer(self, message, queue):
        self.events.append(message)
        if not isinstance(message, Request):
            return
        if message.method == "refuse":
            raise Rejection(400, -32602, "refused")
        receiver = self.queue if queue is None else queue
        receiver.enqueue(response(message.id, Response(b"", b"{}", b"")))

    async def open(self, principal, headers, queue=None, *, lasts=False):
        await turns(3)
        return await super().open(principal, headers, queue, lasts=lasts)

    def start_request_now(self, principal, request, queue, caller, *, pipe=False):
        if pipe and len(self.events) % 3 == 0:
            return None
        return super().start_request_now(principal, request, queue, caller)

    async def notify(self, principal, headers, message, caller=None):
        await turns(2)
        self.events.append(message)


class Client:
    """The client of one connection, and the frames that it has received."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setblocking(False)
        lines = [
            "GET /ws HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            f"Authorization: Bearer {TOKEN}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {fresh_key()}",
        ]
        self.sock.send("\r\n".join([*lines, "", ""]).encode())
        self.received = b""
        self.over = False

    def send(self, data):
        """Send, unless the bridge has closed the connection."""
        with contextlib.suppress(OSError):
            assert self.sock.send(data) == len(data)

    def read(self):
        try:
            while data := self.sock.recv(1 << 16):
                self.received += data
            self.over = True
        except BlockingIOError:
            return
        except OSError:
            self.over = True

    async def until(self, condition):
        with trio.fail_after(20):
            while not (condition() or self.over):
                await trio.sleep(0.001)
                self.read()

    @property
    def frames(self):
        """The opcode and the payload of each frame."""
        _, _, data = self.received.partition(b"\r\n\r\n")
        frames = []
        while len(data) > 1:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            frames.append((data[0] & 0x0F, data[start : start + size]))
            data = data[start + size :]
        return frames


@contextlib.asynccontextmanager
async def serving(backend, limits=None):
    limits = limits or Limits()
    async with listening(limits=limits) as server:
        server.routes.replace({"/ws": WebSocket(backend, limits, server.log)})
        yield server


@pytest.fixture
def callbacks(monkeypatch):
    """Return a list of the sizes of inputs that callbacks have handled, and whether they needed the task."""
    inputs, on_input = [], websocket_receiver.MessageReceiver._on_input

    def recorded(receiver, data):
        alone = on_input(receiver, data)
        inputs.append((len(data), alone))
        return alone

    monkeypatch.setattr(websocket_receiver.MessageReceiver, "_on_input", recorded)
    return inputs


# ---- the same input in both ways


def message_of(rng, number):
    """Return the frames of one message, which is sometimes no valid one."""
    match rng.randrange(15):
        case 0:
            return frame(PING, b"%d" % number)
        case 1:
            return frame(PONG, b"")
        case 2:
            text = b'{"jsonrpc":"2.0","id":%d,"method":"a","params":{"x":"\xc3\xa9%b"}}' % (
                number,
                b"y" * rng.choice([0, 90, 300, 9000]),
            )
            cut = rng.randrange(1, len(text))
            between = frame(PING, b"between") if rng.random() < 0.5 else b""
            return frame(TEXT, text[:cut], fin=False) + between + frame(CONTINUATION, text[cut:])
        case 3:
            item = b'{"jsonrpc":"2.0","id":"%d-%%d","method":"b"}' % number
            return frame(TEXT, b"[" + b",".join(item % at for at in range(rng.randrange(1, 4))) + b"]")
        case 4:
            return frame(TEXT, json.dumps(request("tools/call", tool("x"), id=number)).encode())
        case 5:
            return frame(TEXT, b'{"jsonrpc":"2.0","id":%d,"method":"refuse"}' % number)
        case 6:
            return frame(TEXT, rng.choice([b"{", b"", b"[]", b'{"jsonrpc":"2.0","id":7,"method":7}', b'"x"']))
        case 7:
            return frame(
                TEXT,
                b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}'
                % (number - 1),
            )
        case 8:
            # Above the limit of a message.
            return frame(
                TEXT, b'{"jsonrpc":"2.0","id":%d,"method":"c","params":{"x":"%b"}}' % (number, b"z" * 120_000)
            )
        case 10:
            # Fragments that are read whole, of a message that is above the limit or not.
            part, count = b"w" * 4000, rng.choice([2, 20, 30])
            head = frame(TEXT, b'{"jsonrpc":"2.0","id":%d,"method":"f","params":{"x":"' % number, fin=False)
            return head + frame(CONTINUATION, part, fin=False) * count + frame(CONTINUATION, b'"}}')
        case 9 if rng.random() < 0.5:
            return frame(
                TEXT,
                b'{"jsonrpc":"2.0","id":%d,"method":"d","params":{"x":"%b"}}'
                % (number, b"z" * rng.choice([8000, 8192, 30_000, 70_000])),
            )
        case _:
            return frame(
                TEXT,
                b'{"jsonrpc":"2.0","id":%d,"method":"e","params":{"x":"%b"}}'
                % (number, b"z" * rng.choice([0, 1, 60, 62, 300])),
            )


def end_of(rng):
    return rng.choice(
        [
            b"",
            frame(CLOSE, b"\x03\xe8done"),
            frame(CLOSE),
            frame(CLOSE, b"\x00\x01"),
            frame(TEXT, b"\xff"),
            frame(BINARY, b"x"),
            frame(TEXT, b"{}", masked=False),
            frame(TEXT, b"{}", rsv=4),
            frame(PING, b"x" * 126),
            frame(CONTINUATION, b"x"),
            frame(TEXT, b"x" * 20, length_bytes=2),
            frame(TEXT, b"unfinished", fin=False),
            frame(TEXT, b"x" * 50)[:-7],
        ]
    )


def stream_of(rng):
    """Return the bytes of a client in pieces."""
    whole = frame(TEXT, INITIALIZE) if rng.random() < 0.8 else b""
    whole += b"".join(message_of(rng, number) for number in range(1, rng.randrange(3, 40)))
    whole += end_of(rng)
    pieces = []
    while whole:
        size = rng.choice([1, 2, 3, 5, 7, 13, 61, 333, 1001, 8191, 8193, 100_001])
        pieces.append(whole[:size])
        whole = whole[size:]
    return pieces


async def converse(pieces, seed):
    """Send pieces; return the messages that the server got, the frames that the client got, and the end of the session."""
    rng, events = random.Random(seed), []
    backend = Backend(events)
    async with serving(backend, Limits(body=100_000)) as server:
        client = Client(server.port)
        try:
            await client.until(lambda: b"\r\n\r\n" in client.received)
            for piece in pieces:
                client.send(piece)
                await turns(rng.choice([0, 0, 0, 1, 5, 20]))
                client.read()
            await trio.testing.wait_all_tasks_blocked(0.005)
            client.read()
            with contextlib.suppress(OSError):
                client.sock.shutdown(socket.SHUT_WR)
            await client.until(lambda: False)
        finally:
            client.sock.close()
        await trio.testing.wait_all_tasks_blocked(0.005)
        assert [fields for _, event, fields in server.log.events if event == "internal_error"] == []
        assert server.quota.connections == 0
    return events, [(code, without_ids(data)) for code, data in client.frames], backend.conversation.ended


@pytest.mark.parametrize("seed", SEEDS)
async def test_callbacks_and_the_task_give_the_same_messages_and_closes(monkeypatch, callbacks, seed):
    rng = random.Random(seed)
    pieces = stream_of(rng)
    if rng.random() < 0.5:
        # Each turn has one frame.
        monkeypatch.setattr(turns_module, "_SECONDS", 1e-9)
    in_callbacks = await converse(pieces, seed)
    assert callbacks
    callbacks.clear()

    async def never(_wire, _max_bytes, _on_input):
        return False

    monkeypatch.setattr(PlainWire, "pass_input", never)
    in_task = await converse(pieces, seed)
    assert not callbacks
    assert in_callbacks == in_task


# ---- what callbacks do


def call(number, method="x", size=0):
    return frame(
        TEXT,
        b'{"jsonrpc":"2.0","id":%d,"method":"%b","params":{"x":"%b"}}'
        % (number, method.encode(), b"z" * size),
    )


@contextlib.asynccontextmanager
async def session(server):
    """Connect a client and open its session."""
    client = Client(server.port)
    try:
        await client.until(lambda: b"\r\n\r\n" in client.received)
        client.send(frame(TEXT, INITIALIZE))
        await client.until(lambda: len(client.frames) == 1)
        await trio.testing.wait_all_tasks_blocked()
        yield client
    finally:
        client.sock.close()


async def test_calls_and_pings_are_handled_in_callbacks(callbacks):
    async with serving(Backend([])) as server, session(server) as client:
        callbacks.clear()
        client.send(call(1))
        await client.until(lambda: len(client.frames) == 2)
        client.send(frame(PING, b"a") + call(2) + frame(PONG))
        await client.until(lambda: len(client.frames) == 4)
    assert [alone for _, alone in callbacks] == [True, True]
    assert [opcode for opcode, _ in client.frames] == [TEXT, TEXT, PONG, TEXT]


@pytest.mark.parametrize("slow", [False, True])
async def test_a_stateless_request_is_begun_in_the_callback_unless_it_must_wait(callbacks, slow):
    events = []
    async with serving(Backend(events)) as server, session(server) as client:
        callbacks.clear()
        # `Backend` lets a request wait after every third event.
        events[:] = [None] * (3 if slow else 4)
        client.send(frame(TEXT, json.dumps(request("tools/call", tool("x"), id=7)).encode()))
        await client.until(lambda: len(client.frames) == 2)
    assert [alone for _, alone in callbacks] == [not slow]


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b'[{"jsonrpc":"2.0","id":1,"method":"x"}]'),
        call(1, size=20_000),
        frame(CLOSE, b"\x03\xe8"),
        frame(BINARY),
    ],
)
async def test_batches_large_frames_and_closes_are_left_to_the_task(callbacks, data):
    async with serving(Backend([])) as server, session(server) as client:
        callbacks.clear()
        client.send(data)
        await client.until(lambda: len(client.frames) == 2)
    assert [alone for _, alone in callbacks] == [False]


async def test_a_burst_is_handled_without_further_edges(callbacks, monkeypatch):
    """The kernel reports one edge for input that takes several reads."""
    monkeypatch.setattr(turns_module, "_SECONDS", 10.0)
    async with serving(Backend([])) as server, session(server) as client:
        callbacks.clear()
        client.send(b"".join(call(number, size=50) for number in range(1, 1001)))
        await client.until(lambda: len(client.frames) == 1001)
    assert len(callbacks) > 10
    assert {alone for _, alone in callbacks} == {True}


async def test_pieces_of_a_large_message_let_others_have_their_turns(monkeypatch):
    begin, begun = websocket_receiver.MessageReceiver._begin_turn, []

    async def counted(receiver):
        begun.append(receiver)
        await begin(receiver)

    monkeypatch.setattr(websocket_receiver.MessageReceiver, "_begin_turn", counted)
    monkeypatch.setattr(turns_module, "_SECONDS", 1e-9)
    async with serving(Backend([])) as server, session(server) as client:
        begun.clear()
        client.send(call(1, size=200_000))
        await client.until(lambda: len(client.frames) == 2)
    assert len(begun) > 2


@pytest.mark.parametrize("data", [frame(PONG), call(1)])
async def test_input_in_callbacks_shows_that_the_client_is_there(monkeypatch, callbacks, data):
    writers, init = [], FrameWriter.__init__

    def recorded(writer, *arguments):
        writers.append(writer)
        init(writer, *arguments)

    monkeypatch.setattr(FrameWriter, "__init__", recorded)
    async with serving(Backend([])) as server, session(server) as client:
        callbacks.clear()
        writers[0].pinged_at = 5.0
        client.send(data)
        await client.until(lambda: callbacks)
        assert writers[0].pinged_at == 0


# A turn has one frame, or as many as one read.
@pytest.mark.parametrize(("seconds", "most"), [(0.0, 2), (1.0, 205)])
async def test_a_flood_of_small_frames_lets_others_have_their_turns(monkeypatch, seconds, most):
    monkeypatch.setattr(turns_module, "_SECONDS", max(seconds, 1e-9))
    events, flood = [], frame(TEXT, b'{"jsonrpc":"2.0","method":"flood"}') * 2000
    async with serving(Backend(events)) as server, session(server) as first, session(server) as second:
        events.clear()
        first.send(flood)
        second.send(call(1, "other"))
        await second.until(lambda: len(second.frames) == 2)
        await first.until(lambda: len(events) == 2001)
    methods = [event.method for event in events]
    assert methods.index("other") <= most
    assert len(methods) == 2001


async def test_an_exception_in_a_callback_closes_one_connection(callbacks, monkeypatch):
    backend = Backend([])
    async with serving(backend) as server, session(server) as first:
        receive = FakeConversation.receive
        # The session of the other connection.
        backend.conversation = FakeConversation(reply=backend.conversation.reply)
        async with session(server) as second:
            broken = backend.conversation

            def fail(conversation, message, queue):
                if conversation is broken:
                    raise RuntimeError("a bug of ours")
                receive(conversation, message, queue)

            monkeypatch.setattr(FakeConversation, "receive", fail)
            second.send(call(1) + call(2))
            await second.until(lambda: False)
            assert second.frames[1:] == [(CLOSE, (1011).to_bytes(2, "big") + b"internal error")]
            assert broken.ended == ["the bridge closed the WebSocket: internal error"]
        await trio.testing.wait_all_tasks_blocked()
        assert server.quota.connections == 1
        backend.queue = None
        first.send(frame(PING, b"a"))
        await first.until(lambda: len(first.frames) == 2)
    assert [event for _, event, _ in server.log.events].count("internal_error") == 1


async def test_on_shutdown_a_connection_that_was_served_in_callbacks_is_closed():
    async with serving(Backend([])) as server, session(server) as client:
        client.send(call(1))
        await client.until(lambda: len(client.frames) == 2)
        server.ticker.announce_shutdown()
        await client.until(lambda: len(client.frames) == 3)
    assert client.frames[2] == (CLOSE, (1001).to_bytes(2, "big") + b"the bridge is stopping")
