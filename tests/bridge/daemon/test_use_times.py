"""The file with the times at which credentials were last used."""

import pytest

from mcpbridged.bridge.daemon.use_times import read_uses, write_uses


def test_what_was_written_is_read(tmp_path):
    file = tmp_path / "state" / "uses.json"
    write_uses(file, {"ci": 5.0})
    assert read_uses(file) == {"ci": 5.0}
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [one.name for one in file.parent.iterdir()] == ["uses.json"]


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"a":"b"}', b"{" + b" " * 300_000])
def test_a_file_that_cannot_be_used_has_no_times(tmp_path, content):
    file = tmp_path / "uses.json"
    if content is not None:
        file.write_bytes(content)
    assert read_uses(file) == {}


def test_a_file_that_cannot_be_written_is_left_out(tmp_path):
    (tmp_path / "state").write_text("no directory")
    write_uses(tmp_path / "state" / "uses.json", {"ci": 5.0})
    assert read_uses(tmp_path / "state" / "uses.json") == {}
