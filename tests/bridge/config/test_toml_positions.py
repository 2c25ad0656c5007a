"""The positions of keys and values are found in every spelling of TOML."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.bridge.config.toml_positions import Positions

TEXT = '''a = 1 # comment = 2
servers.x.spare = 2
"b.c" = """text
d = 1 \\""" """ # after
e = \'\'\'x = ['\'\'\'\'
[ servers . "y" ] # header
date = 1979-05-27 07:32:00
list = [ # one
  "x", # [two
  ["y", 'z#'],
]
env = { A = "}", "B" = 2 }
[[many]]
n = 1
[[many]]
n = 2
[many.sub]
m = 3
'''


def written(positions, path):
    place = positions.places[path]
    return TEXT[place.key : place.key_end], TEXT[place.value : place.value_end]


def test_keys_and_values_are_found():
    found = Positions(TEXT)
    assert found.unfinished is None
    assert written(found, ("a",)) == ("a", "1")
    assert written(found, ("servers", "x", "spare")) == ("spare", "2")
    assert written(found, ("b.c",)) == ('"b.c"', '"""text\nd = 1 \\""" """')
    assert written(found, ("e",)) == ("e", "'''x = ['''''")
    assert written(found, ("servers", "y")) == ('"y"', '[ servers . "y" ]')
    assert written(found, ("servers", "y", "date"))[1] == "1979-05-27 07:32:00"
    assert written(found, ("servers", "y", "list", 1, 1))[1] == "'z#'"
    assert written(found, ("servers", "y", "env", "B")) == ('"B"', "2")
    assert written(found, ("many", 1, "n"))[1] == "2"
    assert written(found, ("many", 1, "sub", "m"))[1] == "3"
    assert found.line_and_column(found.places["servers", "y", "env", "B"].key) == (12, 18)


def test_a_path_without_a_place_leads_to_the_table_around_it():
    found = Positions(TEXT)
    assert found.find(("servers", "y", "nothing")) == found.places["servers", "y"]
    assert found.find(("servers", "y", "list", 9)) == found.places["servers", "y", "list"]
    assert found.find(("nothing",)) is None


@pytest.mark.parametrize(
    "text", ["a = [1,", 'a = "x', "a = ", "[a", "= 1", "a b", "a = {b", "a." + "[" * 9999]
)
def test_a_broken_statement_is_unfinished(text):
    found = Positions(f"first = 1\n{text}")
    assert ("first",) in found.places
    assert found.unfinished is not None
    assert found.unfinished[1] == len("first = 1\n")


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path, value
        if isinstance(value, list):
            for index, inner in enumerate(value):
                yield from leaves(inner, (*path, index))


FRAGMENTS = ["a", "b", '"c"', ".", "=", " ", "\n", "[", "]", "{", "}", ",", "1", "true", "'x'", '"y#"', "# z", '"""\n"""', "[a]\n", "a.b = 1\n", "c = [1, {d = 2}]\n"]  # fmt: skip


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join))
def test_each_value_of_a_valid_text_has_its_place(text):
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        Positions(text)
        return
    found = Positions(text)
    assert found.unfinished is None
    for path, value in leaves(table):
        place = found.places[path]
        assert tomllib.loads(f"v = {text[place.value : place.value_end]}")["v"] == value
