"""A member of an object in JSON with comments."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.bridge.config import json_edit
from mcpbridged.bridge.config.import_json import read_json, without_comments
from mcpbridged.bridge.config.import_texts import BadImport
from mcpbridged.bridge.config.json_edit import with_member
from mcpbridged.bridge.config.tables import BadConfig

VALUE = {"command": "x"}


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("", '{\n  "m": {\n    "n": 1\n  }\n}\n'),
        ("{}", '{\n  "m": {\n    "n": 1\n  }\n}'),
        ('{"m": {"n": 5}}', '{"m": {"n": 1}}'),
        ('{\n\t"a": 1, // c\n\t/* d */\n}', '{\n\t"a": 1, // c\n\t/* d */\n\t"m": {\n\t\t"n": 1\n\t}\n}'),
        ('{\n  "m": {\n    "a": 1 // c\n  }\n}\n', '{\n  "m": {\n    "a": 1, // c\n    "n": 1\n  }\n}\n'),
        ('{\n  "m": {\n    "a": ["}", {"n": 2}],\n  }, // c\n}', None),
        ('// "m"\n{\n  "m": { // "n": {\n    "n" : 2, "b": "\\"n\\""\n  }\n}', None),
        ('{"n": {"m": 1}, "m": {"a": {"n": 3}}}', None),
        ('{"m": {"n": 1}, "m": {"a": 2}}', None),
        ('\r\n{\r\n    "a": 1\r\n}', None),
    ],
)
def test_only_the_member_changes(text, new):
    found = with_member(text, ("m", "n"), 1)
    if new is not None:
        assert found == new
    assert read_json(found)["m"]["n"] == 1
    for comment in ("// c", "/* d */", '// "m"', '// "n": {'):
        assert (comment in found) == (comment in text)


@pytest.mark.parametrize("text", ['{"m": 5}', '{"m": [1]}'])
def test_a_value_that_is_no_object_is_kept(text):
    with pytest.raises(BadConfig, match=r"m\.n: m is not an object"):
        with_member(text, ("m", "n"), 1)


def test_a_text_that_is_no_json_is_refused():
    with pytest.raises(BadImport):
        with_member("{oops", ("m",), 1)


@pytest.mark.parametrize("wrong", ["{}", "{oops"])
def test_an_edit_with_another_result_is_refused(monkeypatch, wrong):
    monkeypatch.setattr(json_edit, "_edited", lambda *_: wrong)
    with pytest.raises(BadConfig, match="cannot be edited here"):
        with_member("{}", ("m",), 1)


keys = st.text(max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(keys, values, max_size=4), keys, keys, values, st.sampled_from([None, 2, "\t"]))
def test_any_object_can_be_edited(top, outer, inner, value, indent):
    text = json.dumps(top, indent=indent, ensure_ascii=False)
    if not isinstance(top.get(outer, {}), dict):
        return
    found = read_json(with_member(text, (outer, inner), value))
    assert found == {**top, outer: {**top.get(outer, {}), inner: value}}


def test_a_text_with_crlf_keeps_its_line_ends():
    found = with_member('{\r\n  "a": {\r\n    "b": 1\r\n  }\r\n}\r\n', ["a", "c"], {"x": 1})
    assert found.count("\n") == found.count("\r\n") > 5


def test_half_a_surrogate_pair_stays_an_escape():
    found = with_member('{"a": {"k": "\\ud800", "\\udc00": 1}}', ["a"], {"k": "\ud800", "\udc00": 2})
    assert json.loads(found.encode()) == {"a": {"k": "\ud800", "\udc00": 2}}


@pytest.mark.parametrize("depth", [300, 900, 100_000])
def test_a_deep_text_is_edited_or_refused(depth):
    with contextlib.suppress(BadImport):
        with_member(f'{{"b": {"[" * depth}{"]" * depth}}}', ["a"], 1)


COMMENTED = """{
  "m": {
    // About all.
    "n": {
      // The program.
      "command": "npx", // old
      /* arguments
         of it */
      "args": ["-y"], // two
      // kept below
      "timeout": 5, // seconds
      "env": { "A": "b" /* why */ }
    }, // after
  }
}
"""


@pytest.mark.parametrize(
    ("value", "new"),
    [
        (
            {"url": "u", "timeout": 5},
            """{
  "m": {
    // About all.
    "n": {
      // The program.
      /* arguments
         of it */
      // kept below
      "timeout": 5, // seconds
      "url": "u"
    }, // after
  }
}
""",
        ),
        (
            {"command": "x", "args": ["-y"], "timeout": 5, "env": {"A": "c"}},
            COMMENTED.replace("npx", "x").replace('{ "A": "b" /* why */ }', '{\n        "A": "c"\n      }'),
        ),
        ({"args": ["-y"], "timeout": 5}, None),
        ({}, None),
        ({"env": {"A": "b"}}, None),
    ],
)
def test_comments_of_an_object_stay(value, new):
    found = with_member(COMMENTED, ("m", "n"), value)
    assert read_json(found) == {"m": {"n": value}}
    assert new is None or found == new
    for comment in ("About all", "The program", "of it */", "kept below", "// after"):
        assert comment in found
    # No comma is left behind the last member, because not every client accepts that.
    json.loads(without_comments(found).replace("}, ", "}  "))


@pytest.mark.parametrize(
    "text",
    [
        '{"n": {"a": 1, /* c */ "b": 2, "d": 3}}',
        '{"n": {"a": 1 /* c */, "b": 2 /* e\n */, "d": 3 // f\n}}',
        '{"n": {"b": 2, // c\n "a": 1,\n "d": 3, /* e */ }}',
        '{"n": {"a": "//", "b": "/*", // ,\n "d": "*/" // "\n}}',
        '{"n": {"b": 1, "b": 2, /* c */ "a": 1, "d": 4}}',
    ],
)
@pytest.mark.parametrize("value", [{"a": 1}, {"b": 2}, {"d": 0, "x": {}}, {"x": 1, "a": 5}, {}])
def test_each_member_of_an_object_with_comments_can_be_removed(text, value):
    assert read_json(with_member(text, ["n"], value)) == {"n": value}


@pytest.mark.parametrize("before", ["", " "])
@pytest.mark.parametrize(
    ("text", "new"),
    [
        ('{"n": {"a": 1, "d": 3 /* c */}}', '{"n": {"a": 1 /* c */}}'),
        ('{"n": {"d": 3,"a": 1 /* c */}}', '{"n": {"a": 1 /* c */}}'),
        (
            '{\n  "n": {\n    "d": 3,\n    // c\n    "a": 1\n  }\n}',
            '{\n  "n": {\n    // c\n    "a": 1\n  }\n}',
        ),
    ],
)
def test_a_member_is_removed_with_its_comma_alone(before, text, new):
    assert with_member(before + text, ["n"], {"a": 1}) == before + new


def test_an_object_with_very_many_differences_is_replaced():
    many = ", ".join(f'"k{number}": 1' for number in range(200))
    found = with_member(f'{{"n": {{ // c\n {many} }}}}', ["n"], {"x": 1})
    assert found == '{"n": {\n  "x": 1\n}}'
