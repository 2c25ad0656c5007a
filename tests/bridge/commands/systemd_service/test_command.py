"""`mcp-bridge service` with a systemctl that records its arguments."""

import json
import os
import stat
import subprocess
import sys

import pytest

from ....support.bridge_process import PROGRAM

# Only root needs the option.
ROOT = ("--allow-root",) if os.geteuid() == 0 else ()
SERVE = " ".join(["serve", *ROOT])
# Stands for systemctl and loginctl: it appends its arguments to a file, and prints what the test has written for them.
FAKE = """#!{python}
import os, sys
here = os.path.dirname(os.path.abspath(__file__))
name = os.path.basename(sys.argv[0])
words = [word for word in sys.argv[1:] if word not in ("--user", "--no-pager")]
with open(os.path.join(here, "calls"), "a") as calls:
    calls.write(" ".join([name, *words]) + "\\n")
for action in (words[0], "-".join(words[:2])):
    path = os.path.join(here, name + "." + action)
    if os.path.exists(path):
        code, _, text = open(path).read().partition("\\n")
        (sys.stdout if code == "0" else sys.stderr).write(text)
        sys.exit(int(code))
"""


class Machine:
    """A home directory, and a PATH with the fake programs."""

    def __init__(self, folder):
        self.home, self.bin = folder / "home", folder / "bin"
        self.home.mkdir(mode=0o700)
        self.bin.mkdir(mode=0o755)
        for name in ("systemctl", "loginctl"):
            (self.bin / name).write_text(FAKE.format(python=sys.executable))
            (self.bin / name).chmod(0o755)
        self.units = self.home / ".config/systemd/user"
        self.config = self.home / ".config/mcp-bridge/config.toml"
        self.respond("systemctl", "show", "LoadState=loaded\nActiveState=inactive\nMainPID=0\n")
        self.respond("loginctl", "show-user", "Linger=no\n")

    def respond(self, program, action, text, code=0):
        (self.bin / f"{program}.{action}").write_text(f"{code}\n{text}")

    def do(self, *words, program=(PROGRAM,), **variables):
        root = ROOT if words[0] == "install" else ()
        usual = {
            "HOME": str(self.home),
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "XDG_RUNTIME_DIR": str(self.home / "run"),
        }
        return subprocess.run(
            [*program, "service", *words, *root],
            env={**usual, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self):
        file = self.bin / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [line.removeprefix("systemctl ") for line in lines if "show" not in line]

    def unit(self, name="mcp-bridge.service"):
        return (self.units / name).read_text()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def lines(text, key):
    return [line.removeprefix(f"{key}=") for line in text.splitlines() if line.startswith(f"{key}=")]


def test_the_service_is_installed(machine):
    done = machine.do("install")
    assert done.returncode == 0, done.stderr
    assert machine.calls() == [
        "daemon-reload",
        "enable mcp-bridge.service mcp-bridge.socket",
        "start mcp-bridge.socket",
        "start mcp-bridge.service",
    ]
    assert lines(machine.unit(), "ExecStart") == [f"{PROGRAM} {SERVE}"]
    assert lines(machine.unit(), "Environment") == [f"PATH={machine.bin}:/usr/bin:/bin"]
    assert lines(machine.unit("mcp-bridge.socket"), "ListenStream") == [
        "127.0.0.1:8808",
        "%t/mcp-bridge/mcp-bridge.sock",
    ]
    share = machine.home / ".local/share"
    for name in (
        "man/man1/mcp-bridge.1",
        "man/man5/mcp-bridge.toml.5",
        "bash-completion/completions/mcp-bridge",
    ):
        assert (share / name).stat().st_size > 0
    assert machine.config.read_text().startswith("# Configuration of mcp-bridge")
    assert stat.S_IMODE(machine.config.stat().st_mode) == 0o600
    assert "wrote" in done.stderr
    assert "loginctl enable-linger" in done.stderr
    assert "PATH of the servers" in done.stderr


def test_the_units_have_the_configuration_and_the_surroundings(machine, tmp_path):
    config = tmp_path / "my config.toml"
    config.write_text(f'[listen]\nhttp = "[::1]:9000"\nunix = "{tmp_path}/50%.sock"\n')
    config.chmod(0o600)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    path = f"relative:{tmp_path}/none:{tmp_path}/open:{machine.bin}:{machine.bin}:/usr/bin"
    done = machine.do(
        "install",
        "--config",
        str(config),
        PATH=path,
        XDG_STATE_HOME=str(tmp_path / "state"),
        XDG_CACHE_HOME=str(machine.home / ".cache"),
    )
    assert done.returncode == 0, done.stderr
    assert lines(machine.unit(), "ExecStart") == [f'{PROGRAM} {SERVE} --config "{config}"']
    assert lines(machine.unit(), "Environment") == [
        f"PATH={machine.bin}:/usr/bin",
        f"XDG_STATE_HOME={tmp_path}/state",
    ]
    assert lines(machine.unit("mcp-bridge.socket"), "ListenStream") == ["[::1]:9000", f"{tmp_path}/50%%.sock"]


def test_the_configuration_below_another_directory_needs_no_option(machine, tmp_path):
    done = machine.do("install", XDG_CONFIG_HOME=str(tmp_path / "etc"))
    assert done.returncode == 0, done.stderr
    assert lines(machine.unit(), "ExecStart") == [f"{PROGRAM} {SERVE}"]
    assert f"XDG_CONFIG_HOME={tmp_path}/etc" in lines(machine.unit(), "Environment")
    machine.respond("systemctl", "show-environment", f"XDG_CONFIG_HOME={tmp_path}/theirs\n")
    assert machine.do("install").returncode == 0
    assert (tmp_path / "theirs/systemd/user/mcp-bridge.service").exists()


def test_a_second_installation_stops_the_first_one(machine):
    assert machine.do("install").returncode == 0
    machine.calls()
    machine.respond("systemctl", "show", "ActiveState=active\n")
    done = machine.do("install")
    assert done.returncode == 0, done.stderr
    assert machine.calls()[:2] == ["stop mcp-bridge.service mcp-bridge.socket", "daemon-reload"]
    assert "exists already" not in done.stderr


def test_without_tcp_and_unix_addresses_for_systemd_there_is_no_socket(machine):
    machine.config.parent.mkdir(mode=0o700, parents=True)
    machine.config.write_text('[listen]\nhttp = "127.0.0.1:0"\nunix = false\n')
    machine.config.chmod(0o600)
    assert machine.do("install").returncode == 0
    assert machine.calls() == ["daemon-reload", "enable mcp-bridge.service", "start mcp-bridge.service"]
    assert not (machine.units / "mcp-bridge.socket").exists()


def test_the_module_can_be_the_program_of_the_service(machine):
    done = machine.do("install", program=(sys.executable, "-m", "mcpbridged"))
    assert done.returncode == 0, done.stderr
    assert lines(machine.unit(), "ExecStart") == [f"{sys.executable} -m mcpbridged {SERVE}"]


def test_a_program_in_a_cache_is_refused(machine, tmp_path):
    cache = tmp_path / "cache/uv/archive-v0/x/bin"
    cache.mkdir(parents=True)
    (cache / "mcpbridged").symlink_to(PROGRAM)
    done = machine.do("install", program=(str(cache / "mcpbridged"),))
    assert (done.returncode, machine.calls()) == (78, [])
    assert "uv tool install mcpbridged" in done.stderr
    assert not machine.units.exists()


@pytest.mark.parametrize("kind", ["no systemctl", "no manager"])
def test_without_systemd_nothing_is_written(machine, kind):
    if kind == "no systemctl":
        (machine.bin / "systemctl").unlink()
        done = machine.do("install", PATH=str(machine.bin))
        assert "this machine has no systemd" in done.stderr
    else:
        machine.respond("systemctl", "show-environment", "Failed to connect to bus: No medium found\n", 1)
        done = machine.do("install")
        assert "cannot be reached: Failed to connect to bus: No medium found; log in" in done.stderr
    assert done.returncode == 69
    assert "mcp-bridge serve" in done.stderr
    assert not machine.units.exists()
    assert not machine.config.exists()


def test_a_start_that_fails_is_shown(machine):
    machine.respond("systemctl", "start-mcp-bridge.service", "Job for mcp-bridge.service failed.\n", 1)
    done = machine.do("install")
    assert done.returncode == 69
    assert "systemctl --user start mcp-bridge.service: Job for mcp-bridge.service failed." in done.stderr
    for status, hint in (
        ("218", "does not allow the restrictions of the unit"),
        ("78", "mcp-bridge config check"),
        ("75", "an address is in use"),
    ):
        machine.respond("systemctl", "show", f"Result=exit-code\nExecMainStatus={status}\n")
        done = machine.do("install")
        assert hint in done.stderr
        assert f"mcp-bridge.service has failed: result exit-code, status {status}" in done.stderr


def test_an_invalid_configuration_stops_the_installation(machine):
    machine.config.parent.mkdir(mode=0o700, parents=True)
    machine.config.write_text("nonsense = 1\n")
    machine.config.chmod(0o600)
    done = machine.do("install")
    assert (done.returncode, machine.calls(), machine.units.exists()) == (78, [], False)
    assert "there is no key 'nonsense'" in done.stderr


def test_the_service_is_uninstalled(machine):
    machine.do("install")
    machine.calls()
    (machine.units / "other.service").write_text("")
    done = machine.do("uninstall")
    assert done.returncode == 0, done.stderr
    assert machine.calls() == [
        "disable --now mcp-bridge.service mcp-bridge.socket",
        "daemon-reload",
        "reset-failed mcp-bridge.service mcp-bridge.socket",
    ]
    assert [path.name for path in machine.units.iterdir()] == ["other.service"]
    assert [path for path in (machine.home / ".local/share").rglob("*mcp-bridge*") if path.is_file()] == []
    assert machine.config.exists()
    assert f"the configuration and the tokens stay: {machine.config}" in done.stderr
    done = machine.do("uninstall")
    assert (done.returncode, done.stdout, machine.calls()) == (0, "the service is not installed\n", [])


def test_files_are_removed_where_the_manager_cannot_be_reached(machine):
    machine.do("install")
    machine.respond("systemctl", "show-environment", "Failed to connect to bus\n", 1)
    done = machine.do("uninstall")
    assert done.returncode == 0
    assert "warning: the systemd manager of your user cannot be reached" in done.stderr
    assert not (machine.units / "mcp-bridge.service").exists()


def test_the_state_is_shown(machine):
    done = machine.do("status")
    assert done.returncode == 69
    assert "`mcp-bridge service install` installs it" in done.stderr
    assert "installed no\n" in done.stdout
    # A value that does not apply has no line.
    assert not [line for line in done.stdout.splitlines() if len(line.split()) < 2 or line == "pid       0"]
    machine.do("install")
    machine.respond(
        "systemctl",
        "show",
        "ActiveState=active\nUnitFileState=enabled\nMainPID=7\nStatusText=serving\x1b[31m\n",
    )
    machine.respond("loginctl", "show-user", "Linger=yes\n")
    done = machine.do("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert "active    active\nenabled   enabled\npid       7\n" in done.stdout
    assert "\x1b" not in done.stdout
    state = json.loads(machine.do("status", "--json").stdout)
    assert state["command"] == f"{PROGRAM} {SERVE}"
    assert state["addresses"] == ["127.0.0.1:8808", "%t/mcp-bridge/mcp-bridge.sock"]
    assert (state["installed"], state["active"], state["linger"], state["pid"]) == (True, "active", "yes", 7)
    machine.respond("systemctl", "show", "ActiveState=failed\n")
    done = machine.do("status")
    assert done.returncode == 69
    assert "journalctl --user --unit mcp-bridge" in done.stderr
    assert machine.do("install", "--json").returncode == 64


def test_after_su(machine):
    # Without XDG_RUNTIME_DIR the manager is searched below /run/user.
    machine.respond("systemctl", "show-environment", "")
    done = machine.do("install", XDG_RUNTIME_DIR="")
    assert done.returncode == 0, done.stderr
    assert os.path.exists(machine.units)


def test_the_timer_of_the_check_is_installed_and_removed(machine):
    assert machine.do("install").returncode == 0
    assert not (machine.units / "mcp-bridge-check.timer").exists()
    machine.calls()
    done = machine.do("install", "--check-timer")
    assert done.returncode == 0, done.stderr
    assert machine.calls()[-1] == "enable --now mcp-bridge-check.timer"
    assert lines(machine.unit("mcp-bridge-check.service"), "ExecStart") == [f"{PROGRAM} check --all"]
    assert lines(machine.unit("mcp-bridge-check.timer"), "OnCalendar") == ["daily"]
    assert "journalctl --user --unit mcp-bridge-check.service" in done.stderr
    assert machine.do("uninstall", "--check-timer").returncode == 64
    assert machine.do("uninstall").returncode == 0
    assert (
        machine.calls()[0]
        == "disable --now mcp-bridge.service mcp-bridge.socket mcp-bridge-check.service mcp-bridge-check.timer"
    )
    assert not [*machine.units.iterdir()]


@pytest.mark.skipif(not ROOT, reason="only root is refused")
def test_a_service_of_root_needs_the_option(machine, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", ())
    done = machine.do("install")
    assert (done.returncode, machine.calls()) == (78, [])
    assert "a service of root would run each server as root (uid 0)" in done.stderr
    assert "--allow-root" in done.stderr
    assert not machine.units.exists()
    assert not machine.config.exists()
    assert machine.do("status", "--allow-root").returncode == 64
