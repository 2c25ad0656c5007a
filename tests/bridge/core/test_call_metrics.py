"""Counters and latencies by method and tool, with a limited number of series."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.bridge.core.call_metrics import (
    BOUNDS,
    KINDS,
    METHODS,
    MOST_TOOLS,
    OTHER,
    CallMetrics,
    Recorder,
)
from mcpbridged.bridge.core.effects import CANCELLED, OK, RequestFinished, failed_with
from mcpbridged.bridge.core.outcomes import LARGEST, TOOL_ERROR, outcome_of
from mcpbridged.validators.jsonrpc import Response

NOW = [0.0]


def clock():
    return NOW[0]


def add(metrics, method, tool, outcome, seconds, now):
    NOW[0] = now + seconds
    metrics.add(RequestFinished(b"1", method, tool, now, outcome))


def labels(metrics):
    return [(series.method, series.tool, series.count) for series in metrics]


def test_requests_are_counted_by_method_and_calls_by_tool():
    metrics = CallMetrics(clock)
    add(metrics, "tools/call", "echo", OK, 0.002, 10)
    add(metrics, "tools/list", "", OK, 0.01, 11)
    add(metrics, "tools/call", "echo", TOOL_ERROR, 0.3, 12)
    add(metrics, "prompts/get", "a prompt", OK, 0.01, 13)
    assert labels(metrics) == [
        ("tools/list", "", 1),
        ("prompts/get", "", 1),
        ("tools/call", "echo", 2),
    ]
    echo = list(metrics)[2]
    assert echo.seconds == pytest.approx(0.302)
    assert (echo.errors, echo.failed) == ({"tool_error": 1}, 1)
    assert [bound for bound, number in zip(BOUNDS, echo.buckets, strict=False) if number] == [0.0025, 0.5]


@pytest.mark.parametrize(
    ("outcome", "kind", "failed"),
    [
        (CANCELLED, "cancelled", 0),
        (failed_with(-32001), "timeout", 1),
        (failed_with(-32602), "invalid_params", 1),
        (failed_with(-32700), "parse_error", 1),
        (failed_with(4711), "other", 1),
    ],
)
def test_errors_are_counted_by_kind_and_codes_of_servers_under_one(outcome, kind, failed):
    metrics = CallMetrics(clock)
    add(metrics, "tools/list", "", outcome, 0, 0)
    [series] = metrics
    assert (series.errors, series.failed, kind in KINDS) == ({kind: 1}, failed, True)


def test_names_without_end_get_a_limited_number_of_series():
    metrics = CallMetrics(clock)
    for number in range(1000):
        add(metrics, "tools/call", f"missing-{number}", failed_with(-32602), 0, 0)
        add(metrics, f"x/{number}", "", failed_with(-32601), 0, 0)
    add(metrics, "tools/call", "n" * 129, OK, 0, 0)
    assert len(labels(metrics)) == 102
    assert ("tools/call", OTHER, 901) in labels(metrics)
    assert (OTHER, "", 1000) in labels(metrics)
    # Names of tools that exist still find a place.
    for number in range(1000):
        add(metrics, "tools/call", f"real-{number}", OK, 0, 0)
    for method in METHODS:
        add(metrics, method, "", OK, 0, 0)
    assert ("tools/call", "real-0", 1) in labels(metrics)
    assert len([1 for series in metrics if series.tool]) == MOST_TOOLS
    assert len(labels(metrics)) == MOST_TOOLS + 1 + len(METHODS)


def test_a_latency_at_a_bound_is_in_its_bucket():
    metrics = CallMetrics(clock)
    for seconds in (0.001, 0.00100001, 60, 61, 1e9):
        # Without a rounding error of the difference.
        NOW[0] = seconds
        metrics.add(RequestFinished(b"1", "ping", "", 0.0, OK))
    [series] = metrics
    assert (series.buckets[0], series.buckets[1], series.buckets[-2], series.buckets[-1]) == (1, 1, 1, 2)


def test_a_quantile_is_estimated_within_its_bucket():
    metrics = CallMetrics(clock)
    add(metrics, "ping", "", OK, 0.07, 0)
    [series] = metrics
    assert series.quantile(0.5) == pytest.approx(0.075)
    add(metrics, "ping", "", OK, 70, 0)
    assert series.quantile(0.99) == 60
    assert CallMetrics(clock)._method("ping").quantile(0.5) == 0


@given(st.lists(st.floats(0, 59), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_in_the_bucket_of_the_exact_one(latencies, share):
    metrics = CallMetrics(clock)
    for seconds in latencies:
        add(metrics, "ping", "", OK, seconds, 0)
    [series] = metrics
    # The smallest latency that at least this share of the requests does not exceed.
    exact = next(
        one for one in sorted(latencies) if sum(x <= one for x in latencies) >= share * len(latencies)
    )
    at = sum(bound < exact for bound in BOUNDS)
    assert (0, *BOUNDS)[at] <= series.quantile(share) <= BOUNDS[at]


RESULTS = [
    b"{}",
    b'{"content":[],"isError":false}',
    b'{"content":[],"isError":true}',
    b'{"content":[{"isError":true}],"isError": false}',
    b'{"structuredContent":{"isError":true}}',
    b'{"isError":true,"x":"' + b"x" * LARGEST + b'"}',
    msgspec.Raw(b'{"isError":true}'),
]


@pytest.mark.parametrize("result", RESULTS, ids=range(len(RESULTS)))
@pytest.mark.parametrize("method", ["tools/call", "tools/list", "x/y"])
def test_a_response_is_counted_as_its_outcome_says(method, result):
    at_once, one_by_one = CallMetrics(clock), CallMetrics(clock)
    for number, error in enumerate((b"", b"", b'{"code":-32602,"message":""}', b"")):
        response = Response(b"1", b"" if error else result, error)
        NOW[0] = 10 + 2.0**number / 100
        at_once.on_response(method, "echo", 10, response)
        one_by_one.add(RequestFinished(b"1", method, "echo", 10, outcome_of(method, response)))
    [found], [wanted] = at_once, one_by_one
    assert (found.method, found.tool, found.buckets, found.errors) == (
        wanted.method,
        wanted.tool,
        wanted.buckets,
        wanted.errors,
    )
    assert found.seconds == pytest.approx(wanted.seconds)
    assert (found.count, found.unsettled) == (4, [])


def test_latencies_need_memory_until_they_are_settled():
    metrics = CallMetrics(clock)
    for method in ("tools/call", "tools/list"):
        for _ in range(3):
            metrics.on_response(method, "echo", NOW[0], Response(b"1", b"{}", b""))
    series = [*metrics._methods.values(), *metrics._tools.values()]
    # The first request makes the series.
    assert [(one.count, len(one.unsettled)) for one in series] == [(1, 2), (1, 2)]
    metrics.settle()
    metrics.settle()
    assert [(one.count, len(one.unsettled)) for one in series] == [(3, 0), (3, 0)]


def test_nothing_is_counted_by_default():
    assert Recorder().counts is None
