"""The first handshake of a session at a server whose era is not certain."""

import pytest

from mcpbridged.bridge.core.era_trial import FAILED, OVER, TRYING, EraTrial, Exited, TimedOut, Verdict
from mcpbridged.validators.jsonrpc import Response

REFUSED = Response(b"1", b"", b'{"code":-32601,"message":"no"}')
ACCEPTED = Response(b"1", b"{}", b"")
LINE = b'{"method":"initialize"}\n'


@pytest.mark.parametrize("cached", [False, True])
def test_an_accepted_initialize_ends_the_trial(cached):
    trial = EraTrial(cached=cached)
    trial.on_sent(LINE)
    assert trial.phase == TRYING
    assert trial.unresolved
    assert trial.on_response(ACCEPTED) is Verdict.OPENED
    assert trial.phase == OVER
    assert trial.on_response(REFUSED) is Verdict.HANDLE
    assert trial.on_exit("gone", {}) is Verdict.HANDLE
    assert trial.on_timeout("late") is Verdict.HANDLE
    assert trial.take_opening() == b""


@pytest.mark.parametrize("cached", [False, True])
def test_an_error_is_held_and_then_handled_if_the_server_is_a_legacy_one(cached):
    trial = EraTrial(cached=cached)
    trial.on_sent(LINE)
    assert trial.on_response(REFUSED) is Verdict.FAILED
    assert trial.phase == FAILED
    assert trial.on_response(ACCEPTED) is Verdict.HANDLE
    assert trial.on_exit("gone", {"reason": "exited"}) is Verdict.HELD
    assert trial.on_timeout("late") is Verdict.HELD
    assert trial.take_opening() == b""
    assert trial.resolve(legacy=True) == (REFUSED, Exited("gone", {"reason": "exited"}))
    assert trial.phase == OVER
    assert trial.take_opening() == b""


def test_a_modern_server_receives_the_first_line_again_and_nothing_fails():
    trial = EraTrial()
    trial.on_sent(LINE)
    trial.on_sent(b"another")
    assert trial.on_exit("gone", {}) is Verdict.FAILED
    assert trial.resolve(legacy=False) == ()
    assert trial.take_opening() == LINE
    assert trial.take_opening() == b""
    trial.on_sent(b"another")
    assert trial.take_opening() == b""


def test_a_line_after_the_exit_of_a_process_that_has_received_none_is_sent_first():
    trial = EraTrial()
    trial.on_exit("gone", {})
    trial.on_sent(LINE)
    trial.resolve(legacy=False)
    assert trial.take_opening() == LINE


def test_a_line_before_the_start_of_the_process_of_the_modern_era_is_sent_first():
    trial = EraTrial()
    trial.on_exit("gone", {})
    trial.resolve(legacy=False)
    assert not trial.unresolved
    trial.on_sent(LINE)
    # No process is left whose failure could show the era.
    assert trial.on_response(REFUSED) is Verdict.HANDLE
    assert trial.on_exit("gone", {}) is Verdict.HANDLE
    assert trial.on_timeout("late") is Verdict.HANDLE
    assert trial.take_opening() == LINE
    assert trial.phase == OVER
    trial.on_sent(LINE)
    assert trial.take_opening() == b""


def test_a_timeout_is_held_once():
    trial = EraTrial()
    assert trial.on_timeout("late") is Verdict.FAILED
    assert trial.on_timeout("later") is Verdict.HELD
    assert trial.resolve(legacy=True) == (TimedOut("late"),)


def test_an_exit_or_a_timeout_does_not_change_a_cached_era():
    trial = EraTrial(cached=True)
    assert trial.on_exit("gone", {}) is Verdict.HANDLE
    assert trial.on_timeout("late") is Verdict.HANDLE
    assert trial.phase == TRYING


def test_a_certain_era_needs_no_trial():
    trial = EraTrial(OVER)
    trial.on_sent(LINE)
    assert trial.on_response(REFUSED) is Verdict.HANDLE
    assert trial.on_exit("gone", {}) is Verdict.HANDLE
    assert trial.on_timeout("late") is Verdict.HANDLE
    assert trial.take_opening() == b""
