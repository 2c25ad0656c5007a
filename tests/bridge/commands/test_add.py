"""`mcp-bridge add`: the table of a new server."""

import os
import tomllib

import pytest

from mcpbridged.bridge.commands import dispatch

KEY = "sk-abcdefghijklmnopqrstuvwx"


@pytest.fixture
def add(tmp_path, monkeypatch, capsys):
    """Run `add` in a directory with one server file, and return the exit code, the tables and the messages."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server.py").write_text("")
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o755)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path / "none"),
    }
    file = tmp_path / ".config/mcp-bridge/config.toml"

    def do(*words):
        try:
            code = dispatch.run(["add", *words], environment)
        except SystemExit as fault:
            code = fault.code
        servers = tomllib.loads(file.read_text()).get("servers", {}) if file.exists() else {}
        printed = capsys.readouterr()
        return code, servers, printed.out + printed.err

    return do


@pytest.mark.parametrize(
    ("words", "table"),
    [
        (["--", "true"], {"command": "true"}),
        (["true"], {"command": "true"}),
        (["--", "true", "-y", "--url", "--", "a b"], {"command": "true", "args": ["-y", "--url", "--", "a b"]}),
        (["--", "./run", "~/x"], {"command": "HERE/run", "args": ["~/x"]}),
        (["--", "~/run"], {"command": "~/run"}),
        (["--cwd", "sub/../x", "--share", "server", "--", "true"], {"command": "true", "cwd": "HERE/x", "share": "server"}),
        (["--cwd", "${HOME}/x", "--", "true"], {"command": "true", "cwd": "${HOME}/x"}),
        (["--env", "A=b=c", "--env", "B=", "--", "true"], {"command": "true", "env": {"A": "b=c", "B": ""}}),
        (["--pass-env", "A", "--pass-env", "@desktop", "--", "true"], {"command": "true", "pass_env": ["A", "@desktop"]}),
        (["--env-file", "x.env", "--", "true"], {"command": "true", "env_file": "HERE/x.env"}),
        (["--secret", "K=key", "--secret", "L=exec:pass show l", "--secret", "M=~/m", "--", "true"],
         {"command": "true", "secrets": {"K": "HERE/key", "L": "exec:pass show l", "M": "~/m"}}),
        (["--sandbox", "landlock", "--read", "data", "--read", "cwd", "--write", "~/out", "--connect", "443", "--connect", "80", "--", "true"],
         {"command": "true", "sandbox": "landlock", "read": ["HERE/data", "cwd"], "write": ["~/out"], "connect": [443, 80]}),
        (["--sandbox", "bwrap", "--no-network", "--", "true"], {"command": "true", "sandbox": "bwrap", "network": False}),
        (["--url", "https://h.example/mcp"], {"url": "https://h.example/mcp"}),
        (["https://h.example/mcp"], {"url": "https://h.example/mcp"}),
        (["--url", "https://h.example/mcp", "--transport", "sse", "--header", "X-A: b:c", "--secret-header", "Authorization=key"],
         {"url": "https://h.example/mcp", "transport": "sse", "headers": {"X-A": "b:c"}, "secret_headers": {"Authorization": "HERE/key"}}),
    ],
)  # fmt: skip
def test_the_options_become_keys(add, tmp_path, words, table):
    code, servers, text = add("My_Server", *words)
    assert code == 0, text
    expected = {"My_Server": table}
    assert servers == eval(repr(expected).replace("HERE", str(tmp_path)))
    assert "added My_Server to" in text
    assert "no daemon is running" in text
    assert "http://127.0.0.1:8808/servers/My_Server/mcp" in text


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["a"], 64, "add needs the command of the server: mcp-bridge add a -- COMMAND"),
        ([], 64, "NAME"),
        (["a", "--url", "https://h/", "--", "true"], 64, "a command or --url, not both"),
        (["a", "--url", "https://h/", "--env", "A=b", "--cwd", "/"], 64, "--env, --cwd: only with a command"),
        (["a", "--header", "A:b", "--", "true"], 64, "--header: only with --url"),
        (
            ["a", "--url", "https://h/", "--sandbox", "bwrap", "--no-network"],
            64,
            "--sandbox, --no-network: only with a command",
        ),
        (["a", "--read", "/x", "--", "true"], 78, "servers.a"),
        (["a", "--sandbox", "landlock", "--connect", "70000", "--", "true"], 78, "servers.a: connect"),
        (["a", "--env", KEY, "--", "true"], 64, "--env needs NAME=VALUE"),
        (["a", "--header", "A", "--url", "https://h/"], 64, "--header needs NAME:VALUE"),
        (["a", "npx", "-y", "x"], 64, "put the command of the server last, after --"),
        (["a b", "--", "true"], 78, "a name is 1 to 32 letters"),
        (["a", "--", "p", "${API_KEY}"], 78, "servers.a: args: ${API_KEY} is not expanded"),
        (["a", "--url", "ftp://h/"], 78, "servers.a: url"),
        (["a", "--env", "LD_PRELOAD=x", "--", "true"], 78, "LD_PRELOAD is refused"),
    ],
)
def test_what_cannot_be_a_server_changes_nothing(add, words, code, reason):
    found, servers, text = add(*words)
    assert (found, servers) == (code, {}), text
    assert reason in text
    assert KEY not in text


def test_an_existing_server_stays(add):
    assert add("a", "--", "true")[0] == 0
    code, servers, text = add("a", "--", "false")
    assert (code, servers) == (78, {"a": {"command": "true"}})
    assert "servers.a exists already" in text
    code, servers, text = add("A", "--", "false")
    assert (code, list(servers)) == (78, ["a"])
    assert "differs from 'a' in capitals only" in text


def test_doubts_are_written_and_the_server_is_added(add):
    code, servers, text = add(
        "a", "--env", f"API_KEY={KEY}", "--", "no-such-program", "./server.py", "/x", "y"
    )
    assert (code, list(servers)) == (0, ["a"])
    assert "warning: API_KEY looks like a secret" in text
    assert KEY not in text
    assert "warning: there is no program 'no-such-program'" in text
    assert "warning: ./server.py: a relative path is resolved in the directory of the daemon" in text
    assert "relative path" not in add("b", "--cwd", ".", "--", "true", "./server.py")[2]


def test_comments_of_the_file_stay(add, tmp_path):
    add("a", "--", "true")
    file = tmp_path / ".config/mcp-bridge/config.toml"
    file.write_text(file.read_text() + "# mine\n")
    add("b", "--", "true")
    assert file.read_text().endswith(
        '[servers.a]\ncommand = "true"\n# mine\n\n[servers.b]\ncommand = "true"\n'
    )
