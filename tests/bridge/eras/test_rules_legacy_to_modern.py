"""The rules for messages of a legacy server to a modern client. Further rules are tested in test_legacy_adapter."""

import json

import msgspec
import pytest

from mcpbridged.bridge.core import errors
from mcpbridged.bridge.core.errors import read_fault
from mcpbridged.bridge.eras import rules_legacy_to_modern
from mcpbridged.bridge.eras.rules_legacy_to_modern import (
    Profile,
    has_failed,
    is_plain_call,
    profile_of,
    removable_suffix,
)
from mcpbridged.validators import json_object
from mcpbridged.validators.jsonrpc import Response


@pytest.mark.parametrize(
    ("capabilities", "profile"),
    [
        (b"{}", Profile()),
        (b'{"experimental":{}}', Profile()),
        (b'{"roots":{}}', Profile(roots=True)),
        (b'{"sampling":{}}', Profile(sampling=True)),
        (
            b'{"sampling":{"tools":{},"context":{}}}',
            Profile(sampling=True, sampling_tools=True, sampling_context=True),
        ),
        (b'{"elicitation":{}}', Profile(form=True)),
        (b'{"elicitation":{"form":{}}}', Profile(form=True)),
        (b'{"elicitation":{"url":{}}}', Profile(url=True)),
        (b'{"elicitation":{"form":{},"url":{}}}', Profile(form=True, url=True)),
    ],
)
def test_the_profile_of_client_capabilities(capabilities, profile):
    assert profile_of(capabilities) == profile


@pytest.mark.parametrize(
    ("profile", "declared"),
    [
        (Profile(), {}),
        (Profile(sampling=True), {"sampling": {}}),
        (Profile(sampling=True, sampling_tools=True), {"sampling": {"tools": {}}}),
        (Profile(roots=True, form=True), {"roots": {}, "elicitation": {"form": {}}}),
    ],
)
def test_the_client_capabilities_of_a_profile(profile, declared):
    assert profile.declared() == declared


def test_a_fault_that_cannot_be_read_is_an_internal_error():
    assert read_fault(b'{"code":"x"}').code == -32603


@pytest.mark.parametrize(
    ("message", "failed"),
    [
        (Response(b"1", b"", b"{}"), True),
        (Response(b"1", b'{"isError":true}', b""), True),
        (Response(b"1", b'{"isError":false}', b""), False),
        (Response(b"1", b"{}", b""), False),
    ],
)
def test_errors_and_tool_errors_are_failures(message, failed):
    assert has_failed(message) is failed


@pytest.mark.parametrize("value", [b"null", b"7", b'"x"', b"[1]", b"false"])
def test_t21_a_result_that_is_no_object_is_kept(value):
    for method in ("tools/call", "tools/list", "resources/read"):
        assert rules_legacy_to_modern.modern_result(method, value, msgspec.Raw(b"{}"), "c.") == value
    assert rules_legacy_to_modern.remove_related_task(msgspec.Raw(value)) == value


def test_a_list_with_the_members_of_a_tool_result_is_a_list():
    found = json.loads(
        rules_legacy_to_modern.modern_result("tools/list", b'{"content":[]}', msgspec.Raw(b"{}"), "c.")
    )
    assert (found["ttlMs"], found["cacheScope"]) == (0, "private")


@pytest.mark.parametrize(
    ("tool", "kept"),
    [
        (
            b'{"inputSchema":{"properties":{"r":{"type":"number","x-mcp-header":"R"}}}}',
            {"inputSchema": {"properties": {"r": {"type": "number"}}}},
        ),
        (b'{"execution":{},"name":"a"}', {"name": "a"}),
        (b'{"\\u0065xecution":{},"name":"a"}', {"name": "a"}),
    ],
)
def test_each_of_the_members_that_a_modern_client_must_not_see_is_removed(tool, kept):
    listed = b'{"tools":[%b]}' % tool
    found = rules_legacy_to_modern.modern_result("tools/list", listed, msgspec.Raw(b"{}"), "c.")
    assert json.loads(found)["tools"] == [kept]


@pytest.mark.parametrize(
    ("error", "uri", "kept"),
    [
        ({"code": -32002, "message": "m"}, "u:x", {"code": -32602, "message": "m", "data": {"uri": "u:x"}}),
        ({"code": -32002, "message": "m", "data": {"a": 1}}, "u:x", {"code": -32602, "message": "m", "data": {"uri": "u:x", "a": 1}}),
        ({"code": -32002, "message": "m", "data": {"uri": "y"}}, "u:x", {"code": -32602, "message": "m", "data": {"uri": "y"}}),
        ({"code": -32002, "message": "m", "data": "gone"}, "u:x", {"code": -32602, "message": "m", "data": "gone"}),
        ({"code": -32002, "message": "m", "data": {"a": 1}}, "", {"code": -32602, "message": "m", "data": {"a": 1}}),
        ({"code": -32002, "message": "m"}, "", {"code": -32602, "message": "m"}),
        ({"code": -32042, "message": "m", "data": {"a": 1}}, "", {"code": -32603, "message": "m", "data": {"originalCode": -32042}}),
        ({"code": -32050, "message": "m", "data": {"a": 1}}, "", {"code": -32603, "message": "m", "data": {"a": 1, "originalCode": -32050}}),
        ({"code": -32050, "message": "m", "data": [1]}, "", {"code": -32603, "message": "m", "data": {"data": [1], "originalCode": -32050}}),
        ({"code": -32050, "message": "m"}, "", {"code": -32603, "message": "m", "data": {"originalCode": -32050}}),
        ({"code": -32002.0, "message": None, "data": 1}, "u:x", {"code": -32602, "message": "", "data": 1}),
        ({"code": 7, "message": "m", "data": None}, "u:x", {"code": 7, "message": "m", "data": None}),
    ],
)  # fmt: skip
def test_t21_the_data_of_an_error_is_kept(error, uri, kept):
    assert json.loads(rules_legacy_to_modern.modern_error(json.dumps(error).encode(), uri)) == kept


@pytest.mark.parametrize(
    ("code", "read"), [(b"1e400", -32603), (b"1.5", -32603), (b'"x"', -32603), (b"-32002.0", -32002)]
)
def test_t21_of_a_fault_of_an_odd_shape_the_rest_is_read(code, read):
    fault = errors.read_fault(b'{"code":%b,"message":"cut \\ud83d","data":"\\ud83d"}' % code)
    assert (fault.code, fault.message, bytes(fault.data)) == (read, "cut \ufffd", b'"\\ud83d"')


ENVELOPE = b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}'


@pytest.mark.parametrize(
    ("meta", "is_removed"),
    [
        (ENVELOPE, True),
        (b"{}", True),
        (b'{"progressToken":1}', False),
        (b'{"io.modelcontextprotocol/logLevel":"info"}', False),
        (b'{"a\\u0062":1}', False),
        (b'{"own":1}', False),
        (b'{"own":"%b"}' % (b"x" * 5000), False),
    ],
)
def test_a_meta_with_the_envelope_alone_is_removed_with_the_end_of_the_params(meta, is_removed):
    params = b'{"name":"a","arguments":{},"_meta":%b}' % meta
    ending = b',"_meta":%b}' % meta
    assert removable_suffix(params, json_object.peek(params)) == (ending if is_removed else b"")


def test_a_meta_that_is_not_the_last_member_is_not_removed_with_the_end():
    params = b'{"_meta":%b,"name":"a"}' % ENVELOPE
    assert removable_suffix(params, json_object.peek(params)) == b""


@pytest.mark.parametrize(
    ("params", "is_plain"),
    [
        (b'{"name":"a","arguments":{"b":1},"_meta":{}}', True),
        (b'{"name":"a","arguments":{"b":1} ,"_meta":{}}', False),
        (b'{"name":"a","arguments":{"b":1},"c":2,"_meta":{}}', False),
        (b'{"name":"a","arguments":{"b":1}}', False),
        (b'{"name":"a","_meta":{}}', False),
    ],
)
def test_a_plain_call_has_a_name_and_arguments_alone(params, is_plain):
    assert is_plain_call(params, b',"_meta":{}}') == is_plain


@pytest.mark.parametrize("method", sorted(rules_legacy_to_modern.CACHEABLE - {"server/discover"}))
def test_no_result_of_a_cacheable_method_may_be_stored(method):
    text = rules_legacy_to_modern.modern_result(method, b'{"content":[]}', msgspec.Raw(b"{}"), "c.")
    found = json.loads(text)
    assert (found["ttlMs"], found["cacheScope"]) == (0, "private")


@pytest.mark.parametrize("length", range(64))
def test_a_tool_result_has_one_meta_whatever_its_length_is(length):
    legacy = b'{"content":[],"_meta":{"a":"%b"}}' % (b"x" * length)
    text = rules_legacy_to_modern.modern_result("tools/call", legacy, msgspec.Raw(b"{}"), "c.")
    assert text.count(b'"_meta"') == 1
    assert json.loads(text)["_meta"]["a"] == "x" * length


INVALID_HEADER = {"type": "object", "properties": {"a": {"type": "object", "x-mcp-header": "A"}}}


@pytest.mark.parametrize(
    ("tool", "kept"),
    [
        ({"name": "a", "execution": {}}, {"name": "a"}),
        ({"name": "a", "inputSchema": INVALID_HEADER}, None),
    ],
)
@pytest.mark.parametrize("letter", ["e", "\\u0065"])
def test_tools_lose_what_a_modern_client_does_not_accept_however_it_is_spelled(tool, kept, letter):
    listed = (
        json.dumps([tool])
        .replace("execution", f"{letter}xecution")
        .replace("x-mcp-header", f"x-mcp-h{letter}ader")
    )
    found = {"tools": msgspec.Raw(listed.encode())}
    rules_legacy_to_modern.modernize_tools(found)
    if kept is None:
        kept = {"name": "a", "inputSchema": {"type": "object", "properties": {"a": {"type": "object"}}}}
    assert json.loads(bytes(found["tools"])) == [kept]
