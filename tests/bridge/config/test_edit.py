"""Edits of the configuration file: one table or key changes, and the rest of the text stays."""

import os
import stat
import tomllib
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.bridge.config import edit
from mcpbridged.bridge.config.edit import ConfigText
from mcpbridged.bridge.config.tables import BadConfig

from ...support.config_file import DIGEST, WHOLE, write_config_file

TEXT = """\
# The file of this machine.

[log] # chatty
level = "debug"

# Repositories
[servers.git] # mine
command = ["uvx", "mcp-server-git"] # the program
# env.X = "1"

# Search on the web
[servers.search]
command = ["npx", "-y", "search"]
[servers.search.env] # inner
KEY = "1"

# The editor
[tokens.editor]
sha256 = "0"
"""


@pytest.fixture
def write(tmp_path):
    return partial(write_config_file, tmp_path)


def edited(text, method, *arguments):
    config = ConfigText(text)
    getattr(config, method)(*arguments)
    return config.text


def test_a_server_is_added_at_the_end():
    keys = {
        "command": ("a b", 'c"d\n'),
        "enabled": False,
        "env": {"A": "1", "b.c": "é"},
        "limits": {"x": 1.5},
    }
    assert edited(TEXT, "add_server", "new", keys) == TEXT + (
        '\n[servers.new]\ncommand = ["a b", "c\\"d\\n"]\nenabled = false\nenv.A = "1"\nenv."b.c" = "é"\nlimits.x = 1.5\n'
    )
    assert edited("", "add_server", "a", {"url": "u"}) == '[servers.a]\nurl = "u"\n'
    assert edited("# x", "add_server", "A_b", {"url": "u"}) == '# x\n\n[servers.A_b]\nurl = "u"\n'


@pytest.mark.parametrize(
    "text", ["servers = {b = {url = 'u'}} # x\n", "[servers]\nb.url = 'u'\n", "servers.b.url = 'u'\n"]
)
def test_a_server_is_added_in_every_spelling(text):
    new = edited(text, "add_server", "a", {"url": "v", "env": {}})
    assert tomllib.loads(new)["servers"] == {"b": {"url": "u"}, "a": {"url": "v", "env": {}}}
    assert ("# x" in new) == ("# x" in text)


def test_a_removed_server_leaves_the_comments_of_others():
    lines = TEXT.splitlines(keepends=True)
    assert edited(TEXT, "remove_server", "git") == "".join(lines[:5] + lines[10:])
    assert edited(TEXT, "remove_server", "search") == "".join(lines[:10] + lines[16:])
    assert edited(TEXT, "remove", ("tokens", "editor")) == "".join(lines[:15])
    assert edited(TEXT, "remove_server", "other") == TEXT
    assert (
        edited("# top\n[servers.a]\nurl = 'u'\n# b\n[servers.b]\n", "remove_server", "a")
        == "# top\n# b\n[servers.b]\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# file\n\n# a\n[servers.a]\nx = 1\n\n# b\n[servers.b]\n", "# file\n\n# a\n# b\n[servers.b]\n"),
        ("[log]\n\n[servers.a]\nx = 1\n# y = 2\n\n# one\n\n# two\n", "[log]\n\n# one\n\n# two\n"),
        ("[log]\n\n[servers.a]\nx = 1\n# y = 2\n", "[log]\n"),
        ("[servers.a]\nx = 1\n\n# l\n[log]\n# e\n[servers.a.env]\ny = 1\n\n# t\n[tokens.t]\n", "# l\n[log]\n# t\n[tokens.t]\n"),
        ("servers.a.x = 1 # one\n# two\nservers.b.x = 1\n", "# two\nservers.b.x = 1\n"),
    ],
)  # fmt: skip
def test_comments_of_other_tables_stay(before, after):
    assert edited(before, "remove_server", "a") == after


def test_a_key_is_set_beside_the_other_keys_of_its_table():
    new = edited(TEXT, "set_key", ("servers", "git", "enabled"), False)
    assert new == TEXT.replace("# the program\n", "# the program\nenabled = false\n")
    new = edited(TEXT, "set_key", ("servers", "search", "pin"), "p")
    assert new.replace("\n\n", "\n") == TEXT.replace('"search"]\n', '"search"]\npin = "p"\n').replace(
        "\n\n", "\n"
    )
    new = edited(TEXT, "set_key", ("log", "level"), "info")
    assert new == TEXT.replace('"debug"', '"info"')
    assert edited("[log]", "set_key", ("log", "level"), "info") == '[log]\nlevel = "info"\n'
    assert (
        edited("[log]\ncalls = true", "set_key", ("log", "level"), "info")
        == '[log]\ncalls = true\nlevel = "info"\n'
    )
    assert edited("", "set_key", ("approval",), True) == "approval = true\n"
    assert edited("# c\n[log]\n", "set_key", ("approval",), True) == "# c\napproval = true\n\n[log]\n"
    assert (
        edited("# c\n", "set_key", ("aggregate", "servers"), ("a",))
        == '# c\n\n[aggregate]\nservers = ["a"]\n'
    )


def test_a_key_is_removed_and_read():
    config = ConfigText(TEXT)
    config.remove(("servers", "git", "command"))
    assert config.text == TEXT.replace('command = ["uvx", "mcp-server-git"] # the program\n', "")
    assert config.get(("log", "level")) == "debug"
    assert config.get(("log", "level", "x")) is None
    assert config.get(("servers", "none")) is None


def test_tables_in_any_order_are_edited():
    text = "[servers.a]\nurl = 'u'\n\n# log\n[log]\nlevel = 'info'\n\n[servers.b]\nurl = 'v'\n\n[servers.a.limits]\nx = 1\n"
    new = edited(text, "set_key", ("servers", "a", "pin"), "p")
    assert new == text.replace("url = 'u'\n", "url = 'u'\npin = \"p\"\n")
    assert tomllib.loads(edited(text, "remove_server", "a")) == {
        "log": {"level": "info"},
        "servers": {"b": {"url": "v"}},
    }


def test_line_ends_stay():
    text = TEXT.replace("\n", "\r\n")
    new = edited(text, "add_server", "new", {"url": "u"})
    assert new == edited(TEXT, "add_server", "new", {"url": "u"}).replace("\n", "\r\n")
    mixed = "[log]\r\nlevel = 'info'\n"
    assert edited(mixed, "set_key", ("log", "level"), "debug") == '[log]\r\nlevel = "debug"\n'


def test_a_text_that_cannot_be_edited_is_left_to_the_user():
    with pytest.raises(BadConfig, match="end of a table"):
        ConfigText("[a")
    config = ConfigText("[log]\nlevel = 'info'\n")
    with pytest.raises(BadConfig, match=r"log\.level\.x: level is not a table"):
        config.set_key(("log", "level", "x"), 1)
    assert config.text == "[log]\nlevel = 'info'\n"


def test_a_result_that_differs_from_the_edit_is_refused(monkeypatch):
    config = ConfigText("[servers.a]\nurl = 'u'\n")
    monkeypatch.setattr(edit, "_set", lambda *_: None)
    monkeypatch.setattr(edit, "_remove", lambda *_: None)
    with pytest.raises(BadConfig, match=r'servers\.a\.pin: .* add by hand: pin = "p"'):
        config.set_key(("servers", "a", "pin"), "p")
    with pytest.raises(BadConfig, match=r"servers\.a: .* remove it by hand"):
        config.remove_server("a")


NAMES = st.sampled_from(["a", "b", "A_b", "x y", "ü"])
VALUES = st.recursive(
    st.booleans()
    | st.integers(-5, 5)
    | st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text("ab. ", min_size=1), inner, max_size=2)
    ),
    max_leaves=4,
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["add_server", "remove_server", "set_key"]), NAMES, st.dictionaries(st.text("kl", min_size=1), VALUES, max_size=3)),
    max_size=6,
)  # fmt: skip


@given(STEPS)
def test_edits_in_any_order_give_their_values(steps):
    config, servers = ConfigText(TEXT), tomllib.loads(TEXT)["servers"]
    for method, name, keys in steps:
        if method == "add_server" and name not in servers:
            config.add_server(name, keys)
            servers[name] = keys
        elif method == "remove_server":
            config.remove_server(name)
            servers.pop(name, None)
        elif method == "set_key" and name in servers:
            for key, value in keys.items():
                config.set_key(("servers", name, key), value)
                servers[name][key] = value
    assert tomllib.loads(config.text).get("servers", {}) == servers
    for line in (
        "# The file of this machine.",
        "# chatty",
        "# Repositories",
        "# mine",
        "# the program",
        "# The editor",
    ):
        assert line in config.text


# ---- tokens


def test_only_the_table_of_the_token_is_removed():
    text = (
        WHOLE
        + f"\n[tokens.ide] # mine\nsha256 = '{DIGEST}'\n[tokens.ide.features]\ndeny = ['roots']\n[tokens.ide2]\nsha256 = '{DIGEST}'\n"
    )
    found = tomllib.loads(edit.without_token(text, "ide"))
    wanted = tomllib.loads(text)
    del wanted["tokens"]["ide"]
    assert found == wanted
    assert list(tomllib.loads(edit.without_token(WHOLE, "cursor")).get("tokens", {})) == []


def test_a_token_in_an_unusual_spelling_is_removed():
    token = f"{{ sha256 = '{DIGEST}' }}"
    assert tomllib.loads(edit.without_token(f"tokens = {{ ide = {token} }} # x", "ide")) == {"tokens": {}}
    assert tomllib.loads(edit.without_token(f"tokens = {{ ide = {token}, b = {{}} }}", "ide")) == {
        "tokens": {"b": {}}
    }


# ---- files


def test_a_file_is_replaced_as_a_whole_or_not_at_all(write):
    path = write("", 0o640)
    edit.rewrite(path, "config_version = 1\n")
    assert path.read_text() == "config_version = 1\n"
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(BadConfig):
        edit.rewrite(path, "nonsense = 1")
    assert path.read_text() == "config_version = 1\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["config.toml"]
    with pytest.raises(BadConfig, match="cannot be written"):
        edit.rewrite(path.parent / "no/such/file", "")


def test_a_file_of_any_kind_is_written_with_a_backup(tmp_path):
    path = tmp_path / "new" / "claude.json"
    assert edit.write_with_backup(path, "{}") is None
    assert (
        path.read_text(),
        stat.S_IMODE(path.stat().st_mode),
        stat.S_IMODE(path.parent.stat().st_mode),
    ) == ("{}", 0o600, 0o700)
    path.chmod(0o640)
    for number in range(1, 6):
        backup = edit.write_with_backup(path, f"{number}")
        assert backup == path.with_name("claude.json.bak")
        assert backup.read_text() == ("{}" if number == 1 else f"{number - 1}")
    assert {file.name: (file.read_text(), stat.S_IMODE(file.stat().st_mode)) for file in path.parent.iterdir()} == {
        "claude.json": ("5", 0o640), "claude.json.bak": ("4", 0o640), "claude.json.bak.1": ("3", 0o640), "claude.json.bak.2": ("2", 0o640)
    }  # fmt: skip


def test_a_backup_follows_a_link_and_a_failure_keeps_the_file(tmp_path, monkeypatch):
    target = tmp_path / "dotfiles/x.json"
    target.parent.mkdir()
    target.write_text("old")
    link = tmp_path / "x.json"
    link.symlink_to(target)
    assert edit.write_with_backup(link, "new") == target.with_name("x.json.bak")
    assert (link.is_symlink(), target.read_text()) == (True, "new")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadConfig, match="No space left"):
        edit.write_with_backup(link, "newer")
    assert sorted(file.name for file in target.parent.iterdir()) == ["x.json", "x.json.bak"]
    assert target.read_text() == "new"
    with pytest.raises(BadConfig, match="No space left"):
        edit.write_with_backup(tmp_path / "other", "x")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["dotfiles", "x.json"]
