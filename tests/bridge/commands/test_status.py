"""The state of a daemon as a text."""

import json
from types import SimpleNamespace

import pytest

from mcpbridged.bridge.commands import status as module
from mcpbridged.bridge.commands.status import addresses_of, ps, status

SERVER = {
    "name": "files",
    "state": "running",
    "era": "legacy",
    "pids": [7, 8],
    "sessions": 1,
    "in_flight": 2,
    "calls": 3,
    "errors": 4,
    "restarts": 5,
    "memory": 2**20,
    "last_exit": "",
    "stderr": [],
    "fault": "",
    "command": ["npx", "files"],
}
STATE = {
    "version": "1",
    "pid": 5,
    "uptime": 61,
    "memory": 3 * 2**20,
    "url": "http://127.0.0.1:8808",
    "servers": [SERVER],
}


@pytest.fixture
def run(monkeypatch, capsys):
    """Return a function that runs a command with a state, and returns what it prints."""

    def run(command, state, *, as_json=False):
        monkeypatch.setattr(module, "request", lambda *_: state)
        options = SimpleNamespace(json=as_json, watch=False)
        assert command(SimpleNamespace(socket=lambda: "socket", options=options)) == 0
        return capsys.readouterr().out

    return run


def changed(**fields):
    return {**STATE, "servers": [{**SERVER, **fields}]}


def test_the_first_line_describes_the_daemon(run):
    first = run(status, STATE).splitlines()[0]
    assert first == "mcp-bridge 1, pid 5, up 1 min 1 s, 3.0 MiB, on http://127.0.0.1:8808"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59.9, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min"), (90000, "1 d 1 h")],
)
def test_the_time_since_the_start_has_two_units(seconds, text):
    assert module._duration(seconds) == text


def test_passed_sockets_have_all_their_addresses():
    assert addresses_of({"passed": True, "addresses": ["a", "b"], "url": "c"}) == ["a", "b"]
    assert addresses_of({"passed": False, "addresses": ["a", "b"], "url": "c"}) == ["c"]


def test_notes_follow_the_table(run):
    text = run(status, changed(last_exit="exited with code 3", stderr=["line"], withheld=["KEY"]))
    assert "files: the last process exited with code 3\n  line\n" in text
    assert "KEY" in text
    assert "left out" in run(status, changed(left_out={"a": "slow"}))
    text = run(status, {**STATE, "warnings": ["careful"], "refusals": {"host": 2}})
    assert text.endswith("warning: careful\nrejected requests: host 2\n")


def test_text_of_a_server_cannot_control_the_terminal(run):
    text = run(status, changed(last_exit="\x1b[2J", stderr=["\x1b[2J"], state="\x1b[2J"))
    assert "\x1b" not in text


def test_json_is_the_whole_state(run):
    assert json.loads(run(status, STATE, as_json=True)) == STATE


def test_each_process_has_a_line(run):
    assert run(ps, STATE).splitlines()[1:] == ["  7  files   npx files", "  8  files   npx files"]
    assert json.loads(run(ps, STATE, as_json=True)) == [
        {"pid": 7, "server": "files"},
        {"pid": 8, "server": "files"},
    ]


def test_a_remote_server_has_connections_and_no_processes(run):
    remote = {"pids": [], "command": [], "url": "https://example.com/mcp", "connections": 3}
    page = run(
        status,
        changed(**remote, last_exit="cannot be reached", fault="the last connection cannot be reached"),
    )
    assert page.splitlines()[2].split()[:4] == ["files", "running", "legacy", "3"]
    assert "files: the last connection cannot be reached" in page
    assert "files: running: the last connection cannot be reached" in page
    assert run(ps, changed(**remote)).splitlines()[1:] == []


def test_a_login_that_is_required_has_its_command(run):
    page = run(
        status,
        changed(state="login required", url="https://example.com/mcp", fault="run mcp-bridge login files"),
    )
    assert "files: login required: run mcp-bridge login files" in page
