"""A client that is behind slows its own server down, and loses no message (R7).

No stream is closed because it has more than 1 MiB or 1024 messages to send.
"""

import json
import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio_websocket

from ..support.daemon_process import daemon
from ..support.raw_http import INITIALIZE, message
from ..support.slow_clients import POST, TRANSPORTS, Found, connected, over_http, read_answer

pytestmark = pytest.mark.anyio

PROGRAM = str(Path(__file__).parents[1] / "support/servers/large_output.py")
COMMAND = [sys.executable, "-I", "-S", PROGRAM]
MB = 1_000_000
# Far longer than the limits of the server named `strict` (seconds).
LONG = 3.5
STRICT = {
    "pause_bytes": MB,
    "stdin_stall_seconds": 1.5,
    "ping_seconds": 0.5,
    "call_idle_seconds": 1,
    "call_seconds": 2,
    "start_seconds": 1,
}
SERVERS = {
    "plain": {"command": COMMAND},
    "shared": {"command": COMMAND, "share": "server"},
    "early": {"command": [*COMMAND, "5000", "100"]},
    "large": {"command": [*COMMAND, "4", "4000000"]},
    "strict": {"command": COMMAND, "limits": STRICT},
    "impatient": {"command": COMMAND},
}
SHAPES = {
    "3 files of 467 kB": [("big", {"bytes": 467_000})] * 3,
    "16 answers of 2 MB": [("big", {"bytes": 2 * MB})] * 16,
    "5000 log lines": [("log", {"count": 5000, "bytes": 50})],
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pressure")
    servers = {name: table for name, table in SERVERS.items() if name != "impatient"}
    with daemon(folder, servers, aggregate={"servers": ["plain"]}) as found:
        yield found


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    """A daemon that closes a client after a second without progress."""
    folder = tmp_path_factory.mktemp("impatient")
    limits = {"write_stall_seconds": 1}
    with daemon(folder, {"impatient": SERVERS["impatient"]}, limits=limits) as found:
        yield found


async def behind():
    await trio.sleep(0.2)


def check(found, calls):
    for number, (name, arguments) in enumerate(calls, 1):
        assert "result" in found.answers.get(number, {}), found.answers.get(number)
        text = found.answers[number]["result"]["content"][0]["text"]
        assert name != "big" or text == "x" * arguments["bytes"]
        if name == "log":
            data = [one["params"]["data"]["n"] for one in found.notifications]
            assert data == list(range(arguments["count"]))


async def use(running, transport, server, shape):
    found = await TRANSPORTS[transport](running, server, SHAPES[shape], behind)
    check(found, SHAPES[shape])


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_r7_a_client_that_is_behind_loses_no_message(running, transport):
    *large, lines = SHAPES
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for shape in large:
                nursery.start_soon(use, running, transport, "plain", shape)
        # Alone, because behind the aggregate no log line could be assigned to one of several calls.
        await use(running, transport, "plain", lines)


@pytest.mark.parametrize("transport", ["http", "websocket", "connect"])
async def test_r7_a_client_of_a_shared_server_loses_no_message(running, transport):
    with trio.fail_after(60):
        await use(running, transport, "shared", "16 answers of 2 MB")


@pytest.mark.parametrize(("server", "count"), [("early", 5000), ("large", 4)])
async def test_r7_messages_before_the_answer_to_initialize_arrive(running, server, count):
    with trio.fail_after(30):
        found = await over_http(running, server, [("pid", {})], behind, opening=behind)
    assert [one["params"]["data"]["n"] for one in found.notifications] == list(range(count))
    assert int(found.answers[1]["result"]["content"][0]["text"])


class Reader:
    """A client over Streamable HTTP whose test decides when it reads."""

    def __init__(self, running, name, session):
        self.running, self.path = running, f"/servers/{name}/mcp"
        self.headers = {**POST, "Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}

    @classmethod
    async def begin(cls, running, name):
        async with connected(running) as connection:
            body = message("initialize", INITIALIZE, id=0)
            await connection.send("POST", f"/servers/{name}/mcp", POST, body)
            headers = await read_answer(connection, Found())
        reader = cls(running, name, headers["mcp-session-id"])
        async with connected(running) as connection:
            greeting = message("notifications/initialized")
            answer = await connection.request("POST", reader.path, reader.headers, greeting)
            assert answer.status == 202
        return reader

    async def send(self, connection, number, tool, **arguments):
        body = message("tools/call", {"name": tool, "arguments": arguments}, id=number)
        await connection.send("POST", self.path, self.headers, body)

    async def call(self, number, tool, **arguments):
        found = Found()
        async with connected(self.running) as connection:
            await self.send(connection, number, tool, **arguments)
            await read_answer(connection, found)
        return found.answers[number]["result"]["content"][0]["text"]

    @asynccontextmanager
    async def listening(self, **more):
        async with connected(self.running) as stream:
            await stream.send("GET", self.path, {**self.headers, "Accept": "text/event-stream", **more})
            assert (await stream.head())[0] == 200
            yield stream


@pytest.fixture(autouse=True)
def hang_detection(anyio_backend):
    signal.alarm(90)
    yield
    signal.alarm(0)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def ended(pid):
    with trio.fail_after(15):
        while alive(pid):
            await trio.sleep(0.05)


# ---- clients that stay behind for longer than a limit, all at once


async def behind_for_long(running):
    calls = [("log", {"count": 10, "bytes": MB}), *[("pid", {"fill": "x" * 100_000})] * 4]
    before = len(running.lines)

    async def late():
        await trio.sleep(LONG)

    async def use(transport, calls):
        check(await TRANSPORTS[transport](running, "strict", calls, late), calls)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(use, "http", calls[:1])
            nursery.start_soon(use, "websocket", calls)
            nursery.start_soon(use, "connect", calls)
    assert not [line for line in running.lines[before:] if "WARNING" in line]


async def session_that_never_reads(impatient):
    quiet, other = await Reader.begin(impatient, "impatient"), await Reader.begin(impatient, "impatient")
    pid, others_pid = int(await quiet.call(1, "pid")), int(await other.call(1, "pid"))
    async with connected(impatient) as connection:
        await quiet.send(connection, 2, "log", count=40, bytes=MB)
        await ended(pid)
    assert int(await other.call(2, "pid")) == others_pid


async def stream_that_is_not_read(impatient):
    reader = await Reader.begin(impatient, "impatient")
    pid = int(await reader.call(1, "pid"))
    async with connected(impatient) as connection:
        await reader.send(connection, 2, "big", bytes=7 * MB)
        number = 3
        broken = trio.Event()

        async def wait():
            with pytest.raises(trio.BrokenResourceError):
                # Until the daemon has closed the connection.
                while True:
                    await connection._stream.send_all(b"G")
                    await trio.sleep(0.1)
            broken.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            with trio.fail_after(10):
                while not broken.is_set():
                    assert int(await reader.call(number, "pid")) == pid
                    number += 1
                    await trio.sleep(0.1)
    assert int(await reader.call(number, "pid")) == pid


async def slow_client(impatient):
    reader = await Reader.begin(impatient, "impatient")
    began = time.monotonic()
    async with connected(impatient) as connection:
        await reader.send(connection, 1, "big", bytes=8 * MB)
        stream, left = connection._stream, 8 * MB
        # This is longer than `write_stall_seconds`.
        while time.monotonic() - began < 2.5:
            left -= len(await stream.receive_some(128 * 1024))
            await trio.sleep(0.1)
        while left > 0:
            data = await stream.receive_some(2**20)
            assert data, f"closed with {left} bytes left"
            left -= len(data)


async def websocket_that_never_reads(impatient):
    async with trio.open_nursery() as nursery:
        stream = await trio.open_tcp_stream(*impatient.address)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        opened = await trio_websocket.wrap_client_stream(
            nursery,
            stream,
            "{}:{}".format(*impatient.address),
            "/servers/impatient/ws",
            subprotocols=["mcp"],
            extra_headers=[("Authorization", f"Bearer {impatient.token}")],
            max_message_size=2**25,
        )
        await opened.send_message(message("initialize", INITIALIZE, id=0).decode())
        await opened.get_message()
        await opened.send_message(message("tools/call", {"name": "pid", "arguments": {}}, id=1).decode())
        pid = int(json.loads(await opened.get_message())["result"]["content"][0]["text"])
        call = {"name": "log", "arguments": {"count": 40, "bytes": MB}}
        await opened.send_message(message("tools/call", call, id=2).decode())
        await ended(pid)
        await stream.aclose()
        nursery.cancel_scope.cancel()
    assert [line for line in impatient.lines if "has not read its WebSocket for 1 s" in line]


@pytest.fixture(scope="module")
def outcomes(running, impatient):
    """Run each client in a thread of its own until all have finished. The values are futures."""
    clients = {
        behind_for_long: running,
        session_that_never_reads: impatient,
        stream_that_is_not_read: impatient,
        slow_client: impatient,
        websocket_that_never_reads: impatient,
    }
    with ThreadPoolExecutor(len(clients)) as pool:
        return {client: pool.submit(trio.run, client, where) for client, where in clients.items()}


def test_r7_no_limit_of_a_server_counts_while_its_client_is_behind(outcomes):
    outcomes[behind_for_long].result()


def test_r7_a_session_that_never_reads_is_closed_and_others_are_not(outcomes):
    outcomes[session_that_never_reads].result()


def test_r7_a_stream_that_is_not_read_ends_alone_while_others_progress(outcomes):
    outcomes[stream_that_is_not_read].result()


def test_r7_a_slow_client_that_progresses_is_not_closed(outcomes):
    outcomes[slow_client].result()


def test_r7_a_websocket_that_never_reads_is_closed_with_a_reason(outcomes):
    outcomes[websocket_that_never_reads].result()


# ---- clients that are behind for a moment


async def test_r7_a_get_stream_that_is_behind_ends_and_answers_go_on(running):
    reader = await Reader.begin(running, "plain")
    async with reader.listening() as stream:
        for number in range(1, 13):
            name = "notifications/resources/updated"
            await reader.call(number, "log", count=1, bytes=MB, method=name)
        events = await stream.events()
    assert 0 < len(events) < 12
    async with reader.listening(**{"Last-Event-ID": events[-1].id}) as stream:
        resumed = [(await stream.event()).json["params"]["data"]["n"] for _ in range(3)]
    assert len(resumed) == 3


async def test_r7_a_server_goes_on_when_the_stream_that_was_behind_is_closed(running):
    reader = await Reader.begin(running, "plain")
    pid = int(await reader.call(1, "pid"))
    async with connected(running) as connection:
        await reader.send(connection, 2, "log", count=30, bytes=MB)
        await behind()
    # The connection is closed, and messages that were queued for it no longer count.
    with trio.fail_after(20):
        assert int(await reader.call(3, "pid")) == pid


async def test_r7_a_shared_server_does_not_wait_for_one_of_its_clients(running):
    slow, other = await Reader.begin(running, "shared"), await Reader.begin(running, "shared")
    pid = await other.call(1, "pid")
    async with connected(running) as connection:
        await slow.send(connection, 1, "log", count=50, bytes=MB, method="notifications/resources/updated")
        async with connected(running) as second:
            await slow.send(second, 2, "big", bytes=15 * MB)
            for number in range(2, 5):
                with trio.fail_after(20):
                    assert await other.call(number, "pid") == pid


async def test_r7_a_stop_does_not_wait_for_a_client_that_does_not_read(tmp_path):
    with daemon(tmp_path, {"plain": SERVERS["plain"]}) as running:
        reader = await Reader.begin(running, "plain")
        async with connected(running) as connection:
            await reader.send(connection, 1, "log", count=30, bytes=MB)
            await behind()
            began = time.monotonic()
            await trio.to_thread.run_sync(running.stop, signal.SIGTERM)
    # `drain_seconds`, and the time that the server process has to exit.
    assert time.monotonic() - began < 18
