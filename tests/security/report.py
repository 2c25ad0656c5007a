"""The report of a run of all gates, for people (Markdown) and programs (JSON, and SARIF for the findings)."""

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from .catalog import Gate
from .result import NOT_RUN, Result

# The beginning of a finding that has a place.
_PLACE: Final = re.compile(r"([\w./-]+):(\d+)[: ]")
# Findings of one gate in the Markdown report; the JSON report has all.
SHOWN: Final = 50


def write(folder: Path, root: Path, results: list[tuple[Gate, Result, float]]) -> None:
    """Write report.md, report.json and report.sarif into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    commit, changed = _commit(root)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    (folder / "report.json").write_text(
        json.dumps(
            {
                "commit": commit,
                "uncommitted_changes": changed,
                "time": when,
                "gates": [
                    {
                        "gate": gate.name,
                        "class": gate.module.CLASS,
                        "tool": gate.module.TOOL,
                        "version": result.version,
                        "result": result.state,
                        "reason": result.reason,
                        "findings": list(result.findings),
                        "seconds": round(seconds, 2),
                    }
                    for gate, result, seconds in results
                ],
            },
            indent=2,
        )
        + "\n"
    )
    (folder / "report.sarif").write_text(json.dumps(_sarif(results), indent=2) + "\n")
    state = f"{commit}{' with uncommitted changes' if changed else ''}"
    (folder / "report.md").write_text(f"# Security report\n\nCommit {state}, {when}.\n\n{_markdown(results)}")


def _sarif(results: list[tuple[Gate, Result, float]]) -> dict[str, object]:
    """Return the findings in the Static Analysis Results Interchange Format 2.1.0, with a run for each gate."""
    return {
        "version": "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [
            {
                "tool": {"driver": {"name": gate.name, "semanticVersion": result.version}},
                "invocations": [
                    {"executionSuccessful": result.state != NOT_RUN, "exitCodeDescription": result.reason}
                ],
                "results": [_sarif_result(gate.name, finding) for finding in result.findings],
            }
            for gate, result, _ in results
        ],
    }


def _sarif_result(rule: str, finding: str) -> dict[str, object]:
    found: dict[str, object] = {"ruleId": rule, "level": "error", "message": {"text": finding}}
    if match := _PLACE.match(finding):
        place = {"artifactLocation": {"uri": match[1]}, "region": {"startLine": int(match[2])}}
        found["locations"] = [{"physicalLocation": place}]
    return found


def summary(results: list[tuple[Gate, Result, float]]) -> str:
    """Return the number of gates in each state."""
    states = [result.state for _, result, _ in results]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("clean", "findings", NOT_RUN))
    return f"{len(states)} gates: {counts}"


def _markdown(results: list[tuple[Gate, Result, float]]) -> str:
    rows = "".join(
        f"| {gate.module.CLASS} | {gate.name} | {gate.module.TOOL} | {result.version} | {_state(result)} | {seconds:.1f} |\n"
        for gate, result, seconds in results
    )
    text = f"{summary(results)}.\n\n| class | gate | tool | version | result | seconds |\n|---|---|---|---|---|---|\n{rows}"
    for gate, result, _ in results:
        if result.findings:
            shown = "\n".join(result.findings[:SHOWN])
            text += f"\n## {gate.name}\n\n```\n{shown}\n```\n"
            if len(result.findings) > SHOWN:
                text += f"\n{len(result.findings) - SHOWN} more are in report.json.\n"
    return text


def _state(result: Result) -> str:
    if result.findings:
        return f"{len(result.findings)} findings"
    return (
        f"{result.state}: {result.reason}".replace("|", "\\|").replace("\n", " ")
        if result.reason
        else result.state
    )


def _commit(root: Path) -> tuple[str, bool]:
    """Return the commit of a checkout, and whether files differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()

    return git("rev-parse", "HEAD"), bool(git("status", "--porcelain"))
