"""Audit events go to the file, once each, without secrets, and no error of the file stops anything."""

import io
import json
import os
from pathlib import Path
from time import monotonic

import pytest
import trio

from mcpbridged.bridge.config.settings import AuditConfig
from mcpbridged.bridge.core.effects import RequestFinished
from mcpbridged.bridge.daemon.audit_file import CannotOpen
from mcpbridged.bridge.daemon.audit_log import AuditLog, open_file
from mcpbridged.bridge.log import LineLog

pytestmark = pytest.mark.anyio


# Closed after each test.
OPENED = []


@pytest.fixture(autouse=True)
def closed():
    yield
    while OPENED:
        OPENED.pop().close()


def audited(file, *, calls=False, enabled=True, level="info"):
    out = io.StringIO()
    log = LineLog(level, out=out)
    config = AuditConfig(enabled, file, calls)
    log.audit = audit = AuditLog(log, config, open_file(config))
    OPENED.append(audit)
    return log, audit, out


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_event_is_in_the_log_and_in_the_file_once(tmp_path):
    log, _, out = audited(tmp_path / "a")
    log.info("session_opened", session="s", principal="p", server="x")
    log.info("no_audit_event", reason="r")
    (event,) = lines(tmp_path / "a")
    del event["ts"]
    assert event == {
        "event": "session_opened",
        "level": "info",
        "principal": "p",
        "session": "s",
        "server": "x",
    }
    assert out.getvalue().count("session_opened") == 1


def test_the_level_of_the_log_does_not_apply_to_the_file(tmp_path):
    log, _, out = audited(tmp_path / "a", level="none")
    log.info("stopped")
    log.always("info", "ready", "ready on x", url="x")
    assert [event["event"] for event in lines(tmp_path / "a")] == ["stopped", "ready"]
    assert "stopped" not in out.getvalue()


async def test_without_a_file_the_events_are_in_the_log():
    log, audit, out = audited(None, calls=True)
    log.info("stopped")
    assert out.getvalue() == "mcp-bridge: info: stopped\n"
    assert audit.on_call is None
    await audit.reopen()
    audit.tick(0)
    audit.close()


def test_a_disabled_audit_log_writes_nothing_of_its_own(tmp_path):
    log, audit, out = audited(tmp_path / "a", enabled=False, calls=True)
    log.info("stopped")
    log.info("session_opened")
    assert out.getvalue() == "mcp-bridge: info: session_opened\n"
    assert not (tmp_path / "a").exists()
    assert audit.on_call is None


def test_forged_and_secret_text_is_escaped_redacted_and_cut(tmp_path):
    log, audit, _ = audited(tmp_path / "a", calls=True)
    log.hide(["canary-secret-1"])
    forged = 'x\n{"event":"ready"}\u202e\u2028\x1b[2J canary-secret-1 ' + "y" * 10_000
    log.warning("reload_failed", reason=forged, fault=ValueError("traceback"))
    audit.on_call(
        "s", RequestFinished(b'"\\u202e"', forged, forged, monotonic(), "ok", "p"), "", "session-id-secret"
    )
    audit.tick(0)
    raw = (tmp_path / "a").read_bytes()
    assert raw.count(b"\n") == 2
    assert raw.isascii()
    assert b"canary" not in raw
    assert b"traceback" not in raw
    assert b"id-secret" not in raw
    failed, call = lines(tmp_path / "a")
    assert failed["reason"].startswith('x\\n{"event":"ready"}\\u202e\\u2028\\x1b[2J [secret] yyy')
    assert len(failed["reason"]) < 600
    assert call["name"] == call["method"] == failed["reason"]
    assert call["session"] == "session-"


def test_calls_are_written_at_a_tick_or_before_another_event(tmp_path):
    log, audit, _ = audited(tmp_path / "a", calls=True)
    call = audit.on_call
    call("s", RequestFinished(b"1", "ping", "", monotonic(), "ok", ""), "p", "0123456789")
    assert not lines(tmp_path / "a")
    audit.tick(0)
    call("s", RequestFinished(b"2", "ping", "", monotonic(), "ok", "q"), "", "")
    log.info("stopped")
    log.info("call", id=b"3")
    found = lines(tmp_path / "a")
    assert [event.get("id") for event in found] == ["1", "2", None]
    assert [event.get("principal") for event in found] == ["p", "q", None]
    call("s", RequestFinished(b"4", "x" * 500, "", monotonic(), "ok", ""), "", "")
    for _ in range(100):
        call("s", RequestFinished(b"4", "x" * 500, "", monotonic(), "ok", ""), "", "")
    assert len(lines(tmp_path / "a")) > 3
    audit.close()
    assert len(lines(tmp_path / "a")) == 3 + 101


async def test_a_renamed_file_is_opened_again(tmp_path):
    log, audit, _ = audited(tmp_path / "a")
    log.info("session_opened", session="1")
    (tmp_path / "a").rename(tmp_path / "a.1")
    log.info("session_opened", session="2")
    await audit.reopen()
    log.info("session_opened", session="3")
    assert [event["session"] for event in lines(tmp_path / "a.1")] == ["1", "2"]
    assert [event["session"] for event in lines(tmp_path / "a")] == ["3"]


async def test_a_file_that_cannot_be_opened_again_stays_open(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    log, audit, out = audited(folder / "a")
    (folder / "a").rename(folder / "b")
    (folder / "a").symlink_to(tmp_path / "elsewhere")
    await audit.reopen()
    log.info("stopped")
    assert [event["event"] for event in lines(folder / "b")] == ["stopped"]
    assert "audit_file_not_reopened" in out.getvalue()
    assert not (tmp_path / "elsewhere").exists()


def test_a_change_of_the_audit_log_is_in_the_former_file(tmp_path):
    log, audit, _ = audited(tmp_path / "a")
    new = AuditConfig(file=tmp_path / "b", calls=True)
    audit.use(new, open_file(new))
    log.info("stopped")
    (changed,) = lines(tmp_path / "a")
    assert changed["event"] == "audit_changed"
    assert changed["file"] == str(tmp_path / "b")
    assert [event["event"] for event in lines(tmp_path / "b")] == ["stopped"]
    audit.use(new, open_file(new))
    assert len(lines(tmp_path / "b")) == 1


def test_lost_events_are_counted_exactly_and_logged_once(tmp_path, monkeypatch):
    log, audit, out = audited(tmp_path / "a", calls=True)
    write, full = os.write, [True]

    def write_or_fail(descriptor, data):
        if full[0]:
            raise OSError(28, "full")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", write_or_fail)
    for _ in range(3):
        log.info("session_opened")
    for _ in range(4):
        audit.on_call("s", RequestFinished(b"1", "ping", "", monotonic(), "ok", ""), "", "")
    audit.tick(0)
    assert audit.lost == 7
    full[0] = False
    log.info("stopped")
    log.info("stopped")
    assert [(event["event"], event.get("count")) for event in lines(tmp_path / "a")] == [
        ("audit_events_lost", 7),
        ("stopped", None),
        ("stopped", None),
    ]
    assert out.getvalue().count("audit_events_lost count=1 reason=") == 1
    assert out.getvalue().count("session_opened") == 3


def test_lost_events_after_a_part_of_a_write_are_counted(tmp_path, monkeypatch):
    log, audit, _ = audited(tmp_path / "a")
    write, sizes = os.write, [0, 200, 0, 10**6]

    def write_in_part(descriptor, data):
        if size := sizes.pop(0):
            return write(descriptor, data[:size])
        raise OSError(28, "full")

    monkeypatch.setattr(os, "write", write_in_part)
    log.info("stopped")
    # The line of the gap fits, and the event after it does not.
    log.info("server_not_started", reason="x" * 300)
    log.info("session_opened")
    assert audit.lost == 2
    found = [line for line in (tmp_path / "a").read_text().splitlines() if line.endswith("}")]
    assert [(event["event"], event.get("count")) for event in map(json.loads, found)] == [
        ("audit_events_lost", 1),
        ("audit_events_lost", 1),
        ("session_opened", None),
    ]


def test_no_file_is_opened_without_one():
    assert open_file(AuditConfig()) is None
    assert open_file(AuditConfig(enabled=False, file=Path("/no/such/a"))) is None
    with pytest.raises(CannotOpen):
        open_file(AuditConfig(file=Path("/no/such/a")))
    file = open_file(AuditConfig(file=Path("/dev/null")))
    assert file.write(b"x\n") == 0
    file.close()


def test_a_secret_that_becomes_known_is_redacted_in_later_calls(tmp_path):
    log, audit, _ = audited(tmp_path / "a", calls=True)
    for secrets in ([], ["name-with-canary"]):
        log.hide(secrets)
        for _ in range(2):
            audit.on_call(
                "s", RequestFinished(b"1", "tools/call", "name-with-canary", monotonic(), "ok", ""), "", ""
            )
    for number in range(2000):
        audit.on_call("s", RequestFinished(b"1", "m", f"name{number}", monotonic(), "ok", ""), "", "")
    audit.tick(0)
    assert [event["name"] for event in lines(tmp_path / "a")][:4] == ["name-with-canary"] * 2 + [
        "[secret]"
    ] * 2
    assert len(audit._plain_texts) <= 512


async def test_a_file_that_a_reload_has_replaced_is_not_opened_again(tmp_path, monkeypatch):
    log, audit, _ = audited(tmp_path / "a")
    new = AuditConfig(file=tmp_path / "b")
    run_sync = trio.to_thread.run_sync

    async def open_and_reload(call, *arguments):
        found = await run_sync(call, *arguments)
        audit.use(new, open_file(new))
        return found

    monkeypatch.setattr(trio.to_thread, "run_sync", open_and_reload)
    await audit.reopen()
    log.info("stopped")
    assert [event["event"] for event in lines(tmp_path / "b")] == ["stopped"]
