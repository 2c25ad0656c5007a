"""Names of servers that can be confused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.bridge.aggregate.tool_names import split
from mcpbridged.bridge.config import tables
from mcpbridged.bridge.config.server_names import SEPARATOR, find_collision, is_confusable
from mcpbridged.bridge.config.tables import BadConfig


@pytest.mark.parametrize(
    "names",
    [["a"], ["a", "b"], ["a", "a_b", "a-b", "ab"], ["a__b", "a_b"], ["a_", "b"], ["My_Server", "my-server"]],
)
def test_names_that_cannot_be_confused_are_accepted(names):
    assert find_collision(names) is None
    assert find_collision(names[::-1]) is None


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["git", "Git"], "Git"),
        (["a", "a__b"], "a__b"),
        (["a__b", "x", "a"], "a__b"),
        (["a", "a_"], "a_"),
        (["a", "A__b"], "A__b"),
        (["b", "b0", "b_c", "b__", "c"], "b__"),
    ],
)
def test_names_that_can_be_confused_are_found(names, found):
    name, reason = find_collision(names)
    assert name == found
    assert "choose another name" in reason


NAMES = st.lists(st.text("aB_-", min_size=1, max_size=5), max_size=5, unique=True)


@given(NAMES, st.text("a_b", min_size=1, max_size=4))
def test_without_a_collision_each_tool_has_one_server(names, tool):
    if find_collision(names) is None:
        for name in names:
            assert split(f"{name}{SEPARATOR}{tool}", names) == (name, tool)
    else:
        assert len(names) > 1


@given(NAMES)
def test_a_name_is_confusable_if_it_adds_a_collision(names):
    if find_collision(names[1:]) is None and names:
        assert is_confusable(names[0], names[1:]) == (find_collision(names) is not None)
        assert is_confusable(names[0], names)


def test_a_collision_is_an_error_of_the_configuration():
    with pytest.raises(
        BadConfig, match=r"line 3, column 10: servers\.Git: its name differs from 'git' in capitals only"
    ):
        tables.parse(
            b'[servers.git]\nurl = "http://127.0.0.1/mcp"\n[servers.Git]\nurl = "http://127.0.0.1/mcp"\n'
        )
