"""How long calls may take."""

from mcpbridged.bridge.core.call_timeouts import CallTimeouts
from mcpbridged.validators.limits import Limits


def test_without_a_limit_nothing_is_kept():
    assert not CallTimeouts(Limits()).limited
    assert CallTimeouts(Limits(call_seconds=1)).limited
    assert CallTimeouts(Limits(call_idle_seconds=1)).limited


def test_progress_is_a_sign_of_life_but_does_not_last_for_ever():
    patience = CallTimeouts(Limits(call_idle_seconds=10, call_seconds=30))
    patience.on_tick(100)
    patience.begun(b"1")
    for now in (108, 116, 124):
        assert patience.on_tick(now) == []
        patience.progressed(b"1")
    assert patience.on_tick(130) == []
    assert patience.on_tick(131) == [(b"1", "has taken more than 30 s, the limit")]


def test_a_silent_call_is_given_up_and_others_go_on():
    patience = CallTimeouts(Limits(call_idle_seconds=10))
    patience.on_tick(100)
    patience.begun(b"1")
    patience.begun(b"2")
    patience.begun(b"3")
    patience.ended(b"3")
    assert patience.on_tick(105) == []
    patience.progressed(b"2")
    assert patience.on_tick(111) == [(b"1", "has made no progress for 10 s, the limit")]
    patience.ended(b"1")
    assert patience.on_tick(112) == []


def test_what_is_in_flight_before_the_first_look_at_the_clock_begins_with_it():
    patience = CallTimeouts(Limits(call_seconds=10))
    patience.begun(b"1")
    assert patience.on_tick(5000) == []
    assert patience.on_tick(5010) == []
    assert patience.on_tick(5011) == [(b"1", "has taken more than 10 s, the limit")]


def test_who_waits_for_the_client_is_not_idle_and_has_an_end_all_the_same():
    patience = CallTimeouts(Limits(call_idle_seconds=10, call_seconds=30))
    patience.on_tick(100)
    patience.begun(b"1")
    patience.excused(115)
    assert patience.on_tick(120) == []
    patience.excused(131)
    assert patience.on_tick(131) == [(b"1", "has taken more than 30 s, the limit")]
