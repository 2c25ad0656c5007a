r"""Read JSON texts with lone surrogates (`"cut \ud83d"`): RFC 8259 section 8.2 allows them, the decoder refuses them.

The decoder reads a copy of the same length with U+FFFD in the place of each of them. What is passed on is the text itself.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from .partial_object import walk

Found = TypeVar("Found")

# A text has at most so many lone surrogates, and so many escapes that may be surrogates: to look at each takes 100 ns.
MOST: Final = 64 * 1024
_MOST_ESCAPES: Final = 512 * 1024
# Bytes outside of the values that the decoder has found, such as names and repeated members: a slow parser reads them.
_OUTSIDE: Final = 1024 * 1024
_LOW: Final = rb"[dD][c-fC-F][0-9a-fA-F][0-9a-fA-F]"
_HIGH: Final = rb"[dD][89abAB][0-9a-fA-F][0-9a-fA-F]"
_LONE: Final = re.compile(
    rb"\\u(?:" + _HIGH + rb"(?!\\u" + _LOW + rb")|" + _LOW + rb"(?<!\\u" + _HIGH + rb"\\u....))"
)
_REPLACEMENT: Final = rb"\\ufffd"
# In the place of an escaped backslash, while escapes are looked for. No JSON text has these bytes.
_MASK: Final = b"\x01\x02"
_BACKSLASHES: Final = b"\\\\"
_MARKS: Final = (b"\\ud", b"\\uD")
_BACKSLASH: Final = b"\\"
# From so many bytes between the first and the last backslash on, the escapes of surrogates are looked for.
_WORTH_NARROWING: Final = 64 * 1024
# The length of an escape, and how far before the first one its backslashes are counted (bytes).
_LENGTH: Final = 6
_NEAR: Final = 1024


def readable(text: bytes) -> bytes | None:
    """Return a copy of a JSON text without lone surrogates; None where it has none, or too many to look at."""
    # A single byte is found many times as fast as two.
    first, last = text.find(_BACKSLASH), text.rfind(_BACKSLASH)
    if last - first > _WORTH_NARROWING:
        first, last = _marks(text)
    if first < 0:
        return None
    start, end = _with_backslashes(text, first), last + _LENGTH
    found = _replaced(text[start:end])
    return None if found is None else b"".join((text[:start], found, text[end:]))


def _marks(text: bytes) -> tuple[int, int]:
    """Return where the first and the last escape are that may be surrogates, -1 where there is none."""
    marks = [mark for mark in _MARKS if mark in text]
    return min(map(text.find, marks), default=-1), max(map(text.rfind, marks), default=-1)


def _with_backslashes(text: bytes, at: int) -> int:
    """Return where the backslashes before a place begin, or 0 where they are many."""
    before = text[max(0, at - _NEAR) : at]
    run = len(before) - len(before.rstrip(b"\\"))
    return 0 if run == _NEAR else at - run


def _replaced(text: bytes) -> bytes | None:
    if len(text) > _MOST_ESCAPES and sum(map(text.count, _MARKS)) > _MOST_ESCAPES:
        return None
    masks = _BACKSLASHES in text
    if masks:
        if _MASK in text:
            return None
        text = text.replace(_BACKSLASHES, _MASK)
    found, count = _LONE.subn(_REPLACEMENT, text, MOST + 1)
    if not 0 < count <= MOST:
        return None
    return found.replace(_MASK, _BACKSLASHES) if masks else found


def decoded(decode: Callable[[bytes | msgspec.Raw], Found], text: bytes | msgspec.Raw) -> Found:
    """Decode a text; where it has lone surrogates, its readable copy. Raises what the decoder raises."""
    try:
        return decode(text)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return decode(_copy(bytes(text)))


def members(
    text: bytes | msgspec.Raw, decode: Callable[[bytes | msgspec.Raw], dict[str, msgspec.Raw]]
) -> dict[str, msgspec.Raw]:
    """Decode the members of an object; the values of one with lone surrogates are those of the text itself.

    A lone surrogate in a name becomes U+FFFD. Raises what the decoder raises, and ValueError.
    """
    try:
        return decode(text)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        text = bytes(text)
        copy = _copy(text)
        found = decode(copy)
        at = places(copy, {name: bytes(value) for name, value in found.items()})
        return {name: msgspec.Raw(text[at[name]]) for name in found}


def items(
    text: bytes | msgspec.Raw, decode: Callable[[bytes | msgspec.Raw], Iterable[object]]
) -> list[msgspec.Raw]:
    """Decode the items of an array; those of one with lone surrogates are those of the text itself.

    The decoder may leave out items at the end, and what is no raw text is left out. Raises what the decoder raises, and ValueError.
    """
    try:
        return [item for item in decode(text) if isinstance(item, msgspec.Raw)]
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        text = bytes(text)
        copy = _copy(text)
        found: list[msgspec.Raw] = []
        at = copy.index(b"[") + 1
        for value in (bytes(item) for item in decode(copy) if isinstance(item, msgspec.Raw)):
            at = copy.index(value[:1], at)  # between two items are white space and a comma only
            found.append(msgspec.Raw(text[at : at + len(value)]))
            at += len(value)
        return found


def _copy(text: bytes) -> bytes:
    copy = readable(text)
    if copy is None:
        raise ValueError("not JSON")
    return copy


def places(copy: bytes, values: Mapping[str, bytes]) -> dict[str, slice]:
    """Return where the value of each member of an object stands, of a repeated member the last one.

    `values` are those that the decoder has found. Raises ValueError where too much of the text is outside of them.
    """
    if len(copy) - sum(map(len, values.values())) > _OUTSIDE:
        raise ValueError
    found = {name: slice(begin, end) for name, begin, end in walk(copy, values)}
    if any(one.stop < 0 for one in found.values()):
        raise ValueError
    return found
