"""Pings to a process whose responses the test sends."""

import json

import pytest

from mcpbridged.bridge.runtime.liveness import Liveness
from mcpbridged.transports.server_io import ChildBusy, ChildGone
from mcpbridged.validators.limits import Limits


class Process:
    """A child that records what it receives. `paused` is how long it was not read (seconds)."""

    def __init__(self, fault=None):
        self.sent = []
        self.fault = fault
        self.paused = 0
        self.lines = []
        self.on_line = self.lines.append
        self.liveness = None

    def active_time(self, now):
        return now - self.paused

    def send(self, line):
        if self.fault is not None:
            raise self.fault
        self.sent.append(json.loads(line))

    def set_line_handler(self, on_line):
        self.on_line = on_line

    def answer(self, **fields):
        self.on_line(json.dumps({"jsonrpc": "2.0", "id": self.sent[-1]["id"], **fields}).encode())


def begun(fault=None, *, modern=False):
    process = Process(fault)
    return process, Liveness(process, process.lines.append, Limits(ping_seconds=10), 100.0, modern=modern)


@pytest.mark.parametrize(("modern", "method"), [(False, "ping"), (True, "server/discover")])
def test_a_ping_is_due_after_its_interval(modern, method):
    process, liveness = begun(modern=modern)
    liveness.on_tick(109.9)
    assert process.sent == []
    liveness.on_tick(110)
    assert [message["method"] for message in process.sent] == [method]
    assert not liveness.silent


@pytest.mark.parametrize("answer", [{"result": {}}, {"error": {"code": -32601, "message": "no ping"}}])
def test_any_response_to_the_ping_is_a_sign_of_life_and_no_client_receives_it(answer):
    process, liveness = begun()
    liveness.on_tick(110)
    process.answer(**answer)
    liveness.on_tick(120)
    assert (liveness.silent, process.lines, len(process.sent)) == (False, [], 2)


def test_a_process_that_does_not_answer_is_silent_until_it_does():
    process, liveness = begun()
    for now in (110, 120, 130):
        liveness.on_tick(now)
    assert (liveness.silent, len(process.sent)) == (True, 1)
    process.answer(result={})
    assert not liveness.silent
    liveness.on_tick(140)
    assert len(process.sent) == 2


def test_other_lines_are_passed_on_while_a_ping_is_open():
    process, liveness = begun()
    liveness.on_tick(110)
    own = json.dumps(process.sent[0]["id"]).encode()
    lines = [b"{}", b'{"jsonrpc":"2.0","id":%b,"method":"x"}' % own, b'{"broken":%b' % own]
    for line in lines:
        process.on_line(line)
    assert process.lines == lines
    liveness.on_tick(120)
    assert liveness.silent


def test_time_in_which_the_process_is_not_read_does_not_count():
    process, liveness = begun()
    process.paused = 50
    liveness.on_tick(150)
    assert process.sent == []
    liveness.on_tick(160)
    assert len(process.sent) == 1


@pytest.mark.parametrize(("fault", "silent"), [(ChildGone(), False), (ChildBusy("full"), True)])
def test_a_process_that_takes_no_ping_is_silent_unless_it_has_exited(fault, silent):
    process, liveness = begun(fault)
    liveness.on_tick(110)
    assert liveness.silent is silent
    process.fault = None
    liveness.on_tick(120)
    process.answer(result={})
    assert not liveness.silent
