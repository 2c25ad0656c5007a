"""A request that the daemon refuses because it, or the server, is being replaced waits in `connect` for the next connection."""

import json
import time

import pytest

from mcpbridged.bridge.commands.connect.effects import ToClient, ToServer
from mcpbridged.bridge.commands.connect.reconnection import Phase, Reconnection
from mcpbridged.validators import jsonrpc
from mcpbridged.validators.limits import Limits

from ..e2e.test_modern_http import request, tool
from .test_connect_again import Home, call, connected, message

REFUSED = jsonrpc.error(b"1", -32000, "the bridge is stopping", {"reason": "stopping"})
QUICK = json.dumps(call(1, "quick")).encode()
LISTEN = json.dumps(message("subscriptions/listen", 1)).encode()


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def until_stopping(running):
    end = time.monotonic() + 20
    while not any(line.endswith("stopping") for line in running.lines):
        assert time.monotonic() < end, running.lines
        time.sleep(0.01)


def begin(client, modern, seconds=0.6):
    """Have a slow call in flight; return what makes another call."""
    if modern:
        client.send(request("tools/call", tool("slow", seconds=seconds), id=1))
        return lambda number: request("tools/call", tool("quick"), id=number)
    client.open()
    client.send(call(1, "slow", seconds=seconds))
    return lambda number: call(number, "quick")


@pytest.mark.parametrize("modern", [False, True])
def test_c01_a_call_during_the_end_of_the_daemon_is_carried_out_by_the_next(home, modern):
    with connected(home) as client:
        with home.daemon() as first:
            another = begin(client, modern)
            home.until_called()
            first.process.terminate()
            until_stopping(first)
            client.send(another(2), another(3))
            client.send(message("notifications/cancelled", requestId=3))
            assert "result" in client.answer(1)
            first.stop()
        with home.daemon():
            assert "result" in client.answer(2)
            assert client.end() == 0
    assert [line.split()[0] for line in home.calls()] == ["slow", "quick"]


@pytest.mark.parametrize("modern", [False, True])
def test_c01_a_call_during_the_end_of_a_server_is_carried_out_by_its_successor(home, modern):
    with home.daemon() as running, connected(home) as client:
        another = begin(client, modern)
        home.until_called()
        home.configure("changed")
        running.do("reload")
        client.send(another(2))
        assert "result" in client.answer(1)
        assert "result" in client.answer(2)
        assert client.end() == 0
    assert [line.split()[0] for line in home.calls()] == ["slow", "quick"]


@pytest.mark.parametrize("modern", [False, True])
def test_c01_a_client_that_does_not_wait_gets_the_refusal_with_its_reason(home, modern):
    home.configure(limits={"drain_seconds": 30})
    with home.daemon() as running, connected(home, "--wait", "0") as client:
        another = begin(client, modern, seconds=60)
        home.until_called()
        home.configure("changed", limits={"drain_seconds": 30})
        running.do("reload")
        client.send(another(2))
        refused = client.answer(2)["error"]
        assert (
            refused["message"] == "the server is being replaced: the configuration of the server has changed"
        )
        assert refused["data"] == {"reason": "stopping"}


# ---- the decisions


def opened(limits=None):
    client = Reconnection(limits or Limits())
    client.on_connect()
    return client


def test_a_refused_request_is_sent_again_once_and_only_on_the_next_connection():
    client = opened()
    assert client.on_client_message(QUICK) == (ToServer(QUICK),)
    assert client.on_server_message(REFUSED) == ()
    assert client.has_rejected
    assert client.has_unsent
    assert client.on_disconnect("gone") == ()
    assert client.phase == Phase.AWAY
    assert not client.has_rejected
    assert client.on_connect() == (ToServer(QUICK),)
    assert client.on_server_message(REFUSED) == ()  # another daemon may be stopping as well
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


def test_a_refused_request_that_is_cancelled_is_not_sent_again():
    client = opened()
    client.on_client_message(QUICK)
    client.on_server_message(REFUSED)
    cancelled = json.dumps(message("notifications/cancelled", requestId=1)).encode()
    assert client.on_client_message(cancelled) == ()
    client.on_disconnect("gone")
    assert client.on_connect() == ()
    assert client.settled


def test_a_connection_that_does_not_end_gives_the_refusals_back():
    client = opened()
    client.on_client_message(LISTEN)
    client.on_server_message(REFUSED)
    assert client.return_rejections() == (ToClient(REFUSED, (b"1",)),)
    assert client.return_rejections() == ()
    assert client.settled
    assert client.phase == Phase.OPEN
    client.on_client_message(LISTEN)
    client.on_server_message(REFUSED)
    client.on_disconnect("gone")
    assert client.return_rejections() == ()
    assert client.on_connect() == (ToServer(LISTEN),)
    assert client.settled  # a subscription does not delay the end


def test_texts_beyond_the_limit_are_not_kept_and_their_refusals_go_to_the_client():
    client = opened(Limits(stdin_bytes=1000))
    large = json.dumps(call(1, "quick", text="x" * 1000)).encode()
    assert client.on_client_message(large) == (ToServer(large),)
    assert client.on_server_message(REFUSED) == (ToClient(REFUSED, (b"1",)),)
    assert client.settled
    client.on_client_message(QUICK)
    assert client.on_server_message(REFUSED) == ()
