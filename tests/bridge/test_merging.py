"""Several servers' answers made into one."""

import json

import msgspec
import pytest

from mcpbridged.bridge import merging
from mcpbridged.validators import members

SERVERS = ("git", "time")


def raw(value):
    return msgspec.Raw(json.dumps(value).encode())


def text(value):
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("git__log", ("git", "log")),
        ("git__a__b", ("git", "a__b")),
        ("time__", ("time", "")),
        ("log", None),
        ("other__log", None),
        ("__log", None),
    ],
)
def test_a_name_says_whose_it_is(name, found):
    assert merging.split(name, SERVERS) == found


def test_a_call_gets_its_servers_name_and_keeps_all_else_as_it_was():
    params = b'{"name":"git__log","arguments":{"n":1e0,"n2":[ 1 ]},"_meta":{"x":1}}'
    assert (
        merging.renamed(params, "log") == b'{"name":"log","arguments":{"n":1e0,"n2":[ 1 ]},"_meta":{"x":1}}'
    )


def test_tools_are_listed_under_their_servers_names_in_the_order_of_the_servers():
    long = "x" * 130
    listed, too_long = merging.listed(
        "tools/list",
        {
            "git": [raw({"name": "log", "inputSchema": {}}), raw({"name": long})],
            "time": [raw({"name": "now"})],
        },
    )
    assert json.loads(listed) == {
        "resultType": "complete",
        "tools": [{"name": "git__log", "inputSchema": {}}, {"name": "time__now"}],
        "ttlMs": 0,
        "cacheScope": "private",
    }
    assert too_long == [f"git__{long}"]


def test_resources_keep_their_names():
    listed, _ = merging.listed("resources/list", {"git": [raw({"uri": "a://1", "name": "one"})]})
    assert json.loads(listed)["resources"] == [{"uri": "a://1", "name": "one"}]
    assert merging.uris("resources/list", [raw({"uri": "a://1"})]) == ["a://1"]
    assert merging.uris("resources/templates/list", [raw({"uriTemplate": "a://{x}"})]) == ["a://{x}"]


def test_what_all_offer_together():
    found = merging.discovered(
        {
            "git": members.peek(
                text(
                    {"capabilities": {"tools": {"listChanged": True}, "odd": {}}, "instructions": "Be kind."}
                )
            ),
            "time": members.peek(text({"capabilities": {"tools": {"listChanged": False}, "logging": {}}})),
        }
    )
    result = json.loads(found)
    assert result["capabilities"] == {"tools": {"listChanged": True}, "logging": {}}
    assert result["instructions"] == "git: Be kind."
    assert result["supportedVersions"] == ["2026-07-28"]
    assert "instructions" not in json.loads(merging.discovered({}))


def test_what_a_completion_is_about():
    about_prompt = text({"ref": {"type": "ref/prompt", "name": "git__p"}, "argument": {}})
    assert merging.reference(about_prompt) == ("name", "git__p")
    assert json.loads(merging.referring(about_prompt, "p"))["ref"] == {"type": "ref/prompt", "name": "p"}
    assert merging.reference(text({"ref": {"type": "ref/resource", "uri": "a://{x}"}})) == ("uri", "a://{x}")


def test_a_subscription_asks_each_server_for_what_is_its():
    params = text({"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["a://1", "b://2"]}})
    assert merging.subscribed(params) == ["a://1", "b://2"]
    wanted = json.loads(merging.wanted(params, ["b://2"]))
    assert wanted == {"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["b://2"]}}
    without = text({"notifications": {"toolsListChanged": True}})
    assert json.loads(merging.wanted(without, [])) == json.loads(without)


def test_what_was_granted_is_granted_together():
    granted = [
        members.peek(text({"toolsListChanged": True, "resourceSubscriptions": ["a://1"]})),
        members.peek(
            text({"toolsListChanged": False, "promptsListChanged": True, "resourceSubscriptions": ["b://2"]})
        ),
    ]
    assert json.loads(merging.acknowledged(granted)) == {
        "notifications": {
            "toolsListChanged": True,
            "promptsListChanged": True,
            "resourceSubscriptions": ["a://1", "b://2"],
        }
    }
    assert json.loads(merging.acknowledged([])) == {"notifications": {}}


def test_a_subscription_has_the_name_that_its_asker_gave_it():
    assert json.loads(merging.named(b'{"a":1,"_meta":{"x":2}}', b'"l"')) == {
        "a": 1,
        "_meta": {"x": 2, "io.modelcontextprotocol/subscriptionId": "l"},
    }
