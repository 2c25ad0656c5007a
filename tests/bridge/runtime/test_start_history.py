"""The starts and exits of one server."""

import time

import pytest

from mcpbridged.bridge.core.start_errors import Output, StartFault
from mcpbridged.bridge.runtime import start_history
from mcpbridged.bridge.runtime.start_history import StartHistory
from mcpbridged.transports.server_io import Exit

FAULT = StartFault("exited with code 1", Output((), ("a line about someone",)), ended=True)


class Log:
    """A log that records its events."""

    def __init__(self):
        self.events = []

    def _record(self, event, **fields):
        self.events.append((event, fields))

    debug = info = warning = error = _record


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def history(log):
    return StartHistory(log)


def test_starts_and_exits_are_counted(history, log):
    history.on_start(7)
    history.on_exit(7, Exit(code=3))
    assert (history.starts, history.exits, history.last_exit) == (1, 1, "exited with code 3")
    assert [fields for _, fields in log.events] == [{"pid": 7}, {"how": "exited with code 3", "pid": 7}]


def test_a_failure_has_a_time_and_is_past_after_the_next_start(history):
    assert (history.last_exit_at, history.recovered) == (0, False)
    history.on_start_succeeded()
    assert not history.recovered
    history.on_exit(7, Exit(code=3))
    assert abs(history.last_exit_at - time.time()) < 60
    assert not history.recovered
    history.on_start_succeeded()
    assert history.recovered
    history.on_not_started("no such file")
    assert not history.recovered


@pytest.mark.parametrize("how", ["exit", "no start"])
def test_variables_that_were_not_passed_are_named_once_when_a_start_fails(history, log, how):
    history.withheld = ("KEY",)
    for _ in range(2):
        if how == "exit":
            history.on_start(7)
            history.on_exit(7, Exit(code=1))
        else:
            history.on_not_started("no such file")
    assert history.lacking == ("KEY",)
    assert [event for event, _ in log.events].count("variables_not_passed") == 1


def test_an_exit_long_after_the_start_is_no_failed_start(history, log, monkeypatch):
    history.withheld = ("KEY",)
    now = 1000.0
    monkeypatch.setattr(start_history.time, "monotonic", lambda: now)
    history.on_start(7)
    now = 1060.0
    history.on_exit(7, Exit(code=1))
    assert history.lacking == ()
    # The start of this process is not stored.
    history.on_exit(8, Exit(code=1))
    assert history.lacking == ()
    history.on_start(9)
    now = 1119.0
    history.on_exit(9, Exit(code=1))
    assert history.lacking == ("KEY",)


def test_the_times_of_starts_are_bounded(history):
    for pid in range(2000):
        history.on_start(pid)
    assert list(history._since) == list(range(976, 2000))


def test_a_failed_start_is_the_reason_until_a_start_succeeds(history, log):
    history.on_not_started("no such file")
    assert history.last_failure("owner") == "was not started: no such file"
    history.on_start_failed(FAULT, ["owner"])
    assert history.fault is FAULT
    assert history.failures == 1
    history.on_start_succeeded()
    history.on_start_succeeded()
    assert history.fault is None
    assert [event for event, _ in log.events] == ["start_failed", "start_succeeded"]


def test_only_a_principal_that_alone_was_served_gets_the_output_of_a_failed_start(history):
    history.on_start_failed(FAULT, ["owner"])
    assert "someone" in history.last_failure("owner")
    assert "someone" not in history.last_failure("other")
    history.on_start_failed(FAULT, ["owner", "other"])
    assert "someone" not in history.last_failure("owner")
    # The output of a process that has served no client is about none.
    history.on_start_failed(FAULT)
    assert "someone" in history.last_failure("other")


def test_a_connection_to_a_remote_server_has_no_exit(history, log):
    history.on_exit(-7, Exit(reason="cannot be reached: x"))
    assert log.events == [("connection_failed", {"how": "cannot be reached: x", "pid": -7})]


def test_output_is_for_the_only_principal_of_a_process_and_may_be_for_none(history):
    history.on_start_failed(FAULT, ["alice"])
    assert [history.may_show(names) for names in ((), ("alice",), ("alice", "bob"))] == [True, True, False]
    assert "a line about someone" in history.last_failure("alice")
    assert "a line about someone" not in history.last_failure("bob")
    history.shows_output = False
    assert not history.may_show(["alice"])
    assert history.last_failure("alice") == "exited with code 1"


def test_what_went_wrong_with_another_configuration_is_past(history):
    history.begin_again()
    assert not history.recovered
    history.on_exit(7, Exit(code=3))
    history.on_start_failed(FAULT, ["alice"])
    history.begin_again()
    assert (history.fault, history.recovered, history.last_exit) == (None, True, "exited with code 3")
    history.on_exit(8, Exit(code=4))
    assert not history.recovered
