"""Pass values that a translation has no rule for, as a pipe does."""

import json

import pytest

from ..support.daemon_process import daemon
from ..support.scripted_servers import PAIRS, SERVERS, Pair, client, served

GOOD = b'{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"resultType":"complete"}}'
NO_CAPABILITIES = b'"io.modelcontextprotocol/clientCapabilities": {}'
SAMPLING = b'"io.modelcontextprotocol/clientCapabilities": {"sampling": {}}'


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with served(tmp_path_factory.mktemp("same")) as running:
        yield running


@pytest.fixture(scope="module", params=PAIRS, ids=str)
def peer(request, running):
    with client(running, request.param) as peer:
        yield peer


@pytest.mark.parametrize("value", [b"[]", b"[1]", b'[{"a":1.0},null]', b"[ ]"])
def test_t21_a_result_that_is_an_array_is_kept(peer, value):
    text = peer.exchange(peer.raw(b"1", b'{"jsonrpc":"2.0","id":$ID,"result":%b}' % value))
    assert text == b'{"jsonrpc":"2.0","id":1,"result":%b}' % value


@pytest.mark.parametrize("spelled", [b"%b", b'"%b"', b"%b.0"])
def test_t7_progress_of_a_server_that_spells_the_token_of_the_bridge_otherwise(running, spelled):
    """A server of a translated client gets an integer as the token, and some servers return a string or a float.

    A process that several clients share gets a string, which has one spelling only.
    """
    step = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%b,"progress":1}}'
    for pair in PAIRS:
        if pair.server != "legacy" or pair.era != "modern":
            continue
        with client(running, pair) as peer:
            raw = peer.raw(b"1", step % (spelled % b"$ID"), GOOD)
            peer.send(raw.replace(b'"_meta": {', b'"_meta": {"progressToken":"t",'))
            first = json.loads(peer.receive())
            assert first.get("params") == {"progressToken": "t", "progress": 1}, (str(pair), first)
            assert json.loads(peer.receive())["id"] == 1


@pytest.mark.parametrize("context", ["thisServer", "allServers", "none"])
@pytest.mark.parametrize("transport", ["H", "W"])
def test_t18_a_server_may_request_include_context_as_on_a_pipe(running, transport, context):
    sampling = b'{"jsonrpc":"2.0","id":"%b","method":"sampling/createMessage","params":{"messages":[],"maxTokens":1,"includeContext":"%b"}}'
    with client(running, Pair("modern", transport, "legacy")) as peer:
        # Earlier calls are held with the ids of their server requests.
        server_request = sampling % (f"{transport} {context}".encode(), context.encode())
        text = peer.raw(b"1", server_request).replace(NO_CAPABILITIES, SAMPLING)
        found = peer.exchange_json(text)["result"]
        assert found["resultType"] == "input_required"
        [request] = found["inputRequests"].values()
        assert request["params"]["includeContext"] == context


@pytest.mark.parametrize("server", ["modern", "aggregate"])
def test_a1_a_log_line_is_sent_to_no_client_while_several_have_calls(running, server):
    """A log message does not name its call, and could belong to another client of the same principal."""
    log = (
        b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"of the first"}}'
    )
    wants = b'"_meta": {"io.modelcontextprotocol/logLevel":"debug",'
    pair = Pair("modern", "W", server)
    with client(running, pair) as first, client(running, pair) as second:
        second.send(second.raw(b"1", b"").replace(b'"_meta": {', wants))
        first.send(first.raw(b"2", log, GOOD).replace(b'"_meta": {', wants))
        first.answer(b"2")
        second.send(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}')
        second.send(second.tool(b"3", "echo"))
        assert json.loads(second.receive())["id"] == 3
        # While only one client has calls, its newest call gets the log message.
        first.send(first.raw(b"4", log, GOOD).replace(b'"_meta": {', wants))
        assert json.loads(first.receive())["params"]["data"] == "of the first"
        assert json.loads(first.receive())["id"] == 4


CANCELLED = [
    b'{"requestId":1,"reason":"\\u00fc no more"}',
    b'{"x":[1.0,"\\ud83d"],"requestId":1,"_meta":{"a":{"b":1.0}},"reason":"r"}',
]


@pytest.mark.parametrize("params", CANCELLED)
@pytest.mark.parametrize(
    "path", [pair for pair in PAIRS if pair.transport == "W" and pair.server != "aggregate"], ids=str
)
def test_t18_the_members_of_a_cancellation_reach_the_server(tmp_path, path, params):
    """All members of a cancellation are for the server, in both eras and across them."""
    journal = tmp_path / "stdin"
    command = ["bash", "-c", 'exec "$@" < <(exec tee "$0")', str(journal), *SERVERS[path.server]["command"]]
    table = {**SERVERS[path.server], "command": command}
    with daemon(tmp_path / "daemon", {path.server: table}) as running, client(running, path) as peer:
        # A request that was not sent to the server is not cancelled there.
        assert "result" in peer.exchange_json(peer.tool(b"0", "echo"), b"0")
        peer.send(peer.raw(b"1", b""))
        peer.send(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":%b}' % params)
        assert "result" in peer.exchange_json(peer.tool(b"2", "echo"), b"2")
    [line] = [line for line in journal.read_bytes().splitlines() if b"notifications/cancelled" in line]
    found, expected = json.loads(line)["params"], json.loads(params)
    assert found.pop("requestId") != "", line
    del expected["requestId"]
    assert found == expected
    if b"1.0" in params:
        assert b'[1.0,"\\ud83d"]' in line
