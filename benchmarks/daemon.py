"""Measure the memory of the daemon for a thousand sessions across ten servers. Writes DAEMON.md.

Run it as `.venv/bin/python benchmarks/daemon.py`. It uses the loopback only and needs a C compiler.
"""

import http.client
import json
import platform
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]

from run import compile_tools, machine  # noqa: E402 - here

from tests.support.daemon_process import Daemon, write_config  # noqa: E402 - of the repository

SERVERS, SESSIONS = 10, 1000
# The budget of an idle legacy session without its child, in KiB.
BUDGET = 24
CHILD = ROOT / "build/bench/child"
LIMITS = {"sessions": 2 * SESSIONS, "sessions_per_principal": 2 * SESSIONS}
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}


def resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1])
    raise ValueError("no Rss")


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class Client:
    """A connection on which sessions are opened and closed."""

    def __init__(self, running: Daemon) -> None:
        self._connection = http.client.HTTPConnection(*running.address, timeout=60)
        self._headers = {
            **running.headers,
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }

    def ask(
        self, method: str, server: str, message: dict | None = None, session: str = ""
    ) -> http.client.HTTPResponse:
        headers = {**self._headers, **({"Mcp-Session-Id": session} if session else {})}
        body = json.dumps({"jsonrpc": "2.0", **message}).encode() if message else None
        self._connection.request(method, f"/servers/{server}/mcp", body, headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer

    def open(self, server: str) -> str:
        answer = self.ask("POST", server, {"id": 1, "method": "initialize", "params": INITIALIZE})
        session = answer.headers["Mcp-Session-Id"]
        self.ask("POST", server, {"method": "notifications/initialized"}, session)
        return session


def main() -> None:
    compile_tools()
    names = [f"server-{number}" for number in range(SERVERS)]
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        folder = Path(work)
        write_config(
            folder / "config.toml",
            {name: {"command": [str(CHILD)], "limits": LIMITS, "era": "legacy"} for name in names},
            limits=LIMITS,
        )
        with Daemon(folder) as running:
            client, pid = Client(running), running.process.pid
            for name in names:  # the first session of each server costs more than the others
                client.ask("DELETE", name, session=client.open(name))
            time.sleep(1)
            before, files = resident(pid), descriptors(pid)
            begun = time.monotonic()
            sessions = [
                (names[number % SERVERS], client.open(names[number % SERVERS])) for number in range(SESSIONS)
            ]
            opened = time.monotonic() - begun
            time.sleep(2)
            after = resident(pid)
            status = running.status()
            alive = sum(len(one["pids"]) for one in status["servers"])
            begun = time.monotonic()
            running.do("reload")
            reload = time.monotonic() - begun
            for name, session in sessions:
                client.ask("DELETE", name, session=session)
            end = time.monotonic() + 60
            while any(one["pids"] for one in running.status()["servers"]) and time.monotonic() < end:
                time.sleep(0.5)
            left, files_left = resident(pid), descriptors(pid)
    each = (after - before) / SESSIONS
    text = f"""\
# A thousand sessions across ten servers

Written by `.venv/bin/python benchmarks/daemon.py`, which is the command behind every figure here, with `build/bench/child` as the server.

{machine()}

| what | budget | measured |
|---|---|---|
| an idle legacy session without its child, of {SESSIONS} across {SERVERS} servers | ≤ {BUDGET} KiB | {each:.1f} KiB ({each / BUDGET:.2f} of the budget) |
| the daemon's resident memory before, with {alive} children alive, and after | - | {before / 1024:.1f}, {after / 1024:.1f}, {left / 1024:.1f} MiB |
| its descriptors before and after | equal | {files} and {files_left} |
| opening them one after the other, each with a process of its own | - | {opened / SESSIONS * 1000:.1f} ms each |
| `mcp-bridge reload` with all of them open, the command's own start included | - | {reload:.2f} s |

Python {platform.python_version()}.
"""
    (HERE / "DAEMON.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
