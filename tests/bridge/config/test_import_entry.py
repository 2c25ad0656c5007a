"""The common form of a server in the configurations of other clients."""

import pytest

from mcpbridged.bridge.config.import_entry import entry_of, flattened


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"cmd": "x"}, "command", "x"),
        ({"environment": {}}, "env", {}),
        ({"httpUrl": "u"}, "url", "u"),
        ({"includeTools": ["a"]}, "allow", ["a"]),
        ({"tools": ["a"]}, "allow", ["a"]),
        ({"enabled_tools": ["a"], "tools": ["a"]}, "allow", ["a"]),
        ({"tools": {"a": False, "b": {"enabled": False}}}, "switched_off", ["a", "b"]),
        ({"tools": {"a": {"disabled": True}}}, "switched_off", ["a"]),
        ({"enabled": "False"}, "enabled", False),
        ({"enabled": 0}, "enabled", False),
        ({"enabled": None}, "enabled", True),
        ({"disabledTools": ["a"]}, "deny", ["a"]),
        ({"excludeTools": None}, "deny", None),
        ({"disabled": True}, "enabled", False),
        ({"disabled": "true"}, "enabled", False),
        ({"enabled": False}, "enabled", False),
        ({"enabled": "false"}, "enabled", False),
        ({"isActive": False}, "enabled", False),
        ({"disabled": False, "enabled": True}, "enabled", True),
        ({}, "enabled", True),
    ],
)
def test_each_spelling_of_a_key_is_known(given, field, value):
    entry = entry_of(given)
    assert getattr(entry, field) == value
    assert (entry.notes, entry.problems) == ([], [])


@pytest.mark.parametrize(
    ("given", "unit", "seconds", "notes"),
    [
        ({"timeout": 30000}, "ms", 30, 0),
        ({"timeout": 60}, "s", 60, 0),
        ({"timeout": 60}, "ms", None, 1),
        ({"timeout": 5000}, "", None, 1),
        ({"tool_timeout_sec": 45.5, "timeout": 3}, "s", 45.5, 0),
        ({"timeout": "60"}, "s", None, 0),
        ({"timeout": True}, "s", None, 0),
        ({"timeout": 0}, "s", None, 0),
        ({"timeout": -1}, "s", None, 0),
        ({"timeout": 1e300}, "s", None, 0),
    ],
)
def test_a_time_limit_of_calls_is_in_seconds(given, unit, seconds, notes):
    entry = entry_of(given, unit)
    assert entry.call_seconds == seconds
    assert len(entry.notes) == notes


def test_a_time_limit_of_the_connection():
    assert entry_of({"connectionTimeout": 1500}).connect_seconds == 1.5


def test_approvals_stay_with_the_client_and_hide_no_tool():
    entry = entry_of({"alwaysAllow": [], "autoApprove": ["a"], "trust": True})
    assert entry.allow is None
    assert entry.notes == [
        "alwaysAllow, autoApprove, trust: approvals without a question stay with the client; they hide no tool"
    ]


def test_the_approvals_of_tools_of_codex_are_noted():
    assert entry_of({"tools": {"a": {"approval_mode": "approve"}}}).notes == [
        "the approvals of its tools stay with the client"
    ]


@pytest.mark.parametrize(
    "key",
    [
        "sandboxEnabled",
        "readOnly",
        "blockedTools",
        "toolFilter",
        "permissions",
        "deniedHosts",
        "disabledPrompts",
    ],
)
def test_a_restriction_without_a_counterpart_is_a_problem(key):
    assert entry_of({key: ["x"]}).problems == [f"the restriction {key!r} is not supported"]
    assert entry_of({key: []}).problems == []


def test_other_keys_are_named():
    assert entry_of({"icon": "x", "b": 1}).notes == ["ignored keys without a counterpart: 'b', 'icon'"]


def test_two_spellings_with_different_values_are_a_problem():
    assert entry_of({"url": "a", "serverUrl": "a"}).problems == []
    entry = entry_of({"excludeTools": ["a"], "disabledTools": ["b"]})
    assert entry.problems == ["disabledTools and another key for the same purpose have different values"]


def test_an_inner_object_is_merged():
    assert flattened({"a": 1, "config": {"b": 2}}, "config") == {"a": 1, "b": 2}
    assert flattened({"a": 1, "config": 3}, "config") == {"a": 1, "config": 3}


@pytest.mark.parametrize("tools", ["a", ["a", 5], 7, {"includeTools": ["a"], "tools": ["b"]}])
def test_a_list_of_tools_that_cannot_be_read_is_a_problem(tools):
    given = tools if isinstance(tools, dict) else {"tools": tools}
    [problem] = entry_of(given).problems
    assert problem.startswith(("its tools are neither", "tools and another key"))


@pytest.mark.parametrize("key", ["read-only", "readOnly", "white-list", "toolsets"])
def test_the_name_of_a_restriction_is_known(key):
    assert entry_of({key: True}).problems == [f"the restriction {key!r} is not supported"]
