"""Accept every legal input of a WebSocket client, and give every close frame a reason and a log event (W5)."""

import contextlib
import json
import signal
import time

import pytest

from ..support.bridge_process import EXAMPLE, Bridge
from ..support.daemon_process import daemon
from ..support.websocket_handshake import INITIALIZE_MESSAGE, open_session, upgrade
from ..support.wire import BINARY, CLOSE, PING, PONG, TEXT, connect, frame

CONTINUATION = 0
CALL = json.dumps(
    {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "é" * 3000}}},
    ensure_ascii=False,
).encode()  # fmt: skip


@pytest.fixture(scope="module")
def bridge(tmp_path_factory):
    with Bridge(tmp_path_factory.mktemp("closes"), EXAMPLE, "--limit", "body=100000") as running:
        yield running


def authorized(bridge, connection, **how):
    return open_session(bridge, connection, f"Authorization: Bearer {bridge.token}", **how)


def closing(socket):
    """Return the code and the reason of the close frame of the bridge. The connection ends after it."""
    while True:
        opcode, payload = socket.next()
        if opcode == CLOSE:
            socket.connection.to_the_end(10)
            return int.from_bytes(payload[:2], "big"), payload[2:].decode()


def logged(bridge, *words):
    """Wait for a line of the log with these words, and return it."""
    end = time.monotonic() + 10
    while not any(all(word in line for word in words) for line in tuple(bridge.lines)):
        assert time.monotonic() < end, (words, bridge.lines[-20:])
        time.sleep(0.01)


def event_of(bridge, code, reason, side="bridge"):
    logged(bridge, "websocket_closed", f"side={side}", f"code={code}", reason)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_w5_a_message_in_thousands_of_fragments_is_one_message(bridge, size):
    pieces = [CALL[at : at + size] for at in range(0, len(CALL), size)]
    assert len(pieces) > 800
    data = frame(TEXT, pieces[0], fin=False)
    data += b"".join(frame(CONTINUATION, piece, fin=False) for piece in pieces[1:])
    with connect(bridge.address) as connection:
        socket = authorized(bridge, connection)
        connection.send(data + frame(CONTINUATION, b""))
        answer = socket.message()
        assert answer["id"] == 5
        assert "é" * 3000 in json.dumps(answer, ensure_ascii=False)


def test_w5_empty_fragments_are_limited(bridge):
    with connect(bridge.address) as connection:
        socket = authorized(bridge, connection)
        connection.send(frame(TEXT, CALL[:9], fin=False) + frame(CONTINUATION, b"", fin=False) * 1000)
        connection.send(frame(CONTINUATION, CALL[9:]))
        # The next message may have as many again.
        assert socket.message()["id"] == 5
        connection.send(frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 2000)
        code, reason = closing(socket)
    assert code == 1008
    assert reason == "more than 1023 empty fragments in a message"
    event_of(bridge, 1008, reason)


@pytest.mark.parametrize("opcode", [PING, PONG])
@pytest.mark.parametrize("count", [21, 400])
def test_w5_many_control_frames_in_a_second_are_served(bridge, opcode, count):
    with connect(bridge.address) as connection:
        socket = authorized(bridge, connection)
        connection.send(b"".join(frame(opcode, b"%d" % number) for number in range(count)))
        socket.send({"jsonrpc": "2.0", "id": 9, "method": "ping"})
        pongs = []
        while True:
            found, payload = socket.next()
            if found == TEXT:
                break
            pongs.append((found, payload))
        assert json.loads(payload)["id"] == 9
        if opcode == PING:
            while not pongs or pongs[-1] != (PONG, b"%d" % (count - 1)):
                pongs.append(socket.next())
        else:
            assert pongs == []


CLOSES = [
    ("binary JSON", frame(BINARY, CALL), 1003, "text frames"),
    ("empty binary", frame(BINARY, b""), 1003, "text frames"),
    ("binary in a message", frame(TEXT, b"{", fin=False) + frame(BINARY, b"}"), 1003, "text frames"),
    ("not UTF-8", frame(TEXT, b'"\xff"'), 1007, "UTF-8"),
    ("not UTF-8 in fragments", frame(TEXT, b'"', fin=False) + frame(CONTINUATION, b'\xff"'), 1007, "UTF-8"),
    ("control frames", frame(PING, b"x" * 125) * 600, 1008, "65536 bytes of control frames"),
    ("far over the limit", frame(TEXT, b"", length=1 << 40), 1009, "limit"),
    ("not masked", frame(TEXT, b"{}", masked=False), 1002, "masked"),
    ("a reserved bit", frame(TEXT, b"{}", rsv=4), 1002, "reserved bit"),
    ("an unknown opcode", frame(3, b"{}"), 1002, "opcode 3"),
    ("an unknown control opcode", frame(11, b""), 1002, "opcode 11"),
    ("a long ping", frame(PING, b"x" * 126), 1002, "125 bytes"),
    ("a fragmented ping", frame(PING, b"x", fin=False), 1002, "control frame"),
    ("text in a message", frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002, "fragmented message"),
    ("continuation first", frame(CONTINUATION, b"{}"), 1002, "without a message"),
    ("a length that is too long", frame(TEXT, b"{}", length_bytes=8), 1002, "shortest form"),
    ("half a code", frame(CLOSE, b"\x03"), 1002, "half a code"),
    ("close 1005", frame(CLOSE, (1005).to_bytes(2, "big")), 1002, "1005"),
    ("a reason that is not UTF-8", frame(CLOSE, b"\x03\xe8\xff"), 1007, "UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "code", "words"), [pytest.param(*row, id=name) for name, *row in CLOSES])
def test_w5_a_close_names_its_reason_on_the_wire_and_in_the_log(bridge, data, code, words):
    with connect(bridge.address) as connection:
        socket = authorized(bridge, connection)
        connection.try_send(data)
        found, reason = closing(socket)
    assert found == code
    assert words in reason
    assert len(reason.encode()) <= 123
    event_of(bridge, code, "reason=")
    logged(bridge, "session_closed", f"the bridge closed the WebSocket: {reason}")


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_w5_a_close_of_the_client_is_answered_with_a_reason_and_logged_as_the_client_s(bridge, code):
    with connect(bridge.address) as connection:
        socket = authorized(bridge, connection)
        connection.send(frame(CLOSE, code.to_bytes(2, "big") + b"bye"))
        assert closing(socket) == (code, "closed by the client")
    event_of(bridge, "", "reason=", side="client")
    logged(bridge, "session_closed", f"the client closed its WebSocket: {code} bye")


def test_w5_an_end_without_a_close_frame_is_logged_as_such(bridge):
    with connect(bridge.address) as connection:
        authorized(bridge, connection)
    logged(bridge, "session_closed", "the connection of the client ended without a close frame")


def test_w5_a_close_without_a_code_has_none_in_its_answer(bridge):
    with connect(bridge.address) as connection:
        socket = authorized(bridge, connection)
        connection.send(frame(CLOSE, b""))
        assert socket.next() == (CLOSE, b"")
        connection.to_the_end(10)


def test_w5_the_reason_arrives_although_the_client_goes_on_sending(bridge):
    with connect(bridge.address) as connection:
        socket = authorized(bridge, connection)
        connection.send(frame(BINARY, b"x" * 3_000_000))
        code, reason = closing(socket)
    assert code == 1003
    assert "text frames" in reason


def test_w5_the_bridge_ends_each_connection_with_one_close_frame_and_a_reason(tmp_path):
    with (
        daemon(tmp_path, {"example": {"command": EXAMPLE}}) as running,
        connect(running.address) as connection,
    ):
        socket = authorized(running, connection, target="/servers/example/ws")
        running.config.write_text(running.config.read_text().replace("[servers.example]", "[servers.other]"))
        running.reload()
        opcode, payload = socket.next()
        assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, 1001)
        reason = payload[2:].decode()
        assert reason.startswith("the session has ended: ")
        connection.send(frame(CLOSE, payload))
        assert connection.to_the_end(10) == b""
        event_of(running, 1001, reason)


MODERN = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/list",
    "params": {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        }
    },
}


def test_w5_each_open_connection_gets_a_close_frame_when_the_bridge_stops(tmp_path):
    with Bridge(tmp_path, EXAMPLE) as running, contextlib.ExitStack() as stack:
        sockets = []
        for first in (None, INITIALIZE_MESSAGE, MODERN):
            socket = upgrade(
                running,
                stack.enter_context(connect(running.address)),
                f"Authorization: Bearer {running.token}",
            )
            if first is not None:
                socket.send(first)
                assert "result" in socket.message()
            sockets.append(socket)
        running.process.send_signal(signal.SIGTERM)
        reasons = []
        for socket in sockets:
            opcode, payload = socket.next()
            assert (opcode, payload[:2]) == (CLOSE, b"\x03\xe9")
            socket.connection.send(frame(CLOSE, payload))
            reasons.append(payload[2:].decode())
        stopping = "the bridge is stopping"
        assert reasons == [stopping, f"the session has ended: {stopping}", stopping]
        assert running.stop() == 0
