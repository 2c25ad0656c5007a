"""Clients whose process is stopped for a while (SIGSTOP, a debugger, a frozen container) keep their session."""

import contextlib
import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio
import trio.testing

from mcpbridged.transports.endpoints.websocket_writer import FrameWriter
from mcpbridged.transports.send_queue import DISCONNECTED, SendQueue
from mcpbridged.validators.limits import Limits

from ..support.bridge_process import EXAMPLE
from ..support.connect_process import exchange, start_connect
from ..support.daemon_process import daemon
from ..support.raw_http import INITIALIZE
from ..support.wire import PING, PONG, Connection, NothingReceived, Socket, frame, fresh_key

# The interval of heartbeats (seconds). With one this short, a client is closed after five heartbeats without a pong.
BEAT = 0.25
OPENING = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patience")
    servers = {name: {"command": EXAMPLE} for name in ("one", "other")}
    with daemon(folder, servers, limits={"heartbeat_seconds": BEAT}) as found:
        yield found


@contextlib.contextmanager
def websocket(running, *, unix=False):
    """Open a WebSocket with a session. It sends no pong by itself."""
    sock = socket.socket(socket.AF_UNIX) if unix else socket.create_connection(running.address)
    with sock:
        host = "localhost" if unix else "{}:{}".format(*running.address)
        if unix:
            sock.connect(str(running.unix))
        connection = Connection(sock)
        lines = [
            "GET /servers/other/ws HTTP/1.1",
            f"Host: {host}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {fresh_key()}",
            "Sec-WebSocket-Protocol: mcp",
            *([] if unix else [f"Authorization: Bearer {running.token}"]),
        ]
        connection.send("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        assert connection.head().status == 101
        found = Socket(connection)
        found.send(OPENING)
        assert found.message()["id"] == 0
        yield found


def is_served(found):
    found.send({"jsonrpc": "2.0", "id": "still", "method": "tools/list"})
    return "result" in found.message()


# ---- clients that stay silent for several heartbeats, all at once


def stopped_connect(running):
    with start_connect(running, "one") as process:
        assert "result" in exchange(process, OPENING)
        process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        time.sleep(7 * BEAT)
        sessions = running.status()["servers"][0]["sessions"]
        process.send_signal(signal.SIGCONT)
        assert sessions == 1
        assert "result" in exchange(process, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        return process.communicate(timeout=20), process.returncode


def silent_on_the_unix_socket(running):
    with websocket(running, unix=True) as found:
        with pytest.raises(NothingReceived):
            found.next(7 * BEAT)
        return is_served(found)


def late_on_tcp(running):
    with websocket(running) as found:
        assert found.next() == (PING, b"")
        time.sleep(4 * BEAT)
        # The pings that were sent meanwhile come before this answer.
        before = is_served(found)
        found.connection.send(frame(PONG))
        return before, is_served(found)


def busy_on_tcp(running):
    with websocket(running) as found:
        until = time.monotonic() + 8 * BEAT
        while time.monotonic() < until:
            with contextlib.suppress(NothingReceived):
                found.next(2 * BEAT)
            assert is_served(found)
        return True


def silent_on_tcp(running):
    with websocket(running) as found:
        return found.closing()


@pytest.fixture(scope="module")
def outcomes(running):
    """Run each client in a thread of its own. The values are futures of what it returns."""
    clients = (stopped_connect, silent_on_the_unix_socket, late_on_tcp, busy_on_tcp, silent_on_tcp)
    with ThreadPoolExecutor(len(clients)) as pool:
        yield {client: pool.submit(client, running) for client in clients}


def test_w01_a_stopped_connect_keeps_its_session(outcomes):
    assert outcomes[stopped_connect].result() == ((b"", b""), 0)


def test_w01_no_pings_are_sent_on_the_unix_socket(outcomes):
    assert outcomes[silent_on_the_unix_socket].result()


def test_w01_a_client_on_tcp_that_answers_late_keeps_its_session(outcomes):
    assert outcomes[late_on_tcp].result() == (True, True)


def test_w01_any_other_input_counts_like_a_pong(outcomes):
    assert outcomes[busy_on_tcp].result()


def test_w01_silence_on_tcp_is_bounded_and_the_log_names_the_side_that_closed(running, outcomes):
    assert outcomes[silent_on_tcp].result() == 1011
    lines = [line for line in running.lines if "pings" in line or "pong" in line]
    assert lines, running.lines
    assert json.dumps(5 * BEAT) in lines[-1]


class Silent:
    """A peer whose kernel accepts everything, and whose program does nothing."""

    exempt_from_pings = False

    async def send_all(self, data):
        await trio.lowlevel.checkpoint()


class Log:
    def info(self, event, **fields):
        self.last = event, fields


def test_w01_by_default_a_stopped_client_on_tcp_is_given_five_minutes():
    async def closed_after():
        limits = Limits()
        queue = SendQueue(limits)
        writer = FrameWriter(Silent(), queue, limits, Log())
        began = trio.current_time()
        while queue.state != DISCONNECTED:
            await trio.sleep(limits.heartbeat_seconds)
            await writer.heartbeat()
        return trio.current_time() - began

    assert trio.run(closed_after, clock=trio.testing.MockClock(autojump_threshold=0)) == 315
