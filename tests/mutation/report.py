"""The results of a run: the score, build/mutation/report.json, and the figures in docs/MUTATION.md."""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .modules import ROOT
from .mutant import Key, Mutant, family
from .one import KILLED, SURVIVED
from .places import RULES
from .pool import TIMEOUT

DOCUMENT: Final = ROOT / "docs/MUTATION.md"
# The share of mutants that tests must find (percent).
FLOOR: Final = 85
_BEGIN: Final = "<!-- figures -->\n"
_END: Final = "<!-- end of figures -->\n"
_COLUMNS: Final = (
    "mutants | killed by a test | killed by time | survived | score |\n|---|---|---|---|---|---|\n"
)


@dataclass(frozen=True)
class Result:
    """The outcome of a mutant. `shown` is the first changed line, `by` the test that failed."""

    mutant: Mutant
    shown: str
    status: str
    by: str = ""


@dataclass
class Report:
    """All results of a run."""

    seed: int
    wanted: int
    places: int
    left_out: Mapping[str, int]
    versions: Mapping[str, str]
    accepted: Mapping[Key, str]
    results: list[Result] = field(default_factory=list)
    invalid: int = 0
    seconds: float = 0

    def survivors(self) -> list[Result]:
        return sorted((one for one in self.results if one.status == SURVIVED), key=lambda one: one.mutant.key)

    def score(self) -> float:
        """Return the share of mutants that were killed (percent). Raises ValueError if there were none."""
        return score(self.results)

    def passes(self) -> bool:
        """Return whether the whole sample was run and enough were killed."""
        return bool(self.results) and len(self.results) >= self.wanted and self.score() >= FLOOR

    def to_json(self) -> dict[str, Any]:
        survivors = [
            {
                "module": one.mutant.key.module,
                "row": one.mutant.row,
                "line": one.mutant.key.line,
                "operator": one.mutant.key.operator,
                "number": one.mutant.key.number,
                "mutated": one.shown,
                "reason": self.accepted.get(one.mutant.key, ""),
            }
            for one in self.survivors()
        ]
        return {
            "seed": self.seed,
            "wanted": self.wanted,
            "mutants": len(self.results),
            "score": round(self.score(), 2) if self.results else None,
            "places": self.places,
            "left_out": dict(self.left_out),
            "invalid": self.invalid,
            "seconds": round(self.seconds),
            "versions": dict(self.versions),
            "survivors": survivors,
            "killed": [
                [
                    one.mutant.key.module,
                    one.mutant.row,
                    one.mutant.key.operator,
                    one.shown,
                    one.status,
                    one.by,
                ]
                for one in self.results
                if one.status != SURVIVED
            ],
        }

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def document(self, file: Path = DOCUMENT) -> None:
        """Write the figures into the document."""
        head, _, rest = file.read_text(encoding="utf-8").partition(_BEGIN)
        _, _, tail = rest.partition(_END)
        file.write_text(f"{head}{_BEGIN}{self.figures()}{_END}{tail}", encoding="utf-8")

    def figures(self) -> str:
        """Return the tables of the document."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        left_out = "".join(f"| {rule} | {RULES[rule]} | {self.left_out.get(rule, 0):,} |\n" for rule in RULES)
        survivors = "".join(
            f"| `{one.mutant.key.module}` | {_code(one.mutant.key.line)} | {_code(one.shown)}"
            f" | {self.accepted.get(one.mutant.key, 'to kill')} |\n"
            for one in self.survivors()
        )
        packages = _table(self.results, lambda one: package(one.mutant.key.module))
        operators = _table(self.results, lambda one: family(one.mutant.key.operator))
        missing = f" (of {self.wanted:,}: the time was over)" if len(self.results) < self.wanted else ""
        return (
            f"Of {self.places:,} places, {len(self.results):,}{missing} with the seed {self.seed}: **{self.score():.1f} %**"
            f" in {round(self.seconds / 60)} minutes. {self.invalid} more could not be imported. Python"
            f" {sys.version.split()[0]}, {versions}.\n\n"
            f"| package | {_COLUMNS}{packages}\n"
            f"| operator | {_COLUMNS}{operators}\n"
            f"Left out:\n\n| rule | what is not mutated | mutants |\n|---|---|---|\n{left_out}\n"
            f"Survivors:\n\n| module | line | mutated | reason |\n|---|---|---|---|\n{survivors}"
        )


def score(results: Iterable[Result]) -> float:
    """Return the share of mutants that were killed (percent)."""
    statuses = [one.status for one in results]
    if not statuses:
        raise ValueError("no mutant was run")
    return 100 * sum(status in (KILLED, TIMEOUT) for status in statuses) / len(statuses)


def package(module: str) -> str:
    """Return the folder of a module."""
    return module.rpartition("/")[0]


def _table(results: Iterable[Result], name: Any) -> str:
    groups: defaultdict[str, list[Result]] = defaultdict(list)
    for one in results:
        groups[name(one)].append(one)
    return "".join(_row(group, groups[group]) for group in sorted(groups))


def _row(name: str, results: list[Result]) -> str:
    counts = [sum(one.status == status for one in results) for status in (KILLED, TIMEOUT, SURVIVED)]
    cells = " | ".join(str(count) for count in (len(results), *counts))
    return f"| `{name}` | {cells} | {score(results):.0f} % |\n"


def _code(text: str) -> str:
    """Return a text as code in a cell of a table."""
    if not text:
        return "(removed)"
    shown = text if len(text) <= 110 else f"{text[:107]}..."
    return (f"`` {shown} ``" if "`" in shown else f"`{shown}`").replace("|", "\\|")
