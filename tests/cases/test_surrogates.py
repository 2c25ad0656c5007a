"""Pass lone surrogates, which programs write that cut a text inside of a character, and replace bytes that are no UTF-8."""

import json

import pytest

from ..support.scripted_servers import CARRIERS, PAIRS, client, served

CUT = [
    b'"cut \\ud83d"',
    b'"\\uDE00 rest"',
    b'"\\ud83d\\ud83d\\ude00\\\\ud83d"',
    b'{"a":["\\uD83D",{"b\\udc00":1}]}',
    b'"\\uDd1e\\uD834"',
]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with served(tmp_path_factory.mktemp("surrogates")) as running:
        yield running


@pytest.fixture(scope="module", params=PAIRS, ids=str)
def peer(request, running):
    with client(running, request.param) as peer:
        yield peer


@pytest.mark.parametrize("value", CUT)
def test_t5_a_lone_surrogate_in_a_result_passes_byte_for_byte(peer, value):
    line = b'{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"structuredContent":{"x":%b},"_meta":{"y":%b}}}'
    if peer.path.server == "modern":
        line = line.replace(b'"content"', b'"resultType":"complete","content"')
    text = peer.exchange(peer.raw(b"1", line % (value, value)))
    assert text.count(value) == 2
    assert json.loads(text)["result"]["structuredContent"] == {"x": json.loads(value)}


@pytest.mark.parametrize("value", CUT)
def test_t5_a_lone_surrogate_in_an_error_passes_byte_for_byte(peer, value):
    for code in (-32000, 7, -32002, -32050):
        line = b'{"jsonrpc":"2.0","id":$ID,"error":{"code":%d,"message":"m","data":{"x":%b}}}' % (code, value)
        text = peer.exchange(peer.raw(b"1", line))
        assert value in text
        assert json.loads(text)["error"]["data"]["x"] == json.loads(value)


@pytest.mark.parametrize("value", CUT)
def test_t5_a_lone_surrogate_in_an_argument_reaches_the_server_byte_for_byte(peer, value):
    text = peer.tool(b"1", "echo", x=0).replace(b'"x": 0', b'"x":%b' % value)
    [content] = peer.exchange_json(text)["result"]["content"]
    assert value.decode() in content["text"]


@pytest.mark.parametrize("value", CUT)
@pytest.mark.parametrize("path", CARRIERS, ids=str)
def test_t5_a_lone_surrogate_in_a_notification_passes_byte_for_byte(running, path, value):
    notification = (
        b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":%b}}' % value
    )
    good = b'{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}'
    with client(running, path) as peer:
        peer.send(peer.raw(b"1", notification, good))
        assert peer.receive() == notification
        assert json.loads(peer.answer())["result"] == {"content": []}
        peer.send(b'{"jsonrpc":"2.0","method":"notifications/x","params":{"x":%b}}' % value)
        assert peer.exchange_json(peer.call(b"2", "ping"), b"2")["result"] == {}


@pytest.mark.parametrize(
    "bad", [b"caf\xe9", b"\xff\xfe", b"\xed\xa0\xbd", b"\xc0\xaf", b"\xe2\x82", b"\xf5\x80\x80\x80"]
)
def test_t5_bytes_of_a_server_that_are_no_utf8_become_replacement_characters(peer, bad):
    line = b'{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"structuredContent":{"x":"%b"},"resultType":"complete"}}'
    found = peer.exchange_json(peer.raw(b"1", line % bad))
    assert found["result"]["structuredContent"] == {"x": bad.decode(errors="replace")}


def test_t5_a_large_result_with_a_lone_surrogate_passes(peer):
    value = b'"' + b"x" * 2_000_000 + b'\\ud83d"'
    line = b'{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"structuredContent":{"x":%b},"resultType":"complete"}}'
    assert value in peer.exchange(peer.raw(b"1", line % value))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"method":"tools/call"', b'"method":"tools\\ud83d/call"'),
        (b'"name": "', b'"name": "cut \\ud83d'),
        (b'"id":1', b'"id":"\\ud83d"'),
    ],
)
def test_t5_a_lone_surrogate_in_a_method_a_name_or_an_id_is_refused(peer, old, new):
    text = peer.tool(b"1", "echo")
    assert old in text
    peer.send(text.replace(old, new))
    found = json.loads(peer.receive())
    assert found["error"]["code"] in (-32700, -32602, -32020)
    assert found["id"] in (1, None, "\ud83d")
    assert "result" in peer.exchange_json(peer.tool(b"2", "echo"), b"2")


def test_t5_a_lone_surrogate_in_a_uri_is_refused(peer):
    peer.send(peer.call(b"1", "resources/read", {"uri": "cut \ud83d"}))
    assert json.loads(peer.receive())["error"]["code"] in (-32602, -32020)
