"""`client-config --write`: the file of the client, its backup and its token."""

import hashlib
import json
import os
import sys
import tomllib
from pathlib import Path

import pytest

from mcpbridged.bridge.commands import client_file, dispatch
from mcpbridged.bridge.config.import_yaml import read_yaml

from ..support.bridge_process import PROGRAM

FIXTURES = Path(__file__).parents[1] / "bridge/config/fixtures"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [PROGRAM])
    old = os.umask(0o022)
    file = tmp_path / "config.toml"
    file.write_text(
        '[listen]\nhttp = "127.0.0.1:8808"\n[servers.git]\ncommand = ["git"]\n[servers.two]\ncommand = ["two"]\n'
    )
    file.chmod(0o600)
    yield tmp_path
    os.umask(old)


def run(home, *words):
    environment = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), "PATH": os.environ["PATH"]}
    return dispatch.run(["client-config", *words, "--config", str(home / "config.toml")], environment)


def put(home, name, place):
    target = home / place
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text((FIXTURES / name).read_text())
    return target


def test_the_entry_is_added_and_comments_stay(home, capsys):
    file = put(home, "zed.settings.json", ".config/zed/settings.json")
    before = file.read_text()
    assert run(home, "zed", "two", "--write") == 0
    text = file.read_text()
    assert '"two": {' in text
    assert all(line in text for line in before.splitlines())
    assert file.with_name("settings.json.bak").read_text() == before
    shown = capsys.readouterr()
    assert shown.out == f"added the entry two in {file}\n"
    assert "the former file is" in shown.err


def test_an_entry_is_replaced_and_keeps_what_is_no_connection(home, capsys):
    file = home / ".codeium/windsurf/mcp_config.json"
    file.parent.mkdir(parents=True)
    entry = {"command": "npx", "env": {"A": "b"}, "disabledTools": ["push"], "disabled": True}
    file.write_text(json.dumps({"mcpServers": {"git": entry}}))
    assert run(home, "windsurf", "git", "--write") == 0
    found = json.loads(file.read_text())["mcpServers"]["git"]
    assert (found["disabledTools"], found["disabled"], "env" in found) == (["push"], True, False)
    assert found["args"][:2] == ["connect", "git"]
    assert "replaced the entry git" in capsys.readouterr().out


def test_a_server_that_the_client_has_switched_off_stays_off(home):
    file = put(home, "goose.config.yaml", ".config/goose/config.yaml")
    file.write_text(file.read_text().replace("  remote:", "  two:").replace("timeout: 120", "timeout: 7"))
    assert run(home, "goose", "two", "--write") == 0
    found = read_yaml(file.read_text())["extensions"]["two"]
    assert (found["enabled"], found["timeout"], found["type"]) == (False, 7, "stdio")


@pytest.mark.parametrize(
    ("client", "name", "place", "read"),
    [
        (
            "codex",
            "codex.config.toml",
            ".codex/config.toml",
            lambda text: tomllib.loads(text)["mcp_servers"]["git"],
        ),
        (
            "goose",
            "goose.config.yaml",
            ".config/goose/config.yaml",
            lambda text: read_yaml(text)["extensions"]["git"],
        ),
        (
            "continue",
            "continue.config.yaml",
            ".continue/config.yaml",
            lambda text: read_yaml(text)["mcpServers"][-1],
        ),
        ("opencode", "opencode.jsonc", ".config/opencode/opencode.jsonc", None),
        ("claude-code", "claude.json", ".claude.json", None),
    ],
)
def test_each_language_is_edited(home, client, name, place, read):
    file = put(home, name, place)
    for _ in range(2):
        assert run(home, client, "git", "--write", "--http") == 0
    text = file.read_text()
    assert "http://127.0.0.1:8808/servers/git/mcp" in text
    assert file.stat().st_mode & 0o777 == 0o600
    if read is not None:
        assert "http://127.0.0.1:8808/servers/git/mcp" in read(text).values()


def test_a_new_file_is_closed_to_others(home):
    assert run(home, "cursor", "git", "--write", "--http") == 0
    file = home / ".cursor/mcp.json"
    assert file.stat().st_mode & 0o777 == 0o600
    token = json.loads(file.read_text())["mcpServers"]["git"]["headers"]["Authorization"].removeprefix(
        "Bearer "
    )
    found = tomllib.loads((home / "config.toml").read_text())["tokens"]["cursor-git"]
    assert found == {"sha256": hashlib.sha256(token.encode()).hexdigest(), "servers": ["git"]}


def test_one_named_token_serves_all_entries_of_a_client(home, capsys):
    for server in ("git", "two", "git"):
        assert run(home, "cursor", server, "--write", "--http", "--token", "editor") == 0
    entries = json.loads((home / ".cursor/mcp.json").read_text())["mcpServers"]
    assert len({entry["headers"]["Authorization"] for entry in entries.values()}) == 1
    found = tomllib.loads((home / "config.toml").read_text())["tokens"]
    assert {name: token["servers"] for name, token in found.items()} == {"editor": ["git", "two"]}
    shown = capsys.readouterr()
    assert "mcpb_" not in shown.out + shown.err
    assert "the token editor may now use two as well" in shown.err


def test_a_command_can_be_the_principal_of_a_token(home):
    assert run(home, "cursor", "git", "--write", "--token", "editor") == 0
    entry = json.loads((home / ".cursor/mcp.json").read_text())["mcpServers"]["git"]
    assert entry["args"][:4] == ["connect", "git", "--as", "editor"]
    assert tomllib.loads((home / "config.toml").read_text())["tokens"]["editor"]["servers"] == ["git"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("mcp-proxy", "git", "--write"), 64, "mcp-proxy has no usual file; name it with --file"),
        (("cursor", "git", "--file", "x"), 64, "--file needs --write"),
        (("vscode", "git", "--write", "--http", "--file", "shop/.vscode/mcp.json"), 64, "is often committed"),
        (("cursor", "git", "--write", "--file", "broken.json"), 78, "broken.json: not valid JSON"),
        (("cursor", "git", "--write", "--file", "number.json"), 78, "mcpServers is not an object"),
        (("cursor", "git", "--write", "--file", "binary.json"), 78, "binary.json cannot be read"),
        (("cursor", "git", "--write", "--file", "large.json"), 78, "has more than"),
    ],
)
def test_an_error_changes_nothing(home, capsys, words, code, text):
    (home / "broken.json").write_text("{oops")
    (home / "number.json").write_text('{"mcpServers": 5}')
    (home / "binary.json").write_bytes(b"\xff")
    (home / "large.json").write_bytes(b" " * (4 * 1024 * 1024 + 1))
    before = (home / "config.toml").read_text()
    assert run(home, *words) == code
    assert text in capsys.readouterr().err
    assert (home / "config.toml").read_text() == before


def test_a_file_of_a_project_gets_the_command(home):
    assert run(home, "vscode", "git", "--write", "--file", ".vscode/mcp.json") == 0
    assert json.loads((home / ".vscode/mcp.json").read_text())["servers"]["git"]["type"] == "stdio"


def cursor_file(home, text="{}"):
    file = home / ".cursor/mcp.json"
    file.parent.mkdir()
    file.write_text(text)
    return file


def test_no_token_is_replaced_for_a_file_that_cannot_be_written(home, capsys, monkeypatch):
    file = cursor_file(home)
    assert run(home, "cursor", "git", "--write", "--http") == 0
    before = (home / "config.toml").read_text()
    file.write_text("{}")
    # Root can write everywhere.
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert run(home, "cursor", "git", "--write", "--http") == 78
    assert (home / "config.toml").read_text() == before
    assert "read-only" in capsys.readouterr().err


def test_a_file_that_changes_meanwhile_is_not_replaced(home, capsys, monkeypatch):
    file = cursor_file(home)
    monkeypatch.setattr(client_file, "check_writable", lambda one: one.path.write_text('{"new": 1}'))
    assert run(home, "cursor", "git", "--write") == 78
    assert file.read_text() == '{"new": 1}'
    assert "has just been changed by another program" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["fifo", "dangling", "directory"])
def test_what_is_no_file_is_refused(home, capsys, kind):
    path = home / "odd"
    {"fifo": os.mkfifo, "dangling": lambda one: one.symlink_to("no"), "directory": os.mkdir}[kind](path)
    assert run(home, "cursor", "git", "--write", "--file", str(path)) == 78
    assert "is not a file" in capsys.readouterr().err


def test_a_linked_file_stays_a_link_and_its_repository_is_named(home, capsys):
    (home / ".git").mkdir()
    target = home / "dotfiles.json"
    target.write_text("{}")
    link = home / ".cursor/mcp.json"
    link.parent.mkdir()
    link.symlink_to(target)
    assert run(home, "cursor", "git", "--write", "--http") == 0
    assert link.is_symlink()
    assert "git" in target.read_text()
    modes = [path.stat().st_mode & 0o777 for path in (target, home / "dotfiles.json.bak")]
    assert modes == [0o600, 0o600]
    assert f"is in the Git repository {home}; do not commit it" in capsys.readouterr().err


def test_without_home_no_file_is_chosen(home, capsys):
    environment = {"XDG_RUNTIME_DIR": str(home / "run"), "PATH": os.environ["PATH"]}
    words = ["client-config", "cursor", "git", "--write", "--config", str(home / "config.toml")]
    assert dispatch.run(words, environment) == 64
    assert "HOME is not set" in capsys.readouterr().err


def test_json_has_the_entry_or_what_was_written(home, capsys):
    assert run(home, "cursor", "two", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["client"], shown["server"], shown["path"]) == ("cursor", "two", ["mcpServers", "two"])
    assert json.loads(shown["text"])["mcpServers"]["two"] == shown["entry"]
    assert not (home / ".cursor/mcp.json").exists()
    assert run(home, "cursor", "two", "--json", "--write") == 0
    written = json.loads(capsys.readouterr().out)
    assert (written["replaced"], written["backup"]) == (False, None)
    assert json.loads(Path(written["file"]).read_text())["mcpServers"]["two"] == shown["entry"]
    assert run(home, "cursor", "two", "--json", "--write") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["replaced"]
    assert again["backup"] is None or Path(again["backup"]).exists()


@pytest.mark.parametrize(
    ("there", "place"),
    [
        ((), ".config/Code/User/globalStorage/saoudrizwan.claude-dev/settings"),
        ((".cline/data/settings",), ".cline/data/settings"),
        ((".config/Cursor/User/globalStorage/saoudrizwan.claude-dev/settings",), None),
    ],
)
def test_a_client_in_several_programs_gets_the_file_of_the_one_that_is_there(home, there, place):
    for directory in there:
        (home / directory).mkdir(parents=True)
    assert run(home, "cline", "git", "--write") == 0
    assert (home / (place or there[0]) / "cline_mcp_settings.json").is_file()


def test_the_comments_of_an_entry_in_toml_stay_and_it_stays_in_its_place(home):
    file = home / ".codex/config.toml"
    file.parent.mkdir()
    file.write_text(
        "[mcp_servers.git]\n# the program\ncommand = 'npx' # old\n# how long\nstartup_timeout_sec = 9 # seconds\n\n"
        "[mcp_servers.git.env]\n# a variable\nA = 'b'\n\n# the next\n[mcp_servers.next]\ncommand = 'n'\n"
    )
    assert run(home, "codex", "git", "--write") == 0
    text = file.read_text()
    found = tomllib.loads(text)["mcp_servers"]
    assert (found["git"]["startup_timeout_sec"], "env" in found["git"], found["next"]) == (
        9,
        False,
        {"command": "n"},
    )
    assert found["git"]["args"][:2] == ["connect", "git"]
    for comment in ("# the program", "# how long", "# seconds", "# the next\n[mcp_servers.next]"):
        assert comment in text
    assert text.index("mcp_servers.git]") < text.index("mcp_servers.next]")


def test_the_command_of_a_module_is_that_of_its_interpreter(home, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(home / "mcpbridged/__main__.py")])
    assert run(home, "cursor", "git", "--write") == 0
    entry = json.loads((home / ".cursor/mcp.json").read_text())["mcpServers"]["git"]
    assert [entry["command"], *entry["args"]][:5] == [sys.executable, "-m", "mcpbridged", "connect", "git"]
