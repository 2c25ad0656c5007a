"""Disks that fill up under a running daemon: no call is lost, no file is cut, and all is as before when there is space again."""

import json
import os
import signal
import subprocess
from contextlib import contextmanager

import pytest
import trio

from mcpbridged.bridge.oauth.store import FileBackend, StoreFault

from ..support.bridge_process import PROGRAM
from ..support.daemon_clients import stateless_request
from ..support.daemon_process import Daemon, write_config
from ..support.history import report
from ..support.recorded_traffic import Traffic, counting
from ..support.small_disk import SmallDisk, small_disk, within

pytestmark = pytest.mark.anyio
LIMIT = 10


@pytest.fixture
def disk():
    with small_disk() as mounted:
        yield mounted


@contextmanager
def daemon(tmp_path, within=(), **tables):
    journal = tmp_path / "journal"
    servers = {"one": counting(journal), "all": counting(journal, share="server"), "new": counting(journal)}
    write_config(tmp_path / "config.toml", servers, **tables)
    with Daemon(tmp_path, within=within) as running:
        yield running, Traffic(running, journal, LIMIT)


async def do(running, *words):
    return await trio.to_thread.run_sync(lambda: running.do(*words, check=False))


def contents(folder):
    """Return the content of each file below a folder. A socket has none."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def lines_with(running, text):
    with trio.fail_after(10):
        while not (found := [line for line in running.lines if text in line]):
            await trio.sleep(0.05)
    return found


def objects(path):
    """Return the objects of a file of JSON lines. The line at which the disk was full is cut, and counted as lost."""
    *lines, _ = path.read_text().split("\n")
    cut = [line for line in lines if not line.endswith("}")]
    assert len(cut) <= 1
    return [json.loads(line) for line in lines if line not in cut]


async def wait_for_event(path, name):
    with trio.fail_after(10):
        while not (found := [one for one in objects(path) if one["event"] == name]):
            await trio.sleep(0.05)
    return found


async def test_calls_go_on_when_the_disk_of_the_log_is_full(tmp_path, disk):
    file = disk.folder / "daemon.jsonl"
    log = {"file": str(file), "format": "json", "level": "debug"}
    with daemon(tmp_path, log=log) as (running, traffic):
        async with traffic.flowing("one", "all"):
            disk.fill()
            assert "No space left on device" in (await lines_with(running, "log_file_lost_lines"))[0]
            await trio.sleep(1)
            disk.free()
            [dropped, *_] = await wait_for_event(file, "log_lines_dropped")
            assert dropped["count"] > 0
            size = file.stat().st_size
            await traffic.post("new")
        assert file.stat().st_size > size
        report("full disk of log.file", traffic.check())
        assert sum("log_file_lost_lines" in line for line in running.lines) == 1
    assert objects(file)[-1]["event"] == "stopped"


async def test_calls_go_on_when_the_disk_of_the_audit_log_is_full(tmp_path, disk):
    file = disk.folder / "audit.jsonl"
    with daemon(tmp_path, audit={"file": str(file), "calls": True}) as (running, traffic):
        async with traffic.flowing("one", "all"):
            disk.fill()
            assert "No space left on device" in (await lines_with(running, "audit_events_lost"))[0]
            await trio.sleep(1)
            disk.free()
            lost = await wait_for_event(file, "audit_events_lost")
        found = traffic.check()
        report("full disk of audit.file", found)
    written = objects(file)
    calls = sum(one["event"] == "call" and one["method"] == "tools/call" for one in written)
    lost = sum(one["count"] for one in written if one["event"] == "audit_events_lost")
    # The lost events are counted. Some of them are not of calls.
    assert lost > 0
    assert calls <= found.outcomes["calls"] <= calls + lost


async def test_calls_go_on_when_the_disk_of_the_state_directory_is_full(tmp_path, disk):
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "run/state").symlink_to(disk.folder)
    with daemon(tmp_path) as (running, traffic):
        async with traffic.flowing("one", "all"):
            await trio.sleep(0.5)
            kept = contents(disk.folder)
            disk.fill()
            # Starts a server whose era and definitions are new.
            await traffic.post("new")
            status, _ = await stateless_request(running, "new", "tools/list")
            assert status == 200
            assert "No space left on device" in (await lines_with(running, "definitions_not_stored"))[0]
            rotated = await do(running, "token", "rotate")
            assert rotated.returncode == 78
            assert "No space left on device" in rotated.stderr
            events = await lines_with(running, "era_not_stored")
            assert all("No space left on device" in event for event in events)
            assert len(events) == len({event.split("reason=")[0] for event in events})
            left = contents(disk.folder)
            del left["filling"]
            assert left == kept
            disk.free()
            eras = disk.folder / "mcp-bridge/eras.json"
            with trio.fail_after(10):
                while len(json.loads(eras.read_text())["facts"]) < 2:
                    await traffic.socket("new", until=1)
        # A new token ends all sessions.
        before = running.token
        assert (await do(running, "token", "rotate")).returncode == 0
        assert running.token != before
        report("full disk of the state directory", traffic.check())


async def test_calls_go_on_when_the_disk_of_the_runtime_directory_is_full(tmp_path):
    folder = tmp_path / "run/mcp-bridge"
    folder.mkdir(mode=0o700, parents=True)
    folder.parent.chmod(0o700)
    with daemon(tmp_path, within(folder)) as (running, traffic):
        disk = SmallDisk(running.process.pid, str(folder))
        assert (disk.folder / "mcp-bridge.sock").is_socket()
        async with traffic.flowing("one", "all"):
            disk.fill()
            await traffic.post("new")
            running.process.send_signal(signal.SIGHUP)
            await lines_with(running, " reloaded ")
            await traffic.post("new")
            disk.free()
        report("full disk of the runtime directory", traffic.check())


@pytest.mark.parametrize(
    "words", [["token", "new", "ci"], ["approve", "one"], ["add", "two", "--", "cat"]], ids=" ".join
)
def test_a_command_that_cannot_write_the_configuration_leaves_it_as_it_was(tmp_path, words):
    (tmp_path / "config.toml").write_text('[servers.one]\ncommand = "cat"\n')
    (tmp_path / "config.toml").chmod(0o600)
    folder = tmp_path / "mounted"
    folder.mkdir()
    script = f"""
        cp -p {tmp_path}/config.toml {folder}
        tail -c 1M /dev/zero > {folder}/filling 2> {tmp_path}/full
        "$@"
        code=$?
        rm {folder}/filling
        cmp {tmp_path}/config.toml {folder}/config.toml || exit 99
        test "$(ls -A {folder} | grep -v lock)" = config.toml || exit 98
        "$@" > {tmp_path}/again 2>&1 || exit 97
        exit $code
    """
    command = [PROGRAM, words[0], "--config", str(folder / "config.toml"), *words[1:]]
    done = subprocess.run(
        [*within(folder), "sh", "-c", script, "sh", *command],
        env={**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No space left on device" in (tmp_path / "full").read_text()
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode in (73, 74, 78), done


def test_credentials_of_remote_servers_stay_whole_without_space(disk):
    store = FileBackend(disk.folder / "state")
    store.write("a", b'{"token": "first"}')
    before = contents(disk.folder)
    disk.fill()
    with pytest.raises(StoreFault, match="No space left on device"):
        store.write("a", b'{"token": "second"}')
    left = contents(disk.folder)
    del left["filling"]
    assert left == before
    disk.free()
    store.write("a", b'{"token": "second"}')
    assert store.read("a") == b'{"token": "second"}'


def test_a_start_without_space_fails_with_the_reason_and_leaves_no_file(tmp_path, disk):
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "run/state").symlink_to(disk.folder)
    disk.fill()
    with pytest.raises(RuntimeError, match=r"cannot keep a token in .*: No space left on device"):
        with daemon(tmp_path):
            pass
    assert [*contents(disk.folder)] == ["filling"]
    disk.free()
    with daemon(tmp_path) as (running, _):
        assert running.do("call", "one", "quick", "number=x").returncode == 0
