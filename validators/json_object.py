"""The members of a JSON object as raw text: read, changed and put together again without looking into their values.

Of a repeated member the last one counts, as in every JSON parser; what is written has each member once.
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
# What a decoder raises for a text: of another shape, not UTF-8, or nested deeper than the stack allows.
UNREADABLE: Final = (ValueError, RecursionError)
# From this size (bytes) on it matters how often a text is decoded: a MiB takes up to three milliseconds.
LARGE: Final = 1024 * 1024
# See `has_room` (bytes): at most some 60,000 members. A text with fewer colons is not looked into.
MOST_UNNAMED: Final = 512 * 1024
_MOST_COLONS: Final = 60_000
TOO_MANY: Final = f"members that the specification does not name have more than {MOST_UNNAMED} bytes together"
# See `is_small` (bytes, and commas and colons).
_SMALL: Final = 64 * 1024
_MOST_VALUES: Final = 16 * 1024
TOO_LARGE: Final = f"has more than {_SMALL} bytes and more than {_MOST_VALUES} values"
# An array that a rule looks into item by item has no more.
MOST_ITEMS: Final = 4096


class _Memory:
    """The large object that was read or written last."""

    def __init__(self) -> None:
        self.users = 0
        self.text: bytes | msgspec.Raw | None = None
        self.members: Members = {}

    def keep(self, text: bytes | msgspec.Raw, members: Members) -> None:
        if len(memoryview(text)) > LARGE:
            self.text, self.members = text, dict(members)

    def forget(self) -> None:
        self.text, self.members = None, {}


_memory: Final = _Memory()


@contextmanager
def decoded_once() -> Generator[None]:
    """Within this, do not decode a large object again that was read or written just before.

    What several rules read and change one after the other is so decoded once, not once for each rule.
    """
    _memory.users += 1
    try:
        yield
    finally:
        _memory.users -= 1
        if not _memory.users:
            _memory.forget()


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
    """The members of an object; of nothing at all, none.

    Raises Rejection -32600 for JSON that is not an object.
    """
    if not text:
        return {}
    try:
        return _read(text)
    except UNREADABLE:
        raise invalid("not a JSON object") from None


def peek(text: bytes | msgspec.Raw | None) -> Members:
    """As `read`, but what is absent or no object has no members."""
    if not text:
        return {}
    try:
        return _read(text)
    except UNREADABLE:
        return {}


def is_object(text: bytes | msgspec.Raw) -> bool:
    """Return whether a value is an object."""
    return bytes(memoryview(text)[:1]) == b"{"


def write(members: Mapping[str, object]) -> bytes:
    """An object on one line. Values that are msgspec.Raw are spliced in as they are."""
    if not _memory.users or set(map(type, members.values())) != {msgspec.Raw}:
        return _encode(members)
    values = cast("Members", members)
    if sum(len(memoryview(value)) for value in values.values()) <= LARGE:
        return _encode(members)
    # The encoder takes half as much memory again while it writes.
    pieces = [piece for name, value in values.items() for piece in (b",", _encode(name), b":", value)]
    pieces[0] = b"{"
    written = b"".join((*pieces, b"}"))
    _memory.keep(written, values)
    return written


# Members of params and results that the specification names, in all revisions and in both directions. None of them is
# repeated in numbers.
_NAMED: Final = (
    *(
        "_meta",
        "argument",
        "arguments",
        "cacheScope",
        "capabilities",
        "clientInfo",
        "completion",
        "content",
        "contents",
    ),
    *(
        "context",
        "cursor",
        "description",
        "inputRequests",
        "inputResponses",
        "instructions",
        "isError",
        "level",
    ),
    *("messages", "name", "nextCursor", "notifications", "prompts", "protocolVersion", "ref", "requestState"),
    *("resourceTemplates", "resources", "resultType", "serverInfo", "structuredContent", "supportedVersions"),
    *("task", "taskId", "tools", "ttlMs", "uri"),
    *("data", "elicitationId", "includeContext", "logger", "maxTokens", "message", "metadata", "mode"),
    *("modelPreferences", "progress", "progressToken", "reason", "requestId", "requestedSchema", "roots"),
    *("stopSequences", "systemPrompt", "temperature", "toolChoice", "total", "url"),
)
_decode_named: Final = msgspec.json.Decoder(
    msgspec.defstruct("Named", [(name, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for name in _NAMED])
).decode


def has_room(text: bytes | msgspec.Raw) -> bool:
    """Return whether the members of params or of a result can be read one by one in a short time.

    Each member costs an object of Python, so those that the specification does not name, and those of `_meta`, may
    have `MOST_UNNAMED` bytes together. What is no object has room: reading it fails at once.
    """
    size = len(memoryview(text))
    if size <= MOST_UNNAMED or bytes(text).count(b":") <= _MOST_COLONS:
        return True
    try:
        named = lone_surrogates.decoded(_decode_named, text)
    except UNREADABLE:
        return True
    found = {name: getattr(named, name) for name in _NAMED}
    sizes = {name: len(memoryview(one)) for name, one in found.items() if one is not msgspec.UNSET}
    return size - sum(sizes.values()) + sizes.get("_meta", 0) <= MOST_UNNAMED


def is_small(text: bytes | msgspec.Raw) -> bool:
    """Return whether all values of a text can be read one by one in a short time, at any depth.

    So is what a client declares of itself, with each request or once. A long text of few values, such as an icon, is small.
    """
    if len(memoryview(text)) <= _SMALL:
        return True
    whole = bytes(text)
    return whole.count(b",") + whole.count(b":") <= _MOST_VALUES


def text(value: str) -> bytes:
    """A string as JSON text."""
    return _encode(value)


def string(value: bytes | msgspec.Raw | None) -> str:
    """A string out of its JSON text, with U+FFFD for a lone surrogate; of anything else, nothing."""
    if value is None:
        return ""
    try:
        return lone_surrogates.decoded(_decode_string, value)
    except UNREADABLE:
        return ""


def number(value: bytes | msgspec.Raw | None) -> float | None:
    """Return a number out of its JSON text; None for anything else."""
    if value is None:
        return None
    try:
        return _decode_number(value)
    except msgspec.DecodeError:
        return None


def items(value: bytes | msgspec.Raw | None) -> list[msgspec.Raw]:
    """The items of an array; of anything else, and of one with more than `MOST_ITEMS`, none."""
    return items_up_to(MOST_ITEMS, value) or []


def items_up_to(most: int, value: bytes | msgspec.Raw | None) -> list[msgspec.Raw] | None:
    """The items of an array, and of anything else none; None where there are more than `most`."""
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
    # An object of Python for each of millions of items would take half a gigabyte. The fields of this struct are the first
    # items and one more; the decoder skips all others.
    fields = [(f"i{n}", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for n in range(most + 1)]
    return msgspec.json.Decoder(msgspec.defstruct("Items", fields, array_like=True))


def raw(text: bytes) -> msgspec.Raw:
    """JSON text as a value of members."""
    return msgspec.Raw(text)
