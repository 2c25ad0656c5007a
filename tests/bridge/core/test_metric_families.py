"""The metrics: their names follow the rules of Prometheus, and docs/METRICS.md has each of them."""

import re
from pathlib import Path

import pytest

from mcpbridged.bridge.core.metric_families import FAMILIES, STATES
from mcpbridged.bridge.core.metric_text import COUNTER, GAUGE, HISTOGRAM

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs/METRICS.md"
PARTS = ("bucket", "sum", "count")
ROW = re.compile(r"^\| `([a-z_]+)` \| (\w+) \| (.*?) \| (.*?) \|$", re.MULTILINE)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_name_follows_the_rules(family):
    assert re.fullmatch(r"(mcp_bridge|process)_[a-z_]+", family.name)
    assert family.name.endswith("_total") == (family.kind == COUNTER)
    assert family.kind in (COUNTER, GAUGE, HISTOGRAM)
    if family.kind == HISTOGRAM:
        assert family.name.endswith("_seconds")
    assert not re.search(r"_(ms|milliseconds|minutes|kb|mb|kilobytes|count|sum|bucket)(_|$)", family.name)
    assert all(re.fullmatch(r"[a-z]+", label) and label not in ("le", "quantile") for label in family.labels)
    assert re.fullmatch(r'[A-Z][^\\"\n]*\.', family.meaning)


def test_no_name_occurs_twice():
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names))


def test_the_document_has_exactly_these():
    rows = {name: tuple(rest) for name, *rest in ROW.findall(DOCUMENT.read_text())}
    assert rows == {
        family.name: (
            family.kind,
            ", ".join(f"`{label}`" for label in family.labels) or "none",
            family.meaning,
        )
        for family in FAMILIES
    }


def test_the_document_has_the_values_of_the_state():
    [listed] = re.findall(r"`state` is one of (.*?)\.", DOCUMENT.read_text(), re.DOTALL)
    assert tuple(re.findall(r"`([a-z ]+)`", listed)) == STATES


def test_the_alert_rules_use_no_other_metrics():
    rules = (ROOT / "examples/alerts.yml").read_text()
    used = set(re.findall(r"\b(?:mcp_bridge|process)_[a-z_]+[a-z]\b", rules))
    names = {family.name for family in FAMILIES}
    names |= {f"{family.name}_{part}" for family in FAMILIES if family.kind == HISTOGRAM for part in PARTS}
    assert used
    assert used <= names
