"""Lines on the stdout of a server that are JSON and not JSON-RPC fail no call, unless they are the response to a call."""

import json
import subprocess

import pytest

from ..support.scripted_servers import CARRIERS, PAIRS, SCRIPTED, client, served

# Lines of loggers, of printed dictionaries, and of faulty servers.
NOISE = [
    b'{"level":30,"time":1700000000000,"pid":7,"hostname":"h","msg":"listening"}',
    b"{}",
    b'{"jsonrpc":"2.0","level":30}',
    b'{"id":$ID,"msg":"row"}',
    b'{"id":"$ID","level":"info","error":null}',
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}',
    b'{"jsonrpc":"2.0","id":null,"result":{}}',
    b'{"jsonrpc":"2.0"}',
    b"{'id': $ID, 'result': {}}",
    b'{"level":30,"msg":"cut',
    b'["2026-11-29","INFO",{"id":$ID}]',
    b"[]",
    b"null",
    b"1",
    b'"ready"',
    b"npm WARN deprecated",
    b"\xff\xfe\x00",
    b'{"msg":"\xe9"}',
    b'{"msg":"\\ud83d"}',
    b'{"jsonrpc":"2.0","id":$ID,"method":7}',
]
GOOD = b'{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"resultType":"complete"}}'
# Invalid responses to the call.
INVALID = [
    b'{"jsonrpc":"2.0","id":$ID}',
    b'{"jsonrpc":"2.0","id":"$ID"}',
    b'{"jsonrpc":"2.0","id":$ID,"level":30}',
    b'{"id":$ID,"result":{"content":[]}}',
    b'{"id":$ID,"error":"x"}',
    b'{"jsonrpc":"1.0","id":$ID.0,"result":{}}',
    b'{"jsonrpc":"2.0","id":$ID,"result":{"x":NaN}}',
    b'{"result":{"x":[1,]},"jsonrpc":"2.0","id":$ID}',
    b'{"jsonrpc":"2.0","id":$ID,"result":{"x":"cut',
    b'{"jsonrpc":"2.0","id":$ID,"result":1,"result":2}',
    b'[{"jsonrpc":"2.0","id":$ID},{"level":30}]',
]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with served(tmp_path_factory.mktemp("noise")) as running:
        yield running


@pytest.fixture(scope="module", params=PAIRS, ids=str)
def peer(request, running):
    with client(running, request.param) as peer:
        yield peer


@pytest.mark.parametrize("line", NOISE)
def test_t1_a_line_that_is_not_json_rpc_fails_no_call(peer, line):
    for number in (b"1", b"2"):
        assert peer.exchange_json(peer.raw(number, line, GOOD, line), number)["result"]["content"] == []


@pytest.mark.parametrize("line", INVALID)
def test_t1_an_invalid_response_fails_its_call_at_once(peer, line):
    found = peer.exchange_json(peer.raw(b"1", line))
    assert found["error"]["code"] in (-32000, -32603)
    assert "not valid" in found["error"]["message"]
    assert peer.exchange_json(peer.raw(b"2", GOOD), b"2")["result"]["content"] == []


@pytest.mark.parametrize("path", CARRIERS, ids=str)
def test_t1_another_call_in_flight_is_not_touched(running, path):
    """The line names one of two calls. The other call gets its response as usual."""
    with client(running, path) as peer:
        if path.transport == "H":
            # This client makes one call at a time. The tests of the message reader and of JSON-RPC cover the rule.
            return
        peer.send(peer.raw(b"1", b'{"level":30}'))
        peer.send(peer.raw(b"2", b'{"jsonrpc":"2.0","id":$ID}'))
        assert json.loads(peer.answer(b"2"))["error"]["code"] == -32000
        peer.send(peer.raw(b"3", GOOD))
        assert json.loads(peer.answer(b"3"))["result"]["content"] == []


def test_t1_noise_is_in_the_log_of_the_server_and_does_not_fill_it(running):
    text = running.do("logs", "legacy").stdout
    assert "stdout_not_mcp" in text
    assert '\\"level\\":30' in text or '"level":30' in text


def test_t1_as_on_a_bare_pipe():
    """A client on a bare pipe skips the noise and reads the response."""
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    lines = b"\n".join([*NOISE, GOOD, b""]).hex()
    request["params"] = {"name": "raw", "arguments": {"hex": lines}}
    done = subprocess.run(
        [*SCRIPTED, "legacy"], input=json.dumps(request).encode(), capture_output=True, check=True
    )
    assert GOOD.replace(b"$ID", b"1") in done.stdout.split(b"\n")
