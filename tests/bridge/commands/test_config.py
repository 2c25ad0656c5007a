"""`config show` prints what `config check` accepts, with every key of the schema; `config fmt` and `check --json`."""

import json
import os

import attrs
import pytest

from mcpbridged.bridge.commands import dispatch
from mcpbridged.bridge.config import schema, tables

from ...support.config_file import DIGEST

# A value other than the default for each key.
SERVER = {
    "command": '["sh", "-c", "true"]', "enabled": "true", "share": '"principal"', "era": '"legacy"', "start": '"eager"',
    "spare": "1", "tools": '{ allow = ["a*"], deny = ["b"] }', "features": '{ deny = ["sampling"] }', "cwd": '"/"',
    "umask": '"027"', "rlimits": "{ nofile = 100 }", "private_tmp": "true", "env": '{ A = "1", "B" = "\\u0007é" }',
    "pass_env": '["@kubernetes"]', "withhold_env": '["LANG"]', "path": '["/bin"]', "env_from_header": '{ A_KEY = "X-Key" }',
    "env_from_header_allow": '["A_*"]', "limits": "{ body = 5000 }",
    "definitions": '"warn"', "validate": '"strict"', "content": '{ mime = "warn", characters = "refuse" }', "sandbox": '"basic"', "network": "true",
    "argument_bytes": '{ "a*" = 10 }', "rates": '{ principal = "1/second" }', "tool_rates": '{ "a*" = "1/minute burst 2" }',
}  # fmt: skip
REMOTE = {
    "url": '"https://x.example/mcp"', "transport": '"http"', "headers": '{ X-Team = "red" }', "proxy": '""',
    "connect_seconds": "5", "plain_http": "true", "oauth": '{ client_id = "me" }',
}  # fmt: skip
LISTEN = {
    "http": '"127.0.0.1:9000"', "unix": '"/run/x.sock"', "authenticate": "true", "hosts": '["a.example"]',
    "origins": '["http://localhost:1"]', "health": '["/alive"]', "token_overlap": "5", "trusted_proxies": '["127.0.0.1"]',
    "forwarded_header": '"forwarded"', "root_path": '"/bridge"', "basic": "true",
}  # fmt: skip
# They need files or clients, or exclude another key. The last ones belong to other areas of the file.
LEFT_OUT = {
    *("ca_file", "client_cert", "client_key", "cwd_allowed", "cwd_trust", "env_file", "pin", "secret_headers", "secrets"),
    *("request_state_keys", "token", "tls_cert", "tls_key", "tls_client_ca", "tls_client_cert", "args"),
    # They need a kernel with Landlock.
    *("sandbox_preset", "read", "write", "connect"),
}  # fmt: skip


def section(name, keys):
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


WHOLE = "\n".join(
    [
        "config_version = 1\napproval = false\n",
        section("listen", LISTEN),
        section("log", {"level": '"debug"', "format": '"json"', "calls": "true"}),
        section("limits", {"body": "1000", "head_seconds": "0.5"}),
        section("servers.local", SERVER),
        section("servers.remote", REMOTE),
        section("servers.off", {"command": '["x"]', "enabled": "false"}),
        section("tokens.a", {"sha256": f'"{DIGEST}"', "servers": '["local"]', "tools": '{ allow = ["x"] }'}),
        section(
            "tokens.b",
            {"sha256": f'"{DIGEST[::-1]}"', "expires": "2030-01-31T00:00:00Z", "methods": '["tools/*"]'},
        ),
        section("access_tokens", {"issuer": '"https://i.example"', "resource": '"https://r.example"'}),
        section('access_tokens.scopes."a:b"', {"servers": '["local"]', "read_only": "true"}),
        section("aggregate", {"servers": '["local"]', "name": '"n"', "instructions": '"""\nmany\nlines"""'}),
    ]
)


@pytest.fixture
def config(tmp_path, capsys, monkeypatch):
    """Return a function that runs an action of `config` on a text, and returns the exit code and the output."""
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(folder)}

    def run(text, *words):
        path = folder / "config.toml"
        path.write_text(text)
        path.chmod(0o600)
        code = dispatch.run(["config", *words, "--config", str(path)], variables)
        done = capsys.readouterr()
        return code, done.out, done.err

    run.path = folder / "config.toml"
    return run


def test_the_example_has_every_key_of_the_schema():
    assert {*SERVER, *REMOTE, *LEFT_OUT} >= {field.name for field in attrs.fields(schema.Server)}
    assert {*LISTEN, *LEFT_OUT} >= {field.name for field in attrs.fields(schema.Listen)}


@pytest.mark.parametrize("words", [("show",), ("show", "--effective")], ids=" ".join)
def test_what_is_shown_is_a_configuration_with_the_same_meaning(config, words):
    code, shown, errors = config(WHOLE, *words)
    assert (code, errors) == (0, "")
    before, after = tables.parse(WHOLE.encode()), tables.parse(shown.encode())
    assert after.limits.items() >= before.limits.items()
    assert attrs.evolve(after, limits=before.limits) == before
    code, again, _ = config(shown, *words)
    assert (code, again) == (0, shown)
    code, _, errors = config(shown, "check")
    assert (code, errors) == (0, "")


def test_no_secret_is_shown_and_the_rest_is_still_valid(config):
    text = (
        "[servers.a]\ncommand = ['sh', 'sk-livecanary1']\nenv = { API_KEY = 'canary2', DEBUG = '1' }\n"
        "[servers.b]\nurl = 'https://x.example/mcp?token=canary3'\n"
    )
    for words in (("show",), ("show", "--effective")):
        code, shown, _ = config(text, *words)
        assert (code, "canary" in shown) == (0, False)
        assert 'DEBUG = "1"' in shown
        assert tables.parse(shown.encode()).servers["b"].url == "https://x.example/mcp?hidden"


def test_the_reason_why_a_server_fails_is_a_comment(config):
    code, shown, _ = config("[servers.a]\ncommand = ['no-such-program']\n", "show")
    assert code == 0
    assert "[servers.a]\n# fails: there is no program 'no-such-program'" in shown


def test_check_prints_all_errors_as_json(config):
    code, shown, _ = config("[log]\nlevel = 'loud'\n[servers.a]\ncomand = ['x']\n", "check", "--json")
    found = json.loads(shown)
    assert (code, found["valid"], found["file"]) == (78, False, str(config.path))
    assert [(one["line"], one["column"], one["key"]) for one in found["errors"]] == [
        (2, 9, "log.level"),
        (4, 1, "servers.a.comand"),
    ]
    code, shown, _ = config(WHOLE, "check", "--json")
    assert (code, json.loads(shown)) == (
        0,
        {"file": str(config.path), "valid": True, "servers": 2, "tokens": 2, "errors": [], "warnings": []},
    )


def test_errors_in_files_that_the_configuration_names_have_the_place_of_their_key(config):
    (config.path.parent / "more.env").write_text("A=1\nnonsense\nLD_PRELOAD=x\n")
    (config.path.parent / "more.env").chmod(0o600)
    text = "[servers.a]\ncommand = ['sh']\nenv_file = 'more.env'\nsecrets.PIN = '/no/such/file'\n[listen]\ntoken = '/no/token'\n"
    code, _, errors = config(text, "check")
    assert code == 78
    lines = [line.removeprefix(f"mcp-bridge: {config.path}:") for line in errors.splitlines()]
    folder = config.path.parent
    assert [line[:60] for line in lines] == [
        line[:60]
        for line in (
            f"3:12: servers.a: env_file: {folder}/more.env:2: is not KEY=VALUE",
            f"3:12: servers.a: env_file: {folder}/more.env:3: LD_PRELOAD is refused",
            "4:15: servers.a: the secret file /no/such/file cannot be read",
            "6:9: listen: token: the secret file /no/token cannot be read",
        )
    ]


def test_the_file_is_formatted_and_keeps_its_mode(config):
    text = "[log]\nlevel='info' # x\n[listen]\nunix=true\n"
    code, shown, _ = config(text, "fmt", "--check")
    assert (code, "is not formatted" in shown, config.path.read_text()) == (1, True, text)
    code, shown, _ = config(text, "fmt")
    tidy = "[listen]\nunix = true\n\n[log]\nlevel = 'info'  # x\n"
    assert (code, config.path.read_text(), config.path.stat().st_mode & 0o777) == (0, tidy, 0o600)
    code, shown, _ = config(tidy, "fmt", "--check")
    assert (code, "is formatted" in shown) == (0, True)


def test_an_invalid_file_is_not_formatted(config):
    code, _, errors = config("[log]\nlevel=5\n", "fmt")
    assert (code, config.path.read_text()) == (78, "[log]\nlevel=5\n")
    assert "2:7: log: level: must be" in errors


def test_show_prints_the_same_tables_as_json(tmp_path, capsys):
    path = tmp_path / "config.toml"
    path.write_text('[servers.a]\ncommand = ["sh", "-c", "true"]\nenv = { TOKEN = "abc" }\n')
    path.chmod(0o600)
    assert dispatch.run(["config", "show", "--json", "--config", str(path)], dict(os.environ)) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["servers"]["a"] == {"command": ["sh", "-c", "true"], "env": {"TOKEN": "[secret]"}}


@pytest.mark.parametrize("words", [["config", "check"], ["config", "show"]])
def test_a_missing_file_is_named_once(tmp_path, capsys, words):
    path = tmp_path / "config.toml"
    assert dispatch.run([*words, "--config", str(path)], dict(os.environ)) == 78
    assert capsys.readouterr().err.startswith(f"mcp-bridge: {path}: there is no such file; ")
