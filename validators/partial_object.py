"""Find the members of the outermost object of a text that the decoder refuses, as far as they can be read.

A message that is truncated, or has NaN in it, often still shows its id, and whether it is a request. The values stay raw text.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

# So much of the beginning is read, and so much of the end, in bytes: a slow parser reads it.
_HEAD: Final = 64 * 1024
_TAIL: Final = 1024
_SMALL: Final = rb'"(?:jsonrpc|method|id)"\s*:\s*(?:"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*)'
# The small members after the last large one, which only one brace closes.
_LAST: Final = re.compile(rb",\s*(" + _SMALL + rb"(?:\s*,\s*" + _SMALL + rb")*\s*\})\s*\Z")

_SPACE: Final = re.compile(r"[ \t\r\n]*+")
_scan: Final = json.JSONDecoder(parse_int=len, parse_float=len).raw_decode
_NOTHING: Final[Mapping[str, bytes]] = {}


class Outline(NamedTuple):
    """The members of an object by name; a value that cannot be read is empty. `whole` is True up to the closing brace."""

    members: dict[str, bytes]
    whole: bool


def outline(text: bytes) -> Outline:
    """Return the outermost members of an object, those of its first 64 KiB and the small ones at its end."""
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
    """Yield the name of each member of an object, and where its value begins and ends.

    `known` are values that need not be read once more. A value that cannot be read ends at -1, and is the last one.
    """
    # One character for each byte, so that places are the same.
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
    """Return a name and where its value begins; None where one of them cannot be read."""
    try:
        name, end = _scan(head, at)
        if not text[at:end].isascii():
            name = json.loads(text[at:end])
    except ValueError:  # no JSON, or no UTF-8
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
    # A number at the end of what was received may have more digits.
    return end if _is_followed(head, end) else -1


def _is_followed(head: str, end: int) -> bool:
    return head.startswith((",", "}"), _after_space(head, end))


def _after_space(head: str, at: int) -> int:
    match = _SPACE.match(head, at)
    return at if match is None else match.end()
