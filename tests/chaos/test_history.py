"""The checker of histories refuses each planted violation, and accepts a history without one."""

import pytest

from ..support.history import History, report


def recorded(tmp_path, ends=("result",), executed=1, after=1.0, key=None, client="a", identity=1):
    """Return the report of two clients with one call each, in which that of the first is as the arguments say."""
    history = History(limit=5)
    keys = {name: history.begin(name, 1, 10) for name in ("a", "b")}
    content = {"result": {"text": key or keys["a"]}, "error": {"code": -1, "message": "no"}, "silent": None}
    for end in ends:
        message = {"error": {}} if end == "silent" else {end: content[end]}
        history.receive(client, {"id": identity, **message}, 10 + after)
    history.receive("b", {"id": 1, "result": {"text": keys["b"]}}, 11)
    journal = tmp_path / "journal"
    journal.write_text(f"1 call {keys['b']}\n" + f"1 call {keys['a']}\n" * executed)
    return history.check(journal)


@pytest.mark.parametrize("plan", [{}, {"ends": ["error"], "executed": 0}, {"ends": ["error"]}])
def test_a_history_without_violations_is_accepted(tmp_path, plan):
    found = recorded(tmp_path, **plan)
    report("none", found, may_fail=True)
    assert found.outcomes["calls"] == 2
    assert found.longest == 1


@pytest.mark.parametrize(
    ("plan", "finding"),
    [
        ({"ends": []}, "no end"),
        ({"ends": ["result", "result"]}, "ended more than once"),
        ({"ends": ["error", "result"]}, "ended more than once"),
        ({"executed": 2}, "executed more than once"),
        ({"executed": 2, "ends": ["error"]}, "executed more than once"),
        ({"executed": 0}, "a result without an execution"),
        ({"after": 6.0}, "too late"),
        ({"key": "something else"}, "a result of another call"),
        ({"key": "key-b-1-"}, "a message at another client"),
        ({"client": "b", "identity": 9}, "a message at another client"),
        ({"identity": "1"}, "a response to no request"),
        ({"ends": ["silent"]}, "an error without a reason"),
    ],
)
def test_a_planted_violation_is_refused(tmp_path, plan, finding):
    found = recorded(tmp_path, **plan)
    assert finding in found.findings
    with pytest.raises(AssertionError):
        report("planted", found, may_fail=True)


def test_an_error_is_refused_where_no_call_may_fail(tmp_path):
    found = recorded(tmp_path, ends=["error"])
    with pytest.raises(AssertionError):
        report("planted", found)


def test_a_notification_at_another_client_is_refused(tmp_path):
    history = History(limit=5)
    key = history.begin("a", 1, 0)
    history.begin("b", 1, 0)
    history.receive("b", {"method": "notifications/progress", "params": {"message": key}}, 1)
    assert "a message at another client" in history.check(tmp_path / "journal").findings


def test_an_execution_that_no_client_has_requested_is_refused(tmp_path):
    journal = tmp_path / "journal"
    journal.write_text("1 call key-x-7-\n")
    assert "executed without a request" in History(limit=5).check(journal).findings


def test_a_call_that_its_client_has_left_needs_no_end(tmp_path):
    history = History(limit=5)
    history.begin("a", 1, 0)
    history.leave("a", 1)
    found = history.check(tmp_path / "journal")
    assert (found.findings, found.outcomes["left"]) == ({}, 1)
