"""`make conformance`, `make conformance-small`: the official conformance suite and the official SDK clients against a running bridge.

Each run prints one row: how many checks passed, failed and warned, and which were not clean. Any run below its floor
makes the exit code 1. With --url it is one run of the suite, against anything that listens there.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import attrs
import trustme

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.support.bridge_process import EXAMPLE, Bridge  # noqa: E402

SUITE = HERE.parents[1] / ".deps/node/node_modules/@modelcontextprotocol/conformance/dist/index.js"
# Clients that need an interpreter of their own.
TYPESCRIPT = ("node", str(HERE.parent / "e2e/node/client.mjs"))
PYTHON_1 = (str(HERE.parents[1] / ".deps/py1/bin/python"), str(HERE.parent / "e2e/py1/client.py"))
LEGACY, MODERN = "2025-11-25", "2026-07-28"
RAW = ("node", str(HERE / "servers/raw.mjs"))
SERVERS = {
    "ts-v1": ("node", str(HERE / "servers/ts_v1.mjs")),
    "ts-v2": ("node", str(HERE / "servers/ts_v2.mjs")),
    "py2": (sys.executable, str(HERE / "servers/py2.py")),
    "raw": RAW,
    "raw, legacy": (*RAW, "--era", "legacy"),
    "raw, modern": (*RAW, "--era", "modern"),
    "extended, legacy": ("node", str(HERE / "servers/extended.mjs"), "--era", "legacy"),
    "extended, modern": ("node", str(HERE / "servers/extended.mjs"), "--era", "modern"),
    "ts-v2, modern": ("node", str(HERE / "servers/ts_v2.mjs"), "--legacy", "reject"),
}


@attrs.frozen
class Floor:
    """The minimum number of passed checks of a run. No check may fail."""

    passed: int
    warnings: int


# The suite has 84 checks for a server at this revision, in 33 scenarios. One check, that a server closes the stream of a
# call and its client resumes it, is informational for a server that does not.
OVER_HTTP = Floor(passed=83, warnings=0)
# Through the adapter three checks and two warnings are about the adapter itself (polling).
THROUGH_ADAPTER = Floor(passed=81, warnings=2)
# At 2026-07-28 there are 152 in 40 scenarios.
IN_ONE_ERA = Floor(passed=152, warnings=0)
# In front of a legacy server two checks cannot pass: they require an input with the key "user_name", and the elicitations of
# a legacy server have no key. After the first of them the suite skips a check, therefore the number is 151.
OF_A_LEGACY_SERVER = Floor(passed=149, warnings=0)
NO_KEYS = frozenset(
    {
        "input-required-result-basic-elicitation/sep-2322-elicitation-incomplete",
        "~input-required-result-ignore-extra-params/sep-2322-ignore-unexpected-params",
    }
)
# The scenarios of extensions are in no suite. Two checks of skills are about caching, which 2025-11-25 does not have.
SKILLS = ("sep-2640-skills-enumeration", "sep-2640-skills-manifest", "sep-2640-skills-directory")
SKILLS_MODERN = Floor(passed=45, warnings=0)
SKILLS_LEGACY = Floor(passed=43, warnings=0)
# All but tasks-status-notifications, which the suite itself skips. The extension exists at 2026-07-28 only.
TASKS = tuple(
    f"tasks-{name}"
    for name in (
        "lifecycle",
        "capability-negotiation",
        "wire-fields",
        "request-state-removal",
        "mrtr-input",
        "request-headers",
        "dispatch-and-envelope",
        "required-task-error",
        "mrtr-composition",
    )
)
ALL_TASKS = Floor(passed=44, warnings=0)
# In these scenarios the server sends a request or a log message to its client. On a process of several clients it is sent only
# if no other client has made a call in the last two seconds, and the suite opens a session for each scenario.
ALONE = (
    "elicitation-sep1034-defaults",
    "elicitation-sep1330-enums",
    "tools-call-elicitation",
    "tools-call-sampling",
    "tools-call-with-logging",
)
# As many checks as there are in client.mjs and in client.py.
TYPESCRIPT_CLIENT = Floor(passed=19, warnings=0)
PYTHON_1_CLIENT = Floor(passed=17, warnings=0)


@attrs.define
class Tally:
    passed: int = 0
    failed: int = 0
    warnings: int = 0
    unclean: list[str] = attrs.Factory(list)

    # Checks that cannot pass.
    excused: frozenset[str] = frozenset()

    def reaches(self, floor: Floor) -> bool:
        excused = [name for name in self.unclean if name in self.excused]
        warned = sum(name[0] == "~" for name in excused)
        failed, warnings = self.failed - len(excused) + warned, self.warnings - warned
        return self.passed >= floor.passed and not failed and warnings <= floor.warnings

    def add(self, other: "Tally") -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.warnings += other.warnings
        self.unclean += other.unclean

    def count(self, name: str, status: str) -> None:
        if status == "SUCCESS":
            self.passed += 1
        elif status == "FAILURE":
            self.failed += 1
            self.unclean.append(name)
        elif status == "WARNING":
            self.warnings += 1
            self.unclean.append("~" + name)


Run = tuple[Callable[[], Tally], Floor]


# ---- the suite


def run_suite(
    url: str,
    certificate: Path | None = None,
    revision: str = LEGACY,
    scenario: str = "",
    without: tuple[str, ...] = (),
) -> Tally:
    """Run all scenarios of a revision, or one. The checks of scenarios in `without` are not counted."""
    what = ["--scenario", scenario, "--force"] if scenario else ["--suite", "all"]
    with tempfile.TemporaryDirectory() as results:
        command = ["node", "--import", str(HERE / "node20.mjs"), str(SUITE), "server", "--url", url]
        command += [*what, "--spec-version", revision, "--timeout", "30000", "-o", results]
        done = subprocess.run(
            command,
            cwd=results,
            env={**os.environ, **({"NODE_EXTRA_CA_CERTS": str(certificate)} if certificate else {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            # The exit code is 1 if a check fails. The names of the failed checks are read below.
            check=False,
        )
        tally = tally_of(Path(results), done.stdout, without)
    if not tally.passed + tally.failed:
        raise RuntimeError(f"the suite did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return tally


def tally_of(results: Path, log: str, without: tuple[str, ...] = ()) -> Tally:
    """Count the checks. A scenario that threw or ran out of time wrote no file; only the log's summary names it."""
    tally = Tally()
    seen = {*without}
    for folder in sorted(results.glob("server-*")):
        scenario = re.sub(r"^server-(.*)-\d{4}-\d\d-\d\dT[\d-]+Z$", r"\1", folder.name)
        if scenario in without:
            continue
        try:
            checks = json.loads((folder / "checks.json").read_bytes())
        except FileNotFoundError:
            continue
        seen.add(scenario)
        for check in checks:
            tally.count(f"{scenario}/{check['id']}", check["status"])
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log)
    for scenario, passed, failed in re.findall(
        r"^\S ([\w./-]+): (\d+) passed, (\d+) failed", plain, re.MULTILINE
    ):
        if scenario not in seen:
            tally.passed += int(passed)
            for _ in range(int(failed)):
                tally.count(f"{scenario}/did-not-finish", "FAILURE")
    return tally


# ---- servers


@contextmanager
def bridge(command: tuple[str, ...], *options: str) -> Iterator[Bridge]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Bridge(Path(folder) / "run", command, *options) as running,
    ):
        yield running


@contextmanager
def adapter(url: str, via: str) -> Iterator[str]:
    """Run a proxy that offers an endpoint of another transport over Streamable HTTP. Yield its URL."""
    with subprocess.Popen(
        ["node", str(HERE / "adapter.mjs"), url, via], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def over_http(server: str, revision: str = LEGACY) -> Tally:
    with bridge(SERVERS[server], "--no-auth") as running:
        return run_suite(running.mcp, revision=revision)


def without_keys(server: str) -> Tally:
    """Run the suite of 2026-07-28 in front of a legacy server."""
    tally = over_http(server, MODERN)
    tally.excused = NO_KEYS
    return tally


def of_extension(server: str, scenarios: tuple[str, ...], revision: str = MODERN) -> Tally:
    """Run the scenarios of an extension, which must be named one by one."""
    whole = Tally()
    with bridge(SERVERS[server], "--no-auth") as running:
        for scenario in scenarios:
            whole.add(run_suite(running.mcp, revision=revision, scenario=scenario))
    return whole


def shared(server: str) -> Tally:
    """Run the suite in front of one process for all sessions, with a process for each scenario of `ALONE`."""
    options = ("--no-auth", "--share", "server")
    with bridge(SERVERS[server], *options) as running:
        tally = run_suite(running.mcp, without=ALONE)
    for scenario in ALONE:
        with bridge(SERVERS[server], *options) as running:
            tally.add(run_suite(running.mcp, scenario=scenario))
    return tally


def over_https(server: str) -> Tally:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        authority = trustme.CA()
        # The last name is the Host of an attack of the suite. Node requires that name in the certificate.
        issued = authority.issue_cert("127.0.0.1", "localhost", "evil.example.com")
        ca, certificate, key = (Path(folder) / name for name in ("ca.pem", "certificate.pem", "key.pem"))
        authority.cert_pem.write_to_path(ca)
        key.touch(mode=0o600)
        issued.private_key_pem.write_to_path(key)
        for i, part in enumerate(issued.cert_chain_pems):
            part.write_to_path(certificate, append=i > 0)
        running = stack.enter_context(
            bridge(SERVERS[server], "--no-auth", "--tls-cert", str(certificate), "--tls-key", str(key))
        )
        return run_suite(running.mcp, ca)


def through_adapter(server: str, via: str) -> Tally:
    with (
        bridge(SERVERS[server], "--no-auth") as running,
        adapter({"sse": running.sse, "ws": running.ws}[via], via) as url,
    ):
        return run_suite(url)


# ---- clients


def run_client(client: tuple[str, ...], transport: str) -> Tally:
    """Run an official client with the bearer token in front of the bundled example server."""
    tally = Tally()
    with bridge(EXAMPLE) as running:
        url = {"http": running.mcp, "sse": running.sse, "ws": running.ws}[transport]
        done = subprocess.run(
            [*client, transport, url],
            env={**os.environ, "TOKEN": running.token},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
        )
    for line in done.stdout.splitlines():
        word, _, name = line.partition(" ")
        if word in ("ok", "failed"):
            tally.count(name, "SUCCESS" if word == "ok" else "FAILURE")
    return tally


def client_runs() -> dict[str, Run]:
    typescript = {"v1": ("http", "sse", "ws"), "v2": ("http", "sse"), "v2-auto": ("http", "sse")}
    return {
        f"client, typescript {version}, {transport}": (
            partial(run_client, (*TYPESCRIPT, version), transport),
            TYPESCRIPT_CLIENT,
        )
        for version, transports in typescript.items()
        for transport in transports
    } | {
        f"client, python 1, {transport}": (partial(run_client, PYTHON_1, transport), PYTHON_1_CLIENT)
        for transport in ("http", "sse", "ws")
    }


RUNS: dict[str, Run] = {
    "suite, ts-v1, http": (partial(over_http, "ts-v1"), OVER_HTTP),
    "suite, py2, http": (partial(over_http, "py2"), OVER_HTTP),
    "suite, raw, http": (partial(over_http, "raw"), OVER_HTTP),
    "suite, ts-v2, http": (partial(over_http, "ts-v2"), OVER_HTTP),
    "suite, raw modern only, http": (partial(over_http, "raw, modern"), OVER_HTTP),
    "suite, ts-v2 modern only, http": (partial(over_http, "ts-v2, modern"), OVER_HTTP),
    "suite, ts-v1, http, shared": (partial(shared, "ts-v1"), OVER_HTTP),
    "suite 2026, ts-v2, http": (partial(over_http, "ts-v2", MODERN), IN_ONE_ERA),
    "suite 2026, py2, http": (partial(over_http, "py2", MODERN), IN_ONE_ERA),
    "suite 2026, raw, http": (partial(over_http, "raw", MODERN), IN_ONE_ERA),
    "suite 2026, raw modern only, http": (partial(over_http, "raw, modern", MODERN), IN_ONE_ERA),
    "suite 2026, raw legacy only, http": (partial(without_keys, "raw, legacy"), OF_A_LEGACY_SERVER),
    "suite 2026, ts-v1, http": (partial(without_keys, "ts-v1"), OF_A_LEGACY_SERVER),
    "suite, ts-v1, https": (partial(over_https, "ts-v1"), OVER_HTTP),
    "suite, ts-v1, sse": (partial(through_adapter, "ts-v1", "sse"), THROUGH_ADAPTER),
    "suite, ts-v1, ws": (partial(through_adapter, "ts-v1", "ws"), THROUGH_ADAPTER),
    "tasks 2026, modern server": (partial(of_extension, "extended, modern", TASKS), ALL_TASKS),
    "skills 2026, modern server": (partial(of_extension, "extended, modern", SKILLS), SKILLS_MODERN),
    "skills 2026, legacy server": (partial(of_extension, "extended, legacy", SKILLS), SKILLS_MODERN),
    "skills, modern server": (partial(of_extension, "extended, modern", SKILLS, LEGACY), SKILLS_LEGACY),
    "skills, legacy server": (partial(of_extension, "extended, legacy", SKILLS, LEGACY), SKILLS_LEGACY),
    **client_runs(),
}


# Those of `make conformance-small`: each direction of translation, and each transport and official client once.
SMALL = frozenset(
    {
        "suite, ts-v1, http",
        "suite, py2, http",
        "suite 2026, ts-v2, http",
        "suite 2026, raw, http",
        "suite 2026, ts-v1, http",
        "client, typescript v1, sse",
        "client, typescript v2-auto, http",
        "client, python 1, ws",
    }
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="run the suite against this Streamable HTTP endpoint instead")
    parser.add_argument("--only", metavar="WORDS", default="", help="the runs whose name contains this")
    parser.add_argument("--small", action="store_true", help="the runs of `make conformance-small`")
    parser.add_argument("--revision", choices=[LEGACY, MODERN], default=LEGACY, help="with --url")
    given = parser.parse_args()
    runs = RUNS
    if given.url:
        floor = OVER_HTTP if given.revision == LEGACY else IN_ONE_ERA
        runs = {given.url: (partial(run_suite, given.url, revision=given.revision), floor)}
    chosen = {
        name: run for name, run in runs.items() if given.only in name and (name in SMALL or not given.small)
    }
    if not chosen:
        parser.error("there is no such run; there are: " + "; ".join(RUNS))
    width = max(map(len, chosen))
    print(f"{'':{width}}  passed failed warnings  not clean (~ is a warning)", flush=True)
    below = []
    for name, (run, floor) in chosen.items():
        tally = run()
        if not tally.reaches(floor):
            below.append(name)
        print(
            f"{name:{width}}  {tally.passed:6} {tally.failed:6} {tally.warnings:8}  "
            f"{'BELOW ITS FLOOR ' if name in below else ''}{' '.join(dict.fromkeys(tally.unclean))}",
            flush=True,
        )
    if below:
        print(f"below the floor: {'; '.join(below)}", file=sys.stderr)
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
