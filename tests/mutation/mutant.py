"""A mutant: one change of one module, its name and its place in the order of a sample."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Final

# `core/`, the name of the operators that are a part of Cosmic Ray.
_CORE: Final = "core/"


@dataclass(frozen=True, order=True)
class Key:
    """The name of a mutant, which stays the same when lines move.

    `line` is the text of the line without indentation. `number` counts the mutants of a module with the same line and operator.
    """

    module: str
    line: str
    operator: str
    number: int = 0

    def rank(self, seed: int) -> bytes:
        """Return what mutants are sorted by: a hash, so that a change of one module leaves the order of others as it is."""
        return hashlib.sha256(
            repr((seed, self.module, self.line, self.operator, self.number)).encode()
        ).digest()


@dataclass(frozen=True)
class Mutant:
    """A change: the characters from `start` to `end` of the source are replaced. `row` counts lines from 1."""

    key: Key
    row: int
    start: int
    end: int
    text: str

    def applied(self, source: str) -> str:
        """Return the changed source."""
        return source[: self.start] + self.text + source[self.end :]

    def shown(self, source: str) -> str:
        """Return the first line that is changed, as it is then."""
        before, after = source.splitlines(), self.applied(source).splitlines()
        for number, line in enumerate(after):
            if line != before[number]:
                return line.strip()
        return ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(found: dict[str, Any]) -> "Mutant":
        return Mutant(**{**found, "key": Key(**found["key"])})


def change(key: Key, row: int, source: str, mutated: str) -> Mutant:
    """Return the mutant that makes one source of another."""
    start = 0
    shorter = min(len(source), len(mutated))
    while start < shorter and source[start] == mutated[start]:
        start += 1
    tail = 0
    while tail < shorter - start and source[-1 - tail] == mutated[-1 - tail]:
        tail += 1
    return Mutant(key, row, start, len(source) - tail, mutated[start : len(mutated) - tail])


def short(operator: str) -> str:
    """Return the name of an operator of Cosmic Ray without that of its provider."""
    return operator.removeprefix(_CORE)


def family(operator: str) -> str:
    """Return the name that all variants of an operator have in common."""
    return operator.partition("_")[0]
