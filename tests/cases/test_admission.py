"""Test places for connections, counted refusals, bodies over a limit, and frames of HTTP/2 (R3, R10, R11, R15, R24)."""

import contextlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest

from ..support.admission import HEADERS, open_session, raw, read_response
from ..support.bridge_process import EXAMPLE, Bridge
from ..support.correlation import without_ids
from ..support.daemon_process import Daemon, daemon, write_config
from ..support.tls import tls_client_context, tls_options

LIMIT = 1_000_000


def unix_connection(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(str(path))
    return contextlib.closing(sock)


def ask_local(sock, target="/nothing", method="GET"):
    sock.sendall(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return read_response(sock)


# ---- R3


def test_r03_control_endpoints_have_places_that_no_other_connection_takes(tmp_path):
    limits = {"connections_per_principal": 3, "connections_unauthenticated": 2}
    with daemon(tmp_path, limits=limits) as running, contextlib.ExitStack() as stack:
        taken = []
        for _ in range(3):
            taken.append(stack.enter_context(unix_connection(running.unix)))
            assert ask_local(taken[-1]).startswith(b"HTTP/1.1 404")
        refusal = ask_local(stack.enter_context(unix_connection(running.unix)))
        assert refusal.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"Retry-After: 1" in refusal
        assert (
            b"the limit of 3 connections of one principal is reached (limits.connections_per_principal)"
            in refusal
        )
        silent = [stack.enter_context(unix_connection(running.unix)) for _ in range(5)]
        assert silent
        assert running.status()["connections"] == 3
        running.reload()
        running.restart("example")
        for sock in taken:
            assert ask_local(sock).startswith(b"HTTP/1.1 404")


def test_r03_control_connections_are_bounded_and_streams_leave_places_for_commands(tmp_path):
    with daemon(tmp_path, limits={"connections_control": 6}) as running, contextlib.ExitStack() as stack:
        for number in range(4):
            sock = stack.enter_context(unix_connection(running.unix))
            sock.sendall(b"GET /control/logs?server=example&follow HTTP/1.1\r\nHost: localhost\r\n\r\n")
            reply = sock.recv(65536)
            assert reply.startswith(b"HTTP/1.1 200" if number < 2 else b"HTTP/1.1 503"), reply
        assert running.status()["refusals"] == {"connections_control": 2}


def test_r03_eighty_local_connections_are_served(tmp_path):
    with daemon(tmp_path) as running, contextlib.ExitStack() as stack:
        for _ in range(80):
            assert ask_local(stack.enter_context(unix_connection(running.unix))).startswith(b"HTTP/1.1 404")
        assert running.status()["connections"] == 80


def open_files(pid):
    """Return the soft and the hard limit of open files of a process."""
    found = re.search(r"Max open files +(\d+) +(\d+)", Path(f"/proc/{pid}/limits").read_text())
    return int(found[1]), int(found[2])


def test_r03_the_daemon_raises_its_limit_of_open_files_and_servers_get_the_inherited_one(tmp_path):
    write_config(tmp_path / "config.toml", {"example": {"command": EXAMPLE, "start": "eager"}})
    within = ["bash", "-c", 'ulimit -Sn 300; ulimit -Hn 600; exec "$@"', "bash"]
    with Daemon(tmp_path, within=within) as running:
        status = running.status()
        assert open_files(status["pid"]) == (600, 600)
        running.do("tools", "example")
        (server,) = running.children()
        assert open_files(server) == (300, 600)
        lowered = [line for line in running.lines if "lowered" in line]
        assert len(lowered) == 2
        assert "limits.connections is lowered from 4096 to" in "".join(lowered)
        assert "at most 600 files can be open" in lowered[0]


# ---- R10 and R11


def request(address, target="/mcp", *fields, host=None, method="POST"):
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host or ':'.join(map(str, address))}", *fields, "", ""]
    with contextlib.closing(raw(address)) as sock:
        sock.sendall("\r\n".join(lines).encode())
        return read_response(sock)


WRONG = "Authorization: Bearer mcpb_" + "x" * 43
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")


def test_r10_refusals_are_counted_exactly_and_logged_once_a_second(tmp_path):
    with daemon(tmp_path) as running:
        token = f"Authorization: Bearer {running.token}"
        for _ in range(150):
            request(running.address, "/servers/example/mcp", WRONG)
        for _ in range(30):
            request(running.address, host="evil.example")
            request(running.address, "/mcp", "Origin: http://evil.example")
            request(running.address, "/unknown", token)
            request(running.address)
        for _ in range(7):
            request(running.address, "/servers/example/ws", *UPGRADE, method="GET")
            request(running.address, "/servers/example/ws", token, *UPGRADE, method="GET")
            request(running.address, "/servers/example/mcp", token, "Content-Type: text/plain")
            request(running.address, "/mcp?access_token=abc")
            request(running.address, "/mcp", "no header field")
        expected = {
            "credential_wrong": 150,
            "host": 30,
            "origin": 30,
            "not_found": 30,
            "credential_missing": 37,
            "bad_request": 14,
            "content_type": 7,
            "token_in_url": 7,
        }
        assert running.status()["refusals"] == expected
        shown = running.do("status").stdout
        assert "credential_wrong 150" in shown
    lines = [line for line in running.lines if re.search(": (refused|authentication_failed) reason=", line)]
    counted = dict.fromkeys(expected, 0)
    for line in lines:
        found = re.search(r"reason=(\w+) count=(\d+) peer=127\.0\.0\.1:\d+", line)
        counted[found[1]] += int(found[2])
    assert counted == expected
    assert len(lines) < 60
    assert "x" * 43 not in "".join(running.lines)


def test_r11_answers_without_a_credential_do_not_show_which_servers_exist(tmp_path):
    servers = {"example": {"command": EXAMPLE}, "missing": {"command": ["/no/such/program"]}}
    paths = [
        "/readyz?server={}",
        "/readyz?%73erver={}",
        "/readyz?x=1&server={}",
        "/servers/{}/mcp",
        "/servers/{}/sse",
        "/servers/{}/messages?sessionId=x",
        "/servers/{}/ws",
        "/servers/{}",
        "/control/status?server={}",
        "/healthz/{}",
    ]
    with daemon(tmp_path, servers, limits={"wrong_credentials_per_second": 100_000}) as running:
        for path in paths:
            for method in ("GET", "POST", "OPTIONS", "PUT"):
                for fields in ((), (WRONG,), ("Origin: http://evil.example",)):
                    replies = {
                        without_ids(
                            re.sub(
                                rb"Date: [^\r]*",
                                b"",
                                request(running.address, path.format(name), *fields, method=method),
                            )
                        )
                        for name in ("example", "missing", "unknown")
                    }
                    assert len(replies) == 1, replies
                    assert replies.pop().split()[1] in (b"401", b"403")
        token = f"Authorization: Bearer {running.token}"
        assert request(running.address, "/readyz", method="GET").split()[1] in (b"200", b"503")
        assert request(running.address, "/readyz?server=example", token, method="GET").split()[1] == b"200"
        assert request(running.address, "/readyz?server=unknown", token, method="GET").split()[1] == b"503"


# ---- R15


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    options = (f"--limit=body={LIMIT}", "--limit=unfinished_bytes=1500000")
    with Bridge(tmp_path_factory.mktemp("bodies") / "run", EXAMPLE, *options) as bridge:
        yield bridge


@pytest.fixture(scope="module")
def tls(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("TLS")
    files = tls_options(authority, folder)
    with Bridge(folder / "run", EXAMPLE, f"--limit=body={LIMIT}", *files) as bridge:
        yield bridge


def post(bridge, *fields, target="/mcp", token=None):
    sent = {**HEADERS, "Host": ":".join(map(str, bridge.address))}
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    credential = f"Authorization: Bearer {token or bridge.token}"
    return "\r\n".join([*lines, credential, *fields, "", ""]).encode()


def body(size, *, chunked):
    if not chunked:
        return b"x" * size
    return b"".join(b"10000\r\n" + b"x" * 65536 + b"\r\n" for _ in range(size // 65536)) + b"0\r\n\r\n"


@pytest.mark.parametrize("over_tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("target", ["/mcp", "/nothing"])
def test_r15_a_client_that_sends_all_before_it_reads_sees_the_refusal(
    request, authority, over_tls, chunked, target
):
    bridge = request.getfixturevalue("tls" if over_tls else "plain")
    size = 3 * LIMIT
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(contextlib.closing(raw(bridge.address)))
        if over_tls:
            sock = stack.enter_context(
                tls_client_context(authority).wrap_socket(sock, server_hostname="127.0.0.1")
            )
        sock.sendall(post(bridge, framing, target=target))
        whole = body(size, chunked=chunked)
        for at in range(0, len(whole), 65536):
            sock.sendall(whole[at : at + 65536])
        reply = read_response(sock)
        assert reply.startswith(b"HTTP/1.1 413" if target == "/mcp" else b"HTTP/1.1 404"), reply
        assert b"\r\nConnection: close\r\n" in reply
    if target == "/mcp":
        assert str(LIMIT).encode() in reply


def test_r15_bytes_read_after_a_refusal_are_bounded(plain):
    with contextlib.closing(raw(plain.address)) as sock:
        sock.sendall(post(plain, f"Content-Length: {2**40}"))
        sent = 0
        with pytest.raises(ConnectionError):
            while True:
                sent += sock.send(b"x" * 65536)
        # The kernel holds some bytes too.
        assert sent < 4 * LIMIT + 16_000_000


def test_r15_a_body_over_the_limit_is_refused_before_it_is_sent(plain):
    with contextlib.closing(raw(plain.address)) as sock:
        sock.sendall(post(plain, f"Content-Length: {LIMIT + 1}", "Expect: 100-continue"))
        assert read_response(sock).startswith(b"HTTP/1.1 413")


def test_r15_http_2_sees_the_refusal_too_and_keeps_its_connection(tls, authority):
    with h2_client(tls, authority) as client:
        stream = client.send_request("POST", "/mcp", ("content-length", str(3 * LIMIT)), end=False)
        client.send_body(stream, 3 * LIMIT)
        assert client.status(stream) == 413
        # This request has no Content-Length.
        other = client.send_request("POST", "/mcp", end=False)
        client.send_body(other, 3 * LIMIT)
        assert client.status(other) == 413
        assert client.status(client.send_request("GET", "/nothing")) == 404


def test_r15_unfinished_bodies_of_one_principal_are_bounded_in_sum(plain):
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(contextlib.closing(raw(plain.address))) for _ in range(2)]
        for sock in socks:
            sock.sendall(post(plain, f"Content-Length: {LIMIT - 10}") + b"x" * 700_000)
        socks[0].sendall(b"x" * (LIMIT - 10 - 700_000 - 1))
        reply = b""
        # One of the two requests is refused: the request that exceeds the sum.
        while not reply:
            for sock in socks:
                sock.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    reply = read_response(sock)
                    break
            else:
                with contextlib.suppress(OSError):
                    socks[1].sendall(b"x" * 10_000)
        assert reply.startswith(b"HTTP/1.1 429")
        assert b"Retry-After: 1" in reply
        assert b"limits.unfinished_bytes" in reply
    open_session(plain.address, plain.token)
    # No byte is left in the account.
    for _ in range(5):
        with contextlib.closing(raw(plain.address)) as sock:
            sock.sendall(post(plain, f"Content-Length: {LIMIT}"))
            sock.sendall(b"x" * LIMIT)
            assert read_response(sock).startswith(b"HTTP/1.1 400")


FETCH = """
const [url, token, size] = process.argv.slice(1);
const found = {};
for (let at = 0; at < 6; at++) {
  const answer = await fetch(url, {
    method: 'POST', body: new Uint8Array(Number(size)),
    headers: { authorization: 'Bearer ' + token, 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
  }).then(async (answer) => { await answer.text(); return answer.status; }, (error) => String(error.cause?.code ?? error));
  found[answer] = (found[answer] ?? 0) + 1;
}
console.log(JSON.stringify(found));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_r15_node_sees_413_each_time(plain):
    command = ["node", "--input-type=module", "-e", FETCH, "--", plain.mcp, plain.token, str(4 * LIMIT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == {"413": 6}


# ---- R24


class H2:
    """A blocking HTTP/2 client that can also send frames that no library sends."""

    def __init__(self, sock, bridge):
        self.sock = sock
        self.bridge = bridge
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.flush()
        self.statuses = {}
        self.goodbye = None

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def send_request(self, method, path, *more, end=True, token=None):
        stream = self.h2.get_next_available_stream_id()
        headers = [(":method", method), (":scheme", "https"), (":path", path)]
        headers.append((":authority", ":".join(map(str, self.bridge.address))))
        if token != "":
            headers.append(("authorization", f"Bearer {token or self.bridge.token}"))
        headers += [("accept", HEADERS["Accept"]), ("content-type", "application/json"), *more]
        self.h2.send_headers(stream, headers, end_stream=end)
        self.flush()
        return stream

    def send_body(self, stream, size):
        while size:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, size)
            if not room:
                assert self.receive(), "closed"
                continue
            size -= room
            self.h2.send_data(stream, b"x" * room, end_stream=not size)
            self.flush()

    def receive(self):
        data = self.sock.recv(65536)
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.statuses[event.stream_id] = int(dict(event.headers)[b":status"])
            elif isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goodbye = event.error_code
        if self.goodbye is None:
            self.flush()
        return data

    def status(self, stream):
        while stream not in self.statuses:
            assert self.receive(), "closed"
        return self.statuses[stream]

    def flood(self, data, times, seconds=20.0):
        """Send these bytes until the bridge closes the connection. Return the error code of its GOAWAY frame."""
        self.sock.settimeout(0.01)
        end = time.monotonic() + seconds
        rest = b""
        while self.goodbye is None and time.monotonic() < end:
            if not rest and times:
                rest, times = data, times - 1
            try:
                rest = rest[self.sock.send(rest[:16384]) :] if rest else b""
            except TimeoutError:
                pass
            except OSError:
                # The bridge has closed the connection. Its reason may still arrive.
                rest, times = b"", 0
            try:
                if not self.receive():
                    break
            except TimeoutError:
                pass
            except OSError:
                break
        return self.goodbye


@contextlib.contextmanager
def h2_client(bridge, authority):
    context = tls_client_context(authority, "h2")
    with contextlib.closing(raw(bridge.address)) as plain_sock:
        with context.wrap_socket(plain_sock, server_hostname="127.0.0.1") as sock:
            yield H2(sock, bridge)


def a_frame(kind, payload=b"", flags=0, stream=0):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


# Frames that are sent repeatedly, after a request on stream 1 whose body is not complete.
FLOODS = {
    "settings": a_frame(4, b"\0\3\0\0\0\x64") * 50,
    "acknowledgements": a_frame(4, flags=1),
    "pings": a_frame(6, b"12345678") * 50,
    "priorities": a_frame(2, b"\0\0\0\0\x10", stream=101) * 50,
    "window updates": a_frame(8, b"\0\0\0\1") * 50,
    "window updates of a stream": a_frame(8, b"\0\0\0\1", stream=1) * 50,
    "empty data": a_frame(0, stream=1) * 50,
    "data of a byte": a_frame(0, b" ", stream=1) * 50,
    "unknown frames": a_frame(0xEE, b"x") * 50,
}
ENHANCE_YOUR_CALM = 11


@pytest.mark.parametrize("token", [None, ""], ids=["with a token", "without"])
@pytest.mark.parametrize("kind", FLOODS)
def test_r24_a_flood_of_frames_ends_its_connection(tls, authority, kind, token):
    with h2_client(tls, authority) as client:
        if token is None:
            client.status(client.send_request("GET", "/nothing"))
            stream = client.send_request("POST", "/mcp", end=False)
            assert stream == 3
        data = (
            FLOODS[kind].replace(b"\0\0\0\1", b"\0\0\0\3")
            if "stream" in kind or "data" in kind
            else FLOODS[kind]
        )
        if token == "" and ("stream" in kind or "data" in kind):
            data = a_frame(6, b"12345678") + a_frame(8, b"\0\0\0\1")
        assert client.flood(data, 2000) == ENHANCE_YOUR_CALM
    open_session(tls.address, tls.token, tls_client_context(authority))


def test_r24_resets_with_a_token_are_bounded(tls, authority):
    with h2_client(tls, authority) as client:
        client.status(client.send_request("GET", "/nothing"))
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            for number in range(3000):
                client.h2.reset_stream(client.send_request("GET", "/nothing"))
                client.flush()
                # The bridge waits a second until its GOAWAY is read, and this client may be slower.
                if number % 20 == 0 and client.flood(b"", 0, seconds=0.01) is not None:
                    break
                client.sock.settimeout(20)
        client.flood(b"", 0)
        assert client.goodbye == ENHANCE_YOUR_CALM
    open_session(tls.address, tls.token, tls_client_context(authority))


def test_r24_a_head_in_many_pieces_is_bounded(tls, authority):
    with h2_client(tls, authority) as client:
        client.status(client.send_request("GET", "/nothing"))
        pieces = a_frame(1, b"", stream=3) + a_frame(9, b"", stream=3) * 200
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            client.flood(pieces, 1)
    open_session(tls.address, tls.token, tls_client_context(authority))


def test_r24_a_refused_request_closes_a_connection_without_an_admitted_request(tls, authority):
    with h2_client(tls, authority) as client:
        assert client.status(client.send_request("GET", "/nothing", token="")) == 401
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while client.receive():
                pass
        assert client.goodbye == 0
    with h2_client(tls, authority) as client:
        assert client.status(client.send_request("GET", "/nothing")) == 404
        assert client.status(client.send_request("GET", "/nothing", token="")) == 401
        assert client.status(client.send_request("GET", "/nothing")) == 404


def test_r24_an_answer_of_many_pieces_does_not_look_like_a_flood(tls, authority):
    """The client answers each piece with two window updates, as simple clients do."""
    with h2_client(tls, authority) as client:
        size = LIMIT - 1000
        call = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "y" * size}}
        for _ in range(3):
            stream = client.send_request("POST", "/mcp", end=False)
            data = json.dumps(call).encode()
            while data:
                room = min(client.h2.local_flow_control_window(stream), 1000)
                if not room:
                    assert client.receive(), "closed"
                    continue
                client.h2.send_data(stream, data[:room], end_stream=len(data) <= room)
                data = data[room:]
                client.flush()
            assert client.status(stream) == 400
        assert client.goodbye is None
