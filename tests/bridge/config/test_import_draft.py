"""The keys of a local server, without its final name."""

import pytest

from mcpbridged.bridge.config.import_draft import Place, local_draft
from mcpbridged.bridge.config.import_entry import Entry
from mcpbridged.bridge.config.import_texts import LeftOut
from mcpbridged.bridge.config.import_variables import Surroundings


def test_a_secret_is_a_place_whose_value_is_not_shown():
    draft = local_draft(Entry(command="a", env={"API_KEY": "hunter2"}), Surroundings())
    assert draft.keys["secrets"] == {"API_KEY": Place("API_KEY", "hunter2", "API_KEY")}
    assert [place.suffix for place in draft.places()] == ["API_KEY"]
    assert "hunter2" not in repr(draft) + repr([*draft.places()])


@pytest.mark.parametrize(
    ("args", "cwd"),
    [
        (
            [
                ".",
            ],
            "/p",
        ),
        (["./x"], "/p"),
        (["../x"], "/p"),
        (["x/y", "-"], None),
    ],
)
def test_a_relative_argument_needs_the_directory_of_the_project(args, cwd):
    draft = local_draft(Entry(command="a", args=args, project="/p"), Surroundings(project="/p"))
    assert draft.keys.get("cwd") == cwd
    assert local_draft(Entry(command="a", args=args), Surroundings()).keys.get("cwd") is None


def test_a_variable_is_passed_once():
    draft = local_draft(Entry(command="a", passed=["A"], env={"A": "${A}"}), Surroundings())
    assert draft.keys["pass_env"] == ["A"]


def test_patterns_are_added_to_denied_tools():
    draft = local_draft(Entry(command="a", deny=["x"], patterns=["y*"]), Surroundings())
    assert draft.keys["tools"] == {"deny": ["x", "y*"]}


def test_a_server_without_a_command_is_left_out():
    with pytest.raises(LeftOut, match="no command"):
        local_draft(Entry(), Surroundings())
