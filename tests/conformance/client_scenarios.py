"""`make conformance`, second part: the client scenarios of the official suite through `mcp-bridge connect URL`.

The suite starts a server and runs a client: scenario_client.mjs, which is the official TypeScript SDK over stdio in front of
`connect`. The same scenarios are run with the SDK alone (--way direct), which is the reference, and optionally through
mcp-remote (--way mcp-remote). Each scenario runs at each revision that it is for.

A scenario has a floor: the number of kinds of checks that pass with the SDK alone. The exit code is 1 if fewer pass or any
fails. Scenarios that cannot apply to a bridge are named with the reason.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]

from run import SUITE, Floor, Tally  # noqa: E402 - here

from tests.support.bridge_process import PROGRAM  # noqa: E402 - of the repository

OLDEST, LEGACY, MODERN = "2025-03-26", "2025-11-25", "2026-07-28"
BOTH = (LEGACY, MODERN)
MCP_REMOTE = HERE.parents[1] / ".deps/remote/node/node_modules/mcp-remote/dist/proxy.js"
WAYS = {
    "connect": (str(PROGRAM), "connect"),
    "mcp-remote": ("node", str(MCP_REMOTE)),
    "direct": ("direct",),
}


@attrs.frozen
class Scenario:
    # The revisions that it is run at. An extension has none.
    revisions: tuple[str, ...]
    # The number of kinds of checks that pass at each of them.
    floor: tuple[int, ...]


SCENARIOS: dict[str, Scenario] = {
    "initialize": Scenario((LEGACY,), (1,)),
    "tools_call": Scenario(BOTH, (2, 2)),
    "elicitation-sep1034-client-defaults": Scenario((LEGACY,), (5,)),
    "sse-retry": Scenario((LEGACY,), (3,)),
    "request-metadata": Scenario((MODERN,), (8,)),
    "auth/metadata-default": Scenario(BOTH, (15, 16)),
    "auth/metadata-var1": Scenario(BOTH, (15, 16)),
    "auth/metadata-var2": Scenario(BOTH, (15, 16)),
    "auth/metadata-var3": Scenario(BOTH, (15, 16)),
    "auth/basic-cimd": Scenario(BOTH, (10, 10)),
    "auth/scope-from-www-authenticate": Scenario(BOTH, (11, 12)),
    "auth/scope-from-scopes-supported": Scenario(BOTH, (11, 12)),
    "auth/scope-omitted-when-undefined": Scenario(BOTH, (11, 12)),
    "auth/scope-step-up": Scenario(BOTH, (12, 14)),
    "auth/scope-retry-limit": Scenario(BOTH, (10, 11)),
    "auth/token-endpoint-auth-basic": Scenario(BOTH, (16, 17)),
    "auth/token-endpoint-auth-post": Scenario(BOTH, (16, 17)),
    "auth/token-endpoint-auth-none": Scenario(BOTH, (16, 17)),
    "auth/pre-registration": Scenario(BOTH, (10, 10)),
    "auth/2025-03-26-oauth-metadata-backcompat": Scenario((OLDEST,), (9,)),
    "auth/2025-03-26-oauth-endpoint-fallback": Scenario((OLDEST,), (4,)),
    # The bridge refuses the metadata of another resource before it requests that of the authorization server: 2 instead of 3.
    "auth/resource-mismatch": Scenario((MODERN,), (2,)),
    "auth/offline-access-scope": Scenario((MODERN,), (9,)),
    "auth/offline-access-not-supported": Scenario((MODERN,), (12,)),
    "auth/authorization-server-migration": Scenario((MODERN,), (14,)),
    "auth/iss-supported": Scenario((MODERN,), (12,)),
    "auth/iss-not-advertised": Scenario((MODERN,), (12,)),
    "auth/iss-supported-missing": Scenario((MODERN,), (8,)),
    "auth/iss-wrong-issuer": Scenario((MODERN,), (8,)),
    "auth/iss-unexpected": Scenario((MODERN,), (8,)),
    "auth/iss-normalized": Scenario((MODERN,), (8,)),
    "auth/metadata-issuer-mismatch": Scenario((MODERN,), (3,)),
    "auth/client-credentials-jwt": Scenario(("",), (5,)),
    "auth/client-credentials-basic": Scenario(("",), (5,)),
    "auth/wif-jwt-bearer": Scenario(("",), (5,)),
    "sep-2322-client-request-state": Scenario((MODERN,), (5,)),
    "http-standard-headers": Scenario((MODERN,), (9,)),
    "http-custom-headers": Scenario((MODERN,), (18,)),
    "http-invalid-tool-headers": Scenario((MODERN,), (12,)),
    "json-schema-ref-no-deref": Scenario((MODERN,), (1,)),
    "json-schema-2020-12-preservation": Scenario(BOTH, (9, 9)),
    "sep-2640-client-no-prefetch": Scenario(("",), (1,)),
}

_HOST = "the host must do it, which sees the same bytes with and without a bridge"
# Scenarios of a grant that only the bridge supports.
OF_THE_BRIDGE = frozenset({"auth/wif-jwt-bearer"})
# Scenarios that cannot apply, and the reason.
NOT_APPLICABLE = {
    "sep-2640-client-verify-digest": _HOST,
    "sep-2640-client-verify-size": _HOST,
    "sep-2640-client-verify-frontmatter": _HOST,
    "auth/dpop": "tokens that are bound to a key (DPoP), which neither the bridge nor the official SDK supports",
    "auth/dpop-nonce": "tokens that are bound to a key (DPoP), which neither the bridge nor the official SDK supports",
    "auth/enterprise-managed-authorization": "the host must have a token of an identity provider to exchange",
}
SEVERITY = ("", "INFO", "SKIPPED", "SUCCESS", "WARNING", "FAILURE")


def tally_of(results: Path) -> Tally:
    """Count each kind of check once, with its worst status, because their number depends on that of the requests."""
    worst: dict[tuple[str, str], str] = {}
    for file in results.rglob("checks.json"):
        for check in json.loads(file.read_bytes()):
            kind = (check["id"], check["name"])
            worst[kind] = max(worst.get(kind, ""), check["status"], key=SEVERITY.index)
    tally = Tally()
    for (number, _), status in worst.items():
        tally.count(number, status)
    return tally


def run(way: str, name: str, revision: str, timeout: int = 100) -> Tally:
    """Run one scenario. A client that exits with an error where the suite permits none is a failed check."""
    command = shlex.join(["node", str(HERE / "scenario_client.mjs"), *WAYS[way]])
    with tempfile.TemporaryDirectory() as results:
        suite = ["node", "--import", str(HERE / "node20.mjs"), str(SUITE), "client", "--command", command]
        suite += ["--scenario", name, "--timeout", "70000", "-o", results]
        suite += ["--spec-version", revision] if revision else []
        done = subprocess.run(
            suite,
            env={**os.environ, "SCENARIO_STYLE": way},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        tally = tally_of(Path(results))
    log = done.stdout + done.stderr
    if "CLIENT TIMED OUT" in log:
        tally.count("the client has not ended", "FAILURE")
    elif "CLIENT EXITED WITH ERROR" in log:
        tally.count("the client has failed", "FAILURE")
    if not tally.passed + tally.failed:
        raise RuntimeError(f"the suite did not run:\n{log[-2000:]}")
    if os.environ.get("VERBOSE"):
        print(log)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--way", choices=WAYS, default="connect", help="what the SDK speaks to the server through"
    )
    parser.add_argument("--only", metavar="WORDS", default="", help="the scenarios whose name contains this")
    parser.add_argument("--jobs", type=int, default=2, help="how many scenarios at once (default 2)")
    parser.add_argument(
        "--table", action="store_true", help="print the passed checks as Python source of SCENARIOS"
    )
    given = parser.parse_args()
    chosen = [
        (name, revision, floor)
        for name, scenario in SCENARIOS.items()
        if given.only in name and (given.way == "connect" or name not in OF_THE_BRIDGE)
        for revision, floor in zip(scenario.revisions, scenario.floor, strict=True)
    ]
    if not chosen:
        parser.error("there is no such scenario; there are: " + " ".join(SCENARIOS))
    width = max(len(name) for name, _, _ in chosen)
    print(
        f"{given.way:{width}}  revision    floor passed failed warnings  not clean (~ is a warning)",
        flush=True,
    )
    below = 0
    with ThreadPoolExecutor(given.jobs) as pool:
        tallies = pool.map(lambda work: run(given.way, *work[:2]), chosen)
        for (name, revision, floor), tally in zip(chosen, tallies, strict=True):
            bad = not tally.reaches(Floor(floor, 0))
            below += bad
            print(
                f"{name:{width}}  {revision or 'extension':10} {floor:6} {tally.passed:6} {tally.failed:6} {tally.warnings:8}  "
                f"{'BELOW ' * bad}{' '.join(dict.fromkeys(tally.unclean))}",
                flush=True,
            )
    for name, reason in NOT_APPLICABLE.items():
        if given.only in name:
            print(f"{name}: not run: {reason}")
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
