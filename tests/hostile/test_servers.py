"""Servers that write output that is not a response, over every transport of both eras.

Each call ends in exactly one response, its own or an error of the bridge, and the next call of the session is served.
"""

import json

import pytest

from ..support.hostile_carriers import StatelessFrames, StatelessPosts, frames, lines, posts
from ..support.json_texts import META

pytestmark = pytest.mark.usefixtures("still_serving")

GOOD = b'{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}\n'
BAD = b'{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"bad":true}}\n'
SERVED = [
    pytest.param(b"Server is ready\n" + GOOD, id="C03 a banner"),
    pytest.param(b"\x1b]0;pwn\x07\x1b[2J\n" + GOOD, id="C03 ANSI"),
    pytest.param(b"Content-Length: 50\r\n\r\n" + GOOD, id="C03 the framing of LSP"),
    pytest.param(b"\xef\xbb\xbf\n" + GOOD, id="C03 a byte order mark"),
    pytest.param(b"\n \r\n\n" + GOOD, id="C03 blank lines"),
    pytest.param(GOOD[:-1] + b"\r\n", id="C03 CRLF"),
    pytest.param(b"[" + GOOD[:-1] + b"]\n", id="a batch of one"),
    pytest.param(GOOD + BAD, id="C04 two answers"),
    pytest.param(b'{"jsonrpc":"2.0","id":987654,"result":{}}\n' + GOOD, id="C04 an answer to nothing"),
    pytest.param(GOOD.replace(b"$ID", b'"$ID"') + BAD, id="C04 our id as a string"),
    pytest.param(GOOD.replace(b"$ID", b"$ID.0") + BAD, id="C04 our id with a fraction of zero"),
    pytest.param(BAD.replace(b"$ID", b"null") + GOOD, id="C04 an answer to null"),
    pytest.param(GOOD.replace(b"[]", b'[],"x":"\xff"'), id="C11 invalid UTF-8"),
    pytest.param(GOOD.replace(b"[]", b'[],"x":"\\ud800"'), id="C11 half a surrogate pair"),
    pytest.param(b'{"jsonrpc":"2.0","id":"x","method":"ping"}\n' + GOOD, id="C05 a ping"),
    pytest.param(b'{"jsonrpc":"2.0","id":"x","method":"no/such"}\n' + GOOD, id="C05 an unknown request"),
    pytest.param(b'{"jsonrpc":"2.0","method":"notifications/no/such"}\n' + GOOD, id="C05 an unknown notification"),
    pytest.param(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":$ID}}\n' + GOOD, id="C05 a cancellation"),
]  # fmt: skip
FAILED = [
    pytest.param(b'{"jsonrpc":"2.0","id":$ID}\n', id="C04 neither result nor error"),
    pytest.param(b'{"jsonrpc":"2.0","id":$ID,"result":{},"error":{"code":1,"message":"x"}}\n', id="C04 both"),
    pytest.param(b'{"jsonrpc":"1.0","id":$ID,"result":{}}\n', id="C11 another JSON-RPC"),
    pytest.param(b'{"jsonrpc":"2.0","id":$ID,"result":{"x":NaN}}\n', id="C11 NaN"),
    pytest.param(b'{"jsonrpc":"2.0","id":$ID,"result":' + b'{"x":' * 2000 + b"1" + b"}" * 2000 + b"}\n", id="C11 depth 2000"),
    pytest.param(b'{"jsonrpc":"2.0","id":$ID,"result":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}\n", id="C11 depth 10^5"),
    pytest.param(b'{"jsonrpc":"2.0","id":$ID,"result":{"x":[1,]}}\n', id="C11 invalid JSON"),
    pytest.param(b'{"jsonrpc":"2.0","id":$ID,"error":"x"}\n', id="C11 an invalid error"),
]  # fmt: skip


def call(hex_, id_, more=b""):
    params = b'"name":"raw","arguments":{"hex":"%b"}%b' % (hex_, more)
    return b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{%b}}' % (id_, params)


@pytest.fixture(params=["POST", "messages", "WebSocket", "pipe", "stateless POST", "stateless WebSocket"])
def call_raw(request, bridge, session):
    """Yield a function that calls the tool `raw` and returns what the transport delivers."""
    if request.param == "POST":
        yield lambda hex_, id_: bridge.exchange(bridge.post(call(hex_, id_), session))
    elif request.param in ("messages", "WebSocket", "pipe"):
        with {"messages": posts, "WebSocket": frames, "pipe": lines}[request.param](bridge) as carrier:
            yield lambda hex_, id_: carrier.exchange(call(hex_, id_))[1]
    elif request.param == "stateless POST":
        yield lambda hex_, id_: StatelessPosts(bridge).exchange(call(hex_, id_, b"," + META), "raw")[1]
    else:
        with bridge.websocket(initialized=False) as socket:
            modern = StatelessFrames(bridge, socket)
            yield lambda hex_, id_: modern.exchange(call(hex_, id_, b"," + META))[1]


def response_to(call_raw, line, id_):
    """Return the response, without notifications and server requests."""
    found = call_raw(line.hex().encode(), id_)
    # A POST was answered with JSON or with an event stream.
    if hasattr(found, "headers"):
        if found.headers["content-type"] == "application/json":
            return found.json
        data = [text[6:] for text in found.body.decode().split("\n") if text.startswith("data: {")]
        found = [json.loads(text) for text in data]
    if isinstance(found, dict):
        return found
    (one,) = [message for message in found if "method" not in message]
    return one


@pytest.mark.parametrize("line", SERVED)
def test_output_that_is_not_a_response_does_not_replace_one(call_raw, line):
    for id_ in (1, 2):
        found = response_to(call_raw, line, id_)
        assert found["id"] == id_
        assert found["result"]["content"] == []
        assert "bad" not in found["result"]


@pytest.mark.parametrize("line", FAILED)
def test_c11_an_invalid_response_becomes_an_error_and_the_session_continues(call_raw, line):
    found = response_to(call_raw, line, 1)
    assert found["id"] == 1
    assert found["error"]["code"] in (-32000, -32603)
    assert "not valid" in found["error"]["message"]
    assert response_to(call_raw, GOOD, 2)["result"]["content"] == []
