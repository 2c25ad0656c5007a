"""The table of connected clients."""

import json
import time
from types import SimpleNamespace

import pytest

from mcpbridged.bridge.commands import sessions as module
from mcpbridged.bridge.commands.sessions import sessions

ONE = {
    "server": "files",
    "session": "abcdefgh",
    "client": "editor",
    "client_version": "1.2",
    "principal": "local",
    "transport": "pipe",
    "revision": "2025-11-25",
    "since": 1_000_000_000.0,
    "idle": 61.5,
    "pid": 4711,
    "in_flight": 2,
}


@pytest.fixture
def run(monkeypatch, capsys):
    """Return a function that runs the command with these clients, and returns what it prints."""

    def run(*found, as_json=False, **variables):
        monkeypatch.setattr(module, "request", lambda *_: {"sessions": list(found)})
        options = SimpleNamespace(json=as_json)
        invocation = SimpleNamespace(socket=lambda: "socket", options=options, environment=variables)
        assert sessions(invocation) == 0
        return capsys.readouterr()

    return run


def test_each_client_has_a_line(run):
    head, line = run(ONE).out.splitlines()
    assert head.split() == (
        "server client principal transport revision session since idle pid in flight".split()
    )
    at = time.strftime("%b %d %H:%M", time.localtime(ONE["since"]))
    assert line.split() == f"files editor 1.2 local pipe 2025-11-25 abcdefgh {at} 1 min 1 s 4711 2".split()


def test_a_client_that_came_today_has_the_time_only(run):
    now = time.time()
    assert time.strftime(" %H:%M:%S ", time.localtime(now)) in run({**ONE, "since": now}).out


def test_a_client_may_state_nothing(run):
    assert "not stated" in run({**ONE, "client": "", "client_version": ""}).out


def test_the_name_of_a_client_cannot_control_the_terminal(run):
    assert "\x1b" not in run({**ONE, "client": "\x1b]0;title\x07"}).out


def test_without_clients_there_is_a_notice(run):
    found = run()
    assert (found.out, found.err) == ("", "mcp-bridge: no client is connected\n")
    assert json.loads(run(as_json=True).out) == []


def test_json_is_what_the_daemon_returns(run):
    assert json.loads(run(ONE, as_json=True).out) == [ONE]
