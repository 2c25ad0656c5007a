"""The line and the event for the starts of eager servers."""

import os
import sys
from types import SimpleNamespace

import pytest
import trio

from mcpbridged.bridge.daemon.start_progress import progress_line, progress_width, report_starts

pytestmark = pytest.mark.anyio


class Server:
    """A server that starts in this time (seconds)."""

    def __init__(self, name, seconds, *, eager=True, ready=True):
        self.name = name
        self.config = SimpleNamespace(eager=eager)
        self._started = trio.current_time() + seconds
        self._ready = ready

    @property
    def is_starting(self):
        return self.config.eager and trio.current_time() < self._started

    @property
    def ready(self):
        return self._ready


class Log:
    """A log that records the lines, each once, and the events."""

    def __init__(self):
        self.lines = []
        self.events = []

    def show_progress(self, text):
        if [text] != self.lines[-1:]:
            self.lines.append(text)

    def info(self, event, **fields):
        self.events.append((event, fields))


async def reported(servers, width=80):
    log = Log()
    await report_starts(servers, log, lambda: width)
    return log


async def test_the_servers_that_are_starting_are_named_until_none_is(autojump_clock):
    servers = [Server("a", 3.1), Server("b", 1.5), Server("c", 2.5, ready=False), Server("d", 9, eager=False)]
    log = await reported(servers)
    assert log.lines[0].startswith("starting 3 servers (1 s): waiting for a, b, c")
    assert log.lines[-2:] == ["starting 3 servers (3 s): waiting for a", ""]
    [(event, fields)] = log.events
    assert event == "servers_started"
    assert (fields["count"], fields["failed"]) == (2, "c")
    assert 3 <= fields["seconds"] < 3.5


async def test_a_short_start_has_no_line(autojump_clock):
    log = await reported([Server("a", 0.5)])
    assert log.lines == [""]
    [(_, fields)] = log.events
    assert "failed" not in fields


async def test_nothing_is_reported_where_nothing_starts(autojump_clock):
    log = await reported([Server("a", 5, eager=False), Server("b", 0)])
    assert (log.lines, log.events) == ([""], [])


async def test_the_line_is_erased_when_the_daemon_stops(autojump_clock):
    log = Log()
    with trio.move_on_after(5):
        await report_starts([Server("a", 60)], log, lambda: 80)
    assert log.lines[-1] == ""
    assert not log.events


async def test_a_line_is_cut_to_the_width():
    assert progress_line(["a"], 1, 4.2, 80) == "starting 1 server (4 s): waiting for a"
    assert progress_line(["a"], 1, 4.2, 20) == "starting 1 server..."
    assert progress_line(["a"], 1, 4.2, 2) == ".."
    assert progress_line(["a"], 1, 4.2, 0) == ""


async def test_there_is_no_line_without_a_terminal_in_text_form(monkeypatch):
    far, near = os.openpty()
    try:
        with open(near, "w", closefd=False) as stream:
            monkeypatch.setattr(sys, "stderr", stream)
            # A new pseudo-terminal states no size.
            assert progress_width("text", {"TERM": "xterm"}) == 79
            assert progress_width("json", {"TERM": "xterm"}) == 0
            assert progress_width("text", {"TERM": "dumb"}) == 0
            assert progress_width("text", {}) == 0
            with open(os.devnull, "w") as other:
                monkeypatch.setattr(sys, "stderr", other)
                assert progress_width("text", {"TERM": "xterm"}) == 0
    finally:
        os.close(far)
        os.close(near)
