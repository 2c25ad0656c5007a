"""`cwd = "client"` and its conditions."""

import pytest

from mcpbridged.bridge.config import load, tables
from mcpbridged.bridge.config.tables import BadConfig

from ...support.config_file import HERE, write_config_file

HEAD = '[servers.x]\ncommand = ["/opt/server"]\n'
CLIENT = 'cwd = "client"\ncwd_allowed = ["~/src", "/srv"]\n'


def planned(tmp_path, keys, head=HEAD, environment=HERE):
    [server] = load.plan(write_config_file(tmp_path, head + keys), environment).servers
    return server


def test_a_server_runs_in_the_directories_of_its_clients(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    server = planned(tmp_path, CLIENT)
    assert server.cwd_allowed == ("/home/me/src", "/srv")
    assert not server.cwd_trust
    # A process that were started without a directory by mistake would find nothing there.
    assert server.launch.cwd == "/"
    assert planned(tmp_path, CLIENT + "cwd_trust = true\n").cwd_trust
    assert planned(tmp_path, 'cwd = "/srv"\n').cwd_allowed == ()
    assert planned(tmp_path, "").launch.cwd is None


@pytest.mark.parametrize(
    ("keys", "line", "reason"),
    [
        ('cwd = "client"\n', 3, 'cwd: "client" needs cwd_allowed'),
        ('cwd = "client"\ncwd_allowed = []\n', 3, 'cwd: "client" needs cwd_allowed'),
        ('cwd = "client"\ncwd_allowed = ["src"]\n', 4, "cwd_allowed: must hold absolute paths, not 'src'"),
        ('cwd = "client"\ncwd_allowed = ["."]\n', 4, "cwd_allowed: must hold absolute paths, not '.'"),
        ('cwd = "src"\n', 3, "cwd: must be an absolute path, not 'src'"),
        ('cwd = "Client"\n', 3, "cwd: must be an absolute path, not 'Client'"),
        ('cwd_allowed = ["/srv"]\n', 3, 'cwd_allowed: means something with cwd = "client" only'),
        ('cwd = "/srv"\ncwd_trust = true\n', 4, 'cwd_trust: means something with cwd = "client" only'),
        (CLIENT + 'share = "server"\n', 3, 'cwd: with share = "server" all clients have one process'),
        (CLIENT + "spare = 1\n", 5, 'spare: with cwd = "client" no process can start'),
        (CLIENT + 'start = "eager"\n', 5, 'start: with cwd = "client" no process can start'),
        (CLIENT + "cwd_trust = 1\n", 5, "cwd_trust: must be true or false, not 1"),
        ('cwd_allowed = "/srv"\n', 3, "cwd_allowed: must be a list of strings, not the string '/srv'"),
    ],
)
def test_an_error_has_the_file_the_line_and_the_key(tmp_path, keys, line, reason):
    with pytest.raises(BadConfig) as refused:
        planned(tmp_path, keys)
    place, column, text = str(refused.value).removeprefix(f"{tmp_path}/config.toml:").split(":", 2)
    assert (int(place), int(column) > 1) == (line, True)
    assert text.startswith(f" servers.x: {reason}")


def test_a_command_that_executes_what_the_directory_has_needs_trust(tmp_path):
    head = '[servers.x]\ncommand = ["npx", "server"]\n'
    with pytest.raises(BadConfig, match=r"config.toml:3:7: .*npx executes .*; set cwd_trust = true"):
        planned(tmp_path, CLIENT, head)
    assert planned(tmp_path, CLIENT + "cwd_trust = true\n", head).cwd_allowed
    assert not planned(tmp_path, 'cwd = "/srv"\n', head).cwd_allowed


def test_an_error_shows_no_word_of_a_command(tmp_path):
    head = '[servers.x]\ncommand = ["sh", "canary-1", "canary-2"]\n'
    with pytest.raises(BadConfig) as refused:
        planned(tmp_path, CLIENT, head)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(("trust", "fails"), [(False, True), (True, False)])
def test_variables_and_files_that_let_the_directory_choose_fail_the_server_only(tmp_path, trust, fails):
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "link").symlink_to("npx")
    (tmp_path / "npx").write_text("#!/bin/sh\n")
    (tmp_path / "npx").chmod(0o755)
    keys = f"{CLIENT}cwd_trust = {str(trust).lower()}\n"
    for command, path in ((program, ".:/bin"), (tmp_path / "link", "/bin")):
        server = planned(tmp_path, keys, f'[servers.x]\ncommand = ["{command}"]\n', {**HERE, "PATH": path})
        assert server.fault.startswith('cwd: with cwd = "client" the directory of a client') == fails
        assert not server.not_there
    assert not planned(tmp_path, keys, f'[servers.x]\ncommand = ["{program}"]\n').fault


def test_the_line_of_a_key_in_a_file_that_is_gone_is_left_out(tmp_path):
    [fault] = tables.located_in(tmp_path / "missing", BadConfig("a fault", "servers.x", "cwd").faults)
    assert str(fault) == f"{tmp_path}/missing: a fault"
