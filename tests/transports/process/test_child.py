"""One server process: its lines, its exit, and how it is stopped, paused and limited."""

import gc
import os
import signal
import time
import tracemalloc
import weakref
from pathlib import Path

import pytest
import trio
import trio.testing

from mcpbridged.transports.options import Launch
from mcpbridged.transports.poller import Poller
from mcpbridged.transports.process import child as child_module
from mcpbridged.transports.process.child import Child
from mcpbridged.transports.process.stderr_reader import StderrReader
from mcpbridged.transports.process.stdout_reader import StdoutReader
from mcpbridged.transports.server_io import ChildBusy, ChildGone, Exit, Overlong
from mcpbridged.validators.limits import Limits

from ...support.children import ENV, Output, alive, python, start

pytestmark = pytest.mark.anyio


async def test_lines_are_written_and_read(spawner):
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery)
            child.send(b'{"a":1}')
            child.send(b"x" * 10_000_000)
            child.send("é".encode())
            await output.until(3)
            assert [output.lines[0], len(output.lines[1]), output.lines[2]] == [
                b'{"a":1}',
                10_000_000,
                "é".encode(),
            ]
            child.stop()
    assert output.exits == [Exit(code=0)]
    with pytest.raises(ChildGone):
        child.send(b"x")


async def test_an_ended_process_is_freed_without_the_garbage_collector(spawner):
    gc.collect()
    gc.disable()
    try:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                child, output = await start(spawner, nursery)
                child.send(b"{}")
                await output.until(1)
                child.stop()
        found = weakref.ref(child)
        del child
        assert found() is None
    finally:
        gc.enable()


async def test_an_exit_code_is_reported(spawner):
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            _, output = await start(spawner, nursery, *python("import sys; print('last words'); sys.exit(3)"))
    assert output.lines == [b"last words"]
    assert output.exits == [Exit(code=3)]
    assert output.exits[0].describe() == "exited with code 3"


async def test_a_kill_is_reported_within_200_ms(spawner):
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery)
            child.send(b"{}")
            await output.until(1)
            begun = trio.current_time()
            os.kill(child.pid, signal.SIGKILL)
            await output.over.wait()
            assert output.over_at - begun < 0.2
    assert output.exits[0].describe() == "was killed by signal 9 (SIGKILL)"


async def test_lines_of_any_content(spawner):
    code = (
        "import sys; w = sys.stdout.buffer.write; w(b'\\xef\\xbb\\xbfone\\r\\n\\n  \\ntw'); sys.stdout.flush();"
        "w(b'o \\xc3'); sys.stdout.flush(); w(b'\\xa9\\xe2\\x80\\xa8\\n' + b'z' * 5000 + b'\\nend')"
    )
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            _, output = await start(spawner, nursery, *python(code), limits=Limits(line=1000))
    assert output.lines[:2] == [b"one", "two é\u2028".encode()]
    assert isinstance(output.lines[2], Overlong)
    assert len(output.lines) == 3  # an unfinished last line is no message


async def test_a_flood_without_a_newline_costs_no_memory(spawner):
    before = resident()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, output = await start(
                spawner, nursery, "sh", "-c", "tr '\\0' x < /dev/zero", limits=Limits(line=2**20)
            )
            await output.until(1)
            await trio.sleep(0.5)
            child.kill()
    assert len(output.lines) == 1
    assert resident() - before < 24 * 2**20


async def test_a_flood_of_short_lines_does_not_block_other_tasks(spawner):
    """A line takes a millisecond to handle here, and there are thousands in a pipe."""
    received, turns = [], [0]

    def on_line(line):
        received.append(line)
        end = time.perf_counter() + 0.001
        while time.perf_counter() < end:
            pass

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery, "sh", "-c", "yes | head -c 800; exec sleep 60")
            output.line = on_line
            while len(received) < 400:
                turns[0] += bool(received)
                await trio.lowlevel.checkpoint()
            child.kill()
    assert turns[0] > 100


async def test_a_flood_is_read_to_its_end(spawner):
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            _, output = await start(spawner, nursery, "sh", "-c", "seq 30000")
    assert output.lines == [b"%d" % n for n in range(1, 30001)]


async def test_short_lines_for_a_child_that_does_not_read_are_limited_in_memory(spawner):
    limits = Limits(stdin_bytes=2**18)
    tracemalloc.start()
    try:
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                child, _ = await start(spawner, nursery, limits=limits)
                os.kill(child.pid, signal.SIGSTOP)
                before, _ = tracemalloc.get_traced_memory()
                with pytest.raises(ChildBusy):
                    while True:
                        child.send(b"{}")
                now, _ = tracemalloc.get_traced_memory()
                child.kill()
    finally:
        tracemalloc.stop()
    assert now - before < 2 * limits.stdin_bytes


async def test_queued_lines_arrive_whole_and_in_order(spawner):
    texts = [b"%d" % n * (1 + n % 50) for n in range(20_000)]
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery, "sh", "-c", "sleep 0.3; exec cat")
            for text in texts:
                child.send(text)
            await output.until(len(texts))
            child.stop()
    assert output.lines == texts


async def test_a_large_line_is_kept_in_its_place_among_small_ones_and_not_copied(spawner):
    large = b"x" * 4_000_000
    texts = [b"1", large, b"2", b"3", large, large, b"4"]
    tracemalloc.start()
    try:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                child, output = await start(spawner, nursery, "sh", "-c", "sleep 0.3; exec cat")
                before, _ = tracemalloc.get_traced_memory()
                for text in texts:
                    child.send(text)
                now, _ = tracemalloc.get_traced_memory()
                await output.until(len(texts))
                child.stop()
    finally:
        tracemalloc.stop()
    assert output.lines == texts
    assert now - before < len(large) // 2


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_flood_of_stderr_is_suppressed_and_never_blocks(spawner):
    code = "import sys\nfor _ in range(100000): sys.stderr.write('x' * 100 + '\\n')\nprint('done')"
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            _, output = await start(spawner, nursery, *python(code), limits=Limits(stderr_rate=10_000))
    assert output.lines == [b"done"]
    assert sum(map(len, output.stderr)) < 100_000
    assert any(b"suppressed" in line for line in output.stderr)


async def test_a_flood_of_short_lines_on_stderr_is_suppressed_too(spawner):
    code = "import sys\nfor _ in range(10000): sys.stderr.write('x\\n')\nprint('done')"
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            _, output = await start(spawner, nursery, *python(code), limits=Limits(stderr_rate=6400))
    assert output.lines == [b"done"]
    assert len(output.stderr) < 1000
    assert any(b"suppressed" in line for line in output.stderr)


async def test_a_child_that_stops_reading_is_killed(spawner):
    limits = Limits(stdin_stall_seconds=0.5, stdin_bytes=1_000_000)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery, limits=limits)
            os.kill(child.pid, signal.SIGSTOP)
            for _ in range(10):
                child.send(b"x" * 100_000)
            with pytest.raises(ChildBusy, match="limit is 1000000"):
                for _ in range(10):
                    child.send(b"x" * 100_000)
            await output.over.wait()
    assert output.exits[0].describe() == "has not read its stdin for 0.5 s"


async def test_a_child_that_closes_its_stdout_is_killed(spawner):
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await start(spawner, nursery, *python("import os, time; os.close(1); time.sleep(60)"))
            _, output = await start(spawner, nursery, *python("import os, time; os.close(1); time.sleep(60)"))
    assert output.exits[0].describe() == "closed its stdout without exiting"


async def test_a_child_that_closes_its_stdin_is_killed(spawner):
    """No request could reach it, and its callers would wait for ever."""
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, output = await start(
                spawner,
                nursery,
                *python("import os, time; os.close(0); print('here', flush=True); time.sleep(1000)"),
            )
            await output.until(1)
            with pytest.raises(ChildGone):
                child.send(b"x")
    [exit_] = output.exits
    assert exit_.describe() == "closed its stdin without exiting"


async def test_an_exit_after_the_end_of_stdin_is_reported_with_its_code(spawner):
    code = "import os, time; os.close(0); print('here', flush=True); time.sleep(0.5); os._exit(7)"
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery, *python(code))
            await output.until(1)
            with pytest.raises(ChildGone):
                child.send(b"x")
    assert output.exits == [Exit(code=7)]


async def test_queued_lines_are_written_before_a_child_is_stopped_also_the_second_time(spawner):
    # Reads in bursts, so that twice something has to wait, and counts what it was given.
    code = (
        "import os, time\nseen = 0\n"
        "def burst(size):\n    global seen\n    while seen < size: seen += len(os.read(0, 1 << 20))\n"
        "print('here', flush=True); time.sleep(0.3); burst(1000001); print('first', flush=True); time.sleep(0.3)\n"
        "burst(2000002); print(seen, flush=True)"
    )
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery, *python(code))
            child.send(b"x" * 1_000_000)
            await output.until(2)
            child.send(b"x" * 1_000_000)
            child.stop()
    assert output.exits == [Exit(code=0)]


async def test_lines_of_a_stopping_child_are_dropped(spawner):
    code = "import sys\nprint('here', flush=True)\nfor line in sys.stdin: pass\nprint('late')"
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery, *python(code))
            await output.until(1)
            child.stop()
    assert output.lines == [b"here"]


async def test_the_last_line_of_stderr_needs_no_line_end(spawner):
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            _, output = await start(spawner, nursery, *python("import sys; sys.stderr.write('one\\ntwo')"))
            await output.over.wait()
            assert output.stderr == [b"one", b"two"]


# ---- a child whose client is slow is not read

LINES = "import sys\nfor n in range(20000): sys.stdout.write('%d\\n' % n)\nsys.stdout.flush()\n"


async def test_a_paused_child_is_not_read_and_loses_no_line(spawner):
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery, *python(LINES + "sys.stdin.read()"))
            take = output.line

            def line(text):
                take(text)
                if len(output.lines) in (100, 200):
                    child.pause()

            output.line = line
            await output.until(100)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert len(output.lines) == 100
            child.resume()
            await output.until(200)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert len(output.lines) == 200
            child.resume()
            await output.until(20000)
            assert output.lines == [b"%d" % n for n in range(20000)]
            child.stop()


async def test_the_last_lines_of_a_paused_child_wait_for_its_client(spawner):
    code = "import sys\nfor n in range(1000): print(n)\n"
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery, *python(code))
            take = output.line
            output.line = lambda text: take(text) or child.pause()
            await output.until(1)
            await trio.sleep(0.5)  # longer than the drain after an exit
            assert not output.exits
            child.set_line_handler(take)
            child.resume()
            await output.over.wait()
            assert output.lines == [b"%d" % n for n in range(1000)]


async def test_no_clock_of_a_child_runs_while_it_is_paused(spawner):
    limits = Limits(stdin_stall_seconds=0.4)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            child, output = await start(
                spawner, nursery, "sh", "-c", "echo up; sleep 1.2; cat", limits=limits
            )
            await output.until(1)
            began = trio.current_time()
            child.pause()
            child.pause()
            child.send(b"x" * 1_000_000)
            await trio.sleep(1)
            assert not output.exits
            assert child.active_time(trio.current_time()) == pytest.approx(began, abs=0.2)
            await trio.sleep(0.5)
            child.resume()
            await output.until(2)
            assert len(output.lines[1]) == 1_000_000
            child.stop()


async def test_a_stop_resumes_a_paused_child(spawner):
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery, "sh", "-c", "echo up; yes")
            await output.until(1)
            child.pause()
            child.stop()
            child.pause()  # too late
            await output.over.wait()
    assert output.exits


@pytest.mark.parametrize(
    ("owner", "name", "line"),
    [
        (StdoutReader, "read", b"out"),
        (StderrReader, "read", b"err"),
        (Child, "_read_keeper", b"exit"),
    ],
)
async def test_an_exception_in_a_callback_ends_its_process_only(spawner, monkeypatch, owner, name, line):
    def fail(*_):
        raise RuntimeError("a bug of ours")

    code = (
        "import sys\nfor line in sys.stdin.buffer:\n if b'exit' in line: sys.exit()\n"
        " stream = sys.stderr if b'err' in line else sys.stdout\n stream.buffer.write(line); stream.flush()"
    )
    poller, faults, limits = Poller(), [], Limits()
    launch = Launch(argv=python(code), env=ENV)
    # Without reports of the keeper its end is not seen.
    monkeypatch.setattr(child_module, "_KILL_SECONDS", 0.5)

    async def run(child, output):
        child.set_line_handler(output.line)
        try:
            await child.run(output.stderr.append, output.exit)
        except* RuntimeError as group:
            faults.extend(group.exceptions)

    with trio.fail_after(20):
        good = await spawner.spawn(launch, limits=limits, poller=poller)
        child = await spawner.spawn(launch, limits=limits, poller=poller)
        outputs = [Output(), Output()]
        async with trio.open_nursery() as nursery:
            await nursery.start(poller.run)
            nursery.start_soon(run, good, outputs[0])
            await trio.testing.wait_all_tasks_blocked()
            with monkeypatch.context() as patched:
                patched.setattr(owner, name, fail)
                nursery.start_soon(run, child, outputs[1])
                await trio.testing.wait_all_tasks_blocked()
            child.send(line)
            await outputs[1].over.wait()
            while not faults:
                await trio.sleep(0.01)
            good.send(b"out")
            await outputs[0].until(1)
            good.stop()
            await outputs[0].over.wait()
            nursery.cancel_scope.cancel()
    poller.close()
    assert [str(fault) for fault in faults] == ["a bug of ours"]
    assert not alive(child.pid)
    assert outputs[0].exits == [Exit(code=0)]


async def test_no_line_is_sent_while_a_cancellation_ends_the_tasks_of_a_child(spawner, monkeypatch):
    """The last task may end before the child does, and then no other can be started for the line."""
    ending, may_end = trio.Event(), trio.Event()

    async def hold():
        try:
            await trio.sleep_forever()
        finally:
            ending.set()
            with trio.CancelScope(shield=True):
                await may_end.wait()

    monkeypatch.setattr(StderrReader, "start", lambda _reader, nursery: nursery.start_soon(hold))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery, trio.open_nursery() as outer:
            child, _ = await start(spawner, outer)

            async def check():
                await ending.wait()
                await trio.testing.wait_all_tasks_blocked()
                try:
                    with pytest.raises(ChildGone):
                        child.send(b"x")
                finally:
                    may_end.set()

            nursery.start_soon(check)
            await trio.testing.wait_all_tasks_blocked()
            outer.cancel_scope.cancel()


async def test_the_output_of_a_child_is_read_in_the_share_of_its_principal(spawner):
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery)
            # Before `run` registers the pipes.
            child.serve("first")
            child.send(b"{}")
            await output.until(1)
            shares, pipes = child._poller._share_of, (child._stdout.descriptor, child._stderr.descriptor)
            assert [shares[pipe].name for pipe in pipes] == ["first", "first"]
            child.serve("second")
            assert {shares[pipe] for pipe in pipes} == {child._poller._shares.named("second")}
            # Several principals have this process.
            child.serve("")
            assert [shares[pipe].name for pipe in pipes] == ["", ""]
            assert child._poller._shares.named("") not in {shares[pipe] for pipe in pipes}
            child.stop()
