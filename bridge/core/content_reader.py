"""Find the parts of a message that have a meaning of their own, and the meaning of the strings at known places. Pure.

A message is read once for each level of its shape. Long messages with many levels, and those with very many values, are not
examined.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from ...validators import json_object
from ...validators.partial_object import walk
from .content_shapes import Items, Leaf, Shape, member_shape, pointer
from .hidden_json import HiddenString

# Of one message: objects, arrays and parts that are read, levels, and bytes that are read again for each level.
_MOST_VALUES: Final = 32 * 1024
_DEEPEST: Final = 32
_FREE_BYTES: Final = 4 * 1024 * 1024
_MOST_PASSES: Final = 8
# Bytes outside of the values of an object, which a slow parser reads.
_OUTSIDE: Final = 1024 * 1024


class TooLarge(Exception):
    """A message is too large to be examined. The argument is the JSON pointer of the value that exceeds a limit."""


class Part(NamedTuple):
    """A value of a message. `path` is its JSON pointer, with members of the specification and indexes only."""

    path: str
    leaf: Leaf
    text: bytes | msgspec.Raw


class Place(NamedTuple):
    """A string with hidden characters, and where it is. `leaf` is None for the name of a member."""

    path: str
    leaf: Leaf | None
    string: HiddenString


class ContentReader:
    """Read one message. Raises TooLarge."""

    def __init__(self, size: int) -> None:
        # What may still be read.
        self._values = _MOST_VALUES
        self._bytes = _FREE_BYTES + _MOST_PASSES * size

    def parts(self, shape: Shape, text: bytes | msgspec.Raw) -> list[Part]:
        """Return the values that are no texts."""
        found: list[Part] = []
        self._read(shape, text, "", 0, found)
        return found

    def places(self, shape: Shape, text: bytes, strings: Sequence[HiddenString]) -> list[Place]:
        """Return the places of strings of a text."""
        found: list[Place] = []
        self._locate(shape, text, (0, strings), "", 0, found)
        return found

    def _read(
        self, shape: Shape, text: bytes | msgspec.Raw, path: str, depth: int, found: list[Part]
    ) -> None:
        self._count(text, path, depth)
        if isinstance(shape, Leaf):
            found.append(Part(path, shape, text))
            return
        begin = bytes(memoryview(text)[:1])
        if isinstance(shape, Items) and begin == b"[":
            for index, item in enumerate(_items(text, path)):
                self._read(shape.shape, item, f"{path}/{index}", depth + 1, found)
        elif begin == b"{":
            members = _members(text, path)
            for index, (name, value) in enumerate(members.items()):
                below = member_shape(shape, members, name)
                if below is not Leaf.TEXT:
                    self._read(below, value, f"{path}/{pointer(shape, name, index)}", depth + 1, found)

    def _locate(
        self,
        shape: Shape,
        text: bytes,
        strings: tuple[int, Sequence[HiddenString]],
        path: str,
        depth: int,
        found: list[Place],
    ) -> None:
        """Add the places of `strings`, whose positions count from the position of this text: the first of the pair."""
        offset, inside = strings
        if not inside:
            return
        self._count(text, path, depth)
        if isinstance(shape, Leaf):
            found += [Place(path, None if one.is_name else shape, one) for one in inside]
        elif isinstance(shape, Items) and text.startswith(b"["):
            for index, (begin, end) in enumerate(_places_of_items(text, path)):
                some = _between(inside, offset + begin, offset + end)
                self._locate(
                    shape.shape, text[begin:end], (offset + begin, some), f"{path}/{index}", depth + 1, found
                )
        elif text.startswith(b"{"):
            self._locate_in_members(shape, text, strings, path, depth, found)
        else:
            # A value of another type than that of the specification.
            found += [Place(path, None if one.is_name else Leaf.TEXT, one) for one in inside]

    def _locate_in_members(
        self,
        shape: Shape,
        text: bytes,
        strings: tuple[int, Sequence[HiddenString]],
        path: str,
        depth: int,
        found: list[Place],
    ) -> None:
        offset, inside = strings
        members = _members(text, path)
        values = {name: bytes(value) for name, value in members.items()}
        if len(text) - sum(map(len, values.values())) > _OUTSIDE:
            raise TooLarge(path)
        last = 0
        for index, (name, begin, end) in enumerate(walk(text, values)):
            # The place of an item of a repeated list is not certain.
            if end < 0 or index == len(members):
                raise TooLarge(path)
            found += [Place(path, None, one) for one in _between(inside, offset + last, offset + begin)]
            some = _between(inside, offset + begin, offset + end)
            below = member_shape(shape, members, name)
            self._locate(
                below,
                text[begin:end],
                (offset + begin, some),
                f"{path}/{pointer(shape, name, index)}",
                depth + 1,
                found,
            )
            last = end

    def _count(self, text: bytes | msgspec.Raw, path: str, depth: int) -> None:
        self._values -= 1
        self._bytes -= len(memoryview(text))
        if self._values < 0 or self._bytes < 0 or depth > _DEEPEST:
            raise TooLarge(path)


def item_places(text: bytes, path: str) -> list[tuple[int, int]]:
    """Return the begin and the end of each item of an array. Raises TooLarge."""
    return _places_of_items(text, path)


def _places_of_items(text: bytes, path: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    at = 1
    for item in map(bytes, _items(text, path)):
        # Between two items are only white space and a comma.
        begin = text.index(item[:1], at)
        at = begin + len(item)
        found.append((begin, at))
    return found


def _between(strings: Sequence[HiddenString], begin: int, end: int) -> list[HiddenString]:
    return [one for one in strings if begin <= one.begin < end]


def _members(text: bytes | msgspec.Raw, path: str) -> json_object.Members:
    if not json_object.has_room(text):
        raise TooLarge(path)
    return json_object.peek(text)


def _items(text: bytes | msgspec.Raw, path: str) -> list[msgspec.Raw]:
    items = json_object.items_up_to(json_object.MOST_ITEMS, text)
    if items is None:
        raise TooLarge(path)
    return items
