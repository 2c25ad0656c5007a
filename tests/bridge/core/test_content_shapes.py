"""Shapes of MCP messages."""

import msgspec
import pytest

from mcpbridged.bridge.core.content_shapes import PARAMS, RESULT, Items, Leaf, member_shape, pointer


def raw(**members):
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in members.items()}


def test_the_shape_of_a_block_depends_on_its_type():
    content = RESULT.shapes["content"]
    assert member_shape(content, raw(type="image"), "data") is Leaf.BASE64
    assert member_shape(content, raw(type="audio"), "data") is Leaf.BASE64
    assert member_shape(content, raw(type="chart"), "data") is Leaf.TEXT
    assert member_shape(content, raw(type=5), "data") is Leaf.TEXT
    assert member_shape(content, raw(), "uri") is Leaf.ADDRESS
    assert member_shape(content, raw(type="tool_use"), "name") is Leaf.NAME
    assert member_shape(content, raw(type="resource_link"), "name") is Leaf.TEXT


def test_all_values_of_input_requests_have_one_shape():
    requests = RESULT.shapes["inputRequests"]
    one = member_shape(requests, raw(), "any name")
    assert member_shape(one, raw(), "params") is PARAMS


def test_a_member_of_a_leaf_has_the_shape_of_the_leaf():
    assert member_shape(Leaf.TEXT, raw(), "uri") is Leaf.TEXT
    assert member_shape(Items(Leaf.NAME), raw(), "x") is Leaf.NAME


@pytest.mark.parametrize(
    ("shape", "name", "expected"),
    [
        (RESULT, "contents", "contents"),
        (RESULT, "structuredContent", "structuredContent"),
        (RESULT, "a secret of the server", "7"),
        (RESULT.shapes["inputRequests"], "uri", "7"),
        (RESULT.shapes["content"], "mimeType", "mimeType"),
        (RESULT.shapes["_meta"], "io.modelcontextprotocol/serverInfo", "io.modelcontextprotocol~1serverInfo"),
        (Leaf.TEXT, "uri", "7"),
    ],
)
def test_a_path_has_names_of_the_specification_only(shape, name, expected):
    assert pointer(shape, name, 7) == expected
