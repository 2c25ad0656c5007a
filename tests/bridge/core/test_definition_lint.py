"""The shape of definitions."""

import pytest

from mcpbridged.bridge.core.definition_lint import check_names, check_shape
from mcpbridged.bridge.core.definitions import Definition

GOOD = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def tool(schema=GOOD, /, name="read", **members):
    return Definition("tool", name, {"name": name, "description": "d", "inputSchema": schema, **members})


def ids(definition):
    return [(one.severity[0], one.id) for one in check_shape(definition)]


def within(schema):
    return {"type": "object", "properties": {"a": schema}}


def deep(levels):
    schema: dict = {"type": "string"}
    for _ in range(levels):
        schema = {"items": schema}
    return {"type": "object", "properties": {"a": schema}}


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (tool(), []),
        (tool({"type": "object"}), []),
        (tool({"type": "object", "required": ["x"]}), []),
        (tool({"type": "object", "properties": {}, "required": ["x"]}), [("w", "required-unknown")]),
        (tool({"type": "object", "properties": {}, "required": ["x"], "anyOf": [{}]}), []),
        (tool(None), [("e", "input-schema")]),
        (tool({}), [("e", "input-schema")]),
        (tool({"type": "array"}), [("e", "input-schema")]),
        (tool(within({"type": "text"})), [("e", "schema-type")]),
        (tool(within({"type": ["string", None]})), [("e", "schema-type")]),
        (tool(within({"type": ["string", "null"], "items": True})), []),
        (tool(within("string")), [("e", "schema")]),
        (tool({"type": "object", "properties": []}), [("e", "schema")]),
        (tool(within({"enum": "a"})), [("e", "schema")]),
        (tool(within({"allOf": [{"not": 1}], "items": [1], "oneOf": 1})), [("e", "schema")]),
        (tool({"type": "object", "required": "a"}), [("e", "required")]),
        (tool({"type": "object", "required": [1]}), [("e", "required")]),
        (tool({**within({"$ref": "#/$defs/b~1c"}), "$defs": {"b/c": {}}}), []),
        (tool({**within({"$ref": "#/allOf/0"}), "allOf": [{}]}), []),
        (tool({**within({"$ref": "#/allOf/1"}), "allOf": [{}]}), [("e", "reference")]),
        (tool(within({"$ref": "#/$defs/b"})), [("e", "reference")]),
        (tool(within({"$ref": "#anchor"})), []),
        (tool(within({"$ref": 1})), [("e", "reference")]),
        (tool(within({"$ref": "https://example.com/s.json"})), [("w", "reference")]),
        (tool(deep(63)), []),
        (tool(deep(64)), [("w", "schema-depth")]),
        (tool(within({"type": "string", "x-mcp-header": "Region"})), []),
        (tool(within({"type": "string", "x-mcp-header": "a b"})), [("e", "header-annotation")]),
        (
            tool(within({"type": "string", "x-mcp-header": "A", "description": "x" * 300_000})),
            [("w", "header-annotation")],
        ),
        (tool(outputSchema=GOOD), []),
        (tool(outputSchema=[]), [("e", "output-schema")]),
        (tool(outputSchema=within({"type": 1})), [("e", "schema-type")]),
        (tool(description=""), [("w", "no-description")]),
        (tool(description=1), [("w", "no-description")]),
        (tool(annotations={"readOnlyHint": True, "title": "T"}), []),
        (tool(annotations=[]), [("e", "annotations")]),
        (tool(annotations={"readOnlyHint": "yes"}), [("e", "annotations")]),
        (
            tool(annotations={"readOnlyHint": True, "destructiveHint": True}),
            [("w", "annotations-contradict")],
        ),
        (tool(name="delete-file", annotations={"readOnlyHint": True}), [("w", "read-only-name")]),
        (tool(name="delete-file", annotations={"readOnlyHint": False}), []),
        (tool(name=""), [("e", "no-name")]),
        (Definition("tool", "", "text"), [("e", "no-object")]),
        (Definition("instructions", "", "text"), []),
        (Definition("prompt", "p", {}), []),
        (Definition("prompt", "p", {"arguments": [{"name": "a"}, {"name": "b"}]}), []),
        (Definition("prompt", "p", {"arguments": {}}), [("e", "arguments")]),
        (Definition("prompt", "p", {"arguments": [{}]}), [("e", "arguments")]),
        (Definition("prompt", "p", {"arguments": ["a"]}), [("e", "arguments")]),
        (Definition("prompt", "p", {"arguments": [{"name": "a"}, {"name": "a"}]}), [("e", "arguments")]),
        (Definition("resource template", "a://{b}/{+c}", {}), []),
        (Definition("resource template", "a://{b", {}), [("e", "uri-template")]),
        (Definition("resource template", "a://{{b}}", {}), [("e", "uri-template")]),
        (Definition("resource template", "a://b}", {}), [("e", "uri-template")]),
        (Definition("resource", "a://b}", {}), []),
    ],
)
def test_the_shape_of_a_definition(definition, expected):
    assert ids(definition) == expected


def test_a_finding_names_the_place_in_the_schema():
    (found,) = check_shape(tool(within({"anyOf": [{}, {"type": "x"}]})))
    assert found.where == "inputSchema.properties.a.anyOf[1]"


def test_names_of_several_definitions():
    found = [*check_names("tool", ["read_file", "readFile", "x", "x", "x", "", ""])]
    assert [(one.id, one.name, one.text) for one in found] == [
        ("duplicate-name", "x", "is listed 3 times"),
        ("similar-name", "readFile", "differs from read_file in case or punctuation only"),
    ]
    assert [one.id for one in check_names("prompt", ["read_file", "readFile", "x", "x"])] == [
        "duplicate-name"
    ]
