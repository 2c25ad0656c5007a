"""The audit file is appended to, whatever happens to it."""

import errno
import os
import stat
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from mcpbridged.bridge.daemon import audit_file
from mcpbridged.bridge.daemon.audit_file import AuditFile, CannotOpen, fault_of


def opened(path):
    return AuditFile(path, lambda count, reason: f"{count} lost: {reason}\n".encode())


def test_lines_are_appended_to_a_private_file(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_text("first\n")
    path.chmod(0o600)
    file = opened(path)
    assert file.write(b"second\nthird\n") == 0
    file.close()
    assert path.read_text() == "first\nsecond\nthird\n"


def test_a_new_file_is_of_its_user_only(tmp_path):
    before = os.umask(0)
    try:
        opened(tmp_path / "audit.jsonl").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


def test_a_full_disk_loses_lines_and_raises_nothing():
    file = opened(Path("/dev/full"))
    assert file.write(b"a\nb\n") == 2
    # That of the gap is no further loss.
    assert file.write(b"c\n") == 1
    assert file.reason == "No space left on device"
    file.close()
    assert file.write(b"d\n") == 1


def test_a_cut_line_is_ended_before_the_next(tmp_path, monkeypatch):
    path = tmp_path / "audit.jsonl"
    file = opened(path)
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
    assert path.read_text() == '{"a":1}\n{\n2 lost: No space left on device\n{"d":4}\n'


def test_a_write_in_part_goes_on(tmp_path, monkeypatch):
    file = opened(tmp_path / "audit.jsonl")
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:5]))
    assert file.write(b'{"a":1}\n{"b":2}\n') == 0
    file.close()
    assert (tmp_path / "audit.jsonl").read_text() == '{"a":1}\n{"b":2}\n'


def test_a_line_that_a_daemon_before_has_cut_is_ended(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_text('{"a"')
    path.chmod(0o600)
    file = opened(path)
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
        opened(path)
    assert fault_of(path)
    assert not (tmp_path / "elsewhere").exists()


def test_the_check_creates_no_file(tmp_path):
    assert not fault_of(tmp_path / "audit.jsonl")
    assert not list(tmp_path.iterdir())


class SlowDisk:
    """os.write, which waits until the test lets it go on."""

    def __init__(self, monkeypatch):
        self.entered = threading.Semaphore(0)
        self.goes_on = threading.Semaphore(0)
        self.fault = None
        self._write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, descriptor, data):
        self.entered.release()
        assert self.goes_on.acquire(timeout=20)
        if self.fault is not None:
            raise self.fault
        return self._write(descriptor, data)


def test_a_slow_disk_delays_no_line_and_loses_none(tmp_path, monkeypatch):
    disk, file = SlowDisk(monkeypatch), opened(tmp_path / "audit.jsonl")
    assert [file.write(b"%d\n" % number) for number in range(5)] == [0] * 5
    disk.goes_on.release(2)
    file.close()
    assert (tmp_path / "audit.jsonl").read_text() == "0\n1\n2\n3\n4\n"


def test_what_a_slow_disk_has_lost_is_returned_later_and_named_in_its_place(tmp_path, monkeypatch):
    disk, file = SlowDisk(monkeypatch), opened(tmp_path / "audit.jsonl")
    disk.fault = OSError(errno.EIO, "")
    assert file.write(b"0\n1\n") == 0
    assert disk.entered.acquire(timeout=20)
    assert file.write(b"2\n") == 0
    disk.goes_on.release()
    # The second write has begun.
    assert disk.entered.acquire(timeout=20)
    disk.fault = None
    disk.goes_on.release(2)
    lost = file.write(b"3\n")
    file.close()
    assert lost == 2
    assert (tmp_path / "audit.jsonl").read_text() == "2 lost: Input/output error\n2\n3\n"


def test_more_lines_than_can_wait_are_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(audit_file, "_MOST", 8)
    disk, file = SlowDisk(monkeypatch), opened(tmp_path / "audit.jsonl")
    assert file.write(b"0\n") == 0
    assert disk.entered.acquire(timeout=20)
    assert [file.write(b"%d\n" % number) for number in range(1, 6)] == [0, 0, 0, 1, 1]
    assert file.reason == "the disk is too slow"
    disk.goes_on.release(2)
    file.close()
    assert (tmp_path / "audit.jsonl").read_text() == "0\n2 lost: the disk is too slow\n1\n2\n3\n"


def test_the_lines_of_replaced_files_are_written_before_the_last_is_closed(tmp_path, monkeypatch):
    disk, files = SlowDisk(monkeypatch), [opened(tmp_path / name) for name in "abc"]
    for file, next_file in pairwise(files):
        file.write(b"0\n")
        next_file.replace(file)
    # The first two are written while the third is closed.
    disk.goes_on.release(2)
    files[2].close()
    assert [(tmp_path / name).read_text() for name in "abc"] == ["0\n", "0\n", ""]
    last = opened(tmp_path / "d")
    last.replace(files[2])
    assert not files[1].is_writing
    assert files[2]._before is None
    last.close()


def test_a_disk_that_hangs_delays_no_stop(tmp_path, monkeypatch):
    disk, file = SlowDisk(monkeypatch), opened(tmp_path / "audit.jsonl")
    file.write(b"0\n")
    file.close(0)
    assert file.write(b"1\n") == 1
    disk.goes_on.release(2)
    file.close()
    assert (tmp_path / "audit.jsonl").read_text() == "0\n"
