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
        ("a=b=c", ["b=c"]),
        ("aa=1; a =2; A=3", []),
        ("a", [""]),
    ],
)
def test_all_values_of_a_name_are_returned_in_order(header, values):
    assert cookie_values(header, "a") == values


def test_the_number_of_values_is_limited():
    assert cookie_values("; ".join(f"a={number}" for number in range(1000)), "a") == list("01234567")
