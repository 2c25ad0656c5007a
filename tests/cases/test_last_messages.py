"""Messages that a client sends just before it disconnects arrive at the server, as on a pipe that is closed after them."""

import json
import subprocess
import sys
import time

import pytest

from tests.support import wire
from tests.support.bridge_process import PROGRAM
from tests.support.daemon_process import daemon

# Sends a response to every request, and copies its stdin into a file.
SERVER = """
import json, sys
with open(sys.argv[1], "ab", buffering=0) as file:
    for line in sys.stdin.buffer:
        file.write(line)
        asked = json.loads(line)
        if "id" in asked:
            result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
            print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""
PARAMS = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
INITIALIZE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": PARAMS}).encode()
LAST = [b'{"jsonrpc":"2.0","method":"notifications/last","params":{"n":%d}}' % number for number in range(5)]
WAYS = ("tcp", "tcp, close frame", "unix", "unix, close frame", "connect")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("last")
    servers = {
        f"s{number}": {"command": [sys.executable, "-c", SERVER, str(folder / f"s{number}.log")]}
        for number in range(len(WAYS))
    }
    with daemon(folder, servers) as found:
        yield found


def over_websocket(running, name, way):
    """Send the last messages in one segment, and close the socket at once."""
    unix = way.startswith("unix")
    with wire.connect(str(running.unix) if unix else running.address) as connection:
        host = "localhost" if unix else "{}:{}".format(*running.address)
        fields = (
            f"Host: {host}",
            f"Authorization: Bearer {running.token}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {wire.fresh_key()}",
        )
        connection.send(wire.Request("GET", f"/servers/{name}/ws", fields).head())
        assert connection.reply().status == 101
        socket = wire.Socket(connection)
        socket.send(INITIALIZE)
        socket.message()
        frames = [wire.frame(wire.TEXT, message) for message in LAST]
        if way.endswith("close frame"):
            frames.append(wire.frame(wire.CLOSE, b"\x03\xe8"))
        connection.send(b"".join(frames))


def over_connect(running, name):
    with subprocess.Popen(
        [PROGRAM, "connect", name, "--config", str(running.config)],
        env=running.variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        process.stdin.write(INITIALIZE + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdin.write(b"\n".join([*LAST, b""]))
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.mark.parametrize("way", WAYS)
def test_messages_that_are_sent_just_before_a_close_arrive(running, way):
    name = f"s{WAYS.index(way)}"
    if way == "connect":
        over_connect(running, name)
    else:
        over_websocket(running, name, way)
    log = running.folder / f"{name}.log"
    end = time.monotonic() + 10
    while LAST[-1] not in (text := log.read_bytes()) and time.monotonic() < end:
        time.sleep(0.02)
    assert [line for line in text.splitlines() if b"notifications/last" in line] == LAST
