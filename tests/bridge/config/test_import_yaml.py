"""YAML, as Goose and Continue write it."""

import sys

import pytest

from mcpbridged.bridge.config import import_yaml
from mcpbridged.bridge.config.import_texts import BadImport
from mcpbridged.bridge.config.import_yaml import read_yaml


def test_scalars_are_those_of_yaml_1_2():
    text = """
    a: on
    b: yes
    c: true
    d: False
    e: 017
    f: -1.5e3
    g: ~
    h:
    i: 'true'
    j: "1"
    k: 1.2.3
    l: 2025-01-01
    m: !!str 5
    """
    assert read_yaml(text) == {
        "a": "on",
        "b": "yes",
        "c": True,
        "d": False,
        "e": 17,
        "f": -1500.0,
        "g": None,
        "h": None,
        "i": "true",
        "j": "1",
        "k": "1.2.3",
        "l": "2025-01-01",
        "m": 5,
    }


def test_blocks_flow_collections_comments_and_aliases_are_read():
    text = """# a comment
base: &base {args: ["-y", 'x']}
text: |
  # no comment
  line
folded: >-
  a
  b
list:
- *base
- ${{ secrets.X }}
"""
    found = read_yaml(text)
    assert found["text"] == "# no comment\nline\n"
    assert found["folded"] == "a b"
    assert found["list"] == [{"args": ["-y", "x"]}, "${{ secrets.X }}"]


def test_an_alias_of_itself_and_many_aliases_take_no_time():
    assert read_yaml("a: &a\n  b: *a\n")["a"]["b"]
    text = "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 40)
    )
    assert len(read_yaml(text)) == 40


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "not valid YAML: line 1, column 5"),
        ("a: b: c", "line 1, column 5"),
        ("a: *none", "undefined alias"),
        ("a: 1\n---\nb: 2", "another document"),
        ("a: \x00", "does not allow"),
        ("- a", "not an object"),
        ("", "not an object"),
        ("a: " + "[" * 20_000, "nested too deeply"),
        ("a: b\n" * 60_000, "the limit is 262144"),
    ],
)
def test_a_text_that_is_no_object_is_refused_with_the_reason(text, reason):
    with pytest.raises(BadImport, match=reason):
        read_yaml(text)


def test_a_value_that_is_nested_too_deeply_is_refused(monkeypatch):
    def too_deep(_text):
        raise RecursionError

    monkeypatch.setattr(import_yaml, "_value_of", lambda *_: too_deep(""))
    with pytest.raises(BadImport, match="nested too deeply"):
        read_yaml("a: 1")


def test_without_pyyaml_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(BadImport, match=r"install mcpbridged\[yaml\]"):
        read_yaml("a: 1")
