"""`mcp-bridge init`: a new configuration file."""

import os
import stat

import pytest

from mcpbridged.bridge.commands import dispatch
from mcpbridged.bridge.config.template import TEMPLATE


def do(tmp_path, *words):
    return dispatch.run(
        list(words), {"PATH": "/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    )


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077, 0o000])
def test_a_new_file_is_for_its_owner_alone(tmp_path, capsys, umask):
    before = os.umask(umask)
    try:
        assert do(tmp_path, "init") == 0
    finally:
        os.umask(before)
    file = tmp_path / ".config/mcp-bridge/config.toml"
    assert file.read_text() == TEMPLATE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    printed = capsys.readouterr()
    assert printed.out == f"{file}\n"
    for word in ("mcp-bridge add NAME -- COMMAND", "mcp-bridge serve", "mcp-bridge service install"):
        assert word in printed.err
    assert [one.name for one in file.parent.iterdir()] == ["config.toml"]


@pytest.mark.parametrize("kind", ["a file", "a link to nothing"])
def test_a_file_that_exists_stays(tmp_path, capsys, kind):
    file = tmp_path / "mine.toml"
    if kind == "a file":
        file.write_text("# mine\n")
    else:
        file.symlink_to(tmp_path / "nothing")
    assert do(tmp_path, "init", "--config", str(file)) == 78
    assert "exists already; `mcp-bridge edit` opens it" in capsys.readouterr().err
    assert file.is_symlink() or file.read_text() == "# mine\n"
    assert not (tmp_path / "nothing").exists()


def test_a_directory_that_others_can_write_is_refused(tmp_path, capsys):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert do(tmp_path, "init", "--config", str(tmp_path / "open/config.toml")) == 78
    assert f"others could change it; chmod go-w {tmp_path / 'open'}" in capsys.readouterr().err
    assert [*(tmp_path / "open").iterdir()] == []
