"""How long calls may take."""

from mcpbridged.bridge.core.call_timeouts import CallTimeouts
from mcpbridged.validators.limits import Limits


def test_without_a_limit_no_call_is_stored():
    assert not CallTimeouts(Limits()).limited
    assert CallTimeouts(Limits(call_seconds=1)).limited
    assert CallTimeouts(Limits(call_idle_seconds=1)).limited


def test_progress_restarts_the_idle_time_but_not_the_whole_time():
    timeouts = CallTimeouts(Limits(call_idle_seconds=10, call_seconds=30))
    timeouts.on_tick(100)
    timeouts.add(b"1")
    for now in (108, 116, 124):
        assert timeouts.on_tick(now) == []
        timeouts.on_progress(b"1")
    assert timeouts.on_tick(130) == []
    assert timeouts.on_tick(131) == [(b"1", "has taken more than 30 s, the limit")]


def test_an_idle_call_times_out_and_others_continue():
    timeouts = CallTimeouts(Limits(call_idle_seconds=10))
    timeouts.on_tick(100)
    timeouts.add(b"1")
    timeouts.add(b"2")
    timeouts.add(b"3")
    timeouts.remove(b"3")
    assert timeouts.on_tick(105) == []
    timeouts.on_progress(b"2")
    assert timeouts.on_tick(110) == []
    assert timeouts.on_tick(111) == [(b"1", "has made no progress for 10 s, the limit")]
    timeouts.remove(b"1")
    assert timeouts.on_tick(112) == []


def test_calls_before_the_first_tick_count_from_it():
    timeouts = CallTimeouts(Limits(call_seconds=10))
    timeouts.add(b"1")
    assert timeouts.on_tick(5000) == []
    assert timeouts.on_tick(5010) == []
    assert timeouts.on_tick(5011) == [(b"1", "has taken more than 10 s, the limit")]


def test_a_call_that_waits_for_its_client_is_not_idle_and_has_a_limit():
    timeouts = CallTimeouts(Limits(call_idle_seconds=10, call_seconds=30))
    timeouts.on_tick(100)
    timeouts.add(b"1")
    timeouts.restart_idle(115)
    assert timeouts.on_tick(120) == []
    timeouts.restart_idle(131)
    assert timeouts.on_tick(131) == [(b"1", "has taken more than 30 s, the limit")]
