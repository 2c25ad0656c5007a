"""Members of objects as raw text."""

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
