"""When a server that keeps dying may be started again."""

import pytest

from mcpbridged.bridge.core.circuit_breaker import CircuitBreaker


def test_the_first_start_is_at_once():
    assert CircuitBreaker().pause(0) == 0


def test_pauses_grow_and_pass():
    breaker = CircuitBreaker()
    breaker.died(0)
    assert breaker.pause(0) == 0.1
    assert breaker.pause(1) == 0
    breaker.died(1)
    assert breaker.pause(1) == pytest.approx(0.2)
    breaker.died(2)
    assert breaker.pause(2) == pytest.approx(0.4)


def test_it_trips_and_lets_one_start_through_when_the_oldest_death_is_old():
    breaker = CircuitBreaker(deaths=3, window=60)
    for second in (0, 1, 2):
        assert not breaker.tripped(second)
        breaker.died(second)
    assert breaker.tripped(2)
    assert breaker.pause(10) == 50
    assert not breaker.tripped(60)
    breaker.died(60)
    assert breaker.tripped(60)
    assert breaker.pause(60) == 1
    assert not breaker.tripped(200)
    assert breaker.pause(200) == 0


def test_after_a_trip_one_start_is_tried_and_all_others_wait_for_it():
    breaker = CircuitBreaker(deaths=2, window=60, trial=5)
    breaker.started(0)
    assert not breaker.tripped(0)
    breaker.died(0)
    breaker.died(1)
    assert not breaker.tripped(61.5)
    breaker.started(62)
    assert breaker.tripped(62)
    assert breaker.pause(63) == 4
    breaker.started(63)  # of a client that was there already
    breaker.died(64)
    assert not breaker.tripped(65)
    breaker.started(65)
    assert breaker.tripped(69.9)
    assert not breaker.tripped(70)
    assert breaker.pause(70) == 0
    breaker.started(70)
    breaker.started(71)
    assert not breaker.tripped(71)


def test_it_is_not_calm_until_something_has_lived():
    breaker = CircuitBreaker(deaths=1, window=60, trial=5)
    breaker.died(0)
    assert not breaker.calm(1000)
    breaker.started(1000)
    assert not breaker.calm(1004)
    assert breaker.calm(1005)


def test_a_server_that_exits_at_once_is_started_at_most_five_times_a_minute():
    breaker = CircuitBreaker()
    now, starts = 0.0, 0
    while now < 60:
        if not breaker.tripped(now) and not breaker.pause(now):
            starts += 1
            breaker.died(now)
        now += 0.01
    assert starts == 5


def test_it_is_calm_when_the_last_death_is_old():
    breaker = CircuitBreaker(window=60)
    assert breaker.calm(0)
    breaker.died(0)
    breaker.died(1)
    assert not breaker.calm(60)  # the pause is over, and the death still counts
    assert breaker.calm(61)
