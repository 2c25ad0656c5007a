"""Text and JSON of a server for stdout."""

import json

import pytest

from mcpbridged.bridge.commands.printable import json_text, one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\n", "a\nb"),
        ("a\r\n\tb\n\n", "a\n\tb\n"),
        ("a\x1b[31mb\rc\x0bd\x85e\u2028f\u202e", r"a\x1b[31mb\rc\x0bd\x85e\u2028f\u202e"),
        ("", ""),
    ],
)
def test_lines_and_tabs_of_a_text_stay_and_control_characters_are_escaped(text, shown):
    assert printable(text) == shown


def test_one_line_is_the_first_with_a_text_and_is_cut():
    assert one_line("\n  a\x1b \nb") == r"a\x1b"
    assert one_line("x" * 300, 10) == "xxxxxxx..."
    assert one_line("\n") == ""


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("indent", [None, 2])
def test_json_stays_json_without_control_characters(indent, ascii_only):
    value = {"a\x7f": ["é\x1b\x9b\u202e\n", "\ud800", "\U000e0041", 1, None]}
    text = json_text(value, indent=indent, ascii_only=ascii_only)
    assert json.loads(text) == value
    assert not any(one in text for one in "\x1b\x7f\x9b\u202e\U000e0041\ud800")
    assert ("é" in text) == (not ascii_only)
