"""When `connect` tries again to reach the daemon."""

from mcpbridged.bridge.commands.pump.retry import RetrySchedule


def test_pauses_grow_from_ten_milliseconds_to_one_second():
    retry = RetrySchedule(30, 100)
    pauses = [retry.next_pause() for _ in range(10)]
    assert pauses[0] == 0.01
    assert pauses == sorted(pauses)
    assert pauses[-2:] == [1.0, 1.0]


def test_after_a_good_connection_the_next_attempt_is_immediate_and_has_the_whole_time():
    retry = RetrySchedule(30, 100)
    retry.next_pause()
    retry.on_connect(110)
    retry.on_message()
    retry.on_disconnect(120)
    assert (retry.next_pause(), retry.next_pause(), retry.remaining(121)) == (0.0, 0.01, 29)


def test_a_connection_that_carried_nothing_does_not_extend_the_time():
    retry = RetrySchedule(30, 100)
    retry.next_pause()
    retry.on_connect(110)
    retry.on_disconnect(111)
    assert retry.next_pause() > 0.01
    assert retry.remaining(131) == -1


def test_a_connection_that_lasted_extends_the_time():
    retry = RetrySchedule(30, 100)
    retry.on_connect(110)
    retry.on_disconnect(120)
    assert retry.remaining(120) == 30
