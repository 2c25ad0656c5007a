"""The state of a daemon as a text."""

import json
from types import SimpleNamespace

import pytest

from mcpbridged.bridge.commands import status as module
from mcpbridged.bridge.commands.status import addresses_of, page, ps, status
from mcpbridged.bridge.commands.terminal import PLAIN, Terminal
from mcpbridged.bridge.commands.text_width import width

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
        assert command(SimpleNamespace(socket=lambda: "socket", options=options, environment={})) == 0
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
    assert module.duration(seconds) == text


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


def test_a_failure_has_its_age_until_the_server_has_started_again(run, monkeypatch):
    monkeypatch.setattr(module.time, "time", lambda: 1_000_300.0)
    failed = {"last_exit": "exited with code 3", "stderr": ["line"], "last_exit_at": 1_000_000.0}
    assert "files: the last process exited with code 3 (5 min 0 s ago)\n  line\n" in run(
        status, changed(**failed)
    )
    text = run(status, changed(**failed, recovered=True))
    assert "code 3" not in text
    assert "line" not in text


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


def test_a_daemon_without_servers_or_processes_has_no_empty_table(run, capsys, monkeypatch):
    assert run(status, {**STATE, "servers": []}).splitlines()[1:] == [
        "no server is configured; add one with `mcp-bridge add NAME -- COMMAND ARGS...`"
    ]
    written = []
    monkeypatch.setattr(module, "notice", written.append)
    assert run(ps, changed(pids=[])) == ""
    assert written == ["no server process runs; a process starts with the first request to its server"]
    assert json.loads(run(ps, changed(pids=[]), as_json=True)) == []


def test_a_remote_server_has_connections_and_no_processes(run):
    remote = {"pids": [], "command": [], "url": "https://example.com/mcp", "connections": 3}
    page = run(
        status,
        changed(**remote, last_exit="cannot be reached", fault="the last connection cannot be reached"),
    )
    assert page.splitlines()[2].split()[:4] == ["files", "running", "legacy", "3"]
    assert "files: the last connection cannot be reached" in page
    page = run(status, changed(**remote, state="failing", last_exit="cannot be reached"))
    assert "files: failing: the last connection cannot be reached" in page
    assert run(ps, changed(**remote)) == ""


def test_a_login_that_is_required_has_its_command(run):
    page = run(
        status,
        changed(state="login required", url="https://example.com/mcp", fault="run mcp-bridge login files"),
    )
    assert "files: login required: run mcp-bridge login files" in page


GOOD = {**SERVER, "name": "good", "state": "serving"}


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        (
            {"state": "failed", "fault": "the file token is missing"},
            ["files: failed: the file token is missing", "  correct this, then run `mcp-bridge reload`"],
        ),
        (
            {
                "state": "failing",
                "last_exit": "exited with code 3",
                "fault": "the last process exited with code 3",
                "stderr": ["no API key"],
                "withheld": ["API_KEY"],
            },
            [
                "files: failing: the last process exited with code 3",
                "  no API key",
                "  set in the daemon and not passed to the server: API_KEY",
                "  see `mcp-bridge logs files`",
                "  after a correction run `mcp-bridge restart files`",
            ],
        ),
        (
            {"state": "unapproved"},
            [
                "files: unapproved: its command, or a file of it, is not the one that was pinned",
                "  check what has changed, then run `mcp-bridge approve files` and `mcp-bridge reload`",
            ],
        ),
        (
            {"state": "silent"},
            [
                "files: silent: a process has not answered its last ping; it may be busy",
                "  if it does not recover, run `mcp-bridge restart files`",
            ],
        ),
    ],
)
def test_a_broken_server_is_first_with_the_cause_and_what_to_do(fields, lines):
    state = {**STATE, "servers": [GOOD, {**SERVER, **fields}]}
    shown = page(state, PLAIN)
    assert shown[1 : len(lines) + 1] == lines
    assert [line.split()[0] for line in shown[len(lines) + 1 :]] == ["server", "files", "good"]


def test_the_table_is_first_where_the_causes_have_no_room():
    state = {**STATE, "servers": [GOOD, *[{**SERVER, "state": "silent"}] * 10]}
    small, _ = module._watched_page(lambda: state, Terminal(80, 24))
    assert [line.split()[0] for line in small[1:3]] == ["server", "files"]
    large, height = module._watched_page(lambda: state, Terminal(80, 80))
    assert (large[1].split()[:2], height) == (["files:", "silent:"], 80)


def test_states_have_their_colours():
    state = {**STATE, "servers": [GOOD, {**SERVER, "state": "silent"}, {**SERVER, "state": "failed"}]}
    text = "\n".join(page(state, Terminal(80, 24, styled=True)))
    assert "\x1b[32mserving\x1b[0m" in text
    assert "\x1b[33msilent\x1b[0m" in text
    assert "\x1b[31mfailed\x1b[0m" in text
    assert "\x1b[31mfiles: failed: " in text


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120, 200])
def test_the_page_fits_the_terminal(columns):
    long = {
        "name": "a-server-with-a-very-long-name-indeed",
        "state": "failing",
        "era": "legacy and modern",
        "calls": 1234567,
        "memory": 900 * 2**20,
        "last_exit": "exited with code 1",
        "fault": "the last process exited with code 1",
        "stderr": ["日本語 " * 60, "x" * 300],
    }
    shown = page({**STATE, "servers": [SERVER, {**SERVER, **long}]}, Terminal(columns))
    assert [line for line in shown if width(line) > columns] == []
    # Everything of the cause is there, on several lines.
    assert sum(line.count("日本語") for line in shown) == 60
    [row] = [line for line in shown if line.startswith("a-") and "1234567" in line]
    assert ("failing" in row.split()) is (columns >= 60)
    assert ("900.0 MiB" in row) is (columns >= 80)


def test_all_columns_have_room_on_80_columns_for_a_usual_server():
    shown = page({**STATE, "servers": [{**SERVER, "era": "not known yet"}]}, Terminal(80))
    assert shown[1].split() == (
        ["server", "state", "era", "procs", "sess", "busy", "calls", "errs", "exits", "memory"]
    )
    assert shown[2].split() == ["files", "running", "unknown", "2", "1", "2", "3", "4", "5", "1.0", "MiB"]


def test_watch_without_a_terminal_prints_one_state_after_the_other(monkeypatch, capsys):
    states = iter([STATE, STATE])

    def answer(*_):
        try:
            return next(states)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(module, "request", answer)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    options = SimpleNamespace(json=True, watch=True)
    with pytest.raises(KeyboardInterrupt):
        status(SimpleNamespace(socket=lambda: "socket", options=options, environment={"TERM": "xterm"}))
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [STATE, STATE]
