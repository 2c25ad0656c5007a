"""Text by the cells that it takes on a terminal."""

import pytest

from mcpbridged.bridge.commands.text_width import cut, normal, width, wrapped


@pytest.mark.parametrize(
    ("text", "cells"), [("", 0), ("abc", 3), ("日本", 4), ("e\u0301", 1), ("🙂", 2), ("각", 2), ("ｗ", 2)]
)
def test_wide_characters_take_two_cells_and_marks_none(text, cells):
    assert width(text) == cells


@pytest.mark.parametrize(
    ("text", "cells", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("日本語", 5, "日本…"),
        # Half of a wide character has no place.
        ("日本語", 4, "日…"),
        ("e\u0301abc", 3, "e\u0301a…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
    ],
)
def test_a_cut_text_ends_with_an_ellipsis_and_is_never_wider(text, cells, shown):
    assert cut(text, cells) == shown
    assert width(shown) <= cells


def test_the_end_of_a_path_is_kept():
    assert cut("/home/me/project", 8, keep_end=True) == "…project"


def test_the_ellipsis_of_a_terminal_without_unicode_has_three_cells():
    assert cut("abcdef", 5, "...") == "ab..."
    assert cut("abcdef", 2, "...") == ".."


def test_terminals_agree_on_the_width_of_a_normal_text():
    assert normal("⚠\ufe0f") == "⚠"
    assert normal("a" + "\u0301" * 50 + "b") == "a" + "\u0301" * 4 + "b"
    assert normal("plain") == "plain"


def test_lines_are_broken_between_words():
    assert wrapped("one two three", 8, "  ") == ["one two", "  three"]
    assert wrapped("  one two three", 9, "    ") == ["  one two", "    three"]
    assert wrapped("one two three", None) == ["one two three"]


def test_a_word_that_is_too_long_is_broken():
    assert wrapped("a bbbbbbbbbb", 6, "  ") == ["a bbbb", "  bbbb", "  bb"]
    assert "".join(wrapped("日本語日本語", 4)) == "日本語日本語"


@pytest.mark.parametrize("cells", range(1, 40))
def test_no_line_is_wider_than_the_terminal(cells):
    lines = wrapped("  words 日本語 of different-length", cells, " ")
    assert all(width(line) <= max(cells, 4) for line in lines)
    assert "".join("".join(lines).split()) == "words日本語ofdifferent-length"
