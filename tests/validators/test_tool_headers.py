"""Annotations of tools in lists of tools."""

import json

import pytest

from mcpbridged.validators.limits import Limits
from mcpbridged.validators.mirrored_headers import ParamHeader
from mcpbridged.validators.rejection import Rejection
from mcpbridged.validators.tool_headers import ToolHeaders, read_tools, without_invalid_tools

GOOD = {"name": "good", "inputSchema": {"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}}
BAD = {"name": "bad", "inputSchema": {"properties": {"a": {"type": "number", "x-mcp-header": "A"}}}}
LARGE = {"name": "large", "inputSchema": {**GOOD["inputSchema"], "description": "x" * 1000}}
PLAIN = {"name": "plain"}


def page(*tools, **more):
    return json.dumps({"tools": list(tools), **more}).encode()


def test_the_annotations_of_a_page_are_read():
    tools = ToolHeaders()
    found = read_tools(page(GOOD, BAD, LARGE, PLAIN, nextCursor="c"), tools, Limits(schema_bytes=500))
    assert bytes(found["nextCursor"]) == b'"c"'
    assert tools.by_name["good"] == (ParamHeader("mcp-param-a", ("a",), "string"),)
    assert (tools.by_name["bad"], tools.by_name["plain"]) == ((), ())
    assert isinstance(tools.by_name["large"], Rejection)


def test_the_oldest_tools_are_dropped_for_others_unless_they_are_needed():
    tools, many = ToolHeaders(), (ParamHeader("mcp-param-a", ("a",), "string"),) * 7000
    for name in ("needed", "z", "a"):
        tools.add(name, many, needed=("needed",))
    assert list(tools.by_name) == ["needed", "a"]
    assert tools.incomplete
    # A tool that is listed again replaces itself.
    tools.add("a", ())
    tools.add("b", many)
    assert list(tools.by_name) == ["needed", "a", "b"]


def test_a_name_that_cannot_be_called_is_not_stored():
    tools = ToolHeaders()
    read_tools(page({"name": "x" * 129}), tools, Limits())
    assert tools.by_name == {}


def test_only_tools_with_invalid_annotations_are_removed():
    limits = Limits(schema_bytes=500)
    kept, dropped = without_invalid_tools(page(GOOD, BAD, LARGE, nextCursor="c"), limits)
    assert json.loads(kept) == {"tools": [GOOD, LARGE], "nextCursor": "c"}
    assert dropped == ["bad"]
    assert without_invalid_tools(page(GOOD, LARGE, PLAIN), limits) == (b"", [])


def test_a_page_over_a_limit_is_refused():
    for limits in (Limits(list_items=1), Limits(list_bytes=10)):
        with pytest.raises(Rejection):
            without_invalid_tools(page(GOOD, PLAIN), limits)
