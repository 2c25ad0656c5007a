"""When `connect` tries again, with times as literals (seconds)."""

from mcpbridged.bridge.commands.connect.retry import RetrySchedule


def test_the_pause_doubles_up_to_a_second():
    schedule = RetrySchedule(30, now=0)
    assert [schedule.next_pause() for _ in range(8)] == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1, 1]


def test_a_short_connection_without_a_message_does_not_move_the_deadline():
    schedule = RetrySchedule(30, now=0)
    schedule.on_connect(5)
    schedule.on_disconnect(14)
    assert schedule.remaining(29) == 1


def test_a_connection_that_has_lasted_or_carried_a_message_starts_the_schedule_anew():
    for carries, end in ((False, 15), (True, 6)):
        schedule = RetrySchedule(30, now=0)
        schedule.on_connect(5)
        if carries:
            schedule.on_message()
        schedule.on_disconnect(end)
        assert schedule.remaining(end) == 30
        assert [schedule.next_pause() for _ in range(3)] == [0, 0.02, 0.04]
