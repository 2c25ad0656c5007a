"""Which scopes are requested."""

import pytest

from mcpbridged.validators.oauth_scopes import MOST_SCOPES, only_scopes, parse_scopes, select_scopes, union


def test_words_that_are_no_scopes_are_left_out():
    assert parse_scopes('a  b "c" a d\\ é e\r\nX ' + "x" * 257) == ("a", "b")
    assert parse_scopes("") == ()


def test_the_number_of_scopes_is_limited():
    many = [str(number) for number in range(1000)]
    assert len(only_scopes(many)) == len(union((), many)) == MOST_SCOPES


def test_a_union_has_the_former_scopes_first():
    assert union(("b", "a"), ("c", "a")) == ("b", "a", "c")


@pytest.mark.parametrize(
    ("configured", "challenged", "supported", "of_server", "expected"),
    [
        ((), ("a",), ("b",), None, ("a",)),
        ((), (), ("b",), None, ()),
        ((), None, ("b", "c"), None, ("b", "c")),
        ((), None, None, ("x",), ()),
        (("o",), ("a",), ("b",), None, ("o", "a")),
        (("o",), None, ("b",), None, ("o",)),
        ((), ("a",), None, ("a", "offline_access"), ("a", "offline_access")),
        ((), ("offline_access",), None, ("offline_access",), ("offline_access",)),
        ((), None, None, ("offline_access",), ()),
        ((), ("a",), None, ("a",), ("a",)),
    ],
)
def test_scopes_are_selected_as_the_specification_recommends(
    configured, challenged, supported, of_server, expected
):
    assert select_scopes(configured, challenged, supported, of_server) == expected
