"""Compare the bridge, the floor and other bridges in one run (`make bench`), and the figures with the budgets.

Each started process gets a process session of its own and is ended, also when the run fails. Only the loopback is
used. The figures go to benchmarks/RESULTS.md; only their ratios carry over to another machine.
"""

import argparse
import contextlib
import datetime as dt
import fcntl
import http.client
import json
import os
import platform
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from mcpbridged.validators import jsonrpc, mcp_params
from mcpbridged.validators.limits import Limits

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
BUILD: Final = ROOT / "build" / "bench"
CHILD: Final = BUILD / "child"
LOAD: Final = BUILD / "load"
# Another build of the bridge, measured in place of the installed one.
BRIDGE: Final = Path(os.environ.get("BENCH_BRIDGE") or Path(sys.executable).with_name("mcp-bridge"))
LEVELS: Final = (1, 16, 64)
WEBSOCKET_LEVELS: Final = (1, 32)
ERA_LEVELS: Final = (1, 16)
RAISED: Final = [
    "connections=2000",
    "connections_per_principal=1000",
    "sessions=2000",
    "sessions_per_principal=1000",
]
IDLE: Final = 200
BIG: Final = 10_000_000
BIG_TIMES: Final = 11
START_SECONDS: Final = 40.0
# Uncounted load before the first round, because Node is slower by a third until it has compiled its hot functions.
WARM_SECONDS: Final = 3.0
# The run and all its processes are ended after this time in any case.
MOST_SECONDS: Final = 30 * 60
VERSION: Final = "2025-06-18"
# The end of the name of a bridge with `--share server`.
SHARED: Final = ", one process"


@attrs.define
class System:
    """A measured program: the command that starts it, and its URL. `port` replaces {port}."""

    name: str
    command: list[str]
    path: str = "/mcp"
    headers: list[str] = attrs.field(factory=list)
    env: dict[str, str] = attrs.field(factory=dict)
    websocket: bool = False
    modern: bool = False
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    failure: str = ""

    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid


# ---- processes


def compile_tools() -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("child", "load"):
        compiler = shlex.split(os.environ.get("CC", "cc"))
        subprocess.run(
            [*compiler, "-O2", "-Wall", "-Wno-format-truncation", "-o", BUILD / name, HERE / f"{name}.c"],
            check=True,
        )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def start(system: System, log: Path) -> float:
    """Start the program, and return the time until it listens (seconds)."""
    system.port = free_port()
    command = [part.replace("{port}", str(system.port)) for part in system.command]
    began = time.perf_counter()
    with log.open("wb") as sink:
        system.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={**os.environ, **system.env},
            start_new_session=True,
        )
    while time.perf_counter() - began < START_SECONDS:
        if system.process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", system.port), 1):
            return time.perf_counter() - began
        time.sleep(0.01)
    stop(system)
    raise RuntimeError(f"{system.name} does not listen: {log.read_text(errors='replace')[-400:]}")


def stop(system: System) -> None:
    process = system.process
    if process is None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(6)
    system.process = None


def load(system: System, connections: int, seconds: float, *extra: str) -> dict[str, Any]:
    """Return the figures of one run of the load generator; `calls_per_s` is 0 and `failed` is set if the run failed."""
    command = [str(LOAD), "--url", f"http://127.0.0.1:{system.port}{system.path}"]
    command += ["--connections", str(connections), "--seconds", str(seconds), "--pid", str(system.pid())]
    for header in system.headers:
        command += ["--header", header]
    if system.websocket:
        command.append("--ws")
    if system.modern:
        command.append("--modern")
    try:
        done = subprocess.run(
            [*command, *extra], check=False, capture_output=True, text=True, timeout=seconds + 80
        )
        result: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as problem:
        result = {"failed": type(problem).__name__}
    result.setdefault("calls", 0)
    result.setdefault("calls_per_s", 0.0)
    assert system.process is not None
    if not result["calls"]:
        print(f"{system.name}: {result}, exit {system.process.poll()}", file=sys.stderr, flush=True)
    for count in ("errors", "wrong", "unanswered"):
        result.setdefault(count, 0)
    result["cpu_us"] = 1e6 * result["cpu_s"] / result["calls"] if result["calls"] else 0.0
    return result


def memory(pid: int) -> int:
    """Return the resident memory of one process (bytes)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no Rss")


def memory_below(pid: int) -> int:
    """Return the memory that the descendants of a process would free at their end (Pss, bytes), without the benchmark's servers."""
    below, total = {pid}, 0
    parents: dict[int, tuple[int, str]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
            parents[int(stat.parent.name)] = int(rest.split()[1]), name
    while True:
        found = {number for number, (parent, _) in parents.items() if parent in below} - below
        if not found:
            break
        below |= found
    for number in below - {pid}:
        if parents[number][1] != CHILD.name:
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{number}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
    return total


# ---- the measured programs


def ours(
    work: Path,
    name: str = "mcp-bridge",
    *,
    path: str = "/mcp",
    websocket: bool = False,
    shared: bool = False,
) -> System:
    """Return the bridge, with a process for each session, or with one `shared` process for all."""
    runtime = work / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    token_file = runtime / "mcp-bridge" / "token"
    if not token_file.exists():
        token_file.parent.mkdir(mode=0o700, exist_ok=True)
        token_file.touch(mode=0o600)
        token_file.write_text(os.urandom(32).hex() + "\n")
    command = [str(BRIDGE), "--stdio", str(CHILD), "--port", "{port}", "--log-level", "warning"]
    for raised in RAISED:
        command += ["--limit", raised]
    if os.geteuid() == 0:
        command.append("--allow-root")
    if shared:
        command += ["--share", "server"]
    return System(
        name + (SHARED if shared else ""),
        command,
        path,
        [f"Authorization: Bearer {token_file.read_text().strip()}"],
        {"XDG_RUNTIME_DIR": str(runtime), "XDG_STATE_HOME": str(runtime)},
        websocket,
    )


def ours_websocket(work: Path, *, shared: bool = False) -> System:
    return ours(work, "mcp-bridge ws", path="/ws", websocket=True, shared=shared)


def ours_modern(work: Path, era: str, *, shared: bool = False) -> System:
    """Return the bridge with clients of revision 2026-07-28, and a server that is configured for this era."""
    system = ours(work, f"modern client, {era} server", shared=shared)
    system.command += ["--era", era]
    system.modern = True
    return system


def supergateway_modern(deps: Path) -> System:
    command = [str(deps / "node/node_modules/.bin/supergateway"), "--stdio", str(CHILD)]
    command += ["--outputTransport", "streamableHttp", "--port", "{port}", "--logLevel", "none"]
    return System("supergateway, modern client", command, modern=True)


def floor(*options: str) -> System:
    command = [sys.executable, str(HERE / "floor.py"), *options, "{port}", str(CHILD)]
    return System(" ".join(["floor", *options]), command)


def peers(work: Path, deps: Path) -> list[System]:
    node = deps / "node" / "node_modules" / ".bin"
    config = work / "fastmcp.json"
    config.write_text(json.dumps({"mcpServers": {"s": {"command": str(CHILD), "args": []}}}))
    fastmcp = [str(deps / "fastmcp/bin/fastmcp"), "run", str(config), "--transport", "http"]
    fastmcp += ["--port", "{port}", "--no-banner", "--skip-env", "--log-level", "ERROR"]
    supergateway = [str(node / "supergateway"), "--stdio", str(CHILD), "--outputTransport", "streamableHttp"]
    npm = [str(node / "mcp-proxy"), "--host", "127.0.0.1", "--port", "{port}", "--", str(CHILD)]
    pypi = [str(deps / "mcp-proxy/bin/mcp-proxy"), "--port", "{port}", "--pass-environment", "--", str(CHILD)]
    return [
        System("supergateway", [*supergateway, "--stateful", "--port", "{port}", "--logLevel", "none"]),
        System("mcp-proxy (npm)", npm),
        System("mcp-proxy (PyPI)", pypi),
        System("fastmcp", fastmcp, env={"FASTMCP_CHECK_FOR_UPDATES": "off"}),
    ]


def supergateway_websocket(deps: Path) -> System:
    command = [str(deps / "node/node_modules/.bin/supergateway"), "--stdio", str(CHILD)]
    command += ["--outputTransport", "ws", "--port", "{port}", "--logLevel", "none"]
    return System("supergateway ws", command, "/message", websocket=True)


@contextlib.contextmanager
def started(systems: list[System], work: Path) -> Iterator[list[System]]:
    """Start all programs at once, and return those that have started."""
    try:
        running = []
        for system in systems:
            if not Path(system.command[0]).exists():
                system.failure = "is not installed (benchmarks/peers.sh)"
                continue
            try:
                start(system, work / f"{len(running)}.log")
                running.append(system)
            except RuntimeError as problem:
                system.failure = str(problem)
                print(problem, file=sys.stderr)
        yield running
    finally:
        for system in systems:
            stop(system)


# ---- the measurements

Results = dict[tuple[str, int], dict[str, Any]]


def rounds(
    systems: list[System], levels: tuple[int, ...], count: int, seconds: float, *extra: str
) -> Results:
    """Return the medians of interleaved rounds, because other load of the machine then affects all programs alike."""
    results: Results = {}
    for system in systems:
        load(system, 16, WARM_SECONDS, *extra)
    for connections in levels:
        runs: dict[str, list[dict[str, Any]]] = {system.name: [] for system in systems}
        for turn in range(count):
            for system in systems[turn % len(systems) :] + systems[: turn % len(systems)]:
                runs[system.name].append(load(system, connections, seconds, *extra))
        for name, made in runs.items():
            middle: dict[str, Any] = {
                key: statistics.median(float(run.get(key, 0)) for run in made)
                for key in ("calls_per_s", "cpu_us", "p50_ms", "p90_ms", "p99_ms", "max_ms")
            }
            middle["runs"] = made
            for key in ("errors", "wrong", "unanswered"):
                middle[key] = sum(run[key] for run in made)
            middle["failed"] = sum("failed" in run for run in made)
            results[name, connections] = middle
            single = ", ".join(f"{run['calls_per_s']:.0f}" for run in made)
            print(
                f"{connections:3} x {name:18} {middle['calls_per_s']:9.0f}/s {middle['cpu_us']:7.0f} us CPU ({single})",
                flush=True,
            )
    return results


def plain_pipe(*, through: bool) -> float:
    """Return the time for a 10 MB result of the child (seconds), read directly or through one copy between two pipes (cat)."""
    call = {"name": "big", "arguments": {"bytes": BIG}}
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}) + "\n"
    with subprocess.Popen([CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        fcntl.fcntl(child.stdout, fcntl.F_SETPIPE_SZ, 256 * 1024)
        source, copier = child.stdout, None
        if through:
            copier = subprocess.Popen(["cat"], stdin=child.stdout, stdout=subprocess.PIPE)
            assert copier.stdout is not None
            fcntl.fcntl(copier.stdout, fcntl.F_SETPIPE_SZ, 256 * 1024)
            source = copier.stdout
        times, buffer = [], bytearray(256 * 1024)
        try:
            for _ in range(BIG_TIMES):
                began = time.perf_counter()
                child.stdin.write(line.encode())
                child.stdin.flush()
                while buffer[os.readv(source.fileno(), [buffer]) - 1] != ord("\n"):
                    pass
                times.append(time.perf_counter() - began)
        finally:
            child.stdin.close()
            if copier is not None:
                copier.kill()
                copier.wait()
            child.kill()
    return statistics.median(times[1:])


def big_result(work: Path) -> float:
    with started([ours(work)], work) as (system,):
        found = load(system, 1, 30, "--tool", "big", "--size", str(BIG), "--calls", str(BIG_TIMES))
        return float(found.get("p50_ms", 0)) / 1e3


def open_session(system: System) -> str:
    """Open and initialize a session, and close its connection."""
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=20)
    name, _, value = system.headers[0].partition(": ")
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        name: value,
    }
    params = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
    first = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    connection.request("POST", "/mcp", json.dumps(first), headers)
    answer = connection.getresponse()
    answer.read()
    session = answer.headers["Mcp-Session-Id"]
    headers |= {"Mcp-Session-Id": session, "Mcp-Protocol-Version": VERSION}
    connection.request(
        "POST", "/mcp", json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}), headers
    )
    connection.getresponse().read()
    connection.close()
    return session


def open_stream(system: System, session: str) -> socket.socket:
    stream = socket.create_connection(("127.0.0.1", system.port), 20)
    lines = [
        "GET /mcp HTTP/1.1",
        f"Host: 127.0.0.1:{system.port}",
        "Accept: text/event-stream",
        *system.headers,
    ]
    lines += [f"Mcp-Session-Id: {session}", f"Mcp-Protocol-Version: {VERSION}", "", ""]
    stream.sendall("\r\n".join(lines).encode())
    if not stream.recv(4096).startswith(b"HTTP/1.1 200"):
        raise RuntimeError("no stream")
    return stream


def idle_memory(work: Path) -> tuple[float, float, float]:
    """Return the memory (bytes) of an idle session without its child, of the keeper of the child, and of an idle SSE stream.

    The first and the last are of the bridge's own process; a keeper is a process of its own for each server.
    """
    with started([ours(work)], work) as (system,), contextlib.ExitStack() as streams:
        for _ in range(10):  # the first sessions load modules
            streams.enter_context(open_stream(system, open_session(system)))
        time.sleep(0.3)
        before, kept_before = memory(system.pid()), memory_below(system.pid())
        sessions = [open_session(system) for _ in range(IDLE)]
        time.sleep(0.5)
        between, kept = memory(system.pid()), memory_below(system.pid())
        for session in sessions:
            streams.enter_context(open_stream(system, session))
        time.sleep(0.5)
        after = memory(system.pid())
    return (between - before) / IDLE, (kept - kept_before) / IDLE, (after - between) / IDLE


def start_up(work: Path, count: int) -> tuple[float, float]:
    """Return the time from exec to the event `ready` (seconds), and the resident memory then (bytes)."""
    times, sizes = [], []
    for _ in range(count):
        system = ours(work)
        command = [part.replace("{port}", "0") for part in system.command]
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, env={**os.environ, **system.env}, start_new_session=True
        )
        system.process = process
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if b"ready on" in line:
                    times.append(time.perf_counter() - began)
                    break
            sizes.append(memory(process.pid))
        finally:
            stop(system)
            process.stderr.close()
    return statistics.median(times), statistics.median(sizes)


def modules(work: Path) -> int:
    """Return len(sys.modules) of the daemon some time after its start."""
    system = ours(work)
    program = (
        "import sys, threading\n"
        "from mcpbridged.bridge.commands.wrapper import main\n"
        "t = threading.Timer(1.5, lambda: print('modules', len(sys.modules), file=sys.stderr, flush=True))\n"
        "t.daemon = True; t.start(); main()"
    )
    command = [sys.executable, "-c", program, *(part.replace("{port}", "0") for part in system.command[1:])]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, env={**os.environ, **system.env}, start_new_session=True
    )
    system.process = process
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(b"modules "):
                return int(line.split()[1])
    finally:
        stop(system)
        process.stderr.close()
    raise RuntimeError("the bridge ended")


def _call_of(arguments: dict[str, Any]) -> bytes:
    call = {
        "jsonrpc": "2.0",
        "id": 4711,
        "method": "tools/call",
        "params": {"name": "echo", "arguments": arguments},
    }
    return json.dumps(call, separators=(",", ":")).encode()


def validation(body: bytes) -> float:
    """Return the time to validate one call (seconds): the least of many, because other load of the machine only adds to it."""
    limits = Limits()

    def once() -> None:
        message = jsonrpc.decode(body, limits)
        assert isinstance(message, jsonrpc.Request)
        mcp_params.read_request(message.method, message.params, limits)

    count = 20_000 if len(body) < 1000 else 1000
    return min(timeit.repeat(once, number=count, repeat=40)) / count


# ---- the table


@attrs.define
class Row:
    what: str
    budget: str
    measured: str
    met: bool | None
    command: str


def ratio(results: Results, name: str, base: str, level: int, key: str) -> float:
    """Return the median of the ratios of the rounds, whose runs follow each other; 0 without a measurement."""
    pairs = zip(results[name, level]["runs"], results[base, level]["runs"], strict=True)
    return statistics.median(
        [run[key] / other[key] for run, other in pairs if run[key] and other[key]] or [0.0]
    )


def is_correct(results: Results, name: str, level: int) -> bool:
    """Return whether a program has answered all calls, and each with its own answer."""
    found = results.get((name, level), {})
    return bool(found.get("calls_per_s")) and not any(
        found[count] for count in ("errors", "wrong", "unanswered", "failed")
    )


def ratio_row(what: str, value: float, least: float, command: str) -> Row:
    return Row(what, f"≥ {least:g} ×", f"{value:.2f} ×" if value else "failed", value >= least, command)


def most_row(what: str, value: float, most: float, unit: str, command: str) -> Row:
    measured = f"{value:.3g} {unit}" if value else "failed"
    return Row(what, f"≤ {most:g} {unit}".rstrip(), measured.rstrip(), 0 < value <= most, command)


LOAD_COMMAND: Final = (
    "build/bench/load --url http://127.0.0.1:PORT/mcp --header 'Authorization: Bearer TOKEN' --pid PID"
)


def measure(arguments: argparse.Namespace, work: Path) -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    quick = arguments.quick
    count, seconds = (3, 1.0) if quick else (arguments.rounds, arguments.seconds)
    rivals = peers(work, arguments.peers)
    shared = ours(work, shared=True)
    with started([floor(), floor("--parked"), ours(work), shared, *rivals], work) as running:
        http = rounds(running, LEVELS, count, seconds)
    names = [system.name for system in running]
    rival_names = [rival.name for rival in rivals if is_correct(http, rival.name, 16)]
    for level in LEVELS:
        command = f"`{LOAD_COMMAND} --connections {level} --seconds {seconds:g}`"
        if rival_names:
            best = max(rival_names, key=lambda name: http[name, level]["calls_per_s"])
            thrifty = min(rival_names, key=lambda name: http[name, level]["cpu_us"] or 1e9)
            calls = ratio(http, "mcp-bridge", best, level, "calls_per_s")
            cpu = ratio(http, "mcp-bridge", thrifty, level, "cpu_us")
            first = ratio_row(f"calls/s, {level} connections, against {best}", calls, 10, command)
            second = most_row(f"CPU per call, {level} connections, against {thrifty}", cpu, 0.1, "×", command)
            rows += [first, second]
            if level != 16:
                first.met = second.met = None
                first.budget = second.budget = "-"
        third = ratio_row(
            f"calls/s, {level} connections, against the floor",
            ratio(http, "mcp-bridge", "floor", level, "calls_per_s"),
            0.85,
            command,
        )
        fourth = Row(
            f"CPU per call, {level} connections, against the floor",
            "-",
            f"{ratio(http, 'mcp-bridge', 'floor', level, 'cpu_us'):.2f} ×",
            None,
            command,
        )
        fifth = Row(
            f"calls/s, {level} connections, against the floor with a reader and ids (`floor.py --parked`)",
            "-",
            f"{ratio(http, 'mcp-bridge', 'floor --parked', level, 'calls_per_s'):.2f} ×",
            None,
            command,
        )
        if level != 16:
            third.met, third.budget = None, "-"
        sixth = Row(
            f"calls/s, {level} connections, with one process for all sessions, against a process each",
            "-",
            f"{ratio(http, shared.name, 'mcp-bridge', level, 'calls_per_s'):.2f} ×",
            None,
            f"{command} with `--share server`",
        )
        rows += [third, fourth, fifth, sixth]
    tables = [table_of("Streamable HTTP", http, names, LEVELS)]

    rival = supergateway_websocket(arguments.peers)
    mine, mine_shared = ours_websocket(work), ours_websocket(work, shared=True)
    with started([mine, mine_shared, rival], work) as running:
        ws = rounds(running, WEBSOCKET_LEVELS, count, seconds)
        ws_names = [system.name for system in running]
    for level in WEBSOCKET_LEVELS if rival.name in ws_names else ():
        command = f"`{LOAD_COMMAND} --ws --path /ws --connections {level} --seconds {seconds:g}`"
        for system, what, least, given in (
            (mine_shared, "one process for all", 0.9, f"{command} with `--share server`"),
            (mine, "a process each", 0.7, command),
        ):
            value = ratio(ws, system.name, rival.name, level, "calls_per_s")
            title = f"WebSocket, {level} connections, {what}, against supergateway (one process for all)"
            row = ratio_row(title, value, least, given)
            # supergateway gives all clients one process, which costs less with many of them only.
            if level != 32:
                row.met, row.budget = None, "-"
            rows.append(row)
    tables.append(table_of("WebSocket", ws, ws_names, WEBSOCKET_LEVELS))

    direct, translated = ours_modern(work, "modern"), ours_modern(work, "legacy")
    translated_shared = ours_modern(work, "legacy", shared=True)
    rival_modern = supergateway_modern(arguments.peers)
    with started([ours(work), direct, translated, translated_shared, rival_modern], work) as running:
        eras = rounds(running, ERA_LEVELS, count, seconds)
        era_names = [system.name for system in running]
    for level in ERA_LEVELS:
        command = f"`{LOAD_COMMAND} --modern --connections {level} --seconds {seconds:g}`"
        for what, name, base, least in (
            ("modern client and server, against the legacy path", direct.name, "mcp-bridge", 0.0),
            ("modern client and legacy server, against both modern", translated.name, direct.name, 0.7),
            (
                "modern client and legacy server, on the process of all clients, against one of its own",
                translated_shared.name,
                translated.name,
                0.0,
            ),
            ("modern client and server, against supergateway", direct.name, rival_modern.name, 0.0),
        ):
            if base in era_names:
                row = ratio_row(
                    f"calls/s, {level} connections, {what}",
                    ratio(eras, name, base, level, "calls_per_s"),
                    least,
                    command,
                )
                if not least:
                    row.met, row.budget = None, "-"
                rows.append(row)
    tables.append(table_of("Eras", eras, era_names, ERA_LEVELS))

    through, direct_pipe, whole = plain_pipe(through=True), plain_pipe(through=False), big_result(work)
    command = f"`{LOAD_COMMAND} --tool big --size {BIG} --calls {BIG_TIMES}`; child \\| cat \\| reader"
    what = f"10 MB result ({whole * 1e3:.1f} ms) against a plain pipe copy ({through * 1e3:.1f} ms; without the copy {direct_pipe * 1e3:.1f} ms)"
    rows.append(most_row(what, whole / through, 2.8, "×", command))

    session, keeper, stream = idle_memory(work)
    rows += [
        most_row(
            "idle legacy session without its child",
            session / 1024,
            16,
            "KiB",
            f"`benchmarks/run.py`: Rss of the bridge over {IDLE} sessions",
        ),
        Row(
            "its keeper, the process that ends the child when the bridge cannot",
            "-",
            f"{keeper / 1024:.0f} KiB",
            None,
            f"`benchmarks/run.py`: Pss of what is below the bridge, without the children, over {IDLE} sessions",
        ),
        most_row(
            "idle SSE stream, its connection included",
            stream / 1024,
            8,
            "KiB",
            f"`benchmarks/run.py`: Rss of the bridge over {IDLE} streams",
        ),
    ]
    ready, resident = start_up(work, 3 if quick else 7)
    own = "`mcp-bridge --stdio build/bench/child --port 0`"
    rows += [
        most_row("start to ready", ready, 0.3, "s", own),
        most_row(
            "resident after start", resident / 2**20, 36, "MiB", own + ", Rss in /proc/PID/smaps_rollup"
        ),
        most_row("modules imported", modules(work), 400, "", own + ", len(sys.modules)"),
    ]
    small = _call_of({"text": "x" * 200})
    record = {
        "id": 4711,
        "path": "src/main.py",
        "line": 17,
        "matched": True,
        "text": "def main() -> None:",
        "score": 0.25,
    }
    large = _call_of({"items": [record] * (40_000 // (len(json.dumps(record, separators=(",", ":"))) + 1))})
    string = _call_of({"text": "x" * 40_000})
    timer = "`benchmarks/run.py`: envelope.decode and shapes.read_request, best of 40"
    rows += [
        most_row(f"validation of a call of {len(small)} B", validation(small) * 1e6, 2.5, "µs", timer),
        most_row(
            f"validation of a call of {len(large)} B, many small members",
            validation(large) * 1e6,
            90,
            "µs",
            timer,
        ),
        most_row(
            f"validation of a call of {len(string)} B, one string", validation(string) * 1e6, 90, "µs", timer
        ),
    ]
    tables += [f"{system.name}: {system.failure}" for system in (*rivals, rival) if system.failure]
    return rows, tables


def some(arguments: argparse.Namespace, work: Path) -> str:
    """Return a table with the calls per second of the programs in `--only`."""
    wanted = arguments.only.split(";" if ";" in arguments.only else ",")
    rivals = [*peers(work, arguments.peers), supergateway_websocket(arguments.peers)]
    known = [floor(), floor("--parked"), floor("--shared"), *rivals]
    for shared in (False, True):
        known += [ours(work, shared=shared), ours_websocket(work, shared=shared)]
        known.append(ours_modern(work, "legacy", shared=shared))
    known += [ours_modern(work, "modern"), supergateway_modern(arguments.peers)]
    if unknown := set(wanted) - {system.name for system in known}:
        sys.exit(f"run.py: {', '.join(unknown)} not known; known are {', '.join(s.name for s in known)}")
    count, seconds = (3, 1.0) if arguments.quick else (arguments.rounds, arguments.seconds)
    levels = tuple(int(level) for level in arguments.connections.split(","))
    with started([system for system in known if system.name in wanted], work) as running:
        extra = ["--shared-session"] if arguments.shared_session else []
        results = rounds(running, levels, count, seconds, *extra)
        names = [system.name for system in running]
    missing = [f"{system.name}: {system.failure}" for system in known if system.failure]
    return "\n\n".join([table_of("Some", results, names, levels), *missing, machine()])


def table_of(title: str, results: Results, names: list[str], levels: tuple[int, ...]) -> str:
    lines = [
        f"### {title}",
        "",
        "| | connections | calls/s | CPU per call | p50 | p90 | p99 | max | errors | wrong | unanswered |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for level in levels:
        for name in names:
            r = results[name, level]
            failed = f" ({r['failed']:.0f} rounds failed)" if r["failed"] else ""
            lines.append(
                f"| {name}{failed} | {level} | {r['calls_per_s']:.0f} | {r['cpu_us']:.0f} µs | {r['p50_ms']:.2f} ms "
                f"| {r['p90_ms']:.2f} ms | {r['p99_ms']:.2f} ms | {r['max_ms']:.2f} ms | {r['errors']:.0f} | {r['wrong']:.0f} | {r['unanswered']:.0f} |"
            )
    return "\n".join(lines)


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    node = (
        subprocess.run(["node", "--version"], check=False, capture_output=True, text=True).stdout.strip()
        if shutil.which("node")
        else "no Node"
    )
    busy = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, Node {node}; load average at the end {busy}"


def report(rows: list[Row], tables: list[str], *, quick: bool) -> str:
    verdict: Callable[[bool | None], str] = {True: "met", False: "**missed**", None: ""}.__getitem__
    today = dt.datetime.now(dt.UTC).date()
    lines = [
        "# What was measured",
        "",
        f"Written by `make bench`{' (--quick)' if quick else ''} on {today}.",
        "",
        machine(),
        "",
    ]
    lines += ["| what | budget | measured | | command |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.what} | {row.budget} | {row.measured} | {verdict(row.met)} | {row.command} |" for row in rows
    ]
    return "\n".join(lines) + "\n\n" + "\n\n".join(tables) + "\n"


def _leave(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure against the floor, the peers and the budgets.")
    parser.add_argument("--quick", action="store_true", help="three rounds of one second")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--peers", type=Path, default=ROOT / ".deps" / "peers")
    parser.add_argument("--output", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument("--only", metavar="NAME;...", help="calls/s of these only, printed and not written")
    parser.add_argument("--connections", default="1,16,64", help="with --only (default 1,16,64)")
    parser.add_argument("--shared-session", action="store_true", help="with --only: one session for all")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGALRM, _leave)
    signal.alarm(MOST_SECONDS)
    compile_tools()
    if arguments.only:
        with tempfile.TemporaryDirectory(prefix="bench-") as work:
            print(some(arguments, Path(work)))
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        rows, tables = measure(arguments, Path(work))
    text = report(rows, tables, quick=arguments.quick)
    arguments.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
