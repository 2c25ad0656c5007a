"""Three tools that search, describe and call the tools of an aggregate."""

import json

import jsonschema
import msgspec
import pytest

from mcpbridged.bridge.aggregate import search_surface
from mcpbridged.bridge.aggregate.search_surface import Search, Tool, ToolFault

SERVERS = ("git", "time")


def tool(name, server="git", **about):
    return Tool(name, server, msgspec.Raw(json.dumps({"name": name, **about}).encode()))


TOOLS = [
    tool("git__log", description="Show the commits of a repository."),
    tool("git__status", description="Show changes that are not committed."),
    tool("time__now", "time", title="Clock"),
    tool("time__commit_time", "time", description="Return when."),
]


def params(**arguments):
    return json.dumps({"name": "x", "arguments": arguments, "_meta": {"progressToken": 1}}).encode()


def found(query="", server="", limit=20, offset=0, tools=TOOLS):
    result = json.loads(search_surface.search_result(tools, Search(query, server, limit, offset)))
    assert "isError" not in result
    assert result["resultType"] == "complete"
    return json.loads(result["content"][0]["text"])


def names(*given, **more):
    return [one["name"] for one in found(*given, **more)["tools"]]


def test_the_definitions_are_valid_and_name_the_servers():
    listed = [json.loads(bytes(one)) for one in search_surface.definitions(SERVERS)]
    assert [one["name"] for one in listed] == ["search_tools", "describe_tools", "call_tool"]
    for one in listed:
        jsonschema.Draft202012Validator.check_schema(one["inputSchema"])
    assert listed[0]["inputSchema"]["properties"]["server"]["enum"] == ["git", "time"]


# ---- search


def test_an_empty_query_finds_all_tools_in_their_order():
    assert found() == {
        "tools": [
            {"name": "git__log", "description": "Show the commits of a repository."},
            {"name": "git__status", "description": "Show changes that are not committed."},
            {"name": "time__now"},
            {"name": "time__commit_time", "description": "Return when."},
        ],
        "total": 4,
    }
    assert names("  ---  ") == names()


def test_a_word_of_a_name_counts_more_than_one_of_a_description():
    assert names("commit") == ["time__commit_time", "git__log", "git__status"]
    assert names("COMMIT!") == names("commit")
    assert names("clock") == ["time__now"]
    assert names("nothing") == []


def test_a_tool_with_all_words_is_before_others():
    assert names("show commits repository") == ["git__log", "git__status"]
    # Two words of a description, and one word of a name.
    assert names("show repository now") == ["git__log", "time__now", "git__status"]
    assert names("stat show") == ["git__status", "git__log"]


def test_the_tools_of_one_server_are_found():
    assert names("commit", "git") == ["git__log", "git__status"]


def test_a_page_has_the_next_one():
    assert found(limit=3) | {"tools": []} == {"tools": [], "total": 4, "next_offset": 3}
    assert found(limit=3, offset=3) == {
        "tools": [{"name": "time__commit_time", "description": "Return when."}],
        "total": 4,
    }
    assert found(offset=9) == {"tools": [], "total": 4}


def test_a_long_description_is_cut():
    [one] = found(tools=[tool("a", description="x\n  y " + "z" * 999)])["tools"]
    assert len(one["description"]) == 160
    assert one["description"].startswith("x y zzz")
    assert one["description"].endswith("…")


def test_a_lone_surrogate_is_shown():
    definition = msgspec.Raw(b'{"name":"a","description":"\\ud800"}')
    assert found(tools=[Tool("a", "git", definition)])["tools"] == [{"name": "a", "description": "\ufffd"}]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({}, Search("", "", 20, 0)),
        ({"query": "a b", "server": "time", "limit": 1, "offset": 5}, Search("a b", "time", 1, 5)),
        ({"limit": 5000}, Search("", "", 50, 0)),
        ({"query": "q" * 999}, Search("q" * 256, "", 20, 0)),
        ({"query": "", "server": "", "limit": 2.0}, Search("", "", 2, 0)),
    ],
)
def test_the_arguments_of_a_search(arguments, wanted):
    assert search_surface.read_search(params(**arguments), SERVERS) == wanted


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"query": 1}, "query must be a string"),
        ({"server": "nobody"}, "there is no server 'nobody'; there are: git, time"),
        ({"limit": 0}, "limit must be a whole number of 1 or more"),
        ({"limit": "2"}, "limit must be a whole number of 1 or more"),
        ({"limit": 1.5}, "limit must be a whole number of 1 or more"),
        ({"offset": -1}, "offset must be a whole number of 0 or more"),
        ({"offset": 2**31}, "offset must be a whole number of 0 or more"),
    ],
)
def test_bad_arguments_of_a_search_are_explained(arguments, text):
    with pytest.raises(ToolFault) as fault:
        search_surface.read_search(params(**arguments), SERVERS)
    assert str(fault.value) == text


@pytest.mark.parametrize(
    "arguments",
    [{"query": 1}, {"server": "nobody"}, {"limit": 0}, {"limit": "2"}, {"limit": 51}, {"offset": -1}],
)
def test_the_schema_of_a_search_refuses_bad_arguments(arguments):
    schema = json.loads(bytes(search_surface.definitions(SERVERS)[0]))["inputSchema"]
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"query": "a", "server": "git", "limit": 1, "offset": 0})
    assert validator.is_valid({"limit": 50})
    assert not validator.is_valid(arguments)


# ---- descriptions


def test_the_names_of_a_description():
    assert search_surface.read_names(params(names=["b", "a", "b", 1, ""])) == ["b", "a"]
    for value, text in (
        (["a"] * 21, "names has more than 20 elements, the limit"),
        ([], "names must be a list of names of tools"),
        ("a", "names must be a list of names of tools"),
        ([1], "names must be a list of names of tools"),
    ):
        with pytest.raises(ToolFault) as fault:
            search_surface.read_names(params(names=value))
        assert str(fault.value) == text


def described(*wanted):
    result = json.loads(search_surface.description_result({one.name: one for one in TOOLS}, wanted))
    return result["content"][0]["text"], "isError" in result


def test_definitions_are_those_of_the_list():
    text, failed = described("time__now", "git__log")
    now, log = (bytes(TOOLS[index].definition).decode() for index in (2, 0))
    assert text == f'{{"tools":[{now},{log}]}}'
    assert not failed


def test_an_unknown_name_has_similar_names():
    text, failed = described("git__log", "now")
    assert json.loads(text)["unknown"] == [{"name": "now", "similar": ["time__now"]}]
    assert not failed
    assert described("now", "zzzzzzzzz") == (
        "Unknown tool: now; similar: time__now. Unknown tool: zzzzzzzzz",
        True,
    )


def test_only_some_unknown_names_have_similar_ones():
    text, _ = described(*(f"now{number}" for number in range(6)))
    assert text.count("similar: time__now") == 4
    text, _ = described("git__log", *(f"now{number}" for number in range(6)))
    assert [bool(one["similar"]) for one in json.loads(text)["unknown"]] == [True] * 4 + [False] * 2


# ---- calls


def test_a_call_is_rewritten_to_one_of_the_tool_that_it_names():
    given = (
        b'{"name":"call_tool","arguments":{"name":"git__log","arguments":{"n": 1e0}},"requestState":"s",'
        b'"_meta":{"progressToken":7},"inputResponses":{ }}'
    )
    assert search_surface.read_call(given) == (
        "git__log",
        b'{"name":"git__log","arguments":{"n": 1e0},"requestState":"s","_meta":{"progressToken":7},"inputResponses":{ }}',
    )
    assert search_surface.read_call(b'{"name":"call_tool","arguments":{"name":"a"}}') == (
        "a",
        b'{"name":"a"}',
    )


@pytest.mark.parametrize(
    "text", [b"{}", b'{"arguments":{}}', b'{"arguments":{"name":""}}', b'{"arguments":[1]}']
)
def test_a_call_names_a_tool(text):
    with pytest.raises(ToolFault, match="name must be the name of a tool"):
        search_surface.read_call(text)


def test_a_fault_is_a_result_for_the_model():
    assert json.loads(search_surface.fault_result("no \ud800")) == {
        "resultType": "complete",
        "content": [{"type": "text", "text": "no ?"}],
        "isError": True,
    }
