"""Run the tests of this folder, and write docs/CHAOS.md: faults, and what was lost: `python -m tests.chaos.table`."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from ..support.history import TABLE

REPOSITORY = Path(__file__).parents[2]
DOCUMENT = REPOSITORY / "docs/CHAOS.md"
# Tests that check their calls in a way of their own, by the fault.
OTHERS = {
    "killed servers of each kind of share": "tests/chaos/test_deaths.py",
    "killed servers and fork server, reloads, slow and vanishing clients at once": "tests/chaos/test_walk.py",
    "killed daemon or `connect` in the middle of calls": "tests/chaos/test_connect_kills.py",
    "broken exchanges with remote servers": "tests/chaos/test_remote_faults.py",
    "concurrent refreshes of OAuth tokens": "tests/chaos/test_token_refreshes.py",
    "no free descriptor": "tests/chaos/test_descriptors.py",
    "server that takes too much memory": "tests/e2e/test_serve.py",
    "thousands of sessions, one after the other": "tests/chaos/test_cycles.py",
}
_MEMORY = "test_a_process_that_takes_too_much_memory_ends_alone"
TEXT = """# Faults, and what was lost

`make chaos` breaks something under a running daemon while clients call servers, over WebSocket and over stateless HTTP,
and writes this file. Each call has a key, which is in its arguments, in every message about it, and in the journal of the
server that executes it. A checker (`tests/support/history.py`) compares what clients have sent and received with the journal:

- *lost*: calls without a response or an error;
- *repeated*: calls that were executed or answered more than once;
- *misdirected*: messages that reached another client than that of their call;
- *late*: calls that took longer than the limit of the test, which is shorter than the fault if the call does not need what is
  broken.

The checker itself is tested with planted histories (`tests/chaos/test_history.py`).

{table}

*Errors* are calls that ended with a reason, without a result. They are allowed for servers that are removed or replaced.

## Further faults

These tests check their calls in a way of their own.

| fault | test | result |
|---|---|---|
{others}

## Resources after many sessions

`make leaks` opens, uses and closes 100,000 sessions of one shared process over HTTP and as many over WebSocket, four at once,
and 2,000 of each with a process of their own. Measured on 2026-12-01, on two cores:

| sessions | resident memory grew (bytes, by quarter) | descriptors, threads and processes before and after |
|---|---|---|
| 100,000 over HTTP | 217,088; 36,864; 770,048; 565,248 (16 for each session) | 17, 2, 3; 17, 2, 3 |
| 100,000 over WebSocket | 0; 0; 0; 0 | 17, 2, 3; 17, 2, 3 |
| 2,000 over HTTP, with 2,000 processes | 110,592; 184,320; 28,672; 8,192 | 13, 2, 1; 13, 2, 1 |
| 2,000 over WebSocket, with 2,000 processes | 102,400; 118,784; 24,576; 8,192 | 13, 2, 1; 13, 2, 1 |

A quarter as many sessions run before these. In the first quarters the bounded records of a server fill up: the times of its last
1,024 starts, and 64 Ki characters or 4,096 lines of its log. A leak is in each quarter, so the test limits the smallest growth. Of
5,000 sessions with processes over HTTP, the last 3,000 have added 94,208 bytes (31 for each).

A client that does not read a large answer delays other clients of the same process, but not those of other servers.

On a slow disk every open, write, rename and unlink below one directory takes two seconds. None of them is made by the thread
of the event loop, and no line of the log or event of the audit file is lost. A client of a server that is new to the daemon waits
for the facts about it for at most a second. If stderr is redirected to a file, a slow disk of that file delays calls.

Not tested: a network that loses packets, because all connections are local.
"""
_REPEATED = ("executed more than once", "ended more than once")
_MISDIRECTED = ("a message at another client", "a response to no request", "a result of another call")
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "calls": ("calls",),
    "results": ("results",),
    "errors": ("errors",),
    "lost": ("no end",),
    "repeated": _REPEATED,
    "misdirected": _MISDIRECTED,
    "late": ("too late",),
}


def table(lines: Iterable[Mapping[str, Any]]) -> str:
    """Return the table of histories (`history.report`)."""
    head = ["fault", *_COLUMNS, "longest call (s)"]
    rows = [head, ["---", *["--:"] * (len(head) - 1)]]
    for line in lines:
        counts = [str(sum(line.get(kind, 0) for kind in kinds)) for kinds in _COLUMNS.values()]
        rows.append([line["fault"], *counts, f"{line['longest']:.2f}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def results(report: Path) -> dict[str, str]:
    """Return the worst result of the tests of each file of a report (JUnit XML)."""
    worst: dict[str, str] = {}
    order = ["passed", "skipped", "failed"]
    for case in ET.parse(report).iter("testcase"):
        file = case.attrib["classname"].replace(".", "/") + ".py"
        bad = case.find("failure") is not None or case.find("error") is not None
        result = "failed" if bad else "skipped" if case.find("skipped") is not None else "passed"
        worst[file] = max(worst.get(file, "passed"), result, key=order.index)
    return worst


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        lines, report = Path(folder, "lines"), Path(folder, "report.xml")
        files = ["tests/chaos", f"tests/e2e/test_serve.py::{_MEMORY}"]
        options = ["--quiet", "-p", "no:cacheprovider", "-o", "junit_family=xunit1", f"--junit-xml={report}"]
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *files],
            cwd=REPOSITORY,
            env={**os.environ, TABLE: str(lines)},
            check=False,
        )
        found = results(report)
        rows = [json.loads(line) for line in lines.read_text().splitlines()]
    others = "\n".join(f"| {fault} | `{file}` | {found[file]} |" for fault, file in OTHERS.items())
    # The tests of the checker report planted histories.
    measured = table(row for row in rows if row["fault"] not in ("none", "planted"))
    DOCUMENT.write_text(TEXT.format(table=measured, others=others))
    print(measured)
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
