r"""Read JSON texts with lone surrogates (`"cut \ud83d"`), which RFC 8259 section 8.2 allows and the decoder refuses.

The decoder reads a copy of the same length with U+FFFD in the place of each lone surrogate. The returned values are parts of
the original text.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from .partial_object import walk

Found = TypeVar("Found")

# The most lone surrogates of a text, and the most escapes that may be surrogates. Examining one takes 100 ns.
MOST_REPLACED: Final = 64 * 1024
_MOST_ESCAPES: Final = 512 * 1024
# The most bytes outside of the values, such as names and repeated members, because a slow parser reads them.
_OUTSIDE: Final = 1024 * 1024
_LOW: Final = rb"[dD][c-fC-F][0-9a-fA-F][0-9a-fA-F]"
_HIGH: Final = rb"[dD][89abAB][0-9a-fA-F][0-9a-fA-F]"
_LONE: Final = re.compile(
    rb"\\u(?:" + _HIGH + rb"(?!\\u" + _LOW + rb")|" + _LOW + rb"(?<!\\u" + _HIGH + rb"\\u....))"
)
_REPLACEMENT: Final = rb"\\ufffd"
# Replaces an escaped backslash during the search for escapes. No JSON text has these bytes.
_MASK: Final = b"\x01\x02"
_BACKSLASHES: Final = b"\\\\"
_MARKS: Final = (b"\\ud", b"\\uD")
_BACKSLASH: Final = b"\\"
# With more bytes than this between the first and the last backslash, the range is narrowed to escapes of surrogates.
_WORTH_NARROWING: Final = 64 * 1024
# The length of an escape, and of the text before the first escape in which backslashes are counted (bytes).
_LENGTH: Final = 6
_NEAR: Final = 1024


def readable(text: bytes) -> bytes | None:
    """Return a copy of a JSON text without lone surrogates, or None for a text with no or too many lone surrogates."""
    # A search for one byte is many times as fast as a search for two.
    first, last = text.find(_BACKSLASH), text.rfind(_BACKSLASH)
    if last - first > _WORTH_NARROWING:
        first, last = _marks(text)
    if first < 0:
        return None
    start, end = _with_backslashes(text, first), last + _LENGTH
    found = _replaced(text[start:end])
    # Views, because the text may be large.
    return None if found is None else b"".join((memoryview(text)[:start], found, memoryview(text)[end:]))


def _marks(text: bytes) -> tuple[int, int]:
    """Return the positions of the first and the last escape that may be a surrogate, or -1."""
    marks = [mark for mark in _MARKS if mark in text]
    return min(map(text.find, marks), default=-1), max(map(text.rfind, marks), default=-1)


def _with_backslashes(text: bytes, at: int) -> int:
    """Return the position of the first of the backslashes before `at`, or 0 for a long row of them."""
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
    found, count = _LONE.subn(_REPLACEMENT, text, MOST_REPLACED + 1)
    if not 0 < count <= MOST_REPLACED:
        return None
    return found.replace(_MASK, _BACKSLASHES) if masks else found


def decoded(decode: Callable[[bytes | msgspec.Raw], Found], text: bytes | msgspec.Raw) -> Found:
    """Decode a text, or its readable copy if it has lone surrogates. Raises the exceptions of the decoder."""
    try:
        return decode(text)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return decode(_copy(bytes(text)))


def members(
    text: bytes | msgspec.Raw, decode: Callable[[bytes | msgspec.Raw], dict[str, msgspec.Raw]]
) -> dict[str, msgspec.Raw]:
    """Decode the members of an object. Values with lone surrogates are parts of the original text.

    A lone surrogate in a name becomes U+FFFD. Raises the exceptions of the decoder, and ValueError.
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
        order = [*found]
        # Frees the copy, to which the values refer.
        del copy, found
        return {name: msgspec.Raw(text[at[name]]) for name in order}


def items(
    text: bytes | msgspec.Raw, decode: Callable[[bytes | msgspec.Raw], Iterable[object]]
) -> list[msgspec.Raw]:
    """Decode the items of an array. Items with lone surrogates are parts of the original text.

    The decoder may omit items at the end. Values that are not raw text are omitted. Raises the exceptions of the decoder, and
    ValueError.
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
            # Between two items are only white space and a comma.
            at = copy.index(value[:1], at)
            found.append(msgspec.Raw(text[at : at + len(value)]))
            at += len(value)
        return found


def _copy(text: bytes) -> bytes:
    copy = readable(text)
    if copy is None:
        raise ValueError("not JSON")
    return copy


def places(copy: bytes, values: Mapping[str, bytes]) -> dict[str, slice]:
    """Return the position of the value of each member of an object. Of a repeated member the last value counts.

    `values` are the decoded values. Raises ValueError if more than `_OUTSIDE` bytes of the text are outside of them.
    """
    if len(copy) - sum(map(len, values.values())) > _OUTSIDE:
        raise ValueError
    found = {name: slice(begin, end) for name, begin, end in walk(copy, values)}
    if any(place.stop < 0 for place in found.values()):
        raise ValueError
    return found
