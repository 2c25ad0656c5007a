"""Messages on the terminal, as they pass."""

import json
from types import SimpleNamespace

import pytest

from mcpbridged.bridge.commands import tap as module
from mcpbridged.bridge.commands.tap import ShortLines, is_wanted


def message(kind="request", method="tools/call", direction="to server", **more):
    return {
        "at": 1.5,
        "server": "srv",
        "pid": 7,
        "direction": direction,
        "kind": kind,
        "method": method,
        "id": "3",
        "principal": "owner",
        "session": "abcdefgh",
        "client": "Editor",
        "own": False,
        "size": 10,
        "line": "{}",
        **more,
    }


REPLY = {"direction": "to client", "kind": "response", "at": 1.75}


@pytest.fixture
def run(monkeypatch, capsys):
    """Return a function that runs `tap` with these messages; it returns the paths and the lines."""

    def run(*messages, **given):
        paths = []
        monkeypatch.setattr(
            module, "follow", lambda _socket, path, _on_open: paths.append(path) or iter(messages)
        )
        usual = {"server": "", "client": None, "method": None, "short": False, "probes": False, "json": False}
        invocation = SimpleNamespace(
            options=SimpleNamespace(**{**usual, **given}), socket=lambda: None, environment={}
        )
        assert module.tap(invocation) == 0
        return paths, capsys.readouterr().out.splitlines()

    return run


def test_a_message_has_its_direction_time_process_and_client(run):
    paths, [one, other] = run(message(line="a\x1b"), message(**REPLY), server="a b")
    assert paths == ["/control/tap?server=a%20b"]
    assert one.startswith("-> ")
    assert one[6:].endswith(":01.500 [7] Editor (owner:abcdefgh) a\\x1b")
    assert other.startswith("<- ")


def test_all_servers_are_named(run):
    paths, [line] = run(message(principal="", session="", client="", pid=-2))
    assert paths == ["/control/tap?"]
    assert line[15:] == " srv [2] {}"


def test_requests_of_the_bridge_are_shown_only_if_wanted(run):
    own = message(own=True)
    assert run(own)[1] == []
    assert " (bridge) " in run(own, probes=True)[1][0]


@pytest.mark.parametrize(
    ("client", "methods", "wanted"),
    [
        (None, None, True),
        ("editor", None, True),
        ("owner", None, True),
        ("abcdefgh", None, True),
        ("abcdefghijk", None, True),
        ("abcdefg", None, False),
        ("edit", None, False),
        ("", None, False),
        (None, ["tools/call"], True),
        (None, ["ping", "tools/*"], True),
        (None, ["Tools/call"], False),
        ("editor", ["ping"], False),
    ],
)
def test_messages_are_filtered_by_client_and_method(client, methods, wanted):
    assert is_wanted(message(), client, methods, with_own=False) is wanted


def test_a_message_of_no_client_is_of_none():
    assert not is_wanted(message(client="", principal="", session=""), "", None, with_own=False)


def test_json_is_one_object_for_each_message(run):
    [line] = run(message(line="\x9b"), json=True)[1]
    assert json.loads(line) == message(line="\x9b")
    assert "\x9b" not in line


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ({"result": {}}, "ok"),
        ({"result": {"isError": True}}, "isError"),
        ({"result": {"resultType": "complete"}}, "ok"),
        ({"result": {"resultType": "input_required"}}, "input_required"),
        ({"error": {"code": -32602, "message": "no\x1b"}}, "error -32602: no\\x1b"),
        ({"error": 5}, "error : "),
        ([], "ok"),
    ],
)
def test_a_short_response_has_its_outcome_and_time(reply, outcome):
    lines = ShortLines(with_server=False)
    call = {"params": {"name": "add\x1b"}}
    assert lines.line(message(line=json.dumps(call), size=1500)).endswith("tools/call add\\x1b id=3 1.5 kB")
    assert lines.line(message(**REPLY, line=json.dumps(reply))).endswith(
        f" tools/call add\\x1b id=3 {outcome} 250 ms 10 B"
    )


def test_other_short_lines():
    lines = ShortLines(with_server=True)
    assert lines.line(message(**REPLY, method="", line="{cut")).endswith(" ? id=3 ok 10 B")
    assert lines.line(message("notification", "x\x1b", line="{}")).endswith(" x\\x1b 10 B")
    assert lines.line(message("", "", line="log\x1b")).endswith(" not a message: log\\x1b")
    assert lines.line(message(line='{"params": {"uri": 5}}')).endswith("tools/call id=3 10 B")


def test_requests_without_a_response_are_forgotten_at_the_limit(monkeypatch):
    monkeypatch.setattr(module, "_MOST_REQUESTS", 2)
    lines = ShortLines(with_server=False)
    for at in range(3):
        lines.line(message(id=str(at)))
    assert " ms" not in lines.line(message(**REPLY, id="0"))
    assert " ms" in lines.line(message(**REPLY, id="2"))


def test_a_short_line_fits_the_terminal(run, monkeypatch):
    monkeypatch.setattr(module, "terminal_of", lambda *_: SimpleNamespace(width=40))
    [line] = run(message("", "", line="x" * 100), short=True)[1]
    assert len(line) == 40
