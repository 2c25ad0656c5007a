"""The log of a server, or of all servers, on the terminal."""

import json
from types import SimpleNamespace

import pytest

from mcpbridged.bridge.commands import logs as module

ENTRY = {"at": 0, "pid": 7, "kind": "stderr", "text": "a\x1b[2J", "server": "one"}


@pytest.fixture
def run(monkeypatch, capsys):
    """Return a function that runs `logs` with answers of the daemon; it returns the paths and the lines."""
    paths = []

    def run(entries=(), *, server="a b", follow=False, since=None, lines=None, as_json=False):
        monkeypatch.setattr(module, "request", lambda _socket, _method, path: paths.append(path) or entries)
        monkeypatch.setattr(module, "follow", lambda _socket, path: paths.append(path) or iter(entries))
        monkeypatch.setattr(module, "started_at", lambda _socket: 86_400.0 * 365)
        options = SimpleNamespace(server=server, follow=follow, since=since, lines=lines, json=as_json)
        assert module.logs(SimpleNamespace(options=options, socket=lambda: None)) == 0
        return paths, capsys.readouterr().out.splitlines()

    return run


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "no log lines of one since the daemon started at 1971-01-01 "),
        ({"server": ""}, "no log lines since the daemon started at 1971-01-01 "),
        ({"since": 5}, "no log lines of one since the daemon started at 1971-01-01 "),
        ({"since": 86_400.0 * 400}, "no log lines of one since 1971-02-05 "),
        ({"follow": True}, "no log lines of one since the daemon started at 1971-01-01 "),
    ],
)
def test_a_log_without_entries_is_a_notice(run, monkeypatch, given, text):
    monkeypatch.setattr(module.time, "localtime", module.time.gmtime)
    written = []
    monkeypatch.setattr(module, "notice", written.append)
    assert run([[]] if given.get("follow") else [], **{"server": "one", **given})[1] == []
    [line] = written
    assert line.startswith(text)


def test_a_log_of_no_lines_by_request_has_no_notice(run, monkeypatch):
    monkeypatch.setattr(module, "notice", pytest.fail)
    assert run([], lines=0)[1] == []


def test_an_entry_has_its_time_process_and_kind(run):
    paths, [line] = run([ENTRY])
    assert paths == ["/control/logs?server=a%20b"]
    assert line[19:] == r" [7] stderr: a\x1b[2J"


def test_an_entry_of_all_servers_names_its_server(run):
    paths, [line] = run([ENTRY], server="")
    assert paths == ["/control/logs?"]
    assert line[19:] == r" one [7] stderr: a\x1b[2J"


def test_an_event_of_no_process_has_no_pid(run):
    assert run([{**ENTRY, "pid": 0}])[1][0][19:].startswith(" stderr:")


def test_following_begins_with_the_lines_so_far(run):
    paths, lines = run([[ENTRY, ENTRY], ENTRY], follow=True)
    assert paths == ["/control/logs?server=a%20b&follow=1"]
    assert len(lines) == 3


@pytest.mark.parametrize("follow", [False, True])
def test_stored_entries_can_be_limited_by_number_and_age(run, follow):
    stored = [{**ENTRY, "at": at, "text": str(at)} for at in range(5)]
    coming = [{**ENTRY, "text": "new"}] if follow else []

    def texts(**more):
        entries = [stored, *coming] if follow else stored
        return [line.rpartition(" ")[2] for line in run(entries, follow=follow, **more)[1]]

    new = ["new"] if follow else []
    assert texts(since=3) == ["3", "4", *new]
    assert texts(lines=1) == ["4", *new]
    assert texts(lines=0) == new
    assert texts(lines=99) == ["0", "1", "2", "3", "4", *new]
    assert texts(since=1, lines=2) == ["3", "4", *new]


def test_an_entry_as_json_is_one_line(run):
    [line] = run([ENTRY], as_json=True)[1]
    assert json.loads(line) == ENTRY
    assert "\x1b" not in line
