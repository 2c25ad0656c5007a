"""Which tools there are for clients."""

import json

import pytest

from mcpbridged.bridge.choice import EVERYTHING, Choice
from mcpbridged.validators.rejection import Rejection


@pytest.mark.parametrize(
    ("allow", "deny", "name", "permitted"),
    [
        (("*",), (), "anything", True),
        (("git_*",), (), "git_log", True),
        (("git_*",), (), "log", False),
        (("git_*",), (), "x_git_log", False),
        (("git_*",), ("*_push",), "git_push", False),
        (("*",), ("*_push",), "git_pull", True),
        (("git_log", "git_diff*"), (), "git_diff_staged", True),
        (("git_log",), (), "GIT_LOG", False),
        (("git_log",), (), "git_log\n", False),
        ((), (), "anything", False),
    ],
)
def test_a_tool_is_there_if_it_is_allowed_and_not_denied(allow, deny, name, permitted):
    choice = Choice(allow, deny)
    assert choice.permits(name) is permitted
    if permitted:
        choice.check(name)
    else:
        with pytest.raises(Rejection, match="Unknown tool: ") as caught:
            choice.check(name)
        assert (caught.value.status, caught.value.code) == (200, -32602)


def test_without_patterns_nothing_is_looked_at():
    assert not EVERYTHING.restricts
    assert not Choice(("*",)).restricts
    assert Choice(("*",), ("x",)).restricts
    assert Choice(()).restricts


def test_a_list_keeps_what_is_chosen_and_all_else_as_it_was():
    choice = Choice(("a*",))
    result = (
        b'{"tools":[{"name":"a1","x":[ 1 ]},{"name":"b"},{"name":"a2"}],"nextCursor":"c","_meta":{"n":1e0}}'
    )
    assert json.loads(choice.filtered(result)) == {
        "tools": [{"name": "a1", "x": [1]}, {"name": "a2"}],
        "nextCursor": "c",
        "_meta": {"n": 1.0},
    }
    assert b'{"name":"a1","x":[ 1 ]}' in choice.filtered(result)
    unchanged = b'{"tools":[ {"name":"a"} ]}'
    assert choice.filtered(unchanged) == unchanged
    assert choice.filtered(b'{"odd":1}') == b'{"odd":1}'
