"""`config import`: what is written, what is shown, and the exit status."""

import importlib.util
import io
import json
import os
import tomllib
from pathlib import Path

import pytest

from mcpbridged.bridge.commands import dispatch
from mcpbridged.bridge.config import load

TESTS = Path(__file__).parents[1]
FIXTURES = TESTS / "bridge/config/fixtures"
SECRETS = ("ghp_0123456789abcdefghij", "pa55word")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old = os.umask(0o022)
    yield tmp_path
    os.umask(old)


def put(home, name, place):
    target = home / place
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text((FIXTURES / name).read_text())
    return target


def run(home, *words, **variables):
    environment = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), **variables}
    return dispatch.run(["config", "import", *words], environment)


def config(home):
    return home / ".config/mcp-bridge/config.toml"


def test_a_preview_is_a_diff_and_changes_nothing(home, capsys):
    put(home, "claude_desktop_config.json", ".config/Claude/claude_desktop_config.json")
    assert run(home, "claude-desktop") == 0
    shown = capsys.readouterr()
    assert f"+++ {config(home)}" in shown.out
    assert "+[servers.github.secrets]" in shown.out
    assert "nothing was changed; --write adds the servers" in shown.err
    assert not config(home).exists()
    assert not any(secret in shown.out + shown.err for secret in SECRETS)


def test_writing_keeps_secrets_in_files_that_only_the_user_can_read(home, capsys):
    put(home, "claude_desktop_config.json", ".config/Claude/claude_desktop_config.json")
    assert run(home, "claude-desktop", "--write") == 0
    shown = capsys.readouterr()
    assert shown.out == f"added to {config(home)}: filesystem, github, postgres\n"
    text = config(home).read_text()
    assert not any(secret in text + shown.out + shown.err for secret in SECRETS)
    found = {path.name: path.stat().st_mode & 0o777 for path in config(home).parent.iterdir()}
    assert found == dict.fromkeys(
        ["config.toml", "github.GITHUB_PERSONAL_ACCESS_TOKEN", "postgres.ARGUMENT_3"], 0o600
    )
    settings = load.load(config(home), {"HOME": str(home), "PATH": os.environ["PATH"]})
    [github] = [server for server in settings.servers if server.name == "github"]
    assert github.launch.env.get("GITHUB_PERSONAL_ACCESS_TOKEN", SECRETS[0]) == SECRETS[0]


def test_a_second_run_adds_nothing_also_after_local_changes(home, capsys):
    put(home, "claude_desktop_config.json", ".config/Claude/claude_desktop_config.json")
    run(home, "claude-desktop", "--write")
    text = config(home).read_text().replace("[servers.filesystem]", "[servers.files]")
    text = text.replace('"/home/user/Downloads"]', '"/elsewhere"]\nshare = "principal"')
    config(home).write_text(text)
    capsys.readouterr()
    assert run(home, "claude-desktop", "--write") == 0
    shown = capsys.readouterr()
    assert "there is no server to add" in shown.err
    assert "'filesystem' is already there as files, and is kept as it is." in shown.err
    assert config(home).read_text() == text


def test_the_former_configuration_has_a_backup_and_keeps_its_comments(home, capsys):
    put(home, "cline_mcp_settings.json", "cline_mcp_settings.json")
    config(home).parent.mkdir(parents=True)
    before = '# mine\n[servers.own]\ncommand = ["own"] # and this\n'
    config(home).write_text(before)
    config(home).chmod(0o640)
    assert run(home, "cline_mcp_settings.json", "--write") == 0
    assert config(home).with_name("config.toml.bak").read_text() == before
    assert config(home).read_text().startswith(before)
    assert config(home).stat().st_mode & 0o777 == 0o640
    assert "the former configuration is in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words", "code"),
    [
        ("vscode.mcp.json", (), 65),
        ("windsurf.mcp_config.json", (), 0),
        ("continue.config.yaml", (), 65),
        ("oci.server.json", (), 0),
    ],
)
def test_what_is_lost_changes_the_exit_status(home, name, words, code):
    put(home, name, name)
    assert run(home, name, *words) == code


def test_standard_input_is_read(home, monkeypatch, capsys):
    content = (FIXTURES / "codex.config.toml").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert run(home, "-", "--client", "codex", "--write") == 0
    assert set(tomllib.loads(config(home).read_text())["servers"]) == {"context7", "figma", "files", "off"}
    assert "-: 4 servers, in the form of Codex" in capsys.readouterr().err


def test_every_client_of_the_machine_is_read(home, capsys):
    put(home, "claude_desktop_config.json", ".config/Claude/claude_desktop_config.json")
    put(home, "zed.settings.json", ".config/zed/settings.json")
    put(home, "codex.config.toml", ".codex/config.toml")
    put(home, "continue.config.yaml", ".continue/mcpServers/one.yaml")
    (home / ".cursor").mkdir()
    (home / ".cursor/mcp.json").write_text('{"mcpServers": {}}')
    (home / ".gemini").mkdir()
    (home / ".gemini/settings.json").write_text("{oops")
    assert run(home, "--all", "--write") == 65
    shown = capsys.readouterr()
    assert "warning: " in shown.err
    assert ".gemini/settings.json: not valid JSON: line 1, column 2" in shown.err
    servers = tomllib.loads(config(home).read_text())["servers"]
    assert {"filesystem", "github", "git", "context7", "figma"} <= set(servers)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 64, "config import needs a FILE, - for standard input, the name of a client, or --all"),
        (("--all", "x.json"), 64, "config import needs a FILE"),
        (("cursor",), 78, "Cursor has no file here"),
        (("mcp-proxy",), 78, "no usual place"),
        (("/none.json",), 78, "/none.json cannot be read: No such file or directory"),
        (("empty.json",), 78, "empty.json: no servers found"),
        (("large.json",), 78, "large.json has more than 4194304 bytes"),
        (("binary.json",), 78, "binary.json is not UTF-8 at byte 1"),
    ],
)
def test_an_error_names_what_is_wrong(home, capsys, words, code, text):
    (home / "empty.json").write_text("{}")
    (home / "binary.json").write_bytes(b"{\xff")
    (home / "large.json").write_bytes(b" " * (4 * 1024 * 1024 + 1))
    assert run(home, *words) == code
    assert text in capsys.readouterr().err


def test_the_options_belong_to_import(home, capsys):
    environment = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")}
    assert dispatch.run(["config", "check", "--write"], environment) == 64
    assert "takes none of --all, --write, --client and --project" in capsys.readouterr().err


def test_a_secret_in_a_url_is_not_shown_and_the_file_is_closed_to_others(home, capsys):
    secret = "sk-0123456789abcdefghij"
    (home / "x.json").write_text(
        f'{{"mcpServers": {{"x": {{"url": "https://e.com/mcp?api_key={secret}"}}}}}}'
    )
    run(home, "x.json")
    shown = capsys.readouterr()
    assert secret not in shown.out + shown.err
    assert "api_key=[secret]" in shown.out
    run(home, "x.json", "--write")
    assert config(home).stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_the_page_about_clients_is_what_the_command_writes():
    script = TESTS / "clients/import_table.py"
    spec = importlib.util.spec_from_file_location("import_table", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.DOCUMENT.read_text() == module.document()


def test_a_preview_hides_secrets_of_servers_that_were_there(home, capsys):
    config(home).parent.mkdir(parents=True, mode=0o700)
    config(home).write_text('[servers.far]\nurl = "https://e.com/mcp?api_key=hunter2hunter2"\n')
    config(home).chmod(0o600)
    put(home, "claude_desktop_config.json", ".config/Claude/claude_desktop_config.json")
    assert run(home, "claude-desktop") == 0
    shown = capsys.readouterr().out
    assert "api_key=[secret]" in shown
    assert "hunter2" not in shown


def test_a_directory_with_the_name_of_a_client_is_no_file(home):
    put(home, "claude_desktop_config.json", ".config/Claude/claude_desktop_config.json")
    (home / "claude-desktop").mkdir()
    assert run(home, "claude-desktop") == 0


def test_the_port_of_the_daemon_decides_whether_a_url_is_ours(home, capsys):
    config(home).parent.mkdir(parents=True, mode=0o700)
    config(home).write_text('[listen]\nhttp = "127.0.0.1:9000"\n[servers.x]\ncommand = ["x"]\n')
    config(home).chmod(0o600)
    text = json.dumps(
        {"mcpServers": {str(n): {"url": f"http://localhost:{n}/servers/x/mcp"} for n in (9000, 8808)}}
    )
    (home / "f.json").write_text(text)
    assert run(home, "f.json") == 0
    shown = capsys.readouterr()
    assert "'9000' is left out: it is a server of this bridge." in shown.err
    assert "localhost:8808" in shown.out


def test_the_secret_of_another_server_is_not_replaced(home):
    config(home).parent.mkdir(parents=True, mode=0o700)
    kept = config(home).parent / "gh.TOKEN"
    kept.write_text("former\n")
    kept.chmod(0o600)
    (home / "f.json").write_text(
        json.dumps({"mcpServers": {"gh": {"command": "gh", "env": {"TOKEN": "new"}}}})
    )
    assert run(home, "f.json", "--write") == 0
    assert kept.read_text() == "former\n"
    assert tomllib.loads(config(home).read_text())["servers"]["gh"]["secrets"] == {"TOKEN": "gh.TOKEN-2"}
    assert kept.with_name("gh.TOKEN-2").read_text() == "new\n"


def test_json_has_the_change_and_what_was_not_carried_over(home, capsys):
    (home / "x.json").write_text(json.dumps({"mcpServers": {"a": {"command": "true"}, "b": {}}}))
    assert run(home, str(home / "x.json"), "--json") == 65
    shown = json.loads(capsys.readouterr().out)
    assert (shown["written"], shown["added"]) == (False, ["a"])
    assert any(line.startswith("+[servers.a]") for line in shown["diff"])
    assert any("b" in problem for problem in shown["problems"])
    assert not config(home).exists()
    assert run(home, str(home / "x.json"), "--json", "--write") == 65
    assert json.loads(capsys.readouterr().out)["written"]
    assert "[servers.a]" in config(home).read_text()
    assert run(home, str(home / "x.json"), "--json", "--write") == 65
    assert json.loads(capsys.readouterr().out)["added"] == []


def test_a_server_that_another_file_of_the_client_switches_off_stays_off(home, capsys):
    put(home, "copilot.mcp-config.json", ".copilot/mcp-config.json")
    switches = home / ".copilot/settings.json"
    switches.write_text('{"disabledMcpServers": ["context7"]}')
    assert run(home, "copilot", "--write") == 0
    servers = tomllib.loads(config(home).read_text())["servers"]
    assert [name for name, server in servers.items() if server.get("enabled") is False] == ["context7"]
    switches.write_text("{")
    assert run(home, "copilot") == 78
    assert f"{switches}: not valid JSON" in capsys.readouterr().err


def test_the_files_beside_a_file_elsewhere_are_not_read(home):
    put(home, "copilot.mcp-config.json", "copy/mcp-config.json")
    (home / "copy/settings.json").write_text("{")
    assert run(home, "copy/mcp-config.json", "--client", "copilot") == 0
