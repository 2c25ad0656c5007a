"""Commands that edit the configuration keep a link and replace its target atomically."""

import os
import stat

import pytest

from mcpbridged.bridge.commands import dispatch
from mcpbridged.bridge.config import edit, tables

HERE = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
TEXT = '[servers.a]\ncommand = ["/bin/true"]\n'


@pytest.fixture
def here(tmp_path):
    return {**HERE, "XDG_RUNTIME_DIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}


def made(path, text=TEXT, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def editing(path, here):
    """Return every command that edits, in an order after which the file has a pin."""
    for words in (
        ["token", "new", "editor", "--servers", "a"],
        ["token", "revoke", "editor"],
        ["client-config", "cursor", "a", "--http"],
        ["token", "revoke", "cursor-a"],
        ["approve", "a"],
    ):
        yield words, dispatch.run([*words, "--config", str(path)], here)


@pytest.mark.parametrize("kind", ["a link", "a link to a link", "a relative link", "a link above", "no link"])
def test_an_edit_follows_a_link_to_the_file(tmp_path, here, kind):
    target = made(tmp_path / "dotfiles/mcp.toml", mode=0o640)
    os.chown(target, -1, os.getgid())
    path = tmp_path / "config.toml"
    match kind:
        case "a link":
            path.symlink_to(target)
        case "a link to a link":
            (tmp_path / "between").symlink_to(target)
            path.symlink_to(tmp_path / "between")
        case "a relative link":
            path.symlink_to("dotfiles/mcp.toml")
        case "a link above":
            (tmp_path / "above").symlink_to("dotfiles")
            path = tmp_path / "above/mcp.toml"
        case _:
            path = target
    before = os.umask(0o077)
    try:
        results = {" ".join(words): code for words, code in editing(path, here)}
    finally:
        os.umask(before)
    assert set(results.values()) == {0}, results
    assert path.is_symlink() == (kind not in ("no link", "a link above"))
    assert 'pin = "sha256:' in target.read_text()
    assert "tokens" not in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert [file.name for file in target.parent.iterdir()] == ["mcp.toml"]


@pytest.mark.parametrize(
    "kind", ["dangling", "a loop", "of another user", "of others to write", "in an open directory"]
)
def test_an_unsafe_link_is_refused_and_nothing_changes(tmp_path, here, capsys, kind):
    target = made(tmp_path / "dotfiles/mcp.toml")
    path = tmp_path / "config.toml"
    path.symlink_to(target)
    match kind:
        case "dangling":
            target.rename(tmp_path / "away")
        case "a loop":
            path.unlink()
            path.symlink_to(path)
        case "of another user":
            if os.geteuid() != 0:
                pytest.skip("only root can give a file away")
            os.chown(target, 65534, 65534)
        case "of others to write":
            target.chmod(0o666)
        case _:
            target.parent.chmod(0o777)
    text = None if kind in ("dangling", "a loop") else target.read_text()
    for words, code in editing(path, here):
        assert code == 78, words
    assert path.is_symlink()
    if text is not None:
        assert target.read_text() == text
        assert [file.name for file in target.parent.iterdir()] == ["mcp.toml"]
    with pytest.raises(tables.BadConfig):
        edit.rewrite(path, TEXT)
    assert "Traceback" not in capsys.readouterr().err


def test_a_file_is_replaced_atomically_and_flushed_to_disk(tmp_path, monkeypatch):
    path = made(tmp_path / "config.toml")
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(stat.S_IFMT(os.fstat(fd).st_mode)), fsync(fd)))
    edit.rewrite(path, TEXT + "# new\n")
    assert synced == [stat.S_IFREG, stat.S_IFDIR]
    assert path.read_text().endswith("# new\n")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(tables.BadConfig, match="No space left"):
        edit.rewrite(path, TEXT)
    assert path.read_text().endswith("# new\n")
    assert [file.name for file in tmp_path.iterdir()] == ["config.toml"]


def test_line_endings_stay(tmp_path, here):
    path = tmp_path / "config.toml"
    path.write_bytes(TEXT.replace("\n", "\r\n").encode())
    path.chmod(0o600)
    assert dispatch.run(["approve", "a", "--config", str(path)], here) == 0
    assert b'command = ["/bin/true"]\r\n' in path.read_bytes()
