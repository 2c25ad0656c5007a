"""Check the length of a request body, and decode a chunked body (RFC 9112 section 7.1).

The decoder is strict where implementations differ (line ends, signs, white space, extensions), because a body that two
readers end in different places is two requests. Trailers are checked, counted and dropped, and never become headers.
"""

import re
from typing import Final, Literal

from .http_head import TCHAR, Head
from .incremental_json import TextBuffer
from .limits import Limits
from .rejection import INVALID_REQUEST, Rejection

# 64 bits. A longer size can only be an attempt to overflow a counter.
_SIZE_DIGITS: Final = 16
_EXTENSION: Final = 256
_TRAILERS: Final = 16

# With obs-text (RFC 9110 section 5.6.4), which is opaque here like everything in an extension or a trailer.
_QUOTED: Final = r'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_SIZE_LINE: Final = re.compile(
    rf"([0-9A-Fa-f]{{1,{_SIZE_DIGITS}}}+)((?:;{TCHAR}++(?:=(?:{TCHAR}++|{_QUOTED}))?+)*+)\Z".encode("ascii")
)
# The beginning of a size line. Every beginning of a valid line matches, and every text with an invalid beginning is
# invalid. Therefore the result does not depend on the pieces in which a body arrives.
_SIZE_BEGINNING: Final = re.compile(
    rf"(?:[0-9A-Fa-f]{{1,{_SIZE_DIGITS}}}+(?:;[\t -~\x80-\xff]{{0,{_EXTENSION - 1}}}+)?+\r?+)?+\Z".encode(
        "ascii"
    )
)
_TRAILER: Final = re.compile(rf"{TCHAR}++:[\t -~\x80-\xff]*+\Z".encode("ascii"))


class ChunkedDecoder:
    """Decode the bytes after a head as they arrive. `done` is true after the end of the body, `rest` has the bytes behind it.

    The decoder stores the body (at most `limits.body` bytes) and one unfinished line. It must not be used after a Rejection.
    """

    def __init__(self, limits: Limits) -> None:
        self.done = False
        self.rest: bytes = b""
        self._limits = limits
        self._body = TextBuffer(limits.json_depth)
        self._total: int = 0
        # The kind of line that comes next, after the data still missing from the current chunk.
        self._next: Literal["size", "end of chunk", "trailer"] = "size"
        self._missing: int = 0
        self._partial: bytes = b""
        self._extension_bytes = 0
        self._trailers = 0
        self._trailer_bytes = 0

    def take(self) -> bytes:
        """Return the body received so far, and remove it from the decoder."""
        return self._body.take()

    def feed(self, data: bytes) -> None:
        """Decode the next bytes of the client.

        Raises Rejection (`close` is set): 413 as soon as a chunk announces more than the limit, 400 for everything else.
        """
        if self.done:
            self.rest += data
            return
        data = self._partial + data
        self._partial = b""
        at = 0
        while not self.done:
            if self._missing:
                piece = data[at : at + self._missing]
                self._body.add(piece)
                self._missing -= len(piece)
                at += len(piece)
                if self._missing:
                    return
            end = data.find(b"\r\n", at)
            if end < 0:
                self._partial = data[at:]
                self._check_partial()
                return
            self._read_line(data[at:end])
            at = end + 2
        self.rest = data[at:]

    def _read_line(self, line: bytes) -> None:
        if self._next == "size":
            self._begin_chunk(line)
        elif self._next == "trailer":
            self._drop_trailer(line)
        elif line:
            raise _bad(_UNENDED_CHUNK)
        else:
            self._next = "size"

    def _check_partial(self) -> None:
        """Raise Rejection for an unfinished line that cannot become valid, before its end arrives."""
        partial = self._partial
        if self._next == "size":
            if not _SIZE_BEGINNING.match(partial):
                raise _bad(_BAD_SIZE)
        elif self._next == "trailer":
            self._check_trailer_bytes(len(partial))
            if b"\n" in partial or b"\r" in partial[:-1]:
                raise _bad(_BAD_TRAILER)
        elif partial not in (b"", b"\r"):
            raise _bad(_UNENDED_CHUNK)

    def _begin_chunk(self, line: bytes) -> None:
        match = _SIZE_LINE.match(line)
        if match is None or len(match[2]) > _EXTENSION:
            raise _bad(_BAD_SIZE)
        # Extensions have no use here. All together have the limit of a head.
        self._extension_bytes += len(match[2])
        if self._extension_bytes > self._limits.header_block:
            raise _bad(f"chunk extensions exceed the limit of {self._limits.header_block} bytes in one body")
        size = int(match[1], 16)
        if size == 0:
            self._next = "trailer"
            return
        self._total += size
        if self._total > self._limits.body:
            raise _too_long(self._total, self._limits.body)
        self._next = "end of chunk"
        self._missing = size

    def _drop_trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._check_trailer_bytes(len(line) + 2)
        self._trailer_bytes += len(line) + 2
        self._trailers += 1
        if self._trailers > _TRAILERS:
            raise _bad(f"more than {_TRAILERS} trailer fields, the limit")
        if not _TRAILER.match(line):
            raise _bad(_BAD_TRAILER)

    def _check_trailer_bytes(self, more: int) -> None:
        if self._trailer_bytes + more > self._limits.header_block:
            raise _bad(f"trailer fields exceed the limit of {self._limits.header_block} bytes")


def check_length(head: Head, limit: int) -> None:
    """Raise Rejection 413 for a head that announces a body of more than `limit` bytes."""
    if head.content_length is not None and head.content_length > limit:
        raise _too_long(head.content_length, limit)


_BAD_SIZE: Final = (
    f"a chunk must begin with its size, at most {_SIZE_DIGITS} hexadecimal digits, and extensions of at most "
    f"{_EXTENSION} bytes, in a line that ends with CRLF"
)
_UNENDED_CHUNK: Final = "a chunk does not end with CRLF after the size that it announced"
_BAD_TRAILER: Final = "a trailer field is not a name, a colon and a value in a line that ends with CRLF"


def _bad(text: str) -> Rejection:
    return Rejection(400, INVALID_REQUEST, text, close=True)


def _too_long(length: int, limit: int) -> Rejection:
    return Rejection(
        413, INVALID_REQUEST, f"a body of {length} bytes exceeds the limit of {limit}", close=True
    )
