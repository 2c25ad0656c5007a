"""With which configuration and variables a command works. The daemon is a table of what each socket answers."""

import pytest

from mcpbridged.bridge.commands import running_daemon
from mcpbridged.bridge.commands.control_client import Unreachable
from mcpbridged.bridge.commands.running_daemon import locate, not_in_path


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return variables with an empty home, and the descriptions of daemons by socket."""
    daemons = {}

    def request(unix, _method, _path, _seconds):
        if unix not in daemons:
            raise Unreachable(unix)
        return daemons[unix]

    monkeypatch.setattr(running_daemon, "request", request)
    runtime = tmp_path / "run"
    return {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_RUNTIME_DIR": str(runtime),
        "PATH": "/bin",
    }, daemons


def usual_socket(environment):
    return running_daemon.xdg.default_socket(environment)


def description(config, **variables):
    return {
        "version": "1",
        "pid": 1,
        "config": str(config),
        "cwd": "/",
        "umask": "0022",
        "variables": variables,
    }


def test_without_a_daemon_the_usual_file_and_our_variables_are_used(home):
    environment, _ = home
    source = locate(None, environment)
    assert (source.file, source.environment) == (running_daemon.xdg.default_path(environment), environment)
    assert source.daemon is source.unix is source.other is None


def test_the_file_and_the_variables_are_those_of_the_daemon(home, tmp_path):
    environment, daemons = home
    daemons[usual_socket(environment)] = description(tmp_path / "its.toml", PATH="/usr/bin", A="b")
    source = locate(None, environment)
    assert (source.file, source.environment) == (tmp_path / "its.toml", {"PATH": "/usr/bin", "A": "b"})
    assert source.unix == usual_socket(environment)


def test_a_hidden_variable_is_that_of_this_shell_if_it_has_one(home, tmp_path):
    environment, daemons = home
    environment["KEY"] = "ours"
    daemons[usual_socket(environment)] = description(tmp_path / "x", KEY="[secret]", OTHER="[secret]")
    assert locate(None, environment).environment == {"KEY": "ours", "OTHER": "[secret]"}


def test_another_file_than_that_of_the_daemon_is_named(home, tmp_path):
    environment, daemons = home
    given = tmp_path / "given.toml"
    given.write_text("")
    daemons[usual_socket(environment)] = description(tmp_path / "its.toml")
    source = locate(given, environment)
    assert (source.file, source.other, source.daemon) == (given, tmp_path / "its.toml", None)


def test_a_link_to_the_file_of_the_daemon_is_the_same_file(home, tmp_path):
    environment, daemons = home
    (tmp_path / "its.toml").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "its.toml")
    daemons[usual_socket(environment)] = description(tmp_path / "its.toml")
    assert locate(tmp_path / "link", environment).daemon is not None


@pytest.mark.parametrize("answer", [{"version": 7}, [], description("")])
def test_a_daemon_of_another_version_or_without_a_file_is_ignored(home, answer):
    environment, daemons = home
    daemons[usual_socket(environment)] = answer
    assert locate(None, environment).daemon is None


def test_a_broken_file_does_not_hide_the_daemon(home, tmp_path):
    environment, daemons = home
    given = tmp_path / "broken.toml"
    given.write_text("[")
    daemons[usual_socket(environment)] = description(given)
    assert locate(given, environment).daemon is not None


def test_directories_that_another_path_lacks_are_listed_once():
    ours = {"PATH": "/a:/b:/a::/c"}
    assert not_in_path(ours, {"PATH": "/b"}) == ["/a", "/c"]
    assert not_in_path(ours, ours) == []
    assert not_in_path({}, {}) == []
