"""Lines out of a byte stream, whatever the pieces it comes in. Pure.

Only a newline ends a line (U+2028 is content, digest 2.1). A line over the limit is reported once, as soon as that is
known, and dropped without being held; the stream is in step again at the next newline.
"""

from typing import Final

import attrs

_BOM: Final = b"\xef\xbb\xbf"
# How much of a dropped line is kept, so that the answer it holds can be attributed.
_PREFIX: Final = 256
# So many pieces of an unfinished line are joined into one: an object for every two bytes would cost thirty times the
# limit.
_SEAL: Final = 1024


@attrs.frozen
class Overlong:
    """A line that was dropped: how much of it had come by then, and how it begins."""

    size_seen: int
    prefix: bytes


class LineSplitter:
    """Feed it bytes, get lines without their line ends. Blank lines are nothing. `held` is the size of the unfinished one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._loose = 0
        self.held = 0
        self._dropping = False
        self._begun = False

    def feed(self, chunk: bytes) -> list[bytes | Overlong]:
        """Take the next bytes and answer the lines that they complete."""
        if not self._begun:
            chunk = self._without_mark(chunk)
        first, newline, rest = chunk.partition(b"\n")
        if not newline:
            return self._hold(chunk)
        lines: list[bytes | Overlong] = []
        self._end_line(first, lines)
        *whole, tail = rest.split(b"\n")
        for line in whole:
            if line:  # a flood of line ends is nothing, and should cost little more
                self._end_line(line, lines)
        if tail:
            lines.extend(self._hold(tail))
        return lines

    def _without_mark(self, chunk: bytes) -> bytes:
        chunk = b"".join(self._parts) + chunk
        self._forget()
        if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
            self._parts, self.held = [chunk], len(chunk)
            return b""
        self._begun = True
        return chunk.removeprefix(_BOM)

    def _hold(self, piece: bytes) -> list[bytes | Overlong]:
        if self._dropping or not piece:
            return []
        self._parts.append(piece)
        self._loose += 1
        if self._loose == _SEAL:
            self._parts[-_SEAL:] = [b"".join(self._parts[-_SEAL:])]
            self._loose = 0
        self.held += len(piece)
        # A carriage return at the end may be half of the line's end, which is not part of the line.
        if self.held - piece.endswith(b"\r") <= self._limit:
            return []
        overlong = Overlong(self.held, self._prefix())
        self._forget()
        self._dropping = True
        return [overlong]

    def _prefix(self) -> bytes:
        prefix = b""
        for part in self._parts:  # most often the first is enough, and all of them are the limit once more
            prefix += part[: _PREFIX - len(prefix)]
            if len(prefix) == _PREFIX:
                break
        return prefix

    def _end_line(self, last: bytes, lines: list[bytes | Overlong]) -> None:
        if self._dropping:
            self._dropping = False
            return
        if self._parts:
            self._parts.append(last)
            last = b"".join(self._parts)
            self._forget()
        last = last.removesuffix(b"\r")
        if len(last) > self._limit:
            lines.append(Overlong(len(last), last[:_PREFIX]))
        elif last and not last.isspace():
            lines.append(last)

    def _forget(self) -> None:
        self._parts, self._loose, self.held = [], 0, 0
