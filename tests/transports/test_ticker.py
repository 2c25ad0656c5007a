"""The clocks that connections and servers share."""

import pytest
import trio

from mcpbridged.transports.ticker import LAG_BOUNDS, TICK, Lag, PausableClock, Ticker


def test_a_late_round_is_counted_in_its_bucket():
    lag = Lag()
    for seconds in (0.0, 0.001, 0.03, 9.0):
        lag.add(seconds)
    assert lag.buckets == [2, *[0] * 4, 1, *[0] * 5, 1]
    assert len(lag.buckets) == len(LAG_BOUNDS) + 1
    assert lag.seconds == 9.031


@pytest.mark.anyio
async def test_each_round_of_the_ticker_is_counted(autojump_clock):
    ticker = Ticker()
    async with trio.open_nursery() as nursery:
        await nursery.start(ticker.run)
        await trio.sleep(4.5 * TICK)
        nursery.cancel_scope.cancel()
    assert sum(ticker.lag.buckets) == 4


def test_a_clock_stands_still_between_pause_and_resume():
    clock = PausableClock()
    assert clock.time(10) == 10
    clock.resume(11)
    clock.pause(12)
    clock.pause(13)
    assert [clock.time(now) for now in (12, 15, 20)] == [12, 12, 12]
    clock.resume(20)
    assert [clock.time(now) for now in (20, 25)] == [12, 17]
