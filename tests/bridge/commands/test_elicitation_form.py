"""The form of an elicitation, and the answers of a user."""

import math

import pytest

from mcpbridged.bridge.commands.elicitation_form import BadAnswer, Field, fields_of


def field(**schema):
    [found] = fields_of({"type": "object", "properties": {"x": schema}, "required": ["x"]})
    return found


PICKED = {"type": "string", "enum": ["a", "b"], "enumNames": ["First", "Second"]}
TITLED = {"type": "string", "oneOf": [{"const": "a", "title": "First"}, {"const": "2", "title": "Second"}]}
SEVERAL = {
    "type": "array",
    "minItems": 1,
    "maxItems": 2,
    "items": {"anyOf": TITLED["oneOf"] + [{"const": "c"}]},
}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, " a ", " a "),
        ({"type": "string", "minLength": 1, "maxLength": 3}, "abc", "abc"),
        ({"type": "string", "format": "email"}, "a@b", "a@b"),
        ({"type": "string", "format": "uri"}, "https://a/", "https://a/"),
        ({"type": "string", "format": "date"}, "2026-07-28", "2026-07-28"),
        ({"type": "string", "format": "date-time"}, "2026-07-28T10:00:00Z", "2026-07-28T10:00:00Z"),
        ({"type": "string", "format": "other"}, "x", "x"),
        ({"type": "integer", "minimum": 1, "maximum": 5}, "5", 5),
        ({"type": "integer"}, "5.0", 5),
        ({"type": "integer"}, "9007199254740993", 9007199254740993),
        ({"type": "number", "minimum": -1}, "-0.5", -0.5),
        ({"type": "boolean"}, "Y", True),
        ({"type": "boolean"}, "no", False),
        (PICKED, "b", "b"),
        (PICKED, "second", "b"),
        (PICKED, "1", "a"),
        # A value precedes a number.
        (TITLED, "2", "2"),
        (TITLED, "1", "a"),
        (SEVERAL, "c, 1", ["c", "a"]),
        (SEVERAL, "c,c", ["c"]),
        ({}, "x", "x"),
        ({"type": "object"}, "x", "x"),
    ],
)
def test_an_answer_has_the_type_of_its_field(schema, text, value):
    found = field(**schema).answer(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("schema", "text", "reason"),
    [
        ({"type": "string", "minLength": 2}, "a", "must be at least 2 characters, not 1 characters"),
        ({"type": "string", "minLength": 2, "maxLength": 3}, "abcd", "must be 2 to 3 characters"),
        ({"type": "string", "format": "email"}, "a", "an e-mail address"),
        ({"type": "string", "format": "uri"}, "a b", "a URI"),
        ({"type": "string", "format": "date"}, "tomorrow", "a date"),
        ({"type": "string", "format": "date-time"}, "now", "a date and time"),
        ({"type": "integer"}, "x", "an integer"),
        ({"type": "integer"}, "1.5", "an integer"),
        ({"type": "integer", "maximum": 5}, "6", "must be at most 5, not 6"),
        ({"type": "integer"}, "9" * 5000, "an integer"),
        ({"type": "number"}, "nan", "a number"),
        ({"type": "number"}, "1e999", "a number"),
        ({"type": "boolean"}, "maybe", "yes or no"),
        (PICKED, "3", "a number from 1 to 2"),
        (PICKED, "0", "a number from 1 to 2"),
        (PICKED, "9" * 5000, "a number from 1 to 2"),
        (SEVERAL, "", "must be 1 to 2 choices, not 0"),
        (SEVERAL, "1,2,3", "must be 1 to 2 choices, not 3"),
        (SEVERAL, "x", "a number from 1 to 3"),
    ],
)
def test_an_answer_beyond_the_form_is_refused_with_the_limit(schema, text, reason):
    with pytest.raises(BadAnswer) as caught:
        field(**schema).answer(text)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("schema", "hint"),
    [
        ({"type": "string", "default": "a"}, "string, required, default a"),
        ({"type": "string", "format": "date"}, "string, date, required"),
        ({"type": "integer", "minimum": 1, "maximum": 5}, "integer, 1 to 5, required"),
        ({"type": "string", "minLength": 3, "maxLength": 3}, "string, 3 characters, required"),
        ({"type": "boolean", "default": True}, "yes or no, required, default yes"),
        (
            {**SEVERAL, "default": ["a", "c"]},
            "any of, separated by commas, 1 to 2 choices, required, default a,c",
        ),
        (PICKED, "one of, required"),
    ],
)
def test_the_hint_names_type_limits_and_default(schema, hint):
    assert field(**schema).hint == hint


def test_a_field_that_may_be_left_out_is_optional():
    [found] = fields_of({"properties": {"x": {"type": "string", "title": "T", "description": "D"}}})
    assert found == Field("x", "string", required=False, title="T", description="D")


@pytest.mark.parametrize(
    "schema",
    [None, 5, {}, {"properties": 5}, {"properties": {}, "required": 5}],
)
def test_a_form_without_fields_is_empty(schema):
    assert fields_of(schema) == ()


def test_what_is_not_understood_is_ignored():
    schema = {"type": 5, "title": 5, "minimum": "x", "enum": 7, "oneOf": [5, {"title": "x"}], "format": []}
    assert field(**schema) == Field("x", "string", required=True)
    assert field(type="integer", minimum=True).least == -math.inf
    assert len(fields_of({"properties": {str(at): {} for at in range(1000)}})) == 256
    assert len(field(enum=list(range(5000))).choices) == 1000
