"""The sandbox of a server, from its keys."""

import os
from pathlib import Path

import pytest

from mcpbridged.bridge.config import load, sandbox
from mcpbridged.bridge.config.tables import BadConfig
from mcpbridged.transports.options import WORKING_DIRECTORY, Sandbox
from mcpbridged.transports.process import confinement


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Return a function that returns the only server of a configuration, on a machine that can do everything."""
    monkeypatch.setattr(confinement, "landlock_abi", lambda: 7)
    monkeypatch.setattr(sandbox, "find_bwrap", lambda: "/usr/bin/bwrap")
    (tmp_path / "home/docs").mkdir(parents=True)
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
    }

    def planned(keys, command="sh"):
        path = tmp_path / "config.toml"
        path.write_text(f"[servers.one]\ncommand = {command!r}\n{keys}\n")
        path.chmod(0o600)
        [found] = load.load(path, variables).servers
        return found

    planned.home = tmp_path / "home"
    return planned


def test_a_server_has_the_default_sandbox(plan):
    found = plan("").launch
    assert (found.sandbox, found.has_scratch) == (Sandbox(), False)
    assert plan("network = true").launch.sandbox.is_default
    assert plan("network = false").launch.sandbox == Sandbox(network=False)


@pytest.mark.parametrize("level", ["landlock", "bwrap"])
def test_the_lists_are_those_of_the_file_with_references_expanded(plan, level):
    found = plan(
        f'sandbox = "{level}"\nread = ["~/docs", "cwd"]\nwrite = ["${{HOME}}/docs"]\nconnect = [443]'
    ).launch
    home = plan.home
    assert (found.sandbox.read, found.sandbox.write) == (
        (f"{home}/docs", WORKING_DIRECTORY),
        (f"{home}/docs",),
    )
    assert (found.sandbox.connect, found.sandbox.network, found.has_scratch) == ((443,), True, True)
    assert found.sandbox.bwrap == ("/usr/bin/bwrap" if level == "bwrap" else "")
    assert {"/usr", "/proc"} <= {*found.sandbox.base_read}
    assert "/dev/null" in found.sandbox.base_write
    assert str(home) not in found.sandbox.base_read


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ('read = ["/usr"]', 'read: needs sandbox = "landlock" or "bwrap"'),
        ('write = ["/usr"]', "write: needs sandbox"),
        ("connect = [1]", "connect: needs sandbox"),
        ('sandbox_preset = "time"', "sandbox_preset: needs sandbox"),
        ('sandbox = "landlock"\nread = ["docs"]', "read: must hold absolute paths"),
        ('sandbox = "landlock"\nwrite = ["."]', "write: must hold absolute paths"),
        ('sandbox = "landlock"\nread = ["${API_KEY}"]', "is not expanded"),
        ('sandbox = "landlock"\nread = ["~nobody-there/x"]', "read: "),
        (
            'sandbox = "bwrap"\nconnect = [443]\nnetwork = false',
            "connect: network = false permits no connection",
        ),
        ('sandbox = "bwrap"\nconnect = [0]', "connect"),
        ('sandbox = "firejail"', "sandbox"),
        (
            'sandbox = "landlock"\nsandbox_preset = "filesystem"',
            "sandbox_preset: the command names no directory",
        ),
    ],
)
def test_keys_that_contradict_each_other_are_errors(plan, keys, reason):
    with pytest.raises(BadConfig) as refused:
        plan(keys)
    assert reason in str(refused.value)


def test_a_preset_adds_to_the_lists_and_can_be_overridden(plan):
    docs = plan.home / "docs"
    keys = f'args = ["{docs}"]\nsandbox = "landlock"\nsandbox_preset = "filesystem"\n'
    found = plan(keys).launch.sandbox
    assert (found.write, found.network) == ((str(docs),), False)
    assert plan(f"{keys}network = true").launch.sandbox.network
    assert plan(f'{keys}write = ["/var/tmp"]').launch.sandbox.write == (str(docs), "/var/tmp")
    found = plan('sandbox = "bwrap"\nsandbox_preset = "git"\nwrite = ["/var/tmp"]').launch.sandbox
    assert f"{plan.home}/.gitconfig" in found.base_read


@pytest.mark.parametrize("key", ["read", "write"])
def test_a_path_that_does_not_exist_fails_the_server(plan, key):
    found = plan(f'sandbox = "landlock"\n{key} = ["/no/such"]')
    assert found.fault.startswith(f"{key}: there is no /no/such")
    assert found.not_there
    assert found.faults[0][0] == (key,)


@pytest.mark.parametrize(
    ("abi", "keys", "reason"),
    [
        (0, 'sandbox = "landlock"', "sandbox: .*no Landlock"),
        (2, 'sandbox = "landlock"', "sandbox: .*version 2"),
        (3, 'sandbox = "landlock"\nconnect = [1]', "connect: .*6.7"),
        (0, 'sandbox = "bwrap"\nconnect = [1]', "connect: "),
    ],
)
def test_a_machine_that_lacks_a_step_fails_the_server(plan, monkeypatch, abi, keys, reason):
    monkeypatch.setattr(confinement, "landlock_abi", lambda: abi)
    with pytest.raises(BadConfig, match=reason):
        plan(keys)


def test_a_machine_without_bwrap_or_a_filter_fails_the_server(plan, monkeypatch):
    monkeypatch.setattr(sandbox, "find_bwrap", lambda: "")
    with pytest.raises(BadConfig, match="sandbox: bwrap is not installed"):
        plan('sandbox = "bwrap"')
    monkeypatch.setattr(confinement, "_MACHINES", {})
    with pytest.raises(BadConfig, match="needs a filter of system calls"):
        plan("network = false")


def test_the_files_of_the_bridge_are_hidden(plan):
    (plan.home / "env").write_text("A=1\n")
    (plan.home / "env").chmod(0o600)
    found = plan(f'sandbox = "landlock"\nenv_file = "{plan.home}/env"').launch.sandbox.hidden
    folder = plan.home.parent
    assert {*found} == {
        f"{folder}/config.toml",
        f"{plan.home}/.config/mcp-bridge",
        f"{plan.home}/.local/state/mcp-bridge",
        f"{folder}/run/mcp-bridge",
        f"{plan.home}/env",
    }


def test_the_socket_of_the_file_is_hidden(plan):
    socket = plan.home.parent / "s.sock"
    found = plan(f'sandbox = "landlock"\n[listen]\nunix = "{socket}"').launch.sandbox.hidden
    assert {str(socket), f"{socket}.stopping"} <= {*found}


def test_no_header_of_a_client_is_expanded_in_a_list(plan):
    keys = 'sandbox = "landlock"\nread = ["${API_KEY}"]\nenv_from_header.API_KEY = "X-Key"'
    with pytest.raises(BadConfig, match="API_KEY} is not expanded"):
        plan(keys)


def test_a_sandbox_is_described_by_what_it_permits():
    found = Sandbox(
        "landlock", ("/usr", "/no/such"), ("/dev/null",), (WORKING_DIRECTORY,), ("/a",), ("/h",), (443,)
    )
    assert sandbox.described(found) == [
        "sandbox: landlock, network TCP to the ports 443",
        "sandbox: write: /a",
        "sandbox: read: cwd",
        "sandbox: also write: /dev/null",
        "sandbox: also read: /usr",
        "sandbox: never, unless named: /h",
    ]
    assert sandbox.described(Sandbox(network=False)) == ["sandbox: basic, network no"]


def test_own_files_are_absolute(tmp_path):
    assert all(
        Path(one).is_absolute() for one in sandbox.own_files(Path("x.toml"), {"HOME": "/h"}, [Path("y")])
    )
