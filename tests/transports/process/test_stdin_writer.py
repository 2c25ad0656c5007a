"""Lines to a pipe that this test reads itself."""

import fcntl
import os

import pytest
import trio
import trio.testing

from mcpbridged.transports.memory import LARGE, large_messages
from mcpbridged.transports.poller import Poller
from mcpbridged.transports.process.lines import LARGE_LINE
from mcpbridged.transports.process.stdin_writer import StdinWriter
from mcpbridged.transports.server_io import ChildBusy, ChildGone
from mcpbridged.transports.ticker import PausableClock
from mcpbridged.validators.limits import Limits

pytestmark = pytest.mark.anyio
_F_SETPIPE_SZ = 1031
PIPE = 4096
# The most bytes that are gathered in a round.
GATHERED = 16 * 1024


class Pipe:
    """A pipe of one page with a writer at one end. `events` records the calls of the writer."""

    def __init__(self, **limits):
        self.read_end, write_end = os.pipe2(os.O_NONBLOCK)
        fcntl.fcntl(write_end, _F_SETPIPE_SZ, PIPE)
        self.events = []
        self.clock = PausableClock()
        self.poller = Poller()
        self.writer = StdinWriter(
            write_end,
            Limits(**limits),
            self.clock,
            self.poller,
            on_closed=lambda: self.events.append("closed"),
            on_stalled=lambda: self.events.append("stalled"),
            on_fault=self.events.append,
        )

    def read(self):
        data = b""
        while True:
            try:
                piece = os.read(self.read_end, 1 << 20)
            except BlockingIOError:
                return data
            if not piece:
                return data
            data += piece

    async def read_until(self, size):
        data = b""
        while len(data) < size:
            await trio.lowlevel.wait_readable(self.read_end)
            data += self.read()
        return data

    def close_read_end(self):
        os.close(self.read_end)
        self.read_end = -1

    def close(self):
        for descriptor in (self.read_end, self.writer.descriptor):
            if descriptor >= 0:
                os.close(descriptor)
        self.poller.close()


@pytest.fixture
def pipe(request):
    pipe = Pipe(**getattr(request, "param", {}))
    yield pipe
    pipe.close()


@pytest.mark.parametrize("size", [1, PIPE - 2, PIPE - 1])
def test_a_line_that_fits_is_written_at_once(pipe, size):
    pipe.writer.send(b"x" * size)
    assert pipe.read() == b"x" * size + b"\n"
    assert not pipe.writer.has_unread
    assert pipe.writer.written == size + 1


def test_what_was_written_counts_as_unread_until_the_process_reads_it(pipe):
    pipe.writer.send(b"{}")
    assert pipe.writer.has_unread
    pipe.read()
    assert not pipe.writer.has_unread


async def test_lines_sent_before_the_task_runs_arrive_in_order(pipe):
    lines = [b"a" * PIPE, b"b", b"c" * (LARGE_LINE + 1), b"d"]
    for line in lines:
        pipe.writer.send(line)
    async with trio.open_nursery() as nursery:
        pipe.writer.start(nursery)
        assert await pipe.read_until(sum(map(len, lines)) + 4) == b"\n".join([*lines, b""])
    assert not pipe.writer.has_unread
    assert pipe.writer.written == sum(map(len, lines)) + 4


# The last one fills the pipe, which has no room for the line end.
@pytest.mark.parametrize("size", [64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 256 * 1024 - 1, 256 * 1024])
async def test_a_large_line_arrives_with_one_line_end(pipe, size):
    fcntl.fcntl(pipe.writer.descriptor, _F_SETPIPE_SZ, 256 * 1024)
    pipe.writer.send(b"x" * size)
    async with trio.open_nursery() as nursery:
        pipe.writer.start(nursery)
        pipe.writer.send(b"y")
        assert await pipe.read_until(size + 3) == b"x" * size + b"\ny\n"
    assert not pipe.writer.has_unread
    assert pipe.writer.written == size + 3


async def test_a_second_burst_after_an_empty_queue_is_written_too(pipe):
    async with trio.open_nursery() as nursery:
        pipe.writer.start(nursery)
        for letter in (b"a", b"b"):
            pipe.writer.send(letter * 3 * PIPE)
            assert await pipe.read_until(3 * PIPE + 1) == letter * 3 * PIPE + b"\n"
            await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("pipe", [{"stdin_bytes": 100}], indirect=True)
def test_the_limit_counts_queued_bytes_with_line_ends(pipe):
    pipe.writer.send(b"x" * (PIPE - 1))
    pipe.writer.send(b"y" * 49)
    pipe.writer.send(b"z" * 49)
    with pytest.raises(ChildBusy, match="100 bytes wait for it and the limit is 100"):
        pipe.writer.send(b"")


@pytest.mark.parametrize("pipe", [{"stdin_bytes": 100}], indirect=True)
async def test_a_line_whose_beginning_is_in_the_pipe_is_completed_over_the_limit(pipe):
    pipe.writer.send(b"x" * 3 * PIPE)
    async with trio.open_nursery() as nursery:
        pipe.writer.start(nursery)
        assert await pipe.read_until(3 * PIPE + 1) == b"x" * 3 * PIPE + b"\n"


def test_a_closed_pipe_is_reported_once_to_the_sender_and_once_to_the_owner(pipe):
    pipe.close_read_end()
    with pytest.raises(ChildGone):
        pipe.writer.send(b"x")
    assert pipe.events == ["closed"]
    pipe.writer.closed = True
    with pytest.raises(ChildGone):
        pipe.writer.send(b"x")
    assert pipe.events == ["closed"]


async def test_a_pipe_that_closes_while_lines_are_queued_is_reported(pipe):
    pipe.writer.send(b"x" * 3 * PIPE)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            pipe.writer.start(nursery)
            await trio.testing.wait_all_tasks_blocked()
            pipe.close_read_end()
    assert pipe.events == ["closed"]


async def test_a_process_that_does_not_read_is_reported_after_the_limit(pipe, autojump_clock):
    pipe.writer.send(b"x" * 3 * PIPE)
    async with trio.open_nursery() as nursery:
        pipe.writer.start(nursery)
        await trio.sleep(9.9)
        assert pipe.events == []
    assert (pipe.events, trio.current_time()) == (["stalled"], 10)


async def test_the_limit_begins_anew_with_each_read(pipe, autojump_clock):
    pipe.writer.send(b"x" * 3 * PIPE)
    async with trio.open_nursery() as nursery:
        pipe.writer.start(nursery)
        await trio.sleep(9)
        pipe.read()
        await trio.sleep(9)
        assert pipe.events == []
    assert (pipe.events, trio.current_time()) == (["stalled"], 19)


async def test_a_pause_does_not_count_as_time_without_a_read(pipe, autojump_clock):
    pipe.writer.send(b"x" * 3 * PIPE)
    async with trio.open_nursery() as nursery:
        pipe.writer.start(nursery)
        await trio.sleep(5)
        pipe.clock.pause(trio.current_time())
        await trio.sleep(100)
        pipe.clock.resume(trio.current_time())
        await trio.sleep(4)
        assert pipe.events == []
    assert pipe.events == ["stalled"]
    assert trio.current_time() == pytest.approx(110)


async def test_closing_waits_a_second_for_queued_lines_and_drops_the_rest(pipe, autojump_clock):
    pipe.writer.send(b"x" * 3 * PIPE)
    async with trio.open_nursery() as nursery:
        pipe.writer.start(nursery)
        await trio.testing.wait_all_tasks_blocked()
        await pipe.writer.close()
    assert trio.current_time() == 1
    assert pipe.events == []
    assert len(pipe.read()) == PIPE
    assert pipe.writer.descriptor == -1
    assert not pipe.writer.has_unread


async def test_closing_ends_as_soon_as_queued_lines_are_written(pipe, autojump_clock):
    pipe.writer.send(b"x" * 3 * PIPE)
    async with trio.open_nursery() as nursery:
        pipe.writer.start(nursery)
        nursery.start_soon(pipe.writer.close)
        assert len(await pipe.read_until(3 * PIPE + 1)) == 3 * PIPE + 1
    assert trio.current_time() == 0
    assert not pipe.writer.has_unread


def test_watchers_get_each_line_without_its_end(pipe):
    seen = []
    pipe.writer.watchers = [lambda *message: seen.append(message)]
    pipe.writer.send(b"{}")
    assert seen == [("to server", b"{}")]


@pytest.mark.parametrize(("size", "large"), [(LARGE, False), (LARGE + 2 * PIPE, True)])
async def test_the_parts_of_a_large_line_are_counted(pipe, size, large):
    before = large_messages.count
    pipe.writer.send(b"x" * size)
    async with trio.open_nursery() as nursery:
        pipe.writer.start(nursery)
        assert len(await pipe.read_until(size + 1)) == size + 1
    assert (large_messages.count > before) == large


async def test_a_large_line_that_is_not_read_is_counted_at_the_end_of_the_wait(pipe, autojump_clock):
    pipe.writer.send(b"x" * 2 * LARGE)
    async with trio.open_nursery() as nursery:
        pipe.writer.start(nursery)
        await trio.sleep(9)
        before = large_messages.count
    assert (pipe.events, large_messages.count) == (["stalled"], before + 1)


# ---- lines of one round of the poller


async def in_a_round(pipe, *functions):
    """Call each function in a round of the poller of its own."""
    faults = []
    for function in functions:
        called, descriptor = trio.Event(), os.eventfd(1, os.EFD_NONBLOCK)

        def ready(_left, function=function, called=called):
            if not called.is_set():
                called.set()
                function()

        pipe.poller.register(descriptor, ready, faults.append)
        async with trio.open_nursery() as nursery:
            await nursery.start(pipe.poller.run)
            with trio.fail_after(5):
                await called.wait()
            nursery.cancel_scope.cancel()
        pipe.poller.unregister(descriptor)
        os.close(descriptor)
        assert not faults


async def test_the_first_line_of_a_round_is_written_at_once_and_the_others_together_at_its_end(pipe):
    seen = []
    pipe.writer.watchers = [lambda _direction, line: seen.append(line)]

    def send():
        for line in (b"1", b"2", b"3"):
            pipe.writer.send(line)
            assert pipe.read() == (b"1\n" if line == b"1" else b"")
        assert pipe.writer.has_unread

    for _ in range(2):
        await in_a_round(pipe, send)
        assert pipe.read() == b"2\n3\n"
    assert seen == [b"1", b"2", b"3"] * 2
    assert not pipe.writer.has_unread


async def test_each_round_gathers_as_many_bytes(pipe):
    def send():
        pipe.writer.send(b"1")
        pipe.writer.send(b"x" * 2000)
        assert pipe.read() == b"1\n"

    for _ in range(GATHERED // 2000 + 1):
        await in_a_round(pipe, send)
        assert pipe.read() == b"x" * 2000 + b"\n"


async def test_a_line_between_two_rounds_is_written_at_once(pipe):
    await in_a_round(pipe, lambda: pipe.writer.send(b"1"))
    pipe.writer.send(b"2")
    pipe.writer.send(b"3")
    assert pipe.read() == b"1\n2\n3\n"


@pytest.mark.parametrize("size", [GATHERED - 2, GATHERED - 1, GATHERED, LARGE_LINE + 1])
async def test_lines_of_any_size_arrive_in_order_in_a_round(pipe, size):
    large = b"x" * size

    def send():
        for line in (b"1", b"2", large, b"3", b"4"):
            pipe.writer.send(line)

    expected = b"1\n2\n" + large + b"\n3\n4\n"
    async with trio.open_nursery() as nursery:
        pipe.writer.start(nursery)
        await in_a_round(pipe, send)
        with trio.fail_after(10):
            assert await pipe.read_until(len(expected)) == expected
        assert not pipe.writer.has_unread


@pytest.mark.parametrize("pipe", [{"stdin_bytes": 10}], indirect=True)
@pytest.mark.parametrize("lines", [(b"123456789",), (b"1234", b"5678"), (b"1", b"2", b"3", b"4", b"5")])
async def test_the_limit_counts_the_lines_of_a_round(pipe, lines):
    def send():
        pipe.writer.send(b"x" * (PIPE - 1))
        for line in lines:
            pipe.writer.send(line)
        for _ in range(2):
            with pytest.raises(ChildBusy):
                pipe.writer.send(b"y")

    await in_a_round(pipe, send)
    async with trio.open_nursery() as nursery:
        pipe.writer.start(nursery)
        expected = b"x" * (PIPE - 1) + b"".join(b"\n" + line for line in lines) + b"\n"
        assert await pipe.read_until(len(expected)) == expected


async def test_lines_of_a_round_behind_queued_lines_are_queued(pipe):
    def send():
        pipe.writer.send(b"2")
        pipe.writer.send(b"3")

    pipe.writer.send(b"x" * PIPE)
    await in_a_round(pipe, send)
    async with trio.open_nursery() as nursery:
        pipe.writer.start(nursery)
        assert await pipe.read_until(PIPE + 5) == b"x" * PIPE + b"\n2\n3\n"


async def test_a_pipe_that_is_closed_at_the_end_of_a_round_is_reported(pipe):
    def send():
        pipe.writer.send(b"1")
        pipe.writer.send(b"2")
        pipe.close_read_end()

    await in_a_round(pipe, send)
    assert pipe.events == ["closed"]
    with pytest.raises(ChildGone):
        pipe.writer.send(b"3")


async def test_lines_that_cannot_be_queued_at_the_end_of_a_round_are_a_fault_of_this_process_only(pipe):
    """The nursery of a process that is cancelled is closed before the process is."""

    def send():
        pipe.writer.send(b"x")
        pipe.writer.send(b"y" * (PIPE + 1))

    async with trio.open_nursery() as nursery:
        pipe.writer.start(nursery)
    await in_a_round(pipe, send)
    assert [type(event) for event in pipe.events] == [RuntimeError]


async def test_lines_before_a_stop_in_the_same_round_are_written(pipe):
    def send():
        for line in (b"1", b"2"):
            pipe.writer.send(line)
        pipe.writer.closed = True
        with pytest.raises(ChildGone):
            pipe.writer.send(b"3")

    await in_a_round(pipe, send)
    await pipe.writer.close()
    assert pipe.read() == b"1\n2\n"


async def test_a_process_that_does_not_read_the_lines_of_a_round_is_reported(pipe, autojump_clock):
    def send():
        pipe.writer.send(b"x" * (PIPE - 1))
        pipe.writer.send(b"2")

    async with trio.open_nursery() as nursery:
        pipe.writer.start(nursery)
        await in_a_round(pipe, send)
        await trio.sleep(Limits().stdin_stall_seconds + 1)
    assert pipe.events == ["stalled"]
