"""An entry in the YAML files of Goose and Continue."""

import pytest

from mcpbridged.bridge.config import yaml_edit
from mcpbridged.bridge.config.import_yaml import read_yaml
from mcpbridged.bridge.config.tables import BadConfig
from mcpbridged.bridge.config.yaml_edit import with_entry, with_item

VALUE = {"enabled": True, "args": ["-y", "a: b"], "headers": {"A": "b"}, "none": None}


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("", 'e:\n  "n":\n    x: 1\n'),
        ("a: 1", 'a: 1\ne:\n  "n":\n    x: 1\n'),
        ("e: {}\nb: 1\n", 'e:\n  "n":\n    x: 1\nb: 1\n'),
        ("e: ~ # c\nb: 1\n", 'e:\n  "n":\n    x: 1\nb: 1\n'),
        ("e:\n\nb: 1\n", 'e:\n  "n":\n    x: 1\n\nb: 1\n'),
        (
            "e:\n  a:\n    x: 1 # c\n  # about b\nb: 2\n",
            'e:\n  a:\n    x: 1 # c\n  "n":\n    x: 1\n  # about b\nb: 2\n',
        ),
        (
            "e:\n    n:\n      y: 2\n    # about z\n    z: 3\n",
            'e:\n    "n":\n      x: 1\n    # about z\n    z: 3\n',
        ),
        ("e:\n  n: {y: 2}\n", 'e:\n  "n":\n    x: 1\n'),
        ("e:\n  a:\n    t: |\n      text\n\nb: 1\n", None),
        ("e:\n  a:\n  - 1\n  - [2,\n     3]\n", None),
    ],
)
def test_only_the_entry_changes(text, new):
    found = with_entry(text, "e", "n", {"x": 1})
    if new is not None:
        assert found == new
    assert read_yaml(found)["e"]["n"] == {"x": 1}


def test_every_kind_of_value_is_written():
    assert read_yaml(with_entry("", "e", "n: #", VALUE))["e"] == {"n: #": VALUE}


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("", 'l:\n  - name: "n"\n    x: 1\n'),
        ("l: []\n", 'l:\n  - name: "n"\n    x: 1\n'),
        ("l:\n- a\n- name: b # c\n# d\nm: 1\n", 'l:\n- a\n- name: b # c\n- name: "n"\n  x: 1\n# d\nm: 1\n'),
        ("l:\n  - y: 2\n    name: n\n  - name: b\n", 'l:\n  - name: "n"\n    x: 1\n  - name: b\n'),
    ],
)
def test_an_item_of_a_list_is_found_by_its_name(text, new):
    found = with_item(text, "l", {"name": "n", "x": 1})
    assert found == new
    assert {"name": "n", "x": 1} in read_yaml(found)["l"]


@pytest.mark.parametrize("text", ["e: {a: {x: 1}}\n", "a: 1\n...\n", "? e\n: n: 1\n  m: 2\n"])
def test_a_spelling_that_cannot_be_edited_is_refused_or_right(text):
    try:
        found = with_entry(text, "e", "z", {"x": 1})
    except BadConfig as fault:
        found = str(fault)
        assert "add the entry by hand" in found
    else:
        assert read_yaml(found)["e"]["z"] == {"x": 1}


def test_another_result_is_refused(monkeypatch):
    for wrong in ("a: 1", "a: ["):
        monkeypatch.setattr(yaml_edit, "_edited", lambda *_, wrong=wrong, **__: wrong)
        with pytest.raises(BadConfig, match="cannot be edited here"):
            with_entry("", "e", "n", {})


def test_a_text_with_crlf_keeps_its_line_ends():
    text = "e:\r\n  a:\r\n    x: 1\r\nl:\r\n  - name: b\r\n"
    for found in (with_entry(text, "e", "n", {"x": 1}), with_item(text, "l", {"name": "n"})):
        assert found.count("\n") == found.count("\r\n") > 5


@pytest.mark.parametrize(
    "text", ["# only a comment\n", "e: null\nl: null\n", "e: Null # c\nl: NULL\n", "e: {}\nl: []\n"]
)
def test_an_empty_table_gets_the_entry(text):
    assert read_yaml(with_entry(text, "e", "n", {"x": {}}))["e"] == {"n": {"x": {}}}
    assert read_yaml(with_item(text, "l", {"name": "n"}))["l"] == [{"name": "n"}]


@pytest.mark.parametrize("value", ["x", "5", '"x"', "[a]", "{a: 1}", "&x [*x]", "&x {a: *x}", "!t x"])
def test_a_table_of_another_type_is_refused(value):
    text = f"t: {value}\n"
    for edit in (lambda: with_entry(text, "t", "n", {"x": 1}), lambda: with_item(text, "t", {"name": "n"})):
        with pytest.raises(BadConfig, match="by hand"):
            edit()


ENTRY = """e:
  # about n
  n:
    # first
    a: 1 # one
    # second
    b: # two
      x: 1
      # inner
      y: 2
    # third

    c: [1, # three
      2]
  # about m
  m: {}
"""


@pytest.mark.parametrize(
    ("value", "lost"),
    [
        ({"a": 1, "b": {"x": 1, "y": 2}, "c": [1, 2]}, ()),
        ({"a": 1, "b": {"x": 1, "y": 2}, "d": 3}, ("three",)),
        ({"a": 2, "c": [1, 2], "d": {"z": 1}}, ("one", "two", "inner")),
        ({"a": 5}, ("one", "two", "inner", "three")),
    ],
)
def test_comments_of_an_entry_stay(value, lost):
    found = with_entry(ENTRY, "e", "n", value)
    assert read_yaml(found)["e"] == {"n": value, "m": {}}
    for comment in ("about n", "first", "one", "second", "two", "inner", "third", "three", "about m"):
        assert (f"# {comment}" in found) == (comment not in lost), comment


@pytest.mark.parametrize("value", [{"b": {"x": 1}}, {"c": 1, "n": 2}])
def test_an_entry_that_loses_its_first_member_is_replaced_as_a_whole(value):
    found = with_entry(ENTRY, "e", "n", value)
    assert read_yaml(found)["e"] == {"n": value, "m": {}}
    assert "# about m" in found


def test_comments_of_an_item_of_a_list_stay():
    text = "l:\n  # about n\n  - name: n # its name\n    # what\n    command: x\n    env:\n      A: b # why\n\n# end\n"
    assert with_item(text, "l", {"name": "n", "url": "u", "env": {"A": "b"}}) == text.replace(
        "    command: x\n", ""
    ).replace("b # why\n", 'b # why\n    url: "u"\n')


def test_an_entry_at_the_end_of_a_file_without_a_line_end_is_edited():
    found = with_entry("e:\n  n:\n    a: 1 # c\n    b: 2", "e", "n", {"a": 1, "c": 3})
    assert found == "e:\n  n:\n    a: 1 # c\n    c: 3\n"


def test_a_hash_in_a_text_and_a_scalar_of_several_lines_are_kept():
    text = "e:\n  n:\n    a: '#'\n    t: |\n      # no comment\n\n    u: >-\n      b\n  m:\n    x: 1\n"
    value = {"a": "#", "t": "# no comment\n", "v": 1}
    assert read_yaml(with_entry(text, "e", "n", value))["e"] == {"n": value, "m": {"x": 1}}
