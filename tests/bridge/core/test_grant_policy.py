"""Which methods and tools a role permits."""

import json
from typing import get_args

import msgspec
import pytest

from mcpbridged.bridge.config.schema import Feature
from mcpbridged.bridge.core import grant_policy
from mcpbridged.bridge.core.access_policy import AccessPolicy
from mcpbridged.bridge.core.grant_policy import _REQUESTS, READING, GrantPolicy, ReadOnlyTools
from mcpbridged.bridge.core.grants import Grant
from mcpbridged.validators.jsonrpc import Response
from mcpbridged.validators.rejection import Rejection


def policy(*grants, within=None):
    return GrantPolicy(grants, within or AccessPolicy(), ReadOnlyTools())


def listed(of, *tools):
    answer = of.answer("tools/list", Response(b"1", json.dumps({"tools": tools}).encode(), b""))
    return [tool["name"] for tool in json.loads(answer.result)["tools"]]


def tool(name, **hints):
    return {"name": name, **({"annotations": hints} if hints else {})}


def may_call(of, name):
    if of.denied("tools/call"):
        return False
    try:
        of.check(name)
    except Rejection as rejection:
        return (rejection.status, rejection.code) != (200, -32602)
    return True


def test_the_unrestricted_grant_restricts_nothing():
    everything = policy(Grant())
    assert not everything.restricts
    assert may_call(everything, "x")
    assert not everything.denied("vendor/method")


@pytest.mark.parametrize(
    "grant",
    [
        Grant(allow=("a",)),
        Grant(deny=("a",)),
        Grant(methods=("tools/*",)),
        Grant(methods=("*", "tools/*")),
        Grant(without=("prompts",)),
        Grant(read_only=True),
    ],
)
def test_a_grant_with_any_restriction_restricts(grant):
    assert policy(grant).restricts


def test_without_a_grant_nothing_is_permitted():
    nothing = policy()
    assert nothing.restricts
    assert nothing.denied("tools/list")
    assert nothing.denied("vendor/method")
    assert not nothing.allows("x")
    assert not nothing.denied("initialize")


@pytest.mark.parametrize(
    ("patterns", "method", "permitted"),
    [
        (("tools/*",), "tools/call", True),
        (("tools/*",), "resources/read", False),
        (("tools/*",), "initialize", True),
        (("tools/*",), "ping", True),
        (("tools/*",), "server/discover", True),
        (("tools/*",), "notifications/cancelled", True),
        (("tools/*",), "sampling/createMessage", True),
        (("tools/*",), "elicitation/create", True),
        (("tools/*",), "roots/list", True),
        (("tools/*",), "vendor/method", False),
        (("resources/read", "prompts/*"), "resources/list", False),
        (("resources/read", "prompts/*"), "prompts/get", True),
        (("*",), "vendor/method", True),
        ((), "tools/list", False),
        (("TOOLS/*",), "tools/list", False),
    ],
)
def test_a_method_is_permitted_by_a_pattern(patterns, method, permitted):
    of = policy(Grant(methods=patterns))
    assert of.denied(method) is not permitted
    if not permitted:
        refusal = of.refusal(method, 404)
        assert (refusal.status, refusal.code) == (404, -32601)


def test_a_feature_without_a_permitted_method_is_not_declared():
    declared = policy(Grant(methods=("tools/*",))).declared(
        b'{"tools":{},"prompts":{},"resources":{},"x":{}}'
    )
    assert json.loads(declared) == {"tools": {}, "x": {}}


def test_read_only_permits_the_methods_that_read():
    of = policy(Grant(read_only=True))
    assert not [method for method in READING - {"tools/call"} if of.denied(method)]
    assert of.denied("vendor/write")
    assert of.denied("tasks/update")
    assert not of.denied("initialize")


def test_read_only_permits_tools_that_are_annotated():
    of = policy(Grant(read_only=True))
    # No list has passed yet.
    assert not may_call(of, "look")
    assert listed(
        of,
        tool("look", readOnlyHint=True),
        tool("write", readOnlyHint=False),
        tool("destroy", destructiveHint=True),
        tool("plain"),
        {"name": "odd", "annotations": {"readOnlyHint": "true"}},
        {"name": "list", "annotations": []},
    ) == ["look"]
    assert [name for name in ("look", "write", "destroy", "plain", "odd", "list") if may_call(of, name)] == [
        "look"
    ]
    # The annotation of the last list counts.
    assert listed(of, tool("look"), tool("write", readOnlyHint=True)) == ["write"]
    assert not may_call(of, "look")
    listed(of, {"name": "write", "annotations": 1})
    assert not may_call(of, "write")


def test_the_patterns_apply_to_read_only_tools_as_well():
    of = policy(Grant(read_only=True, allow=("git_*",), deny=("*_secret",)))
    tools = [tool(name, readOnlyHint=True) for name in ("git_log", "git_secret", "ls")]
    assert listed(of, *tools) == ["git_log"]


def test_the_number_of_annotated_tools_is_limited(monkeypatch):
    monkeypatch.setattr(grant_policy, "_MOST_TOOLS", 1)
    of = policy(Grant(read_only=True))
    assert listed(of, tool("a", readOnlyHint=True), tool("b", readOnlyHint=True)) == ["a"]


def test_what_one_of_several_grants_permits_is_permitted():
    of = policy(Grant(allow=("a*",), methods=("tools/*",)), Grant(read_only=True, without=("prompts",)))
    assert listed(of, tool("a1"), tool("b", readOnlyHint=True), tool("c")) == ["a1", "b"]
    assert may_call(of, "a1")
    assert may_call(of, "b")
    assert not of.denied("resources/read")
    # Each of the two denies it, for another reason.
    assert of.denied("prompts/list")


def test_a_tool_may_be_listed_without_the_right_to_call_it():
    of = policy(Grant(methods=("tools/list",)))
    assert listed(of, tool("a")) == ["a"]
    assert of.denied("tools/call")
    # The right to call one tool does not come from the grant that lists another.
    mixed = policy(Grant(methods=("tools/list",)), Grant(methods=("tools/*",), allow=("b",)))
    assert may_call(mixed, "b")
    assert not may_call(mixed, "a")


def test_the_policy_of_the_server_applies_as_well():
    of = policy(Grant(allow=("a", "b")), within=AccessPolicy(deny=("a",), without=("prompts",)))
    assert not may_call(of, "a")
    assert may_call(of, "b")
    assert of.denied("prompts/list")
    assert "prompts" in of.refusal("prompts/list", 200).text


def test_an_unreadable_tool_is_not_read_only():
    names = ReadOnlyTools()
    names.note([msgspec.Raw(b'{"name":"x","annotations":{"readOnlyHint":true}}')])
    assert "x" in names
    names.note([msgspec.Raw(b'{"name":"x","annotations":{"readOnlyHint":1}}'), msgspec.Raw(b"3")])
    assert "x" not in names


def test_every_feature_of_servers_has_its_methods():
    of_clients = {"sampling", "elicitation", "roots"}
    assert set(_REQUESTS) == set(get_args(Feature)) - of_clients
