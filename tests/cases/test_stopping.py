"""While the daemon stops, `status` is answered, and the log names what the stop waits for; `reload` reports tokens."""

import json
import sys
import time

import pytest

from ..support.bridge_process import EXAMPLE
from ..support.daemon_process import Daemon, write_config
from ..support.reconnecting import Installation, connected, message

DIGEST = "ab" * 32


@pytest.fixture
def home(tmp_path):
    return Installation(tmp_path)


def wait_for_line(running, words):
    end = time.monotonic() + 30
    while not any(words in line for line in running.lines):
        assert time.monotonic() < end, running.lines
        time.sleep(0.01)


def test_status_is_answered_while_requests_are_in_flight(home):
    with connected(home) as client, home.daemon() as running:
        client.open()
        client.send(message("tools/call", 1, name="slow", arguments={"seconds": 5}))
        home.wait_for_call()
        running.process.terminate()
        wait_for_line(running, ": stopping")
        state = running.status()
        assert sum(server["in_flight"] for server in state["servers"]) == 1
        running.stop()
    first, *others = [line for line in running.lines if ": stopping" in line]
    assert 'waits_for="requests: ' in first
    assert "(1 in flight)" in first
    # It repeats when that has changed, and not before.
    assert len(others) == len(set(others))
    assert first not in others
    assert not list(running.unix.parent.glob("*.stopping"))


SILENT = "import signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


def test_a_stop_names_the_processes_that_do_not_exit(tmp_path):
    code = f"{SILENT}import runpy; sys.argv = [{EXAMPLE[1]!r}]\ntry:\n runpy.run_path(sys.argv[0], run_name='__main__')\nfinally:\n time.sleep(60)"
    servers = {"stubborn": {"command": [sys.executable, "-c", code], "limits": {"stop_seconds": 1}}}
    write_config(tmp_path / "config.toml", servers)
    with Daemon(tmp_path) as running:
        running.do("tools", "stubborn")
        running.stop()
    assert any("stopping" in line and "processes: stubborn (1 running)" in line for line in running.lines)


def test_reload_reports_tokens(tmp_path):
    def configure(tokens):
        write_config(tmp_path / "config.toml", {"one": {"command": EXAMPLE}})
        with running.config.open("a") as file:
            for name, (digest, tools) in tokens.items():
                file.write(
                    f"\n[tokens.{name}]\nsha256 = '{digest * 32}'\ntools.allow = {json.dumps(tools)}\n"
                )

    write_config(tmp_path / "config.toml", {"one": {"command": EXAMPLE}})
    with Daemon(tmp_path) as running:
        configure({"a": ("aa", ["x"]), "b": ("bb", ["x"])})
        assert "tokens added: a, b\n" in running.do("reload").stdout
        configure({"b": ("bb", ["y"]), "c": ("cc", ["x"])})
        printed = running.do("reload").stdout
        assert "tokens added: c\ntokens changed: b\ntokens revoked: a\n" in printed
        assert "tokens" not in running.do("reload").stdout


def test_reload_returns_every_error_of_the_file(tmp_path):
    write_config(tmp_path / "config.toml", {"one": {"command": EXAMPLE}})
    with Daemon(tmp_path) as running:
        running.config.write_text("[log]\nlevel = 'loud'\n[servers.one]\ncomand = ['x']\n")
        done = running.do("reload", check=False)
        assert done.returncode == 78
        lines = [
            line
            for line in done.stderr.splitlines()
            if f"{running.config}:" in line and "; using" not in line
        ]
        assert [line.removeprefix(f"mcp-bridge: {running.config}:")[:40] for line in lines] == [
            "2:9: log: level: must be 'debug', 'info'",
            "4:1: servers.one: there is no key 'coman",
        ]
