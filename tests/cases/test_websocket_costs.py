"""A message that is too large, or that meets an internal error, fails alone and does not close the connection."""

import json

import pytest
import trio

from mcpbridged.transports.endpoints.http_sse import EventStream
from mcpbridged.transports.endpoints.websocket import WebSocket
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ..support.correlation import constant, without_ids
from ..support.loop_budget import running
from ..support.serving import TOKEN, listening
from ..support.wire import TEXT, frame

BODY = 100_000
CONTINUATION = 0


@pytest.fixture(scope="module")
def bridge(tmp_path_factory):
    with running(tmp_path_factory.mktemp("costs"), f"--limit=body={BODY}") as bridge:
        yield bridge


def call(id_, size, *, id_last=False):
    head = {"jsonrpc": "2.0", "method": "test/x", "params": {"x": "a" * size}}
    return json.dumps({**head, "id": id_} if id_last else {"id": id_, **head}).encode()


@pytest.mark.parametrize("in_fragments", [False, True])
@pytest.mark.parametrize("id_", [5, "five"])
def test_r15_a_websocket_message_over_its_limit_is_refused_under_its_id(bridge, in_fragments, id_):
    with bridge.websocket() as socket:
        socket.send({"jsonrpc": "2.0", "id": 1, "method": "test/hold"})
        text = call(id_, 3 * BODY)
        if in_fragments:
            parts = [text[at : at + 40_000] for at in range(0, len(text), 40_000)]
            for number, part in enumerate(parts):
                opcode = CONTINUATION if number else TEXT
                socket.connection.send(frame(opcode, part, fin=number == len(parts) - 1))
        else:
            socket.send(text)
        refusal = socket.message()
        assert refusal["id"] == id_
        assert constant(refusal["error"]) == {
            "code": -32600,
            "message": f"a message of more than {BODY} bytes, the limit (limits.body)",
        }
        # The earlier request is still in flight.
        socket.send({"jsonrpc": "2.0", "id": 2, "method": "test/release"})
        assert {socket.message()["id"], socket.message()["id"]} == {1, 2}


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        (call(5, 3 * BODY, id_last=True), None),
        (b"[" * (2 * BODY), None),
        (b"x" * (2 * BODY), None),
        (b'{"id":8,"method":"a","params":' + b"[" * 80_000 + b"]" * 10_000, 8),
    ],
)
def test_r15_a_refusal_without_a_readable_id_is_sent_once_under_null(bridge, text, id_):
    with bridge.websocket() as socket:
        socket.send(text)
        socket.send({"jsonrpc": "2.0", "id": 2, "method": "ping"})
        first, second = socket.message(), socket.message()
        assert (first["id"], first["error"]["code"]) == (id_, -32600)
        assert second == {"jsonrpc": "2.0", "id": 2, "result": {}}


def test_r15_a_message_over_its_limit_before_a_session_is_refused_under_its_id(bridge):
    with bridge.websocket(initialized=False) as socket:
        socket.send(call(4, 2 * BODY))
        assert socket.message()["id"] == 4
        socket.send(bridge.initialize())
        assert socket.message()["id"] == 0


def test_r15_a_message_far_over_its_limit_closes_with_a_reason(bridge):
    with bridge.websocket() as socket:
        socket.connection.try_send(b"\x81\xff" + (65 * BODY).to_bytes(8, "big") + b"\0" * 4)
        opcode, payload = socket.next()
        assert (opcode, int.from_bytes(payload[:2], "big")) == (8, 1009)
        assert payload[2:] == b"a message of more than 64 times the limit of its size"


# ---- an internal error


class Faulty:
    """A backend with a bug. Every method raises."""

    def __init__(self, fault):
        self.fault = fault

    async def open(self, *_arguments, **_keywords):
        raise self.fault

    async def ask(self, *_arguments, **_named):
        raise self.fault


class Conversation:
    id = "x"
    version = "2024-11-05"
    ended = ""

    def receive(self, _message, _outlet):
        raise RuntimeError("a bug of ours")

    def end(self, reason):
        self.ended = reason


class Talking(Faulty):
    """A backend whose conversations have a bug."""

    def __init__(self):
        super().__init__(RuntimeError())
        self.conversation = Conversation()

    async def open(self, *_arguments, **_keywords):
        return self.conversation


class Deskless(Faulty):
    """A backend that refuses after the upgrade."""

    def __init__(self):
        super().__init__(Rejection(503, -32000, "no more servers", close=True))


async def upgraded(backend, *messages):
    """Return all bytes that a connection receives after its upgrade until it ends, and the log."""
    limits = Limits()
    async with listening(limits=limits) as server:
        server.routes.replace({"/ws": WebSocket(backend, limits, server.log)})
        with trio.fail_after(10):
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                head = (
                    f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
                    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mcp\r\n\r\n"
                )
                await stream.send_all(head.encode() + b"".join(map(framed, messages)))
                received = b"".join([data async for data in stream])
    head, _, rest = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    return rest, server.log


def framed(message):
    return frame(TEXT, json.dumps(message).encode())


INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
MODERN = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("backend", "message"),
    [
        (Faulty(RuntimeError("a bug of ours")), INITIALIZE),
        (Faulty(RuntimeError("a bug of ours")), MODERN),
        (Faulty(ExceptionGroup("bugs of ours", [ValueError()])), INITIALIZE),
        (Talking(), INITIALIZE),
    ],
)
async def test_r06_an_internal_error_closes_a_websocket_with_1011(backend, message):
    rest, log = await upgraded(backend, message)
    assert rest == b"\x88\x10" + (1011).to_bytes(2, "big") + b"internal error"
    assert [event for kind, event, _ in log.events if kind == "error"] == ["internal_error"]


@pytest.mark.anyio
async def test_r06_a_refusal_after_the_upgrade_is_a_message_and_a_close_frame():
    rest, log = await upgraded(Deskless(), INITIALIZE)
    refusal = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no more servers"}}'
    reason = b"no more servers"
    close = bytes([0x88, 2 + len(reason)]) + (1001).to_bytes(2, "big") + reason
    assert (rest[0], rest[1]) == (0x81, len(rest) - 2 - len(close))
    assert without_ids(rest[2:]) == refusal + close
    assert ("info", "websocket_closed") in [(kind, event) for kind, event, _ in log.events]


@pytest.mark.anyio
async def test_r06_an_event_stream_is_broken_off_after_its_head():
    limits, backend = Limits(), Talking()

    class Unwritable:
        def __str__(self):
            raise RuntimeError("a bug of ours")

    backend.conversation.id = Unwritable()
    async with listening(limits=limits) as server:
        server.routes.replace({"/sse": EventStream(backend, limits, "/messages")})
        with trio.fail_after(10):
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                head = (
                    f"GET /sse HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
                    "Accept: text/event-stream\r\n\r\n"
                )
                await stream.send_all(head.encode())
                received = b"".join([data async for data in stream])
    assert received.count(b"HTTP/1.1") == 1
    # The last chunk is missing, so that the client can detect the end of an incomplete stream.
    assert received.endswith(b"\r\n\r\n")
    assert backend.conversation.ended


def test_r15_unfinished_messages_of_a_principal_are_bounded_together(tmp_path):
    with running(tmp_path, "--limit=unfinished_bytes=1000000") as bridge:
        text = call(7, 800_000)
        with bridge.websocket() as first, bridge.websocket() as second:
            first.connection.send(frame(TEXT, text)[:700_000])
            second.send({"jsonrpc": "2.0", "id": 1, "method": "ping"})
            assert second.message()["id"] == 1
            # The messages have 700,000 and 800,000 bytes.
            second.send(text)
            refusal = second.message()
            assert refusal["id"] == 7
            assert "unfinished_bytes" in refusal["error"]["message"]
            second.send({"jsonrpc": "2.0", "id": 2, "method": "ping"})
            assert second.message()["id"] == 2
        # Both requests have ended and no longer count.
        with bridge.websocket() as third:
            third.send(text)
            assert third.message()["result"]["method"] == "test/x"
            third.send(text)
            assert third.message()["result"]["method"] == "test/x"
