"""Official clients call a tool steadily over `mcp-bridge connect` while the daemon is restarted and reloaded; writes a section of docs/COMPATIBILITY.md.

Each client is connected to each server, and has several calls in flight at any time. The daemon is ended with SIGTERM and
started again, so many times; then the configuration of all servers is changed and reloaded, so many times. After each of
these events every client must get answers of the new server processes, before the next one comes.

Each call has a number of its own. The server writes the number into a journal before it answers, and all that passes between a client and
`connect` is copied, so that three cases can be distinguished: a client that sent a call twice, a call that was sent once and
executed twice, and a call that was executed and answered with an error. Exit code 1 if a client has lost its connection, if
a call has no answer, two, one of another call, or an error without a known reason, or if a call was executed twice.
The self check plants such faults in the server and must find each of them.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(REPOSITORY), str(HERE.parent / "matrix")]

from run import table  # noqa: E402 - of the matrix
from sections import write_section  # noqa: E402 - of the matrix

from tests.support.bridge_process import PROGRAM  # noqa: E402 - of the repository
from tests.support.daemon_process import Daemon, write_config  # noqa: E402 - of the repository

STEADY = HERE / "steady"
NODE = ("node", str(STEADY / "typescript.mjs"))
PYTHON_1 = (str(REPOSITORY / ".deps/py1/bin/python"), str(STEADY / "python1.py"))
PYTHON_2 = (sys.executable, str(STEADY / "python2.py"))
CLIENTS: Mapping[str, Sequence[str]] = {
    "Python 1.30": PYTHON_1,
    "Python 2.3, legacy": (*PYTHON_2, "legacy"),
    "Python 2.3, auto": (*PYTHON_2, "auto"),
    "TypeScript 1.32": (*NODE, "v1"),
    "TypeScript 2.4, legacy": (*NODE, "v2"),
    "TypeScript 2.4, auto": (*NODE, "v2-auto"),
}
# The era that the server speaks, and its key `share`.
SERVERS: Mapping[str, tuple[str, str]] = {
    "handshake": ("legacy", ""),
    "shared": ("legacy", "server"),
    "modern": ("modern", ""),
}
MEANING = """\
*handshake* speaks the handshake revisions, *shared* as well, with one process for all (`share = "server"`), and *modern*
speaks 2026-07-28 only"""
# Faults of a server, and the finding that is required for each.
PLANTED = {
    "twice": "executed twice",
    "other": "the answer of another call",
    "silent": "no answer",
    "nameless": "no reason",
}
# The numbers of seconds that calls in flight take at the server, one for each; and between two calls (seconds).
CALLS = (0, 0, 0.02, 0.3)
PAUSE = 0.02
# Number of calls that each client must complete after an event.
ANSWERS = 4
# Limit on the calls after an event, and on one call (seconds).
TIMEOUT = 30
# Copies both streams of `connect` into files of its process.
TEE = ("bash", "-c", 'exec "$@" < <(exec tee "$0.in.$$") > >(exec tee "$0.out.$$")')
# Texts of errors: they must name what has ended, and why.
REASONS = (r"closed the connection; the request was sent before and may have been executed",)
RESTARTED = (r"the bridge is stopping",)
RELOADED = (r"its configuration has changed", r"the server is being replaced")


# ---- one client


class Client:
    """A client process and its reports."""

    def __init__(
        self, label: str, command: Sequence[str], server: str, world: "World", timeout: float
    ) -> None:
        self.label = label
        self.server = server
        self.copies = world.folder / f"copy-{label}"
        connect = [*TEE, str(self.copies), str(PROGRAM), "connect", server, "--config", str(world.config)]
        variables = {
            "STEADY_SECONDS": json.dumps(CALLS),
            "STEADY_PAUSE": str(PAUSE),
            "STEADY_TIMEOUT": str(timeout),
        }
        self.reports: list[dict] = []
        self.log = (world.folder / f"log-{label}").open("wb")
        self.process = subprocess.Popen(
            [*command, label, *connect],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**world.variables, **variables},
        )
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            with self._changed:
                self.reports.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self.reports.append({"ended": True})
            self._changed.notify_all()

    def wait_for(self, wanted: Callable[[dict], bool], count: int = 1, timeout: float = TIMEOUT) -> bool:
        """Wait until so many reports are as wanted; return whether they came."""

        def is_there() -> bool:
            return sum(map(wanted, self.reports)) >= count or "ended" in self.reports[-1:][0]

        with self._changed:
            self._changed.wait_for(lambda: bool(self.reports) and is_there(), timeout)
            return sum(map(wanted, self.reports)) >= count

    def finish(self) -> None:
        """Make the client stop its calls."""
        self.process.stdin.close()

    def end(self, timeout: float) -> int:
        """Wait until the client exits. Return its exit code."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._thread.join(TIMEOUT)
        self.process.stdout.close()
        self.log.close()
        return self.process.wait()


class World:
    """A daemon that is restarted, with its configuration and the journals of its servers."""

    def __init__(self, folder: Path, servers: Mapping[str, Sequence[str]], shares: Mapping[str, str]) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        self._servers = servers
        self._shares = shares
        self.configure("first")
        self.daemon = Daemon(folder)
        self.daemon.__enter__()
        self.variables = self.daemon.variables

    def journal(self, server: str) -> Path:
        return self.folder / f"journal-{server}"

    def configure(self, version: str) -> None:
        """Write the configuration. The results of the servers contain the version."""
        entries = {}
        for name, (era, *fault) in self._servers.items():
            program = [sys.executable, "-I", "-S", str(STEADY / "counting.py")]
            entries[name] = {"command": [*program, era, str(self.journal(name)), version, *fault]}
            if share := self._shares.get(name):
                entries[name]["share"] = share
        write_config(self.config, entries, limits={"drain_seconds": 1})

    def restart(self, version: str) -> None:
        self.daemon.stop()
        self.daemon.wait_until_alone(5)
        self.configure(version)
        self.daemon = Daemon(self.folder)
        self.daemon.__enter__()

    def reload(self, version: str) -> None:
        self.configure(version)
        self.daemon.do("reload")

    def executed(self) -> Counter[str]:
        """How often each call was executed, in all processes of all servers."""
        journals = [path.read_text() for path in self.folder.glob("journal-*")]
        return Counter(line.split()[1] for text in journals for line in text.splitlines())

    def close(self) -> None:
        self.daemon.__exit__(None, None, None)


# ---- the verdict


@attrs.define
class Verdict:
    """The outcomes of the calls of one client at one server."""

    client: str
    server: str
    calls: int = 0
    answered: int = 0
    # Errors, by their kind.
    errors: Counter[str] = attrs.field(factory=Counter)
    # Calls that were executed once, and answered with an error.
    lost_answers: int = 0
    twice: int = 0
    faults: list[str] = attrs.field(factory=list)

    @property
    def kinds(self) -> set[str]:
        return {fault.partition(":")[0] for fault in self.faults}


def messages_of(path: Path) -> Iterator[dict]:
    """Return the messages of a copied stream."""
    for line in path.read_bytes().splitlines():
        found = json.loads(line)
        yield from found if isinstance(found, list) else [found]


def judge(client: Client, name: str, executed: Mapping[str, int], reasons: Iterable[str]) -> Verdict:
    verdict = Verdict(name, client.server)
    known = re.compile("|".join(reasons))
    sent: Counter[str] = Counter()
    for path in client.copies.parent.glob(f"{client.copies.name}.in.*"):
        sent.update(judge_copies(path, verdict))
    reports = {report["number"]: report for report in client.reports if "number" in report}
    for number, report in reports.items():
        verdict.calls += 1
        if "text" in report:
            verdict.answered += 1
            if json.loads(report["text"])["number"] != number:
                verdict.faults.append(f"the answer of another call: {number}: {report['text']}")
            if not executed[number]:
                verdict.faults.append(f"answered and not executed: {number}")
            continue
        verdict.errors[as_kind(report["error"], client.server)] += 1
        verdict.lost_answers += executed[number] == 1
        if not known.search(report["error"]):
            verdict.faults.append(f"no reason: {number}: {report['error']}")
    for number, times in sent.items():
        if number not in reports:
            verdict.faults.append(f"no end: {number}")
        if executed[number] > times:
            verdict.twice += 1
            verdict.faults.append(f"executed twice: {number}, {executed[number]} times, sent {times} times")
    return verdict


def as_kind(error: str, server: str) -> str:
    """Return the text of an error without what differs between servers and SDKs."""
    return re.sub(r"^MCP error -?\d+: ", "", error).replace(f"{server} closed", "NAME closed", 1)


def judge_copies(path: Path, verdict: Verdict) -> Counter[str]:
    """Look for requests that have no answer, or more than one; return how often each call was sent."""
    requests = {json.dumps(one["id"]): one for one in messages_of(path) if "id" in one and "method" in one}
    output = path.with_name(path.name.replace(".in.", ".out."))
    answers = Counter(
        json.dumps(one["id"]) for one in messages_of(output) if "id" in one and "method" not in one
    )
    for identity, request in requests.items():
        if not answers[identity]:
            verdict.faults.append(f"no answer: {request['method']} {identity}")
    for identity, count in answers.items():
        if identity not in requests or count > 1:
            verdict.faults.append(f"answers without a request: {count} for {identity}")
    calls = [one for one in requests.values() if one["method"] == "tools/call"]
    return Counter(one["params"]["arguments"]["number"] for one in calls)


# ---- a run


def run(
    kind: str,
    clients: Mapping[str, Sequence[str]],
    servers: Mapping[str, Sequence[str]],
    shares: Mapping[str, str],
    *,
    events: int,
    reasons: Sequence[str],
    timeout: float = TIMEOUT,
) -> list[Verdict]:
    """Let all clients call all servers during this number of events of this kind."""
    with tempfile.TemporaryDirectory(prefix="restarts-") as name:
        world = World(Path(name), servers, shares)
        running: list[tuple[str, Client]] = []
        dead: dict[Client, str] = {}
        try:
            for number, (client, server) in enumerate((c, s) for c in clients for s in servers):
                label = f"{kind}-{number}"
                running.append((client, Client(label, clients[client], server, world, timeout)))
            wait_for_version(running, "first", dead)
            for event in range(events):
                version = f"{kind}-{event}"
                (world.restart if kind == "restart" else world.reload)(version)
                wait_for_version(running, version, dead)
        finally:
            for _, client in running:
                client.finish()
            ended = time.monotonic() + TIMEOUT
            for _, client in running:
                if client.end(max(1.0, ended - time.monotonic())) and client not in dead:
                    dead[client] = f"exit code {client.process.returncode}"
            world.close()
        executed = world.executed()
        verdicts = []
        for title, client in running:
            verdict = judge(client, title, executed, reasons)
            if any("closed" in report for report in client.reports):
                dead.setdefault(client, "its connection was closed")
            if client in dead:
                log = Path(client.log.name).read_text().splitlines()[-3:]
                verdict.faults.append(f"dead: {dead[client]}: {log}")
            verdicts.append(verdict)
        return verdicts


def wait_for_version(running: Sequence[tuple[str, Client]], version: str, dead: dict[Client, str]) -> None:
    """Wait until every client has results of servers with this configuration."""
    mark = f'"version": "{version}"'
    end = time.monotonic() + TIMEOUT
    for _, client in running:
        left = max(0.1, end - time.monotonic())
        if client not in dead and not client.wait_for(
            lambda report: mark in report.get("text", ""), ANSWERS, left
        ):
            dead[client] = f"no answers of {version}"


# ---- main

RUNS = {
    "restart": ("restarts", RESTARTED),
    "reload": ("reloads", RELOADED),
}


def self_check() -> list[str]:
    """Plant each fault in a server. Return the faults that were not found, and findings without a fault."""
    servers = {"none": ("legacy",), **{name: ("legacy", name) for name in PLANTED}}
    clients = {"client": CLIENTS["TypeScript 1.32"]}
    wrong = []
    for verdict in run("restart", clients, servers, {}, events=1, reasons=(*REASONS, *RESTARTED), timeout=5):
        expected = PLANTED.get(verdict.server)
        if expected is None and verdict.faults:
            wrong.append(f"no fault was planted: {verdict.faults[:3]}")
        elif expected is not None and expected not in verdict.kinds:
            wrong.append(f"{verdict.server} was not found: {verdict.faults[:3]}")
    return wrong


PREFACE = """\
## Restarts and reloads

Generated by `make restarts`. Official clients call a tool of three servers over `mcp-bridge connect`, four calls at a time,
while the daemon is restarted (SIGTERM, and started again) {events} times; and in a second run, while the configuration of all
servers is changed and reloaded {events} times. {meaning}.
Each call must end in its own answer, or in an error that names the reason; a call that was in flight may have been
executed then, and must not be executed twice. The self check plants calls that are executed twice, and finds them.
"""


def section(found: Mapping[str, Sequence[Verdict]], events: int) -> str:
    parts = [PREFACE.format(events=events, meaning=MEANING)]
    head = ["client", "server", "calls", "errors", "of these executed", "executed twice", "connection lost"]
    for kind, verdicts in found.items():
        parts.append(f"### {events} {RUNS[kind][0]}\n")
        rows = [
            [
                verdict.client,
                verdict.server,
                str(verdict.calls),
                str(verdict.errors.total()),
                str(verdict.lost_answers),
                str(verdict.twice),
                "**yes**" if "dead" in verdict.kinds else "no",
            ]
            for verdict in verdicts
        ]
        parts.append(table(head, rows))
        texts = sum((verdict.errors for verdict in verdicts), Counter())
        parts.append("The errors:\n")
        parts.append("".join(f"- {count} × `{text}`\n" for text, count in texts.most_common()))
    return "\n".join(parts)


def show(kind: str, verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        calls = f"{verdict.calls} calls, {verdict.answered} answers, {verdict.errors.total()} errors"
        rest = f"{verdict.lost_answers} of these executed, {verdict.twice} executed twice"
        state = "FAILED" if verdict.faults else "ok"
        print(f"{state:8}{kind:8}{verdict.client:24}{verdict.server:10}{calls}, {rest}")
        for fault in verdict.faults[:5]:
            print(f"        fault: {fault}")
    for text, count in sum((verdict.errors for verdict in verdicts), Counter()).most_common():
        print(f"        {count} x {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="the clients whose name contains this; writes no document")
    parser.add_argument("--events", type=int, default=10, help="how many restarts, and reloads (default 10)")
    parser.add_argument("--run", choices=RUNS, help="one of both runs; writes no document")
    given = parser.parse_args()
    os.environ.pop("VIRTUAL_ENV", None)
    begun = time.monotonic()
    wrong = self_check()
    print(f"{'FAILED' if wrong else 'ok':8}self check: {len(PLANTED)} planted faults; {wrong}", flush=True)
    clients = {name: command for name, command in CLIENTS.items() if given.only in name}
    servers = {name: (era,) for name, (era, _) in SERVERS.items()}
    shares = {name: share for name, (_, share) in SERVERS.items()}
    found = {}
    for kind, (_, reasons) in RUNS.items():
        if given.run in (None, kind):
            found[kind] = run(
                kind, clients, servers, shares, events=given.events, reasons=(*REASONS, *reasons)
            )
            show(kind, found[kind])
    faults = len(wrong) + sum(len(verdict.faults) for verdicts in found.values() for verdict in verdicts)
    if not given.only and not given.run:
        write_section("restarts", section(found, given.events))
    print(f"{faults} faults; {time.monotonic() - begun:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
