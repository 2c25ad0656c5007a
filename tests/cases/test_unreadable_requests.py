"""An unreadable request is answered once with an error, under its id if that can be found, and fails alone."""

import json

import pytest

from ..support.scripted_servers import CARRIERS, PAIRS, REVISION, Pair, client, served

TWO = b'{"jsonrpc":"2.0","id":2,"method":"ping"}'
UNREADABLE = [
    (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"x":NaN}}', 7, -32700),
    (b'{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"x":-Infinity}}', "a", -32700),
    (b'{"method":"tools/call","params":{"x":[1,]},"jsonrpc":"2.0","id":7}', 7, -32700),
    (b'{"method":"tools/call","params":{"x":NaN},"jsonrpc":"2.0","id":"\\u0041"}', "A", -32700),
    (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"x":', 7, -32700),
    (b'{"jsonrpc":"2.0","id":7,"meth', 7, -32700),
    # A text whose id is at its end, after a value that is not JSON.
    (b'{"params":[1,],"jsonrpc":"2.0","method":"ping","id":007}', None, -32700),
    (b'{"params":[1,],"method":"ping","id":"\n","jsonrpc":"2.0"\r\n}', None, -32700),
    (b'{"params":[1,],"method":"ping","id":"\x00","jsonrpc":"2.0"}', None, -32700),
    (b'{"jsonrpc":"2.0","id":7', None, -32700),
    (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', None, -32600),
    (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', None, -32600),
    (b'{"jsonrpc":"2.0","id":[1],"method":"ping"}', None, -32600),
    (b'{"jsonrpc":"2.0","id":7,"method":null,"params":{}}', 7, -32600),
    (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":[1]}', 7, -32600),
    (b'{"id":7,"method":"ping"}', 7, -32600),
    (b'{"jsonrpc":"2.0","id":7,"method":"a b"}', 7, -32600),
    (b'{"jsonrpc":"2.0","id":7,"method":"x","params":' + b"[" * 70 + b"]" * 70 + b"}", 7, -32600),
    (b'{"jsonrpc":"2.0","id":7,"id":8,"method":"ping"}', 8, -32600),
    (b'{"jsonrpc":"2.0","id":7,"result":{"x":NaN}}', None, -32700),
    (b"nonsense", None, -32700),
    (b"{}", None, -32600),
    (b"null", None, -32600),
]
ECHO = b'{"jsonrpc":"2.0","id":%b,"method":"ping"}'


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with served(tmp_path_factory.mktemp("unreadable")) as running:
        yield running


@pytest.fixture(scope="module", params=PAIRS, ids=str)
def peer(request, running):
    with client(running, request.param) as peer:
        yield peer


@pytest.mark.parametrize(("text", "id_", "code"), UNREADABLE)
def test_t6_a_request_that_cannot_be_read_is_answered_under_its_id(peer, text, id_, code):
    if peer.path.transport == "P" and b"\n" in text:
        pytest.skip("a newline ends a line")
    peer.send(text)
    found = json.loads(peer.receive())
    assert (found["id"], found["error"]["code"]) == (id_, code)
    if peer.path.transport not in ("W", "P"):
        assert peer.status == 400
    assert "result" in peer.exchange_json(peer.tool(b"2", "echo"), b"2")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (b"[" + ECHO % b"7" + b"," + ECHO % b'"a"' + b',{"jsonrpc":"2.0","method":"x"}]', [7, "a"]),
        (b"[" + ECHO % b"7" + b"]", [7]),
        (b"[" + b",".join(ECHO % b"%d" % n for n in range(32)) + b"]", [*range(32)]),
        (b"[" + b",".join(ECHO % b"%d" % n for n in range(33)) + b"]", [None]),
        (b'[{"jsonrpc":"2.0","method":"x"}]', [None]),
        (b"[" + ECHO % b"7" + b",NaN]", [None]),
        (b"[" + ECHO % b"7", [None]),
        (b"[]", [None]),
        (b"[1]", [None]),
    ],
)
def test_t6_a_refused_batch_is_answered_for_each_request_on_a_socket_and_once_by_a_post(peer, text, ids):
    peer.send(text)
    if peer.path.transport not in ("W", "P"):
        found = json.loads(peer.receive())
        assert (peer.status, found["id"]) == (400, None)
        return
    found = [json.loads(peer.receive()) for _ in ids]
    assert [one["id"] for one in found] == ids
    assert {one["error"]["code"] for one in found} <= {-32600, -32700}
    assert "result" in peer.exchange_json(peer.tool(b"2", "echo"), b"2")


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26"])
@pytest.mark.parametrize("path", CARRIERS[1:], ids=str)
def test_t6_one_bad_message_refuses_a_batch_of_a_revision_that_has_them(running, path, version):
    with client(running, path, opened=False) as peer:
        params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        assert "result" in peer.exchange_json(peer.call(b"0", "initialize", params), b"0")
        peer.send(b"[" + ECHO % b"7" + b"," + ECHO % b"null" + b"," + ECHO % b"8" + b"]")
        if path.transport == "S":
            assert json.loads(peer.receive())["id"] is None
        else:
            assert [json.loads(peer.receive())["id"] for _ in range(2)] == [7, 8]
        peer.send(b"[" + ECHO % b"7" + b"," + ECHO % b"8" + b"]")
        assert {json.loads(peer.receive())["id"] for _ in range(2)} == {7, 8}


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_t6_an_unreadable_request_before_a_session_is_answered_under_its_id(running, era):
    with client(running, Pair(era, "W", "legacy"), opened=False) as peer:
        for text, id_, code in UNREADABLE:
            peer.send(text)
            found = json.loads(peer.receive())
            assert (found["id"], found["error"]["code"]) == (id_, code)
        peer.send(b"[" + ECHO % b"7" + b"," + ECHO % b"8" + b"]")
        assert [json.loads(peer.receive())["id"] for _ in range(2)] == [7, 8]
        peer.open()
        assert "result" in peer.exchange_json(peer.tool(b"2", "echo"), b"2")


def test_t6_a_notification_and_a_response_that_are_refused_have_no_answer(running):
    with client(running, Pair("legacy", "W", "legacy")) as peer:
        peer.send(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}')
        peer.send(b'{"jsonrpc":"2.0","id":99,"result":{}}')
        assert "result" in peer.exchange_json(TWO, b"2")


@pytest.mark.parametrize("raw_id", [b"1.0", b"-1.0", b"1e0", b"-0", b"2.00", b"7E+0", b"9007199254740993.0"])
def test_t6_an_id_comes_back_exactly_as_it_was_written(peer, raw_id):
    for text in (peer.tool(raw_id, "echo"), peer.call(raw_id, "tools/list"), peer.call(raw_id, "x/unknown")):
        assert b'"id":%b,' % raw_id in peer.exchange(text, raw_id)


def test_t6_an_id_in_flight_is_the_same_in_every_spelling(running):
    for path in (
        Pair("legacy", "W", "legacy"),
        Pair("modern", "W", "modern"),
        Pair("modern", "W", "legacy"),
    ):
        with client(running, path) as peer:
            # This call stays in flight.
            peer.send(peer.raw(b"5.0", b'{"level":30}'))
            found = peer.exchange_json(peer.tool(b"5", "echo"), b"5")
            assert found["error"]["code"] == -32600
            peer.send(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}')
            assert "result" in peer.exchange_json(peer.tool(b"5", "echo"), b"5")


def test_t6_a_text_of_another_revision_over_http_is_refused_under_its_id(running):
    with client(running, Pair("modern", "H", "legacy")) as peer:
        text = peer.tool(b"7", "echo").replace(REVISION.encode(), b"2099-01-01")
        peer.send(text)
        assert json.loads(peer.receive())["id"] == 7
