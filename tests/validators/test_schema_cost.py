"""The bound of the work that a schema can cause, against schemas that are made to be expensive."""

import json
import time

import pytest

from mcpbridged.validators.schema_cost import MOST_PATTERNS, SchemaCost, UnusableSchema

META = "https://json-schema.org/draft/2020-12/schema"


def cost(schema):
    return SchemaCost(schema, META)


def bound(schema, value):
    return cost(schema).bound(json.dumps(value).encode())


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"x": value}
    return value


JSON_VALUE = {
    "$ref": "#/$defs/any",
    "$defs": {
        "any": {
            "anyOf": [
                {"type": ["null", "string", "number", "boolean"]},
                {"type": "array", "items": {"$ref": "#/$defs/any"}},
                {"type": "object", "additionalProperties": {"$ref": "#/$defs/any"}},
            ]
        }
    },
}


def test_an_ordinary_schema_costs_little_for_each_place():
    schema = {
        "type": "object",
        "properties": {f"p{number}": {"type": "string"} for number in range(100)},
        "required": ["p1"],
    }
    # Only one of the properties applies to a member.
    assert bound(schema, {"p1": "x", "p2": "y"}) == 2 * 3


def test_references_that_double_are_counted():
    levels = {f"a{one}": {"allOf": [{"$ref": f"#/$defs/a{one + 1}"}] * 2} for one in range(30)}
    schema = {"$ref": "#/$defs/a0", "$defs": {**levels, "a30": {"type": "object"}}}
    assert bound(schema, {}) > 2**30


def test_a_recursion_that_branches_grows_with_the_depth_of_the_value():
    branch = {"properties": {"x": {"$ref": "#"}}}
    schema = {"anyOf": [branch, {**branch}]}
    assert bound(schema, nested(2)) < 500
    assert bound(schema, nested(40)) > 2**40


def test_a_recursion_that_visits_each_place_once_grows_with_its_size_only():
    assert bound(JSON_VALUE, nested(60)) < 61 * 200 * 9
    assert bound(JSON_VALUE, [1] * 1000) < 1000 * 100


def test_the_number_is_remembered_for_deeper_values():
    found = cost(JSON_VALUE)
    shallow, deep = found.bound(b"[]"), found.bound(json.dumps(nested(300)).encode())
    assert found.bound(b"[]") >= shallow
    assert deep > shallow
    # Deeper than all depths that are tried.
    assert found.bound(b"[" * 1000 + b"]" * 1000) > deep


def test_a_large_schema_is_not_followed_into_the_depth_for_long():
    levels = {f"a{one}": {"properties": {"x": {"$ref": f"#/$defs/a{one + 1}"}}} for one in range(1000)}
    found = cost({"$ref": "#/$defs/a0", "$defs": {**levels, "a1000": {}}})
    started = time.thread_time()
    assert found.bound(json.dumps(nested(60)).encode()) > 2**39
    assert time.thread_time() - started < 2
    assert found.bound(json.dumps(nested(3)).encode()) < 1000


@pytest.mark.parametrize(
    "schema",
    [
        {"items": {"type": "string"}},
        {"prefixItems": [{"type": "string"}], "items": {"type": "string"}},
        {"items": [{"type": "string"}], "additionalItems": {"type": "string"}},
        {"contains": {"type": "string"}},
        {"unevaluatedItems": {"type": "string"}},
        {"patternProperties": {"a": {"type": "string"}}},
        {"propertyNames": {"type": "string"}},
        {"unevaluatedProperties": {"type": "string"}},
        {"additionalProperties": {"type": "string"}},
        {"not": {"type": "string"}},
        {"if": {"type": "string"}},
        {"dependentSchemas": {"a": {"type": "string"}}},
        {"dependencies": {"a": {"type": "string"}, "b": ["c"]}},
        {"uniqueItems": True},
        {"enum": ["x" * 100]},
        {"const": "x" * 100},
        {"required": ["x" * 100]},
        {"dependentRequired": {"a": ["x" * 100]}},
        {"$ref": META},
    ],
)
def test_each_keyword_with_work_counts(schema):
    assert bound(schema, [1]) > bound({}, [1])


def test_keywords_that_look_at_what_others_have_evaluated_count_these_again():
    inner = {"allOf": [{"type": "object"}] * 10}
    assert bound({**inner, "unevaluatedProperties": False}, {}) > 1.5 * bound(inner, {})


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"allOf": [True, False]},
        {"items": True},
        {"properties": 3},
        {"enum": []},
        {"$ref": "#/$defs/a", "$defs": {"a": True}},
    ],
)
def test_what_does_no_work_counts_once(schema):
    assert bound(schema, 1) == 1


@pytest.mark.parametrize(
    "ref", ["#/$defs/a~1b", "#/%24defs/a~1b", "#/allOf/0", "#here", "#/properties/x/items"]
)
def test_a_reference_may_lead_to_any_subschema_of_the_document(ref):
    schema = {
        "properties": {"y": {"$ref": ref}, "x": {"items": {"type": "string"}}},
        "allOf": [{"type": "object"}],
        "$defs": {"a/b": {"type": "string"}, "named": {"$anchor": "here"}},
    }
    assert cost(schema)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"$ref": "http://127.0.0.1/x"}, "another document"),
        ({"$ref": "file:///etc/passwd"}, "another document"),
        ({"$ref": "other.json"}, "another document"),
        ({"$ref": "https://json-schema.org/draft/2019-09/schema"}, "another document"),
        ({"$ref": 3}, "another document"),
        ({"$ref": "#/missing"}, "does not exist"),
        ({"$ref": "#/type/x", "type": "object"}, "does not exist"),
        ({"$ref": "#/allOf/x", "allOf": []}, "does not exist"),
        ({"$ref": "#missing"}, "does not exist"),
        ({"$ref": "#/enum/0", "enum": [{}]}, "holds no schema"),
        ({"$ref": "#"}, "leads to itself"),
        ({"allOf": [{"$ref": "#"}]}, "leads to itself"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}, "leads to itself"),
        ({"$dynamicRef": "#x"}, r"\$dynamicRef is not supported"),
        ({"$recursiveRef": "#"}, r"\$recursiveRef is not supported"),
        ({"properties": {"a": {"$id": "http://x/"}}}, r"\$id is not supported"),
        ({"allOf": [{} for _ in range(2048)]}, "more than 2048 subschemas"),
        (
            {"properties": {str(one): {"pattern": "a"} for one in range(MOST_PATTERNS + 1)}},
            f"65 regular expressions, and the limit is {MOST_PATTERNS}",
        ),
    ],
)
def test_a_schema_that_cannot_be_bounded_is_unusable(schema, reason):
    with pytest.raises(UnusableSchema, match=reason):
        cost(schema)


def test_a_schema_may_have_2048_subschemas_with_itself():
    assert len(cost({"allOf": [{} for _ in range(2047)]}).nodes) == 2048


def test_members_of_these_names_are_no_keywords():
    names = ("$id", "$ref", "$dynamicRef", "$anchor", "pattern", "enum")
    found = cost({"$id": "http://x/", "properties": {name: {"type": "string"} for name in names}})
    assert found.patterns == 0


def test_patterns_are_counted_and_may_be_left_out_where_that_accepts_more():
    found = cost({"pattern": "a", "patternProperties": {"b": {}, "c": {"pattern": "d"}}})
    assert (found.patterns, found.relaxable, found.has_named_patterns) == (4, True, True)
    for key in ("not", "if"):
        assert not cost({key: {"pattern": "a"}}).relaxable
    assert not cost({"oneOf": [{"pattern": "a"}]}).relaxable
    assert not cost({"maxContains": 1, "contains": {"pattern": "a"}}).relaxable
    assert not cost({"pattern": "a"}).has_named_patterns
