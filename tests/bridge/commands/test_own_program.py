"""The words that start this program again."""

import sys

import pytest

from mcpbridged.bridge.commands.own_program import own_program
from mcpbridged.bridge.config.tables import BadConfig

TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# a cache\n"


@pytest.fixture
def program(tmp_path, monkeypatch):
    script = tmp_path / "venv/bin/mcp-bridge"
    script.parent.mkdir(parents=True)
    script.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    return script


def test_a_script_is_named_by_its_absolute_path(program, tmp_path, monkeypatch):
    assert own_program() == [str(program)]
    (tmp_path / "link").symlink_to(program)
    monkeypatch.setattr(sys, "argv", ["./link"])
    monkeypatch.chdir(tmp_path)
    assert own_program() == [str(tmp_path / "link")]


def test_a_module_is_started_by_its_interpreter(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "mcpbridged/__main__.py")])
    assert own_program() == [sys.executable, "-m", "mcpbridged"]


def test_a_program_in_a_cache_may_vanish(program, tmp_path):
    # uv and pipx put the tag into each environment, also into those that stay.
    (tmp_path / "venv/CACHEDIR.TAG").write_text(TAG)
    (tmp_path / "CACHEDIR.TAG").write_text("another")
    assert own_program() == [str(program)]
    (tmp_path / "CACHEDIR.TAG").write_text(TAG)
    with pytest.raises(BadConfig, match="is in a cache that may be cleared at any time; install the program"):
        own_program()
