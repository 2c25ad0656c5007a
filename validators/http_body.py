"""Bodies of HTTP/1.1 requests: an announced length within the limit, or strictly chunked (RFC 9112 section 7.1)."""

import re
from typing import Final

from .http_head import Head
from .limits import Limits
from .rejection import INVALID_REQUEST, Rejection

_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t\x20-\x7e]{0,256})?\Z")
_LONGEST_SIZE_LINE: Final = 300
_TRAILERS: Final = 16
_SIZE, _DATA, _DATA_END, _TRAILER, _DONE = range(5)


def check_length(head: Head, limit: int) -> None:
    """Raise Rejection 413 for an announced length over the limit, before anything of it is read."""
    length = head.content_length
    if length is not None and length > limit:
        raise Rejection(
            413, INVALID_REQUEST, f"a body of {length} bytes exceeds the limit of {limit}", close=True
        )


class ChunkedDecoder:
    """A chunked body, fed as it comes. Raises Rejection 400 or 413, after which it must not be used."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._state = _SIZE
        self._held = b""
        self._left = 0
        self._size = 0
        self._trailers = 0
        self._trailer_bytes = 0
        self._parts: list[bytes] = []

    @property
    def done(self) -> bool:
        """Whether the whole body has been seen."""
        return self._state == _DONE

    @property
    def rest(self) -> bytes:
        """What came after the body."""
        return self._held if self.done else b""

    def take(self) -> bytes:
        """The body."""
        return b"".join(self._parts)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        data = self._held + data
        at = 0
        while self._state != _DONE:
            if self._state == _DATA:
                piece = data[at : at + self._left]
                if not piece:
                    break
                self._parts.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._state = _DATA_END
                continue
            end = data.find(b"\n", at)
            if end < 0:
                if len(data) - at > self._longest_line():
                    raise _bad("a chunk's line is too long")
                break
            self._line(data[at : end + 1])
            at = end + 1
        self._held = data[at:]

    def _longest_line(self) -> int:
        return self._limits.header_field if self._state == _TRAILER else _LONGEST_SIZE_LINE

    def _line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n") or len(line) > self._longest_line() + 2:
            raise _bad("a chunk's line does not end in CR LF or is too long")
        line = line[:-2]
        if self._state == _DATA_END:
            if line:
                raise _bad("a chunk is longer than it says")
            self._state = _SIZE
        elif self._state == _SIZE:
            self._begin_chunk(line)
        elif line:
            self._trailers += 1
            self._trailer_bytes += len(line)
            if self._trailers > _TRAILERS or self._trailer_bytes > self._limits.header_block:
                raise _bad(
                    f"more than {_TRAILERS} trailers, or more than {self._limits.header_block} bytes of them"
                )
        else:
            self._state = _DONE

    def _begin_chunk(self, line: bytes) -> None:
        found = _SIZE_LINE.match(line)
        if found is None:
            raise _bad("a chunk's size is not hexadecimal")
        self._left = int(found[1], 16)
        self._size += self._left
        if self._size > self._limits.body:
            raise Rejection(
                413,
                INVALID_REQUEST,
                f"a body of at least {self._size} bytes exceeds the limit of {self._limits.body}",
                close=True,
            )
        self._state = _DATA if self._left else _TRAILER


def _bad(text: str) -> Rejection:
    return Rejection(400, INVALID_REQUEST, text, close=True)
