"""Compare programs that stand between a client's stdin and stdout and a server elsewhere: start, memory, round trip, naps.

    .venv/bin/python benchmarks/connect.py [NAME=path/to/mcp-bridge ...] [--starts 10] [--calls 2000] [--clients]

Each program is measured in front of the same daemon and the same small server, in interleaved rounds: `mcp-bridge connect`, that
of other checkouts, npm mcp-remote and PyPI mcp-proxy in client mode (`benchmarks/peers.sh` installs them), and the server
alone. With `--clients` the memory of four clients with six servers each is measured as well: direct, through the daemon with a
process for each session and for each principal, and through mcp-remote in front of the daemon.

Start is the time from the start of the program to the first answer (ms, median and least). Memory is the Pss of the program and
of what it has started, without the server, with 24 at once (MiB), and again when the idle ones have left memory. A round trip is the
median of sequential calls (microseconds). The call after a nap is the first one of a program that has left memory (ms).
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".deps/peers"
OURS = Path(sys.executable).with_name("mcp-bridge")
# Answers every request with the smallest result.
_SERVER = """
import json, sys
opened = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "small", "version": "1"}}
for line in sys.stdin.buffer:
    message = json.loads(line)
    if "id" in message:
        result = opened if message["method"] == "initialize" else {"tools": []}
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\\n")
        sys.stdout.buffer.flush()
"""
SMALL = (sys.executable, "-I", "-S", "-c", _SERVER)
# A server of the official SDK.
SDK = (sys.executable, str(ROOT / "tests/conformance/servers/py2.py"))
AT_ONCE = 24
CLIENTS, SERVERS = 4, 6
MIB = 1024 * 1024
# A program that takes as long as this has failed (seconds).
MOST_SECONDS = 60
# An idle program leaves memory within this time (seconds).
NAP_SECONDS = 13
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "benchmark", "version": "1"},
    },
}


@attrs.frozen
class Program:
    """A command that a client starts."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = attrs.field(factory=dict, repr=False)


class Session:
    """A client of one started program, with an open session."""

    def __init__(self, program: Program) -> None:
        began = time.perf_counter()
        self.process = subprocess.Popen(
            program.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **program.environment},
            bufsize=0,
        )
        self._buffer = b""
        self.answer(INITIALIZE)
        self.started = time.perf_counter() - began
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        self._number = 0

    def _send(self, message: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")

    def answer(self, message: dict[str, object]) -> None:
        """Send a request and wait for its response."""
        assert self.process.stdout is not None
        self._send(message)
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if not newline:
                data = os.read(self.process.stdout.fileno(), 1 << 20)
                if not data:
                    raise SystemExit(f"{self.process.args!r} has ended")
                self._buffer += data
                continue
            self._buffer = rest
            if json.loads(line).get("id") == message["id"]:
                return

    def call(self) -> float:
        """Return the time of one call (seconds)."""
        self._number += 1
        began = time.perf_counter()
        self.answer({"jsonrpc": "2.0", "id": self._number, "method": "tools/list", "params": {}})
        return time.perf_counter() - began

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(MOST_SECONDS)
        self.process.stdout.close()  # type: ignore[union-attr]


@contextmanager
def sessions(programs: Sequence[Program]) -> Iterator[list[Session]]:
    with ExitStack() as stack:
        found = []
        for program in programs:
            session = Session(program)
            stack.callback(session.end)
            found.append(session)
        yield found


def memory(pids: Sequence[int]) -> float:
    """Return the Pss of these processes and all below them (MiB)."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    below, size = set(pids), 0
    while size < len(below):
        size = len(below)
        below |= {pid for pid, parent in parents.items() if parent in below}
    total = 0
    for pid in below:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024 / MIB


@attrs.frozen
class Daemon:
    """A running daemon."""

    process: subprocess.Popen[str]
    config: Path
    port: int
    token: str
    environment: dict[str, str]

    def connect(self, program: Path, name: str, server: str = "one") -> Program:
        # Without options, as clients start it: the socket is at its usual path.
        return Program(name, (str(program), "connect", server), self.environment)

    def peers(self, server: str = "one") -> list[Program]:
        """Return the installed peers."""
        url = f"http://127.0.0.1:{self.port}/servers/{server}/mcp"
        remote = PEERS / "node/node_modules/mcp-remote/dist/proxy.js"
        proxy = PEERS / "mcp-proxy/bin/mcp-proxy"
        header = f"Authorization: Bearer {self.token}"
        found = []
        if remote.exists():
            command = (
                "node",
                str(remote),
                url,
                "--allow-http",
                "--transport",
                "http-only",
                "--header",
                header,
            )
            # The state of the peer, which is no state of the user.
            home = {"MCP_REMOTE_CONFIG_DIR": str(self.config.parent / "mcp-remote")}
            found.append(Program("mcp-remote", command, home))
        if proxy.exists():
            command = (str(proxy), "--transport", "streamablehttp", "-H", *header.split(": ", 1), url)
            found.append(Program("mcp-proxy", command))
        return found


@contextmanager
def daemon(folder: Path, servers: dict[str, dict[str, object]]) -> Iterator[Daemon]:
    folder.mkdir(mode=0o700)
    config = folder / "config.toml"
    lines = ["[listen]", 'http = "127.0.0.1:0"']
    for name, keys in servers.items():
        lines += [f"[servers.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    config.write_text("\n".join(lines) + "\n")
    config.chmod(0o600)
    environment = {
        "XDG_RUNTIME_DIR": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CONFIG_HOME": str(folder / "nothing"),
    }
    process = subprocess.Popen(
        [str(OURS), "serve", "--config", str(config), *(["--allow-root"] if os.geteuid() == 0 else [])],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stderr is not None
    port = 0
    for line in process.stderr:
        if "ready on http://127.0.0.1:" in line:
            port = int(line.rpartition(":")[2].split("/")[0])
            break
    if not port:
        raise SystemExit("the daemon does not start")
    drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
    token = (folder / "state/mcp-bridge/token").read_text().strip()
    try:
        yield Daemon(process, config, port, token, environment)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(MOST_SECONDS)
        drain.wait(MOST_SECONDS)
        process.stderr.close()


def measure(programs: Sequence[Program], starts: int, calls: int) -> None:
    """Print start, round trip and memory of each program."""
    started: dict[str, list[float]] = {program.name: [] for program in programs}
    for _ in range(starts):
        for program in programs:
            with sessions([program]) as [session]:
                started[program.name].append(session.started * 1e3)
    print(
        f"{'program':28} {'start ms':>14} {'call us':>9} {'MiB of 24':>10} {'later':>7} {'after a nap ms':>15}"
    )
    for program in programs:
        with sessions([program]) as [session]:
            for _ in range(100):
                session.call()
            trip = statistics.median(session.call() for _ in range(calls)) * 1e6
        with sessions([program] * AT_ONCE) as many:
            for one in many:
                one.call()
            pids = [one.process.pid for one in many]
            awake = memory(pids) / AT_ONCE
            time.sleep(NAP_SECONDS)
            asleep = memory(pids) / AT_ONCE
            first = statistics.median(one.call() for one in many) * 1e3
        found = started[program.name]
        start = f"{statistics.median(found):.0f} ({min(found):.0f})"
        print(f"{program.name:28} {start:>14} {trip:9.0f} {awake:10.2f} {asleep:7.2f} {first:15.1f}")


def measure_clients(folder: Path) -> None:
    """Print the memory of four clients with six servers each."""
    names = [f"s{number}" for number in range(SERVERS)]
    direct = [Program("direct", SDK)] * (CLIENTS * SERVERS)
    with sessions(direct) as many:
        base = memory([one.process.pid for one in many])
    print(f"\n{CLIENTS} clients with {SERVERS} servers each\n{'direct':40} {base:7.0f} MiB")
    for way, table in (("a process for each session", {}), ('share = "principal"', {"share": "principal"})):
        servers = {name: {"command": list(SDK), **table} for name in names}
        with daemon(folder / way[:5].strip(), servers) as running:
            ways = [("connect", [running.connect(OURS, name, name) for name in names])]
            if not table:
                peers = [one for name in names for one in running.peers(name) if one.name == "mcp-remote"]
                ways += [("mcp-remote", peers)] if peers else []
            for what, programs in ways:
                with sessions(programs * CLIENTS) as many:
                    for one in many:
                        one.call()
                    time.sleep(NAP_SECONDS)
                    found = memory([running.process.pid, *(one.process.pid for one in many)])
                print(f"{what + ', ' + way:40} {found:7.0f} MiB {found / base:6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs="*", metavar="NAME=PATH")
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--clients", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with daemon(folder / "one", {"one": {"command": list(SMALL)}}) as running:
            others = [one.partition("=") for one in given.checkouts]
            programs = [
                Program("the server alone", SMALL),
                running.connect(OURS, "mcp-bridge connect"),
                *(running.connect(Path(path), f"connect of {name}") for name, _, path in others),
                *running.peers(),
            ]
            measure(programs, given.starts, given.calls)
        if given.clients:
            measure_clients(folder)


if __name__ == "__main__":
    main()
