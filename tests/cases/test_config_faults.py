"""An unusable configuration is an error with file, line and key, without a traceback and without a secret."""

import datetime as dt
import json
import os
import random
import subprocess
import sys

import attrs
import pytest

from mcpbridged.bridge.commands import dispatch
from mcpbridged.bridge.config import load, schema, tables
from mcpbridged.bridge.config.tables import BadConfig

SECRETS = [
    "plainsecretvalue",
    "Tr0ub4dor&3-and-more",
    "ghp_0123456789abcdefABCDEF0123456789abcd",
    "sk-live/AbC123+x==",
]
HERE = {"PATH": "/bin", "HOME": "/home/me", "XDG_RUNTIME_DIR": "/run/me"}
SERVER = "[servers.a]\ncommand = ['true']\n"


@attrs.frozen
class Done:
    returncode: int
    stderr: str


def check(folder, data, capsys):
    """Run `mcp-bridge config check` in this process. Return its exit code and its output."""
    path = folder / "config.toml"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    path.chmod(0o600)
    code = dispatch.run(["config", "check", "--config", str(path)], {**HERE, "PATH": os.environ["PATH"]})
    return Done(code, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("data", "output"),
    [
        ("a = 1\nlimits.body = " + "9" * 5000, "config.toml:2:15: holds a number that is too long"),
        ("limits.body = " + "9_" * 4500 + "9", "config.toml:1:15: holds a number that is too long"),
        ("limits.body = 0x" + "f" * 5000, "limits: body must be"),
        ("config_version = 0b" + "1" * 20000, "version 1 is supported"),
        ("limits.head_seconds = 1e999", "not inf"),
        ("limits.head_seconds = nan", "not nan"),
        (SERVER + "spare = 0x" + "f" * 5000, "servers.a: spare"),
        (SERVER + "rlimits.as = 0x" + "f" * 5000, "servers.a: rlimits"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        (SERVER + "limits" + ".a" * 3000 + " = 1", "servers.a: limits"),
        (SERVER + "env = " + "{a=" * 3000 + "1" + "}" * 3000, "nested too deeply"),
        (b"\n\xff\xfe", "is not UTF-8 at byte 1 (line 2)"),
        ("[listen]".encode("utf-16"), "is not UTF-8 at byte 0 (line 1)"),
        (b"\xef\xbb\xbf[listen]", "begins with a byte order mark"),
        ("[log]\n\nlevel = 'loud'", "config.toml:3:9: log: level: must be 'debug', 'info', 'warning', 'error' or 'none', not the string 'loud'"),
        ("\nlog = 1", "config.toml:2:7: log: must be a table, not 1"),
        (SERVER + "\n[servers.b]\nspare = 1979-05-27\ncommand = ['x']", "config.toml:5:9: servers.b: spare: must be a whole number from 0 to 8, not 1979-05-27"),
        (SERVER + "cwd = '/" + "x" * 4000 + "'", "is not a directory"),
    ],
)  # fmt: skip
def test_an_error_names_file_line_and_key(tmp_path, capsys, data, output):
    done = check(tmp_path, data, capsys)
    assert done.returncode == 78
    assert output in done.stderr
    assert str(tmp_path / "config.toml") in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 10_000


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "text",
    [
        SERVER + "secrets.K = {0}",
        SERVER + "secrets = {0}",
        SERVER + "secrets.K = [{0}]",
        SERVER + "secrets.K = 5\nsecrets.L = {0}",
        SERVER + "secrets.K = {exec}",
        SERVER + "env = {{A = {0}, B = 5}}",
        SERVER + "env = {0}",
        SERVER + "env.A = [{0}]",
        SERVER + "pass_env = [{variable}]",
        SERVER + "env_file = 5\nenv.K = {0}",
        SERVER + "env_from_header.KEY = {bearer}",
        "[servers.a]\ncommand = {0}\nargs = 5",
        "[servers.a]\ncommand = 5\nargs = [{0}, 5]",
        "[servers.a]\ncommand = ['x', 5, {0}]",
        "[tokens.a]\nsha256 = {0}",
        "[tokens.a]\nsha256 = [{0}]",
        "[listen]\ntoken = [{0}]",
        "[listen]\ntoken = {0}",
        "[listen]\nhttp = {url}",
        "[listen]\nhosts = [{url}]",
        "[listen]\norigins = [{url}]",
        # Other errors in the same line or statement.
        SERVER + "secrets = {{ K = {0}, L = 5 }}",
        "servers.a = {{ command = [{0}], share = 5, secrets = {{ K = {0} }} }}",
        SERVER + "env = {{ A = {0}, B = 5 }} # {0}",
        SERVER + "share = 5 # {0}",
        SERVER + "api_key = {0}",
        SERVER + "token = [{0}]",
        "[servers.a]\ncommand = [\n 'x',\n {0},\n 5]",
        # Errors of the syntax.
        "[listen]\ntoken = {raw}",
        "[listen]\ntoken = {0} x",
        "[listen]\ntoken = {0}\ntoken = {0}",
        SERVER + "env = {{ A = {0}, }}",
        SERVER + "env.A = [{0}",
        SERVER + "env.A = {0}\nspare = 1, env.B = {0}",
        "[servers.a]\ncommand = ['x',\n {raw}]",
        SERVER + "{raw}",
        SERVER + "api key = {0}",
        SERVER + "share = 'a' # {0}\nshare = {raw} # {0}",
        "[servers.a] {0}",
    ],
)
def test_no_error_shows_a_possible_secret(tmp_path, capsys, text, secret):
    words = {
        "exec": json.dumps(f'exec:vault --token={secret} "'),
        "variable": json.dumps(f"TOKEN={secret}"),
        "bearer": json.dumps(f"Bearer {secret}"),
        "url": json.dumps(f"http://me:{secret}@localhost:1"),
        "raw": secret,
    }
    path = tmp_path / "config.toml"
    path.write_text(text.format(json.dumps(secret), **words))
    path.chmod(0o600)
    try:
        settings = load.load(path, HERE)
    except BadConfig as fault:
        # With the lines of the file, as on a terminal.
        output = "\n".join(fault.lines(with_source=True))
    else:
        # The token of [listen] is read when the daemon starts.
        assert settings.token_source == secret
        output = check(tmp_path, path.read_text(), capsys).stderr
    assert output.startswith((str(path), "mcp-bridge: "))
    assert secret not in output


@pytest.mark.parametrize("command", [["config", "check"], ["doctor"]], ids=" ".join)
@pytest.mark.parametrize("secret", [*SECRETS, "long-secret-" * 40], ids=range(5))
def test_no_command_shows_a_possible_secret(tmp_path, capsys, command, secret):
    path = tmp_path / "config.toml"
    path.write_text(f"{SERVER}secrets.K = '{secret}'\n")
    path.chmod(0o600)
    folders = dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"), str(tmp_path))
    dispatch.run([*command, "--config", str(path)], {**folders, "PATH": os.environ["PATH"]})
    shown = capsys.readouterr()
    output = shown.out + shown.err
    assert "servers.a" in output
    assert secret not in output


def test_the_path_of_a_missing_secret_file_is_shown(tmp_path):
    for name in ("/run/secrets/token", "~/keys/api.key", "./key"):
        path = tmp_path / "config.toml"
        path.write_text(SERVER + f"secrets.K = '{name}'")
        with pytest.raises(BadConfig, match=name.lstrip("~.").split("/")[-1]) as caught:
            load.load(path, {**HERE, "HOME": "/nonexistent"})
        assert "secrets.K" in str(caught.value)


VALUES = [
    *(0, -1, 1, 2**64, 10**400, 1 << 20000, 1.5, float("inf"), float("nan"), True, "", "x", "/", "~", "~x", "a b"),
    *("\U0010ffff", "x" * 5000, "/" + "y/" * 2000, "exec:", "credential:", "exec:/", "http://[", "127.0.0.1:99999"),
    *([], [[]], ["x"], ["x"] * 300, {}, {"a": {}}, {"a": "b"}, {"a": 1}, {"allow": 1}, {"": ""}),
    *(dt.date(2026, 1, 1), dt.time(1), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
]  # fmt: skip


def keys_of(cls):
    return [field.name for field in attrs.fields(cls)]


def test_no_value_of_any_key_causes_a_traceback(monkeypatch):
    """Check every key with a value of every kind, and some hundred files with several such keys."""
    sections = {
        "listen": schema.Listen,
        "log": schema.Log,
        "audit": schema.Audit,
        "errors": schema.Errors,
        "aggregate": schema.Aggregate,
    }
    named = {"servers": schema.Server, "tokens": schema.Token}
    trials = [{name: value} for name in keys_of(schema.File) for value in VALUES]
    for name, cls in (sections | named).items():
        for key in keys_of(cls):
            for value in VALUES:
                table = {"command": ["true"]} if name == "servers" else {}
                whole = {**table, key: value}
                trials.append({name: {"a": whole} if name in named else whole})
    dice = random.Random(20)
    for _ in range(300):
        server = {key: dice.choice(VALUES) for key in dice.sample(keys_of(schema.Server), 3)}
        trials.append(
            {"servers": {"a": {"command": ["true"], **server}}, "listen": {"http": dice.choice(VALUES)}}
        )
    parsed = []
    monkeypatch.setattr(tables.tomllib, "loads", lambda _: parsed[0])
    good = longest = 0
    for trial in trials:
        parsed[:] = [trial]
        try:
            load.build_settings(tables.parse(b""), load.Path("/nonexistent/config.toml"), HERE)
            good += 1
        except BadConfig as fault:
            longest = max(longest, len(str(fault)))
    assert good
    assert longest < 10_000


MANY = """\
lgo.level = "debug"
[listen]
http = "127.0.0.1"
hosts = ["a.example", "*.b"]
tls_cert = "x"
[log]
level = "warn"
[servers.git]
comand = ["uvx", "x"]
spare = 9
env = { A = 1, B = "x", TOKEN = ["x"] }
[servers.web]
command = ["npx"]
cwd = "x"
tools = { alow = ["x"] }
limits = { bodi = 5, head_seconds = -1 }
env_from_header.PATH = "Host"
[servers."B d"]
[servers.remote]
url = "https://x.example/"
headers = {"X Y" = "a", Host = "b"}
envFile = "x"
[tokens.a]
servers = ["gti", "web"]
[tokens.b]
sha256 = "x"
[aggregate]
servers = ["web", "wbe"]
"""


def test_all_errors_are_reported_at_once_in_the_order_of_their_places(tmp_path, capsys):
    done = check(tmp_path, MANY, capsys)
    assert done.returncode == 78
    lines = [line.removeprefix(f"mcp-bridge: {tmp_path}/config.toml:") for line in done.stderr.splitlines()]
    assert [" ".join(line.split(" ")[:7]) for line in lines] == [
        "1:1: there is no key 'lgo'; did",
        "3:8: listen: http: must be ADDRESS:PORT, not",
        "4:23: listen: hosts: a host must be",
        "5:1: listen: tls_cert and tls_key must be",
        "7:9: log: level: must be 'debug', 'info',",
        "9:1: servers.git: there is no key 'comand';",
        "10:9: servers.git: spare: must be a whole",
        "11:13: servers.git: env.A: must be a string,",
        "11:33: servers.git: env.TOKEN: must be a string,",
        "14:7: servers.web: cwd: must be an absolute",
        "15:11: servers.web: tools: there is no key",
        "16:12: servers.web: limits: there is no limit",
        "16:37: servers.web: limits: head_seconds must be more",
        "17:17: servers.web: env_from_header: PATH is refused: it",
        "17:24: servers.web: env_from_header: the header Host is",
        "18:10: servers.'B d': a name is 1",
        "21:11: servers.remote: headers: 'X Y' is not",
        "21:11: servers.remote: headers: the header Host is",
        "22:1: servers.remote: there is no key 'envFile';",
        "23:9: tokens.a: sha256 is missing, or secret",
        "24:12: tokens.a: servers: there is no server",
        "26:10: tokens.b: sha256: must be 64 hexadecimal",
        "28:19: aggregate: servers: there is no server",
    ]


BROKEN = r"""
[listen]
http = 127.0.0.1:80
[servers.a]
command = ["npx",
  -y,
  "x"]
share: "server"
[servers.b
command = 5
[servers.c]
command = ["a", "b"
spare = True
[servers.d]
command = ["c:\dir"]
spare = 99
umask = 'lega
[servers.c]
env = { A = "x", }
[servers.e]
pin =
"""


def test_all_errors_of_the_syntax_are_reported_in_words(tmp_path, capsys):
    done = check(tmp_path, BROKEN.replace(r"\\", "\\"), capsys)
    lines = [line.removeprefix(f"mcp-bridge: {tmp_path}/config.toml:") for line in done.stderr.splitlines()]
    assert lines == [
        "3:13: a string must be in quotes",
        "6:3: the list that begins in line 5 is not closed: ] is missing, or a value is not in quotes",
        "8:6: a key and its value are separated by =, not by :",
        "9:11: ] is missing after the name of the table",
        "13:1: a comma or ] is missing in the list that begins in line 12",
        "13:9: TOML has the values true and false in small letters, and no others of this kind",
        "15:17: a backslash in a string in \"…\" must be doubled; a string in '…' needs none",
        "16:9: servers.d: spare: must be a whole number from 0 to 8, not 99",
        "17:9: the string is not closed: its quote is missing",
        "18:1: the table [servers.c] is already there in line 11",
        "21:6: the value is missing",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (SERVER + "spare = 99 # nine", ["spare = 99", "        ^^"]),
        (SERVER + "spore = 99", ["spore = …", "^^^^^"]),
        (SERVER + "env = 'x'", ["env = …", "      ^"]),
        (SERVER + "limits = {body = 'x'}", ["body = 'x'", "       ^^^"]),
        (SERVER + "share = server", ["share = server", "        ^"]),
        ("[servers.a]\nenv = {A = 'x'}", ["a", "^"]),
    ],
)
def test_the_place_of_an_error_is_marked(tmp_path, text, shown):
    path = tmp_path / "config.toml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(BadConfig) as caught:
        load.load(path, HERE)
    assert [line[4:] for line in caught.value.lines(with_source=True)[1:]] == shown


def test_a_long_list_of_errors_is_cut(tmp_path, capsys):
    done = check(tmp_path, "".join(f"key{number} = 1\n" for number in range(60)), capsys)
    assert done.stderr.count("there is no key") == 40
    assert done.stderr.endswith("mcp-bridge: and 20 more errors\n")


def test_the_modules_for_errors_are_not_imported_for_a_valid_file(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(SERVER)
    path.chmod(0o600)
    code = (
        "import sys, pathlib; from mcpbridged.bridge.config import load; load.plan(pathlib.Path(sys.argv[1]), {'HOME': '/'});"
        "print([name for name in ('locate', 'wording', 'toml_positions') if f'mcpbridged.bridge.config.{name}' in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("secret", [*SECRETS[2:], "me@example.com"])
def test_a_shown_line_holds_nothing_that_looks_like_a_secret(tmp_path, secret):
    path = tmp_path / "config.toml"
    path.write_text(f"[listen]\nunix = ['{secret}']\n")
    path.chmod(0o600)
    with pytest.raises(BadConfig) as caught:
        load.load(path, HERE)
    assert secret not in "\n".join(caught.value.lines(with_source=True))
