"""Compare the start of a process, its memory and the start of a session between checkouts, in interleaved rounds.

    .venv/bin/python benchmarks/spawn.py NAME=path/to/mcp-bridge ... [--rounds 5] [--starts 60] [--sessions 40]

For each checkout the script prints the median of the medians of its rounds, with their range: the time from the request to the
report `spawned`, the CPU time of the fork server and of its keepers for one start, the time of an `initialize` over HTTP,
and the memory (Pss) of a keeper among 24 and 200, with the share of the fork server. A ratio is the median of the ratios of
the rounds. Each program runs with the Python beside its mcp-bridge.
"""

import argparse
import contextlib
import http.client
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import run as bench
import trio

from mcpbridged.transports.options import Launch
from mcpbridged.transports.poller import Poller
from mcpbridged.transports.process.spawner import Spawner
from mcpbridged.validators.limits import Limits

KEEPERS = (24, 200)
# A request that takes as long as this has failed (seconds).
MOST_SECONDS = 60


# ---- in the Python of each checkout


async def serve_commands(spawner: Spawner) -> None:
    """Read `start COUNT` and `keep COUNT` from stdin, and print the result of each as JSON."""
    poller = Poller()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        while words := (await trio.to_thread.run_sync(sys.stdin.readline)).split():
            count = int(words[1])
            measure = measure_starts if words[0] == "start" else measure_memory
            print(json.dumps(await measure(spawner, poller, count)), flush=True)
        nursery.cancel_scope.cancel()


async def measure_starts(spawner: Spawner, poller: Poller, count: int) -> list[float]:
    """Return the median time of a start, and the CPU time of fork server and keepers for each (seconds)."""
    times, before = [], cpu_below(spawner)
    launch = Launch((str(bench.CHILD),), dict(os.environ))
    for _ in range(count):
        began = time.perf_counter()
        child = await spawner.spawn(launch, limits=Limits(), poller=poller)
        times.append(time.perf_counter() - began)
        with trio.CancelScope() as over:
            over.cancel()
            await child.run(print, print)
        await trio.sleep(0.01)
    return [statistics.median(times), (cpu_below(spawner) - before) / count]


def cpu_below(spawner: Spawner) -> float:
    """Return the CPU time of the fork server and its waited-for descendants (seconds)."""
    pid = spawner._process.pid  # noqa: SLF001 - what is measured
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


async def measure_memory(spawner: Spawner, poller: Poller, count: int) -> float:
    """Return the memory of all processes below this one without the servers, for each of `count` keepers (bytes)."""
    launch = Launch((str(bench.CHILD),), dict(os.environ))
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            child = await spawner.spawn(launch, limits=Limits(), poller=poller)
            nursery.start_soon(child.run, print, print)
        await trio.sleep(0.5)
        taken = bench.memory_below(os.getpid()) / count
        nursery.cancel_scope.cancel()
    return taken


def work() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    spawner = Spawner.start()
    try:
        trio.run(serve_commands, spawner)
    finally:
        spawner.close()


# ---- the comparison


class Program:
    """A checkout: a process that starts servers, and a daemon."""

    def __init__(self, name: str, bridge: Path, folder: Path) -> None:
        folder.mkdir()
        self.name = name
        # Key: name of a figure. Value: one median for each round.
        self.figures: dict[str, list[float]] = {}
        self.worker = subprocess.Popen(
            [bridge.with_name("python"), __file__, "--work"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "BENCH_BRIDGE": str(bridge)},
        )
        self.daemon = bench.ours(folder)
        self.daemon.command[0] = str(bridge)
        bench.start(self.daemon, folder / "log")

    def ask(self, *words: object) -> list[float]:
        self.worker.stdin.write(" ".join(map(str, words)) + "\n")
        self.worker.stdin.flush()
        answer = json.loads(self.worker.stdout.readline())
        return answer if isinstance(answer, list) else [answer]

    def add(self, figure: str, value: float) -> None:
        self.figures.setdefault(figure, []).append(value)

    def measure(self, starts: int, sessions: int) -> None:
        spawned, cpu = self.ask("start", starts)
        self.add("start (ms)", 1000 * spawned)
        self.add("CPU (ms)", 1000 * cpu)
        times = [session_start(self.daemon) for _ in range(sessions)]
        self.add("session (ms)", 1000 * statistics.median(times))

    def close(self) -> None:
        bench.stop(self.daemon)
        self.worker.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.worker.wait(20)
        self.worker.kill()
        self.worker.stdout.close()


def session_start(daemon: bench.System) -> float:
    """Return the time of an `initialize` over HTTP (seconds), and end the session."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=MOST_SECONDS)
    name, _, value = daemon.headers[0].partition(": ")
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        name: value,
    }
    params = {
        "protocolVersion": bench.VERSION,
        "capabilities": {},
        "clientInfo": {"name": "bench", "version": "1"},
    }
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
    connection.connect()
    began = time.perf_counter()
    connection.request("POST", daemon.path, body, headers)
    answer = connection.getresponse()
    answer.read()
    took = time.perf_counter() - began
    connection.request(
        "DELETE", daemon.path, headers=headers | {"Mcp-Session-Id": answer.headers["Mcp-Session-Id"]}
    )
    connection.getresponse().read()
    connection.close()
    return took


def compare(bridges: list[str], rounds: int, starts: int, sessions: int) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        programs = []
        for bridge in bridges:
            name, _, path = bridge.partition("=")
            programs.append(Program(name, Path(path).absolute(), Path(folder, name)))
            running.callback(programs[-1].close)
        for program in programs:
            program.ask("start", 20)
            for count in KEEPERS:
                program.add(f"keeper of {count} (KiB)", program.ask("keep", count)[0] / 1024)
        for turn in range(rounds):
            for program in programs[turn % len(programs) :] + programs[: turn % len(programs)]:
                program.measure(starts, sessions)
    for program in programs:
        for figure, values in program.figures.items():
            ratios = [new / old for new, old in zip(values, programs[0].figures[figure], strict=True) if old]
            print(f"{program.name:12} {figure:20} {spread(values)}   ratio {spread(ratios)}")


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):7.2f} ({min(values):.2f} to {max(values):.2f})" if values else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bridges", nargs="*", metavar="NAME=PROGRAM")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--starts", type=int, default=60)
    parser.add_argument("--sessions", type=int, default=40)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work()
    else:
        compare(options.bridges, options.rounds, options.starts, options.sessions)


if __name__ == "__main__":
    main()
