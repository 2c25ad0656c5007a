"""The rate limit of stderr and its redaction, and the reader that feeds them from a pipe of this test."""

import os

import pytest
import trio

from mcpbridged.transports.process.stderr_reader import StderrMeter, StderrReader

pytestmark = pytest.mark.anyio


class Holding:
    """A filter that replaces "secret", and holds bytes back for `ticks` ticks (Filter)."""

    def __init__(self, ticks=1):
        self.ticks = ticks
        self.held = b""

    @property
    def holds(self):
        return bool(self.held)

    def feed(self, data):
        self.held += data
        return b""

    def tick(self):
        self.ticks -= 1
        return (b"", True) if self.ticks > 0 else (self.end(), False)

    def gap(self):
        return self.end() + b"[gap]"

    def peek(self):
        return self.held.replace(b"secret", b"***")

    def end(self):
        shown, self.held = self.peek(), b""
        return shown


class Meter(StderrMeter):
    def __init__(self, rate=6400, filter_=None):
        self.lines = []
        super().__init__(rate, self.lines.append, filter_)


def test_lines_are_passed_on_and_the_last_needs_no_line_end():
    meter = Meter()
    meter.feed(b"one\ntw", 1.0)
    assert meter.lines == [b"one"]
    assert meter.unfinished == b"tw"
    meter.end()
    assert meter.lines == [b"one", b"tw"]


def test_bytes_over_the_rate_are_dropped_and_reported_in_the_next_second():
    meter = Meter(rate=128)
    meter.feed(b"x" * 99 + b"\n", 1.0)
    meter.feed(b"y" * 100 + b"\n", 1.5)
    meter.feed(b"z\n", 1.9)
    assert meter.lines == [b"x" * 99]
    meter.feed(b"after\n", 2.0)
    assert meter.lines == [b"x" * 99, b"... suppressed 75 bytes", b"y" * 28 + b"after"]


def test_a_short_line_counts_for_64_bytes():
    meter = Meter(rate=128)
    meter.feed(b"1\n2\n3\n", 1.0)
    assert meter.lines == [b"1", b"2"]
    meter.feed(b"", 2.0)
    assert meter.lines[2:] == [b"... suppressed 1 bytes"]


def test_nothing_suppressed_is_not_reported():
    meter = Meter()
    meter.feed(b"1\n", 1.0)
    meter.feed(b"2\n", 3.0)
    assert meter.lines == [b"1", b"2"]


def test_a_line_over_the_limit_is_cut():
    meter = Meter(rate=64 * 1024)
    meter.feed(b"x" * 5000 + b"\n", 1.0)
    [line] = meter.lines
    assert line.startswith(b"xxx")
    assert line.endswith(b"x...")
    assert len(line) <= 4096 + 3


def test_the_unfinished_line_is_filtered_and_short():
    meter = Meter(filter_=Holding())
    meter.feed(b"one\nthe secret", 1.0)
    assert meter.unfinished == b"the ***"
    meter = Meter(filter_=Holding())
    meter.feed(b"x" * 300, 1.0)
    assert meter.unfinished == b"x" * 256


def test_bytes_held_back_are_released_before_a_gap():
    meter = Meter(rate=64, filter_=Holding())
    meter.feed(b"sec" + b"." * 61 + b"dropped", 1.0)
    meter.end()
    assert meter.lines == [b"sec" + b"." * 61 + b"[gap]"]


async def read_all(meter, *writes):
    """Feed a reader from a pipe; return the descriptors for which it requested another turn."""
    read_end, write_end = os.pipe2(os.O_NONBLOCK)
    again = []

    class Poller:
        call_again = staticmethod(again.append)

    reader = StderrReader(read_end, Poller(), meter)
    async with trio.open_nursery() as nursery:
        reader.start(nursery)
        for data in writes:
            os.write(write_end, data)
            reader.read(False)
            await trio.sleep(0.01)
        os.close(write_end)
        reader.read(True)
    os.close(read_end)
    return reader, again


async def test_a_pipe_is_read_until_it_is_empty(autojump_clock):
    meter = Meter()
    _, again = await read_all(meter, b"one\n", b"two\n")
    assert (meter.lines, again) == ([b"one", b"two"], [])


async def test_a_flood_gives_other_descriptors_a_turn(autojump_clock):
    meter = Meter(rate=1)
    endless = os.open("/dev/zero", os.O_RDONLY)
    again = []

    class Poller:
        call_again = staticmethod(again.append)

    StderrReader(endless, Poller(), meter).read(False)
    os.close(endless)
    assert again == [endless]


async def test_a_filter_that_holds_bytes_is_ticked_by_one_task_until_it_holds_none(autojump_clock):
    meter = Meter(filter_=Holding(ticks=3))
    await read_all(meter, b"the ", b"secret\n")
    assert meter.lines == [b"the ***"]
    assert trio.current_time() == pytest.approx(0.15)


async def test_the_end_of_the_process_ends_the_ticks(autojump_clock):
    meter = Meter(filter_=Holding(ticks=1000))
    read_end, write_end = os.pipe2(os.O_NONBLOCK)
    reader = StderrReader(read_end, None, meter)
    async with trio.open_nursery() as nursery:
        reader.start(nursery)
        os.write(write_end, b"last")
        os.close(write_end)
        reader.read(True)
        await trio.sleep(0.01)
        reader.end()
    os.close(read_end)
    assert meter.lines == [b"last"]
    assert trio.current_time() < 1
