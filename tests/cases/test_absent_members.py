"""Members that are null or empty count as absent, because many programs write every member of a type."""

import json

import pytest

from ..support.scripted_servers import CARRIERS, PAIRS, Pair, client, served

EMPTY = [b"null", b"[]", b"[ ]", b'""']
RESULT = b'{"content":[],"resultType":"complete"}'
ERROR = b'{"code":7,"message":"m"}'


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with served(tmp_path_factory.mktemp("absent")) as running:
        yield running


@pytest.fixture(scope="module", params=PAIRS, ids=str)
def peer(request, running):
    with client(running, request.param) as peer:
        yield peer


@pytest.mark.parametrize(
    "more",
    [
        b'"error":null',
        b'"error":[]',
        b'"error":{}',
        b'"error":""',
        b'"method":null,"params":null,"error":null',
    ],
)
def test_t8_an_empty_error_beside_a_result_counts_as_absent(peer, more):
    for line in (
        b'{"jsonrpc":"2.0","id":$ID,"result":%b,%b}' % (RESULT, more),
        b'{"jsonrpc":"2.0","id":$ID,%b,"result":%b}' % (more, RESULT),
        b'{"result": %b, %b, "id": $ID, "jsonrpc": "2.0"}' % (RESULT, more),
    ):
        found = peer.exchange_json(peer.raw(b"1", line))
        assert found["result"]["content"] == []
        assert "error" not in found


@pytest.mark.parametrize(
    "more", [b'"result":null', b'"result":[]', b'"result":""', b'"result":null,"method":null']
)
def test_t8_an_empty_result_beside_an_error_counts_as_absent(peer, more):
    for line in (
        b'{"jsonrpc":"2.0","id":$ID,"error":%b,%b}' % (ERROR, more),
        b'{"jsonrpc":"2.0","id":$ID,%b,"error":%b}' % (more, ERROR),
    ):
        found = peer.exchange_json(peer.raw(b"1", line))
        assert found["error"] == {"code": 7, "message": "m"}
        assert "result" not in found


@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize(
    "path", [*CARRIERS, Pair("legacy", "H", "shared"), Pair("legacy", "W", "modern")], ids=str
)
def test_t8_empty_params_of_a_client_count_as_absent(running, path, empty):
    with client(running, path) as peer:
        for method in ("ping", "tools/list", "resources/list"):
            text = b'{"jsonrpc":"2.0","id":1,"method":"%b","params":%b}' % (method.encode(), empty)
            assert "result" in peer.exchange_json(text)
            nulls = b'{"jsonrpc":"2.0","id":1,"method":"%b","params":%b,"result":null,"error":null}'
            assert "result" in peer.exchange_json(nulls % (method.encode(), empty))
        peer.send(b'{"jsonrpc":"2.0","method":"notifications/x","params":%b}' % empty)
        assert peer.exchange_json(peer.call(b"2", "ping"), b"2")["result"] == {}


@pytest.mark.parametrize("empty", [*EMPTY, b"{}"])
@pytest.mark.parametrize(
    "path", [*CARRIERS, Pair("legacy", "H", "shared"), Pair("legacy", "W", "modern")], ids=str
)
def test_t8_an_empty_meta_counts_as_absent(running, path, empty):
    with client(running, path) as peer:
        found = peer.exchange_json(peer.tool(b"1", "echo", raw=b'"_meta":%b' % empty))
        assert "result" in found
        assert "result" in peer.exchange_json(
            peer.call(b"1", "resources/read", {"uri": "a"}, raw=b'"_meta":%b' % empty)
        )
        assert "result" in peer.exchange_json(peer.call(b"1", "tools/list", raw=b'"_meta":%b' % empty))


@pytest.mark.parametrize("empty", [*EMPTY, b"{}"])
def test_t8_an_empty_meta_in_a_result_counts_as_absent(peer, empty):
    line = b'{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"resultType":"complete","_meta":%b}}' % empty
    assert peer.exchange_json(peer.raw(b"1", line))["result"]["content"] == []


@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize("path", [*CARRIERS, Pair("legacy", "H", "shared")], ids=str)
def test_t8_empty_params_of_a_server_count_as_absent(running, path, empty):
    changed = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":%b}' % empty
    ping = b'{"jsonrpc":"2.0","id":"s","method":"ping","params":%b,"result":null,"error":null}' % empty
    good = b'{"jsonrpc":"2.0","id":$ID,"result":%b}' % RESULT
    with client(running, path) as peer:
        assert peer.exchange_json(peer.raw(b"1", changed, ping, good))["result"]["content"] == []
    # The event would be there if the line were not a message.
    assert not [line for line in running.lines if "stdout_not_mcp" in line and "list_changed" in line]


def test_t8_a_member_that_is_not_empty_is_still_refused(peer):
    for text in (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[0]}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":0}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list","result":{}}',
    ):
        peer.send(text)
        assert json.loads(peer.receive())["error"]["code"] == -32600
    found = peer.exchange_json(peer.raw(b"1", b'{"jsonrpc":"2.0","id":$ID,"result":{},"error":%b}' % ERROR))
    assert "not valid" in found["error"]["message"]
