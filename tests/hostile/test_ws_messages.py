"""Valid messages over WebSocket: of every length, too many at once, with separators in them, interrupted by a close.

Invalid frames are in test_websocket, invalid texts in test_carriers.
"""

import json

import pytest

from ..support.wire import CLOSE, TEXT, Socket, frame

pytestmark = pytest.mark.usefixtures("still_serving")


def echo(id_=1, **params):
    return {"jsonrpc": "2.0", "id": id_, "method": "test/echo", "params": params}


ECHO = json.dumps(echo()).encode()


@pytest.fixture(scope="module")
def open_socket(bridge):
    """Yield one WebSocket for the tests that must leave it usable."""
    with bridge.websocket() as socket:
        yield socket


@pytest.mark.parametrize("size", [0, 1, 60, 125, 126, 65535, 65536, 1_000_000, 3_900_000])
def test_messages_of_every_length_of_length_go_both_ways(open_socket, size):
    open_socket.send(echo(x="a" * size))
    assert open_socket.message()["result"]["params"] == {"x": "a" * size}


def test_a_message_of_16_mib_is_read_and_a_byte_more_is_not(bridge):
    limit = 16 * 1024 * 1024
    rest = limit - len(json.dumps(echo(x="")).encode())
    with bridge.websocket() as socket:
        socket.send(b" " * (rest - 1000) + json.dumps(echo(x="a" * 1000)).encode())
        assert socket.message()["result"]["params"] == {"x": "a" * 1000}
        socket.send(b" " * (limit + 1))
        refusal = socket.message()
        assert (refusal["id"], refusal["error"]["code"]) == (None, -32600)
        socket.send(echo(x="a"))
        assert socket.message()["result"]["params"] == {"x": "a"}


def test_the_129th_call_in_flight_is_refused_and_the_rest_answered(bridge):
    with bridge.websocket() as socket:
        for id_ in range(1, 130):
            socket.send({"jsonrpc": "2.0", "id": id_, "method": "test/hold"})
        refusal = socket.message()
        assert (refusal["id"], refusal["error"]["code"]) == (129, -32000)
        socket.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 128}})
        socket.send({"jsonrpc": "2.0", "id": 130, "method": "test/release"})
        assert {socket.message()["id"] for _ in range(128)} == {*range(1, 128), 130}


def test_v17_each_websocket_receives_from_its_own_child_only(bridge):
    with bridge.websocket() as one, bridge.websocket() as two:
        one.send(
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "test/notify",
                "params": {"count": 100, "more": {"whose": "one"}},
            }
        )
        two.send(
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "test/notify",
                "params": {"count": 100, "more": {"whose": "two"}},
            }
        )
        for socket, name in ((one, "one"), (two, "two")):
            received = [socket.message() for _ in range(101)]
            assert [message["params"]["n"] for message in received[:-1]] == list(range(100))
            assert {message["params"]["whose"] for message in received[:-1]} == {name}
            assert received[-1]["result"]["params"]["more"] == {"whose": name}


def test_s06_separators_in_a_message_are_data(open_socket):
    line = '{"jsonrpc":"2.0","id":$ID,"result":{"x":["\\r\\n\\u2028","\u2028\u2029\u0085"]}}\n'
    open_socket.send(
        {"jsonrpc": "2.0", "id": 1, "method": "test/raw", "params": {"hex": line.encode().hex()}}
    )
    assert open_socket.message()["result"]["x"] == ["\r\n\u2028", "\u2028\u2029\u0085"]


@pytest.mark.parametrize(
    "line",
    [
        b"not JSON",
        b'{"x":',
        b"\xff\xfe",
        b"[]",
        b'{"jsonrpc":"2.0","id":999,"result":{}}',
        b"\x1b[2J",
        b"\xef\xbb\xbf{}",
    ],
)
def test_c03_child_output_that_is_not_a_message_reaches_no_client(open_socket, line):
    open_socket.send(
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "test/raw",
            "params": {"hex": (line + b"\n" + b'{"jsonrpc":"2.0","id":$ID,"result":{}}\n').hex()},
        }
    )
    answer = open_socket.message()
    assert answer["id"] == 1
    assert "result" in answer or answer["error"]["code"] == -32000
    open_socket.connection.send(frame(TEXT, ECHO))
    assert open_socket.message()["id"] == 1


def test_a_close_while_calls_are_in_flight_is_answered(bridge):
    with bridge.connect() as connection:
        connection.send(bridge.upgrade())
        assert connection.reply().status == 101
        socket = Socket(connection)
        socket.send(bridge.initialize())
        assert socket.message()["id"] == 0
        socket.send({"jsonrpc": "2.0", "id": 1, "method": "test/hold"})
        connection.send(frame(CLOSE, b"\x03\xe8"))
        assert socket.closing() == 1000
