"""A value outside of the configuration that cannot be read fails one server, and no helper program holds the event loop."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from mcpbridged.bridge.commands import control_client

from ..support.bridge_process import EXAMPLE, PROGRAM
from ..support.daemon_process import Daemon, ServiceManager, daemon, write_config
from ..support.raw_http import BOTH, INITIALIZE
from ..support.waiting import wait_until

BODY = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE}).encode()
TOKEN = "mcpb_0123456789abcdefghijklmnopqrstuvwxyzABCDEF"


def get(url, token="", body=None):
    """Return the status and the body of the response."""
    headers = {"Accept": BOTH, "Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as fault:
        with fault:
            return fault.code, fault.read().decode()


def script(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return path


def broken(folder, kind):
    """Return the keys of a server that cannot be started, a part of the reason, and a function that repairs it."""
    keys = {"command": EXAMPLE}
    private = folder / "private"

    def make():
        private.write_text("A=as-good-as-a-secret\n")
        private.chmod(0o600)

    match kind:
        case "helper fails":
            helper = script(folder, "helper", f"cat {private}")
            return keys | {"secrets": {"K": f"exec:{helper}"}}, "exited with 1", make
        case "helper missing":
            helper = folder / "helper"
            command = {"secrets": {"K": f"exec:{helper}"}}
            return (
                keys | command,
                "cannot be executed",
                lambda: script(folder, "helper", "echo as-good-as-a-secret"),
            )
        case "secret file missing":
            return keys | {"secrets": {"K": str(private)}}, "No such file", make
        case "no credential":
            return keys | {"secrets": {"K": "credential:k"}}, "there is no credential 'k'", None
        case "env_file missing":
            return keys | {"env_file": str(private)}, "No such file", make
        case "env_file for others":
            make()
            private.chmod(0o644)
            return keys | {"env_file": str(private)}, "mode 0644", make
        case "env_file is none":
            private.write_text("nonsense\n")
            private.chmod(0o600)
            return keys | {"env_file": str(private)}, "private:1: is not KEY=VALUE", make
        case "variable not set":
            return keys | {"pass_env": ["NOT_SET_ANYWHERE"]}, "NOT_SET_ANYWHERE", None
        case "program missing":
            program = folder / "program"
            text = f"exec {sys.executable} {EXAMPLE[1]}"
            return {"command": [str(program)]}, "there is no program", lambda: script(folder, "program", text)
        case "cwd missing":
            cwd = folder / "cwd"
            return keys | {"cwd": str(cwd)}, f"cwd {cwd} is not a directory", cwd.mkdir
    raise AssertionError(kind)


KINDS = [
    *("helper fails", "helper missing", "secret file missing", "no credential", "env_file missing"),
    *("env_file for others", "env_file is none", "variable not set", "program missing", "cwd missing"),
]


@pytest.fixture(scope="module")
def one_daemon(tmp_path_factory):
    """Yield a daemon with a server for each kind, a server that works, and functions that repair the others."""
    root = tmp_path_factory.mktemp("r12")
    servers, reasons, repair = {"well": {"command": EXAMPLE}}, {}, {}
    for number, kind in enumerate(KINDS):
        folder = root / str(number)
        folder.mkdir()
        servers[f"s{number}"], reasons[f"s{number}"], repair[f"s{number}"] = broken(folder, kind)
    with daemon(root, servers) as running:
        running.reasons, running.repair = reasons, repair
        yield running


def test_r12_a_value_that_cannot_be_read_fails_its_server_only(one_daemon):
    running = one_daemon
    assert get(running.url("well"), running.token, BODY)[0] == 200
    found = {one["name"]: one for one in running.status()["servers"]}
    shown = running.do("status").stdout
    doctor = running.do("doctor", check=False).stdout
    for name, reason in running.reasons.items():
        assert found[name]["state"] == "failed"
        assert reason in found[name]["fault"]
        assert reason in shown
        assert reason in running.do("logs", name).stdout
        assert any(f"servers.{name}:" in line and reason in line for line in doctor.splitlines()), name
        status, answer = get(running.url(name), running.token, BODY)
        assert status == 503
        assert reason in answer
    assert found["well"]["state"] == "serving"
    status, answer = get(running.url("well").replace("/servers/well/mcp", "/readyz"))
    assert status == 503
    assert not [name for name in running.reasons if name in answer]


def test_r12_a_failed_server_reads_its_values_again_at_its_next_start(one_daemon):
    running = one_daemon
    repaired = [name for name, repair in running.repair.items() if repair]
    for name in repaired:
        running.repair[name]()
        if name in ("s0", "s8"):
            running.restart(name)
        wait_until(lambda name=name: get(running.url(name), running.token, BODY)[0] == 200, what=name)
    found = {one["name"]: one for one in running.status()["servers"]}
    assert {found[name]["state"] for name in repaired} == {"serving"}
    assert not any("as-good-as-a-secret" in line for line in running.lines)


def test_r12_a_reload_fails_one_server_and_repairs_it_again(tmp_path):
    private = tmp_path / "private"
    private.write_text("A=1234567890\n")
    private.chmod(0o600)
    servers = {"one": {"command": EXAMPLE, "env_file": str(private)}, "two": {"command": EXAMPLE}}
    with daemon(tmp_path, servers) as running:

        def states():
            return [one["state"] for one in running.status()["servers"]]

        assert get(running.url("two"), running.token, BODY)[0] == 200
        private.rename(tmp_path / "elsewhere")
        assert "changed: one" in running.do("reload").stdout
        assert states() == ["failed", "serving"]
        (tmp_path / "elsewhere").rename(private)
        assert "changed: one" in running.do("reload").stdout
        assert states() == ["idle", "serving"]
        good = running.config.read_text()
        # A file with an invalid key is refused as a whole, and the running servers go on.
        running.config.write_text(good + "nonsense = 1\n")
        assert running.do("reload", check=False).returncode == 78
        assert states() == ["idle", "serving"]
        running.config.write_text(good)


def test_r12_a_member_of_an_aggregate_that_cannot_be_started_fails_alone(tmp_path):
    servers = {"one": {"command": EXAMPLE}, "two": {"command": EXAMPLE, "pass_env": ["NOT_SET_ANYWHERE"]}}
    with daemon(tmp_path, servers, aggregate={"servers": ["one", "two"]}) as running:
        assert "one__echo" in running.do("tools", "aggregate").stdout
        assert {one["name"]: one["state"] for one in running.status()["servers"]}["two"] == "failed"


def test_r12_config_check_names_every_fault(tmp_path):
    servers = {"one": {"command": EXAMPLE, "secrets": {"K": "exec:false"}}, "two": {"command": EXAMPLE}}
    servers["three"] = {"command": EXAMPLE, "env_file": str(tmp_path / "no")}
    write_config(tmp_path / "config.toml", servers)
    done = Daemon.do(_Commands(tmp_path), "config", "check", check=False)
    assert done.returncode == 78
    assert "servers.one: the helper 'false' exited with 1 (secrets.K)" in done.stderr
    assert "servers.three: the environment file" in done.stderr
    assert "servers.two" not in done.stderr


class _Commands(Daemon):
    """Run commands without a daemon."""

    def __init__(self, folder):
        self.folder, self.config = folder, folder / "config.toml"


def test_r12_without_a_token_the_daemon_does_not_start_and_a_reload_keeps_the_former(tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    with daemon(tmp_path, listen={"token": f"exec:cat {tmp_path}/token"}) as running:
        (tmp_path / "token").unlink()
        refused = running.do("reload", check=False)
        assert refused.returncode == 78
        assert "listen: token: the helper 'cat' exited with 1" in refused.stderr
        assert get(running.url("example"), TOKEN, BODY)[0] == 200
    done = subprocess.run(
        [PROGRAM, "serve", "--allow-root", "--config", str(running.config)],
        env=running.variables,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 78
    assert "listen: token: the helper 'cat' exited with 1" in done.stderr


# ---- the event loop goes on


def test_r9_the_loop_goes_on_while_helpers_run_at_start_reload_and_restart(tmp_path):
    """Each helper waits for a writer of its pipe, so that the test decides how long it takes."""
    gate = tmp_path / "gate"
    runs = tmp_path / "runs"
    helper = script(tmp_path, "helper", f"echo run >>{runs}\nread line <{gate}\necho $line")
    token = script(tmp_path, "token", f"test ! -p {gate} || echo token >>{runs}\necho {TOKEN}")
    os.mkfifo(gate)
    manager = ServiceManager(tmp_path)
    servers = {
        "slow": {"command": EXAMPLE, "secrets": {"K": f"exec:{helper}"}},
        "quick": {"command": EXAMPLE},
    }
    write_config(tmp_path / "config.toml", servers, listen={"token": f"exec:{token}"})
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "900000"}
    with Daemon(tmp_path, environment=environment) as running:

        def count():
            return runs.read_text().split().count("run") if runs.exists() else 0

        def goes_on():
            before = manager.received.count("WATCHDOG=1")
            assert get(running.url("quick").replace("/servers/quick/mcp", "/healthz"))[0] == 200
            assert get(running.url("quick"), TOKEN, BODY)[0] == 200
            wait_until(lambda: manager.received.count("WATCHDOG=1") > before + 1, what="the watchdog")

        wait_until(lambda: count() == 1, what="the helper at the start")
        goes_on()
        gate.write_text("first-secret\n")
        wait_until(lambda: running.status()["servers"][0]["state"] == "idle")
        # Five requests for a reload cause two reloads: the running reload, and another for all requests during it.
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: count() == 2, what="the helper at the reload")
        reloads = [
            threading.Thread(
                target=control_client.request, args=(running.unix, "POST", "/control/reload", 60)
            )
            for _ in range(3)
        ]
        for thread in reloads:
            thread.start()
        running.process.send_signal(signal.SIGHUP)
        goes_on()
        gate.write_text("second-secret\n")
        wait_until(lambda: count() == 3, what="the second reload")
        gate.write_text("\n")
        for thread in reloads:
            thread.join(20)
        assert count() == 3
        assert running.status()["servers"][0]["state"] == "failed"
        running.restart("slow")
        wait_until(lambda: count() == 4, what="the helper at the restart")
        goes_on()
        # The daemon exits without waiting for the helper, and no process of the helper is left.
        assert running.stop() == 0
    assert not any("second-secret" in line for line in running.lines)


def test_r9_a_helper_is_killed_at_its_limit_with_its_children(tmp_path):
    texts = {
        "hangs": "exec sleep 1000",
        "left": "(exec setsid sleep 1000) & sleep 1000",
        "floods": "exec yes",
    }
    servers = {}
    for name, text in texts.items():
        helper = script(tmp_path, name, text)
        servers[name] = {"command": EXAMPLE, "secrets": {"K": f"exec:{helper}"}}
    with daemon(tmp_path, servers, limits={"helper_seconds": 0.5}) as running:
        wait_until(lambda: {one["state"] for one in running.status()["servers"]} == {"failed"})
        for one in running.status()["servers"]:
            expected = "printed more than 65536 bytes" if one["name"] == "floods" else "within 0.5 s"
            assert expected in one["fault"]
        commands = [_command(pid) for pid in running.family()]
        assert not [command for command in commands if b"sleep" in command or b"yes" in command]


def _command(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def test_r9_the_end_while_a_helper_gives_the_token_leaves_nothing(tmp_path):
    started = tmp_path / "started"
    helper = script(tmp_path, "helper", f"echo $$ >{started}\nsleep 1000")
    write_config(tmp_path / "config.toml", {"one": {"command": EXAMPLE}}, listen={"token": f"exec:{helper}"})
    with subprocess.Popen(
        [PROGRAM, "serve", "--allow-root", "--config", str(tmp_path / "config.toml")],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "MCP_BRIDGE_TEST_MARK": "x"},
        stderr=subprocess.DEVNULL,
    ) as process:
        pid = int(wait_until(lambda: started.exists() and started.read_text().strip()))
        process.terminate()
        assert process.wait(20) == 0
    wait_until(lambda: not os.path.exists(f"/proc/{pid}") or b"" == _command(pid))


def test_what_a_helper_leaves_behind_does_not_stay_as_a_zombie(tmp_path):
    # The daemon adopts it, as the first process of a container adopts every process there.
    helper = script(
        tmp_path,
        "helper",
        f"(sleep 0.5; touch {tmp_path}/ended) >/dev/null 2>&1 &\necho secret-of-the-helper",
    )
    servers = {"one": {"command": EXAMPLE, "secrets": {"K": f"exec:{helper}"}}}

    def zombies():
        children = set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return [child for child in children if ") Z " in Path(f"/proc/{child}/stat").read_text()]

    with daemon(tmp_path, servers) as running:
        pid = running.process.pid
        wait_until((tmp_path / "ended").exists, what="the end of the process that the helper has left")
        wait_until(lambda: not zombies(), what="the absence of zombies")
