"""Real processes: started, used, flooded, stopped, killed, and never left over."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
import trio
import trio.testing

from mcpbridged.transports.options import Launch, SpawnFailed
from mcpbridged.transports.poller import Poller
from mcpbridged.transports.process.child import ChildBusy, ChildGone, Exit
from mcpbridged.transports.process.lines import Overlong
from mcpbridged.transports.process.spawner import Spawner
from mcpbridged.validators.limits import Limits

pytestmark = pytest.mark.anyio

CHILDREN = Path(__file__).parent / "children"
ENV = {"PATH": os.environ["PATH"], "MARK": "é x"}
ECHO = "import sys\nfor line in sys.stdin: sys.stdout.write(line); sys.stdout.flush()"


@pytest.fixture
def spawner():
    spawner = Spawner.start()
    yield spawner
    spawner.close()


class Ears:
    """The lines of a child so far."""

    def __init__(self):
        self.lines = []
        self.stderr = []
        self.exits = []
        self.heard = trio.Event()
        self.over = trio.Event()
        self.over_at = 0.0

    def line(self, line):
        self.lines.append(line)
        self.heard.set()

    def exit(self, exit_):
        self.exits.append(exit_)
        self.over_at = trio.current_time()
        self.over.set()

    async def until(self, count):
        while len(self.lines) < count:
            self.heard = trio.Event()
            await self.heard.wait()


async def start(spawner, nursery, *argv, limits=None, **more):
    poller = Poller()
    launch = Launch(argv=argv or (sys.executable, "-c", ECHO), env=ENV, **more)
    child = await spawner.spawn(launch, limits=limits or Limits(), poller=poller)
    ears = Ears()

    async def run():
        try:
            async with trio.open_nursery() as inner:
                inner.start_soon(poller.run)
                child.set_line_handler(ears.line)
                await child.run(ears.stderr.append, ears.exit)
                inner.cancel_scope.cancel()
        finally:
            poller.close()

    nursery.start_soon(run)
    return child, ears


def python(code):
    return sys.executable, "-c", code


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends between open and read
        return False
    return state != "Z"


async def test_lines_are_written_and_read(spawner):
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, ears = await start(spawner, nursery)
            child.send(b'{"a":1}')
            child.send(b"x" * 10_000_000)
            child.send("é".encode())
            await ears.until(3)
            assert [ears.lines[0], len(ears.lines[1]), ears.lines[2]] == [
                b'{"a":1}',
                10_000_000,
                "é".encode(),
            ]
            child.stop()
    assert ears.exits == [Exit(code=0)]
    with pytest.raises(ChildGone):
        child.send(b"x")


async def test_a_child_sees_three_descriptors_and_its_own_environment_only(spawner, tmp_path):
    code = (
        "import os, json; print(json.dumps([sorted(int(fd) for fd in os.listdir('/proc/self/fd') if int(fd) < 100),"
        " dict(os.environ), os.getcwd(), os.getsid(0) == os.getpid()]))"
    )
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            _, ears = await start(spawner, nursery, *python(code), cwd=os.fspath(tmp_path))
            await ears.over.wait()
    descriptors, environment, cwd, leads = json.loads(ears.lines[0])
    assert descriptors == [0, 1, 2, 3]  # the fourth is the listing's own
    environment.pop("LC_CTYPE", None)  # Python's own doing (PEP 538)
    assert environment == ENV
    assert cwd == os.fspath(tmp_path)
    assert leads


async def test_a_program_that_cannot_be_executed_is_reported(spawner, tmp_path):
    poller = Poller()
    with pytest.raises(SpawnFailed, match="cannot start 'no-such-program': No such file or directory"):
        await spawner.spawn(Launch(("no-such-program",), ENV), limits=Limits(), poller=poller)
    with pytest.raises(SpawnFailed, match="No such file or directory"):
        await spawner.spawn(Launch(("true",), ENV, cwd="/no/such/folder"), limits=Limits(), poller=poller)
    with pytest.raises(SpawnFailed, match="Permission denied"):
        await spawner.spawn(Launch((os.fspath(tmp_path),), ENV), limits=Limits(), poller=poller)
    poller.close()


async def test_an_exit_code_is_reported(spawner):
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            _, ears = await start(spawner, nursery, *python("import sys; print('last words'); sys.exit(3)"))
    assert ears.lines == [b"last words"]
    assert ears.exits == [Exit(code=3)]
    assert ears.exits[0].describe() == "exited with code 3"


async def test_a_kill_is_reported_within_200_ms(spawner):
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, ears = await start(spawner, nursery)
            child.send(b"{}")
            await ears.until(1)
            begun = trio.current_time()
            os.kill(child.pid, signal.SIGKILL)
            await ears.over.wait()
            assert ears.over_at - begun < 0.2
    assert ears.exits[0].describe() == "was killed by signal 9 (SIGKILL)"


def test_an_exit_describes_itself():
    assert Exit(signal=200).describe() == "was killed by signal 200"
    assert Exit(code=1, reason="did this").describe() == "did this"


async def test_a_child_that_ignores_sigterm_and_its_daemonised_grandchild_are_killed(spawner):
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            stubborn = os.fspath(CHILDREN / "stubborn.py")
            child, ears = await start(
                spawner, nursery, sys.executable, stubborn, limits=Limits(stop_seconds=0.3)
            )
            await ears.until(1)
            grandchild = int(ears.lines[0])
            assert alive(child.pid)
            assert alive(grandchild)
            child.stop()
            child.stop()
    assert not alive(child.pid)
    assert not alive(grandchild)


async def test_a_grandchild_does_not_outlive_the_exit_of_its_parent(spawner):
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            child, ears = await start(spawner, nursery, sys.executable, os.fspath(CHILDREN / "stubborn.py"))
            await ears.until(1)
            os.kill(child.pid, signal.SIGKILL)
    assert not alive(int(ears.lines[0]))
    assert ears.exits[0].signal == signal.SIGKILL


async def test_cancelling_ends_everything(spawner):
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            child, ears = await start(spawner, nursery, sys.executable, os.fspath(CHILDREN / "stubborn.py"))
            await ears.until(1)
            nursery.cancel_scope.cancel()
        for pid in (child.pid, int(ears.lines[0])):
            while alive(pid):
                await trio.sleep(0.01)


@pytest.mark.parametrize("victim", ["host", "fork server"])
def test_no_process_outlives_a_killed_daemon(victim):
    host = subprocess.Popen(
        [sys.executable, os.fspath(CHILDREN / "host.py")], stdout=subprocess.PIPE, text=True
    )
    child, grandchild = map(int, host.stdout.readline().split())
    try:
        if victim == "fork server":
            [server] = Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text().split()
            os.kill(int(server), signal.SIGKILL)
            time.sleep(0.3)
            assert alive(child)  # it has a keeper of its own
        host.kill()
        end = time.monotonic() + 1
        while time.monotonic() < end and (alive(child) or alive(grandchild)):
            time.sleep(0.01)
        assert not alive(child)
        assert not alive(grandchild)
    finally:
        host.kill()
        host.wait()
        host.stdout.close()


async def test_a_killed_fork_server_is_replaced(spawner):
    spawner._process.kill()
    spawner._process.wait()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, _ = await start(spawner, nursery)
            child.stop()


@pytest.mark.slow
async def test_a_fork_server_that_exits_during_a_start_fails_it_at_once(spawner):
    os.kill(spawner._process.pid, signal.SIGSTOP)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:

            async def fail():
                with pytest.raises(SpawnFailed, match="the fork server exited"):
                    await start(spawner, nursery)

            nursery.start_soon(fail)
            await trio.testing.wait_all_tasks_blocked()
            spawner._process.kill()


@pytest.mark.parametrize("dead", [False, True], ids=["fork server", "dead fork server"])
async def test_without_descriptors_a_start_fails_and_leaves_none_behind(spawner, dead):
    limit, poller = resource.getrlimit(resource.RLIMIT_NOFILE), Poller()
    refused = 0
    async with trio.open_nursery() as nursery:
        with trio.fail_after(20):
            for left in range(14):
                if dead:
                    spawner._process.kill()
                    spawner._process.wait()
                before = len(os.listdir("/proc/self/fd"))
                os.close(first := os.dup(0))
                resource.setrlimit(resource.RLIMIT_NOFILE, (first + left, limit[1]))
                try:
                    child = await spawner.spawn(Launch(python(ECHO), ENV), limits=Limits(), poller=poller)
                except SpawnFailed as fault:
                    refused += "Too many open files" in str(fault)
                else:
                    resource.setrlimit(resource.RLIMIT_NOFILE, limit)
                    with trio.CancelScope() as over:
                        over.cancel()
                        await child.run(print, print)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, limit)
                assert len(os.listdir("/proc/self/fd")) <= before + dead
            child, ears = await start(spawner, nursery)
            child.send(b"here")
            await ears.until(1)
            child.kill()
    poller.close()
    assert refused >= 5


async def test_an_idle_child_keeps_running(spawner):
    """A child forked in a worker thread of Trio would be killed when the thread exits after 10 s (prctl(2))."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            child, ears = await start(spawner, nursery)
            await trio.sleep(12)
            child.send(b"still there")
            await ears.until(1)
            child.stop()


async def test_lines_of_any_content(spawner):
    code = (
        "import sys; w = sys.stdout.buffer.write; w(b'\\xef\\xbb\\xbfone\\r\\n\\n  \\ntw'); sys.stdout.flush();"
        "w(b'o \\xc3'); sys.stdout.flush(); w(b'\\xa9\\xe2\\x80\\xa8\\n' + b'z' * 5000 + b'\\nend')"
    )
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            _, ears = await start(spawner, nursery, *python(code), limits=Limits(line=1000))
    assert ears.lines[:2] == [b"one", "two é\u2028".encode()]
    assert isinstance(ears.lines[2], Overlong)
    assert len(ears.lines) == 3  # an unfinished last line is no message


async def test_a_flood_without_a_newline_costs_no_memory(spawner):
    before = resident()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, ears = await start(
                spawner, nursery, "sh", "-c", "tr '\\0' x < /dev/zero", limits=Limits(line=2**20)
            )
            await ears.until(1)
            await trio.sleep(0.5)
            child.kill()
    assert len(ears.lines) == 1
    assert resident() - before < 24 * 2**20


async def test_a_flood_of_short_lines_does_not_block_other_tasks(spawner):
    """A line takes a millisecond to handle here, and there are thousands in a pipe."""
    heard, turns = [], [0]

    def hear(line):
        heard.append(line)
        end = time.perf_counter() + 0.001
        while time.perf_counter() < end:
            pass

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            child, ears = await start(spawner, nursery, "sh", "-c", "yes | head -c 4000; exec sleep 60")
            ears.line = hear
            while len(heard) < 2000:
                turns[0] += bool(heard)
                await trio.lowlevel.checkpoint()
            child.kill()
    assert turns[0] > 100


async def test_a_flood_is_read_to_its_end(spawner):
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            _, ears = await start(spawner, nursery, "sh", "-c", "seq 30000")
    assert ears.lines == [b"%d" % n for n in range(1, 30001)]


async def test_short_lines_for_a_child_that_does_not_read_are_limited_in_memory(spawner):
    limits = Limits(stdin_bytes=2**18)
    tracemalloc.start()
    try:
        with trio.fail_after(30):
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
            child, ears = await start(spawner, nursery, "sh", "-c", "sleep 0.3; exec cat")
            for text in texts:
                child.send(text)
            await ears.until(len(texts))
            child.stop()
    assert ears.lines == texts


async def test_a_large_line_is_kept_in_its_place_among_small_ones_and_not_copied(spawner):
    large = b"x" * 4_000_000
    texts = [b"1", large, b"2", b"3", large, large, b"4"]
    tracemalloc.start()
    try:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                child, ears = await start(spawner, nursery, "sh", "-c", "sleep 0.3; exec cat")
                before, _ = tracemalloc.get_traced_memory()
                for text in texts:
                    child.send(text)
                now, _ = tracemalloc.get_traced_memory()
                await ears.until(len(texts))
                child.stop()
    finally:
        tracemalloc.stop()
    assert ears.lines == texts
    assert now - before < len(large) // 2


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_flood_of_stderr_is_suppressed_and_never_blocks(spawner):
    code = "import sys\nfor _ in range(100000): sys.stderr.write('x' * 100 + '\\n')\nprint('done')"
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            _, ears = await start(spawner, nursery, *python(code), limits=Limits(stderr_rate=10_000))
    assert ears.lines == [b"done"]
    assert sum(map(len, ears.stderr)) < 100_000
    assert any(b"suppressed" in line for line in ears.stderr)


async def test_a_flood_of_short_lines_on_stderr_is_suppressed_too(spawner):
    code = "import sys\nfor _ in range(10000): sys.stderr.write('x\\n')\nprint('done')"
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            _, ears = await start(spawner, nursery, *python(code), limits=Limits(stderr_rate=6400))
    assert ears.lines == [b"done"]
    assert len(ears.stderr) < 1000
    assert any(b"suppressed" in line for line in ears.stderr)


async def test_a_child_that_stops_reading_is_killed(spawner):
    limits = Limits(stdin_stall_seconds=0.5, stdin_bytes=1_000_000)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, ears = await start(spawner, nursery, limits=limits)
            os.kill(child.pid, signal.SIGSTOP)
            for _ in range(10):
                child.send(b"x" * 100_000)
            with pytest.raises(ChildBusy, match="limit is 1000000"):
                for _ in range(10):
                    child.send(b"x" * 100_000)
            await ears.over.wait()
    assert ears.exits[0].describe() == "has not read its stdin for 0.5 s"


async def test_a_child_that_closes_its_stdout_is_killed(spawner):
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await start(spawner, nursery, *python("import os, time; os.close(1); time.sleep(60)"))
            _, ears = await start(spawner, nursery, *python("import os, time; os.close(1); time.sleep(60)"))
    assert ears.exits[0].describe() == "closed its stdout without exiting"


async def test_a_child_that_closes_its_stdin_is_killed(spawner):
    """No request could reach it, and its callers would wait for ever."""
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, ears = await start(
                spawner,
                nursery,
                *python("import os, time; os.close(0); print('here', flush=True); time.sleep(1000)"),
            )
            await ears.until(1)
            with pytest.raises(ChildGone):
                child.send(b"x")
    [exit_] = ears.exits
    assert exit_.describe() == "closed its stdin without exiting"


async def test_an_exit_after_the_end_of_stdin_is_reported_with_its_code(spawner):
    code = "import os, time; os.close(0); print('here', flush=True); time.sleep(0.5); os._exit(7)"
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, ears = await start(spawner, nursery, *python(code))
            await ears.until(1)
            with pytest.raises(ChildGone):
                child.send(b"x")
    assert ears.exits == [Exit(code=7)]


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
            child, ears = await start(spawner, nursery, *python(code))
            child.send(b"x" * 1_000_000)
            await ears.until(2)
            child.send(b"x" * 1_000_000)
            child.stop()
    assert ears.exits == [Exit(code=0)]


async def test_lines_of_a_stopping_child_are_dropped(spawner):
    code = "import sys\nprint('here', flush=True)\nfor line in sys.stdin: pass\nprint('late')"
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            child, ears = await start(spawner, nursery, *python(code))
            await ears.until(1)
            child.stop()
    assert ears.lines == [b"here"]


async def test_the_last_line_of_stderr_needs_no_line_end(spawner):
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            _, ears = await start(spawner, nursery, *python("import sys; sys.stderr.write('one\\ntwo')"))
            await ears.over.wait()
            assert ears.stderr == [b"one", b"two"]


async def test_many_children_leave_no_process_or_descriptor(spawner):
    async def cycle():
        async with trio.open_nursery() as nursery:
            child, ears = await start(spawner, nursery, "cat")
            child.send(b"{}")
            await ears.until(1)
            child.stop()

    with trio.fail_after(60):
        await cycle()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(cycle)
    assert len(os.listdir("/proc/self/fd")) <= before
    pid = spawner._process.pid
    with trio.fail_after(5):
        while Path(f"/proc/{pid}/task/{pid}/children").read_text():
            await trio.sleep(0.01)


# ---- a child whose client is slow is not read

LINES = "import sys\nfor n in range(20000): sys.stdout.write('%d\\n' % n)\nsys.stdout.flush()\n"


async def test_a_paused_child_is_not_read_and_loses_no_line(spawner):
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            child, ears = await start(spawner, nursery, *python(LINES + "sys.stdin.read()"))
            take = ears.line

            def line(text):
                take(text)
                if len(ears.lines) in (100, 200):
                    child.pause()

            ears.line = line
            await ears.until(100)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert len(ears.lines) == 100
            child.resume()
            await ears.until(200)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert len(ears.lines) == 200
            child.resume()
            await ears.until(20000)
            assert ears.lines == [b"%d" % n for n in range(20000)]
            child.stop()


async def test_the_last_lines_of_a_paused_child_wait_for_its_client(spawner):
    code = "import sys\nfor n in range(1000): print(n)\n"
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            child, ears = await start(spawner, nursery, *python(code))
            take = ears.line
            ears.line = lambda text: take(text) or child.pause()
            await ears.until(1)
            await trio.sleep(0.5)  # longer than the drain after an exit
            assert not ears.exits
            child.set_line_handler(take)
            child.resume()
            await ears.over.wait()
            assert ears.lines == [b"%d" % n for n in range(1000)]


async def test_no_clock_of_a_child_runs_while_it_is_paused(spawner):
    limits = Limits(stdin_stall_seconds=0.4)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            child, ears = await start(spawner, nursery, "sh", "-c", "echo up; sleep 1.2; cat", limits=limits)
            await ears.until(1)
            began = trio.current_time()
            child.pause()
            child.pause()
            child.send(b"x" * 1_000_000)
            await trio.sleep(1)
            assert not ears.exits
            assert child.active_time(trio.current_time()) == pytest.approx(began, abs=0.2)
            await trio.sleep(0.5)
            child.resume()
            await ears.until(2)
            assert len(ears.lines[1]) == 1_000_000
            child.stop()


async def test_a_stop_resumes_a_paused_child(spawner):
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            child, ears = await start(spawner, nursery, "sh", "-c", "echo up; yes")
            await ears.until(1)
            child.pause()
            child.stop()
            child.pause()  # too late
            await ears.over.wait()
    assert ears.exits
