"""Find the readable members of the outermost object of a text that the decoder refuses.

A message that is truncated, or contains NaN, often has a readable id, and shows whether it is a request. Values are raw text.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

# The part of the beginning and of the end that is read (bytes), because the parser is slow.
_HEAD: Final = 64 * 1024
_TAIL: Final = 1024
# A member of a JSON-RPC message whose value is a string or a number.
SMALL_MEMBER: Final = rb'"(?:jsonrpc|method|id)"\s*:\s*(?:"(?:[^"\\]|\\.)*+"|-?[0-9][0-9.eE+-]*)'
# The small members after the last large member, followed by the last brace.
_LAST: Final = re.compile(rb",\s*(" + SMALL_MEMBER + rb"(?:\s*,\s*" + SMALL_MEMBER + rb")*\s*\})\s*\Z")

_SPACE: Final = re.compile(r"[ \t\r\n]*+")
_scan: Final = json.JSONDecoder(parse_int=len, parse_float=len).raw_decode
_NOTHING: Final[Mapping[str, bytes]] = {}


class Outline(NamedTuple):
    """The members of an object by name; an unreadable value is empty. `whole` is true if the closing brace was found."""

    members: dict[str, bytes]
    whole: bool


def outline(text: bytes) -> Outline:
    """Return the outermost members in the first 64 KiB of an object, and the small members at its end."""
    head = text[:_HEAD]
    found: dict[str, bytes] = {}
    end = 0
    for name, begin, end in walk(head):
        found[name] = head[begin:end] if end >= 0 else b""
    if found and end >= 0:
        return Outline(found, head[end:].lstrip(b" \t\r\n").startswith(b"}"))
    last = _LAST.search(text[-_TAIL:]) if found else None
    if last is not None:
        tail = b"{" + last[1]
        found = {**{name: tail[begin:end] for name, begin, end in walk(tail) if end >= 0}, **found}
    return Outline(found, whole=False)


def walk(text: bytes, known: Mapping[str, bytes] = _NOTHING) -> Iterator[tuple[str, int, int]]:
    """Yield the name of each member of an object, and the begin and the end of its value.

    `known` are values that were read before. An unreadable value ends at -1, and is the last.
    """
    # One character for each byte keeps positions equal.
    head = text.decode("latin-1")
    at = _after_space(head, 0)
    if not head.startswith("{", at):
        return
    at = _after_space(head, at + 1)
    while head.startswith('"', at):
        named = _name(text, head, at)
        if named is None:
            return
        name, begin = named
        end = _end(text, head, begin, known.get(name, b""))
        yield name, begin, end
        if end < 0:
            return
        at = _after_space(head, end)
        if head[at] == "}":
            return
        at = _after_space(head, at + 1)


def _name(text: bytes, head: str, at: int) -> tuple[str, int] | None:
    """Return a name and the begin of its value, or None if one of them is unreadable."""
    try:
        name, end = _scan(head, at)
        if not text[at:end].isascii():
            name = json.loads(text[at:end])
    except ValueError:
        # Not JSON, or not UTF-8.
        return None
    at = _after_space(head, end)
    return (name, _after_space(head, at + 1)) if head.startswith(":", at) else None


def _end(text: bytes, head: str, begin: int, known: bytes) -> int:
    end = begin + len(known)
    if known and text.startswith(known, begin) and _is_followed(head, end):
        return end
    try:
        _, end = _scan(head, begin)
    except (ValueError, RecursionError):
        return -1
    # A number at the end of a truncated text may have more digits.
    return end if _is_followed(head, end) else -1


def _is_followed(head: str, end: int) -> bool:
    return head.startswith((",", "}"), _after_space(head, end))


def _after_space(head: str, at: int) -> int:
    match = _SPACE.match(head, at)
    return at if match is None else match.end()
