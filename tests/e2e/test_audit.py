"""The audit log of a real daemon: one event for each fact, in a file that is rotated, and that a failed reload leaves alone."""

import json
import os
import signal
import stat
import sys
from contextlib import contextmanager

import pytest
import trio

from tests.support.bridge_process import REPOSITORY
from tests.support.daemon_clients import example
from tests.support.daemon_process import Daemon, write_config

pytestmark = pytest.mark.anyio
CONTENT = "audit.jsonl"


@contextmanager
def daemon(folder, servers=None, **tables):
    write_config(folder / "config.toml", servers or {"one": example()}, **tables)
    with Daemon(folder) as running:
        yield running


def events(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def named(path, name):
    return [event for event in events(path) if event["event"] == name]


async def wait_for(path, name, count=1):
    with trio.fail_after(20):
        while not path.exists() or len(named(path, name)) < count:
            await trio.sleep(0.02)
    return named(path, name)[-1]


async def test_start_reload_and_stop_are_one_event_each(tmp_path):
    file = tmp_path / CONTENT
    with daemon(tmp_path, audit={"file": CONTENT}) as running:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        await wait_for(file, "ready")
        running.do("reload")
        reloaded = await wait_for(file, "reloaded")
        assert reloaded["kept"] == "one"
        assert sum("reloaded" in line for line in running.lines) == 1
    names = [event["event"] for event in events(file)]
    assert names == ["ready", "reloaded", "stopping", "stopped"]


async def test_a_failed_reload_changes_nothing_of_the_audit_log(tmp_path):
    first, second = tmp_path / CONTENT, tmp_path / "other.jsonl"
    with daemon(tmp_path, audit={"file": CONTENT}) as running:
        await wait_for(first, "ready")
        for content in (
            f"[audit]\nfile = '{second}'\n[servers.one]\ncommand = 1\n",
            f"[audit]\nfile = '{second}'\n[listen]\ntoken = '/no/such/token'\n",
            "[audit]\nfile = '/no/such/folder/audit.jsonl'\n",
        ):
            running.config.write_text(content)
            assert running.do("reload", check=False).returncode == 78
        assert len(named(first, "reload_failed")) == 3
        assert not named(first, "reloaded")
        assert not named(first, "audit_changed")
        assert not second.exists()
        # A reload that is accepted changes it.
        write_config(running.config, {"one": example()}, audit={"file": str(second)})
        running.do("reload")
        # The number of refused reloads may follow.
        assert [event["event"] for event in events(second) if event["event"] != "refused"] == ["reloaded"]
        assert named(first, "audit_changed")[0]["file"] == str(second)


async def test_sighup_opens_a_renamed_file_again_also_if_the_configuration_is_broken(tmp_path):
    file = tmp_path / CONTENT
    with daemon(tmp_path, audit={"file": CONTENT}) as running:
        await wait_for(file, "ready")
        file.rename(tmp_path / "audit.1")
        running.config.write_text("[[")
        running.process.send_signal(signal.SIGHUP)
        await wait_for(file, "reload_failed")
        assert [event["event"] for event in events(tmp_path / "audit.1")] == ["ready"]


async def test_a_full_disk_stops_nothing(tmp_path):
    with daemon(tmp_path, audit={"file": "/dev/full", "calls": True}) as running:
        for _ in range(3):
            assert running.do("call", "one", "echo", "text=hello").returncode == 0
        assert any("audit_events_lost" in line and "No space left" in line for line in running.lines)
        assert sum("audit_events_lost" in line for line in running.lines) == 1


@pytest.mark.parametrize("file", ["missing/audit.jsonl", "link"])
def test_a_file_that_cannot_be_used_is_an_error_of_the_start_and_of_the_check(tmp_path, file):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    write_config(tmp_path / "config.toml", {"one": example()}, audit={"file": file})
    running = Daemon.__new__(Daemon)
    running.folder, running.config = tmp_path, tmp_path / "config.toml"
    os.makedirs(tmp_path / "run", mode=0o700)
    for command in (["serve", "--allow-root"], ["config", "check"]):
        done = running.do(*command, check=False)
        assert done.returncode == 78, done
        assert "audit: file: " in done.stderr
        assert "link" in done.stderr or "missing" in done.stderr
    assert not (tmp_path / "elsewhere").exists()


async def test_processes_sessions_and_calls_are_events_with_their_principal(tmp_path):
    file = tmp_path / CONTENT
    with daemon(tmp_path, audit={"file": CONTENT, "calls": True}) as running:
        assert running.do("call", "one", "echo", "text=the-argument").returncode == 0
        call = await wait_for(file, "call")
        started = named(file, "started")[0]
        assert started["server"] == "one"
        assert call["server"] == "one"
        assert call["principal"]
        while not [event for event in named(file, "call") if event["method"] == "tools/call"]:
            await trio.sleep(0.02)
        (call,) = [event for event in named(file, "call") if event["method"] == "tools/call"]
        assert call["name"] == "echo"
        assert call["outcome"] == "ok"
        assert not any(" call " in line for line in running.lines)
    stopped = named(file, "process_stopped")
    assert {event["pid"] for event in stopped} == {event["pid"] for event in named(file, "started")}
    assert "the-argument" not in file.read_text()


async def test_pins_and_tokens_that_change_are_events_of_their_own(tmp_path):
    file = tmp_path / CONTENT
    with daemon(tmp_path, audit={"file": CONTENT}) as running:
        await wait_for(file, "ready")
        assert running.do("approve", "one").returncode == 0
        running.do("reload")
        changed = await wait_for(file, "pin_changed")
        assert changed["server"] == "one"
        assert changed["after"].startswith("sha256:")
        assert "before" not in changed
        new = running.do("token", "new", "ci")
        running.do("reload")
        token = new.stdout.strip().split()[-1]
        assert (await wait_for(file, "tokens_changed"))["added"] == "ci"
        running.do("token", "revoke", "ci")
        running.do("reload")
        assert (await wait_for(file, "tokens_changed", 2))["revoked"] == "ci"
        before = running.token
        running.do("token", "rotate")
        assert (await wait_for(file, "owner_token_changed"))["source"].endswith("token")
        assert len(named(file, "pin_changed")) == 1
        text = file.read_text() + "".join(running.lines)
        assert token not in text
        assert before not in text
        assert running.token not in text


async def test_responses_to_no_request_are_audit_events_with_an_exact_count(tmp_path):
    file = tmp_path / CONTENT
    flooding = [
        sys.executable,
        str(REPOSITORY / "tests/support/servers/inserting.py"),
        "unmatched",
        "0",
        "50",
    ]
    with daemon(tmp_path, {"one": {"command": flooding}}, audit={"file": CONTENT}) as running:
        for _ in range(3):
            assert running.do("call", "one", "echo").returncode == 0
        [status] = running.status()["servers"]
        # They are at the default level of the log too, and neither has a line for each.
        assert any("answer_unmatched" in line for line in running.lines)
    found = named(file, "answer_unmatched")
    assert sum(event["count"] for event in found) == status["unmatched"] >= 150
    assert len(found) < 50
    for event in found:
        assert (event["sender"], event["server"], event["reason"]) == ("server", "one", "no_request")
        assert "no-such-request" in event["id"]
