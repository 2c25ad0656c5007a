"""What `mcp-bridge doctor --checklist` reads of the machine, and what it prints."""

import json
import os
import subprocess

import pytest

from mcpbridged.bridge.commands.doctor.checklist import DONE, OPEN, Fix, Item
from mcpbridged.bridge.commands.doctor.checklist_report import lines_of, surroundings

from ....support.bridge_process import PROGRAM
from ....support.daemon_process import Daemon, write_config
from ..systemd_service.test_command import machine  # noqa: F401 - a fixture

# A file in which each item is done as far as a file can do it.
WHOLE = """
[listen]
http = "127.0.0.1:0"
[log]
format = "json"
[features]
deny = ["roots"]
[rates]
principal = "600/minute"
[metrics]
enabled = true
[limits]
argument_bytes = 1000
[audit]
file = "audit.jsonl"
"""


def printed(folder, *words, **variables):
    return subprocess.run(
        [PROGRAM, "doctor", "--checklist", *words, "--config", str(folder / "config.toml")],
        env={"HOME": str(folder), "PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def write(folder, text):
    folder.chmod(0o700)
    (folder / "config.toml").write_text(text)
    (folder / "config.toml").chmod(0o600)


def test_lines_are_below_their_item_and_tables_are_named():
    items = [
        Item(1, "a", DONE, "fine"),
        Item(
            2,
            "b",
            OPEN,
            "bad\x1b",
            (Fix("run this"), Fix("k = 1", "x"), Fix("l = 2", "x", "m"), Fix("k = 3", "y")),
        ),
    ]
    assert [*lines_of(items)] == [
        "", r"2 b: bad\x1b", "        run this", "    in [x]:", "        k = 1", "    in place of m:", "        l = 2",
        "    in [y]:", "        k = 3", "", "1 item is not done, of 2",
    ]  # fmt: skip


def test_the_table_has_every_item_and_the_exit_code_is_1(tmp_path):
    write(tmp_path, '[servers.git]\ncommand = ["cat"]\n')
    done = printed(tmp_path)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["#", "item", "state", "why"]
    assert lines[27].split()[:2] == ["27", "environment"]
    assert "    in [rates]:\n        principal = " in done.stdout
    assert lines[-1].endswith(" items are not done, of 27")


def test_json_has_the_counts_and_the_lines(tmp_path):
    write(tmp_path, '[servers.git]\ncommand = ["cat"]\n')
    done = printed(tmp_path, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert sum(found["counts"].values()) == len(found["items"]) == 27
    [logs] = [item for item in found["items"] if item["name"] == "structured logs"]
    assert logs["fixes"] == [{"line": 'format = "json"', "table": "log", "replaces": ""}]


def test_an_invalid_configuration_exits_with_78(tmp_path):
    write(tmp_path, "[rates]\nprincipal = 'x'\n")
    done = printed(tmp_path)
    assert (done.returncode, done.stdout) == (78, "")
    assert "rates" in done.stderr


def test_a_running_daemon_is_found_and_its_variables_count(tmp_path):
    write_config(tmp_path / "config.toml", {"one": {"command": ["cat"]}})
    with Daemon(tmp_path, environment={"JOURNAL_STREAM": "8:1"}) as running:
        found = json.loads(running.do("doctor", "--checklist", "--json", check=False).stdout)
    [logs] = [item for item in found["items"] if item["name"] == "log rotation"]
    assert (logs["state"], logs["why"]) == ("done", "the log goes to the journal")


def test_the_commands_of_the_service_make_their_items_done(machine, tmp_path):  # noqa: F811 - the fixture
    machine.home.joinpath(".config/mcp-bridge").mkdir(parents=True)
    machine.home.joinpath(".config/mcp-bridge").chmod(0o700)
    folder = machine.home / ".config/mcp-bridge"
    write(folder, WHOLE)
    # A short folder for the socket, whose path has at most 107 bytes.
    variables = {"HOME": str(machine.home), "XDG_RUNTIME_DIR": str(tmp_path)}
    before = printed(folder, **variables)
    assert "mcp-bridge service install --check-timer" in before.stdout
    assert machine.do("install", "--check-timer").returncode == 0
    items = json.loads(printed(folder, "--json", **variables).stdout)["items"]
    states = {item["name"]: item["state"] for item in items}
    assert (states["server audits"], states["resource limits"]) == (DONE, DONE)
    assert [name for name, state in states.items() if state == OPEN and name != "container"] == []


@pytest.mark.parametrize(
    ("files", "name", "value"),
    [
        ({}, "limited", False),
        ({"proc/7/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "1000\n"}, "limited", True),
        ({"proc/7/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}, "limited", False),
        ({"proc/7/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000\n"}, "limited", True),
        ({"proc/7/cgroup": "3:cpu:/\n"}, "limited", False),
        ({}, "container", False),
        ({"run/.containerenv": ""}, "container", True),
        ({".dockerenv": ""}, "container", True),
    ],
)
def test_what_the_machine_shows(tmp_path, files, name, value):
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert getattr(surroundings({}, {}, 7, tmp_path), name) is value


@pytest.mark.parametrize(("place", "variable"), [(".config", "HOME"), ("", "XDG_CONFIG_HOME")])
def test_units_of_the_user_are_found(tmp_path, place, variable):
    units = tmp_path / place / "systemd/user"
    units.mkdir(parents=True)
    shell = {variable: str(tmp_path)}
    (units / "mcp-bridge.service").write_text("[Service]\n")
    assert not surroundings({}, shell, 7).unit
    (units / "mcp-bridge.service").write_text("[Service]\nMemoryMax=75%\n")
    (units / "mcp-bridge-check.timer").write_text("")
    found = surroundings({}, shell, 7)
    assert (found.unit, found.timer) == (True, True)
