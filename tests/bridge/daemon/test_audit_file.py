"""The audit file is appended to, whatever happens to it."""

import errno
import os
import stat
from pathlib import Path

import pytest

from mcpbridged.bridge.daemon.audit_file import AuditFile, CannotOpen, fault_of


def test_lines_are_appended_to_a_private_file(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_text("first\n")
    path.chmod(0o600)
    file = AuditFile(path)
    assert file.write(b"second\nthird\n") == 0
    file.close()
    assert path.read_text() == "first\nsecond\nthird\n"


def test_a_new_file_is_of_its_user_only(tmp_path):
    before = os.umask(0)
    try:
        AuditFile(tmp_path / "audit.jsonl").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


def test_a_full_disk_loses_lines_and_raises_nothing():
    file = AuditFile(Path("/dev/full"))
    assert file.write(b"a\nb\n") == 2
    assert file.reason == "No space left on device"
    file.close()
    assert file.write(b"c\n") == 1


def test_a_cut_line_is_ended_before_the_next(tmp_path, monkeypatch):
    path = tmp_path / "audit.jsonl"
    file = AuditFile(path)
    write = os.write
    sizes = [9, 0]

    def write_in_part(descriptor, data):
        if size := sizes.pop(0):
            return write(descriptor, data[:size])
        raise OSError(errno.ENOSPC, "")

    monkeypatch.setattr(os, "write", write_in_part)
    assert file.write(b'{"a":1}\n{"b":2}\n{"c":3}\n') == 2
    assert file.reason == "No space left on device"
    monkeypatch.undo()
    assert file.write(b'{"d":4}\n') == 0
    file.close()
    assert path.read_text() == '{"a":1}\n{\n{"d":4}\n'


def test_a_write_in_part_goes_on(tmp_path, monkeypatch):
    file = AuditFile(tmp_path / "audit.jsonl")
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:5]))
    assert file.write(b'{"a":1}\n{"b":2}\n') == 0
    file.close()
    assert (tmp_path / "audit.jsonl").read_text() == '{"a":1}\n{"b":2}\n'


def test_a_line_that_a_daemon_before_has_cut_is_ended(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_text('{"a"')
    path.chmod(0o600)
    file = AuditFile(path)
    file.write(b"{}\n")
    file.close()
    assert path.read_text() == '{"a"\n{}\n'


@pytest.mark.parametrize("kind", ["link", "directory", "fifo", "writable", "missing"])
def test_a_file_that_others_could_change_is_refused(tmp_path, kind):
    path = tmp_path / "audit.jsonl"
    match kind:
        case "link":
            path.symlink_to(tmp_path / "elsewhere")
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "writable":
            path.touch()
            path.chmod(0o660)
        case "missing":
            path = tmp_path / "no" / "audit.jsonl"
    with pytest.raises(CannotOpen, match=r"audit\.jsonl"):
        AuditFile(path)
    assert fault_of(path)
    assert not (tmp_path / "elsewhere").exists()


def test_the_check_creates_no_file(tmp_path):
    assert not fault_of(tmp_path / "audit.jsonl")
    assert not list(tmp_path.iterdir())
