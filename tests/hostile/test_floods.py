"""Floods of input that costs more to read than to write, from servers and from clients (invariants I6 and I9).

The bounds are wide, because the machine may be busy. The faults that they detect exceeded them ten times.
"""

import json
import os
import signal
import socket
import struct
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest

from ..support.hostile_bridge import running
from ..support.json_texts import META
from ..support.wire import TEXT, NothingReceived, frame

pytestmark = pytest.mark.usefixtures("still_serving")

CALLS, SECONDS = 20, 5
TIMEOUT = 60
# Limit on input that waits for a server, and on its lines (bytes). Limit on the growth of the bridge (KiB).
MOST = 4_000_000
GROWTH = 16 * 1024


@pytest.fixture(scope="module")
def bridge(tmp_path_factory):
    options = (f"--limit=stdin_bytes={MOST}", f"--limit=line={MOST}")
    with running(tmp_path_factory.mktemp("floods"), *options) as bridge:
        yield bridge


# Bytes that a child writes again and again, until its session is deleted.
CHILD_FLOODS = [
    pytest.param(b"garbage\n" * 8000, id="garbage"),
    pytest.param(b"\n" * 64_000, id="blank lines"),
    pytest.param(b" \n" * 32_000, id="lines of a space"),
    pytest.param(b'{"jsonrpc":"2.0","id":99999,"result":{}}\n' * 1500, id="answers to nothing"),
    pytest.param(
        b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n' * 1000, id="notifications"
    ),
    pytest.param((b"[" * 60 + b"]" * 60 + b"\n") * 500, id="batches in batches"),
    pytest.param(b"x" * 64_000, id="a line without an end"),
]


def is_answered(connection):
    """Return whether the call of the flood has ended. After a second without a response its event stream begins."""
    try:
        data = connection.receive(time.monotonic() + 0.01)
    except NothingReceived:
        return False
    return not data or b'"id":1,' in data


def assert_others_are_served(bridge, is_over):
    """Call as another client during the flood, and require responses in time."""
    other = bridge.open_session()
    with bridge.connect() as connection:
        began = time.monotonic()
        for _ in range(CALLS):
            connection.send(bridge.post(session=other))
            assert connection.reply(timeout=TIMEOUT).status == 200
        took = time.monotonic() - began
        assert not is_over(), "the flood has ended too early"
    assert took < SECONDS
    assert bridge.exchange(bridge.delete(other)).status == 204


@pytest.mark.parametrize("data", CHILD_FLOODS)
def test_i9_the_output_of_one_server_does_not_delay_others(bridge, data):
    session, before = bridge.open_session(), bridge.resident()
    flood = {"jsonrpc": "2.0", "id": 1, "method": "test/flood", "params": {"hex": data.hex(), "times": 10**9}}
    with bridge.connect() as connection:
        connection.send(bridge.post(flood, session))
        assert_others_are_served(bridge, lambda: is_answered(connection))
        assert bridge.resident() - before < GROWTH
    assert bridge.exchange(bridge.delete(session)).status == 204


@pytest.mark.parametrize("method", [b"ping", b"roots/list"])
def test_i6_responses_to_a_server_that_does_not_read_are_bounded(bridge, method):
    session, before = bridge.open_session(), bridge.resident()
    requests = b"".join(b'{"jsonrpc":"2.0","id":%d,"method":"%b"}\n' % (n, method) for n in range(1000))
    params = {"hex": requests.hex(), "times": 120}
    flood = {"jsonrpc": "2.0", "id": 1, "method": "test/flood", "params": params}
    with bridge.connect() as connection:
        connection.send(
            bridge.post(flood, session).replace_field("Accept: text/event-stream, application/json")
        )
        deadline = time.monotonic() + TIMEOUT
        while b'"id":1,"result"' not in (data := connection.receive(deadline)) and b"-32000" not in data:
            assert bridge.resident() - before < GROWTH
    assert bridge.exchange(bridge.delete(session)).status == 204


def large_call(id_, more=b""):
    """Return a call of 300 KB, which is more than a pipe holds."""
    params = b'"name":"x","arguments":{"x":"%b"}%b' % (b"x" * 300_000, more)
    return b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{%b}}' % (id_, params)


@pytest.mark.parametrize("more", [b"", b"," + META], ids=["session", "stateless"])
def test_i7_a_call_that_a_server_does_not_read_is_answered_and_its_id_is_free(tmp_path, more):
    with running(tmp_path / "run", "--limit=stdin_bytes=100000") as bridge:
        with bridge.websocket(initialized=not more) as socket:
            socket.connection.send(frame(TEXT, large_call(1, more)))
            assert socket.message()["id"] == 1
            (pid,) = bridge.children()
            os.kill(pid, signal.SIGSTOP)
            socket.connection.send(b"".join(frame(TEXT, large_call(id_, more)) for id_ in (2, 3, 3)))
            for _ in range(2):
                answer = socket.message()
                assert (answer["id"], answer["error"]["code"]) in ((3, -32000), (3, -32603))
                assert "does not read" in answer["error"]["message"]
            os.kill(pid, signal.SIGCONT)
            assert socket.message()["id"] == 2


def text(value):
    return frame(TEXT, value)


CLIENT_FLOODS = [
    pytest.param(text(b"") * 2000, id="empty messages"),
    pytest.param(text(b"{") * 2000, id="messages that are none"),
    pytest.param(text(b'{"jsonrpc":"2.0","method":"notifications/x"}') * 500, id="notifications"),
    pytest.param(text(b'{"jsonrpc":"2.0","id":"x","result":{}}') * 500, id="answers to nothing"),
    pytest.param(
        (frame(TEXT, b"", fin=False) + frame(0, b"", fin=False) * 1000 + frame(0)) * 5, id="fragments"
    ),
]


@contextmanager
def flooding(sock, data):
    """Send these bytes repeatedly in a thread, and read in another. Yield a function that returns whether the flood has ended."""
    stop = threading.Event()

    def send():
        while not stop.is_set():
            try:
                sock.sendall(data)
            except OSError:
                stop.set()

    def read():
        try:
            while sock.recv(65536):
                pass
        except OSError:
            pass

    sock.settimeout(None)
    # Without a reset at the end the bridge would first read all bytes that were sent.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    threads = [threading.Thread(target=run, daemon=True) for run in (send, read)]
    for thread in threads:
        thread.start()
    try:
        yield stop.is_set
    finally:
        stop.set()
        sock.shutdown(2)
        for thread in threads:
            thread.join(TIMEOUT)


@pytest.mark.parametrize("data", CLIENT_FLOODS)
def test_w07_the_input_of_one_websocket_does_not_delay_others(bridge, data):
    before = bridge.resident()
    with bridge.websocket() as socket, flooding(socket.connection.sock, data) as is_over:
        lines_before = len(bridge.stderr)
        assert_others_are_served(bridge, is_over)
        # Lines of the sessions of other clients, and one line a second.
        assert len(bridge.stderr) - lines_before < 50
        assert bridge.resident() - before < GROWTH


def test_h14_refused_connections_write_few_log_lines(tmp_path):
    with running(tmp_path / "run") as bridge:
        lines_before = len(bridge.stderr)
        for _ in range(200):
            assert bridge.exchange(bridge.bare("GET", "/mcp")).status == 401
        assert 0 < len(bridge.stderr) - lines_before < 50


def test_h14_evicted_connections_write_few_log_lines(tmp_path):
    with running(tmp_path / "run", "--limit=connections_unauthenticated=1") as bridge:
        lines_before = len(bridge.stderr)
        with ExitStack() as stack:
            before = stack.enter_context(bridge.connect())
            for _ in range(200):
                another = stack.enter_context(bridge.connect())
                assert before.to_the_end() == b""
                before = another
        assert 0 < len(bridge.stderr) - lines_before < 50


def test_h06_chunks_of_one_byte_do_not_delay_others(bridge):
    session, before = bridge.open_session(), bridge.resident()
    body = json.dumps({"jsonrpc": "2.0", "method": "notifications/x", "params": {"x": "a" * 500_000}})
    request = bridge.post(session=session).add("Transfer-Encoding: chunked")
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body.encode()) + b"0\r\n\r\n"
    with (
        bridge.connect() as connection,
        flooding(connection.sock, bytes(request.with_raw_body(pieces))) as is_over,
    ):
        assert_others_are_served(bridge, is_over)
        assert bridge.resident() - before < GROWTH
    assert bridge.exchange(bridge.delete(session)).status == 204
