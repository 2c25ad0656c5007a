"""The members of a JSON object as raw text: read, changed and put together again without looking into their values.

Of a repeated member the last one counts, as in every JSON parser; what is written has each member once.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from .envelope import invalid

Members = dict[str, msgspec.Raw]

_decode: Final = msgspec.json.Decoder(Members).decode
_decode_string: Final = msgspec.json.Decoder(str).decode
_decode_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


def read(text: bytes | msgspec.Raw) -> Members:
    """The members of an object; of nothing at all, none.

    Raises Rejection -32600 for JSON that is not an object.
    """
    if not text:
        return {}
    try:
        return _decode(text)
    except msgspec.DecodeError:
        raise invalid("not a JSON object") from None


def peek(text: bytes | msgspec.Raw | None) -> Members:
    """As `read`, but what is absent or no object has no members."""
    if not text:
        return {}
    try:
        return _decode(text)
    except msgspec.DecodeError:
        return {}


def write(members: Mapping[str, object]) -> bytes:
    """An object on one line. Values that are msgspec.Raw are spliced in as they are."""
    return _encode(members)


def text(value: str) -> bytes:
    """A string as JSON text."""
    return _encode(value)


def string(value: bytes | msgspec.Raw | None) -> str:
    """A string out of its JSON text; of anything else, nothing."""
    if value is None:
        return ""
    try:
        return _decode_string(value)
    except msgspec.DecodeError:
        return ""


def items(value: bytes | msgspec.Raw | None) -> list[msgspec.Raw]:
    """The items of an array; of anything else, none."""
    if value is None:
        return []
    try:
        return _decode_items(value)
    except msgspec.DecodeError:
        return []


def raw(text: bytes) -> msgspec.Raw:
    """JSON text as a value of members."""
    return msgspec.Raw(text)
