"""Arguments and output of tools against the schemas that were listed."""

import json

import pytest

from mcpbridged.bridge.core import schema_checks
from mcpbridged.bridge.core.schema_checks import (
    MOST_BYTES,
    MOST_TOOLS,
    OFF,
    REFUSE,
    WARN,
    Finding,
    SchemaChecks,
    ToolSchemas,
)
from mcpbridged.validators.json_schema import MOST_VALUE_BYTES
from mcpbridged.validators.jsonrpc import Request, Response
from mcpbridged.validators.rejection import INVALID_PARAMS, Rejection

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
READ = {"name": "read", "inputSchema": SCHEMA, "outputSchema": SCHEMA}
GOOD, BAD = {"path": "/x"}, {"path": 1}
LEGACY, CURRENT, MODERN = "2025-06-18", "2025-11-25", "2026-07-28"


class World:
    """The checks of a server whose tools were listed."""

    def __init__(self, arguments=REFUSE, output=REFUSE, tools=(READ,), **page):
        self.findings = []
        self.checks = SchemaChecks(arguments, output, self.findings.append)
        self.tools = ToolSchemas()
        self.list(tools, **page)

    def list(self, tools, **page):
        self.checks.on_list(self.tools, response(tools=list(tools), **page))

    def call(self, version=CURRENT, name="read", **params):
        request = Request(b"7", "tools/call", encoded({"name": name, **params}))
        found = self.checks.on_call(self.tools, request, name, version)
        return None if found is request else found

    def result(self, name="read", **result):
        given = response(content=[], **result)
        found = self.checks.on_result(self.tools, name, given)
        return None if found is given else json.loads(found.error)


def encoded(value):
    return json.dumps(value).encode()


def response(**result):
    return Response(b"7", encoded(result), b"")


# ---- arguments


def test_arguments_that_match_pass_unchanged():
    world = World()
    assert world.call(arguments=GOOD) is None
    assert world.findings == []


def test_arguments_that_do_not_match_are_an_error_of_the_tool():
    world = World()
    found = world.call(arguments=BAD)
    assert found.id == b"7"
    assert json.loads(found.result) == {
        "content": [
            {
                "type": "text",
                "text": "Invalid arguments for the tool read: type is violated at /path (inputSchema)",
            }
        ],
        "isError": True,
    }
    assert world.findings == [Finding("arguments", "read", "/path", "type", refused=True)]


def test_a_stateless_client_gets_a_complete_result():
    assert json.loads(World().call(MODERN, arguments=BAD).result)["resultType"] == "complete"


def test_a_client_of_an_older_revision_gets_an_error_of_the_protocol():
    with pytest.raises(Rejection) as caught:
        World().call(LEGACY, arguments=BAD)
    refused = caught.value
    assert (refused.status, refused.code, refused.reason) == (200, INVALID_PARAMS, "content_refused")
    assert refused.text == "Invalid arguments for the tool read: type is violated at /path (inputSchema)"
    assert refused.data == {"path": "/path", "keyword": "type"}


@pytest.mark.parametrize("params", [{}, {"arguments": None}, {"arguments": {}}])
def test_absent_arguments_are_an_empty_object(params):
    assert (
        "required is violated (inputSchema)"
        in json.loads(World().call(**params).result)["content"][0]["text"]
    )
    assert World(tools=[{"name": "read", "inputSchema": {"type": "object"}}]).call(**params) is None


def test_with_warn_they_pass_and_are_reported():
    world = World(WARN)
    assert world.call(arguments=BAD) is None
    assert world.findings == [Finding("arguments", "read", "/path", "type", refused=False)]


def test_a_report_has_no_name_that_the_client_has_invented():
    world = World(tools=[{"name": "read", "inputSchema": {"additionalProperties": {"type": "string"}}}])
    assert "at /secret" in world.call(arguments={"secret": 1}).result.decode()
    assert world.findings == [Finding("arguments", "read", "/*", "type", refused=True)]


def test_with_off_nothing_is_checked():
    world = World(OFF, OFF)
    assert world.call(arguments=BAD) is None
    assert world.result(structuredContent=BAD) is None
    assert world.findings == []


def test_other_tools_and_those_without_a_schema_pass():
    world = World(tools=[{"name": "read"}])
    assert world.call(arguments=BAD) is None
    assert world.call(name="other", arguments=BAD) is None
    assert world.result(structuredContent=BAD) is None
    assert world.result("other", structuredContent=BAD) is None


def test_a_schema_that_cannot_be_used_is_reported_and_its_calls_pass():
    world = World(tools=[{"name": "read", "inputSchema": {"$ref": "http://127.0.0.1:1/"}}])
    assert world.call(arguments=BAD) is None
    assert world.findings == [Finding("schema", "read", "", "arguments", refused=False)]


def test_arguments_that_cannot_be_checked_are_refused():
    world = World()
    text = world.call(arguments={"path": "x" * MOST_VALUE_BYTES}).result.decode()
    assert f"it cannot be checked: 1048588 bytes, and the limit is {MOST_VALUE_BYTES} (inputSchema)" in text
    assert world.findings == [Finding("arguments", "read", "", "unchecked", refused=True)]
    assert World(WARN).call(arguments={"path": "x" * MOST_VALUE_BYTES}) is None


def test_a_place_that_was_not_looked_for_is_not_named():
    world = World(tools=[{"name": "read", "inputSchema": {"additionalProperties": {"type": "string"}}}])
    text = world.call(arguments={str(one): one for one in range(5000)}).result.decode()
    assert "the tool read: the schema is violated (inputSchema)" in text


def test_half_a_surrogate_pair_hides_nothing():
    world = World()
    request = Request(
        b"7", "tools/call", b'{"_meta":{"\\ud800":"\\ud800"},"name":"read","arguments":{"path":1}}'
    )
    assert isinstance(world.checks.on_call(world.tools, request, "read", CURRENT), Response)
    request = Request(b"7", "tools/call", b'{"name":"read","arguments":{"path":"\\ud800"}}')
    assert isinstance(world.checks.on_call(world.tools, request, "read", CURRENT), Response)
    assert [finding.keyword for finding in world.findings] == ["type", "unchecked"]


def test_the_last_of_repeated_members_counts():
    world = World()
    twice = b'{"name":"read","arguments":{"path":"/"},"arguments":{"path":1}}'
    found = world.checks.on_call(world.tools, Request(b"7", "tools/call", twice), "read", CURRENT)
    assert isinstance(found, Response)


# ---- output


def test_output_that_matches_passes_unchanged():
    assert World().result(structuredContent=GOOD) is None


def test_output_that_does_not_match_is_an_error():
    world = World()
    assert world.result(structuredContent=BAD) == {
        "code": -32603,
        "message": "Invalid output of the tool read: type is violated at /path (outputSchema)",
        "data": {"path": "/path", "keyword": "type"},
    }
    assert world.findings == [Finding("output", "read", "/path", "type", refused=True)]


def test_missing_output_is_an_error_too():
    world = World()
    assert world.result()["message"] == (
        "Invalid output of the tool read: structuredContent is missing (outputSchema)"
    )
    assert world.findings == [Finding("output", "read", "", "structuredContent", refused=True)]
    world = World(output=WARN)
    assert world.result() is None
    assert world.findings == [Finding("output", "read", "", "structuredContent", refused=False)]


@pytest.mark.parametrize(
    "result",
    [
        {"isError": True},
        {"isError": True, "structuredContent": BAD},
        {"task": {"taskId": "1"}},
        {"resultType": "task"},
        {"resultType": "input_required"},
    ],
)
def test_results_without_an_output_pass(result):
    assert World().result(**result) is None


@pytest.mark.parametrize("result", [{"isError": False}, {"resultType": "complete"}, {"isError": "true"}])
def test_other_results_need_their_output(result):
    assert World().result(**result)
    assert World().result(structuredContent=GOOD, **result) is None


def test_a_result_that_is_no_object_has_no_output():
    world = World()
    assert world.checks.on_result(world.tools, "read", Response(b"7", b"[]", b"")).error


def test_output_may_be_any_json():
    world = World(tools=[{"name": "read", "outputSchema": {"type": "array"}}])
    assert world.result(structuredContent=[1]) is None
    assert world.result(structuredContent=None)


# ---- lists


def test_the_last_list_counts():
    world = World()
    world.list([{"name": "read", "inputSchema": {"type": "object"}}])
    assert world.call(arguments=BAD) is None


def test_tools_are_known_after_the_last_page():
    world = World(nextCursor="2")
    assert not world.tools.known
    world.list([{"name": "more", "inputSchema": SCHEMA}])
    assert world.tools.known
    assert world.call(arguments=BAD)
    assert world.call(name="more", arguments=BAD)
    world.tools.clear()
    assert not world.tools.known
    assert world.call(arguments=BAD) is None


@pytest.mark.parametrize("tools", ["x", {"a": 1}, None, [3], [{}], [{"name": 3}]])
def test_a_list_of_another_shape_has_no_tools(tools):
    world = World(tools=())
    world.checks.on_list(world.tools, response(tools=tools))
    assert world.call(arguments=BAD) is None
    assert world.findings == []


def test_a_list_of_4_mib_is_read():
    world = World(tools=())
    page = encoded({"tools": [READ]})
    world.checks.on_list(world.tools, Response(b"1", page + b" " * (4 * 1024 * 1024 - len(page)), b""))
    assert list(world.tools.by_name) == ["read"]


def test_too_large_a_list_is_reported_and_not_read():
    world = World(tools=())
    world.checks.on_list(world.tools, Response(b"1", b'{"tools":[]%b}' % (b" " * MOST_BYTES), b""))
    world.list([{"name": str(one)} for one in range(MOST_TOOLS + 1)])
    assert world.findings == [Finding("schema", "", "", "unchecked", refused=False)] * 2
    assert world.tools.by_name == {}


def test_ten_thousand_tools_on_pages_keep_the_last_ones():
    world = World(tools=())
    for page in range(10):
        world.list([{**READ, "name": f"t{page * 1000 + one}"} for one in range(1000)], nextCursor="more")
    assert len(world.tools.by_name) == MOST_TOOLS
    assert world.call(name="t0", arguments=BAD) is None
    assert world.call(name="t9999", arguments=BAD)
    # Equal schemas are one.
    assert len(world.checks._store._schemas) == 1


@pytest.mark.parametrize(("more", "stored"), [(0, 4), (-1, 3)])
def test_the_size_of_all_schemas_is_bounded(monkeypatch, more, stored):
    monkeypatch.setattr(schema_checks, "MOST_BYTES", len(encoded(SCHEMA)) * 2 * 4 + more)
    world = World(tools=())
    # Once more after the tools have changed.
    for _ in range(2):
        for one in range(10):
            world.list([{**READ, "name": f"t{one}"}])
        assert len(world.tools.by_name) == stored
        world.list([{**READ, "name": "t9"}])
        assert len(world.tools.by_name) == stored
        world.tools.clear()
