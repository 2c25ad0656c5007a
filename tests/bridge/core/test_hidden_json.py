r"""Hidden characters in JSON texts."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mcpbridged.bridge.core.hidden_characters import classified
from mcpbridged.bridge.core.hidden_json import (
    MOST_CHARACTERS,
    MOST_STRINGS,
    TOO_MANY,
    find_hidden,
    replaced,
)

FLAG = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"


def cleaned(text):
    found = find_hidden(text)
    assert found is not None
    return replaced(text, found)


def string(text):
    return f'"{text}"'.encode()


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ('{"a":"x\u200by"}', '{"a":"xy"}'),
        ('{"a":"x\\u200by"}', '{"a":"xy"}'),
        ('{"a":"x\\u200By"}', '{"a":"xy"}'),
        ('{"a":"x\\u001b[31my"}', '{"a":"x[31my"}'),
        ('{"a":"x\\u009b31my"}', '{"a":"x31my"}'),
        ('{"a":"x\u009b31my"}', '{"a":"x31my"}'),
        ('{"a":"x\x7fy\\u007F"}', '{"a":"xy"}'),
        ('{"a":"x\\by\\fz"}', '{"a":"xyz"}'),
        ('{"a":"x\\u0000y"}', '{"a":"xy"}'),
        ('{"a":"x\\udb40\\udc41y"}', '{"a":"xy"}'),
        ('{"a":"x\\uDB40\\uDC41y"}', '{"a":"xy"}'),
        ('{"a":"x\U000e0041y"}', '{"a":"xy"}'),
        ('{"a":"x\u202ey\\u2066z"}', '{"a":"xyz"}'),
        ('{"a":"x\ufe01\\ufe02\\udb40\\udd03y"}', '{"a":"xy"}'),
        ('{"a" : [ "\u200b" , 1.0e1, "\u00e9\u200b" ] }', '{"a" : [ "" , 1.0e1, "\u00e9" ] }'),
        # All other bytes stay: an escaped slash, letters and quotes, and white space.
        ('{"a":"\\/\\u0041\\"\u200b\\\\"}  ', '{"a":"\\/\\u0041\\"\\\\"}  '),
        ('{"a":"\u65e5","b":"\u672c\u200b","c":"\u65e5\\u200b"}', '{"a":"\u65e5","b":"\u672c","c":"\u65e5"}'),
        # Joiners, a selector, a flag and marks that have a use next to a character that has none.
        ('"\u0645\u06cc\u200c\u062e \u200b"', '"\u0645\u06cc\u200c\u062e "'),
        ('"\\u0645\\u200c\\u062e\\u200b"', '"\\u0645\\u200c\\u062e"'),
        ('"\u2764\ufe0f\u200d\U0001f525\\u001b"', '"\u2764\ufe0f\u200d\U0001f525"'),
        (f'"{FLAG}\\u001b"', f'"{FLAG}"'),
        ('"\u05d0\u200e\\u001b"', '"\u05d0\u200e"'),
        # What comes together when a character is removed.
        ('"a\ufe01\u200b\ufe02"', '"a"'),
        ('"\\udb40\u200b\\udc41"', '""'),
        ('"\\udb40\\u200b\\udc41"', '""'),
        ('"\\udb40\\udb40\\u200b\\udc41\\udc41"', '""'),
        ('"\\ud83d\\u200b\\ude00"', '"\\ud83d\\ude00"'),
    ],
)
def test_only_hidden_characters_are_removed(text, rest):
    assert cleaned(text.encode()) == rest.encode()


@pytest.mark.parametrize(
    "text",
    [
        '{"a":"plain\\n\\t\\r"}',
        '{"a":"C:\\\\bin\\\\users\\\\u200b\\\\f"}',
        '{"a":"cut \\ud83d"}',
        '{"a":"\\udc41\\udb40"}',
        '{"a":"\u2028\u2029\ue000"}',
        '{"a":"\u2764\ufe0f \u0645\u06cc\u200c\u062e \U0001f468\u200d\U0001f469"}',
        '{"a":"\\u2764\\ufe0f \\u0645\\u200c\\u062e"}',
        f'{{"a":"{FLAG}"}}',
        '{"a":"\u05d0\u200e"}',
        '{"a":"\u05d0\\u200e"}',
    ],
)
def test_a_text_without_hidden_characters_is_unchanged(text):
    assert find_hidden(text.encode()) == []


def test_a_finding_has_the_place_the_classes_and_whether_it_is_a_name():
    text = '{"\u00e9\u200b" : "x", "b":"\\u001b\\udb40\\udc41", "c":"\u200b"}'.encode()
    name, first, second = find_hidden(text)
    assert (name.is_name, first.is_name, second.is_name) == (True, False, False)
    assert text[first.begin : first.end] == b"\\u001b\\udb40\\udc41"
    assert first.classes == ("control", "tag")
    assert name.text == "\u00e9".encode()
    assert text[second.begin - 1 : second.end + 1] == '"\u200b"'.encode()


def test_a_string_with_an_escaped_quote_and_a_colon_is_no_name():
    (found,) = find_hidden(b'["\\":\\u200b\\":"]')
    assert found.text == b'\\":\\":'
    assert not found.is_name


def test_usual_emoji_are_no_candidates():
    usual = "1\ufe0f\u20e3 \u2764\ufe0f\u200d\U0001f525 "
    assert find_hidden(string(usual * (MOST_CHARACTERS + 1))) == []
    (found,) = find_hidden(b'"\\ufe01\xef\xb8\x8f"')
    assert found.text == b""


def test_too_many_strings_or_characters_are_not_examined():
    assert TOO_MANY == "has more than 8192 strings with hidden characters, or 65536 such characters"
    one = '"\\u001b"'
    assert len(find_hidden(f"[{','.join([one] * MOST_STRINGS)}]".encode())) == MOST_STRINGS
    assert find_hidden(f"[{','.join([one] * (MOST_STRINGS + 1))}]".encode()) is None
    assert len(find_hidden(string("\u200b" * MOST_CHARACTERS))) == 1
    assert find_hidden(string("\u200b" * (MOST_CHARACTERS + 1))) is None
    # Round after round of candidates that come together.
    assert find_hidden(string("\u65e5\u200c\u65e5\u200b" * (MOST_CHARACTERS // 2))) is None


@pytest.mark.parametrize(("pairs", "is_examined"), [(3, True), (4, False)])
def test_a_string_that_is_not_stable_after_four_rounds_is_not_examined(pairs, is_examined):
    text = '"' + "\\udb40" * pairs + "\\u200b" + "\\udc41" * pairs + '"'
    assert (find_hidden(text.encode()) is not None) is is_examined


_VISIBLE = 'a\u00e9\u65e5\u2764\n"\\:\ue000\u05d0\u0661\U0001f3f4'
_HIDDEN = "\U000e0067\U000e007f\ufe0f\ufe01\u200d\u200c\u200b\u202e\u200e\u2066\u061c\x1b\x85\x08\x7f\ud83d\udb40\udc41"
_CHARACTERS = st.sampled_from([*_VISIBLE, *_HIDDEN, "\\u200b"])


def _written(pair):
    character, escaped = pair
    text = json.dumps(character)[1:-1]
    raw = len(character) == 1 and not escaped and character not in '"\\' and character >= " "
    return character if raw and not "\ud800" <= character < "\ue000" else text


def _expected(text):
    return [
        one
        for kind, one in classified(text)
        if kind != "private-use" and one not in "\u2028\u2029" and not "\ud800" <= one < "\ue000"
    ]


@given(st.lists(st.lists(st.tuples(_CHARACTERS, st.booleans()), max_size=8), min_size=3, max_size=3))
def test_the_result_is_that_of_the_decoded_strings(strings):
    written = ['"' + "".join(map(_written, one)) + '"' for one in strings]
    text = '{{{}: {}, "x":[{}]}}'.format(*written).encode()
    decoded = [json.loads(one, strict=False) for one in written]
    found = find_hidden(text)
    assume(found is not None)
    assert [text[one.begin - 1 : one.end + 1] for one in found] == [
        one.encode() for one, value in zip(written, decoded, strict=True) if _expected(value)
    ]
    assert find_hidden(replaced(text, found)) == []
