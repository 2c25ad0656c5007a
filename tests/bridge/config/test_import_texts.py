"""Texts of an imported configuration in TOML."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.bridge.config.import_texts import (
    LeftOut,
    as_object,
    as_text,
    listed,
    object_in,
    objects_in,
    shown_name,
    texts_in,
    toml_array,
    toml_string,
    toml_table,
    why_unfit,
)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_as_a_string_of_toml(text):
    assert tomllib.loads(f"a = {toml_string(text)}") == {"a": text}
    assert toml_string(text).isprintable()


@given(st.lists(st.text()))
def test_names_for_a_note_have_no_invisible_characters(names):
    assert listed(names).isprintable()
    assert listed(["a\x1fb", 'é"\\']) == 'a\\u001Fb, é"\\'


def test_an_array_has_its_texts_in_order():
    assert toml_array(["a", 'b"']) == '["a", "b\\""]'


def test_a_table_has_inner_tables_as_dotted_keys_or_with_a_heading():
    keys = {
        "command": ["x"],
        "enabled": False,
        "connect_seconds": 1.5,
        "tools": {"deny": ["a"]},
        "env": {"A B": "1", "C": "2"},
        "url": "u",
        "on": True,
    }
    text = toml_table("a.b", keys, "a comment")
    assert text.splitlines()[:2] == ['[servers."a.b"]', "# a comment"]
    assert tomllib.loads(text) == {"servers": {"a.b": keys}}
    assert '[servers."a.b".env]' in text
    assert "tools.deny = " in text


@pytest.mark.parametrize(("value", "text"), [(1, "1"), (1.5, "1.5"), ("a", "a"), (True, None), (None, None)])
def test_a_number_is_a_text_and_a_boolean_is_none(value, text):
    assert as_text(value) == text


@pytest.mark.parametrize(("value", "texts"), [(["a"], ["a"]), ([], []), (["a", 1], None), ("a", None)])
def test_a_list_of_strings(value, texts):
    assert texts_in(value) == texts


def test_only_an_object_is_an_object():
    assert as_object({"a": 1}, "no") == {"a": 1}
    with pytest.raises(LeftOut, match="no"):
        as_object([], "no")
    assert objects_in([]) == {}
    assert objects_in({"a": {}, "b": 1}) == {"a": {}}
    assert object_in({"a": {"b": {"c": 1}}}, "a", "b") == {"c": 1}
    assert object_in({"a": [1]}, "a", "b") == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [("a" * 4096, ""), ("a" * 4097, "has more than 4096"), ("\0", "zero byte"), ("\udc00", "not Unicode")],
)
def test_a_text_that_the_configuration_cannot_hold(text, reason):
    assert reason in why_unfit(text)
    assert bool(why_unfit(text)) == bool(reason)


def test_a_long_name_is_cut():
    assert shown_name("x" * 100).endswith("…")
    assert shown_name("x") == "'x'"
