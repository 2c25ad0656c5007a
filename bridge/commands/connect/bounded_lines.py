"""Collect lines and messages up to a limit, and keep the edges of a larger message for its error response. Pure."""

import re
from typing import Final, NamedTuple

from ....validators.partial_object import SMALL_MEMBER

# How much of the beginning and of the end of a large message is kept (bytes).
_EDGE: Final = 1024
_ID: Final = rb'"(?:[^"\\]|\\.){0,256}"|-?[0-9][0-9.eE+-]{0,255}'
# The small members before the first large member, and those after the last large member, which only one brace closes.
_HEAD: Final = re.compile(rb"\A\s*\{\s*((?:" + SMALL_MEMBER + rb'\s*,\s*)*)"(\w+)"\s*:')
_TAIL: Final = re.compile(rb",\s*(" + SMALL_MEMBER + rb"(?:\s*,\s*" + SMALL_MEMBER + rb")*)\s*\}\s*\Z")
_ID_MEMBER: Final = re.compile(rb'"id"\s*:\s*(' + _ID + rb")")


class Oversize(NamedTuple):
    """A message over the limit: its size so far (bytes), and its first and last bytes."""

    size: int
    head: bytes
    tail: bytes

    @property
    def id(self) -> bytes:
        """Return the id as raw JSON text if it stands before or after the large members, else empty."""
        found = (_ID_MEMBER.search(members) for members in (self._first[0], self._last))
        return next((match[1] for match in found if match), b"")

    @property
    def is_response(self) -> bool:
        """Return whether it is a response, by its first large member."""
        return self._first[1] in (b"result", b"error")

    @property
    def _first(self) -> tuple[bytes, bytes]:
        match = _HEAD.match(self.head)
        return (match[1], match[2]) if match else (b"", b"")

    @property
    def _last(self) -> bytes:
        match = _TAIL.search(self.tail)
        return match[1] if match else b""


class Collector:
    """Puts the pieces of one message after another together. A message over `limit` (bytes) becomes an Oversize."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._clear()

    def _clear(self) -> None:
        self._size = 0
        self._head = b""
        self._data = bytearray()

    def add(self, piece: bytes | bytearray) -> None:
        """Add the next bytes of the message."""
        self._size += len(piece)
        self._data += piece
        if len(self._head) < _EDGE:
            self._head += piece[: _EDGE - len(self._head)]
        if self._size > self._limit:
            del self._data[:-_EDGE]

    def take(self) -> bytes | Oversize:
        """Return the complete message, and begin the next message."""
        found = bytes(self._data)
        over = Oversize(self._size, self._head, found) if self._size > self._limit else None
        self._clear()
        return found if over is None else over


class Lines:
    """Splits bytes into lines without their ends. Blank lines are omitted."""

    def __init__(self, limit: int) -> None:
        self._collector = Collector(limit)

    def feed(self, data: bytes) -> list[bytes | Oversize]:
        """Add the next bytes, and return the lines that they complete."""
        *whole, rest = data.split(b"\n")
        found: list[bytes | Oversize] = []
        for piece in whole:
            self._collector.add(piece)
            found += self._line()
        self._collector.add(rest)
        return found

    def end(self) -> list[bytes | Oversize]:
        """Return the last line, if it has no end."""
        return self._line()

    def _line(self) -> list[bytes | Oversize]:
        line = self._collector.take()
        if isinstance(line, bytes):
            line = line.removesuffix(b"\r")
            return [line] if line.strip() else []
        return [line]
