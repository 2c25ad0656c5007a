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
