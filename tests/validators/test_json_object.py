"""Members of objects as raw text."""

import tracemalloc

import msgspec
import pytest

from mcpbridged.validators import json_object
from mcpbridged.validators.rejection import Rejection


def test_values_are_not_decoded_and_the_last_of_a_repeated_member_counts():
    found = json_object.read(b'{"a" : {"x": 1.0e400 } ,"b":1,"b":2}')
    assert json_object.write(found) == b'{"a":{"x": 1.0e400 },"b":2}'
    assert json_object.read(b"") == {}


@pytest.mark.parametrize("text", [b"[]", b"1", b"{", b"\xff"])
def test_other_values_than_objects_are_refused_or_have_no_members(text):
    with pytest.raises(Rejection):
        json_object.read(text)
    assert json_object.peek(text) == {}


def test_an_empty_text_has_no_members():
    assert json_object.peek(None) == json_object.peek(b"") == {}
    assert json_object.items(None) == []
    assert json_object.items(b"{}") == []
    assert json_object.string(None) == ""
    assert json_object.string(b"1") == ""


def test_strings_and_items():
    assert json_object.string(json_object.text('a"\u2028')) == 'a"\u2028'
    assert [bytes(item) for item in json_object.items(b"[1, {}]")] == [b"1", b"{}"]
    assert json_object.write({"a": json_object.raw(b"[ ]")}) == b'{"a":[ ]}'


BIG = b'{"a":"' + b"x" * json_object.LARGE + b'","b":1}'


def counted(monkeypatch):
    """The texts that are decoded from now on."""
    decoded = []
    decode = json_object._decode

    def counting(text):
        decoded.append(text)
        return decode(text)

    monkeypatch.setattr(json_object, "_decode", counting)
    return decoded


def test_a_large_object_is_decoded_once_in_a_block(monkeypatch):
    decoded = counted(monkeypatch)
    with json_object.decoded_once():
        first = json_object.read(BIG)
        first.pop("a")  # what is done with it changes nothing for the next reader
        with json_object.decoded_once():
            assert list(json_object.peek(BIG)) == ["a", "b"]
        assert list(json_object.read(BIG)) == ["a", "b"]
        assert len(decoded) == 1
    json_object.read(BIG)
    assert len(decoded) == 2
    assert json_object._memory.text is None


def test_an_object_that_was_just_written_is_not_decoded(monkeypatch):
    decoded = counted(monkeypatch)
    with json_object.decoded_once():
        found = json_object.read(BIG)
        found["c"] = json_object.raw(b"2")
        written = json_object.write(found)
        found.pop("c")
        assert list(json_object.read(written)) == ["a", "b", "c"]
        assert len(decoded) == 1
        mixed = json_object.write({**found, "d": 7})  # not all of it is raw, so it has to be read
        assert list(json_object.read(mixed)) == ["a", "b", "d"]
        assert len(decoded) == 2


def test_a_large_object_is_written_as_a_small_one_is():
    found = {'a"\u00e9': json_object.raw(b"1"), "b": json_object.raw(BIG)}
    written = json_object.write(found)
    with json_object.decoded_once():
        assert json_object.write(found) == written
        tracemalloc.start()
        try:
            json_object.write(found)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 1.2 * len(BIG)


def test_small_objects_are_not_stored(monkeypatch):
    decoded = counted(monkeypatch)
    with json_object.decoded_once():
        for _ in range(2):
            assert json_object.read(b'{"a":1}') == {"a": json_object.raw(b"1")}
        json_object.write({"a": json_object.raw(b"1")})
    assert len(decoded) == 2


def test_items_are_read_up_to_a_number():
    assert json_object.items_up_to(3, b"[1,2,3]") == [json_object.raw(b"%d" % n) for n in (1, 2, 3)]
    assert json_object.items_up_to(3, b'["a,b,c,d"]') == [json_object.raw(b'"a,b,c,d"')]
    assert json_object.items_up_to(3, b"[1,2,3,4]") is None
    assert json_object.items_up_to(3, b'{"a":[1,2,3,4]}') == []
    assert json_object.items_up_to(3, b"[[1,2,3,4,5]]") == [json_object.raw(b"[1,2,3,4,5]")]
    assert json_object.items_up_to(3, None) == []
    assert json_object.items(b"[%b1]" % (b"1," * json_object.MOST_ITEMS)) == []


def test_a_text_nested_deeper_than_the_stack_is_unreadable():
    deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert json_object.peek(deep) == {}
    with pytest.raises(Rejection):
        json_object.read(deep)


MANY = b",".join(b'"k%d":0' % number for number in range(100_000))


@pytest.mark.parametrize(
    ("text", "room"),
    [
        (b"", True),
        (b'{"a":1}', True),
        (b'{"arguments":{%b}}' % MANY, True),
        (b'{"structuredContent":{%b},"content":[]}' % MANY, True),
        (b"[%b" % MANY, True),
        (b"{%b}" % MANY, False),
        (b'{"arguments":{},%b}' % MANY, False),
        (b'{"_meta":{%b}}' % MANY, False),
    ],
)
def test_members_that_the_specification_does_not_name_have_a_limit_together(text, room):
    assert json_object.has_room(text) is room
    assert json_object.has_room(msgspec.Raw(text)) is room


@pytest.mark.parametrize(
    ("text", "small"),
    [
        (b"{}", True),
        (b'{"a":"%b"}' % (b"x" * 100_000), True),
        (b"[%b1]" % (b"1," * 16_383), True),
        (b"[%b1]" % (b"1," * 40_000), False),
        (b"{%b}" % b",".join(b'"m%d":1' % n for n in range(9000)), False),
    ],
)
def test_a_text_of_few_values_is_small(text, small):
    assert json_object.is_small(text) is small
    assert json_object.is_small(json_object.raw(text)) is small
