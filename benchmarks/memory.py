"""Compare the daemon with and without memory that is kept for large messages (limits.free_heap_bytes).

    .venv/bin/python benchmarks/memory.py [--seconds 60] [--rounds 5] [--only MESSAGE;...]

Prints the resident memory of the daemon before an answer of 10 MB, directly after it and `--seconds` later, for each transport.
Then the CPU time and the minor page faults of one call in interleaved rounds, and the memory of idle sessions. A ratio below 1
is less CPU time with kept memory. Only the loopback is used.
"""

import argparse
import http.client
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from run import (  # noqa: E402 - here
    BIG,
    IDLE,
    MOST_SECONDS,
    VERSION,
    System,
    compile_tools,
    load,
    machine,
    memory,
    open_session,
    ours,
    start,
    stop,
)

MIB = 1024 * 1024
SWITCH = "free_heap_bytes"
# Uncounted calls before each round, at least.
_WARM = 4


@attrs.frozen
class Message:
    """Calls that are measured. `count` is the number of calls in a round."""

    name: str
    tool: str
    size: int
    connections: int
    count: int
    path: str = "/mcp"
    options: tuple[str, ...] = ()


MESSAGES = (
    Message("10 MB answer", "big", BIG, 1, 15),
    Message("10 MB answer, WebSocket", "big", BIG, 1, 15, "/ws"),
    Message("10 MB answer, share = server", "big", BIG, 1, 15, options=("--share", "server")),
    Message("10 MB request and answer", "echo", BIG, 1, 10),
    Message("16.7 MB request and answer", "echo", 16_700_000, 1, 10),
    Message("1 MB answer", "big", 1_000_000, 1, 60),
    Message("1 MB request and answer", "echo", 1_000_000, 1, 60),
    Message("2 MB answers, 16 at once", "big", 2_000_000, 16, 160),
    Message("64 KiB answer", "big", 64 * 1024, 1, 1000),
    Message("small call, 16 connections", "echo", 0, 16, 10_000),
    Message("small call, WebSocket, 32 connections", "echo", 0, 32, 10_000, "/ws"),
)


def faults(system: System) -> int:
    """Return the number of minor page faults of the daemon (proc_pid_stat(5))."""
    return int(Path(f"/proc/{system.pid()}/stat").read_text().rpartition(")")[2].split()[7])


@contextmanager
def both(work: Path, path: str, options: tuple[str, ...]) -> Iterator[tuple[System, System]]:
    """Start two daemons, with and without kept memory."""
    systems = []
    for name, more in (("with", []), ("without", ["--limit", f"{SWITCH}=0"])):
        folder = work / name
        folder.mkdir(exist_ok=True)
        system = ours(folder, name, path=path, websocket=path == "/ws")
        system.command += [*options, *more]
        systems.append(system)
    try:
        for system in systems:
            start(system, work / f"{system.name}.log")
        yield systems[0], systems[1]
    finally:
        for system in systems:
            stop(system)


def measure(message: Message, work: Path, rounds: int) -> str:
    """Return a row of the table of CPU times."""
    with both(work, message.path, message.options) as systems:
        extra = ["--tool", message.tool, "--size", str(message.size), "--calls"]
        warm = str(max(_WARM, message.connections))
        cpu: list[list[float]] = [[], []]
        pages: list[list[float]] = [[], []]
        for turn in range(rounds):
            for which in (0, 1) if turn % 2 else (1, 0):
                # Uncounted, because memory is returned while the other daemon is measured.
                load(systems[which], message.connections, 60, *extra, warm)
                before = faults(systems[which])
                found = load(systems[which], message.connections, 60, *extra, str(message.count))
                if found["calls"] != message.count or found["wrong"] or found["errors"]:
                    raise SystemExit(f"{message.name}: {found}")
                cpu[which].append(found["cpu_us"])
                pages[which].append((faults(systems[which]) - before) / message.count)
        ratios = [kept / usual for kept, usual in zip(*cpu, strict=True)]
        cells = [
            *(f"{statistics.median(values):.0f}" for values in cpu),
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
            *(f"{statistics.median(values):.1f}" for values in pages),
            *(f"{memory(system.pid()) / MIB:.0f}" for system in systems),
        ]
        return f"| {message.name} | {' | '.join(cells)} |"


class EventStream:
    """A client of HTTP+SSE."""

    def __init__(self, system: System) -> None:
        name, _, value = system.headers[0].partition(": ")
        self._headers = {name: value, "Content-Type": "application/json"}
        self._stream, self._posts = (
            http.client.HTTPConnection("127.0.0.1", system.port, timeout=60) for _ in range(2)
        )
        self._stream.request("GET", "/sse", headers={**self._headers, "Accept": "text/event-stream"})
        self._events = self._stream.getresponse()
        # Relative to /sse.
        self._path = "/" + self._event().partition(b"data: ")[2].decode().strip()
        info = {"name": "bench", "version": "1"}
        self.call("initialize", {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": info})
        self._post({"method": "notifications/initialized"})

    def close(self) -> None:
        self._stream.close()
        self._posts.close()

    def call(self, method: str, params: dict[str, object]) -> bytes:
        """Return the event with the response."""
        self._post({"id": 1, "method": method, "params": params})
        return self._event()

    def _post(self, message: dict[str, object]) -> None:
        self._posts.request("POST", self._path, json.dumps({"jsonrpc": "2.0", **message}), self._headers)
        response = self._posts.getresponse()
        if response.status != 202:
            raise SystemExit(f"HTTP {response.status}: {response.read()!r}")
        response.read()

    def _event(self) -> bytes:
        """Return the next event. A comment, such as a heartbeat, is skipped."""
        while True:
            lines = [self._events.readline()]
            while lines[-1] not in (b"\n", b""):
                lines.append(self._events.readline())
            if lines[-1] == b"":
                raise SystemExit("the event stream has ended")
            if not lines[0].startswith(b":"):
                return b"".join(lines)


def answer(system: System, stream: EventStream | None) -> None:
    """Request an answer of 10 MB."""
    if stream is not None:
        found = stream.call("tools/call", {"name": "big", "arguments": {"bytes": BIG}})
        if len(found) < BIG:
            raise SystemExit(f"{len(found)} bytes in place of {BIG}")
    elif not load(system, 1, 60, "--tool", "big", "--size", str(BIG), "--calls", "1")["calls"]:
        raise SystemExit(f"no answer of {system.name}")


def resident(work: Path, path: str, seconds: float) -> list[str]:
    """Return the rows of one transport in the table of the resident memory."""
    rows = []
    with both(work, path, ()) as systems:
        found = []
        for system in systems:
            stream = EventStream(system) if path == "/sse" else None
            if stream is None:
                load(system, 1, 60, "--calls", "10")
            before = memory(system.pid())
            answer(system, stream)
            found.append((before, memory(system.pid())))
            if stream is not None:
                stream.close()
        time.sleep(seconds)
        for system, (before, after) in zip(systems, found, strict=True):
            sizes = (before, after, memory(system.pid()))
            cells = " | ".join(f"{size / MIB:.1f}" for size in sizes)
            rows.append(f"| {path}, {system.name} | {cells} |")
    return rows


def idle(work: Path) -> str:
    """Return the memory of an idle session with and without kept memory."""
    sizes = []
    with both(work, "/mcp", ()) as systems:
        for system in systems:
            open_session(system)
            before = memory(system.pid())
            for _ in range(IDLE):
                open_session(system)
            sizes.append(f"{system.name} {(memory(system.pid()) - before) / IDLE / 1024:.1f}")
    return ", ".join(sizes)


def leave(number: int, _frame: object) -> None:
    """Exit because of a signal."""
    sys.exit(128 + number)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="time after the answer (default 60)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", metavar="MESSAGE;...", help="CPU times of these messages only")
    arguments = parser.parse_args()
    # The processes are ended at the exit.
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, leave)
    signal.alarm(MOST_SECONDS)
    compile_tools()
    wanted = arguments.only.split(";") if arguments.only else []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        if not wanted:
            print(
                f"| resident, MiB | before | after 10 MB | {arguments.seconds:g} s later |\n|---|---|---|---|"
            )
            for path in ("/mcp", "/sse", "/ws"):
                print("\n".join(resident(Path(folder), path, arguments.seconds)), flush=True)
            print(f"\nidle session, KiB: {idle(Path(folder))}")
        print("\n| one call | µs CPU with | without | ratio | faults with | without | MiB with | without |")
        print("|---|---|---|---|---|---|---|---|")
        for message in MESSAGES:
            if not wanted or message.name in wanted:
                print(measure(message, Path(folder), arguments.rounds), flush=True)
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
