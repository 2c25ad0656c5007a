"""Lines out of a byte stream, whatever the pieces it comes in. Pure.

Only a newline ends a line (U+2028 is content, digest 2.1). A line over the limit is reported once and dropped without being
held: as soon as that is known where its beginning has an id, else at its end or at twice the limit. The stream is in step again
at the next newline.
"""

from typing import Final

import attrs

_BOM: Final = b"\xef\xbb\xbf"
# How much of a dropped line is kept, so that the answer it holds can be attributed.
_PREFIX: Final = 256
# So many pieces of an unfinished line are joined into one: an object for every two bytes would cost thirty times the
# limit.
_SEAL: Final = 1024
_ID: Final = b'"id"'
_CR: Final = 0x0D


# And how much of its end, where its beginning has no id: some programs write the id of an answer last.
_SUFFIX: Final = 1024


@attrs.frozen
class Overlong:
    """A line that was dropped: how much of it had come when that was known, how it begins, and how it ends, if that is known."""

    size_seen: int
    prefix: bytes
    suffix: bytes = attrs.field(default=b"", eq=False)


class LineSplitter:
    """Feed it bytes, get lines without their line ends. Blank lines are nothing. `held` is the size of the unfinished one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._loose = 0
        self.held = 0
        self._dropping = False
        self._dropped: Overlong | None = None  # a line that is not reported yet,
        self._seen = 0  # and how much of it has come
        self._begun = False

    def feed(self, chunk: bytes) -> list[bytes | Overlong]:
        """Take the next bytes and answer the lines that they complete."""
        if not self._begun:
            chunk = self._without_mark(chunk)
        first, newline, rest = chunk.partition(b"\n")
        if not newline:
            return self._hold(chunk)
        if not (rest or self._parts or self._dropping) and self._is_line(first):
            return [first]
        lines: list[bytes | Overlong] = []
        self._end_line(first, lines)
        *whole, tail = rest.split(b"\n")
        for line in whole:
            if line:  # a flood of line ends is nothing, and should cost little more
                self._end_line(line, lines)
        if tail:
            lines.extend(self._hold(tail))
        return lines

    def _is_line(self, piece: bytes) -> bool:
        return 0 < len(piece) <= self._limit and piece[-1] != _CR and not piece.isspace()

    @property
    def unfinished(self) -> bytes:
        """The beginning of the line that has not ended."""
        return self._prefix()

    def _without_mark(self, chunk: bytes) -> bytes:
        chunk = b"".join(self._parts) + chunk
        self._forget()
        if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
            self._parts, self.held = [chunk], len(chunk)
            return b""
        self._begun = True
        return chunk.removeprefix(_BOM)

    def _hold(self, piece: bytes) -> list[bytes | Overlong]:
        if self._dropping:
            return self._drop(piece)
        if not piece:
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
        last = b"".join(self._parts)[-_SUFFIX:]
        self._forget()
        self._dropping = True
        if _ID in overlong.prefix:
            return [overlong]
        self._dropped = attrs.evolve(overlong, suffix=last)
        self._seen = overlong.size_seen
        return [] if self._seen <= 2 * self._limit else self._report()

    def _drop(self, piece: bytes) -> list[bytes | Overlong]:
        if self._dropped is None:
            return []
        self._dropped = attrs.evolve(self._dropped, suffix=(self._dropped.suffix + piece)[-_SUFFIX:])
        self._seen += len(piece)
        return [] if self._seen <= 2 * self._limit else self._report()

    def _report(self) -> list[bytes | Overlong]:
        dropped, self._dropped = self._dropped, None
        return [] if dropped is None else [dropped]

    def _prefix(self) -> bytes:
        prefix = b""
        for part in self._parts:  # most often the first is enough, and all of them are the limit once more
            prefix += part[: _PREFIX - len(prefix)]
            if len(prefix) == _PREFIX:
                break
        return prefix

    def _end_line(self, last: bytes, lines: list[bytes | Overlong]) -> None:
        if self._dropping:
            lines.extend(self._drop(last))
            lines.extend(self._report())
            self._dropping = False
            return
        if self._parts:
            self._parts.append(last)
            last = b"".join(self._parts)
            self._forget()
        last = last.removesuffix(b"\r")
        if len(last) > self._limit:
            lines.append(Overlong(len(last), last[:_PREFIX], last[-_SUFFIX:]))
        elif last and not last.isspace():
            lines.append(last)

    def _forget(self) -> None:
        self._parts, self._loose, self.held = [], 0, 0
