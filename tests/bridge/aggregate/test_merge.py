"""Results of several servers are merged."""

import json

import msgspec
import pytest

from mcpbridged.bridge.aggregate import merge
from mcpbridged.bridge.aggregate.tool_names import ToolNames
from mcpbridged.bridge.core import aggregate_members
from mcpbridged.bridge.core.aggregate_members import Membership
from mcpbridged.validators import json_object
from mcpbridged.validators.jsonrpc import Notification
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

SERVERS = ("git", "time")


def raw(value):
    return msgspec.Raw(json.dumps(value).encode())


def text(value):
    return json.dumps(value).encode()


def error(code, **more):
    return text({"code": code, "message": "no", **more})


# ---- names


def test_a_call_gets_its_servers_name_and_keeps_all_else_as_it_was():
    params = b'{"name":"git__log","arguments":{"n":1e0,"n2":[ 1 ]},"_meta":{"x":1}}'
    assert (
        merge.with_name(params, "log") == b'{"name":"log","arguments":{"n":1e0,"n2":[ 1 ]},"_meta":{"x":1}}'
    )


def test_the_reference_of_a_completion():
    about_prompt = text({"ref": {"type": "ref/prompt", "name": "git__p"}, "argument": {}})
    assert merge.reference(about_prompt) == ("name", "git__p")
    assert json.loads(merge.with_prompt_name(about_prompt, "p")) == {
        "ref": {"type": "ref/prompt", "name": "p"},
        "argument": {},
    }
    about_resource = text({"ref": {"type": "ref/resource", "uri": "a://{x}", "name": "more"}})
    assert merge.reference(about_resource) == ("uri", "a://{x}")
    assert merge.reference(b"{}") == ("name", "")


# ---- lists


def test_list_requests_to_servers_have_no_cursor_and_no_progress_token():
    params = b'{"cursor":"x","_meta":{"progressToken":7,"a": 1},"more":[ 1 ]}'
    assert json_object.write(merge.shared_params(params)) == b'{"_meta":{"a":1},"more":[ 1 ]}'
    untouched = b'{"_meta":{ "a": 1}}'
    assert json_object.write(merge.shared_params(untouched)) == untouched
    with pytest.raises(Rejection):
        merge.shared_params(b"[]")


def test_a_request_of_the_aggregate_has_only_the_meta_of_its_cause():
    params = b'{"uri":"a://1","requestState":"s","_meta":{"progressToken":7,"a": 1}}'
    assert json_object.write(merge.meta_only(params)) == b'{"_meta":{"a":1}}'


def test_tools_are_listed_under_their_servers_names_in_the_order_of_the_servers():
    listed = merge.merged_list(
        "tools/list",
        {
            "time": [raw({"name": "now"})],
            "git": [raw({"inputSchema": {}, "name": "log"}), raw({"title": "nameless"}), raw(1)],
        },
    )
    assert json.loads(listed.result) == {
        "resultType": "complete",
        "tools": [{"name": "time__now"}, {"inputSchema": {}, "name": "git__log"}],
        "ttlMs": 0,
        "cacheScope": "private",
    }
    assert (listed.too_long, listed.doubles) == ([], [])


def test_tools_are_listed_with_the_names_of_the_configuration():
    about = Membership(
        dict.fromkeys(SERVERS, 1),
        deny=("*__secret",),
        rename={"git__log": "time__now"},
        describe={"git__log": "d"},
    )
    found = {
        "git": [raw({"name": "log", "description": "x"}), raw({"name": "secret"})],
        "time": [raw({"name": "now"}), raw({"name": "zone"})],
    }
    listed = merge.merged_list("tools/list", found, ToolNames(about))
    assert json.loads(listed.result)["tools"] == [
        {"name": "time__now", "description": "d"},
        {"name": "time__zone"},
    ]
    assert listed.taken == ["time__now"]
    assert listed.names == {"git__log", "git__secret", "time__now", "time__zone"}
    # Prompts keep their names.
    listed = merge.merged_list("prompts/list", {"git": [raw({"name": "log"})]}, ToolNames(about))
    assert json.loads(listed.result)["prompts"] == [{"name": "git__log"}]


@pytest.mark.parametrize("letter", ["x", "é"])
def test_a_name_that_is_too_long_with_its_servers_is_left_out(letter):
    fits, over = letter * 123, letter * 124  # "git__" has five characters, the limit is 128
    listed = merge.merged_list("prompts/list", {"git": [raw({"name": over}), raw({"name": fits})]})
    assert [found["name"] for found in json.loads(listed.result)["prompts"]] == [f"git__{fits}"]
    assert listed.too_long == [f"git__{over}"]


def test_the_first_server_that_lists_an_item_has_it():
    one, two = {"uri": "a://1", "name": "one"}, {"uri": "a://1", "name": "two"}
    listed = merge.merged_list(
        "resources/list", {"git": [raw(one)], "time": [raw(two), raw({"uri": "b://2"})]}
    )
    assert json.loads(listed.result)["resources"] == [one, {"uri": "b://2"}]
    assert listed.doubles == [("time", "a://1")]


def test_the_keys_of_the_items_of_a_list():
    assert merge.item_keys("resources/list", [raw({"uri": "a://1"})]) == ["a://1"]
    assert merge.item_keys("resources/templates/list", [raw({"uriTemplate": "a://{x}"}), raw([])]) == [
        "a://{x}",
        "",
    ]


# ---- owners


def test_a_resource_is_the_first_servers_that_lists_it_and_no_longer_than_it_does():
    owners = merge.ResourceOwners(SERVERS)
    assert owners.of("a://1") is None
    owners.set_listed("resources/list", "time", ["a://1"])
    assert owners.of("a://1") == "time"
    owners.set_listed("resources/list", "git", ["a://1", "b://2"])
    owners.set_listed("resources/templates/list", "git", ["a://{x}"])
    assert [owners.of(uri) for uri in ("a://1", "b://2", "a://{x}")] == ["git", "git", "git"]
    owners.set_listed("resources/list", "git", [])
    assert [owners.of(uri) for uri in ("a://1", "b://2", "a://{x}")] == ["time", None, "git"]


def test_resources_that_were_read_are_kept_for_a_while_and_lists_count_more():
    owners = merge.ResourceOwners(SERVERS, most=2)
    owners.set_read("a://1", "time")
    owners.set_read("a://2", "time")
    owners.set_read("a://1", "time")
    owners.set_read("a://3", "git")
    assert [owners.of(f"a://{number}") for number in (1, 2, 3)] == ["time", None, "git"]
    owners.set_listed("resources/list", "git", ["a://1"])
    assert owners.of("a://1") == "git"
    owners.drop("a://3")
    owners.drop("a://3")
    assert owners.of("a://3") is None


def test_a_double_is_reported_once():
    owners = merge.ResourceOwners(SERVERS)
    assert owners.new_doubles("resources/list", [("time", "a://1")]) == {("time", "a://1")}
    assert owners.new_doubles("resources/templates/list", [("time", "a://1")]) == {("time", "a://1")}
    assert owners.new_doubles("resources/list", [("time", "a://1"), ("time", "b://2")]) == {("time", "b://2")}
    assert owners.new_doubles("resources/list", []) == set()
    assert owners.new_doubles("resources/list", [("time", "a://1")]) == {("time", "a://1")}


def test_of_a_resource_that_no_server_lists_the_most_specific_template_comes_first():
    owners = merge.ResourceOwners(("all", "git", "time"))
    assert owners.unlisted == ["all", "git", "time"]
    assert owners.candidates("a://b/1") == []
    for server, templates in (
        ("all", ["a://{+x}"]),
        ("git", ["a://b/{x}", "a://{x}"]),
        ("time", ["a://{+y}"]),
    ):
        owners.set_listed("resources/list", server, ["a://listed"] if server == "time" else [])
        owners.set_listed("resources/templates/list", server, templates)
    assert owners.unlisted == []
    assert owners.candidates("a://b/1") == ["git", "all", "time"]
    assert owners.candidates("a://c/1") == ["all", "time"]
    assert owners.candidates("a://listed") == ["time"]
    assert owners.candidates("b://1") == []
    owners.set_read("b://1", "time")
    owners.set_read("a://b/1", "all")
    assert owners.candidates("b://1") == ["time"]
    assert owners.candidates("a://b/1") == ["git", "all", "time"]
    assert owners.candidates("a://b/1", again=True) == ["all"]
    assert owners.candidates("a://b/2", again=True) == ["git", "all", "time"]


def test_the_lists_of_a_server_are_dropped_with_it():
    owners = merge.ResourceOwners(SERVERS)
    for server in SERVERS:
        owners.set_listed("resources/list", server, ["a://1"])
        owners.set_listed("resources/templates/list", server, ["a://{x}"])
    owners.set_read("b://1", "git")
    owners.invalidate("git")
    owners.invalidate("other")
    assert owners.unlisted == ["git"]
    assert owners.of("a://1") == "time"
    owners.set_servers(("new", "time"))
    owners.set_listed("resources/list", "git", ["c://1"])
    assert (owners.of("a://1"), owners.of("b://1"), owners.of("c://1")) == ("time", None, None)
    assert owners.unlisted == ["new"]


# ---- discovery


def test_the_merged_discovery():
    about_git = {
        "capabilities": {"tools": {"listChanged": True}, "resources": {"subscribe": True}, "odd": {}},
        "instructions": "Be kind.\nAlways.",
        "ttlMs": 5000,
        "cacheScope": "public",
    }
    about_time = {
        "capabilities": {"tools": {"listChanged": False}, "resources": {"listChanged": True}, "logging": {}},
        "instructions": "Be quick.",
        "ttlMs": 300,
    }
    both = {"git": json_object.peek(text(about_git)), "time": json_object.peek(text(about_time))}
    assert json.loads(merge.merged_discovery(both, whole=True)) == {
        "resultType": "complete",
        "supportedVersions": ["2026-07-28"],
        "capabilities": {
            "tools": {"listChanged": True},
            "resources": {"subscribe": True, "listChanged": True},
            "logging": {},
        },
        "instructions": "git:\nBe kind.\nAlways.\n\ntime:\nBe quick.",
        "ttlMs": 300,
        "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "mcp-bridge aggregate", "version": "1"}},
    }
    assert json.loads(merge.merged_discovery(both, whole=False))["ttlMs"] == 0


@pytest.mark.parametrize(
    "value", ["{}", '{"ttlMs":-1}', '{"ttlMs":1.5}', '{"ttlMs":"9"}', '{"ttlMs":99999999999}']
)
def test_a_discovery_without_a_valid_ttl_is_not_cached(value):
    found = json.loads(merge.merged_discovery({"git": json_object.peek(value.encode())}, whole=True))
    assert found["ttlMs"] == 0
    assert "instructions" not in found


def test_where_a_server_may_come_later_everything_is_offered():
    about_git = {"capabilities": {"tools": {}, "prompts": {"odd": True}}}
    about = Membership({"git": 1}, without=("logging", "prompts", "sampling"))
    found = json.loads(
        merge.merged_discovery(
            {"git": json_object.peek(text(about_git))}, whole=False, about=about, everything=True
        )
    )
    assert found["capabilities"] == {
        "tools": {"listChanged": True},
        "resources": {"listChanged": True, "subscribe": True},
        "completions": {},
        "prompts": {"odd": True},
    }


def test_the_configuration_names_the_aggregate():
    about = Membership({}, name="n", version="v", title="t", instructions="be brief")
    git = json_object.peek(text({"instructions": "git it"}))
    found = json.loads(merge.merged_discovery({"git": git}, whole=True, about=about))
    assert found["instructions"] == "be brief"
    assert found["_meta"] == {
        "io.modelcontextprotocol/serverInfo": {"name": "n", "version": "v", "title": "t"}
    }


# ---- errors


@pytest.mark.parametrize(
    ("fault", "is_it"),
    [
        (b"", False),
        (error(-32000, data={"reason": "stopping"}), True),
        # A request in flight fails with this code: the server may have received it.
        (error(-32603, data={"reason": "stopping"}), False),
        (error(-32000, data={"reason": "exited"}), False),
        (error(-32000), False),
    ],
)
def test_only_a_request_that_no_server_has_received_is_sent_again(fault, is_it):
    assert merge.is_refused_by_replaced(fault) is is_it


@pytest.mark.parametrize(
    ("result", "state"),
    [
        (b'{"resultType":"input_required","requestState":"s","inputRequests":{}}', "s"),
        (b'{"requestState": "s", "resultType": "input_required"}', "s"),
        (b'{"resultType":"input_required"}', ""),
        (b'{"resultType":"complete","requestState":"s","text":"\\"input_required\\""}', ""),
        (b'{"resultType":"complete","requestState":"s","content":["input_required"]}', ""),
        (b"{}", ""),
        (b"", ""),
    ],
)
def test_s4_the_state_of_a_result_that_requires_input(result, state):
    assert merge.input_state(result) == merge.input_state(msgspec.Raw(result)) == state


def test_s4_a_retry_without_a_call_is_refused_as_expired():
    assert merge.is_expired(b'{"code":-32602,"message":"Invalid or expired requestState"}')
    assert not merge.is_expired(b'{"code":-32603,"message":"requestState"}')
    assert not merge.is_expired(error(-32602))
    assert not merge.is_expired(b"")


def test_a_server_may_have_nothing_of_the_kind():
    assert merge.is_unknown_method(error(-32601))
    assert not merge.is_unknown_method(error(-32602))


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ([-32601, -32602], -32602),
        ([-32601, -32002, -32602], -32002),
        ([-32602, -32603, -32601], -32603),
        ([-32601], -32601),
    ],
)
def test_the_most_specific_error_is_returned(codes, told):
    assert json.loads(merge.most_specific([error(code) for code in codes]))["code"] == told


# ---- subscriptions


def test_a_subscription_names_to_each_server_its_own_resources():
    params = text({"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["a://1", "b://2"]}})
    assert merge.subscribed(params) == ["a://1", "b://2"]
    wanted = json.loads(merge.listen_params(params, ["b://2"]))
    assert wanted == {"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["b://2"]}}
    without = text({"notifications": {"toolsListChanged": True}, "_meta": {"progressToken": 1, "a": 2}})
    assert json.loads(merge.listen_params(without, [])) == {
        "notifications": {"toolsListChanged": True},
        "_meta": {"a": 2},
    }


def test_the_requested_changes_of_lists():
    wanted = {"toolsListChanged": True, "promptsListChanged": False, "odd": True, "resourceSubscriptions": []}
    kinds = merge.requested_kinds(text({"notifications": wanted}))
    assert json_object.write(kinds) == b'{"toolsListChanged":true}'
    assert merge.requested_kinds(b"{}") == {}
    assert merge.is_change("notifications/tools/list_changed")
    assert not merge.is_change("notifications/resources/updated")
    assert merge.list_changed("toolsListChanged") == Notification("notifications/tools/list_changed", b"{}")


def test_the_merged_acknowledgement():
    granted = [
        json_object.peek(text({"toolsListChanged": True, "resourceSubscriptions": ["a://1"]})),
        json_object.peek(
            text(
                {
                    "toolsListChanged": False,
                    "promptsListChanged": True,
                    "resourceSubscriptions": ["b://2", "a://1"],
                }
            )
        ),
    ]
    assert json.loads(merge.merged_acknowledgement(granted)) == {
        "notifications": {
            "toolsListChanged": True,
            "promptsListChanged": True,
            "resourceSubscriptions": ["a://1", "b://2"],
        }
    }
    assert json.loads(merge.merged_acknowledgement([])) == {"notifications": {}}


def test_every_subscribed_resource_may_have_changed_while_its_server_could_not_say_so():
    granted = {"toolsListChanged": True, "promptsListChanged": False, "odd": True}
    assert merge.updates(json_object.peek(text({**granted, "resourceSubscriptions": ["a://1"]}))) == [
        Notification("notifications/resources/updated", b'{"uri":"a://1"}'),
    ]
    assert merge.updates({}) == []


def test_a_server_that_comes_back_changes_the_granted_lists():
    one = json_object.peek(text({"toolsListChanged": True, "promptsListChanged": False}))
    two = json_object.peek(text({"toolsListChanged": True, "resourceSubscriptions": ["a://1"]}))
    assert merge.list_changes([one, two]) == [Notification("notifications/tools/list_changed", b"{}")]
    assert merge.list_changes([]) == []


def test_a_subscription_has_the_id_of_its_request():
    assert json.loads(merge.with_subscription_id(b'{"a":1,"_meta":{"x":2}}', b'"l"')) == {
        "a": 1,
        "_meta": {"x": 2, "io.modelcontextprotocol/subscriptionId": "l"},
    }


# ---- from the daemon


def test_the_daemon_sends_the_members():
    about = Membership({"git": 3, "time": 7}, "n", "v", "t", "i", ("prompts",), 2.5)
    message = json.loads(aggregate_members.line(about))
    assert message["method"] == aggregate_members.METHOD
    assert aggregate_members.read(text(message["params"])) == about
    left_out = aggregate_members.left_out({"git": "x" * 300})
    assert left_out.method == aggregate_members.LEFT_OUT
    assert aggregate_members.read_left_out(left_out.params) == {"git": "x" * 200}
    for wrong in (b"[]", b"{}", b'{"members":{"a":"b"}}', b'{"members":{},"odd":1}'):
        with pytest.raises(ValueError, match=r"Expected|missing|unknown"):
            aggregate_members.read(wrong)


# ---- extensions


def offering(**capabilities):
    return json_object.peek(text({"capabilities": capabilities}))


def test_the_extensions_of_all_are_offered_with_the_settings_of_the_first():
    tasks = "io.modelcontextprotocol/tasks"
    found = {
        "one": offering(extensions={"a/b": {"x": 1}, tasks: {}}, tools={}),
        "two": offering(extensions={"a/b": {"x": 2}, "a/c": {}}, experimental={"e": {}}),
        "none": offering(),
    }
    offered = json.loads(merge.merged_discovery(found, whole=True))["capabilities"]
    assert offered == {
        "tools": {},
        "extensions": {"a/b": {"x": 1}, "a/c": {}},
        "experimental": {"e": {}},
    }
    assert merge.servers_with_shared_extension(found, text({"extensions": {"a/b": {}}})) == ["one", "two"]
    assert merge.servers_with_shared_extension(found, text({"extensions": {"e": {}, tasks: {}}})) == ["two"]
    assert merge.servers_with_shared_extension(found, b"{}") == ["one", "two"]


@pytest.mark.parametrize(
    ("params", "target"),
    [
        ({"name": "git__a", "uri": "u:a"}, ("name", "git__a")),
        ({"name": 5, "uri": "u:a"}, ("uri", "u:a")),
        ({"ref": {"type": "ref/prompt", "name": "git__a"}}, ("ref", "git__a")),
        ({"ref": {"type": "ref/resource", "uri": "u:a"}}, ("uri", "u:a")),
        ({"x": 1}, ("", "")),
    ],
)
def test_the_item_that_a_message_of_an_extension_names(params, target):
    assert merge.target(text(params)) == target


def test_a_small_surface_has_tools_whatever_the_servers_have():
    def offered(**about):
        found = {"git": {"capabilities": raw({"prompts": {}})}}
        membership = Membership({"git": 1}, surface="search", **about)
        return json.loads(merge.merged_discovery(found, whole=True, about=membership))["capabilities"]

    assert offered() == {"tools": {"listChanged": True}, "prompts": {}}
    assert offered(without=("tools",)) == {"prompts": {}}


PAGE = json_object.read(b'{"tools":[{"name":"a"},{"name":"b"}]}')
PAGE_SIZE = len(b'[{"name":"a"},{"name":"b"}]')


def test_a_page_has_its_items():
    limits = Limits(list_items=5, list_bytes=PAGE_SIZE)
    assert [bytes(one) for one in merge.page("tools/list", PAGE, 3, limits)] == [
        b'{"name":"a"}',
        b'{"name":"b"}',
    ]
    assert merge.page("tools/list", {}, 0, limits) == []


@pytest.mark.parametrize(
    ("held", "limits", "key"),
    [
        (4, Limits(list_items=5), "list_items"),
        (9, Limits(list_items=5), "list_items"),
        (0, Limits(list_bytes=PAGE_SIZE - 1), "list_bytes"),
    ],
)
def test_a_page_beyond_the_limits_is_refused(held, limits, key):
    with pytest.raises(Rejection, match=f"limits.{key}"):
        merge.page("tools/list", PAGE, held, limits)
