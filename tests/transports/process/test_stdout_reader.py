"""Lines from a pipe that this test writes itself. Turns of the poller are calls of `read`."""

import fcntl
import os

import pytest

from mcpbridged.transports.memory import LARGE, large_messages
from mcpbridged.transports.process import stdout_reader
from mcpbridged.transports.process.stdout_reader import StdoutReader
from mcpbridged.transports.server_io import Overlong, ignore
from mcpbridged.transports.turns import Activity


class Pipe:
    """A pipe with a reader at one end, and the poller of the reader. `again` counts the turns that the reader requested."""

    def __init__(self, limit=16):
        read_end, self.write_end = os.pipe2(os.O_NONBLOCK)
        self.again = 0
        self.lines = []
        self.events = []
        self.reader = StdoutReader(
            read_end,
            limit,
            self,
            on_end=lambda: self.events.append("end"),
            on_fault=lambda: self.events.append("fault"),
        )
        self.reader.on_line = self.lines.append

    def call_again(self, descriptor):
        assert descriptor == self.reader.descriptor
        self.again += 1

    def write(self, data):
        assert os.write(self.write_end, data) == len(data)

    def turn(self, data=b"", *, left=False):
        self.write(data)
        self.reader.read(left)

    def close_write_end(self):
        os.close(self.write_end)
        self.write_end = -1

    def close(self):
        os.close(self.reader.descriptor)
        if self.write_end >= 0:
            os.close(self.write_end)


@pytest.fixture
def pipe():
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.fixture
def clock(monkeypatch):
    """The clock of a turn, moved by the test (seconds)."""
    now = [0.0]
    monkeypatch.setattr(stdout_reader.time, "perf_counter", lambda: now[0])
    return now


def test_lines_are_passed_on_and_the_rest_is_kept(pipe):
    pipe.turn(b"one\ntwo\nthr")
    assert pipe.lines == [b"one", b"two"]
    assert pipe.reader.unfinished == b"thr"
    pipe.turn(b"ee\n")
    assert pipe.lines == [b"one", b"two", b"three"]
    assert pipe.again == 0


def test_an_end_of_the_stream_is_reported_once_reached(pipe):
    pipe.write(b"last\n")
    pipe.close_write_end()
    pipe.reader.read(True)
    assert (pipe.lines, pipe.events) == ([b"last"], ["end"])


def test_an_end_that_was_reported_with_the_output_is_read_without_another_edge(pipe):
    pipe.turn(b"last\n", left=True)
    assert pipe.events == []
    pipe.close_write_end()
    pipe.reader.read(False)
    assert pipe.events == ["end"]


def test_a_paused_reader_reads_nothing_until_it_is_resumed(pipe):
    pipe.reader.paused = True
    pipe.turn(b"one\n")
    assert (pipe.lines, pipe.again, pipe.reader.turns) == ([], 0, 0)
    pipe.reader.resume()
    assert pipe.again == 1
    pipe.turn()
    assert pipe.lines == [b"one"]


def test_a_pause_between_two_lines_keeps_the_second_for_later(pipe):
    def on_line(line):
        pipe.lines.append(line)
        pipe.reader.paused = True

    pipe.reader.on_line = on_line
    pipe.turn(b"one\ntwo\n")
    assert (pipe.lines, pipe.again) == ([b"one"], 0)
    pipe.reader.resume()
    pipe.turn()
    assert pipe.lines == [b"one", b"two"]


def test_a_turn_ends_when_its_time_is_over(pipe, clock):
    def on_line(line):
        pipe.lines.append(line)
        clock[0] += 0.0015

    pipe.reader.on_line = on_line
    pipe.turn(b"1\n2\n3\n4\n")
    assert (pipe.lines, pipe.again) == ([b"1", b"2"], 1)
    pipe.turn()
    assert pipe.lines == [b"1", b"2", b"3", b"4"]


def test_a_draining_reader_has_longer_turns(pipe, clock):
    def on_line(line):
        pipe.lines.append(line)
        clock[0] += 0.0015

    pipe.reader.on_line = on_line
    pipe.reader.draining = True
    pipe.turn(b"1\n2\n3\n4\n")
    assert (pipe.lines, pipe.again) == ([b"1", b"2", b"3", b"4"], 0)


def test_the_rest_of_the_work_on_a_line_precedes_the_next_line(pipe):
    done = []

    def on_line(line):
        done.append(line)
        return None if line != b"1" else lambda: done.append("rest of 1")

    pipe.reader.on_line = on_line
    pipe.turn(b"1\n2\n")
    assert (done, pipe.again) == ([b"1"], 1)
    pipe.turn()
    assert done == [b"1", "rest of 1", b"2"]


def test_the_rest_of_the_work_is_dropped_when_lines_are_ignored(pipe):
    done = []
    pipe.reader.on_line = lambda line: lambda: done.append(line)
    pipe.turn(b"1\n")
    pipe.reader.on_line = ignore
    pipe.turn()
    assert done == []


def test_an_exception_ends_the_reading_and_is_kept(pipe):
    def on_line(line):
        pipe.lines.append(line)
        raise ValueError(line)

    pipe.reader.on_line = on_line
    pipe.turn(b"1\n2\n")
    assert (pipe.lines, pipe.events, pipe.again) == ([b"1"], ["fault"], 0)
    assert repr(pipe.reader.fault) == "ValueError(b'1')"


def test_the_pipe_is_left_to_fill_up_in_the_middle_of_a_large_line(pipe, monkeypatch):
    monkeypatch.setattr(stdout_reader, "LARGE_LINE", 10)
    pipe.turn(b"x" * 10)
    pipe.turn(b"x")
    assert (pipe.reader.turns, pipe.again) == (2, 0)
    pipe.turn(b"y")
    assert (pipe.reader.turns, pipe.again) == (2, 1)
    pipe.turn(b"\n")
    assert (pipe.reader.turns, pipe.lines) == (3, [b"x" * 11 + b"y"])


@pytest.mark.parametrize("several", [False, True])
def test_beside_another_principal_a_large_line_is_passed_on_in_a_turn_of_its_own(monkeypatch, several):
    pipe, line = Pipe(limit=2 * LARGE), b"x" * (LARGE + 1)
    activity = Activity()
    monkeypatch.setattr(stdout_reader, "activity", activity)
    if several:
        activity.note("ann")
        activity.note("bob")
    for at in range(0, len(line), 32 * 1024):
        pipe.turn(line[at : at + 32 * 1024])
    pipe.turn(b"\n{}\n")
    assert pipe.lines == ([] if several else [line, b"{}"])
    again = pipe.again
    pipe.turn()
    assert pipe.lines == [line, b"{}"]
    assert again == several
    pipe.close()


def test_a_line_at_the_limit_is_whole_and_a_longer_one_is_reported_by_its_beginning(pipe):
    pipe.turn(b"x" * 16 + b"\n" + b"y" * 17 + b"\n")
    assert pipe.lines[0] == b"x" * 16
    assert isinstance(pipe.lines[1], Overlong)
    assert pipe.lines[1].size_seen == 17


def test_watchers_get_lines_and_the_beginning_of_overlong_lines(pipe):
    seen = []
    pipe.reader.watchers = [lambda *message: seen.append(message)]
    pipe.turn(b"{}\n" + b"y" * 17 + b"\n")
    assert seen == [("to client", b"{}"), ("to client", b"y" * 17)]


@pytest.mark.parametrize(("size", "large"), [(LARGE - 1, False), (LARGE + 64 * 1024, True)])
def test_the_parts_of_a_large_line_are_counted(size, large):
    before, pipe = large_messages.count, Pipe(limit=2 * LARGE)
    line = b"x" * size
    for at in range(0, size, 32 * 1024):
        pipe.turn(line[at : at + 32 * 1024])
    pipe.turn(b"\n")
    assert pipe.lines == [line]
    assert (large_messages.count > before) == large
    pipe.close()


def test_a_large_line_that_is_read_in_one_turn_is_counted(clock):
    before, pipe = large_messages.count, Pipe(limit=4 * LARGE)
    fcntl.fcntl(pipe.write_end, fcntl.F_SETPIPE_SZ, 2 * LARGE)
    line = b"x" * (LARGE + 64 * 1024)
    pipe.turn(line + b"\n")
    assert pipe.lines == [line]
    assert (large_messages.count > before, pipe.reader.turns) == (True, 1)
    pipe.close()
