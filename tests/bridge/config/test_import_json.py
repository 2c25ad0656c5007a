"""JSON with comments and trailing commas."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.bridge.config.import_json import plain_json, read_json
from mcpbridged.bridge.config.import_texts import BadImport


def test_comments_and_trailing_commas_are_allowed_and_strings_keep_theirs():
    text = r"""
    // the servers, "quoted"
    { /* one
                         of them */
        "a": ["//x", "/*", "*/", ",]", ", }", "\\", "\"// \",}", "https://b/c",],
    }  // the end"""
    assert read_json("\ufeff" + text) == {
        "a": ["//x", "/*", "*/", ",]", ", }", "\\", '"// ",}', "https://b/c"]
    }
    assert len(plain_json(text)) == len(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1, column 1"),
        ('{"mcpServers": {}\n  oops}', "line 2, column 3"),
        ('// a\n/* b\nc */ {"mcpServers" 1}', "line 3, column 20"),
        ('{"a": "b', "not valid JSON"),
        ('{"a": 1} /', "not valid JSON"),
        ("[]", "not an object"),
        ("null", "not an object"),
        ('{"a": ' + "[" * 200_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "too many digits"),
    ],
)
def test_a_text_that_is_no_object_is_refused_with_the_position(text, reason):
    with pytest.raises(BadImport, match=reason):
        read_json(text)


@pytest.mark.parametrize("text", ['"' + '\\"' * 300_000, "/*" * 300_000, ", " * 300_000, '{"' * 300_000])
def test_a_long_unterminated_text_is_refused_at_once(text):
    with pytest.raises(BadImport):
        read_json(text)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(anything)
def test_json_without_comments_stays_unchanged(value):
    assert read_json(json.dumps({"a": value}, ensure_ascii=False)) == {"a": value}
