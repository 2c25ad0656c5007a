"""`mcp-bridge remove`, `enable` and `disable`."""

import os

import pytest

from mcpbridged.bridge.commands import dispatch

DIGEST = "ab" * 32
TEXT = f"""\
# mine
[servers.a] # first
command = "true"

[servers.b]
command = "true"
enabled = false # for now

[tokens.editor]
sha256 = "{DIGEST}"
servers = ["a", "b"]
"""


@pytest.fixture
def do(tmp_path, capsys):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path / "none"),
    }
    file = tmp_path / "config.toml"
    file.write_text(TEXT)
    file.chmod(0o640)

    def run(*words):
        code = dispatch.run([*words, "--config", str(file)], environment)
        printed = capsys.readouterr()
        return code, file.read_text(), printed.out + printed.err

    return run


def test_a_server_is_disabled_and_enabled(do):
    code, text, said = do("disable", "a")
    assert (code, text) == (
        0,
        TEXT.replace(
            '[servers.a] # first\ncommand = "true"\n',
            '[servers.a] # first\ncommand = "true"\nenabled = false\n',
        ),
    )
    assert "disabled a\n" in said
    assert "no daemon is running" in said
    code, text, said = do("enable", "a", "b")
    assert (code, text.count("enabled = true")) == (0, 2)
    assert "enabled = true # for now" in text


def test_a_server_that_is_so_already_changes_nothing(do):
    code, text, said = do("disable", "b")
    assert (code, text, said) == (0, TEXT, "b is disabled already\n")
    code, text, said = do("enable", "a", "a")
    assert (code, text, said) == (0, TEXT, "a is enabled already\n")


def test_a_removed_server_is_nowhere_and_the_former_text_is_kept(do, tmp_path):
    code, text, said = do("remove", "a")
    assert (code, "servers.a" in text, 'servers = ["b"]' in text) == (0, False, True)
    assert (tmp_path / "config.toml.bak").read_text() == TEXT
    assert f"the former text is in {tmp_path / 'config.toml.bak'}" in said
    assert "removed it from tokens.editor.servers" in said
    code, text, said = do("remove", "b")
    assert (code, "servers = []" in text) == (0, True)
    assert "the token can use no server" in said


def test_an_aggregate_without_servers_is_removed(do, tmp_path):
    (tmp_path / "config.toml").write_text(
        TEXT.replace("enabled = false # for now", "") + '[aggregate]\nservers = ["a", "b"]\n'
    )
    code, text, _ = do("remove", "a")
    assert (code, text.endswith('[aggregate]\nservers = ["b"]\n')) == (0, True)
    code, text, said = do("remove", "b")
    assert (code, "aggregate" in text) == (0, False)
    assert "removed [aggregate], which had no other server" in said


def test_a_removed_server_is_in_no_named_aggregate(do, tmp_path):
    (tmp_path / "config.toml").write_text(
        f"""{TEXT.replace("enabled = false # for now", "")}aggregates = ["dev", "ops"]
[aggregates.dev]
servers = ["a", "b"]
tools.deny = ["a__x*", "*__y", "b__z"]
rename.a__one = "one" # first
rename.b__two = "two"
describe.a__one = "One."
[aggregates.ops]
servers = ["a"]
"""
    )
    code, text, said = do("remove", "a")
    assert code == 0, said
    assert text.endswith(
        '[aggregates.dev]\nservers = ["b"]\ntools.deny = ["*__y", "b__z"]\nrename.b__two = "two"\n'
    )
    assert 'aggregates = ["dev"]' in text
    for sentence in (
        "removed [aggregates.ops], which had no other server",
        "removed it from tokens.editor.aggregates",
        "removed a__one from aggregates.dev.rename",
        "removed a__one from aggregates.dev.describe",
        "removed patterns of its tools from aggregates.dev.tools.deny",
    ):
        assert sentence in said


@pytest.mark.parametrize("command", ["remove", "enable", "disable"])
def test_an_unknown_server_changes_nothing(do, command):
    code, text, said = do(command, "a", "none")
    assert (code, text) == (78, TEXT)
    assert "there is no server 'none'; there are a, b" in said


def test_a_missing_file_is_named(tmp_path, do, capsys):
    (tmp_path / "config.toml").unlink()
    environment = {"PATH": "/bin", "HOME": str(tmp_path)}
    assert dispatch.run(["remove", "a", "--config", str(tmp_path / "config.toml")], environment) == 78
    assert "there is no such file; `mcp-bridge init` writes one" in capsys.readouterr().err
    assert not (tmp_path / "config.toml").exists()
