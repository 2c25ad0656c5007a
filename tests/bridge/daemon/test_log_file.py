"""The file of the log, without a daemon."""

import io
import os

import pytest

from mcpbridged.bridge.config.settings import AuditConfig, Settings
from mcpbridged.bridge.daemon.audit_file import CannotOpen
from mcpbridged.bridge.daemon.log_file import close_log_file, log_file_fault, open_log_file, reopen_log_file
from mcpbridged.bridge.log import LineLog

from ...support.waiting import wait_until

pytestmark = pytest.mark.anyio


def settings(file, **more):
    return Settings((), log_file=file, **more)


async def test_without_a_file_the_log_is_on_stderr():
    log = LineLog(out=io.StringIO())
    open_log_file(log, settings(None))
    await reopen_log_file(log)
    assert log.file is None
    assert log_file_fault(settings(None)) == ""


async def test_a_renamed_file_is_opened_again(tmp_path):
    log = LineLog(out=io.StringIO())
    file = tmp_path / "log"
    open_log_file(log, settings(file))
    log.info("first")
    file.rename(tmp_path / "log.1")
    log.info("second")
    await reopen_log_file(log)
    log.info("third")
    assert (tmp_path / "log.1").read_text().count("\n") == 2
    assert file.read_text().endswith(" info: third\n")
    assert file.stat().st_mode & 0o777 == 0o600
    close_log_file(log)


async def test_a_path_that_became_unusable_leaves_the_former_file(tmp_path):
    log = LineLog(out=io.StringIO())
    file = tmp_path / "log"
    open_log_file(log, settings(file))
    before = len(os.listdir("/proc/self/fd"))
    file.rename(tmp_path / "log.1")
    file.symlink_to(tmp_path / "elsewhere")
    await reopen_log_file(log)
    log.info("second")
    text = (tmp_path / "log.1").read_text()
    assert "log_file_not_reopened" in text
    assert "is a symbolic link" in text
    assert "second" in text
    file.unlink()
    await reopen_log_file(log)
    # The former file is closed by its thread.
    wait_until(lambda: len(os.listdir("/proc/self/fd")) == before)
    close_log_file(log)


async def test_at_the_end_the_file_is_closed_and_the_log_is_on_stderr(tmp_path):
    out = io.StringIO()
    log = LineLog(out=out)
    open_log_file(log, settings(tmp_path / "log"))
    log.info("first")
    close_log_file(log)
    log.info("second")
    assert (tmp_path / "log").read_text().endswith(" info: first\n")
    assert out.getvalue() == "mcp-bridge: info: second\n"


def test_the_file_of_the_audit_log_is_refused(tmp_path):
    file = tmp_path / "log"
    both = settings(file, audit=AuditConfig(file=file))
    assert log_file_fault(both) == f"{file} is the file of [audit] too"
    with pytest.raises(CannotOpen):
        open_log_file(LineLog(out=io.StringIO()), both)
    assert log_file_fault(settings(file, audit=AuditConfig(enabled=False, file=file))) == ""
