"""Canonical forms and hashes of definitions."""

import json

import pytest

from mcpbridged.bridge.core.definitions import (
    KINDS,
    Definition,
    canonical,
    definitions_in,
    digest,
    of_any_era,
)

TOOL = {
    "name": "read",
    "inputSchema": {
        "type": "object",
        "properties": {"path": {"type": ["string", "null"]}, "b": {}},
        "required": ["b", "path"],
    },
}


def test_the_order_of_members_of_required_and_of_types_has_no_effect_on_the_hash():
    other = {
        "inputSchema": {
            "required": ["path", "b"],
            "properties": {"b": {}, "path": {"type": ["null", "string"]}},
            "type": "object",
        },
        "name": "read",
    }
    assert digest(canonical(TOOL)) == digest(canonical(other))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"enum": ["a", "b"]}, {"enum": ["b", "a"]}),
        ({"a": True}, {"a": 1}),
        ({"a": None}, {}),
        ({"required": ["a", 1]}, {"required": [1, "a"]}),
        ({"d": "a"}, {"d": "a\u200b"}),
        ({"d": "e\u0301"}, {"d": "\u00e9"}),
        (TOOL, {**TOOL, "annotations": {"readOnlyHint": True}}),
    ],
)
def test_every_other_difference_changes_the_hash(old, new):
    assert digest(canonical(old)) != digest(canonical(new))


def test_a_canonical_form_is_printable_json_even_of_a_lone_surrogate():
    form = canonical({"b": "\ud800\x1b", "a": [1, {}]})
    assert form == '{"a":[1,{}],"b":"\\ud800\\u001b"}'
    assert digest(form).startswith("sha256:")
    assert json.loads(form)["a"] == [1, {}]


def test_a_deep_value_has_a_canonical_form():
    value: object = []
    for _ in range(400):
        value = [value]
    assert canonical(value) == json.dumps(value)


@pytest.mark.parametrize(
    ("around", "depth", "equal"),
    [
        (lambda value: {"a": value}, 198, True),
        (lambda value: [value], 198, True),
        (lambda value: {"a": value}, 201, False),
        (lambda value: [value], 201, False),
    ],
)
def test_sets_are_compared_as_sets_to_a_depth_of_200(around, depth, equal):
    first: object = {"required": ["a", "b"]}
    second: object = {"required": ["b", "a"]}
    for _ in range(depth):
        first, second = around(first), around(second)
    assert (canonical(first) == canonical(second)) == equal


def test_a_definition_is_named_by_its_kind():
    found = definitions_in(KINDS[0], [TOOL, {"name": 1}, "text"])
    assert [one.label for one in found] == ["tool read", "tool", "tool"]
    assert [one.content for one in found] == [TOOL, {"name": 1}, "text"]
    (template,) = definitions_in(KINDS[2], [{"uriTemplate": "a://{b}", "name": "x"}])
    assert template == Definition("resource template", "a://{b}", {"uriTemplate": "a://{b}", "name": "x"})


def test_members_that_depend_on_the_era_of_the_client_are_removed():
    around = {"type": "object", "properties": {"result": {"type": "string"}}, "required": ["result"]}
    tool = {
        "name": "a",
        "execution": {"taskSupport": "optional"},
        "inputSchema": {"anyOf": [{"properties": {"b": {"x-mcp-header": "C", "type": "string", "z": 1}}}]},
    }
    expected = {"name": "a", "inputSchema": {"anyOf": [{"properties": {"b": {"type": "string", "z": 1}}}]}}
    for output in ({"type": "string"}, {"type": "array"}, around, {**around, "$schema": "s"}, None, []):
        assert of_any_era({**tool, "outputSchema": output}) == expected
    assert of_any_era(tool) == expected


@pytest.mark.parametrize(
    "output",
    [
        {"type": "object"},
        {"type": "object", "properties": [], "required": ["result"]},
        {"type": "object", "properties": {"result": {}, "more": {}}, "required": ["result"]},
        {"type": "object", "properties": {"result": {}}, "required": ["result"], "title": "x"},
    ],
)
def test_an_output_schema_of_an_object_stays(output):
    assert of_any_era({"outputSchema": output}) == {"outputSchema": output}


@pytest.mark.parametrize(
    ("around", "depth", "is_removed"),
    [
        (lambda value: {"a": value}, 198, True),
        (lambda value: [value], 198, True),
        (lambda value: {"a": value}, 201, False),
        (lambda value: [value], 201, False),
    ],
)
def test_header_annotations_are_removed_to_a_depth_of_200(around, depth, is_removed):
    schema: object = {"x-mcp-header": "A"}
    plain: object = {}
    for _ in range(depth):
        schema, plain = around(schema), around(plain)
    expected = plain if is_removed else schema
    assert of_any_era({"inputSchema": schema}) == {"inputSchema": expected}


def test_no_object_and_a_deep_schema_stay():
    assert of_any_era("text") == "text"
    value: object = "end"
    for _ in range(300):
        value = [value]
    assert of_any_era({"inputSchema": value}) == {"inputSchema": value}
