"""Disks that take seconds for each operation: no call waits for one, and what is written is written later."""

import json
import signal
from contextlib import contextmanager

import pytest
import trio

from ..support.daemon_process import Daemon, write_config
from ..support.history import report
from ..support.recorded_traffic import Traffic, counting
from ..support.slow_disk import SlowDisk
from ..support.stateless_requests import tool

pytestmark = pytest.mark.anyio
SECONDS = 2
# A call takes as long as without the disk, and one that waits for an operation longer than this (seconds).
LIMIT = 1.5


@contextmanager
def daemon(tmp_path, slow, **tables):
    """Run a daemon for which the files below `slow` take seconds, from `disk.slow_down` on."""
    journal = tmp_path / "journal"
    servers = {"one": counting(journal), "all": counting(journal, share="server"), "new": counting(journal)}
    disk = SlowDisk(tmp_path / "shim", slow, SECONDS)
    write_config(tmp_path / "config.toml", servers, **tables)
    with Daemon(tmp_path, environment=disk.environment) as running:
        try:
            yield running, Traffic(running, journal, LIMIT, limits={"new": 5}), disk
        finally:
            disk.recover()


async def check(disk, running, *kinds):
    """Require delayed calls of these kinds, none of which has held the event loop."""
    with trio.fail_after(30):
        while not {call for _, call, _ in disk.calls(running.process.pid)} >= {*kinds}:
            await trio.sleep(0.1)
    assert [one for one in disk.calls(running.process.pid) if one[0] == "main"] == []


def objects(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("kind", ["log", "audit"])
async def test_calls_go_on_while_the_disk_of_a_file_of_lines_is_slow(tmp_path, kind):
    (tmp_path / "disk").mkdir(mode=0o700)
    file = tmp_path / "disk/lines.jsonl"
    table = {"file": str(file), "calls": True, **({"format": "json"} if kind == "log" else {})}
    with daemon(tmp_path, tmp_path / "disk", **{kind: table}) as (running, traffic, disk):
        async with traffic.flowing("one", "all"):
            disk.slow_down()
            await trio.sleep(2 * SECONDS)
            # The file is opened again, and all others with it.
            file.rename(tmp_path / "disk/lines.1")
            running.process.send_signal(signal.SIGHUP)
            await trio.sleep(3 * SECONDS)
            await check(disk, running, "open", "write")
            disk.recover()
        found = traffic.check()
        report(f"slow disk of {kind}.file", found)
    written = objects(tmp_path / "disk/lines.1") + objects(file)
    # No line is lost.
    assert written[-1]["event"] == "stopped"
    calls = [one for one in written if one["event"] == "call" and one["method"] == "tools/call"]
    assert len(calls) == found.outcomes["calls"]
    assert not any(one["event"] in ("audit_events_lost", "log_lines_dropped") for one in written)


async def test_calls_go_on_while_the_disk_of_the_state_directory_is_slow(tmp_path):
    (tmp_path / "run").mkdir(mode=0o700)
    state = tmp_path / "run/state"
    with daemon(tmp_path, state) as (running, traffic, disk):
        async with traffic.flowing("one", "all"):
            disk.slow_down()
            # A server whose era and definitions are new.
            async with trio.open_nursery() as nursery:
                nursery.start_soon(traffic.post, "new")
                nursery.start_soon(lambda: traffic.socket("new", until=1))
            await trio.sleep(2 * SECONDS)
            await check(disk, running, "open", "rename")
            disk.recover()
        report("slow disk of the state directory", traffic.check())
        assert running.do("call", "new", "quick", "number=x").returncode == 0


async def test_calls_go_on_while_the_disk_of_the_runtime_directory_is_slow(tmp_path):
    (tmp_path / "run").mkdir(mode=0o700)
    with daemon(tmp_path, tmp_path / "run/mcp-bridge") as (running, traffic, disk):
        async with traffic.flowing("one", "all"):
            disk.slow_down()
            running.process.send_signal(signal.SIGHUP)
            await trio.to_thread.run_sync(running.status)
            await traffic.post("new")
            await trio.sleep(SECONDS)
            await check(disk, running)
            disk.recover()
        report("slow disk of the runtime directory", traffic.check())


async def test_calls_go_on_while_the_disk_of_the_configuration_is_slow(tmp_path):
    secret = tmp_path / "config.d/secret"
    secret.parent.mkdir(mode=0o700)
    secret.write_text("a-secret-of-the-server")
    secret.chmod(0o600)
    journal = tmp_path / "journal"
    with daemon(tmp_path, tmp_path / "config") as (running, traffic, disk):
        async with traffic.flowing("one", "all"):
            disk.slow_down()
            servers = {name: counting(journal) for name in ("one", "new")}
            servers["all"] = counting(journal, share="server")
            servers["more"] = counting(journal, secrets={"KEY": str(secret)})
            write_config(running.config, servers)
            changes = await trio.to_thread.run_sync(running.reload)
            assert changes["added"] == ["more"]
            await check(disk, running, "open")
            disk.recover()
        report("slow disk of the configuration", traffic.check())
        assert running.do("call", "more", tool("quick")["name"], "number=x").returncode == 0
