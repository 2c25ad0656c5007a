"""The rate of notifications of one server process."""

import pytest

from mcpbridged.bridge.core import notification_flow
from mcpbridged.bridge.core.notification_flow import NotificationFlow
from mcpbridged.validators.jsonrpc import Notification

PROGRESS = Notification("notifications/progress", b'{"progressToken":1,"progress":1}')
LOG = Notification("notifications/message", b'{"level":"info","data":1}')
TOOLS = Notification("notifications/tools/list_changed", b"")


def updated(number):
    return Notification("notifications/resources/updated", b'{"uri":"a:%d"}' % number)


def exhausted(per_second=1):
    """Return a flow whose burst is used up at time 0."""
    flow = NotificationFlow(per_second, 0.0)
    for _ in range(10 * per_second):
        assert flow.admits(PROGRESS, 0.0)
    return flow


def test_ten_seconds_worth_may_come_at_once():
    flow = exhausted(3)
    assert not flow.admits(PROGRESS, 0.0)
    assert flow.admits(PROGRESS, 0.34)
    assert not flow.admits(PROGRESS, 0.34)


@pytest.mark.parametrize("message", [PROGRESS, LOG])
def test_progress_and_log_messages_above_the_rate_are_dropped_and_counted(message):
    flow = exhausted()
    assert [flow.admits(message, 0.0) for _ in range(3)] == [False] * 3
    assert flow.take_dropped() == 3
    assert flow.take_dropped() == 0
    assert flow.due(100.0) == []


def test_other_notifications_are_held_and_equal_ones_are_one():
    flow = exhausted()
    for message in (updated(1), TOOLS, updated(2), TOOLS, updated(1)):
        assert not flow.admits(message, 0.0)
    assert flow.take_dropped() == 0
    assert flow.due(0.5) == []
    assert flow.due(2.5) == [updated(1), TOOLS]
    assert flow.due(3.5) == [updated(2)]
    assert flow.due(100.0) == []


def test_an_equal_notification_that_passes_replaces_the_one_that_is_held():
    flow = exhausted()
    assert not flow.admits(TOOLS, 0.0)
    assert flow.admits(TOOLS, 1.5)
    assert flow.due(100.0) == []


def test_what_is_held_is_bounded(monkeypatch):
    monkeypatch.setattr(notification_flow, "MOST_HELD", 2)
    flow = exhausted()
    for number in range(5):
        assert not flow.admits(updated(number), 0.0)
    assert not flow.admits(updated(0), 0.0)
    assert flow.take_dropped() == 3
    assert flow.due(100.0) == [updated(0), updated(1)]
    flow = exhausted()
    assert not flow.admits(Notification("notifications/x", b'"%b"' % (b"x" * 8192)), 0.0)
    assert flow.take_dropped() == 1
