"""When a server that keeps dying may be started again."""

import pytest

from mcpbridged.bridge.core.circuit_breaker import CircuitBreaker


def test_the_first_start_is_at_once():
    assert CircuitBreaker().pause(0) == 0


def test_pauses_grow_and_pass():
    breaker = CircuitBreaker()
    breaker.on_failure(0)
    assert breaker.pause(0) == 0.1
    assert breaker.pause(1) == 0
    breaker.on_failure(1)
    assert breaker.pause(1) == pytest.approx(0.2)
    breaker.on_failure(2)
    assert breaker.pause(2) == pytest.approx(0.4)


def test_it_opens_and_lets_one_start_through_when_the_oldest_failure_is_old():
    breaker = CircuitBreaker(failures=3, window=60)
    for second in (0, 1, 2):
        assert not breaker.is_open(second)
        breaker.on_failure(second)
    assert breaker.is_open(2)
    assert breaker.pause(10) == 50
    assert not breaker.is_open(60)
    breaker.on_failure(60)
    assert breaker.is_open(60)
    assert breaker.pause(60) == 1
    assert not breaker.is_open(200)
    assert breaker.pause(200) == 0


def test_a_half_open_breaker_lets_one_probe_through_and_refuses_other_starts():
    breaker = CircuitBreaker(failures=2, window=60, probe=5)
    breaker.on_start(0)
    assert not breaker.is_open(0)
    breaker.on_failure(0)
    breaker.on_failure(1)
    assert not breaker.is_open(61.5)
    breaker.on_start(62)
    assert breaker.is_open(62)
    assert breaker.pause(63) == 4
    breaker.on_start(63)  # of a client that was there already
    breaker.on_failure(64)
    assert not breaker.is_open(65)
    breaker.on_start(65)
    assert breaker.is_open(69.9)
    assert not breaker.is_open(70)
    assert breaker.pause(70) == 0
    breaker.on_start(70)
    breaker.on_start(71)
    assert not breaker.is_open(71)


def test_it_is_not_closed_before_a_probe_has_succeeded():
    breaker = CircuitBreaker(failures=1, window=60, probe=5)
    breaker.on_failure(0)
    assert not breaker.is_closed(1000)
    breaker.on_start(1000)
    assert not breaker.is_closed(1004)
    assert breaker.is_closed(1005)


def test_a_server_that_exits_at_once_is_started_at_most_five_times_a_minute():
    breaker = CircuitBreaker()
    now, starts = 0.0, 0
    while now < 60:
        if not breaker.is_open(now) and not breaker.pause(now):
            starts += 1
            breaker.on_failure(now)
        now += 0.01
    assert starts == 5


def test_it_is_closed_when_the_last_failure_is_old():
    breaker = CircuitBreaker(window=60)
    assert breaker.is_closed(0)
    breaker.on_failure(0)
    breaker.on_failure(1)
    assert not breaker.is_closed(60)  # the pause is over, and the death still counts
    assert breaker.is_closed(61)
