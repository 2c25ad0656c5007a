"""A server that floods its client with notifications, over every way to a process."""

import re
import sys

import pytest

from ..support.daemon_process import daemon
from ..support.waiting import wait_until
from ..support.websocket_handshake import open_session
from ..support.wire import connect

# Sends floods, and then the response to the call.
SERVER = """
import json, sys
def send(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\\n")
for line in sys.stdin:
    message = json.loads(line)
    if message.get("method") == "initialize":
        capabilities = {"tools": {"listChanged": True}, "logging": {}}
        info = {"name": "flood", "version": "1"}
        result = {"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": info}
        send(id=message["id"], result=result)
    elif "id" in message:
        for number in range(5000):
            send(method="notifications/message", params={"level": "info", "data": number})
        for number in range(1000):
            send(method="notifications/tools/list_changed")
        send(id=message["id"], result={"content": []})
    sys.stdout.flush()
"""


@pytest.mark.parametrize("share", ["session", "principal", "server"])
def test_a_flood_is_cut_and_neither_the_response_nor_the_last_change_is_lost(tmp_path, share):
    server = {
        "command": [sys.executable, "-c", SERVER],
        "share": share,
        "limits": {"notifications_per_second": 10},
    }
    with daemon(tmp_path, {"flood": server}) as running, connect(running.address) as connection:
        token = f"Authorization: Bearer {running.token}"
        socket = open_session(running, connection, token, target="/servers/flood/ws")
        socket.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        socket.send({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}})
        received = []
        while "id" not in (message := socket.message()):
            received.append(message["method"])
        assert message["result"] == {"content": []}
        assert 100 <= received.count("notifications/message") <= 200
        changes = received.count("notifications/tools/list_changed")
        assert changes <= 10
        if not changes:
            # It comes once there is room.
            assert socket.message()["method"] == "notifications/tools/list_changed"
        dropped = 5000 - received.count("notifications/message")
        wait_until(lambda: sum(counts(running)) == dropped, what=f"{dropped} dropped in the log")
    assert len(counts(running)) <= 5


def counts(running):
    """Return the counts of the events in the log."""
    lines = [line for line in running.lines if "notifications_dropped" in line]
    assert all("server=flood" in line and "notifications_per_second=10" in line for line in lines)
    return [int(re.search(r"count=([0-9]+)", line)[1]) for line in lines]
