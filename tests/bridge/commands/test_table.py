"""Tables for a terminal."""

import pytest

from mcpbridged.bridge.commands.table import Cell, Column, table
from mcpbridged.bridge.commands.terminal import Terminal
from mcpbridged.bridge.commands.text_width import width


def test_columns_are_aligned_and_numbers_to_the_right():
    assert table(("name", "calls"), [("a", 5), ("long", 12)]) == "name  calls\na         5\nlong     12"


def test_a_column_with_a_text_is_aligned_to_the_left():
    assert table(("name", "calls"), [("a", 5), ("b", "none")]) == "name  calls\na     5\nb     none"


def test_a_text_can_be_aligned_to_the_right():
    assert table((Column("size", right=True), "x"), [("1 B", 1), ("10 MiB", 2)]) == (
        "  size  x\n   1 B  1\n10 MiB  2"
    )


def test_a_table_without_rows_has_its_head():
    assert table(("name", "calls"), []) == "name  calls"


@pytest.mark.parametrize("text", ["\x1b[2J", "\r", "\x9b31m", "\u202e", "a\nb", "\x07", "\x08"])
def test_text_of_a_server_cannot_control_the_terminal(text):
    shown = table(("name",), [(text,)], Terminal(80, 24, styled=True))
    assert all(one.isprintable() for one in shown.replace("\x1b[1mname\x1b[0m\n", ""))


def test_wide_characters_are_aligned():
    assert table(("name", "n"), [("日本", 1), ("ab", 2)]) == "name  n\n日本  1\nab    2"


def test_a_table_fits_its_terminal():
    shown = table(("one", "two", "number"), [("a" * 30, "b" * 50, 123456)], Terminal(40)).splitlines()
    # The widest text is cut first.
    assert shown[1] == f"{'a' * 14}…  {'b' * 14}…  123456"
    assert [width(line) for line in shown] == [40, 40]


def test_a_narrow_text_is_kept_while_a_wide_one_is_cut():
    shown = table(("name", "text"), [("short", "long " * 20)], Terminal(30)).splitlines()
    assert shown[1] == "short  long long long long lo…"


def test_short_titles_are_used_before_a_text_is_cut():
    columns = ("name", Column("processes", "procs"))
    assert table(columns, [("twelve chars", 1)], Terminal(20)) == "name          procs\ntwelve chars      1"
    assert table(columns, [("twelve chars", 1)], Terminal(80)).startswith("name          processes")


def test_columns_leave_in_their_order_where_nothing_else_helps():
    columns = ("name", Column("era", leave=1), Column("memory", leave=2))
    rows = [("a server of ours", "legacy", 1)]
    assert table(columns, rows, Terminal(27)).splitlines()[0] == "name              era"
    assert table(columns, rows, Terminal(19)).splitlines() == ["name", "a server of ours"]


def test_a_number_is_never_cut():
    assert table(("name", "n"), [("a" * 20, 1234567)], Terminal(12)).splitlines()[1] == "aa…  1234567"


def test_the_end_of_a_path_is_kept():
    shown = table((Column("path", keep_end=True),), [("/home/me/a/long/path",)], Terminal(12))
    assert shown.splitlines()[1] == "…a/long/path"


def test_output_that_is_no_terminal_is_whole():
    text = "a" * 500
    assert table(("name", "text"), [("b", text)]).splitlines()[1] == f"b     {text}"


def test_heads_are_bold_and_a_style_does_not_move_a_column():
    shown = table(("state", "n"), [(Cell("failed", "red"), 1), ("ok", 2)], Terminal(80, 24, styled=True))
    assert shown.splitlines() == [
        "\x1b[1mstate\x1b[0m   \x1b[1mn\x1b[0m",
        "\x1b[31mfailed\x1b[0m  1",
        "ok      2",
    ]


def test_no_line_ends_with_a_space():
    shown = table(("a", "b"), [("text", ""), ("", "")])
    assert all(line == line.rstrip() for line in shown.splitlines())
    # An empty cell in the middle keeps the place of the next.
    assert table(("a", "b"), [("", "x")]) == "a  b\n   x"


def test_a_terminal_without_unicode_gets_dots():
    assert table(("name",), [("a" * 20,)], Terminal(10, encoding="ascii")).splitlines()[1] == "aaaaaaa..."
