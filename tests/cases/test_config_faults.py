"""An unusable configuration is an error with file, line and key, without a traceback and without a secret."""

import datetime as dt
import json
import os
import random

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
        ("a = 1\nlimits.body = " + "9" * 5000, "holds a number that is too long (line 2)"),
        ("limits.body = " + "9_" * 4500 + "9", "holds a number that is too long (line 1)"),
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
        ("[log]\n\nlevel = 'loud'", "log: level: there is no 'loud'; there are 'debug', 'info', 'warning', 'error', 'none' (line 3)"),
        ("\nlog = 1", "log: must be a table, not int (line 2)"),
        (SERVER + "\n[servers.b]\nspare = 1979-05-27\ncommand = ['x']", "servers.b: spare: Expected `int`, got `date`, not datetime.date(1979, 5, 27) (line 5)"),
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
        "[servers.a]\ncommand = {0}",
        "[servers.a]\ncommand = ['x', 5, {0}]",
        "[tokens.a]\nsha256 = {0}",
        "[tokens.a]\nsha256 = [{0}]",
        "[listen]\ntoken = [{0}]",
        "[listen]\ntoken = {0}",
        "[listen]\nhttp = {url}",
        "[listen]\nhosts = [{url}]",
        "[listen]\norigins = [{url}]",
    ],
)
def test_no_error_shows_a_possible_secret(tmp_path, capsys, text, secret):
    words = {
        "exec": json.dumps(f'exec:vault --token={secret} "'),
        "variable": json.dumps(f"TOKEN={secret}"),
        "bearer": json.dumps(f"Bearer {secret}"),
        "url": json.dumps(f"http://me:{secret}@localhost:1"),
    }
    path = tmp_path / "config.toml"
    path.write_text(text.format(json.dumps(secret), **words))
    path.chmod(0o600)
    try:
        settings = load.load(path, HERE)
    except BadConfig as fault:
        output = str(fault)
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
    sections = {"listen": schema.Listen, "log": schema.Log, "aggregate": schema.Aggregate}
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


def test_the_line_of_a_key_is_found_in_every_usual_spelling():
    text = (
        'servers.a.spare = 1\n[servers]\nb = {spare = 1}\nc.spare = 1\n[ servers . "d" ]\n# spare\nspare = 1\n'
        "[servers.e.tools]\nallow = []\n[limits]\nbody = 1\n"
    )
    found = {table: tables.find_line(text, table, key) for table, key in {
        "servers.a": "spare", "servers.b": "spare", "servers.c": "spare", "servers.d": "spare",
        "servers.e": "tools", "": "limits", "servers.x": "spare",
    }.items()}  # fmt: skip
    assert list(found.values()) == [1, 0, 4, 7, 8, 10, 0]
