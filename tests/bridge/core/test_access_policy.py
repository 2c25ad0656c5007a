"""Which tools and features there are for clients."""

import json
from typing import get_args

import pytest

from mcpbridged.bridge.config.schema import Feature
from mcpbridged.bridge.core.access_policy import _FEATURES, EVERYTHING, AccessPolicy, feature_of
from mcpbridged.bridge.core.argument_limits import ArgumentLimits
from mcpbridged.bridge.core.definition_guard import DefinitionGuard, KindRecord, Seen
from mcpbridged.validators.jsonrpc import Response
from mcpbridged.validators.limits import Limits
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
def test_a_tool_is_allowed_if_it_matches_allow_and_not_deny(allow, deny, name, permitted):
    policy = AccessPolicy(allow, deny)
    assert policy.allows(name) is permitted
    if permitted:
        policy.check(name)
    else:
        with pytest.raises(Rejection, match="Unknown tool: ") as caught:
            policy.check(name)
        assert (caught.value.status, caught.value.code) == (200, -32602)


def test_without_patterns_no_payload_is_parsed():
    assert not EVERYTHING.restricts
    assert not AccessPolicy(("*",)).restricts
    assert AccessPolicy(("*",), ("x",)).restricts
    assert AccessPolicy(()).restricts


def filtered(policy, result):
    return policy.answer("tools/list", Response(b"1", result, b"")).result


def test_a_list_has_the_allowed_tools_only_and_is_otherwise_unchanged():
    policy = AccessPolicy(("a*",))
    result = (
        b'{"tools":[{"name":"a1","x":[ 1 ]},{"name":"b"},{"name":"a2"}],"nextCursor":"c","_meta":{"n":1e0}}'
    )
    assert json.loads(filtered(policy, result)) == {
        "tools": [{"name": "a1", "x": [1]}, {"name": "a2"}],
        "nextCursor": "c",
        "_meta": {"n": 1.0},
    }
    assert b'{"name":"a1","x":[ 1 ]}' in filtered(policy, result)
    unchanged = b'{"tools":[ {"name":"a"} ]}'
    assert filtered(policy, unchanged) == unchanged
    assert filtered(policy, b'{"odd":1}') == b'{"odd":1}'


# ---- features

PREFIX = "io.modelcontextprotocol/"
FULL = {
    "tools": {"listChanged": True},
    "prompts": {},
    "resources": {"subscribe": True},
    "tasks": {"list": {}, "requests": {"tools": {"call": {}}, "sampling": {"createMessage": {}}}},
    "experimental": {"x": {}},
}
OFF = AccessPolicy(without=("tools", "sampling", "logging", "elicitation"))


def raw(value):
    return json.dumps(value, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("method", "feature"),
    [
        ("tools/list", "tools"),
        ("tools/call", "tools"),
        ("prompts/get", "prompts"),
        ("resources/templates/list", "resources"),
        ("resources/subscribe", "resources"),
        ("completion/complete", "completions"),
        ("logging/setLevel", "logging"),
        ("sampling/createMessage", "sampling"),
        ("elicitation/create", "elicitation"),
        ("roots/list", "roots"),
        ("notifications/tools/list_changed", "tools"),
        ("notifications/resources/updated", "resources"),
        ("notifications/message", "logging"),
        ("notifications/elicitation/complete", "elicitation"),
        ("notifications/roots/list_changed", "roots"),
        ("notifications/progress", ""),
        ("notifications/cancelled", ""),
        ("notifications/initialized", ""),
        ("initialize", ""),
        ("ping", ""),
        ("tasks/get", ""),
        ("toolset/list", ""),
        ("x/tools", ""),
    ],
)
def test_a_method_belongs_to_a_feature(method, feature):
    assert feature_of(method) == feature
    assert OFF.denied(method) == (feature in ("tools", "sampling", "logging", "elicitation"))
    assert not EVERYTHING.denied(method)


def test_every_feature_that_can_be_configured_has_methods():
    assert set(get_args(Feature)) == set(_FEATURES.values())


def test_the_refusal_of_a_denied_feature_names_it():
    refusal = OFF.refusal("notifications/message", 404)
    assert (refusal.status, refusal.code) == (404, -32601)
    assert refusal.text == "logging is disabled for this server"


def test_a_denied_feature_is_removed_from_the_capabilities_of_both_sides():
    assert OFF.restricts
    assert json.loads(OFF.declared(raw(FULL))) == {
        "prompts": {},
        "resources": {"subscribe": True},
        "tasks": {"list": {}, "requests": {}},
        "experimental": {"x": {}},
    }
    assert OFF.declared(b'{"tasks":{"list":{}}}') == b'{"tasks":{"list":{}}}'
    assert EVERYTHING.declared(b'{ "tools" : {} }') == b'{ "tools" : {} }'
    opened = OFF.opening(b'{"protocolVersion":"x","capabilities":{"sampling":{},"roots":{}}}')
    assert opened == b'{"protocolVersion":"x","capabilities":{"roots":{}}}'
    assert OFF.opening(b'{"protocolVersion":"x"}') == b'{"protocolVersion":"x"}'
    assert EVERYTHING.opening(b'{"capabilities" : {}}') == b'{"capabilities" : {}}'


def test_a_stateless_request_has_no_denied_capability_log_level_or_subscription():
    meta = {f"{PREFIX}clientCapabilities": {"sampling": {}, "roots": {}}, f"{PREFIX}logLevel": "info", "n": 1}
    wanted = {"toolsListChanged": True, "promptsListChanged": True, "resourceSubscriptions": ["u"]}
    asked = raw({"_meta": meta, "notifications": wanted})
    left = {f"{PREFIX}clientCapabilities": {"roots": {}}, "n": 1}
    assert json.loads(OFF.request("subscriptions/listen", asked)) == {
        "_meta": left,
        "notifications": {"promptsListChanged": True, "resourceSubscriptions": ["u"]},
    }
    assert json.loads(OFF.request("x", asked)) == {"_meta": left, "notifications": wanted}
    still = AccessPolicy(without=("roots",)).request("x", asked)
    assert json.loads(still)["_meta"] == {
        f"{PREFIX}clientCapabilities": {"sampling": {}},
        f"{PREFIX}logLevel": "info",
        "n": 1,
    }
    assert EVERYTHING.request("x", asked) == asked


def answered(policy, method, result=b"", error=b""):
    answer = policy.answer(method, Response(b"7", result, error))
    assert answer.id == b"7"
    return json.loads(answer.error)["message"] if answer.error else bytes(answer.result)


def test_a_response_offers_and_requires_no_denied_feature():
    found = b'{"capabilities":{"tools":{},"prompts":{}}}'
    for method in ("initialize", "server/discover"):
        assert answered(OFF, method, found) == b'{"capabilities":{"prompts":{}}}'
    assert answered(OFF, "x", found) == found
    asking = raw({"resultType": "input_required", "inputRequests": {"a": {"method": "roots/list"}}})
    assert answered(OFF, "prompts/get", asking) == asking
    also = raw({"inputRequests": {"a": {"method": "roots/list"}, "b": {"method": "sampling/createMessage"}}})
    assert (
        answered(OFF, "tasks/get", also)
        == "the server requires input, and sampling is disabled for this server"
    )
    assert answered(AccessPolicy(("a*",)), "tools/call", also) == also
    assert answered(AccessPolicy(("a*",)), "tools/list", b'{"tools":[{"name":"b"}]}') == b'{"tools":[]}'


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (b'{"code":-32602,"message":"as it was"}', "as it was"),
        (b'{"code":-32042,"message":"open it"}', "elicitation"),
        (
            b'{"code":-32021,"message":"m","data":{"requiredCapabilities":{"roots":{},"sampling":{}}}}',
            "sampling",
        ),
        (b'{"code":-32021,"message":"as it was","data":{"requiredCapabilities":{"roots":{}}}}', "as it was"),
        (b'{"code":-32021,"message":"as it was"}', "as it was"),
        (
            b'{"code":-32602,"message":"as it was","data":{"requiredCapabilities":{"sampling":{}}}}',
            "as it was",
        ),
    ],
)
def test_an_error_about_a_denied_feature_is_replaced(error, told):
    whole = (
        told if told == "as it was" else f"the server requires input, and {told} is disabled for this server"
    )
    assert answered(OFF, "tools/call", error=error) == whole
    assert answered(AccessPolicy(("a*",)), "tools/call", error=error) == json.loads(error)["message"]


# ---- roles


def test_a_policy_within_another_denies_what_either_denies_and_is_private():
    server = AccessPolicy(("git_*",), ("git_push",), ("prompts",))
    role = AccessPolicy(("*_log", "*_push", "add"), (), ("sampling",), within=server)
    assert [name for name in ("git_log", "git_push", "git_diff", "add") if role.allows(name)] == ["git_log"]
    assert [method for method in ("prompts/get", "sampling/x", "roots/list") if role.denied(method)] == [
        "prompts/get",
        "sampling/x",
    ]
    assert not server.denied("sampling/x")
    assert not AccessPolicy(within=EVERYTHING).restricts
    assert AccessPolicy(within=server).restricts
    listed = b'{"tools":[{"name":"git_log"}],"cacheScope":"public"}'
    assert answered(server, "tools/list", listed) == listed
    assert answered(role, "tools/list", listed) == listed.replace(b"public", b"private")
    found = b'{"capabilities":{},"cacheScope":"public"}'
    assert answered(role, "server/discover", found) == found.replace(b"public", b"private")
    assert answered(role, "initialize", b'{"capabilities":{}}') == b'{"capabilities":{}}'


def test_a_policy_with_a_guard_checks_the_use_of_prompts_and_tools():
    def guard(*, blocks):
        def load():
            return {
                "tool": KindRecord(True, pending={"t": Seen("1")}),
                "prompt": KindRecord(True, pending={"p": Seen("1")}),
            }

        return DefinitionGuard(load, print, print, blocks=blocks, limits=Limits())

    assert not AccessPolicy().guarded_by(None).restricts
    assert not AccessPolicy().guarded_by(guard(blocks=False)).restricts
    policy = AccessPolicy(deny=("denied",)).guarded_by(guard(blocks=True))
    assert policy.restricts
    for method, name in (("tools/call", "t"), ("tools/call", "denied"), ("prompts/get", "p")):
        with pytest.raises(Rejection, match=f"Unknown (tool|prompt): {name}"):
            policy.check_use(method, name)
    for method, name in (("tools/call", "p"), ("prompts/get", "t"), ("prompts/get", "denied")):
        policy.check_use(method, name)
    AccessPolicy().check_use("prompts/get", "p")


def test_a_policy_that_denies_nothing_checks_arguments_if_they_are_limited():
    policy = AccessPolicy(arguments=ArgumentLimits("git", 10, 0, {}))
    assert (policy.restricts, policy.checks) == (False, True)
    policy.check_request("tools/call", b'{"name":"a","arguments":{}}', "a", 200)
    with pytest.raises(Rejection) as refused:
        policy.check_request("tools/call", b'{"name":"a","arguments":{"text":"0123456789"}}', "a", 200)
    assert refused.value.reason == "argument_limit"
