"""`doctor` and `env` request the state of the running daemon, name a fix that works, and check servers in parallel."""

import os
import pty
import re
import subprocess
import sys
import threading
import time

import pytest

from mcpbridged.bridge.commands.control_client import request
from mcpbridged.bridge.commands.doctor import daemon as checks
from mcpbridged.bridge.commands.progress import Progress
from mcpbridged.bridge.commands.threads import map_in_threads
from mcpbridged.bridge.config import load, tables
from mcpbridged.bridge.config.settings import ServerConfig, Settings

from ..support.bridge_process import EXAMPLE, PROGRAM
from ..support.daemon_process import Daemon, write_config

SHORT = "/usr/bin:/bin"


def program(folder, name, text):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(text)
    file.chmod(0o755)
    return file


@pytest.fixture(scope="module")
def managed(tmp_path_factory):
    """Yield a daemon with the PATH of a service manager, while the shell of the user has another PATH."""
    folder = tmp_path_factory.mktemp("managed")
    mine = folder / "home/.local/bin"
    example = " ".join(EXAMPLE)
    program(mine, "uvx-of-mine", f"#!/bin/sh\nexec {example}\n")
    program(mine, "node-of-mine", f"#!/bin/sh\nexec {example}\n")
    script = program(folder / "lib", "script", "#!/usr/bin/env node-of-mine\n")
    servers = {
        "lacking": {"command": ["uvx-of-mine"]},
        "helped": {"command": ["uvx-of-mine"], "path": [str(mine)]},
        "script": {"command": [str(script)]},
        "mended": {"command": [str(script)], "path": [str(mine)], "pass_env": []},
        "nowhere": {"command": ["no-such-program-here"]},
        "variable": {"command": EXAMPLE, "pass_env": ["OF_THE_SHELL"]},
        "given": {"command": EXAMPLE, "pass_env": ["OF_THE_DAEMON", "DAEMON_TOKEN"]},
    }
    write_config(folder / "config.toml", servers)
    ours = {"PATH": SHORT, "OF_THE_DAEMON": "here", "DAEMON_TOKEN": "canary-token"}
    with Daemon(folder, environment=ours, within=["sh", "-c", 'umask 027 && exec "$@"', "sh"]) as running:
        yield running


def do(running, *words, **variables):
    mine = running.folder / "home/.local/bin"
    ours = {**running.variables, "PATH": f"{mine}:{SHORT}", "OF_THE_SHELL": "here", **variables}
    return subprocess.run(
        [PROGRAM, *words, "--config", str(running.config)],
        env=ours,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        umask=0o022,
    )


@pytest.fixture(scope="module")
def findings(managed):
    """Return the findings of `doctor` and their fixes, by subject."""
    done = do(managed, "doctor")
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    found = re.split(r"\n(?=\S)", done.stdout)
    about = {}
    for text in found:
        key = re.match(r"\S+ +(servers\.\w+|.*)", text)[1]
        about[key] = f"{about.get(key, '')}{' '.join(text.split())}\n"
    return about


def test_h6_doctor_names_the_directory_of_the_user_that_has_the_program(managed, findings):
    finding = findings["servers.lacking"]
    mine = managed.folder / "home/.local/bin"
    assert "there is no program 'uvx-of-mine' in the PATH of the daemon" in finding
    assert f"this shell finds it in {mine} " in finding
    for fix in (
        f'path = ["{mine}"] in [servers.lacking]',
        f"absolute path {mine}/uvx-of-mine",
        "systemctl --user import-environment PATH",
        "systemctl --user edit mcp-bridge",
        f"Environment=PATH={mine}:{SHORT}",
    ):
        assert fix in finding, fix
    assert "there is no program 'no-such-program-here' install it" in findings["servers.nowhere"]


def test_h6_doctor_finds_a_script_whose_interpreter_the_daemon_does_not_have(managed, findings):
    finding = findings["servers.script"]
    assert f"'node-of-mine' (first line of {managed.folder}/lib/script) in the PATH of the daemon" in finding
    assert f"this shell finds it in {managed.folder}/home/.local/bin" in finding


def test_h6_doctor_names_the_path_and_the_umask_of_the_daemon(managed, findings):
    text = "\n".join(findings.values())
    assert (
        f"the PATH of the daemon is {SHORT}; the PATH of this shell also has {managed.folder}/home/.local/bin"
        in text
    )
    assert "servers have the umask 0027; this shell has 0022" in text


def test_h6_doctor_judges_variables_by_those_of_the_daemon(findings):
    assert findings["servers.variable"].count("OF_THE_SHELL: there is no such variable") == 1
    assert "systemctl --user import-environment OF_THE_SHELL" in findings["servers.variable"]
    assert "servers.given: responded after" in findings["servers.given"]


@pytest.mark.parametrize("name", ["helped", "mended"])
def test_h6_the_key_path_is_a_fix(managed, findings, name):
    assert "responded after" in findings[f"servers.{name}"]
    assert "echo" in do(managed, "tools", name).stdout


def test_h6_env_shows_what_the_daemon_has_and_no_secret(managed):
    done = do(managed, "env", "given", DAEMON_TOKEN="another")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert {f"PATH={SHORT}", "OF_THE_DAEMON=here", "DAEMON_TOKEN=[secret]"} <= set(lines)
    assert f"the PATH of the daemon lacks {managed.folder}/home/.local/bin" in (done.stderr)
    answer = request(managed.unix, "GET", "/control/daemon")
    assert answer["variables"]["DAEMON_TOKEN"] == "[secret]"
    assert "canary" not in str(answer)
    assert (answer["umask"], answer["config"]) == ("0027", str(managed.config))
    mine = managed.folder / "home/.local/bin"
    assert f"PATH={mine}:{SHORT}" in do(managed, "env", "helped").stdout.splitlines()
    done = do(managed, "env", "variable")
    assert (done.returncode, "OF_THE_SHELL: there is no such variable" in done.stderr) == (78, True)


def test_h6_without_a_daemon_env_names_the_source_of_its_variables(tmp_path):
    write_config(tmp_path / "config.toml", {"one": {"command": EXAMPLE, "pass_env": []}})
    done = subprocess.run(
        [PROGRAM, "env", "one", "--config", str(tmp_path / "config.toml")],
        env={"PATH": SHORT, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert f"PATH={SHORT}" in done.stdout.splitlines()
    assert "no daemon is running with this configuration" in done.stderr


@pytest.mark.parametrize("path", ["bin", "/a:/b"])
def test_h6_a_directory_of_path_is_absolute(tmp_path, path):
    write_config(tmp_path / "config.toml", {"one": {"command": ["true"], "path": [path], "pass_env": []}})
    with pytest.raises(tables.BadConfig, match=r"servers\.one: path: must hold absolute paths"):
        load.load(tmp_path / "config.toml", {"PATH": SHORT, "HOME": "/home/me"})


# ---- many servers


# Sends no response until so many other servers have been started.
def test_w10_a_server_that_the_daemon_could_not_start_gets_the_fix_for_its_output(tmp_path):
    code = "import os; os.environ['WEATHER_API_KEY']"
    write_config(
        tmp_path / "config.toml", {"weather": {"command": [sys.executable, "-c", code], "era": "legacy"}}
    )
    with Daemon(tmp_path) as running:
        # It starts at the first request.
        assert running.do("tools", "weather", check=False).returncode == 1
        done = running.do("doctor", check=False)
    assert "servers.weather: the daemon cannot start it: the last process exited with code 1" in done.stdout
    assert 'secrets.WEATHER_API_KEY = "~/.config/mcp-bridge/weather_api_key"' in done.stdout


TOGETHER = """
import os, runpy, sys, time
folder, count = sys.argv[1], int(sys.argv[2])
open(os.path.join(folder, str(os.getpid())), "w").close()
end = time.monotonic() + 20
while len(os.listdir(folder)) < count and time.monotonic() < end:
    time.sleep(0.01)
if time.monotonic() >= end:
    sys.exit(1)
sys.argv = [sys.argv[3]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_w10_doctor_checks_servers_in_parallel_and_shows_its_progress(tmp_path):
    together = tmp_path / "together"
    together.mkdir()
    command = [sys.executable, "-c", TOGETHER, str(together), "4", EXAMPLE[1]]
    names = [f"s{number}" for number in range(12)]
    write_config(tmp_path / "config.toml", {name: {"command": command, "era": "legacy"} for name in names})
    with Daemon(tmp_path) as running:
        ours, theirs = pty.openpty()
        shown = []

        def read():
            try:
                while data := os.read(ours, 65536):
                    shown.append(data)
            except OSError:
                # The other end of the pipe is closed.
                return

        reader = threading.Thread(target=read)
        reader.start()
        done = subprocess.run(
            [PROGRAM, "doctor", "--config", str(running.config)],
            env=running.variables,
            stdout=subprocess.PIPE,
            stderr=theirs,
            timeout=100,
            check=False,
        )
        os.close(theirs)
        reader.join(10)
        os.close(ours)
        quiet = running.do("doctor")
    answered = re.findall(r"servers\.(s\d+): responded after", done.stdout.decode())
    assert answered == names
    assert done.returncode == 0
    progress = b"".join(shown).decode()
    assert "checked: 12 of 12 servers" in progress
    assert "tested: 12 of 12 servers" in progress
    assert progress.endswith("\r\x1b[K")
    assert (quiet.stderr, "\x1b" in quiet.stdout) == ("", False)


def test_w10_parallel_work_is_bounded_and_results_keep_their_order():
    lock, working, most = threading.Lock(), 0, 0
    done = []

    def work(number):
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        together.wait(10)
        with lock:
            working -= 1
        return number

    together = threading.Barrier(3)
    assert list(map_in_threads(work, range(30), 3, lambda: done.append(1))) == list(range(30))
    assert (most, len(done)) == (3, 30)
    assert list(map_in_threads(work, [], 3, lambda: None)) == []


def test_w10_a_fault_is_raised_in_place_of_its_result():
    results = map_in_threads(lambda number: 6 // number, [3, 2, 0, 1], 2, lambda: None)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_doctor_advises_on_what_is_on_and_unused_with_lines_that_can_be_pasted(tmp_path, monkeypatch):
    file = tmp_path / "config.toml"
    file.write_text("")
    old = time.time() - 30 * 86_400
    os.utime(file, (old, old))
    server = {
        "name": "one",
        "state": "serving",
        "command": ["x"],
        "calls": 50,
        "pids": [7, 8, 9],
        "memory": 300 * 2**20,
        "share": "auto",
        "withheld": ["GITHUB_TOKEN", "AWS_REGION", "AWS_PROFILE"],
        "fault": "",
        "since": old,
        "methods_since": old,
        "used_methods": ["tools/call"],
    }
    state = {
        "pid": 1,
        "version": "1",
        "uptime": 10 * 86_400,
        "servers": [server],
        "unused_tokens": ["editor"],
        "identifies_tcp_clients": False,
    }
    monkeypatch.setattr(checks, "request", lambda *_: state)
    answer = {"result": {"capabilities": {"tools": {}, "prompts": {}}}}
    monkeypatch.setattr(checks, "call_server", lambda *_: iter([answer]))
    settings = Settings(servers=(ServerConfig("one"),), file=file)
    found = [*checks.check_daemon(settings, tmp_path / "socket", None, Progress())]
    [apart] = [finding for finding in found if "user namespace" in finding.text]
    assert "mcp-bridge connect" in apart.fix
    lines = {line for finding in found for line in finding.commands}
    assert {
        'pass_env = ["GITHUB_TOKEN", "@clouds"]',
        'share = "principal"',
        'features = { deny = ["prompts"] }',
        "mcp-bridge token revoke editor",
    } <= lines
    file.touch()
    assert "mcp-bridge token revoke editor" not in {
        line
        for finding in checks.check_daemon(settings, tmp_path / "socket", None, Progress())
        for line in finding.commands
    }
