"""The names of the tools of an aggregate."""

import json

import msgspec
import pytest

from mcpbridged.bridge.aggregate.tool_names import ToolNames, near, split, unknown_tool
from mcpbridged.bridge.core.aggregate_members import Membership

SERVERS = ("git", "time")


def names(**keys):
    return ToolNames(Membership(dict.fromkeys(SERVERS, 1), **keys))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("git__log", ("git", "log")),
        ("git__a__b", ("git", "a__b")),
        ("git___a", ("git", "_a")),
        ("time__", ("time", "")),
        ("log", None),
        ("other__log", None),
        ("__log", None),
        ("git", None),
    ],
)
def test_a_name_names_its_server(name, found):
    assert split(name, SERVERS) == found


def test_the_longer_of_two_servers_whose_names_begin_alike_is_found():
    assert split("a__b__c", ("x", "a__b")) == ("a__b", "c")


def test_a_tool_keeps_its_name_without_a_configuration():
    assert names().offered("git__log") == "git__log"
    assert names().find("git__log") == ("git", "log")
    assert names().find("other__log") is None


def test_a_renamed_tool_has_its_new_name_only():
    renamed = names(rename={"git__log": "history"})
    assert renamed.offered("git__log") == "history"
    assert renamed.find("history") == ("git", "log")
    assert renamed.find("git__log") is None


def test_a_hidden_tool_cannot_be_found_under_any_name():
    hidden = names(
        allow=("git__*", "history"), deny=("*__push",), rename={"git__push": "p", "time__now": "n"}
    )
    for full in ("git__push", "time__now", "time__zone"):
        assert hidden.offered(full) == ""
        assert hidden.find(full) is None
    assert hidden.find("p") is None
    assert hidden.find("n") is None
    assert hidden.find("git__log") == ("git", "log")


def test_a_new_name_belongs_to_the_renamed_tool():
    taken = names(rename={"git__log": "time__now"})
    assert taken.offered("time__now") == ""
    assert taken.is_taken("time__now")
    assert not taken.is_taken("git__log")
    assert taken.find("time__now") == ("git", "log")


def test_two_tools_may_swap_their_names():
    swapped = names(rename={"git__a": "git__b", "git__b": "git__a"})
    assert swapped.find("git__a") == ("git", "b")
    assert swapped.find("git__b") == ("git", "a")
    assert not swapped.is_taken("git__a")


def test_a_new_name_of_a_server_that_is_gone_is_no_tool():
    assert names(rename={"gone__x": "x"}).find("x") is None


def test_the_name_and_the_description_of_a_tool_are_replaced_and_all_else_stays():
    tool = msgspec.Raw(b'{"inputSchema":{ "n": 1e0 },"name":"log","description":"old"}')
    described = names(describe={"git__log": "new"})
    assert bytes(described.item(tool, "git__log", "history")) == (
        b'{"inputSchema":{ "n": 1e0 },"name":"history","description":"new"}'
    )
    assert json.loads(bytes(described.item(tool, "git__show", "git__show")))["description"] == "old"


def test_an_entry_without_a_tool_is_found():
    assert names(rename={"git__a": "a", "git__b": "b"}, describe={"git__c": "c"}).unmatched({"git__a"}) == [
        "git__b",
        "git__c",
    ]


@pytest.mark.parametrize(
    ("code", "message", "own", "offered", "shown"),
    [
        (-32602, "Unknown tool: log", "log", "history", "Unknown tool: history"),
        (-32602, "Unknown tool: log", "log", "git__log", "Unknown tool: log"),
        (-32602, "no repository log", "log", "history", "no repository log"),
        (-32603, "Unknown tool: log", "log", "history", "Unknown tool: log"),
    ],
)
def test_the_error_of_a_server_that_does_not_have_a_tool_names_it_as_the_client_does(
    code, message, own, offered, shown
):
    error = json.dumps({"code": code, "message": message, "data": {"x": 1}}).encode()
    found = json.loads(names(rename={"git__log": "history"}).error_as_offered(error, own, offered))
    assert found == {"code": code, "message": shown, "data": {"x": 1}}


def test_a_result_has_no_error_to_change():
    assert names().error_as_offered(b"", "log", "git__log") == b""


def test_an_error_names_tools_that_are_similar():
    known = ["git__log", "git__show", "time__log", "history"]
    assert near("log", known) == ["git__log", "time__log"]
    assert near("git_show", known) == ["git__show"]
    assert near("time__sho", known)[0] == "git__show"
    assert near("a__log", [f"{name}__log" for name in "bcdef"]) == ["b__log", "c__log", "d__log"]
    # Of two tools with the same name, the one whose server is also similar.
    assert near("git2__log", ["time__log", "git__log"]) == ["git__log", "time__log"]
    assert near("__", ["a"]) == []
    assert unknown_tool("zzzzzzzz", known) == "Unknown tool: zzzzzzzz"
    assert unknown_tool("histori", known) == "Unknown tool: histori; similar: history"


def test_what_decides_the_list_of_tools_can_be_compared():
    about = Membership(dict.fromkeys(SERVERS, 1))
    assert about.offer_of_tools == Membership({"git": 2}, title="x").offer_of_tools
    for keys in (
        {"allow": ()},
        {"deny": ("x",)},
        {"rename": {"a": "b"}},
        {"describe": {"a": "b"}},
        {"surface": "search"},
    ):
        assert Membership({}, **keys).offer_of_tools != about.offer_of_tools
