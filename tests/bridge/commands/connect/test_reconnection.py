"""What a client of `connect` and its server receive, over one connection after another."""

import json

import pytest

from mcpbridged.bridge.commands.connect.effects import Notice, ToClient, ToServer
from mcpbridged.bridge.commands.connect.reconnection import ConnectionPhase, Reconnection
from mcpbridged.validators import jsonrpc
from mcpbridged.validators.limits import Limits


def line(**members):
    return json.dumps({"jsonrpc": "2.0", **members}).encode()


REJECTED = jsonrpc.error(b"1", -32000, "the bridge is stopping", {"reason": "stopping"})
QUICK = line(id=1, method="tools/call", params={"name": "quick"})
LISTEN = line(id=1, method="subscriptions/listen", params={})
INITIALIZE = line(id=0, method="initialize", params={"protocolVersion": "2025-11-25"})
INITIALIZED = line(method="notifications/initialized")


def opened(limits=None):
    client = Reconnection(limits or Limits())
    client.on_connect()
    return client


def test_a_rejected_request_is_sent_again_once_and_only_on_the_next_connection():
    client = opened()
    assert client.on_client_message(QUICK) == (ToServer(QUICK),)
    assert client.on_server_message(REJECTED) == ()
    assert client.has_rejected
    assert client.has_unsent
    assert client.on_disconnect("gone") == ()
    assert client.phase == ConnectionPhase.AWAY
    assert not client.has_rejected
    assert client.on_connect() == (ToServer(QUICK),)
    assert client.on_server_message(REJECTED) == ()
    client.on_disconnect("gone")
    assert client.on_connect() == (ToServer(QUICK),)
    result = b'{"jsonrpc":"2.0","id":1,"result":{}}'
    assert client.on_server_message(result) == (ToClient(result, (b"1",)),)
    assert client.settled


@pytest.mark.parametrize(
    "error",
    [
        jsonrpc.error(b"1", -32603, "in flight", {"reason": "stopping"}),
        jsonrpc.error(b"1", -32000, "full", {"reason": "busy"}),
        jsonrpc.error(b"1", -32000, "of a server"),
        jsonrpc.error(b"2", -32000, "unknown", {"reason": "stopping"}),
    ],
    ids=["in flight", "another reason", "no reason", "another id"],
)
def test_every_other_error_goes_to_the_client(error):
    client = opened()
    client.on_client_message(QUICK)
    [effect] = client.on_server_message(error)
    assert effect.line == error
    assert not client.has_rejected


def test_a_rejected_request_that_is_cancelled_is_not_sent_again():
    client = opened()
    client.on_client_message(QUICK)
    client.on_server_message(REJECTED)
    cancelled = line(method="notifications/cancelled", params={"requestId": 1})
    assert client.on_client_message(cancelled) == ()
    client.on_disconnect("gone")
    assert client.on_connect() == ()
    assert client.settled


def test_rejections_are_returned_if_the_connection_does_not_end():
    client = opened()
    client.on_client_message(LISTEN)
    client.on_server_message(REJECTED)
    assert client.return_rejections() == (ToClient(REJECTED, (b"1",)),)
    assert client.return_rejections() == ()
    assert client.settled
    assert client.phase == ConnectionPhase.OPEN
    client.on_client_message(LISTEN)
    client.on_server_message(REJECTED)
    client.on_disconnect("gone")
    assert client.return_rejections() == ()
    assert client.on_connect() == (ToServer(LISTEN),)
    # A subscription does not delay the end.
    assert client.settled


def test_a_rejection_goes_to_the_client_if_the_text_of_its_request_was_too_large_to_keep():
    client = opened(Limits(stdin_bytes=1000))
    large = line(id=1, method="tools/call", params={"name": "quick", "text": "x" * 1000})
    assert client.on_client_message(large) == (ToServer(large),)
    assert client.on_server_message(REJECTED) == (ToClient(REJECTED, (b"1",)),)
    assert client.settled
    client.on_client_message(QUICK)
    assert client.on_server_message(REJECTED) == ()


def initialized(revision="2025-11-25", **capabilities):
    """Return a client whose session is open."""
    client = opened()
    assert client.on_client_message(INITIALIZE) == (ToServer(INITIALIZE),)
    result = {"protocolVersion": revision, "capabilities": capabilities}
    response = line(id=0, result=result)
    assert client.on_server_message(response) == (ToClient(response, (b"0",)),)
    client.on_client_message(INITIALIZED)
    return client


def test_a_session_is_opened_again_as_the_client_has_opened_it():
    client = initialized()
    client.on_client_message(line(id=1, method="logging/setLevel", params={"level": "info"}))
    client.on_client_message(line(id=2, method="resources/subscribe", params={"uri": "file:///a"}))
    client.on_client_message(line(id=3, method="resources/subscribe", params={"uri": "file:///b"}))
    client.on_client_message(line(id=4, method="resources/unsubscribe", params={"uri": "file:///a"}))
    failed = client.on_disconnect("gone")
    assert [json.loads(effect.line)["id"] for effect in failed] == [1, 2, 3, 4]
    [replayed] = client.on_connect()
    assert client.phase == ConnectionPhase.REPLAYING
    assert client.on_client_message(QUICK) == ()
    request = json.loads(replayed.text)
    assert (request["method"], request["params"]) == ("initialize", {"protocolVersion": "2025-11-25"})
    result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {"listChanged": True}}}
    effects = client.on_server_message(line(id=request["id"], result=result))
    sent = [json.loads(effect.text)["method"] for effect in effects if isinstance(effect, ToServer)]
    assert sent == ["notifications/initialized", "logging/setLevel", "resources/subscribe", "tools/call"]
    assert Notice("the server now uses revision 2025-06-18 instead of 2025-11-25") in effects
    received = [json.loads(effect.line)["method"] for effect in effects if isinstance(effect, ToClient)]
    assert received == ["notifications/tools/list_changed", "notifications/resources/updated"]
    assert client.phase == ConnectionPhase.OPEN


def test_a_rejected_replay_fails_the_waiting_requests_and_is_repeated_for_the_next_request():
    client = initialized()
    client.on_disconnect("gone")
    [replayed] = client.on_connect()
    client.on_client_message(QUICK)
    raw_id = json.dumps(json.loads(replayed.text)["id"]).encode()
    [failed] = client.on_server_message(jsonrpc.error(raw_id, -32603, "no"))
    assert json.loads(failed.line)["error"]["message"] == "the server rejected the repeated initialize: no"
    assert client.phase == ConnectionPhase.RESTING
    client.on_disconnect("gone")
    assert client.on_connect() == ()
    [again] = client.on_client_message(QUICK)
    assert json.loads(again.text)["method"] == "initialize"
    assert client.phase == ConnectionPhase.REPLAYING


def test_an_initialize_without_a_response_is_sent_again():
    client = opened()
    client.on_client_message(INITIALIZE)
    client.on_client_message(INITIALIZED)
    assert client.on_disconnect("gone") == ()
    assert client.on_connect() == (ToServer(INITIALIZE), ToServer(INITIALIZED))


def test_requests_of_a_server_are_cancelled_with_its_connection_and_late_responses_dropped():
    client = opened()
    client.on_server_message(line(id=7, method="roots/list"))
    [cancelled] = client.on_disconnect("gone")
    assert json.loads(cancelled.line)["params"] == {"requestId": 7, "reason": "gone"}
    response = line(id=7, result={"roots": []})
    assert client.on_client_message(response) == ()
    client.on_connect()
    assert client.on_client_message(response) == (ToServer(response),)


@pytest.mark.parametrize(("revision", "allowed"), [("2025-03-26", True), ("2025-06-18", False)])
def test_a_batch_is_split_for_the_revisions_that_have_batches(revision, allowed):
    client = initialized(revision)
    effects = client.on_client_message(b"[" + QUICK + b"," + INITIALIZED + b"]")
    if allowed:
        assert effects == (ToServer(QUICK), ToServer(INITIALIZED))
    else:
        assert [json.loads(effect.line)["id"] for effect in effects] == [1]


def test_at_the_end_each_request_without_a_response_fails_once():
    client = opened()
    client.on_client_message(QUICK)
    client.on_disconnect("gone")
    client.on_client_message(line(id=2, method="tools/list"))
    assert client.has_unsent
    ids = [json.loads(effect.line)["id"] for effect in client.close("stopped", [b"9"])]
    assert ids == [9, 2]
    assert client.settled
