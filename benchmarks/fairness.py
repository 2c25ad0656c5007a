"""Measure the calls of a quiet client before, during and after the flood of another principal.

`PYTHONPATH=. .venv/bin/python benchmarks/fairness.py [KIND]...` prints a table: p50 and p99 of the quiet client (milliseconds),
their ratio, and what the flooding client got. `--rates` limits the flooding token to 200 requests in a second, and `--seconds`
sets the length of each phase (3). The quiet client sends one call every five milliseconds on one connection. The flood is one
process that sends as much as its sockets take. Loopback only; about ten seconds a kind.
"""

import argparse
import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.support.daemon_process import daemon  # noqa: E402 - after the path was set
from tests.support.wire import frame  # noqa: E402 - likewise

CHILD = REPOSITORY / "build/bench/child"
TOKENS = {name: f"mcpb_{name:x<40}{name}" for name in ("quiet", "flood")}
PAUSE = 0.005
CONNECTIONS = 32
# The port of the daemon.
PORT = [0]
INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "x", "version": "1"},
}
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "x", "version": "1"},
}
# Kind of flood: the server that it is sent to.
KINDS = {
    "http": "own",
    "http, same process": "shared",
    "stateless": "own",
    "websocket": "own",
    "websocket, same process": "shared",
    "cancelled": "own",
    "large bodies": "own",
    "slow bodies": "own",
    "unauthenticated": "own",
}


def message(id_, method, params=None):
    found = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params or {}}
    if id_ is None:
        del found["id"]
    return json.dumps(found).encode()


def call(id_, text="x"):
    return message(id_, "tools/call", {"name": "echo", "arguments": {"text": text}})


def post(path, token, body, *fields, length=None):
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{PORT[0]}",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        *fields,
        f"Content-Length: {len(body) if length is None else length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def upgrade(path, token):
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{PORT[0]}",
        f"Authorization: Bearer {token}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: mcp",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def connected(port):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def until(sock, mark):
    data = b""
    while mark not in data:
        more = sock.recv(65536)
        if not more:
            raise ConnectionError(data[-300:])
        data += more
    return data


def session_of(port, server, token):
    with connected(port) as sock:
        sock.sendall(post(f"/servers/{server}/mcp", token, message(0, "initialize", INITIALIZE)))
        lines = until(sock, b"\r\n\r\n").split(b"\r\n")
        [found] = [line.split(b": ")[1] for line in lines if line.lower().startswith(b"mcp-session-id")]
        field = f"Mcp-Session-Id: {found.decode()}"
    with connected(port) as sock:
        sock.sendall(post(f"/servers/{server}/mcp", token, message(None, "notifications/initialized"), field))
        until(sock, b"\r\n\r\n")
    return field


def quiet(port, server, seconds, *, websocket):
    """Call once in each pause. Return the times (seconds)."""
    token, times = TOKENS["quiet"], []
    sock = connected(port)
    if websocket:
        sock.sendall(upgrade(f"/servers/{server}/ws", token))
        until(sock, b"\r\n\r\n")
        sock.sendall(frame(1, message(0, "initialize", INITIALIZE)))
        until(sock, b"}}")
        sock.sendall(frame(1, message(None, "notifications/initialized")))
    else:
        field = session_of(port, server, token)
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number += 1
        body = call(number, f"nonce{number}")
        data = frame(1, body) if websocket else post(f"/servers/{server}/mcp", token, body, field)
        began = time.perf_counter()
        sock.sendall(data)
        found = until(sock, b"nonce%d" % number)
        times.append(time.perf_counter() - began)
        assert websocket or b" 200 OK" in found or b"nonce" in found, found
        time.sleep(PAUSE)
    sock.close()
    return times


def payloads(kind, port, server):
    """Return the bytes before the flood of one connection, and what is sent again and again."""
    token, path = TOKENS["flood"], f"/servers/{server}/mcp"
    if kind.startswith("http"):
        field = session_of(port, server, token)
        return b"", [
            b"".join(post(path, token, call(n), field) for n in range(number * 50, number * 50 + 50))
            for number in range(20)
        ]
    if kind == "stateless":
        fields = "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: echo"
        params = {"name": "echo", "arguments": {"text": "x"}, "_meta": MODERN}
        return b"", [post(path, token, message(1, "tools/call", params), *fields) * 50]
    if kind == "unauthenticated":
        return b"", [post(path, "mcpb_wrong", call(1))]
    if kind == "large bodies":
        field = session_of(port, server, token)
        return b"", [post(path, token, call(1, "x" * 1_000_000), field)]
    if kind == "slow bodies":
        field = session_of(port, server, token)
        return b"", [post(path, token, b"{", field, length=100_000)[:-1], *[b"x"] * 99_999]
    before = upgrade(f"/servers/{server}/ws", token) + frame(1, message(0, "initialize", INITIALIZE))
    if kind == "cancelled":
        each = [
            frame(1, call(number)) + frame(1, message(None, "notifications/cancelled", {"requestId": number}))
            for number in range(1000)
        ]
        return before, [b"".join(each[at : at + 50]) for at in range(0, 1000, 50)]
    each = [frame(1, call(number)) for number in range(1000)]
    return before, [b"".join(each[at : at + 50]) for at in range(0, 1000, 50)]


def flood(kind, port, server):
    """Send until SIGINT, then print what was sent and received."""
    over = []
    signal.signal(signal.SIGINT, lambda *_: over.append(True))
    count = 200 if kind == "slow bodies" else CONNECTIONS
    prepared = payloads(kind, port, server)
    sent = received = refused = closed = opened = 0
    poll, peers = select.poll(), {}

    def begin():
        nonlocal opened
        before, blocks = prepared
        try:
            sock = connected(port)
            sock.sendall(before)
        except OSError:
            return
        sock.setblocking(False)
        peers[sock.fileno()] = [sock, blocks, 0, memoryview(blocks[0])]
        poll.register(sock, select.POLLIN | select.POLLOUT)
        opened += 1

    for _ in range(count):
        begin()
    print("ready", flush=True)
    while not over:
        if len(peers) < count:
            begin()
        for number, events in poll.poll(100):
            peer = peers[number]
            try:
                if events & select.POLLIN:
                    data = peer[0].recv(65536)
                    if not data:
                        raise ConnectionError
                    received += len(data)
                    refused += data.count(b"HTTP/1.1 4") + data.count(b"rate_limit")
                if events & select.POLLOUT:
                    done = peer[0].send(peer[3])
                    sent += done
                    peer[3] = peer[3][done:]
                    if not peer[3]:
                        peer[2] = (peer[2] + 1) % len(peer[1])
                        peer[3] = memoryview(peer[1][peer[2]])
                if events & ~(select.POLLIN | select.POLLOUT):
                    raise ConnectionError
            except OSError:
                poll.unregister(number)
                peers.pop(number)[0].close()
                closed += 1
        # The kernel holds megabytes for each socket, so the bridge always has input. The flood must not take its core.
        time.sleep(0.01)
    print(
        json.dumps(
            {"sent": sent, "received": received, "refused": refused, "closed": closed, "opened": opened}
        )
    )


def p99(times):
    return sorted(times)[int(len(times) * 0.99)]


def measure(running, kind, seconds, *, websocket):
    port, server = running.address[1], KINDS[kind]
    PORT[0] = port
    phases = [quiet(port, server, seconds, websocket=websocket)]
    process = subprocess.Popen(
        [
            "nice",
            "-n",
            "19",
            sys.executable,
            __file__,
            "--flood",
            kind,
            "--port",
            str(port),
            "--server",
            server,
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    try:
        assert process.stdout.readline() == "ready\n"
        phases.append(quiet(port, server, seconds, websocket=websocket))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            result = json.loads(process.communicate(timeout=20)[0] or "{}")
        except subprocess.TimeoutExpired:
            process.kill()
            result = {}
    phases.append(quiet(port, server, seconds, websocket=websocket))
    return phases, result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", help=", ".join(KINDS))
    parser.add_argument("--rates", action="store_true")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--flood")
    parser.add_argument("--port", type=int)
    parser.add_argument("--server")
    given = parser.parse_args()
    PORT[0] = given.port or 0
    if given.flood:
        flood(given.flood, given.port, given.server)
        return
    if not CHILD.exists():
        CHILD.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-O2", "-o", CHILD, REPOSITORY / "benchmarks/child.c"], check=True)
    digests = {name: hashlib.sha256(token.encode()).hexdigest() for name, token in TOKENS.items()}
    tables = {f"tokens.{name}": {"sha256": digest} for name, digest in digests.items()}
    if given.rates:
        tables["tokens.flood"]["rates"] = {"requests": "200/second"}
    tables["limits"] = {"refusals_per_minute": 1000}
    servers = {"own": {"command": [str(CHILD)]}, "shared": {"command": [str(CHILD)], "share": "server"}}
    print("| flood | p50 before, during, after | p99 before, during, after | ratio of p99 | the flood |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind in given.kinds or KINDS:
            with daemon(Path(folder) / kind.replace(" ", "-"), servers, **tables) as running:
                phases, result = measure(running, kind, given.seconds, websocket="websocket" in kind)
            p50s = ", ".join(f"{statistics.median(times) * 1000:.2f}" for times in phases)
            p99s = ", ".join(f"{p99(times) * 1000:.1f}" for times in phases)
            ratio = p99(phases[1]) / max(p99(phases[0]), p99(phases[2]))
            print(f"| {kind} | {p50s} | {p99s} | {ratio:.1f} | {json.dumps(result)} |", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
