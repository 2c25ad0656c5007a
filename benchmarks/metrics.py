"""Measure the cost of metrics: the processor time of a call with and without them, and a scrape beside another client.

Run it as `.venv/bin/python benchmarks/metrics.py`; `--write` writes METRICS.md. It uses the loopback only and needs a C
compiler. The rounds with and without metrics are interleaved, and each ratio is the median of the ratios of the rounds.
"""

import argparse
import http.client
import json
import os
import re
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import trio
import trio_websocket

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]

from run import (  # noqa: E402 - here
    BRIDGE,
    CHILD,
    RAISED,
    System,
    compile_tools,
    load,
    machine,
    started,
)

from tests.support.daemon_process import write_config  # noqa: E402 - of the repository

SERVERS, TOOLS = 20, 100
LIMITS = {key: int(value) for key, value in (limit.split("=") for limit in RAISED)}
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}
# Name, connections, and whether it is a WebSocket and a client of 2026-07-28.
CARRIERS = [
    ("HTTP", 1, False, False),
    ("HTTP", 16, False, False),
    ("WebSocket", 32, True, False),
    ("HTTP, 2026-07-28", 16, False, True),
]
BUDGET = 1.03


def daemon_system(work: Path, name: str, count: int, tables: Mapping[str, Mapping[str, Any]]) -> System:
    """Return a daemon with this number of servers. `{port}` in its configuration is replaced by `start`."""
    folder = work / name
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700, parents=True)
    token_file = runtime / "mcp-bridge" / "token"
    token_file.parent.mkdir(mode=0o700)
    token_file.touch(mode=0o600)
    token_file.write_text(os.urandom(32).hex() + "\n")
    servers = {f"s{number}": {"command": [str(CHILD)], "pass_env": []} for number in range(count)}
    config = folder / "config.toml"
    listen = {"http": "127.0.0.1:@port@", "unix": str(folder / "sock")}
    write_config(config, servers, listen=listen, log={"level": "warning"}, limits=LIMITS, **tables)
    root = " --allow-root" if os.geteuid() == 0 else ""
    script = f'sed -i "s/@port@/$1/" {config}; exec {BRIDGE} serve{root} --config {config}'
    return System(
        name,
        ["/bin/sh", "-c", script, "sh", "{port}"],
        "/servers/s0/mcp",
        [f"Authorization: Bearer {token_file.read_text().strip()}"],
        {"XDG_RUNTIME_DIR": str(runtime), "XDG_STATE_HOME": str(runtime)},
    )


def switch(system: System, work: Path, *, on: bool) -> None:
    """Switch the metrics of a running daemon on or off, and wait until it has loaded the configuration."""
    config = work / system.name / "config.toml"
    text = config.read_text()
    config.write_text(re.sub(r"(?m)^enabled = (true|false)$", f"enabled = {str(on).lower()}", text))
    os.kill(system.pid(), signal.SIGHUP)
    deadline = time.monotonic() + 20
    while (answer(system)[0] == 200) != on:
        if time.monotonic() > deadline:
            raise RuntimeError("the daemon does not load its configuration")
        time.sleep(0.02)


def compared(
    system: System, work: Path, rounds: int, seconds: float, carriers: list[tuple[str, int, bool, bool]]
) -> list[tuple[str, float, float, float]]:
    """Return for each carrier its name, the processor time of a call without and with (µs), and the ratio.

    Both are measured in one process, because two processes of one program differ by up to 3 %.
    """
    rows = []
    for name, connections, is_websocket, is_modern in carriers:
        system.path = "/servers/s0/ws" if is_websocket else "/servers/s0/mcp"
        system.websocket, system.modern = is_websocket, is_modern
        load(system, connections, 1.0)
        figures: dict[bool, list[float]] = {False: [], True: []}
        for turn in range(rounds):
            for on in (False, True)[:: 1 if turn % 2 else -1]:
                switch(system, work, on=on)
                figures[on].append(load(system, connections, seconds)["cpu_us"])
        without, with_them = figures[False], figures[True]
        ratio = statistics.median(b / a for a, b in zip(without, with_them, strict=True) if a)
        rows.append(
            (
                f"{name}, {connections} connections",
                statistics.median(without),
                statistics.median(with_them),
                ratio,
            )
        )
        print(
            f"{rows[-1][0]:30} {rows[-1][1]:7.1f} us {rows[-1][2]:7.1f} us {100 * (ratio - 1):+5.1f} %",
            flush=True,
        )
    return rows


async def call_every_tool(system: System) -> None:
    """Call 100 tools of each server once."""
    headers = [("Authorization", system.headers[0].partition(": ")[2])]
    for number in range(SERVERS):
        url = f"ws://127.0.0.1:{system.port}/servers/s{number}/ws"
        async with trio_websocket.open_websocket_url(
            url, subprotocols=["mcp"], extra_headers=headers
        ) as socket:

            async def ask(
                id_: int, method: str, params: object, socket: trio_websocket.WebSocketConnection = socket
            ) -> None:
                message = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
                await socket.send_message(json.dumps(message))
                await socket.get_message()

            await ask(0, "initialize", INITIALIZE)
            await socket.send_message('{"jsonrpc":"2.0","method":"notifications/initialized"}')
            for tool in range(TOOLS):
                await ask(tool + 1, "tools/call", {"name": f"tool-{tool}", "arguments": {"text": "x"}})


def answer(system: System) -> tuple[int, str]:
    """Return the status and the text of a request for /metrics."""
    name, _, value = system.headers[0].partition(": ")
    with closing(http.client.HTTPConnection("127.0.0.1", system.port, timeout=60)) as connection:
        connection.request("GET", "/metrics", headers={name: value})
        response = connection.getresponse()
        return response.status, response.read().decode()


def scrape(system: System) -> tuple[float, str]:
    """Return how long a scrape takes (seconds), and the text."""
    began = time.perf_counter()
    status, text = answer(system)
    if status != 200:
        raise RuntimeError(f"{status} {text[:200]}")
    return time.perf_counter() - began, text


def beside(system: System, seconds: float, pause: float | None) -> tuple[dict[str, Any], list[float]]:
    """Return the figures of one client, and the times of the scrapes (seconds), which have this pause between them."""
    over = threading.Event()
    times: list[float] = []

    def scrape_again() -> None:
        while pause is not None and not over.is_set():
            times.append(scrape(system)[0])
            over.wait(pause)

    thread = threading.Thread(target=scrape_again)
    thread.start()
    try:
        return load(system, 1, seconds), times
    finally:
        over.set()
        thread.join()


def scraped(work: Path, seconds: float) -> tuple[list[str], int, int]:
    """Return the rows of the table of scrapes, and the lines and bytes of one."""
    system = daemon_system(work, "many", SERVERS, {"metrics": {"enabled": True}})
    rows = []
    with started([system], work) as [running]:
        trio.run(call_every_tool, running)
        load(running, 1, 1.0)
        _, text = scrape(running)
        for name, pause in (("none", None), ("each second", 1.0), ("without a pause", 0.0)):
            figures, times = beside(running, seconds, pause)
            took = f"{1000 * statistics.median(times):.0f}" if times else ""
            rows.append(
                f"| {name} | {len(times)} | {took} | {figures['calls_per_s']:.0f} | {figures['p50_ms']:.2f} |"
                f" {figures['p99_ms']:.2f} | {figures['max_ms']:.1f} |"
            )
            print(rows[-1], flush=True)
        lag = re.findall(r'lag_seconds_bucket\{le="([^"]+)"\} (\d+)', scrape(running)[1])
        print("event loop lag:", lag)
    return rows, text.count("\n"), len(text)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=161)
    options.add_argument("--seconds", type=float, default=0.25)
    options.add_argument("--carrier", default="", help="measure this one only")
    options.add_argument("--write", action="store_true", help="write METRICS.md")
    given = options.parse_args()
    compile_tools()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        system = daemon_system(work, "one", 1, {"metrics": {"enabled": True}})
        carriers = [carrier for carrier in CARRIERS if given.carrier in ("", carrier[0])]
        with started([system], work) as [running]:
            rows = compared(running, work, given.rounds, given.seconds, carriers)
        scrapes, lines, size = scraped(work, 10 * given.seconds) if given.write else ([], 0, 0)
    if given.write:
        (HERE / "METRICS.md").write_text(document(rows, scrapes, lines, size))
    over = [name for name, _, _, ratio in rows if ratio > BUDGET]
    if over:
        sys.exit(f"more than {BUDGET}: {', '.join(over)}")


def document(rows: list[tuple[str, float, float, float]], scrapes: list[str], lines: int, size: int) -> str:
    costs = "\n".join(
        f"| {name} | {off:.1f} | {on:.1f} | {100 * (ratio - 1):+.1f} % |" for name, off, on, ratio in rows
    )
    return f"""# The cost of metrics

Written by `.venv/bin/python benchmarks/metrics.py --write` on {machine()}.

## A call

Processor time of `tools/call` in one daemon, `[metrics]` switched off and on between interleaved rounds. The difference is the
median of those of the rounds; the budget is +3 %.

| carrier | off (µs) | on (µs) | difference |
|---|---|---|---|
{costs}

## A scrape

A daemon of {SERVERS} servers with {TOOLS} used tools each: {lines} lines, {size / 1e6:.1f} MB. One client calls a tool of one
server in a loop; a scraper runs beside it. The latencies are those of the client (milliseconds).

| scrapes | number | time of each (ms) | calls/s | p50 | p99 | maximum |
|---|---|---|---|---|---|---|
{chr(10).join(scrapes)}
"""


if __name__ == "__main__":
    main()
