"""The progress line of a command: one line, on a terminal only, which later output replaces."""

import io
import threading

import pytest

from mcpbridged.bridge.commands import progress as module
from mcpbridged.bridge.commands.progress import Progress

PLAIN = {"TERM": "xterm", "NO_COLOR": "1"}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")


def test_each_text_replaces_the_line_before_and_the_end_erases_it():
    out = Terminal()
    with Progress(out, PLAIN) as progress:
        progress.show("one")
        progress.show("two")
        progress.show("two")
    assert out.getvalue() == "\r\x1b[Kone\r\x1b[Ktwo\r\x1b[K"


def test_the_line_is_faint_unless_no_color_is_set():
    out = Terminal()
    Progress(out, {"TERM": "xterm"}).show("one")
    assert out.getvalue() == "\r\x1b[K\x1b[2mone\x1b[0m"


@pytest.mark.parametrize(("out", "variables"), [(io.StringIO(), {}), (Terminal(), {"TERM": "dumb"})])
def test_nothing_is_written_without_a_terminal_that_can_erase_a_line(out, variables):
    with Progress(out, variables) as progress:
        progress.show("one")
        progress.count("checked", 1).one_more()
        with progress.wait("two"):
            pass
    assert out.getvalue() == ""


def test_a_long_text_stays_one_line_and_cannot_control_the_terminal():
    out = Terminal()
    Progress(out, PLAIN).show("x" * 60 + "\n\x1b[1m")
    assert out.getvalue() == "\r\x1b[K" + "x" * 38 + "…"
    Progress(out, PLAIN).show("\x1b[1m\n")
    assert out.getvalue().endswith(r"\x1b[1m\n")


def test_each_item_is_counted_once():
    out = Terminal()
    count = Progress(out, PLAIN).count("checked", 2)
    count.one_more()
    count.one_more()
    assert out.getvalue() == "\r\x1b[Kchecked: 1 of 2 servers\r\x1b[Kchecked: 2 of 2 servers"


def test_a_wait_shows_how_long_it_takes(monkeypatch):
    monkeypatch.setattr(module, "_TICK_SECONDS", 0.001)
    updated = threading.Event()

    class Watched(Terminal):
        def write(self, text):
            if "(0 s)" in text:
                updated.set()
            return super().write(text)

    out = Watched()
    with Progress(out, PLAIN).wait("installing"):
        assert updated.wait(10)
    assert out.getvalue() == "\r\x1b[Kinstalling (0 s)\r\x1b[K"


def test_a_short_wait_shows_nothing():
    out = Terminal()
    with Progress(out, PLAIN).wait(pytest.fail):
        pass
    assert out.getvalue() == ""


def test_other_output_ends_a_wait(monkeypatch):
    monkeypatch.setattr(module, "_TICK_SECONDS", 0.001)
    out, asked, cleared = Terminal(), threading.Event(), threading.Event()

    def text():
        asked.set()
        assert cleared.wait(10)
        return "waiting"

    progress = Progress(out, PLAIN)
    with progress.wait(text):
        assert asked.wait(10)
        progress.show("3/4")
        cleared.set()
        with progress.wait("next"):
            pass
    assert out.getvalue() == "\r\x1b[K3/4\r\x1b[K"


def test_a_closed_terminal_ends_the_progress_and_not_the_command():
    class Closed(Terminal):
        def write(self, text):
            raise OSError(5, "Input/output error")

    progress = Progress(Closed(), PLAIN)
    progress.show("one")
    progress.show("two")
    assert not progress.is_shown
