"""Arguments of a tool from the words of a command line."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.bridge.commands.tool_arguments import BadArgument, ToolArguments, loaded

SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "on": {"type": "boolean"},
        "nothing": {"type": "null"},
        "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "either": {"type": ["integer", "string"]},
        "words": {"type": "array", "items": {"type": "string"}},
        "numbers": {"type": "array", "items": {"type": "integer"}},
        "many": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]},
        "filter": {
            "type": "object",
            "properties": {
                "limit": {"type": "integer"},
                "deep": {"$ref": "#/$defs/deep"},
                "a.b": {"type": "integer"},
            },
        },
        "a.b": {"type": "number"},
        "level": {"enum": ["low", "high", 3, True, None]},
        "fixed": {"const": 7},
        "picked": {"$ref": "#/$defs/colour"},
        "object": {"type": "object", "additionalProperties": {"type": "integer"}},
        "old": {"type": "integer", "nullable": True},
        "file": {"type": "string", "contentEncoding": "base64"},
        "all": {"allOf": [{"type": "integer"}, {"minimum": 1}]},
        "implied": {"properties": {"x": {"type": "integer"}}},
        "list": {"items": {"type": "integer"}},
        "free": {},
        "loop": {"$ref": "#/properties/loop"},
        "lost": {"$ref": "#/nowhere/0/x"},
    },
    "$defs": {
        "colour": {"type": "string", "enum": ["red", "green"]},
        "deep": {"type": "object", "properties": {"x": {"type": "boolean"}}},
    },
}


def read(name):
    files = {
        "-": b'{"text": "stdin"}',
        "f": b"12",
        "j": b'{"x": [1]}',
        "bad": b"\xff",
        "text": "é\n".encode(),
    }
    if name not in files:
        raise FileNotFoundError(2, "No such file or directory", name)
    return files[name]


def arguments(*words, schema=SCHEMA):
    return ToolArguments(schema, read).of(words)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("text=5", "5"),
        ("text=", ""),
        ("text=a=b", "a=b"),
        ("text=null", "null"),
        ("text=@@bob", "@bob"),
        ("text=@text", "é\n"),
        ("count=-7", -7),
        ("count=9007199254740993", 9007199254740993),
        ("count=1e3", 1000),
        ("count=@f", 12),
        ("ratio=5", 5),
        ("ratio=.5", 0.5),
        ("ratio=-1.5e-3", -0.0015),
        ("on=true", True),
        ("on=False", False),
        ("nothing=null", None),
        ("maybe=x", "x"),
        ("maybe=null", None),
        ("either=5", 5),
        ("either=5x", "5x"),
        ("words=a", ["a"]),
        ('words=["a", "b"]', ["a", "b"]),
        ("numbers=5", [5]),
        ("many=a", "a"),
        ("many=[1]", [1]),
        ("a.b=5", 5),
        ("level=high", "high"),
        ("level=3", 3),
        ("level=true", True),
        ("level=null", None),
        ("fixed=7", 7),
        ("picked=red", "red"),
        ('object={"a": 1}', {"a": 1}),
        ("old=null", None),
        ("old=5", 5),
        ("file=@bad", "/w=="),
        ("file=plain", "plain"),
        ("all=5", 5),
        ('implied={"x": 1}', {"x": 1}),
        ("list=5", [5]),
        ("free=5", 5),
        ("free=x", "x"),
        ("free=01x", "01x"),
        ("free=true", True),
        ('free={"a": 1}', {"a": 1}),
        ("loop=5", 5),
        ("lost=x", "x"),
        ("unknown=5", 5),
        ("count:=null", None),
        ("count:=@j", {"x": [1]}),
        ('text:="null"', "null"),
    ],
)
def test_a_value_gets_the_type_of_its_key(word, value):
    [(key, found)] = arguments(word).items()
    assert key == word.partition("=")[0].removesuffix(":")
    assert (found, type(found)) == (value, type(value))


def test_members_of_objects_are_named_with_dots():
    assert arguments("filter.limit=5", "filter.deep.x=true", "filter.a.b=7", "filter.new.y=1") == {
        "filter": {"limit": 5, "deep": {"x": True}, "a.b": 7, "new": {"y": 1}}
    }
    assert arguments("object.any=5") == {"object": {"any": 5}}


def test_words_of_a_list_are_collected():
    assert arguments("numbers=1", "numbers=2", "text=x", "numbers=[3,4]") == {
        "numbers": [1, 2, 3, 4],
        "text": "x",
    }
    # A value in JSON replaces what was given before.
    assert arguments("numbers=1", "numbers:=[5]") == {"numbers": [5]}


def test_later_words_replace_earlier_ones():
    assert arguments('{"text": "a", "count": 1}', "text=b") == {"text": "b", "count": 1}
    assert arguments("text=a", "-") == {"text": "stdin"}
    assert arguments("text=a", "text=b") == {"text": "b"}


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("text", "is not KEY=VALUE"),
        ("=x", "is not KEY=VALUE"),
        ("count=x", "must be an integer; count:=JSON sends any other value"),
        ("count=1.5", "must be an integer"),
        ("count=١", "must be an integer"),
        ("count=1_000", "must be an integer"),
        ("count=" + "9" * 5000, "must be an integer"),
        ("ratio=nan", "must be a number"),
        ("ratio=1e999", "must be a number"),
        ("on=1", "must be true or false"),
        ("nothing=x", "must be null"),
        ("old=x", "must be an integer or null"),
        ("numbers=x", "must be an integer"),
        ("object=x", "must be a JSON object"),
        ("level=x", "must be one of low, high, 3, true, null"),
        ("count:=x", "count:='x': not valid JSON"),
        ("free:=NaN", "NaN is not a JSON number"),
        ('free:="\\ud800"', "not valid JSON"),
        ("free:=" + "[" * 100_000, "not valid JSON"),
        (
            "text=@missing",
            "cannot read missing: No such file or directory; text=@@missing sends the text @missing",
        ),
        ("text=@bad", "not UTF-8"),
        ("text=\udcff", "not valid UTF-8"),
        ("{", "not valid JSON"),
        ("{}x", "not valid JSON"),
        ("filter..x=1", "empty member name"),
        (".x=1", "empty member name"),
    ],
)
def test_a_word_that_is_no_argument_is_refused_with_its_key(word, reason):
    with pytest.raises(BadArgument) as caught:
        arguments(word)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_value_that_is_no_object_has_no_members():
    with pytest.raises(BadArgument, match="filter has a value that is no object"):
        arguments("filter:=5", "filter.limit=1")


@pytest.mark.parametrize(
    "schema", [None, True, [], {"properties": 7}, {"properties": {"a": 7}}, {"anyOf": [{}] * 1000}]
)
def test_a_tool_without_a_usable_schema_gets_json_or_text(schema):
    assert arguments("a=5", "b=x", "c.d=true", schema=schema) == {"a": 5, "b": "x", "c": {"d": True}}


def test_a_schema_that_refers_to_itself_in_many_ways_ends():
    many = {"anyOf": [{"$ref": "#"}] * 200 + [{"anyOf": [{"$ref": "#"}] * 200} for _ in range(200)]}
    assert arguments("a.b.c.d=5", schema=many) == {"a": {"b": {"c": {"d": 5}}}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [("NaN", "not a JSON number"), ("[" * 100_000, "too deeply"), ('"\\ud800"', "half of a surrogate pair")],
)
def test_what_json_does_not_have_is_not_read(text, reason):
    with pytest.raises(ValueError, match=reason):
        loaded(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(JSON)
def test_every_json_value_can_be_sent(value):
    assert arguments(f"count:={json.dumps(value)}") == {"count": json.loads(json.dumps(value))}


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=3), st.integers())
def test_any_word_and_any_schema_give_arguments_or_a_reason(words, seed):
    chosen = random.Random(seed)
    schema = {
        "properties": {
            word.partition("=")[0]: chosen.choice(list(SCHEMA["properties"].values())) for word in words
        }
    }
    try:
        found = arguments(*words, schema=schema)
    except BadArgument:
        return
    json.dumps(found)
