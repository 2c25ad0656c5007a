"""Workflows of GitHub: injection, more rights than needed, actions that can change, and keys that do not exist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..plants import new_file, replaced
from ..result import Result, checked
from ..tools import files, lines, version
from ..tools import run as run_tool

CLASS: Final = "workflows"
TOOL: Final = "zizmor, check-jsonschema"
SPEED: Final = "fast"

_SCHEMAS: Final = (
    ("vendor.github-workflows", ".github/workflows/*.yml"),
    ("vendor.dependabot", ".github/dependabot.yml"),
)


def run(root: Path) -> Result:
    """Run zizmor without a network, and compare all files with their schemas."""
    return checked((*_zizmor(root), *_schemas(root)), f"{version('zizmor')}, {version('check-jsonschema')}")


def _zizmor(root: Path) -> Iterator[str]:
    # The status is 10 plus the highest severity; 3 without any file.
    command = ["zizmor", "--offline", "--pedantic", "--quiet", "--no-progress", "--format=json-v1", "."]
    printed = run_tool(command, root, found=(11, 12, 13, 14))
    # Warnings stand before and after the findings.
    findings, _ = json.JSONDecoder().raw_decode(printed, printed.index("["))
    for finding in findings:
        place = finding["locations"][0]
        path = next(iter(place["symbolic"]["key"].values()))["verbatim_path"].removeprefix("./")
        line = place["concrete"]["location"]["start_point"]["row"] + 1
        yield f"{path}:{line}: {finding['ident']}: {finding['desc']}"


def _schemas(root: Path) -> Iterator[str]:
    for schema, pattern in _SCHEMAS:
        printed = lines(["check-jsonschema", "--builtin-schema", schema, *files(root, pattern)], root)
        yield from (line.strip() for line in printed if re.match(r"\s+\S*\.yml", line))


_HEAD: Final = "name: planted\non:\n  pull_request:\npermissions: {}\nconcurrency:\n  group: planted\n  cancel-in-progress: true\njobs:\n  a:\n    name: a\n    runs-on: ubuntu-24.04\n    timeout-minutes: 5\n"
_CHECKOUT: Final = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"


def _job(steps: str) -> str:
    return f"{_HEAD}    steps:\n{steps}"


PLANTS: Final = (
    new_file("a title of a pull request in a script", ".github/workflows/planted1.yml", _job("      - run: echo ${{ github.event.pull_request.title }}\n"), "planted1.yml", "template-injection"),
    new_file("an action that is not pinned", ".github/workflows/planted2.yml", _job("      - uses: actions/checkout@v7\n        with:\n          persist-credentials: false\n"), "planted2.yml", "unpinned-uses"),
    new_file("a token that stays on the disk", ".github/workflows/planted3.yml", _job(f"      - uses: {_CHECKOUT}\n"), "planted3.yml", "artipacked"),
    new_file("all rights", ".github/workflows/planted4.yml", _job("      - run: make test\n").replace("permissions: {}", "permissions: write-all"), "planted4.yml", "excessive-permissions"),
    new_file("the rights of the repository for a foreign pull request", ".github/workflows/planted5.yml", _job("      - run: make test\n").replace("pull_request:", "pull_request_target:"), "planted5.yml", "dangerous-triggers"),
    new_file("a key that does not exist", ".github/workflows/planted6.yml", _job("      - run: make test\n        timeout: 5\n"), "planted6.yml", "timeout"),
    replaced("an interval of updates that does not exist", ".github/dependabot.yml", "interval: weekly", "interval: sometimes", ".github/dependabot.yml", "sometimes"),
)  # fmt: skip
