"""Objects of one of several types, without a member that identifies the type."""

from typing import ClassVar

import msgspec
import pytest
from msgspec import UNSET, Raw, Struct, UnsetType

from mcpbridged.validators.message_schemas.shapes import (
    MOST_KEYS,
    MOST_OBJECTS,
    AnyObject,
    AnyOf,
    Integer,
    Key,
    check,
    decoder_of,
)


class Text(Struct):
    uri: str
    text: str


class Blob(Struct):
    uri: str
    blob: str
    size: Integer | UnsetType = UNSET


class Contents(AnyOf):
    any_of: ClassVar[tuple[type[Struct], ...]] = (Text, Blob)
    uri: Raw | UnsetType = UNSET
    text: Raw | UnsetType = UNSET
    blob: Raw | UnsetType = UNSET
    size: Raw | UnsetType = UNSET


@pytest.mark.parametrize(
    "text",
    [
        b'{"uri":"u","text":"t"}',
        b'{"uri":"u","blob":"b"}',
        b'{"uri":"u","blob":"b","size":2.0}',
        b'{"uri":"u","text":"t","blob":5}',
        b'{"uri":"u","text":5,"blob":"b"}',
    ],
)
def test_an_object_of_one_of_the_types_is_decoded(text):
    assert isinstance(decoder_of(Contents)(text), Contents)


@pytest.mark.parametrize(
    "text",
    [b"{}", b'{"uri":"u"}', b'{"text":"t"}', b'{"uri":5,"text":"t"}', b'{"uri":"u","blob":"b","size":2.5}'],
)
def test_an_object_of_none_of_the_types_is_refused_with_its_place(text):
    with pytest.raises(msgspec.ValidationError) as caught:
        decoder_of(list[Contents])(b"[" + text + b"]")
    assert str(caught.value) == "Matches none of `Text`, `Blob` - at `$[0]`"


@pytest.mark.parametrize("text", [b"5", b"[]", b"null"])
def test_a_value_that_is_no_object_is_refused(text):
    with pytest.raises(msgspec.ValidationError, match="Expected `object`"):
        decoder_of(Contents)(text)


def test_other_members_are_not_decoded():
    """Otherwise a message of millions of values would hold the event loop."""
    assert decoder_of(Contents)(b'{"uri":"u","text":"t","x":[1e999]}').text == Raw(b'"t"')


def test_a_text_has_a_limited_number_of_such_objects():
    """Otherwise the smallest ones, 16 MiB of them, would hold the event loop for more than a second."""
    for _ in range(2):
        check(list[Contents], b"[" + b",".join([b'{"uri":"","text":""}'] * MOST_OBJECTS) + b"]")
    with pytest.raises(msgspec.ValidationError, match="More than 16384 objects"):
        check(list[Contents], b"[" + b",".join([b'{"uri":"","text":""}'] * (MOST_OBJECTS + 1)) + b"]")


def test_each_value_of_a_map_is_checked_and_no_key_is_kept():
    assert len(decoder_of(dict[Key, str])(b'{"a":"x","b":"y"}')) == 1
    for text in (b'{"a":1,"b":"y"}', b'{"a":"x","b":1}'):
        with pytest.raises(msgspec.ValidationError) as caught:
            check(dict[Key, str], text)
        assert str(caught.value) == "Expected `str`, got `int` - at `$[...]`"


def test_a_text_has_a_limited_number_of_members_of_maps():
    """Otherwise a map of millions of members would hold the event loop."""
    members = [b'"%d":""' % number for number in range(MOST_KEYS + 1)]
    for _ in range(2):
        check(dict[Key, str], b"{" + b",".join(members[1:]) + b"}")
    with pytest.raises(msgspec.ValidationError, match="More than 131072 members of maps"):
        check(dict[Key, str], b"{" + b",".join(members) + b"}")


def test_any_object_ignores_its_members():
    assert decoder_of(AnyObject)(b'{"a":[1e999]}') == AnyObject()


def test_a_decoder_is_made_once():
    assert decoder_of(Contents) == decoder_of(Contents)
