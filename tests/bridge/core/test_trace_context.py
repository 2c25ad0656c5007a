"""Which trace a request is part of. The examples are those of W3C Trace Context."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.bridge.core.trace_context import TraceContext, TracedTime, read_parent, trace_of
from mcpbridged.validators import json_object

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-01"
CONTEXT = TraceContext(TRACE, PARENT, sampled=True)


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (VALID, True),
        (f"00-{TRACE}-{PARENT}-00", False),
        (f"00-{TRACE}-{PARENT}-ff", True),
        (f"cc-{TRACE}-{PARENT}-01", True),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", True),
        (f"cc-{TRACE}-{PARENT}-01-".ljust(512, "x"), True),
    ],
)
def test_a_valid_value(value, sampled):
    assert read_parent(value) == TraceContext(TRACE, PARENT, sampled)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        VALID[:-1],
        VALID + "0",
        VALID + "-00",
        VALID + "\n",
        " " + VALID,
        VALID.upper(),
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}g-{PARENT}-01",
        f"00_{TRACE}-{PARENT}-01",
        f"cc-{TRACE}-{PARENT}-01.x",
        f"cc-{TRACE}-{PARENT}-01-".ljust(513, "x"),
        f"00-{TRACE}-{PARENT}-0\u0661",
        f"00-{TRACE}-{PARENT}-01\nmcp-bridge: info: forged",
    ],
)
def test_an_invalid_value_is_ignored(value):
    assert read_parent(value) is None
    assert trace_of(json.dumps({"_meta": {"traceparent": value}}).encode()) is None


@given(st.text())
def test_what_is_logged_is_hexadecimal(value):
    found = read_parent(value)
    assert found is None or set(found.trace + found.parent) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("params", "headers", "found"),
    [
        (b"", None, None),
        (b"", {"traceparent": VALID}, CONTEXT),
        (b"{}", {}, None),
        (b'{"_meta":{"traceparent":"%b"}}' % VALID.encode(), {"traceparent": "00"}, CONTEXT),
        (b'{"_meta":{"traceparent":7}}', {"traceparent": VALID}, CONTEXT),
        (b'{"_meta":{"traceparent":"x"}}', None, None),
        (b'{"_meta":[],"traceparent":"%b"}' % VALID.encode(), None, None),
        (b'{"arguments":{"_meta":{"traceparent":"%b"}}}' % VALID.encode(), None, None),
        (b'{"_meta":{"traceparent":"\\ud800"}}', None, None),
        (b'["traceparent"]', None, None),
    ],
)
def test_the_member_comes_before_the_header(params, headers, found):
    assert trace_of(params, headers) == found


def test_params_with_many_values_are_not_read():
    params = b'{"_meta":{"traceparent":"%b"},"x":[%b1]}' % (VALID.encode(), b"1," * 1_000_000)
    assert not json_object.is_small(params)
    assert trace_of(params) is None


def test_a_time_with_a_trace_is_a_time():
    began = TracedTime(2.5, CONTEXT)
    assert (began, 4 - began, began.context) == (2.5, 1.5, CONTEXT)
