"""When the program leaves memory, and what it becomes."""

import os
import posix
import socket

import pytest

from mcpbridged.bridge.commands.pump import nap
from mcpbridged.bridge.commands.pump.nap import NapSchedule
from mcpbridged.bridge.commands.pump.settings import NapTimes, nap_times

TIMES = NapTimes(10, 30, 60)


def test_a_nap_is_due_after_a_time_without_a_line():
    schedule = NapSchedule(TIMES, 100)
    assert schedule.due == 110
    schedule.is_asking = True
    schedule.on_activity(105)
    assert (schedule.due, schedule.is_asking) == (115, False)


def test_after_a_wake_up_the_program_stays_for_a_while():
    assert NapSchedule(TIMES, 1000, (0, 1000)).due == 1030
    assert NapSchedule(TIMES, 1000, (900, 1000)).due == 1030


def test_after_two_wake_ups_in_a_minute_the_program_stays_for_long():
    assert NapSchedule(TIMES, 1000, (950, 1000)).due == 1600


def test_without_a_minimum_between_wake_ups_a_nap_is_due_at_once():
    schedule = NapSchedule(NapTimes(0.002, 0, 0), 1000, (999.99, 1000))
    assert schedule.due == pytest.approx(1000.002)


@pytest.mark.parametrize(
    ("value", "times"),
    [
        (None, (10, 30, 60)),
        (b"5", (5, 30, 60)),
        (b"0", (0, 30, 60)),
        (b"0.002,0,0", (0.002, 0, 0)),
        (b"", (10, 30, 60)),
        (b"x", (10, 30, 60)),
        (b"1,2,3,4", (10, 30, 60)),
        (b"nan", (10, 30, 60)),
        (b"-1", (10, 30, 60)),
        (b"1e999", (10, 30, 60)),
    ],
)
def test_a_variable_sets_the_times(value, times):
    found = nap_times({} if value is None else {b"MCP_BRIDGE_NAP": value})
    assert (found.quiet, found.awake, found.apart) == times


def test_without_a_nap_time_no_nap_is_possible():
    assert NapSchedule(NapTimes(0), 100).is_refused


def test_a_shell_gets_no_variable_that_changes_what_it_does(monkeypatch):
    found = {}
    monkeypatch.setattr(posix, "execve", lambda *words: found.update(words=words))
    variables = {
        b"PATH": b"/bin",
        b"BASH_ENV": b"x",
        b"ENV": b"x",
        b"BASH_FUNC_read%%": b"() { :; }",
        b"SHELLOPTS": b"noexec",
    }
    monkeypatch.setattr(posix, "environ", variables)
    nap.sleep("one", 5, ["python", "-I"])
    program, words, environment = found["words"]
    assert (program, environment) == ("/bin/sh", {b"PATH": b"/bin"})
    assert words[1:] == ["-c", 'read -r line <&5; exec "$0" "$@"', "python", "-I"]


@pytest.mark.parametrize(
    ("target", "title"),
    [
        ("dash", "mcp-bridge: one, idle"),
        ("/usr/bin/bash", "mcp-bridge: one, idle"),
        ("/bin/busybox", "sh"),
        (None, "sh"),
    ],
)
def test_a_shell_that_chooses_its_program_by_name_keeps_its_name(monkeypatch, target, title):
    def readlink(_path):
        if target is None:
            raise OSError
        return target

    found = []
    monkeypatch.setattr(posix, "readlink", readlink)
    monkeypatch.setattr(posix, "execve", lambda _program, words, _environment: found.append(words[0]))
    nap.sleep("one", 5, [])
    assert found == [title]


def test_a_descriptor_that_a_shell_cannot_read_is_refused():
    with pytest.raises(OSError, match="above 9"):
        nap.sleep("one", 10, [])


def test_there_is_a_shell():
    assert nap.has_shell() is os.access("/bin/sh", os.X_OK)


@pytest.mark.parametrize(
    ("kind", "may"), [("pipe", True), ("socket", True), ("terminal", True), ("file", False), ("null", False)]
)
def test_only_descriptors_whose_poll_cannot_block_are_lent(kind, may, tmp_path, monkeypatch):
    if kind == "pipe":
        opened = os.pipe()
    elif kind == "socket":
        opened = tuple(end.detach() for end in socket.socketpair())
    elif kind == "terminal":
        opened = os.openpty()[::-1]
    else:
        (tmp_path / "file").touch()
        opened = (os.open(tmp_path / "file" if kind == "file" else os.devnull, os.O_RDONLY),)
    try:
        monkeypatch.setattr(nap, "STDIN", opened[0])
        assert nap.may_lend_stdin() is may
    finally:
        for descriptor in opened:
            os.close(descriptor)


def test_a_closed_stdin_is_not_lent(monkeypatch):
    monkeypatch.setattr(nap, "STDIN", 1 << 20)
    assert not nap.may_lend_stdin()
