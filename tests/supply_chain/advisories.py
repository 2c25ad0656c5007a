"""Look up the locked packages in databases of advisories: `python -m tests.supply_chain.advisories [--root ROOT] [--service pypi|osv]`.

pip-audit looks the packages up in the database of the package index and in that of OSV. It exits with 0 where an index has no
database, because it skips what it could not look up. Here, a package that was looked up in no database is not examined, and a run
without findings that did not examine every package exits with 3, never with 0. PIP_AUDIT_OSV_URL names another OSV server.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

from .lock import LOCKS, pins
from .report import arguments_of, not_run, report

SERVICES: Final = ("pypi", "osv")
SECONDS: Final = 600


@dataclass
class Answers:
    """What databases answered: the packages (name, version) that were looked up, findings, and why a look-up failed."""

    examined: set[tuple[str, str]] = field(default_factory=set)
    findings: set[str] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)


def collect(answers: Answers, service: str, printed: str, errors: str) -> None:
    """Add the output of one run of pip-audit."""
    try:
        dependencies = json.loads(printed)["dependencies"]
    except (ValueError, KeyError):
        last = errors.strip().splitlines()[-1:] or ["no output"]
        answers.reasons.append(f"{service}: {last[0][:300]}")
        return
    skipped = [item for item in dependencies if "skip_reason" in item]
    if skipped:
        answers.reasons.append(
            f"{service}: {len(skipped)} packages skipped, the first: {skipped[0]['skip_reason']}"
        )
    for item in dependencies:
        if "skip_reason" not in item:
            answers.examined.add((canonicalize_name(item["name"]), item["version"]))
            answers.findings |= {finding(item, advisory) for advisory in item.get("vulns", ())}


def finding(item: dict[str, Any], advisory: dict[str, Any]) -> str:
    fixed = ", ".join(advisory.get("fix_versions") or ()) or "no version"
    names = ", ".join([advisory["id"], *advisory.get("aliases", ())])
    return f"advisory: {item['name']} {item['version']}: {names}; fixed in {fixed}"


def locked(root: Path) -> set[tuple[str, str]]:
    """Return the name and version of each package in the lock files that this Python needs."""
    found = [pin for name in LOCKS for pin in pins((root / f"requirements/{name}.txt").read_text())]
    return {
        (pin.name, pin.version)
        for pin in found
        if not pin.requirement.marker or pin.requirement.marker.evaluate()
    }


def look_up(root: Path, services: tuple[str, ...]) -> Answers:
    """Look the packages of lock files up in each database."""
    answers = Answers()
    tool = str(Path(sys.executable).with_name("pip-audit"))
    files = [word for name in LOCKS for word in ("--requirement", str(root / f"requirements/{name}.txt"))]
    for service in services:
        done = subprocess.run(
            [tool, *files, "--disable-pip", "--require-hashes", "--format=json", "--desc=off", "--progress-spinner=off",
             f"--vulnerability-service={service}"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )  # fmt: skip
        collect(answers, service, done.stdout, done.stderr)
    return answers


def main(arguments: list[str]) -> int:
    root, words = arguments_of(arguments)
    if words and (words[:-1] != ["--service"] or words[-1] not in SERVICES):
        sys.exit(__doc__)
    answers = look_up(root, tuple(words[1:]) or SERVICES)
    every = locked(root)
    if not answers.findings and (missing := every - answers.examined):
        not_run(f"{len(missing)} of {len(every)} packages were not looked up ({'; '.join(answers.reasons)})")
    return report(sorted(answers.findings), f"no advisory for {len(every)} packages")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
