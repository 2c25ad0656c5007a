"""The messages of a server and of a client against the schemas of the revision of their sender."""

import json

import pytest

from mcpbridged.bridge.core.message_checks import ServerChecks, check_message
from mcpbridged.validators import jsonrpc
from mcpbridged.validators.jsonrpc import Notification, Request, Response

LEGACY = "2025-11-25"
MODERN = "2026-07-28"
BAD_BLOCK = b'{"content":[{"type":"text"}],"resultType":"complete"}'


def text(value):
    return json.dumps(value).encode()


def opened(version=LEGACY):
    """Return the checks of a server that has answered `initialize`."""
    checks = ServerChecks()
    checks.on_sent(jsonrpc.request(b"1", "initialize", b"{}"))
    about = {"protocolVersion": version, "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
    assert checks.check(Response(b"1", text(about), b"")) is None
    return checks


def asked(checks, method, raw_id=b"2"):
    checks.on_sent(jsonrpc.request(raw_id, method, b'{"name":"a"}'))
    return checks


@pytest.mark.parametrize("version", ["2024-11-05", LEGACY, "2030-01-01"])
def test_a_result_has_the_schema_of_its_request_in_the_revision_of_the_server(version):
    invalid = asked(opened(version), "tools/call").check(Response(b"2", BAD_BLOCK, b""))
    assert (invalid.method, invalid.fault.path) == ("tools/call", "$.content[0]")
    assert invalid.version == min(version, LEGACY)


def test_the_same_result_may_fit_one_revision_and_not_another():
    result = text({"content": [{"type": "resource_link", "uri": "file:///a", "name": "a"}]})
    assert asked(opened("2025-06-18"), "tools/call").check(Response(b"2", result, b"")) is None
    assert asked(opened("2025-03-26"), "tools/call").check(Response(b"2", result, b"")) is not None


def test_a_server_without_initialize_speaks_the_modern_revision():
    checks = asked(ServerChecks(), "tools/list")
    invalid = checks.check(Response(b"2", b'{"tools":[]}', b""))
    assert invalid.version == MODERN
    assert str(invalid).startswith("tools/list in MCP 2026-07-28: Object missing required field `")


def test_a_wrong_result_of_initialize_does_not_fit():
    checks = asked(ServerChecks(), "initialize")
    invalid = checks.check(Response(b"2", b'{"protocolVersion":"2025-03-26","capabilities":{}}', b""))
    assert (invalid.version, invalid.fault.text) == (
        "2025-03-26",
        "Object missing required field `serverInfo`",
    )


def test_nothing_is_checked_before_the_response_to_initialize():
    checks = asked(ServerChecks(), "initialize")
    assert checks.check(Notification("notifications/message", b'{"level":5}')) is None
    checks.on_sent(jsonrpc.request(b"3", "tools/list", b""))
    assert checks.check(Response(b"3", b"{}", b"")) is None


def test_a_process_that_replaces_another_may_speak_another_revision():
    checks = asked(opened("2025-06-18"), "tools/call")
    checks.on_sent(jsonrpc.request(b"3", "initialize", b"{}"))
    assert checks.check(Response(b"2", BAD_BLOCK, b"")) is None
    about = {"protocolVersion": "2024-11-05", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
    assert checks.check(Response(b"3", text(about), b"")) is None
    invalid = asked(checks, "tools/call").check(Response(b"2", BAD_BLOCK, b""))
    assert invalid.version == "2024-11-05"


def test_a_response_is_checked_once_and_only_for_a_request():
    checks = opened()
    assert checks.check(Response(b"2", BAD_BLOCK, b"")) is None
    asked(checks, "tools/call")
    assert checks.check(Response(b"2", BAD_BLOCK, b"")) is not None
    assert checks.check(Response(b"2", BAD_BLOCK, b"")) is None


def test_a_request_that_was_cancelled_is_forgotten():
    checks = asked(opened(), "tools/call")
    checks.on_sent(jsonrpc.notification("notifications/cancelled", b'{"requestId":2,"reason":"r"}'))
    assert checks._methods == {}
    checks.on_sent(jsonrpc.notification("notifications/initialized", b""))
    assert checks.check(Response(b"2", BAD_BLOCK, b"")) is None


def test_an_error_of_a_server_has_a_code_and_a_message():
    checks = asked(opened(), "tools/call")
    invalid = checks.check(Response(b"2", b"", b'{"code":"x"}'))
    assert (invalid.method, invalid.fault.path) == ("tools/call", "$.code")
    asked(checks, "tools/call")
    assert checks.check(Response(b"2", b"", b'{"code":-1,"message":"m"}')) is None


def test_requests_and_notifications_of_a_server_are_checked():
    checks = opened()
    assert checks.check(Request(b"5", "sampling/createMessage", b'{"messages":[]}')) is not None
    assert checks.check(Request(b"5", "sampling/createMessage", b'{"messages":[],"maxTokens":5}')) is None
    assert checks.check(Notification("notifications/message", b'{"level":"info"}')) is not None
    assert checks.check(Notification("notifications/message", b'{"level":"info","data":null}')) is None
    assert checks.check(Notification("notifications/x", b'{"level":5}')) is None


def test_the_messages_of_a_client_are_checked():
    assert check_message(Request(b"1", "tools/call", b"{}"), LEGACY, "client", "") is not None
    assert check_message(Notification("notifications/initialized", b""), LEGACY, "client", "") is None
    roots = Response(b"1", b'{"roots":[{}]}', b"")
    assert check_message(roots, LEGACY, "client", "roots/list").fault.path == "$.roots[0]"
    assert check_message(roots, LEGACY, "client", "") is None
