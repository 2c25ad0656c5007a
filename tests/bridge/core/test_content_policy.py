"""The one place that looks into arguments and results."""

import json

import pytest

from mcpbridged.bridge.core.content_policy import NO_CHECKS, ContentModes, ContentPolicy
from mcpbridged.bridge.core.schema_checks import ToolSchemas
from mcpbridged.bridge.core.text_checks import TextModes
from mcpbridged.validators.jsonrpc import Notification, Request, Response

LIST = Response(
    b"1", b'{"tools":[{"name":"t","inputSchema":{"required":["a"]},"outputSchema":{"type":"object"}}]}', b""
)
CALL = Request(b"2", "tools/call", b'{"name":"t"}')
RESULT = Response(b"2", b'{"content":[]}', b"")


def test_nothing_is_on_by_default():
    assert not NO_CHECKS.on
    assert not NO_CHECKS.reads_schemas
    assert not ContentPolicy(NO_CHECKS, print).needs_tools(ToolSchemas(), "tools/call")


@pytest.mark.parametrize("key", ["arguments", "output"])
def test_a_check_of_schemas_needs_the_tools(key):
    modes = ContentModes(**{key: "warn"})
    assert modes.on
    assert modes.reads_schemas
    policy, tools = ContentPolicy(modes, print), ToolSchemas()
    assert policy.needs_tools(tools, "tools/call")
    assert not policy.needs_tools(tools, "prompts/get")
    policy.on_response(tools, "tools/list", "", LIST)
    assert not policy.needs_tools(tools, "tools/call")


def test_calls_and_their_results_are_checked():
    findings = []
    policy, tools = ContentPolicy(ContentModes("refuse", "refuse"), findings.append), ToolSchemas()
    assert policy.on_response(tools, "tools/list", "", LIST) is LIST
    found = policy.on_request(tools, CALL, "t", "2025-11-25")
    assert json.loads(found.result)["isError"]
    assert policy.on_response(tools, "tools/call", "t", RESULT).error
    assert [finding.kind for finding in findings] == ["arguments", "output"]


def test_all_else_passes():
    policy, tools = ContentPolicy(ContentModes("refuse", "refuse"), print), ToolSchemas()
    policy.on_response(tools, "tools/list", "", LIST)
    other = Request(b"2", "prompts/get", b'{"name":"t"}')
    assert policy.on_request(tools, other, "t", "2025-11-25") is other
    assert policy.on_response(tools, "prompts/get", "t", RESULT) is RESULT
    failed = Response(b"2", b"", b'{"code":1,"message":"x"}')
    assert policy.on_response(tools, "tools/call", "t", failed) is failed
    assert policy.on_response(tools, "tools/list", "", failed) is failed


def test_without_checks_all_passes():
    policy, tools = ContentPolicy(NO_CHECKS, print), ToolSchemas()
    assert policy.on_response(tools, "tools/list", "", LIST) is LIST
    assert policy.on_request(tools, CALL, "t", "2025-11-25") is CALL
    assert policy.on_response(tools, "tools/call", "t", RESULT) is RESULT


def test_other_messages_of_the_server_pass():
    policy = ContentPolicy(ContentModes("refuse", "refuse"), print)
    told, asked = Notification("notifications/message", b"{}"), Request(b"1", "roots/list", b"")
    assert policy.on_notification(told) is told
    assert policy.on_server_request(asked) is asked


@pytest.mark.parametrize("key", ["mime", "schemes", "characters"])
def test_a_check_of_texts_needs_no_tools(key):
    modes = ContentModes(texts=TextModes(**{key: "warn"}))
    assert modes.on
    assert not modes.reads_schemas
    assert not ContentPolicy(modes, print).needs_tools(ToolSchemas(), "tools/call")


@pytest.mark.parametrize(
    ("method", "name"), [("tools/call", "t"), ("prompts/get", "t"), ("resources/read", "")]
)
def test_texts_of_all_messages_of_a_server_are_checked(method, name):
    findings = []
    modes = ContentModes("refuse", "refuse", TextModes(schemes="refuse", characters="rewrite"))
    policy, tools = ContentPolicy(modes, findings.append, "git"), ToolSchemas()
    bad = Response(b"2", b'{"contents":[{"uri":"javascript:x"}]}', b"")
    fault = json.loads(policy.on_response(tools, method, "t", bad).error)
    assert "server git was refused: /contents/0/uri" in fault["message"]
    assert [(finding.kind, finding.tool) for finding in findings] == [("schemes", name)]
    hidden = Response(b"2", b"", b'{"code":1,"message":"a\\u200b"}')
    assert policy.on_response(tools, method, "t", hidden).error == b'{"code":1,"message":"a"}'
    notification = Notification("notifications/message", b'{"data":"a\\u200b"}')
    assert policy.on_notification(notification) == Notification("notifications/message", b'{"data":"a"}')
    assert policy.on_notification(Notification("notifications/message", b'{"uri":"javascript:x"}')) is None
    request = Request(b"3", "elicitation/create", b'{"url":"javascript:x"}')
    assert policy.on_server_request(request).error


def test_a_result_is_compared_with_its_schema_before_it_is_rewritten():
    findings = []
    modes = ContentModes(output="refuse", texts=TextModes(characters="rewrite"))
    policy, tools = ContentPolicy(modes, findings.append), ToolSchemas()
    listed = b'{"tools":[{"name":"t","outputSchema":{"properties":{"a":{"const":"b\\u200b"}}}}]}'
    # The constant is a name, so that the tool is not listed, but it can be called.
    assert policy.on_response(tools, "tools/list", "", Response(b"1", listed, b"")).result == b'{"tools":[]}'
    result = Response(b"2", b'{"content":[],"structuredContent":{"a":"b\\u200b"}}', b"")
    assert (
        policy.on_response(tools, "tools/call", "t", result).result
        == b'{"content":[],"structuredContent":{"a":"b"}}'
    )
    assert [finding.kind for finding in findings] == ["characters", "characters"]
