"""A line to a process that may be busy or gone."""

from mcpbridged.bridge.runtime.process_owner import send_line
from mcpbridged.transports.server_io import ChildBusy, ChildGone


class Child:
    def __init__(self, fault=None):
        self.fault = fault
        self.lines = []

    def send(self, line):
        if self.fault is not None:
            raise self.fault
        self.lines.append(line)


def test_a_line_is_sent():
    child = Child()
    assert send_line(child, b"{}") == ""
    assert child.lines == [b"{}"]


def test_a_busy_process_has_a_reason_and_a_missing_one_has_none():
    assert send_line(Child(ChildBusy("the server does not read")), b"{}") == "the server does not read"
    assert send_line(Child(ChildGone()), b"{}") == ""
    assert send_line(None, b"{}") == ""
