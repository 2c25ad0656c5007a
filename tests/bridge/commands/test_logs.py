"""The log of a server on the terminal."""

from types import SimpleNamespace

import pytest

from mcpbridged.bridge.commands import logs as module

ENTRY = {"at": 0, "pid": 7, "kind": "stderr", "text": "a\x1b[2J"}


@pytest.fixture
def run(monkeypatch, capsys):
    """Return a function that runs a command with answers of the daemon; it returns the paths and the lines."""
    paths = []

    def run(command, *, follow=False, entries=()):
        monkeypatch.setattr(module, "request", lambda _socket, _method, path: paths.append(path) or entries)
        monkeypatch.setattr(module, "follow", lambda _socket, path: paths.append(path) or iter(entries))
        options = SimpleNamespace(server="a b", follow=follow)
        assert command(SimpleNamespace(options=options, socket=lambda: None)) == 0
        return paths, capsys.readouterr().out.splitlines()

    return run


def test_an_entry_has_its_time_process_and_kind(run):
    paths, [line] = run(module.logs, entries=[ENTRY])
    assert paths == ["/control/logs?server=a%20b"]
    assert line[19:] == r" [7] stderr: a\x1b[2J"


def test_an_event_of_no_process_has_no_pid(run):
    assert run(module.logs, entries=[{**ENTRY, "pid": 0}])[1][0][19:].startswith(" stderr:")


def test_following_begins_with_the_lines_so_far(run):
    paths, lines = run(module.logs, follow=True, entries=[[ENTRY, ENTRY], ENTRY])
    assert paths == ["/control/logs?server=a%20b&follow=1"]
    assert len(lines) == 3


def test_the_messages_of_a_server_have_their_direction(run):
    messages = [{"direction": "to server", "line": "1"}, {"direction": "to client", "line": "2"}]
    assert run(module.tap, entries=messages)[1] == ["-> 1", "<- 2"]
