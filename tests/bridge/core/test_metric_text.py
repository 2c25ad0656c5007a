"""The text formats. The parsers of prometheus_client are the oracle."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import parser
from prometheus_client.openmetrics import parser as open_parser

from mcpbridged.bridge.core.metric_text import (
    COUNTER,
    END,
    GAUGE,
    HISTOGRAM,
    Family,
    accepts_open,
    bound_texts,
    head,
    histogram,
    labels,
    sample,
)

CALLS = Family("x_calls_total", COUNTER, ("server", "tool"), "Calls.")
UP = Family("x_up", GAUGE, (), r"Whether it is up \ or not.")
TIME = Family("x_time_seconds", HISTOGRAM, ("server",), "Time.")
LATE = Family("x_late_seconds", HISTOGRAM, (), "Lateness.")
BOUNDS = bound_texts((0.001, 1, 60.0))


def parsed(text, *, is_open):
    if is_open:
        return list(open_parser.text_string_to_metric_families(text + END))
    return list(parser.text_string_to_metric_families(text))


def samples(text, *, is_open):
    return [
        (one.name, one.labels, one.value)
        for family in parsed(text, is_open=is_open)
        for one in family.samples
    ]


@pytest.mark.parametrize("is_open", [False, True])
def test_a_family_has_its_type_its_meaning_and_its_samples(is_open):
    text = head(CALLS, is_open=is_open) + sample(CALLS, 3, ("git", "log")) + sample(CALLS, 4, ("git", ""))
    text += head(UP, is_open=is_open) + sample(UP, 1)
    calls, up = parsed(text, is_open=is_open)
    assert (calls.name, calls.type, calls.documentation) == ("x_calls", "counter", "Calls.")
    assert (up.name, up.type, up.documentation) == ("x_up", "gauge", r"Whether it is up \ or not.")
    assert samples(text, is_open=is_open) == [
        ("x_calls_total", {"server": "git", "tool": "log"}, 3),
        ("x_calls_total", {"server": "git", "tool": ""}, 4),
        ("x_up", {}, 1),
    ]


@pytest.mark.parametrize("is_open", [False, True])
def test_buckets_are_cumulative_and_end_with_infinity(is_open):
    text = head(TIME, is_open=is_open) + histogram(TIME, BOUNDS, [1, 0, 2, 3], 200.5, ("git",))
    text += head(LATE, is_open=is_open) + histogram(LATE, BOUNDS, [0, 0, 0, 0], 0.0)
    found = samples(text, is_open=is_open)
    buckets = [(labels["le"], value) for name, labels, value in found if name == "x_time_seconds_bucket"]
    assert buckets == [("0.001", 1), ("1.0", 1), ("60.0", 3), ("+Inf", 6)]
    assert ("x_time_seconds_sum", {"server": "git"}, 200.5) in found
    assert ("x_time_seconds_count", {"server": "git"}, 6) in found
    assert ("x_late_seconds_bucket", {"le": "+Inf"}, 0) in found
    assert ("x_late_seconds_count", {}, 0) in found


@pytest.mark.parametrize("is_open", [False, True])
@example("\\n")
@example('\\"')
@example("a\\\\")
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=20))
def test_every_label_value_comes_back_as_it_was(is_open, value):
    text = head(CALLS, is_open=is_open) + sample(CALLS, 1, ("git", value))
    assert text.count("\n") == 3
    [(_, found, _)] = samples(text, is_open=is_open)
    assert found["tool"] == value


def test_a_wrong_number_of_labels_is_a_fault():
    with pytest.raises(ValueError, match="zip"):
        labels(CALLS, ("git",))


@pytest.mark.parametrize(
    ("accept", "is_open"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("text/plain;q=0.5, Application/OpenMetrics-Text; version=1.0.0; charset=utf-8", True),
        # What Prometheus 2.42 sends.
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1",
            True,
        ),
        ("application/openmetrics-text;version=0.0.1", False),
        ("application/openmetrics-text;version=2.0.0,text/plain", False),
        ("application/openmetrics-text;version=2.0.0,application/openmetrics-text;version=1.0.0", True),
        ("application/openmetrics-text;q=0, text/plain", False),
        ("application/openmetrics-text;q=x", False),
        ("application/openmetrics-text;q=0.5;version=1.0.0", True),
        (";,;q=", False),
    ],
)
def test_the_accept_header_decides_the_format(accept, is_open):
    assert accepts_open(accept) is is_open


def test_the_oracle_refuses_a_text_that_is_wrong():
    with pytest.raises(ValueError, match=re.compile("label|Invalid|line", re.IGNORECASE)):
        parsed('x_up{a="} 1\n', is_open=True)
