"""Characters that a person does not see."""

import pytest

from mcpbridged.bridge.core.hidden_characters import classified, hidden_in, visible

FLAG = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\U000e0041\U000e0042", {"tag"}),
        ("a\ufe01\ufe02\ufe03", {"variation-selector"}),
        ("a\u202eb", {"bidirectional"}),
        ("a\u2066b", {"bidirectional"}),
        ("a\u200bb", {"zero-width"}),
        ("a\u200db", {"zero-width"}),
        ("a\ue000", {"private-use"}),
        ("a\x1b[31mb", {"control"}),
        ("a\x9bb", {"control"}),
        ("a\ud800", {"control"}),
        ("\U0001f3f4\U000e0041\U000e007f", {"tag"}),
    ],
)
def test_a_hidden_character_is_classified(text, expected):
    assert {name for name, _ in classified(text)} == expected


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "two\nlines\twith a tab\r\n",
        "\u26a0\ufe0f warning",
        f"the flag {FLAG} of Scotland",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\U0001f468\u200d\ufe0f\U0001f469",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0639\u0631\u0628\u064a \u200e(1)\u200f \u2067abc\u2069",
        "\u65e5\u672c\u8a9e, \u00e9, \u2014 \u201cquoted\u201d",
    ],
)
def test_a_character_with_a_use_is_no_finding(text):
    assert hidden_in(text) == []


def test_an_override_of_the_direction_is_found_in_a_text_from_right_to_left():
    assert hidden_in("\u0639\u0631\u0628\u064a\u202eabc") == ["U+202E"]


def test_a_text_is_made_visible():
    assert visible("a\u200bb\x1b\U000e0041") == "a\\u{200b}b\\u{1b}\\u{e0041}"


def test_few_characters_are_named():
    text = "".join(chr(0xE0020 + number) for number in range(64))
    assert len(hidden_in(text)) == 8
