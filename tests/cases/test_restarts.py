"""A request that the daemon refuses because it, or the server, is being replaced waits in `connect` for the next connection."""

import time

import pytest

from ..support.reconnecting import Installation, call, connected, message
from ..support.stateless_requests import request, tool


@pytest.fixture
def home(tmp_path):
    return Installation(tmp_path)


def until_stopping(running):
    end = time.monotonic() + 20
    while not any(": stopping" in line for line in running.lines):
        assert time.monotonic() < end, running.lines
        time.sleep(0.01)


def begin(client, modern, seconds=0.6):
    """Start a slow call. Return a function that makes another call."""
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
            home.wait_for_call()
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
        home.wait_for_call()
        home.configure("changed")
        running.reload()
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
        home.wait_for_call()
        home.configure("changed", limits={"drain_seconds": 30})
        running.reload()
        client.send(another(2))
        refused = client.answer(2)["error"]
        assert refused["message"] == "the daemon or the server is being replaced; not executed"
