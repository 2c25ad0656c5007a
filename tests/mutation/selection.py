"""Plugins of pytest: which lines each test runs, and a run of chosen tests in a chosen order.

A test is a function of a test file, with all of its parameters: `FILE::FUNCTION` or `FILE::CLASS::FUNCTION`.
"""

import time
from collections import defaultdict
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import Phase, settings

if TYPE_CHECKING:
    from coverage import Coverage

# Of every run of tests. Hypothesis and AnyIO are loaded before pytest can rewrite their assertions.
ARGUMENTS: Final = (
    "--quiet",
    "--no-header",
    "--tb=short",
    "-p",
    "no:cacheprovider",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)


def test_of(node: str) -> str:
    """Return the test of the name of a pytest item."""
    return node.partition("[")[0]


class Measured:
    """Measures the lines and the processor time (seconds) of each test."""

    def __init__(self, coverage: "Coverage") -> None:
        self._coverage = coverage
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.failed: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        test = test_of(item.nodeid)
        self._coverage.switch_context(test)
        begin = time.process_time()
        result = yield
        self.seconds[test] += time.process_time() - begin
        self._coverage.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)


class Chosen:
    """Runs the tests of a list in its order."""

    def __init__(self, tests: Iterable[str]) -> None:
        self._order = {test: number for number, test in enumerate(tests)}
        self.ran = 0
        self.failed = ""

    def pytest_configure(self) -> None:
        # A failing example is enough; the smallest one takes time.
        fast = settings(phases=(Phase.explicit, Phase.generate), database=None)
        settings.register_profile("mutation", fast)
        settings.load_profile("mutation")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if test_of(item.nodeid) in self._order]
        items[:] = sorted(chosen, key=lambda item: self._order[test_of(item.nodeid)])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.ran += report.when == "call"
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid
