"""Read and write the members of a JSON object as raw text, without decoding their values.

The last of repeated members counts, as in most JSON parsers. A written object has each member once.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Final, cast

import msgspec

from . import lone_surrogates
from .jsonrpc import invalid

Members = dict[str, msgspec.Raw]

_decode: Final = msgspec.json.Decoder(Members).decode
_decode_number: Final = msgspec.json.Decoder(float).decode
_decode_string: Final = msgspec.json.Decoder(str).decode
_decode_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode
# Exceptions of a decoder for a text of another shape, not UTF-8, or nested deeper than the stack allows.
UNREADABLE: Final = (ValueError, RecursionError)
# From this size (bytes) on repeated decoding matters, and each step has a turn of its own: a MiB takes up to three
# milliseconds.
LARGE: Final = 256 * 1024
# See `has_room` (bytes): at most some 60,000 members. A text with fewer colons is not looked into.
MOST_UNNAMED: Final = 512 * 1024
_MOST_COLONS: Final = 60_000
TOO_MANY: Final = f"members that the specification does not name have more than {MOST_UNNAMED} bytes together"
# See `is_small` (bytes, and commas and colons).
_SMALL: Final = 64 * 1024
_MOST_VALUES: Final = 16 * 1024
TOO_LARGE: Final = f"has more than {_SMALL} bytes and more than {_MOST_VALUES} values"
# The most items of an array that is read item by item.
MOST_ITEMS: Final = 4096


class _Memory:
    """Remember the large object that was read or written last."""

    def __init__(self) -> None:
        self.users = 0
        self.text: bytes | msgspec.Raw | None = None
        self.members: Members = {}

    def keep(self, text: bytes | msgspec.Raw, members: Members) -> None:
        if len(memoryview(text)) > LARGE:
            self.text, self.members = text, dict(members)

    def clear(self) -> None:
        self.text, self.members = None, {}


_memory: Final = _Memory()


@contextmanager
def decoded_once() -> Generator[None]:
    """Decode a large object only once inside of this context, when it is read again directly after reading or writing it.

    Several rules can read and change the same object one after the other without decoding it for each rule.
    """
    _memory.users += 1
    try:
        yield
    finally:
        _memory.users -= 1
        if not _memory.users:
            _memory.clear()


def _read(text: bytes | msgspec.Raw) -> Members:
    if not _memory.users:
        try:
            return _decode(text)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return lone_surrogates.members(text, _decode)
    if text is _memory.text:
        return dict(_memory.members)
    found = lone_surrogates.members(text, _decode)
    _memory.keep(text, found)
    return found


def read(text: bytes | msgspec.Raw) -> Members:
    """Return the members of an object, and no members of an empty text.

    Raises Rejection -32600 for JSON that is not an object.
    """
    if not text:
        return {}
    try:
        return _read(text)
    except UNREADABLE:
        raise invalid("not a JSON object") from None


def peek(text: bytes | msgspec.Raw | None) -> Members:
    """Return the members of an object as `read` does, and no members of any other value."""
    if not text:
        return {}
    try:
        return _read(text)
    except UNREADABLE:
        return {}


def is_object(text: bytes | msgspec.Raw) -> bool:
    return bytes(memoryview(text)[:1]) == b"{"


def write(members: Mapping[str, object]) -> bytes:
    """Return an object on one line. Values of type msgspec.Raw are inserted unchanged."""
    if not _memory.users or set(map(type, members.values())) != {msgspec.Raw}:
        return _encode(members)
    values = cast("Members", members)
    if sum(len(memoryview(value)) for value in values.values()) <= LARGE:
        return _encode(members)
    # The encoder needs half as much memory again while it writes.
    pieces = [piece for name, value in values.items() for piece in (b",", _encode(name), b":", value)]
    pieces[0] = b"{"
    written = b"".join((*pieces, b"}"))
    _memory.keep(written, values)
    return written


# All members of params and results in the schemas of all MCP revisions, in both directions.
_NAMED_MEMBERS: Final = (
    "_meta argument arguments cacheScope capabilities clientInfo completion content contents context cursor data "
    "description elicitationId includeContext inputRequests inputResponses instructions isError level logger maxTokens "
    "message messages metadata mode modelPreferences name nextCursor notifications progress progressToken prompts "
    "protocolVersion reason ref requestId requestState requestedSchema resourceTemplates resources resultType roots "
    "serverInfo stopSequences structuredContent supportedVersions systemPrompt task taskId temperature toolChoice tools "
    "total ttlMs uri url"
)
_NAMED: Final = tuple(_NAMED_MEMBERS.split())
_decode_named: Final = msgspec.json.Decoder(
    msgspec.defstruct("Named", [(name, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for name in _NAMED])
).decode


def has_room(text: bytes | msgspec.Raw) -> bool:
    """Return whether the members of params or of a result can be read one by one in a short time.

    Each member costs a Python object. Therefore members that the specification does not name, and those of `_meta`, may have
    `MOST_UNNAMED` bytes together. A text that is not an object returns True, because reading it fails at once.
    """
    size = len(memoryview(text))
    if size <= MOST_UNNAMED or bytes(text).count(b":") <= _MOST_COLONS:
        return True
    try:
        named = lone_surrogates.decoded(_decode_named, text)
    except UNREADABLE:
        return True
    found = {name: getattr(named, name) for name in _NAMED}
    sizes = {name: len(memoryview(value)) for name, value in found.items() if value is not msgspec.UNSET}
    return size - sum(sizes.values()) + sizes.get("_meta", 0) <= MOST_UNNAMED


def is_small(text: bytes | msgspec.Raw) -> bool:
    """Return whether all values of a text can be read one by one in a short time, at any depth.

    A long text of few values, such as an icon, is small.
    """
    if len(memoryview(text)) <= _SMALL:
        return True
    whole = bytes(text)
    return whole.count(b",") + whole.count(b":") <= _MOST_VALUES


def text(value: str) -> bytes:
    """Return the JSON text of a string."""
    return _encode(value)


def string(value: bytes | msgspec.Raw | None) -> str:
    """Return the string of a JSON text, with U+FFFD for a lone surrogate, and an empty string for any other value."""
    if value is None:
        return ""
    try:
        return lone_surrogates.decoded(_decode_string, value)
    except UNREADABLE:
        return ""


def number(value: bytes | msgspec.Raw | None) -> float | None:
    """Return the number of a JSON text, and None for any other value."""
    if value is None:
        return None
    try:
        return _decode_number(value)
    except msgspec.DecodeError:
        return None


def items(value: bytes | msgspec.Raw | None) -> list[msgspec.Raw]:
    """Return the items of an array, and no items of any other value or of an array with more than `MOST_ITEMS` items."""
    return items_up_to(MOST_ITEMS, value) or []


def items_up_to(most: int, value: bytes | msgspec.Raw | None) -> list[msgspec.Raw] | None:
    """Return the items of an array, and no items of any other value. Returns None for more than `most` items."""
    if value is None:
        return []
    try:
        if bytes(value).count(b",") < most:
            return lone_surrogates.items(value, _decode_items)
        decoder = _few_items(most)
        found = lone_surrogates.items(value, lambda text: msgspec.structs.astuple(decoder.decode(text)))
    except UNREADABLE:
        return []
    return None if len(found) > most else found


@cache
def _few_items(most: int) -> msgspec.json.Decoder[msgspec.Struct]:
    # A Python object for each of millions of items would take half a gigabyte. The fields of this struct are the first
    # `most` items and one more; the decoder skips all others.
    fields = [(f"i{n}", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for n in range(most + 1)]
    return msgspec.json.Decoder(msgspec.defstruct("Items", fields, array_like=True))


def raw(text: bytes) -> msgspec.Raw:
    """Return JSON text as a value that `write` inserts unchanged."""
    return msgspec.Raw(text)
