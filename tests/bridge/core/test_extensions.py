"""Extensions: what is carried between the eras, and what a method outside of the core becomes."""

import json

import pytest

from mcpbridged.bridge.core import extensions
from mcpbridged.bridge.eras import rules_legacy_to_modern, rules_modern_to_legacy
from mcpbridged.validators import json_object

PREFIX = "io.modelcontextprotocol/"
TASKS = f"{PREFIX}tasks"
OWN = "mcp-bridge/input-over"


def raw(value):
    return json.dumps(value, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("method", "core"),
    [
        ("tools/call", True),
        ("tasks/list", True),
        ("notifications/progress", True),
        ("notifications/tasks", True),
        ("notifications/mcp-bridge/input_over", True),
        ("notifications/mcp-bridge/members", True),
        ("com.example/do", False),
        ("notifications/com.example/done", False),
        ("tools/other", False),
        ("notifications/tools/call", False),
    ],
)
def test_methods_of_the_core(method, core):
    assert extensions.is_core(method) is core


@pytest.mark.parametrize(
    ("capabilities", "names"),
    [
        (b"{}", set()),
        (b"null", set()),
        (raw({"tools": {}}), set()),
        (raw({"extensions": {"a/b": {}}, "experimental": {"x": {}}}), {"a/b", "x"}),
        (raw({"extensions": {TASKS: {}, OWN: {}}}), set()),
        (raw({"extensions": {"a/b": {"long": "x" * 2000}}}), {"a/b"}),
        (b'{"e\\u0078tensions":{"a\\/b":{}}}', {"a/b"}),
        (raw({"extensions": ["a"], "experimental": None}), set()),
    ],
)
def test_names_of_declared_and_translated_extensions(capabilities, names):
    assert extensions.names_in(capabilities) == names


def test_settings_are_declared_unchanged():
    text = b'{"extensions":{"a/b":{"n":1.50}},"experimental":{"x":{"y":null}},"roots":{}}'
    declared = extensions.declared_in(text)
    assert declared == {("extensions", "a/b"): b'{"n":1.50}', ("experimental", "x"): b'{"y":null}'}
    written = json_object.write(extensions.as_capabilities(declared.items()))
    assert written == b'{"extensions":{"a/b":{"n":1.50}},"experimental":{"x":{"y":null}}}'


@pytest.mark.parametrize(
    ("capabilities", "carried"),
    [
        ({"tools": {}}, {"tools": {}}),
        ({"tools": {}, "extensions": {}}, {"tools": {}}),
        ({"extensions": {"a/b": {}}}, {"extensions": {"a/b": {}}}),
        ({"extensions": {"a/b": {}, TASKS: {}}}, {"extensions": {"a/b": {}}}),
        ({"tools": {}, "extensions": {TASKS: {}}}, {"tools": {}}),
    ],
)
def test_extensions_of_one_era_are_not_translated(capabilities, carried):
    assert json.loads(json_object.write(extensions.carried(json_object.peek(raw(capabilities))))) == carried


@pytest.mark.parametrize(
    ("legacy", "modern"),
    [
        ({"a": 1}, {"a": 1, "resultType": "complete"}),
        ({}, {"resultType": "complete"}),
        ({"resultType": "mine"}, {"resultType": "mine"}),
        (None, None),
    ],
)
def test_a_result_for_a_modern_client_has_its_type(legacy, modern):
    assert json.loads(rules_legacy_to_modern.modern_extension_result(raw(legacy))) == modern


@pytest.mark.parametrize(
    ("modern", "legacy"),
    [
        ({"a": 1, "ttlMs": 3, "resultType": "complete"}, {"a": 1, "ttlMs": 3}),
        ({"a": 1}, {"a": 1}),
        ({"resultType": "mine", "a": 1}, {"resultType": "mine", "a": 1}),
        ({"resultType": "complete", "_meta": {f"{PREFIX}serverInfo": {}, "a": 1}}, {"_meta": {"a": 1}}),
        (None, None),
    ],
)
def test_a_result_for_a_legacy_client_has_no_type(modern, legacy):
    assert json.loads(rules_modern_to_legacy.legacy_extension_result(raw(modern))) == legacy


def test_errors_pass_unless_they_are_about_the_era():
    own = raw({"code": -32050, "message": "m", "data": 1})
    assert (
        rules_legacy_to_modern.modern_extension_error(own)
        == rules_modern_to_legacy.legacy_extension_error("a/b", own, "2025-11-25")
        == own
    )
    about = raw({"code": -32022, "message": "m"})
    assert json.loads(rules_legacy_to_modern.modern_extension_error(about))["code"] == -32603
    assert (
        json.loads(rules_modern_to_legacy.legacy_extension_error("a/b", about, "2025-11-25"))["code"]
        == -32603
    )
