"""The spans that wait for the exporter."""

import pytest

from mcpbridged.bridge.core.span_queue import MOST_SPANS, Span, SpanQueue
from mcpbridged.bridge.core.trace_context import TraceContext


def span(number=0, parent=None):
    return Span("one", "ping", "", "ok", number, number + 1, parent)


def test_the_oldest_are_taken_first():
    queue = SpanQueue()
    for number in range(3):
        queue.add(span(number))
    assert [one.start for one in queue.take(2)] == [0, 1]
    assert [one.start for one in queue.take(2)] == [2]
    assert (queue.take(2), len(queue)) == ([], 0)


def test_beyond_the_limit_the_newest_are_dropped_and_counted():
    queue = SpanQueue(2)
    for number in range(5):
        queue.add(span(number))
    assert (queue.dropped, [one.start for one in queue.take(9)]) == (3, [0, 1])
    assert MOST_SPANS == 4096


@pytest.mark.parametrize(("sampled", "count"), [(True, 1), (False, 0)])
def test_a_trace_that_is_not_recorded_has_no_span(sampled, count):
    queue = SpanQueue()
    queue.add(span(parent=TraceContext("a" * 32, "b" * 16, sampled)))
    assert (len(queue), queue.dropped) == (count, 0)
