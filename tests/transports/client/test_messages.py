"""Messages of a bridge and of a server as far as their transport reads them."""

import json

import pytest

from mcpbridged.transports.client.messages import Received, read_received, read_sent, with_id
from mcpbridged.validators import jsonrpc
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

LIMITS = Limits()
BIG = "x" * 100_000


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":"ping"}', (b"7", "ping", b"")),
        (b'{"jsonrpc":"2.0","id":"a\\"b","method":"x","params":{"a":1}}', (b'"a\\"b"', "x", b'{"a":1}')),
        (b'{"jsonrpc":"2.0","method":"n","params":{}}', (b"", "n", b"{}")),
        (b'{"jsonrpc":"2.0","method":"n"}', (b"", "n", b"")),
        (b'{"jsonrpc":"2.0","id":7,"result":{"method":"x"}}', (b"7", "", b"")),
        (b'{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":""}}', (b"7", "", b"")),
        # Not as the bridge writes it.
        (b'{"method":"a/b","id":7,"jsonrpc":"2.0","params":{"a":1}}', (b"7", "a/b", b'{"a":1}')),
        (b'{"jsonrpc":"2.0","method":"a\\/b"}', (b"", "a/b", b"")),
        (b'{"result":{},"id":7,"jsonrpc":"2.0"}', (b"7", "", b"")),
    ],
)
def test_a_message_of_the_bridge(line, expected):
    sent = read_sent(line)
    assert (sent.id, sent.method, sent.params) == expected
    assert sent.is_request == bool(expected[0] and expected[1])
    assert (sent.line, sent.unsent) == (line, True)


def test_a_line_that_is_no_message_raises():
    with pytest.raises(Rejection):
        read_sent(b"hello")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"jsonrpc": "2.0", "id": 7, "result": {}}, (b"7", "", False)),
        ({"result": {"id": 3, "method": "x"}, "jsonrpc": "2.0", "id": "7"}, (b'"7"', "", False)),
        ({"jsonrpc": "2.0", "id": 7, "error": {"code": 1, "message": ""}}, (b"7", "", True)),
        ({"jsonrpc": "2.0", "id": "q", "method": "roots/list"}, (b'"q"', "roots/list", False)),
        ({"jsonrpc": "2.0", "method": "n", "params": {}}, (b"", "n", False)),
        # Large: only the beginning and the end are read.
        ({"jsonrpc": "2.0", "id": 7, "result": {"a": BIG}}, (b"7", "", False)),
        ({"result": {"a": BIG}, "jsonrpc": "2.0", "id": 7}, (b"7", "", False)),
        ({"jsonrpc": "2.0", "id": 7, "error": {"code": 1, "message": BIG}}, (b"7", "", True)),
        ({"jsonrpc": "2.0", "method": "n", "params": {"a": BIG}}, (b"", "n", False)),
        ({"jsonrpc": "2.0", "id": 7, "method": "m", "params": {"a": BIG}}, (b"7", "m", False)),
        ({"result": {"a": BIG}, "jsonrpc": "2.0", "id": 7, "y": {"z": 1}}, (b"7", "", False)),
        # Errors for requests that were refused before their id was read.
        ({"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": ""}}, (b"", "", True)),
        ({"jsonrpc": "2.0", "error": {"code": 1, "message": ""}}, (b"", "", True)),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_message_of_a_server(message, expected, indent):
    text = json.dumps(message, indent=indent).encode()
    (found,) = read_received(b"\xef\xbb\xbf\r\n" + text + b"\n", LIMITS)
    assert (found.id, found.method, found.error) == expected
    assert b"\n" not in found.line
    assert json.loads(found.line) == message


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"hello",
        b"<html></html>",
        b"null",
        b'{"a":1}',
        b"[]",
        b'{"jsonrpc":"2.0","id":null,"result":{}}',
        b'{"id":7}',
        b'{"jsonrpc":"2.0","method":"x","error":1,"id":null',
        b'{"method":5,"x":"' + b"y" * 70_000,
        b'{"method":5,"x":"' + b"y" * 70_000 + b'"}',
    ],
)
def test_text_that_is_no_message_is_omitted(text):
    assert read_received(text, LIMITS) == []


def test_a_batch_has_several_messages():
    text = b' [{"jsonrpc":"2.0","id":1,"result":{}}, 5,\n{"jsonrpc":"2.0","method":"n"}]'
    assert [(one.id, one.method) for one in read_received(text, LIMITS)] == [(b"1", ""), (b"", "n")]
    assert read_received(b"[%b]" % b",".join([b"1"] * 100), LIMITS) == []


def test_a_response_that_cannot_be_read_has_its_id():
    for text in (b'{"jsonrpc":"2.0","id":7,"result":NaN}', b'{"jsonrpc":"2.0","id":7,"result":{"a":\xff"'):
        (found,) = read_received(text, LIMITS)
        assert (found.id, found.method) == (b"7", "")


def test_invalid_utf_8_and_lone_surrogates_are_kept_for_the_receiver():
    text = b'{"jsonrpc":"2.0","id":7,"result":{"a":"\xff","b":"\\ud83d"}}'
    (found,) = read_received(text, LIMITS)
    assert found == Received(text, b"7", "")


def test_an_error_without_an_id_gets_that_of_the_request():
    def error_of(text):
        return with_id(b"7", Received(text, b"", "", error=True))

    line = error_of(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"m","data":[1]}}')
    assert line == b'{"jsonrpc":"2.0","id":7,"error":{"code":-32600,"message":"m","data":[1]}}'
    assert jsonrpc.decode(line, LIMITS)
    assert error_of(b'{"error":"text"}') == b""
    assert error_of(b'{"error":{"code":NaN}}') == b""
    assert error_of(b'{"x":1}') == b""
