"""Members of objects as raw text."""

import tracemalloc

import msgspec
import pytest

from mcpbridged.validators import members
from mcpbridged.validators.rejection import Rejection


def test_values_are_not_looked_into_and_the_last_of_a_repeated_member_counts():
    found = members.read(b'{"a" : {"x": 1.0e400 } ,"b":1,"b":2}')
    assert members.write(found) == b'{"a":{"x": 1.0e400 },"b":2}'
    assert members.read(b"") == {}


@pytest.mark.parametrize("text", [b"[]", b"1", b"{", b"\xff"])
def test_what_is_no_object_is_refused_or_has_no_members(text):
    with pytest.raises(Rejection):
        members.read(text)
    assert members.peek(text) == {}


def test_nothing_has_nothing():
    assert members.peek(None) == members.peek(b"") == {}
    assert members.items(None) == []
    assert members.items(b"{}") == []
    assert members.string(None) == ""
    assert members.string(b"1") == ""


def test_strings_and_items():
    assert members.string(members.text('a"\u2028')) == 'a"\u2028'
    assert [bytes(item) for item in members.items(b"[1, {}]")] == [b"1", b"{}"]
    assert members.write({"a": members.raw(b"[ ]")}) == b'{"a":[ ]}'


BIG = b'{"a":"' + b"x" * members.LARGE + b'","b":1}'


def counted(monkeypatch):
    """The texts that are decoded from now on."""
    decoded = []
    decode = members._decode

    def counting(text):
        decoded.append(text)
        return decode(text)

    monkeypatch.setattr(members, "_decode", counting)
    return decoded


def test_a_large_object_is_decoded_once_in_a_block(monkeypatch):
    decoded = counted(monkeypatch)
    with members.decoded_once():
        first = members.read(BIG)
        first.pop("a")  # what is done with it changes nothing for the next reader
        with members.decoded_once():
            assert list(members.peek(BIG)) == ["a", "b"]
        assert list(members.read(BIG)) == ["a", "b"]
        assert len(decoded) == 1
    members.read(BIG)
    assert len(decoded) == 2
    assert members._memory.text is None


def test_what_was_just_written_is_not_decoded(monkeypatch):
    decoded = counted(monkeypatch)
    with members.decoded_once():
        found = members.read(BIG)
        found["c"] = members.raw(b"2")
        written = members.write(found)
        found.pop("c")
        assert list(members.read(written)) == ["a", "b", "c"]
        assert len(decoded) == 1
        mixed = members.write({**found, "d": 7})  # not all of it is raw, so it has to be read
        assert list(members.read(mixed)) == ["a", "b", "d"]
        assert len(decoded) == 2


def test_a_large_object_is_written_as_a_small_one_is():
    found = {'a"\u00e9': members.raw(b"1"), "b": members.raw(BIG)}
    written = members.write(found)
    with members.decoded_once():
        assert members.write(found) == written
        tracemalloc.start()
        try:
            members.write(found)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 1.2 * len(BIG)


def test_small_objects_are_not_remembered(monkeypatch):
    decoded = counted(monkeypatch)
    with members.decoded_once():
        for _ in range(2):
            assert members.read(b'{"a":1}') == {"a": members.raw(b"1")}
        members.write({"a": members.raw(b"1")})
    assert len(decoded) == 2


def test_items_are_read_up_to_a_number():
    assert members.items_up_to(3, b"[1,2,3]") == [members.raw(b"%d" % n) for n in (1, 2, 3)]
    assert members.items_up_to(3, b'["a,b,c,d"]') == [members.raw(b'"a,b,c,d"')]
    assert members.items_up_to(3, b"[1,2,3,4]") is None
    assert members.items_up_to(3, b'{"a":[1,2,3,4]}') == []
    assert members.items_up_to(3, b"[[1,2,3,4,5]]") == [members.raw(b"[1,2,3,4,5]")]
    assert members.items_up_to(3, None) == []
    assert members.items(b"[%b1]" % (b"1," * members.MOST_ITEMS)) == []


def test_what_is_nested_deeper_than_the_stack_is_unreadable():
    deep = b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"
    assert members.peek(deep) == {}
    with pytest.raises(Rejection):
        members.read(deep)


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
def test_r04_members_that_no_specification_names_have_a_limit_together(text, room):
    assert members.has_room(text) is room
    assert members.has_room(msgspec.Raw(text)) is room


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
def test_r04_a_text_is_small_where_its_values_are_few(text, small):
    assert members.is_small(text) is small
    assert members.is_small(members.raw(text)) is small
