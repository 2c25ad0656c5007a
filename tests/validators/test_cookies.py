"""The Cookie header."""

import pytest

from mcpbridged.validators.cookies import cookie_values


@pytest.mark.parametrize(
    ("header", "values"),
    [
        (None, []),
        ("", []),
        ("a=1", ["1"]),
        ("b=2; a=1", ["1"]),
        ("a=1; a=2", ["1", "2"]),
        ("a=1;a=2\t; b", ["1", "2"]),
        ("a=1, a=2", ["1", "2"]),
        ("a=2; a=1; a=2", ["2", "1"]),
        ("a=12; a=; a=1", ["1"]),
        ("aa=1; a =2; A=3", []),
        ("a", []),
    ],
)
def test_all_values_of_a_name_and_a_length_are_returned_in_order(header, values):
    assert cookie_values(header, "a", 1) == values


def test_a_value_may_have_an_equals_sign():
    assert cookie_values("a=b=c", "a", 3) == ["b=c"]


def test_a_value_is_found_among_many_of_the_same_name():
    others = [f"a={number:03}" for number in range(200)]
    assert "xyz" in cookie_values("; ".join([*others, "a=xyz"]), "a", 3)


def test_the_characters_that_are_read_are_limited():
    assert cookie_values(f"a=1; {' ' * 64 * 1024}; a=2", "a", 1) == ["1"]
