"""A translation between eras keeps results that are no object, the data of errors, and depth."""

import json

import pytest

from ..support.scripted_servers import PAIRS, client, served


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with served(tmp_path_factory.mktemp("kept")) as running:
        yield running


@pytest.fixture(scope="module", params=PAIRS, ids=str)
def peer(request, running):
    with client(running, request.param) as peer:
        yield peer


@pytest.mark.parametrize("value", [b"null", b"7", b'"done"', b"false"])
def test_t21_a_result_that_is_no_object_is_kept(peer, value):
    text = peer.exchange(peer.raw(b"1", b'{"jsonrpc":"2.0","id":$ID,"result":%b}' % value))
    assert text == b'{"jsonrpc":"2.0","id":1,"result":%b}' % value


# A result of 64 KiB or more is a view of the line of the server, and not bytes.
@pytest.mark.parametrize(
    "value", [b'"%b"' % (b"x" * 100_000), b"[%b1]" % (b"1," * 50_000)], ids=["text", "list"]
)
def test_r05_t21_a_large_result_that_is_no_object_is_answered(peer, value):
    text = peer.exchange(peer.raw(b"1", b'{"jsonrpc":"2.0","id":$ID,"result":%b}' % value))
    assert text.startswith(b'{"jsonrpc":"2.0","id":1,"result":')
    assert value in text
    assert peer.exchange_json(peer.raw(b"1", b'{"jsonrpc":"2.0","id":$ID,"result":null}'))["result"] is None


@pytest.mark.parametrize("data", [{"a": [1, {"b": None}]}, "text", [1, 2], 7, None, {}])
@pytest.mark.parametrize("code", [-32000, -32603, -32602, 42])
def test_t21_the_data_of_an_error_is_kept(peer, data, code):
    error = {"code": code, "message": "m", "data": data}
    line = json.dumps({"jsonrpc": "2.0", "id": "$ID", "error": error}).replace('"$ID"', "$ID").encode()
    assert peer.exchange_json(peer.raw(b"1", line))["error"] == error


@pytest.mark.parametrize("code", [-32002, -32050])
def test_t21_the_data_of_an_error_with_another_code_in_the_other_era_is_kept(peer, code):
    error = {"code": code, "message": "m", "data": {"hint": [1]}}
    line = json.dumps({"jsonrpc": "2.0", "id": "$ID", "error": error}).replace('"$ID"', "$ID").encode()
    found = peer.exchange_json(peer.raw(b"1", line))["error"]
    assert found["message"] == "m"
    assert found["data"]["hint"] == [1]


def test_t21_a_resource_that_is_not_found_keeps_its_data(peer):
    uri = 'missing:{"hint":[1],"uri":"u"}'
    found = peer.exchange_json(peer.call(b"1", "resources/read", {"uri": uri}))["error"]
    assert found["data"] == {"hint": [1], "uri": "u"}
    assert found["message"] == "not found"
    expected = {"legacy": -32002, "modern": -32602}[peer.path.era]
    assert found["code"] == expected
    uri = 'missing:{"hint":[1]}'
    found = peer.exchange_json(peer.call(b"1", "resources/read", {"uri": uri}))["error"]
    assert found["data"]["hint"] == [1]


@pytest.mark.parametrize("levels", [65, 512])
@pytest.mark.parametrize(("open_", "close"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_t10_an_answer_of_512_levels_passes(peer, levels, open_, close):
    # The value is inside of the message, its result and the structured content.
    inner = levels - 3
    value = open_ * inner + b"1" + close * inner
    line = b'{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"resultType":"complete","structuredContent":{"x":%b}}}'
    assert value in peer.exchange(peer.raw(b"1", line % value))


@pytest.mark.parametrize("padding", [b"", b"x" * 100_000])
def test_t10_an_error_of_512_levels_passes(peer, padding):
    value = b"[" * 509 + b'"%b"' % padding + b"]" * 509
    for code in (7, -32002, -32050):
        line = b'{"jsonrpc":"2.0","id":$ID,"error":{"code":%d,"message":"m","data":{"x":%b}}}' % (code, value)
        assert value in peer.exchange(peer.raw(b"1", line))
