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


SECRET = "hunter2"


@pytest.mark.parametrize(
    "args",
    [
        ["mcp-remote", "https://e.com", "--header", f"X-API-Key:{SECRET}"],
        ["mcp-remote", "https://e.com", "--header", f"Authorization: Basic {SECRET}"],
        ["mcp-proxy", "--headers", "Authorization", f"Basic {SECRET}", "https://e.com"],
        ["mcp-proxy", "-e", "API_KEY", SECRET, "x"],
        ["smithery", "--config", f'{{"apiKey": "{SECRET}"}}'],
        ["smithery", "--config", f'{{"a":{{"token":"{SECRET}"}}}}'],
        ["a", f"https://e.com/mcp?x=1&token={SECRET}000000"],
        ["a", f"--url=wss://e.com/s/{SECRET}{'aB3' * 9}/sse"],
        ["a", f"{SECRET}ABCDEFGHIJKLMNOPQRST"],
    ],
)
def test_a_secret_argument_is_in_no_command(args):
    draft = local_draft(Entry(command="npx", args=args), Surroundings())
    assert SECRET not in repr(draft.keys["command"])
    assert [place.value for place in draft.places() if SECRET in place.value]


@pytest.mark.parametrize(
    "args",
    [
        ["run", "-i", "--rm", "-e", "GITHUB_TOKEN", "ghcr.io/github/auth-server:latest"],
        ["-v", "keys:/data", "http://localhost:3000/mcp", "--header", "X-Team: blue"],
        [
            "/home/User1/LongDirectoryName22",
            "@scope/SomePackageName2WithLongName",
            "postgresql://localhost/db",
        ],
        # Only -e of mcp-proxy has two values.
        ["mcp-proxy", "--port=8080", "token-server", "run"],
    ],
)
def test_other_arguments_stay_in_the_command(args):
    assert local_draft(Entry(command="a", args=args), Surroundings()).keys["command"] == ["a", *args]


def test_a_variable_of_the_entry_itself_need_not_be_set_for_the_bridge():
    entry = Entry(command="npx", args=["mcp-remote", "--header", "A:${AUTH}"], env={"AUTH": "Bearer x"})
    draft = local_draft(entry, Surroundings())
    assert "pass_env" not in draft.keys
    assert not any("must be set" in note for note in draft.notes)


@pytest.mark.parametrize("value", [True, None, ["1"], "\0"])
def test_a_restriction_in_a_variable_that_is_left_out_is_a_problem(value):
    draft = local_draft(Entry(command="a", env={"READ_ONLY": value, "OTHER": value}), Surroundings())
    [problem] = draft.problems
    assert "READ_ONLY" in problem


def test_tools_that_are_switched_off_are_denied_once():
    draft = local_draft(Entry(command="a", deny=["x"], switched_off=["x", "y"]), Surroundings())
    assert draft.keys["tools"] == {"deny": ["x", "y"]}
