"""A page that changes, on a terminal: nothing flickers, and the terminal is as before at the end."""

import os
import signal
import sys

import pytest

from mcpbridged.bridge.commands.screen import Screen

from ...support.terminal import on_terminal

# Shows the size of the terminal and a counter, every 50 ms.
PROGRAM = """
import itertools, os, sys
from mcpbridged.bridge.commands.screen import watch
numbers = itertools.count(1)
def page():
    size = os.get_terminal_size()
    more = [f"line {number}" for number in range(int(sys.argv[1]))]
    return [f"{size.columns}x{size.lines} page {next(numbers)}", *more, "last"], size.lines
watch(float(sys.argv[2]), page)
"""
OPENED = b"\x1b[?1049h\x1b[?25l\x1b[?7l"
CLOSED = b"\x1b[?7h\x1b[?25h\x1b[?1049l"


def shown(more="0", seconds="0.05", **size):
    # No .pyc files are written, and nothing of the environment is needed.
    return on_terminal([sys.executable, "-c", PROGRAM, more, seconds], {"PATH": os.environ["PATH"]}, **size)


def has(text):
    return lambda session: any(text in line for line in session.shown)


def test_pages_replace_each_other_without_clearing_the_screen():
    with shown() as session:
        session.wait_for(has("page 5"))
        assert session.shown[1] == "last"
        assert session.written.startswith(OPENED + b"\x1b[H80x24 page 1\x1b[K\r\nlast\x1b[K\x1b[J")
        # Erasing everything before a page is what flickers.
        assert b"\x1b[2J" not in session.written
        assert session.screen.cursor.hidden


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda session: session.type(b"\x03"), -signal.SIGINT),
        (lambda session: session.process.send_signal(signal.SIGTERM), 128 + signal.SIGTERM),
        (lambda session: session.process.send_signal(signal.SIGHUP), 128 + signal.SIGHUP),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGHUP"],
)
def test_the_cursor_and_the_former_content_come_back(end, code):
    with shown() as session:
        session.wait_for(has("page 2"))
        end(session)
        assert session.to_the_end() == code
        assert session.written.count(OPENED) == session.written.count(CLOSED) == 1
        assert session.written.index(OPENED) < session.written.index(CLOSED)
        assert not session.screen.cursor.hidden


def test_a_new_size_is_used_at_once():
    with shown(seconds="3600") as session:
        session.wait_for(has("80x24 page 1"))
        session.resize(120, 30)
        session.wait_for(has("120x30 page 2"))


def test_lines_that_have_no_place_are_counted():
    with shown(more="40", lines=10) as session:
        session.wait_for(has("page 2"))
        assert len(session.shown) == 10
        assert session.shown[-1] == "(33 more lines; enlarge the terminal)"


def test_a_stopped_program_gives_the_terminal_back():
    with shown() as session:
        session.wait_for(has("page 2"))
        session.type(b"\x1a")
        session.wait_for(lambda one: CLOSED in one.written)
        assert os.waitid(os.P_PID, session.process.pid, os.WSTOPPED).si_status == signal.SIGSTOP
        written = len(session.written)
        session.process.send_signal(signal.SIGCONT)
        session.wait_for(lambda one: OPENED in one.written[written:] and b"page" in one.written[written:])
        session.type(b"\x03")
        session.to_the_end()
        assert not session.screen.cursor.hidden


def test_a_terminal_of_one_line_shows_no_more_than_that(capsys):
    Screen(sys.stdout).show(["one", "two", "three"], 1)
    assert capsys.readouterr().out == "\x1b[H(3 more lines; enlarge the terminal)\x1b[K\x1b[J"
