"""The command itself: print the problems first, then what is right, and a summary."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from ....validators.counted import counted
from ...core.exit_codes import EX_FAILED, EX_OK
from ...log import escaped
from ..invocation import Invocation
from ..output import print_line, stdout_terminal
from ..progress import Progress
from ..text_width import wrapped
from .checklist_report import print_checklist
from .examine import examine
from .finding import ERROR, KINDS, OK, WARNING, Finding

_COLOURS: Final = {ERROR: "\x1b[31m", WARNING: "\x1b[33m", OK: "\x1b[32m"}
_PLAIN: Final = "\x1b[0m"
# Below the text of a finding, after its kind.
_INDENT: Final = " " * 8
_NOUNS: Final = {ERROR: "error", WARNING: "warning"}


def doctor(invocation: Invocation) -> int:
    """Print the findings, and return 1 if one of them is an error; or print the checklist."""
    if invocation.options.checklist:
        return print_checklist(invocation)
    with Progress() as progress:
        findings = [*examine(invocation.file, invocation.environment, invocation.source, progress)]
    findings.sort(key=lambda finding: KINDS.index(finding.kind))
    if invocation.options.json:
        counts = {kind: sum(finding.kind == kind for finding in findings) for kind in KINDS}
        print_line(json.dumps({**counts, "findings": [*map(attrs.asdict, findings)]}, indent=2))
    else:
        width = stdout_terminal(invocation.environment).width
        for line in lines_of(findings, width, is_coloured=is_coloured(invocation.environment)):
            print_line(line)
    return EX_FAILED if any(finding.kind == ERROR for finding in findings) else EX_OK


def is_coloured(environment: Mapping[str, str]) -> bool:
    """Return whether stdout is a terminal that shows colours, and the user has not declined them (https://no-color.org)."""
    return sys.stdout.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def lines_of(findings: Sequence[Finding], width: int | None, *, is_coloured: bool) -> Iterable[str]:
    """Yield the findings with their fixes, in this order, and a summary. Text of a server is escaped.

    Lines are at most `width` cells wide, except those that can be pasted.
    """
    room = width and max(width - len(_INDENT), 1)
    for finding in findings:
        kind = f"{finding.kind:<7}"
        first, *others = wrapped(escaped(finding.text), room)
        yield (f"{_COLOURS[finding.kind]}{kind}{_PLAIN} " if is_coloured else f"{kind} ") + first
        others += wrapped(escaped(finding.fix), room) if finding.fix else []
        yield from (f"{_INDENT}{line}" for line in others)
        yield from (escaped(f"{'':<11} {command}") for command in finding.commands)
    yield summary_of(findings)


def summary_of(findings: Iterable[Finding]) -> str:
    """Return the number of findings of each kind, as one line."""
    kinds = [finding.kind for finding in findings]
    counts = {kind: kinds.count(kind) for kind in KINDS}
    words = [counted(counts[kind], noun) for kind, noun in _NOUNS.items()]
    passed = counted(counts[OK], "check passed", "checks passed")
    problems = counts[ERROR] + counts[WARNING]
    return f"{', '.join(words)}, {passed}" if problems else f"no problems found: {passed}"
