"""Rates and token buckets."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.validators.token_bucket import PATTERN, Rate, TokenBucket, parse_rate, whole_seconds


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1/second", Rate(1, 1, 1)),
        ("60/minute", Rate(60, 60, 60)),
        ("999999999/hour", Rate(999999999, 3600, 999999999)),
        ("10/second burst 50", Rate(10, 1, 50)),
        ("60/minute burst 1", Rate(60, 60, 1)),
    ],
)
def test_a_rate_is_a_number_by_a_unit(text, rate):
    assert parse_rate(text) == rate
    assert str(rate) == text
    assert re.match(PATTERN, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "60",
        "0/minute",
        "-1/second",
        "1.5/second",
        "60/day",
        "60 / minute",
        "60/minute burst",
        "60/minute burst 0",
        "60/minute\n",
        "1000000000/second",
        "\u0661/second",
        "60/minute burst 5 ",
    ],
)
def test_other_spellings_are_refused(text):
    with pytest.raises(ValueError, match='such as "60/minute"'):
        parse_rate(text)
    assert not re.match(PATTERN, text)


def test_a_new_bucket_is_full_and_is_filled_at_its_rate():
    bucket = TokenBucket(Rate(2, 1, 3), 100.0)
    for _ in range(3):
        assert bucket.wait(100.0) == 0
        bucket.take()
    assert bucket.wait(100.0) == pytest.approx(0.5)
    assert bucket.wait(100.25) == pytest.approx(0.25)
    assert bucket.wait(100.5) == 0
    bucket.take()
    assert bucket.wait(100.5) == pytest.approx(0.5)


def test_a_bucket_holds_no_more_than_the_burst():
    bucket = TokenBucket(Rate(10, 1, 2), 0.0)
    assert bucket.wait(1000.0) == 0
    bucket.take()
    bucket.take()
    assert bucket.wait(1000.0) > 0


def test_a_clock_that_goes_back_fills_nothing():
    bucket = TokenBucket(Rate(1, 1, 1), 10.0)
    assert bucket.wait(10.0) == 0
    bucket.take()
    assert bucket.wait(5.0) == pytest.approx(1)
    assert bucket.wait(5.5) == pytest.approx(0.5)


@given(
    st.integers(1, 50),
    st.sampled_from([1, 60]),
    st.integers(1, 50),
    st.lists(st.floats(0, 5, allow_nan=False), max_size=60),
)
def test_in_any_time_no_more_is_admitted_than_the_burst_and_the_rate(count, seconds, burst, pauses):
    bucket = TokenBucket(Rate(count, seconds, burst), 0.0)
    now, admitted = 0.0, 0
    for pause in pauses:
        now += pause
        if not bucket.wait(now):
            bucket.take()
            admitted += 1
    assert admitted <= burst + now * count / seconds + 1e-6


def test_a_bucket_fills_by_its_rate():
    bucket = TokenBucket(Rate(2, 10, 2), 0.0)
    bucket.take()
    bucket.take()
    assert bucket.wait(0) == 5
    assert bucket.wait(2.5) == 2.5
    assert bucket.wait(5) == 0
    bucket.take()
    assert bucket.wait(100) == 0
    bucket.take()
    bucket.take()
    assert bucket.wait(100) == 5


@pytest.mark.parametrize(("wait", "seconds"), [(0.01, 1), (1, 1), (1.01, 2), (59.5, 60)])
def test_retry_after_is_whole_and_never_too_early(wait, seconds):
    assert whole_seconds(wait) == seconds
