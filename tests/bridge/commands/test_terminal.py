"""The width and the styles of a terminal."""

import fcntl
import io
import os
import struct
import termios

import pytest

from mcpbridged.bridge.commands.terminal import PLAIN, Terminal, terminal_of


@pytest.fixture
def tty():
    """Yield the stream of a new terminal of 100 columns and 30 lines."""
    far, near = os.openpty()
    fcntl.ioctl(near, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    with open(near, "w", encoding="utf-8") as stream:
        yield stream
    os.close(far)


def test_a_file_has_no_width_and_no_style():
    assert terminal_of(io.StringIO(), {"COLUMNS": "20", "TERM": "xterm"}) == PLAIN


def test_a_terminal_has_the_size_that_it_states(tty):
    assert terminal_of(tty, {"TERM": "xterm"}) == Terminal(100, 30, styled=True, addressable=True)


@pytest.mark.parametrize(
    ("columns", "width"), [("70", 70), ("", 100), ("0", 100), ("x", 100), ("9" * 9, 100)]
)
def test_columns_has_precedence_if_it_is_a_number(tty, columns, width):
    assert terminal_of(tty, {"COLUMNS": columns, "LINES": ""}).width == width


def test_a_terminal_of_unknown_size_has_the_usual_one(tty):
    fcntl.ioctl(tty, termios.TIOCSWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
    found = terminal_of(tty, {})
    assert (found.width, found.height) == (80, 24)


@pytest.mark.parametrize(
    ("environment", "styled"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
        ({"TERM": ""}, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "CLICOLOR": "0"}, False),
        ({"TERM": "dumb", "CLICOLOR_FORCE": "1"}, True),
        ({"TERM": "xterm", "CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_styles_follow_the_usual_variables(tty, environment, styled):
    assert terminal_of(tty, environment).styled is styled


def test_a_file_has_styles_only_by_force():
    assert terminal_of(io.StringIO(), {"CLICOLOR_FORCE": "1"}).styled
    assert not terminal_of(io.StringIO(), {"CLICOLOR_FORCE": "0", "TERM": "xterm"}).styled


def test_a_style_ends_with_its_text():
    assert Terminal(styled=True).style("bad", "red") == "\x1b[31mbad\x1b[0m"
    assert Terminal(styled=True).style("", "red") == ""
    assert Terminal(styled=True).style("bad", "") == "bad"
    assert PLAIN.style("bad", "red") == "bad"


def test_characters_that_the_terminal_does_not_have_are_escaped():
    ascii_only = Terminal(encoding="ascii")
    assert ascii_only.shown("né") == "n\\xe9"
    assert ascii_only.ellipsis == "..."
    assert PLAIN.ellipsis == "…"


def test_the_cursor_moves_on_terminals_only_and_without_colours_too(tty):
    assert terminal_of(tty, {"TERM": "xterm", "NO_COLOR": "1"}).addressable
    assert not terminal_of(tty, {"TERM": "dumb", "CLICOLOR_FORCE": "1"}).addressable
    assert not terminal_of(io.StringIO(), {"TERM": "xterm", "CLICOLOR_FORCE": "1"}).addressable
