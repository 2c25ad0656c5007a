"""A target of the fuzzer, its budget of time, and inputs in pieces."""

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import process_time
from typing import Final

# The most processor time of one input (seconds). It is measured a second time before it is a finding.
BUDGET: Final = 1.0
# The sizes of the pieces of an input. One of them is taken by a checksum of the input.
_SIZES: Final = (1, 2, 3, 7, 16, 61)
# An input with more bytes is cut in larger pieces, because each piece costs a call.
_MOST_PIECES: Final = 128


class Finding(Exception):
    """An input breaks a promise of the code under test."""


class Stall(Finding):
    """An input takes more processor time than the budget, twice."""


@dataclass(frozen=True)
class Target:
    """What is fuzzed. `fuzz` raises an exception for a finding; `seeds` are inputs that are tried first.

    `longest` is the largest input (bytes).
    """

    name: str
    fuzz: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    longest: int = 4096

    def check(self, data: bytes, budget: float = BUDGET) -> None:
        """Run the target for one input. Raises Stall, and every exception of the target."""
        spent = self._spent(data)
        if spent > budget and (spent := min(spent, self._spent(data))) > budget:
            raise Stall(f"{self.name}: {len(data)} bytes took {spent:.2f} s, and the budget is {budget} s")

    def _spent(self, data: bytes) -> float:
        begun = process_time()
        self.fuzz(data)
        return process_time() - begun


def pieces(data: bytes) -> Iterator[bytes]:
    """Yield the input in pieces, whose size depends on the input only."""
    size = max(_SIZES[zlib.crc32(data) % len(_SIZES)], len(data) // _MOST_PIECES)
    for at in range(0, len(data), size):
        yield data[at : at + size]


def same(what: str, one: object, other: object) -> None:
    """Raise Finding for two results that must be equal."""
    if one != other:
        raise Finding(f"{what}: {one!r:.2000} and {other!r:.2000}")


def holds(what: str, condition: object) -> None:
    """Raise Finding for a promise that does not hold."""
    if not condition:
        raise Finding(what)
