"""Names, order and changes of mutants."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .mutant import Key, Mutant, change, family, short

KEY = Key("validators/names.py", "return 1", "NumberReplacer")


@given(st.text("ab\n"), st.text("ab\n"))
def test_a_change_makes_one_source_of_the_other(source, mutated):
    found = change(KEY, 1, source, mutated)
    assert found.applied(source) == mutated
    assert Mutant.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_change_is_shown_as_the_first_line_that_differs():
    source = "a = 1\nif a:\n    b = a + 1\n"
    assert change(KEY, 3, source, source.replace("a + 1", "a - 1")).shown(source) == "b = a - 1"


def test_a_removed_last_line_is_shown_as_nothing():
    assert change(KEY, 2, "a = 1\nb = 2\n", "a = 1\n").shown("a = 1\nb = 2\n") == ""


def test_the_order_depends_on_the_seed_and_on_each_part_of_the_name():
    others = [
        Key("validators/limits.py", KEY.line, KEY.operator),
        Key(KEY.module, "return 2", KEY.operator),
        Key(KEY.module, KEY.line, "AddNot"),
        Key(KEY.module, KEY.line, KEY.operator, 1),
    ]
    assert len({key.rank(1) for key in (KEY, *others)} | {KEY.rank(2)}) == 6
    assert KEY.rank(1) == Key(KEY.module, KEY.line, KEY.operator, 0).rank(1)


@pytest.mark.parametrize(
    ("name", "shortened", "common"),
    [
        ("core/ReplaceBinaryOperator_Add_Sub", "ReplaceBinaryOperator_Add_Sub", "ReplaceBinaryOperator"),
        ("core/AddNot", "AddNot", "AddNot"),
    ],
)
def test_names_of_operators(name, shortened, common):
    assert short(name) == shortened
    assert family(shortened) == common
