"""Commands work with the configuration of the running daemon, wherever its file is."""

import json
import os
import subprocess

import pytest

from ..support.bridge_process import EXAMPLE, PROGRAM
from ..support.daemon_process import Daemon, write_config


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    write_config(folder / "config.toml", {"one": {"command": EXAMPLE}}, limits={"connections": 4000})
    with Daemon(folder) as running:
        yield running


def do(running, *words, usual=None, **variables):
    """Run a command without `--config`. `usual` is the content of the usual configuration file, which is absent by default."""
    home = running.folder / "home"
    file = home / ".config/mcp-bridge/config.toml"
    file.unlink(missing_ok=True)
    if usual is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        for folder in (home, home / ".config", file.parent):
            folder.chmod(0o700)
        file.write_text(usual)
        file.chmod(0o600)
    ours = {name: value for name, value in running.variables.items() if name != "XDG_CONFIG_HOME"}
    return subprocess.run(
        [PROGRAM, *words],
        env={**ours, "HOME": str(home), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


OTHER = '[servers.other]\ncommand = ["true"]\n'


ELSEWHERE = f'[listen]\nunix = "/no/such/directory/socket"\n{OTHER}'


@pytest.mark.parametrize(
    "usual",
    [None, OTHER, "this is no TOML [", ELSEWHERE],
    ids=["none", "another", "broken", "another socket"],
)
def test_s6_reload_lets_the_daemon_read_its_own_file(shared, usual):
    write_config(shared.config, {"one": {"command": EXAMPLE}, "new": {"command": EXAMPLE}})
    done = do(shared, "reload", usual=usual)
    assert (done.returncode, "added: new" in done.stdout) == (0, True), done.stderr
    write_config(shared.config, {"one": {"command": EXAMPLE}})
    done = do(shared, "reload", usual=usual)
    assert (done.returncode, "removed: new" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize("usual", [None, OTHER])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("approve", "one"), "sha256:"),
        (("client-config", "cursor", "one"), "--config"),
        (("env", "one"), "PATH="),
        (("config", "check"), "1 server, "),
        (("config", "show"), "[servers.one]\n"),
        (("token", "list", "--json"), "[]"),
        (("doctor",), "servers.one: responded after"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_s6_a_command_works_with_the_file_of_the_daemon_and_names_it(shared, usual, words, expected):
    write_config(shared.config, {"one": {"command": EXAMPLE}})
    done = do(shared, *words, usual=usual)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert expected in done.stdout
    assert f"using {shared.config}, the configuration of the running daemon" in done.stderr
    if words[0] == "client-config":
        assert str(shared.config) in done.stdout
    if words[0] == "approve":
        assert "pin = " in shared.config.read_text()


def test_s6_a_token_is_made_and_revoked_in_the_file_of_the_daemon(shared):
    write_config(shared.config, {"one": {"command": EXAMPLE}})
    made = do(shared, "token", "new", "someone", usual=OTHER)
    assert (made.returncode, "[tokens.someone]" in shared.config.read_text()) == (0, True), made.stderr
    assert do(shared, "reload").returncode == 0
    revoked = do(shared, "token", "revoke", "someone", usual=OTHER)
    assert (revoked.returncode, "tokens.someone" in shared.config.read_text()) == (0, False), revoked.stderr


def test_s6_another_file_that_is_named_is_not_mistaken_for_the_file_of_the_daemon(shared, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(OTHER)
    other.chmod(0o600)
    done = do(shared, "reload", "--config", str(other))
    assert (done.returncode, f"the daemon uses {shared.config}" in done.stderr) == (78, True)
    done = do(shared, "token", "new", "x", "--config", str(other))
    assert (done.returncode, f"the running daemon uses {shared.config}" in done.stderr) == (0, True)
    assert "tokens.x" in other.read_text()
    assert "tokens.x" not in shared.config.read_text()
    # Another path of the same file is accepted.
    link = tmp_path / "link.toml"
    link.symlink_to(shared.config)
    assert do(shared, "reload", "--config", str(link)).returncode == 0


def test_s6_a_daemon_that_was_started_with_a_relative_path_is_found(tmp_path):
    write_config(tmp_path / "config.toml", {"one": {"command": EXAMPLE}})
    (tmp_path / "run").mkdir(mode=0o700)
    process = subprocess.Popen(
        [PROGRAM, "serve", "--allow-root", "--config", "config.toml"],
        cwd=tmp_path,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run"), "XDG_STATE_HOME": str(tmp_path / "run")},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert any("ready on" in line for line in process.stderr)
        status = subprocess.run(
            [PROGRAM, "status", "--json"],
            env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run"), "HOME": str(tmp_path)},
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
        assert json.loads(status.stdout)["config"] == str(tmp_path / "config.toml")
    finally:
        process.terminate()
        process.stderr.close()
        assert process.wait(20) == 0


def test_s6_without_a_daemon_the_usual_file_counts(tmp_path):
    write_config(tmp_path / "config.toml", {"one": {"command": EXAMPLE}})
    running = Daemon.__new__(Daemon)
    running.folder = tmp_path
    done = do(running, "config", "check", usual=OTHER.replace("true", "sh"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "home/.config/mcp-bridge/config.toml: 1 server," in done.stdout
    assert do(running, "reload", usual=OTHER).returncode == 69
