"""Measure the calls of a quiet client before, during and after the flood of another principal.

`PYTHONPATH=. .venv/bin/python benchmarks/fairness.py [KIND]...` prints a table: p50 and p99 of the quiet client (milliseconds),
the ratio of p99 during the flood and before it, and what the flooding client got. `--rates` limits the flooding token to 200
requests in a second, and `--seconds` sets the length of each phase (3). `--write` writes FAIRNESS.md.

The quiet client sends a call five milliseconds after each response, on one connection. The flood is one process that sends as
much as its sockets take. The last phase begins when the daemon has nothing more to do. With `--floor` the flood is sent to
another daemon, so that only processor and kernel are shared. With `--realtime` (root only) the daemon has the first processor,
the clients and the servers have the second, and all of them have precedence over other programs (SCHED_FIFO), the flood less
than the others. The kernel interrupts them once in a second for up to 50 ms, so the quiet client calls more often, two
milliseconds after each response.
Loopback only; about ten seconds a kind.
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import select
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

import h2.connection  # noqa: E402 - after the path was set
import h2.events  # noqa: E402 - likewise
import trustme  # noqa: E402 - after the path was set

from benchmarks.run import machine  # noqa: E402 - likewise
from tests.support.daemon_process import Daemon, write_config  # noqa: E402 - after the path was set
from tests.support.tls import write_certificate  # noqa: E402 - likewise
from tests.support.wire import frame  # noqa: E402 - likewise

FAIRNESS = Path(__file__).with_name("FAIRNESS.md")
REALTIME = """
The daemon had the first processor, and clients and servers the second, with precedence over other programs. {reserve}
"""
# Before --realtime: `sysctl kernel.sched_rt_runtime_us=-1`, and 950000 afterwards.
RESERVE = Path("/proc/sys/kernel/sched_rt_runtime_us")
RESERVES = {
    True: "The reserve of the\nkernel for those was off (`sysctl kernel.sched_rt_runtime_us=-1`).",
    False: "The kernel keeps a\ntwentieth of a processor for those: beside a daemon that is never idle, some calls wait up to 50 ms.",
}
CHILD = REPOSITORY / "build/bench/child"
TOKENS = {name: f"mcpb_{name:x<40}{name}" for name in ("quiet", "flood")}
# Time between a response and the next call of the quiet client (seconds).
PAUSE = 0.005
REALTIME_PAUSE = 0.002
CONNECTIONS = 32
# Time between the first bytes of the flood and the phase "during" (seconds).
WARM_UP = 0.5
# The port of the daemon.
PORT = [0]
# The TLS context of all clients, if they use TLS.
TLS = []
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
    "http over TLS": "own",
    "http/2": "own",
    "stateless": "own",
    "websocket": "own",
    "websocket, same process": "shared",
    "cancelled": "own",
    "large bodies": "own",
    "slow bodies": "own",
    "http to a url server": "remote",
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
    return TLS[0].wrap_socket(sock, server_hostname="127.0.0.1") if TLS else sock


def tls_context(trust):
    context = ssl.create_default_context(cafile=trust)
    context.set_alpn_protocols(["http/1.1"])
    return context


class Multiplexed:
    """One HTTP/2 connection with as many calls at once as it may have."""

    def __init__(self, port, server):
        self.path, self.token = f"/servers/{server}/mcp", TOKENS["flood"]
        self.session = session_of(port, server, self.token).partition(": ")[2]
        sock = socket.create_connection(("127.0.0.1", port))
        TLS[0].set_alpn_protocols(["h2"])
        self.sock = TLS[0].wrap_socket(sock, server_hostname="127.0.0.1")
        TLS[0].set_alpn_protocols(["http/1.1"])
        self.state = h2.connection.H2Connection()
        self.state.initiate_connection()
        self.sock.sendall(self.state.data_to_send())
        self.sock.settimeout(0.1)
        self.open = self.answers = self.refused = self.sent = 0

    def step(self):
        """Send what may be sent, and read what is there."""
        while self.open < min(100, self.state.remote_settings.max_concurrent_streams):
            stream = self.state.get_next_available_stream_id()
            body = call(stream)
            fields = [
                *((":method", "POST"), (":scheme", "https"), (":authority", f"127.0.0.1:{PORT[0]}")),
                *((":path", self.path), ("authorization", f"Bearer {self.token}")),
                *(("content-type", "application/json"), ("accept", "application/json, text/event-stream")),
                *(("mcp-session-id", self.session), ("content-length", str(len(body)))),
            ]
            self.state.send_headers(stream, fields)
            self.state.send_data(stream, body, end_stream=True)
            self.open += 1
        data = self.state.data_to_send()
        self.sent += len(data)
        self.sock.sendall(data)
        with contextlib.suppress(TimeoutError):
            data = self.sock.recv(65536)
            self.answers += data.count(b'"result"')
            self.refused += data.count(b'"error"')
            for event in self.state.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                    self.open -= 1


def flood_multiplexed(port, server):
    """Call over HTTP/2 until SIGINT, then print what was sent and received."""
    over = []
    signal.signal(signal.SIGINT, lambda *_: over.append(True))
    connections = [Multiplexed(port, server)]
    began = time.monotonic()
    print("ready", flush=True)
    while not over:
        for one in connections:
            one.step()
    seconds = time.monotonic() - began
    found = {name: sum(getattr(one, name) for one in connections) for name in ("answers", "refused", "sent")}
    print(
        json.dumps(
            {
                "megabytes": round(found["sent"] / seconds / 1e6, 2),
                "answers": round(found["answers"] / seconds),
                "refused": round(found["refused"] / seconds),
            }
        )
    )


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


class Quiet:
    """The quiet client, with its session."""

    def __init__(self, port, server, *, websocket, pause=PAUSE):
        self.pause = pause
        self.path = f"/servers/{server}/mcp"
        self.websocket = websocket
        self.number = 0
        self.sock = connected(port)
        if websocket:
            self.sock.sendall(upgrade(f"/servers/{server}/ws", TOKENS["quiet"]))
            until(self.sock, b"\r\n\r\n")
            self.sock.sendall(frame(1, message(0, "initialize", INITIALIZE)))
            until(self.sock, b"}}")
            self.sock.sendall(frame(1, message(None, "notifications/initialized")))
        else:
            self.field = session_of(port, server, TOKENS["quiet"])

    def measure(self, seconds):
        """Call once in each pause. Return the times (seconds)."""
        times, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            self.number += 1
            mark = f"nonce{self.number:08}"
            body = call(self.number, mark)
            data = frame(1, body) if self.websocket else post(self.path, TOKENS["quiet"], body, self.field)
            began = time.perf_counter()
            self.sock.sendall(data)
            until(self.sock, mark.encode())
            times.append(time.perf_counter() - began)
            time.sleep(self.pause)
        return times


def payloads(kind, port, server):
    """Return the bytes before the flood of one connection, and what is sent again and again."""
    token, path = TOKENS["flood"], f"/servers/{server}/mcp"
    if kind.startswith("http"):
        field = session_of(port, server, token)
        return b"", [
            b"".join(post(path, token, call(n), field) for n in range(number * 50, number * 50 + 50))
            for number in range(2 * CONNECTIONS)
        ]
    if kind == "stateless":
        fields = "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: echo"
        params = {"name": "echo", "arguments": {"text": "x"}, "_meta": MODERN}
        return b"", [post(path, token, message(1, "tools/call", params), *fields) * 50]
    if kind == "unauthenticated":
        return b"", [post(path, "mcpb_wrong", call(1))]
    if kind == "large bodies":
        field = session_of(port, server, token)
        return b"", [post(path, token, call(n, "x" * 1_000_000), field) for n in range(CONNECTIONS)]
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
    sent = answers = refused = closed = opened = 0
    began = time.monotonic()
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
        # Each connection has other ids at a time.
        at = len(peers) * len(blocks) // count
        peers[sock.fileno()] = [sock, blocks, at, memoryview(blocks[at])]
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
                    answers += data.count(b'"result"')
                    refused += data.count(b'"error"')
                if events & select.POLLOUT:
                    done = peer[0].send(peer[3])
                    sent += done
                    peer[3] = peer[3][done:]
                    if not peer[3]:
                        peer[2] = (peer[2] + 1) % len(peer[1])
                        peer[3] = memoryview(peer[1][peer[2]])
                if events & ~(select.POLLIN | select.POLLOUT):
                    raise ConnectionError
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                continue
            except OSError:
                poll.unregister(number)
                peers.pop(number)[0].close()
                closed += 1
        # The kernel holds megabytes for each socket, so the bridge always has input. The flood must not take its core.
        time.sleep(0.01)
    seconds = time.monotonic() - began
    print(
        json.dumps(
            {
                "megabytes": round(sent / seconds / 1e6, 2),
                "answers": round(answers / seconds),
                "refused": round(refused / seconds),
                "closed": closed,
            }
        )
    )


def p99(times):
    return sorted(times)[int(len(times) * 0.99)]


def prefix(core, priority, *, realtime):
    """Return the beginning of a command that runs on this processor with this precedence."""
    return ["taskset", "-c", str(core), "chrt", "-f", str(priority)] if realtime else []


def processor_time(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until_idle(pid):
    """Wait until the daemon has nothing left of the flood. Return the time that it took (seconds)."""
    began = time.monotonic()
    while time.monotonic() - began < 30:
        before = processor_time(pid)
        time.sleep(0.3)
        if processor_time(pid) - before < 0.05:
            break
    return time.monotonic() - began


def measure(running, flooded, kind, seconds, trust, *, realtime):
    """Return the times of the quiet client in three phases, and what the flood has printed."""
    port, server, websocket = running.address[1], KINDS[kind], "websocket" in kind
    # Only the flood uses the remote server.
    quiet = "own" if server == "remote" else server
    PORT[0] = port
    TLS[:] = [tls_context(trust)] if trust else []
    pause = REALTIME_PAUSE if realtime else PAUSE
    client = Quiet(port, quiet, websocket=websocket, pause=pause)
    phases = [client.measure(seconds)]
    process = subprocess.Popen(
        [
            *(prefix(1, 10, realtime=True) if realtime else ["nice", "-n", "19"]),
            *(
                sys.executable,
                __file__,
                "--flood",
                kind,
                "--port",
                str(flooded.address[1]),
                "--server",
                server,
                *(["--trust", str(trust)] if trust else []),
            ),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    try:
        assert process.stdout.readline() == "ready\n"
        # The flood fills the buffers of the kernel, and its servers are started.
        time.sleep(WARM_UP)
        phases.append(client.measure(seconds))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            result = json.loads(process.communicate(timeout=20)[0] or "{}")
        except subprocess.TimeoutExpired:
            process.kill()
            result = {}
    wait_until_idle(running.process.pid)
    phases.append(client.measure(seconds))
    return phases, result


def row(kind, rounds):
    """Return a row of the table: medians of the rounds."""
    columns = [kind]
    for figure, digits in ((statistics.median, 2), (p99, 2)):
        for at in range(3):
            median = statistics.median(figure(phases[at]) for phases, _ in rounds)
            columns.append(f"{median * 1000:.{digits}f}")
    ratio = statistics.median(p99(phases[1]) / p99(phases[0]) for phases, _ in rounds)
    columns.append(f"{ratio:.1f}")
    columns += [
        f"{statistics.median(result.get(key, 0) for _, result in rounds):g}"
        for key in ("answers", "refused", "megabytes", "closed")
    ]
    return f"| {' | '.join(columns)} |"


HEAD = (
    "| flood | p50 before | during | after | p99 before | during | after | ratio | answers/s | refused/s | MB/s sent | closed |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def run(folder, kind, given, *, floor=False, rates=False):
    """Measure one kind in a daemon of its own. Return the times of the phases, and what the flood has printed."""
    child = [*prefix(1, 20, realtime=given.realtime), str(CHILD)]
    servers = {"own": {"command": child}, "shared": {"command": child, "share": "server"}}
    tables = {
        f"tokens.{name}": {"sha256": hashlib.sha256(token.encode()).hexdigest()}
        for name, token in TOKENS.items()
    }
    if rates:
        tables["tokens.flood"]["rates"] = {"requests": "200/second"}
    tables["limits"] = {"refusals_per_minute": 1000}
    trust = None
    if kind in {"http over TLS", "http/2"}:
        authority, trust = trustme.CA(), folder / "authority.pem"
        folder.mkdir(exist_ok=True)
        authority.cert_pem.write_to_path(trust)
        certificate, key = write_certificate(authority, folder)
        tables["listen"] = {"tls_cert": str(certificate), "tls_key": str(key)}
    with contextlib.ExitStack() as stack:
        if KINDS[kind] == "remote":
            place = folder / "remote"
            write_config(place / "config.toml", servers)
            remote = stack.enter_context(Daemon(place, within=prefix(1, 20, realtime=given.realtime)))
            secret = folder / "secret"
            secret.touch(0o600)
            secret.write_text(f"Bearer {remote.token}")
            fields = {"Authorization": str(secret)}
            servers = {**servers, "remote": {"url": remote.url("own"), "secret_headers": fields}}
        daemons = []
        for name, core, priority in [("quiet", 0, 20), ("flooded", 1, 10)][: 2 if floor else 1]:
            place = folder / re.sub("[^a-z0-9]+", "-", kind) / name
            write_config(place / "config.toml", servers, **dict(tables))
            within = prefix(core, priority, realtime=given.realtime)
            daemons.append(stack.enter_context(Daemon(place, within=within)))
        return measure(daemons[0], daemons[-1], kind, given.seconds, trust, realtime=given.realtime)


def table(kinds, given, **how):
    """Measure these kinds in interleaved rounds. Return the table."""
    rounds = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(given.rounds):
            for kind in kinds:
                rounds[kind].append(run(Path(folder) / str(number), kind, given, **how))
                print(row(kind, rounds[kind][-1:]), file=sys.stderr, flush=True)
    return "\n".join([HEAD, *(row(kind, found) for kind, found in rounds.items())])


def write(given):
    """Write FAIRNESS.md."""
    how = " ".join(word for word in sys.argv[1:])
    FAIRNESS.write_text(f"""# A quiet client beside a flood

Written by `PYTHONPATH=. .venv/bin/python benchmarks/fairness.py {how}` on {machine()}.

The quiet client sends a call {(REALTIME_PAUSE if given.realtime else PAUSE) * 1000:g} ms after each response, on one connection; the flood is another principal with
{CONNECTIONS} connections that sends as much as its sockets take. Latencies are those of the quiet client (milliseconds) in three
phases of {given.seconds:g} s, as medians of {given.rounds} rounds. The budget is a p99 during the flood of three times that before it.
{REALTIME.format(reserve=RESERVES[RESERVE.read_text().strip() == "-1"]) if given.realtime else ""}
{table(KINDS, given)}

A step that cannot be divided bounds what is possible: one pass of the JSON decoder takes 0.4 to 1 ms for the megabyte
of "large bodies", and a call waits for one such step, and for the work of the round in which it is. The flood over HTTP/2 is
one connection with 100 calls at once. The url server is another daemon, which had the second processor.

## The same flood at another daemon

Only the processor and the kernel are shared. This is the part of the delay that no order of work in the daemon can take away.

{table(("http", "websocket", "large bodies", "slow bodies"), given, floor=True)}

## With a rate

The token of the flood has `rates = {{ requests = "200/second" }}`. Further requests get 429 or its JSON-RPC error.

{table(("http", "websocket"), given, rates=True)}
""")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", help=", ".join(KINDS))
    parser.add_argument("--rates", action="store_true")
    parser.add_argument("--floor", action="store_true")
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--flood")
    parser.add_argument("--port", type=int)
    parser.add_argument("--server")
    parser.add_argument("--trust")
    given = parser.parse_args()
    PORT[0] = given.port or 0
    if given.flood:
        TLS[:] = [tls_context(given.trust)] if given.trust else []
        if given.flood == "http/2":
            flood_multiplexed(given.port, given.server)
        else:
            flood(given.flood, given.port, given.server)
        return
    if not CHILD.exists():
        CHILD.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-O2", "-o", CHILD, REPOSITORY / "benchmarks/child.c"], check=True)
    if given.realtime:
        os.sched_setaffinity(0, {1})
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
    if given.write:
        write(given)
    else:
        print(table(given.kinds or KINDS, given, floor=given.floor, rates=given.rates))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
