"""The rules for messages of a modern server to a legacy client. Further rules are tested in test_modern_adapter."""

import json

import pytest

from mcpbridged.bridge.eras import rules_modern_to_legacy


def raw(value):
    return json.dumps(value, separators=(",", ":")).encode()


def result(method, modern, version="2025-11-25"):
    return json.loads(rules_modern_to_legacy.legacy_result(method, raw(modern), version))


PREFIX = "io.modelcontextprotocol/"
LINK = {"type": "resource_link", "uri": "u:x", "name": "x"}
AUDIO = {"type": "audio", "data": "", "mimeType": "audio/wav"}
TEXT = {"type": "text", "text": "audio of resource_link"}


@pytest.mark.parametrize(
    ("modern", "legacy"),
    [
        ({"resultType": "complete", "ttlMs": 5, "cacheScope": "public", "tools": []}, {"tools": []}),
        ({"tools": [], "_meta": {f"{PREFIX}serverInfo": {}}}, {"tools": []}),
        ({"tools": [], "_meta": {f"{PREFIX}serverInfo": {}, "a": 1}}, {"tools": [], "_meta": {"a": 1}}),
        ({"tools": [], "_meta": {"a": 1}}, {"tools": [], "_meta": {"a": 1}}),
    ],
)
def test_members_of_the_modern_era_are_removed(modern, legacy):
    assert result("tools/list", modern) == legacy


@pytest.mark.parametrize(
    ("version", "modern", "legacy"),
    [
        ("2025-11-25", {}, {"content": []}),
        ("2025-11-25", {"content": [LINK, AUDIO]}, {"content": [LINK, AUDIO]}),
        ("2025-11-25", {"structuredContent": {"a": 1}}, {"structuredContent": {"a": 1}, "content": []}),
        (
            "2025-11-25",
            {"structuredContent": [1]},
            {"structuredContent": {"result": [1]}, "content": [{"type": "text", "text": "[1]"}]},
        ),
        (
            "2025-06-18",
            {"structuredContent": 7, "content": [TEXT]},
            {"structuredContent": {"result": 7}, "content": [TEXT]},
        ),
        (
            "2025-03-26",
            {"structuredContent": 7},
            {"structuredContent": 7, "content": [{"type": "text", "text": "7"}]},
        ),
        (
            "2025-03-26",
            {"structuredContent": {"a": 1}},
            {"structuredContent": {"a": 1}, "content": [{"type": "text", "text": '{"a":1}'}]},
        ),
        (
            "2025-03-26",
            {"structuredContent": {"a": 1}, "content": [TEXT]},
            {"structuredContent": {"a": 1}, "content": [TEXT]},
        ),
        (
            "2025-03-26",
            {"content": [LINK, AUDIO, TEXT]},
            {"content": [{"type": "text", "text": "x: u:x"}, AUDIO, TEXT]},
        ),
        ("2024-11-05", {"content": [AUDIO]}, {"content": [{"type": "text", "text": "[audio, audio/wav]"}]}),
    ],
)
def test_a_tool_result_has_only_members_of_the_revision(version, modern, legacy):
    assert result("tools/call", modern, version) == legacy


def test_a_prompt_has_only_blocks_of_the_revision():
    messages = [{"role": "user", "content": LINK}, {"role": "user"}]
    for version in ("2025-06-18", "2025-11-25"):
        assert result("prompts/get", {"messages": messages}, version) == {"messages": messages}
    assert result("prompts/get", {"messages": messages}, "2025-03-26") == {
        "messages": [{"role": "user", "content": {"type": "text", "text": "x: u:x"}}, {"role": "user"}]
    }


@pytest.mark.parametrize("method", ["completion/complete", "prompts/list", "resources/read"])
def test_messages_that_are_no_prompt_are_kept(method):
    found = {"messages": [{"role": "user", "content": LINK}]}
    assert result(method, found, "2025-03-26") == found


def test_a_schema_of_no_object_is_wrapped_like_the_value_that_it_is_for():
    tools = [
        {"name": "a", "outputSchema": {"type": "object"}},
        {"name": "b", "outputSchema": {"$schema": "d", "type": "array"}},
        {"name": "c"},
    ]
    wrapped = {
        "$schema": "d",
        "type": "object",
        "properties": {"result": {"type": "array"}},
        "required": ["result"],
    }
    assert result("tools/list", {"tools": tools})["tools"] == [
        tools[0],
        {"name": "b", "outputSchema": wrapped},
        {"name": "c"},
    ]
    assert result("tools/list", {"tools": tools}, "2025-03-26")["tools"] == tools
    assert result("tools/list", {"tools": [{"name": "c"}]})["tools"] == [{"name": "c"}]
    assert result("tools/list", {}) == {}


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {"anyOf": [{"type": "object"}, {"type": "array"}]},
        {"type": ["object", "null"]},
        {"type": "array", "items": {"$ref": "#/$defs/x"}, "$defs": {"x": {}}},
    ],
)
def test_a_schema_that_cannot_be_wrapped_for_certain_is_left_out(schema):
    tool = {"name": "a", "outputSchema": schema}
    assert result("tools/list", {"tools": [tool]})["tools"] == [{"name": "a"}]


def test_a_reference_spelled_with_escapes_is_one():
    text = b'{"tools":[{"name":"a","outputSchema":{"type":"array","items":{"\\u0024ref":"#"}}}]}'
    assert (
        rules_modern_to_legacy.legacy_result("tools/list", text, "2025-11-25") == b'{"tools":[{"name":"a"}]}'
    )


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("tools/call", b'{ "content" : [ {"type":"text", "text":"resource_link"} ], "x" : 1.0 }'),
        ("tools/list", b'{ "tools" : [ {"name":"a", "outputSchema": {"type" : "object"}}, {"name":"b"} ] }'),
        ("prompts/get", b'{ "messages" : [ {"content" : {"type":"text"}}, {} ] }'),
        ("resources/read", b'{ "contents" : [ ], "_meta" : { "a" : 1 } }'),
        ("completion/complete", b'{ "messages" : [ {"content" : {"type":"resource_link"}} ] }'),
    ],
)
@pytest.mark.parametrize("version", ["2024-11-05", "2025-11-25"])
def test_a_result_that_no_rule_changes_is_the_same_bytes(method, text, version):
    assert rules_modern_to_legacy.legacy_result(method, text, version) == text


@pytest.mark.parametrize("text", [b"[1]", b"[]", b"[ ]", b"null", b"7"])
def test_a_result_that_is_no_object_stays_as_it_is(text):
    assert rules_modern_to_legacy.legacy_result("tools/list", text, "2025-11-25") == text


def test_of_no_result_an_empty_object_is_made():
    assert rules_modern_to_legacy.legacy_result("tools/call", b"", "2025-11-25") == b'{"content":[]}'


@pytest.mark.parametrize(
    ("error", "needed"),
    [
        ({"code": -32021, "data": {"requiredCapabilities": {"extensions": {f"{PREFIX}tasks": {}}}}}, True),
        ({"code": -32021, "data": {"requiredCapabilities": {"sampling": {}}}}, False),
        ({"code": -32021}, False),
        ({"code": -32602, "data": {"requiredCapabilities": {"extensions": {f"{PREFIX}tasks": {}}}}}, False),
    ],
)
def test_the_error_that_requires_the_tasks_extension(error, needed):
    assert rules_modern_to_legacy.requires_tasks_extension(raw(error)) is needed


def test_a_missing_capability_is_named():
    error = {"code": -32021, "data": {"requiredCapabilities": {"sampling": {"tools": {}}, "roots": {}}}}
    assert json.loads(rules_modern_to_legacy.legacy_error("tools/call", raw(error), "2025-11-25")) == {
        "code": -32602,
        "message": "requires client capability roots, sampling.tools",
    }


def test_urls_that_are_required_mean_nothing_to_older_clients():
    error = {"code": -32042, "message": "open"}
    assert (
        json.loads(rules_modern_to_legacy.legacy_error("tools/call", raw(error), "2025-06-18"))["code"]
        == -32603
    )


def test_the_tasks_extension_joins_others():
    found = rules_modern_to_legacy.add_extension(b'{"extensions":{"a/b":{}}}', f"{PREFIX}tasks")
    assert json.loads(found) == {"extensions": {"a/b": {}, f"{PREFIX}tasks": {}}}


def test_a_prompt_without_what_is_unknown_stays_as_it_was():
    for text in (b'{"messages":[{"content":{"type":"text","text":"audio"}}]}', b'{"messages":[1,"audio"]}'):
        assert rules_modern_to_legacy.legacy_result("prompts/get", text, "2025-03-26") == text


@pytest.mark.parametrize("value", [b"null", b"7", b'"x"', b"true"])
def test_t21_a_result_without_members_is_kept(value):
    for method in ("tools/call", "tools/list", "resources/read"):
        assert rules_modern_to_legacy.legacy_result(method, value, "2025-11-25") == value


def test_t21_the_data_of_an_error_is_kept():
    error = b'{"code":-32602,"message":"m","data":{"uri":"u:x","a":1}}'
    found = json.loads(rules_modern_to_legacy.legacy_error("resources/read", error, "2025-11-25"))
    assert found == {"code": -32002, "message": "m", "data": {"uri": "u:x", "a": 1}}
    error = b'{"code":-32099,"message":"m","data":{"a":1}}'
    found = json.loads(rules_modern_to_legacy.legacy_error("tools/call", error, "2025-11-25"))
    assert found == {"code": -32603, "message": "m", "data": {"a": 1, "originalCode": -32099}}
