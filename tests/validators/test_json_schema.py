"""Values against schemas of a peer, and schemas that a peer has made to do harm."""

import json
import socket
import time

import pytest

from mcpbridged.validators import json_schema
from mcpbridged.validators.json_schema import (
    MOST_BYTES,
    MOST_MATCHED,
    MOST_VALUE_BYTES,
    Schema,
    SchemaStore,
    UncheckedValue,
    Violation,
    prepare,
)
from mcpbridged.validators.schema_cost import UnusableSchema

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
OBJECT = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "tags": {"type": "array", "items": {"enum": ["a", "b"]}}},
    "required": ["path"],
    "additionalProperties": False,
}


def encoded(value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def check(schema, value):
    return Schema(encoded(schema)).check(encoded(value))


def unusable(schema, value=b"{}"):
    with pytest.raises(UnusableSchema) as caught:
        check(schema, value)
    return str(caught.value)


def unchecked(schema, value):
    with pytest.raises(UncheckedValue) as caught:
        check(schema, value)
    return str(caught.value)


def test_a_valid_value_has_no_violation():
    prepare()
    assert check(OBJECT, {"path": "/x", "tags": ["a", "b"]}) is None


@pytest.mark.parametrize(
    ("value", "path", "keyword"),
    [
        ({"path": 1}, "/path", "type"),
        ({}, "", "required"),
        ({"path": "x", "more": 1}, "", "additionalProperties"),
        ({"path": "x", "tags": ["a", "c"]}, "/tags/1", "enum"),
        ([], "", "type"),
    ],
)
def test_a_violation_has_its_place_and_its_keyword(value, path, keyword):
    assert check(OBJECT, value) == Violation(path, keyword, path)


def test_the_declared_path_has_no_names_that_the_schema_does_not_have():
    schema = {"properties": {"a": {"additionalProperties": {"items": {"type": "string"}}}}}
    assert check(schema, {"a": {"se/cr~et": [1]}}) == Violation("/a/se~1cr~0et/0", "type", "/a/*/0")


def test_a_long_path_is_cut():
    [path, _, _] = check({"additionalProperties": {"type": "string"}}, {"x" * 1000: 1})
    assert path == "/" + "x" * 255


@pytest.mark.parametrize(("items", "keyword"), [(4095, "maxItems"), (4096, "")])
def test_the_place_of_a_violation_is_named_if_at_most_4096_steps_are_needed(items, keyword):
    assert check({"maxItems": 1}, [1] * items) == Violation("", keyword, "")


def test_false_in_the_place_of_a_schema_names_the_keyword_that_holds_it():
    assert check({"properties": {"a": False}}, {"a": 1}) == Violation("/a", "properties", "/a")


# ---- dialects


def test_the_default_is_2020_12():
    schema = {"prefixItems": [{"type": "string"}]}
    assert check(schema, [1]) == Violation("/0", "type", "/0")
    assert check({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, [1])
    # Draft-07 does not have the keyword.
    assert check({"$schema": DRAFT_7, **schema}, [1]) is None


def test_draft_07_is_read_as_such_if_it_is_named_or_nothing_else_fits():
    schema = {"items": [{"type": "string"}]}
    assert check({"$schema": DRAFT_7, **schema}, [1])
    assert check(schema, [1])
    unusable({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


@pytest.mark.parametrize("dialect", ["http://json-schema.org/draft-04/schema#", "http://127.0.0.1/x", 3])
def test_another_dialect_is_unusable(dialect):
    assert "neither 2020-12 nor draft-07" in unusable({"$schema": dialect})


def test_the_metaschema_is_the_only_other_document():
    schema = {"$ref": "https://json-schema.org/draft/2020-12/schema"}
    assert check(schema, {"type": "object"}) is None
    assert check(schema, {"type": "objekt"})
    assert check({"$schema": DRAFT_7, "properties": {"s": {"$ref": DRAFT_7}}}, {"s": {"type": "objekt"}})


def test_format_is_not_checked():
    assert check({"format": "email"}, "x") is None
    assert check({"$schema": DRAFT_7, "format": "email"}, "x") is None


# ---- schemas that cannot be used


@pytest.mark.parametrize(
    "schema",
    [
        b"[]",
        b"true",
        b"{",
        b'"x"',
        {"type": "objekt"},
        {"required": 3},
        {"$id": "::x"},
        b"\xff",
        b'{"not":' * 400 + b"{}" + b"}" * 400,
        b'{"const":' + b"[" * 2000 + b"]" * 2000 + b"}",
    ],
)
def test_what_is_no_schema_is_unusable(schema):
    assert unusable(schema)


def test_a_schema_is_refused_beyond_its_limit_before_it_is_read():
    assert unusable({"description": "x" * 2**20}) == f"1048595 bytes, and the limit is {MOST_BYTES}"


def test_a_schema_that_is_unusable_is_not_compiled_again(monkeypatch):
    schema = Schema(b"[]")
    with pytest.raises(UnusableSchema):
        schema.check(b"{}")
    monkeypatch.setattr(json_schema, "_Compiled", None)
    with pytest.raises(UnusableSchema, match="no JSON object"):
        schema.check(b"{}")


def test_a_reference_opens_no_connection_and_no_file(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        base = f"http://127.0.0.1:{listener.getsockname()[1]}/x.json"
        for ref in (base, f"{base}#/a", f"file://{tmp_path}/x.json", "x.json"):
            assert unusable({"$ref": ref})
            assert unusable({"$id": base, "properties": {"a": {"$ref": ref}}})
            assert unusable({"$dynamicRef": ref})
        assert unusable({"$schema": base})
        # A name of the document is not loaded either.
        assert check({"$id": base, "type": "object"}, {}) is None
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_the_validator_itself_loads_nothing(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        for ref in (f"http://127.0.0.1:{listener.getsockname()[1]}/x", f"file://{tmp_path}/x.json"):
            with pytest.raises(ValueError, match=ref):
                json_schema._validator({"$ref": ref}, json_schema._2020_12)
        with pytest.raises(BlockingIOError):
            listener.accept()


# ---- regular expressions


@pytest.mark.parametrize("pattern", ["(a+)+$", "^(a|a)*$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*a){20}"])
def test_a_pattern_cannot_backtrack(pattern):
    started = time.thread_time()
    check({"pattern": pattern}, "a" * 30_000 + "!")
    assert time.thread_time() - started < 2


def test_a_pattern_that_the_engine_does_not_support_is_not_checked():
    schema = {"properties": {"a": {"pattern": r"^(?!\.)x", "type": "string"}, "b": {"pattern": "^y"}}}
    assert check(schema, {"a": "z"}) is None
    assert check(schema, {"a": 1}) == Violation("/a", "type", "/a")
    assert check(schema, {"b": "z"}) == Violation("/b", "pattern", "/b")


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {"pattern": r"(a)\1"}},
        {"patternProperties": {"(?=a)": {}}},
        {"not": {"pattern": "(a{1,1000}){1,1000}"}},
    ],
)
def test_an_unsupported_pattern_that_cannot_be_left_out_makes_the_schema_unusable(schema):
    assert "regular expression that is not supported" in unusable(schema)


def test_a_pattern_that_is_no_string_makes_the_schema_unusable():
    assert unusable({"pattern": 3}) == "no JSON Schema: ValidationError"


def test_patterns_are_left_out_for_a_large_value():
    schema = {"pattern": "^a", "type": "string"}
    assert check(schema, "b" * (MOST_MATCHED - 2)) == Violation("", "pattern", "")
    assert check(schema, "b" * MOST_MATCHED) is None
    assert check(schema, [0] * MOST_MATCHED) == Violation()
    for one in ({"not": {"pattern": "^a"}}, {"patternProperties": {"^a": {}}}):
        assert "1 regular expression" in unchecked(one, "b" * MOST_MATCHED)


# ---- values


@pytest.mark.parametrize("value", [b'"\\ud800"', b"1e999", b"[" * 100_000 + b"]" * 100_000, b"1" * 5000])
def test_a_value_that_cannot_be_decoded_is_not_checked(value):
    assert unchecked({"type": "object"}, value) == "it cannot be decoded"


def test_a_large_value_is_not_checked():
    text = unchecked({}, b'"%b"' % (b"x" * MOST_VALUE_BYTES))
    assert text == f"{MOST_VALUE_BYTES + 2} bytes, and the limit is {MOST_VALUE_BYTES}"


def test_a_value_that_would_take_too_long_is_not_checked():
    levels = {f"a{one}": {"anyOf": [{"$ref": f"#/$defs/a{one + 1}"}] * 2} for one in range(40)}
    schema = {"$ref": "#/$defs/a0", "$defs": {**levels, "a40": {"type": "string"}}}
    started = time.thread_time()
    assert "evaluations, and the limit is 2000000" in unchecked(schema, {})
    assert time.thread_time() - started < 2


def test_the_place_is_not_looked_for_in_a_large_value():
    schema = {"additionalProperties": {"type": "string"}}
    value = {f"k{one}": one for one in range(60_000)}
    started = time.thread_time()
    assert check(schema, value) == Violation()
    assert time.thread_time() - started < 0.5


def test_a_large_value_is_checked_within_the_budget_of_the_event_loop():
    rows = [{"id": one, "name": f"n{one}", "tags": ["a", "b"], "ok": True} for one in range(16_000)]
    row = {
        "type": "object",
        "properties": {"id": {"type": "integer"}, "name": {"type": "string"}, "ok": {"type": "boolean"}},
        "required": ["id", "name"],
    }
    schema = Schema(encoded({"properties": {"rows": {"items": row}}}))
    value = encoded({"rows": rows})
    assert len(value) > 900_000
    schema.check(b"{}")
    times = []
    for _ in range(3):
        started = time.thread_time()
        assert schema.check(value) is None
        times.append(time.thread_time() - started)
    assert min(times) < 0.05


def test_equal_schemas_are_compiled_once_and_those_that_nobody_has_are_dropped():
    store = SchemaStore()
    first = store.find(b"{}")
    assert store.find(b"{}") is first
    assert len(store._schemas) == 1
    del first
    assert len(store._schemas) == 0
