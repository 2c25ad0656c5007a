"""Accept ids in another spelling, and log responses that match no request."""

import json

import pytest

from ..support.scripted_servers import PAIRS, Pair, client, served

SPELLED = [b'"$ID"', b"$ID.0", b"$IDe0", b'"$ID.0"', b"$ID0e-1"]
GOOD = b'{"jsonrpc":"2.0","id":%b,"result":{"content":[],"resultType":"complete"}}'


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with served(tmp_path_factory.mktemp("ids")) as running:
        yield running


@pytest.fixture(scope="module", params=PAIRS, ids=str)
def peer(request, running):
    with client(running, request.param) as peer:
        yield peer


@pytest.mark.parametrize("spelled", SPELLED)
def test_t7_a_numerically_equal_id_is_the_id_of_the_call(peer, spelled):
    assert peer.exchange_json(peer.raw(b'"c"', GOOD % spelled), b'"c"')["result"]["content"] == []
    error = b'{"jsonrpc":"2.0","id":%b,"error":{"code":7,"message":"m"}}' % spelled
    assert peer.exchange_json(peer.raw(b"1", error))["error"]["code"] == 7


def unmatched(running):
    return {one["name"]: one["unmatched"] for one in running.status()["servers"]}


def test_t7_a_response_of_a_server_without_a_request_is_logged_and_counted(running):
    before = unmatched(running)
    lines = [GOOD % other for other in (b"987654", b'"x"', b"-1")]
    for path in PAIRS:
        with client(running, path) as peer:
            found = peer.exchange_json(peer.raw(b"1", *lines, GOOD % b"$ID", GOOD % b"$ID"))
            assert found["result"]["content"] == []
            # The daemon has read all earlier lines of the server by then.
            assert "result" in peer.exchange_json(peer.tool(b"2", "echo"), b"2")
    after = unmatched(running)
    for name in ("legacy", "shared", "modern", "one"):
        used = [path for path in PAIRS if path.server.replace("aggregate", "one") == name]
        assert after[name] - before[name] == len(used) * (len(lines) + 1)
    assert any("answer_unmatched" in line and "sender=server" in line for line in running.lines)


def test_t7_a_response_of_a_client_without_a_request_is_logged_and_counted(running):
    before = unmatched(running)["legacy"]
    for transport in "HSW":
        with client(running, Pair("legacy", transport, "legacy")) as peer:
            peer.send(b'{"jsonrpc":"2.0","id":99,"result":{}}')
            assert peer.exchange_json(peer.call(b"2", "ping"), b"2")["result"] == {}
    assert unmatched(running)["legacy"] - before == 3


def test_t7_a_late_answer_to_a_cancelled_call_is_expected(running):
    before = unmatched(running)
    for era, server in (("legacy", "legacy"), ("modern", "modern"), ("modern", "legacy")):
        with client(running, Pair(era, "W", server)) as peer:
            used = json.loads(
                peer.exchange_json(peer.tool(b"0", "echo"), b"0")["result"]["content"][0]["text"]
            )["id"]
            peer.send(peer.raw(b"1", b'{"level":30}'))
            peer.send(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}')
            # The ids of a process are consecutive.
            late = GOOD % b"%d" % (used + 1)
            assert "result" in peer.exchange_json(peer.raw(b"3", late, GOOD % b"$ID"), b"3")
    assert unmatched(running) == before
