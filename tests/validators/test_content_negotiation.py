"""Accept and Content-Type as tables."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.validators.content_negotiation import accepts, is_json

BOTH = (True, True, False)
STREAM_FIRST = (True, True, True)
JSON = (True, False, False)
STREAM = (False, True, True)
NEITHER = (False, False, False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, BOTH),
        ("", BOTH),
        (" ", BOTH),
        ("*/*", BOTH),
        ("application/json, text/event-stream", BOTH),
        ("application/json,text/event-stream", BOTH),
        ("Application/JSON\t,\tText/Event-Stream", BOTH),
        ("text/event-stream, application/json", STREAM_FIRST),
        ("text/event-stream, */*", STREAM_FIRST),
        ("*/*, text/event-stream", BOTH),
        ("application/json;q=0.9, text/event-stream", STREAM_FIRST),
        ("text/event-stream;q=0.9, application/json", BOTH),
        ("text/event-stream;q=0.5, application/json;q=0.50", STREAM_FIRST),
        ("application/json", JSON),
        ("application/*", JSON),
        ("text/event-stream", STREAM),
        ("text/*", STREAM),
        ("text/*, application/*", STREAM_FIRST),
        ("text/html", NEITHER),
        ("application/jsonx, text/event-streams", NEITHER),
        ("xapplication/json", NEITHER),
        ("application/json text/event-stream", NEITHER),
        ("application /json", NEITHER),
        ("*", NEITHER),
        (",", NEITHER),
        # weights
        ("application/json;q=0, */*", (False, True, True)),
        ("*/*, application/json; q=0.000", (False, True, True)),
        ("text/event-stream;q=0, */*;q=0.1", JSON),
        ("*/*;q=0", NEITHER),
        ("*; q=.2, */*; q=.2", BOTH),
        ("application/json;q=.", NEITHER),
        ("application/json;q=.0", NEITHER),
        ("application/json;Q=0", NEITHER),
        ("application/json;q=0;q=1", NEITHER),
        ("application/json;q=0.001", JSON),
        ("application/json;q=1.000 ", JSON),
        ("application/json;q=0.", NEITHER),
        ("application/json;q=1.1", NEITHER),
        ("application/json;q=2", NEITHER),
        ("application/json;q=-1", NEITHER),
        ("application/json;q=", NEITHER),
        ("application/json;q=0.1234", NEITHER),
        ("application/json;q=x, */*;q=0.5", BOTH),
        ("application/json;q=0, application/json;q=0.5", JSON),
        ("application/json;q=0.5, application/json;q=0", JSON),
        ("application/json, text/event-stream, application/json", BOTH),
        # parameters
        ("application/json; charset=utf-8; q=0", NEITHER),
        ("application/json;version=1, text/event-stream", BOTH),
        ("application/json;", JSON),
        ('application/json;p="a, text/event-stream";q=0.5', JSON),
        ('application/json;p=";q=0"', JSON),
        ('application/json;p="\\";q=0"', JSON),
        ('text/event-stream, x/y;p="application/json', STREAM),
        ('x/y;p="\\', NEITHER),
    ],
)
def test_accept(value, expected):
    assert accepts(value) == expected


def test_the_result_has_named_fields():
    answer = accepts("application/json")
    assert (answer.json, answer.events, answer.events_first) == JSON


@pytest.mark.parametrize(
    "value",
    [
        ",".join(f"a/b{n};q=0.{n % 10}" for n in range(8000)),
        "application/json;q=0.1," * 4000,
        "*/*," * 20000,
        ", " * 40000,
        "application/json" + " ;" * 40000,
        "application/json;" + "\t" * 80000,
        '"' * 80000,
        '"' + '\\"' * 40000,
        "application/json;q=" + "1" * 80000,
    ],
    ids=range(9),
)
def test_long_values_are_read_in_linear_time(value):
    begun = time.thread_time()
    accepts.__wrapped__(value)
    is_json(value)
    assert (
        time.thread_time() - begun < 2
    )  # ten times what a head may hold; a quadratic scan takes half a minute


@settings(max_examples=300)
@given(
    st.one_of(
        st.text(),
        st.lists(
            st.sampled_from(['"', "\\", ",", ";", "q=0", "q=1", "*/*", "text/*", "application/json"])
        ).map("".join),
    )
)
def test_any_value_is_accepted(value):
    answer = accepts(value)
    assert answer.events or not answer.events_first


@pytest.mark.parametrize(
    "value",
    [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json; charset=UTF-8",
        'application/json ;\tCharset="utf-8"',
        "application/json;",
        "application/json ; ; charset=utf-8 ",
        "application/json; version=1",
        'application/json; profile="a;, b\\""; charset=utf-8; odata=verbose',
        "application/json; charset_=x",
        "application/json; x-charset=x",
        "application/json; charset=utf8",
        "application/json; charset=UTF8;",
        "application/json; charset =utf-8",
        "application/json; charset=",
        "application/json; charset=latin-1",
        'application/json; charset="utf-8',
        "application/json; version",
        "application/json; profile=text/plain",
        "application/json, application/json",
        "application/json, text/plain",
        "application/json-rpc",
        "application/vnd.api+json",
        "text/json",
    ],
)
def test_json(value):
    assert is_json(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        ";charset=utf-8",
        ", application/json",
        " application/json",
        "application/xml",
        "application/octet-stream; profile=json",
        "*/*",
        "text/plain",
        "Text/PLAIN",
        "text/plain;application/json",
        "text/plain, application/json",
        "text/plain application/json",
        "text/plain\t;json",
        "application/x-www-form-urlencoded; json",
        "application/x-www-form-urlencoded,application/json",
        "multipart/form-data; boundary=application/json",
        "multipart/form-data, application/json",
        "multipart/json",
        "application/\u017fson",
        "application/j\u017fon",
    ],
)
def test_not_json(value):
    assert not is_json(value)
