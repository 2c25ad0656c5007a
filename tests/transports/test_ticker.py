"""The clocks that connections and servers share."""

from mcpbridged.transports.ticker import PausableClock


def test_a_clock_stands_still_between_pause_and_resume():
    clock = PausableClock()
    assert clock.time(10) == 10
    clock.resume(11)
    clock.pause(12)
    clock.pause(13)
    assert [clock.time(now) for now in (12, 15, 20)] == [12, 12, 12]
    clock.resume(20)
    assert [clock.time(now) for now in (20, 25)] == [12, 17]
