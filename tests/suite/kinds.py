"""Count the tests of each kind, with their results and their time."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

# Key: a folder of tests. Values: the kind of its tests.
KINDS: Final = {
    "bridge": "units",
    "transports": "units",
    "validators": "units",
    "cases": "cases of whole daemons",
    "e2e": "whole daemons with clients",
    "hostile": "attacks",
    "chaos": "chaos",
    "container": "container files",
    "fuzz": "kept inputs of the fuzzer",
    "security": "security gates",
    "supply_chain": "supply chain",
}
PROPERTIES: Final = "properties"
OTHER: Final = "documents and sources"
# Key: a kind. Value: the number of tests by outcome, and under "seconds" their time.
Counts = dict[str, dict[str, float]]


def kind_of(path: Path, *, has_examples: bool) -> str:
    """Return the kind of a test of a file below `tests`. Tests with generated examples are properties."""
    if has_examples:
        return PROPERTIES
    return KINDS.get(path.parts[0] if len(path.parts) > 1 else "", OTHER)


class Recorder:
    """A plugin of pytest that counts."""

    def __init__(self) -> None:
        self.counts: Counts = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]):
        """Count a test by its kind: when it was called, and when its preparation or its end failed or skipped it."""
        report = yield
        function = getattr(item, "function", None)
        examples = hasattr(function, "hypothesis") or hasattr(function, "is_hypothesis_test")
        below = Path(item.nodeid.partition("::")[0].removeprefix("tests/"))
        kind = self.counts.setdefault(kind_of(below, has_examples=examples), {})
        kind["seconds"] = kind.get("seconds", 0) + report.duration
        if report.when == "call" or report.outcome != "passed":
            kind[report.outcome] = kind.get(report.outcome, 0) + 1
        return report


def table(parts: Iterable[Counts]) -> str:
    """Return the sums as a table."""
    kinds: dict[str, Counter[str]] = {}
    for part in parts:
        for kind, numbers in part.items():
            kinds.setdefault(kind, Counter()).update(numbers)
    if not kinds:
        return "no tests\n"
    kinds["all"] = sum(kinds.values(), Counter())
    columns = ("passed", "failed", "skipped", "seconds")
    lines = [f"{'tests':28}" + "".join(f"{name:>10}" for name in columns)]
    lines += [
        f"{kind:28}" + "".join(f"{numbers[name]:10.0f}" for name in columns)
        for kind, numbers in kinds.items()
    ]
    return "\n".join(lines) + "\n"
