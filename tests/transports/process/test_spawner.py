"""Start servers through the fork server, also where it was killed, stopped, or has no descriptors."""

import os
import resource
import signal
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from mcpbridged.transports.options import Directory, Launch, SpawnFailed
from mcpbridged.transports.poller import Poller
from mcpbridged.validators.limits import Limits

from ...support.children import ECHO, ENV, python, start

pytestmark = pytest.mark.anyio


async def test_a_program_that_cannot_be_executed_is_reported(spawner, tmp_path):
    poller = Poller()
    with pytest.raises(SpawnFailed, match="cannot start 'no-such-program': No such file or directory"):
        await spawner.spawn(Launch(("no-such-program",), ENV), limits=Limits(), poller=poller)
    with pytest.raises(SpawnFailed, match="No such file or directory"):
        await spawner.spawn(Launch(("true",), ENV, cwd="/no/such/folder"), limits=Limits(), poller=poller)
    with pytest.raises(SpawnFailed, match="Permission denied"):
        await spawner.spawn(Launch((os.fspath(tmp_path),), ENV), limits=Limits(), poller=poller)
    poller.close()


def directory_at(path):
    found = path.stat()
    return Directory(str(path), found.st_dev, found.st_ino)


async def reason_of(spawner, directory):
    """Return why no program is started in a directory."""
    launch, poller = Launch(("true",), ENV, directory=directory), Poller()
    with pytest.raises(SpawnFailed) as failed:
        await spawner.spawn(launch, limits=Limits(), poller=poller)
    poller.close()
    return str(failed.value)


async def test_a_program_enters_only_the_directory_that_was_compared(spawner, tmp_path):
    tmp_path = tmp_path.resolve()
    good, other, link = tmp_path / "good", tmp_path / "other", tmp_path / "link"
    good.mkdir()
    other.mkdir()
    link.symlink_to(good)
    known = directory_at(good)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            where = "import os; print(os.getcwd(), flush=True); input()"
            child, output = await start(
                spawner, nursery, *python(where), cwd="/no/such/folder", directory=known
            )
            await output.until(1)
            child.stop()
    assert output.lines == [os.fsencode(good)]
    replaced = "cannot start 'true': the directory of the client was replaced; connect again"
    # A link on the way, and another directory under the same path.
    (tmp_path / "way").symlink_to(tmp_path)
    assert await reason_of(spawner, attrs.evolve(known, path=str(tmp_path / "way/good"))) == replaced
    assert await reason_of(spawner, attrs.evolve(known, path=str(other))) == replaced
    no_directory = "the directory of the client: Not a directory"
    assert no_directory in await reason_of(spawner, attrs.evolve(known, path=str(link)))
    good.rename(tmp_path / "moved")
    assert "the directory of the client: No such file" in await reason_of(spawner, known)
    good.symlink_to(tmp_path / "moved")
    assert no_directory in await reason_of(spawner, known)
    good.unlink()
    good.mkdir()
    assert await reason_of(spawner, known) == replaced


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
            child, output = await start(spawner, nursery)
            child.send(b"here")
            await output.until(1)
            child.kill()
    poller.close()
    assert refused >= 5


async def test_an_idle_child_keeps_running(spawner, monkeypatch):
    """A child forked in a worker thread of Trio would be killed when the thread exits after 10 s (prctl(2))."""
    monkeypatch.setattr("trio._core._thread_cache.IDLE_TIMEOUT", 0.1)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery)
            await trio.sleep(0.5)
            child.send(b"still there")
            await output.until(1)
            child.stop()


async def test_many_children_leave_no_process_or_descriptor(spawner):
    async def cycle():
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery, "cat")
            child.send(b"{}")
            await output.until(1)
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
