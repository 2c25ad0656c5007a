"""Split a byte stream into lines, independent of its pieces. Pure.

Only a newline ends a line; U+2028 is content (MCP 2025-11-25 basic/transports). A line over the limit is dropped while it
arrives, and reported once: at once if its beginning has an id, else at its end or at twice the limit. The next line is read
normally.
"""

from typing import Final

import attrs

from ..server_io import Overlong

_BOM: Final = b"\xef\xbb\xbf"
# Bytes kept of the beginning of a dropped line, from which its id is read.
_PREFIX: Final = 256
# Number of pieces of an unfinished line that are joined into one, because an object for every two bytes would need thirty
# times the limit.
_SEAL: Final = 1024
# An unfinished line above this size (bytes) is large: it is read and written in large pieces.
LARGE_LINE: Final = 1024 * 1024
_ID: Final = b'"id"'
_CR: Final = 0x0D


# Bytes kept of the end of a dropped line, because some programs write the id of a response last.
_SUFFIX: Final = 1024


class LineSplitter:
    """Return lines without line ends from the bytes fed. Blank lines are skipped. `held` is the size of the unfinished line."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._unjoined = 0
        self.held = 0
        self._dropping = False
        # A dropped line that is not reported yet, and the bytes received of it.
        self._dropped: Overlong | None = None
        self._dropped_bytes = 0
        self._mark_checked = False

    def feed(self, chunk: bytes) -> list[bytes | Overlong]:
        """Add the next bytes, and return the lines that they complete."""
        if not self._mark_checked:
            chunk = self._without_mark(chunk)
        first, newline, rest = chunk.partition(b"\n")
        if not newline:
            return self._hold(chunk)
        # Most pieces are one whole line.
        if (
            first
            and not (rest or self._parts or self._dropping)
            and first[-1] != _CR
            and len(first) <= self._limit
            and not first.isspace()
        ):
            return [first]
        lines: list[bytes | Overlong] = []
        self._end_line(first, lines)
        *whole, tail = rest.split(b"\n")
        for line in whole:
            # Skipped early, because a flood of line ends must cost little.
            if line:
                self._end_line(line, lines)
        if tail:
            lines.extend(self._hold(tail))
        return lines

    @property
    def unfinished(self) -> bytes:
        """The beginning of the unfinished line."""
        return self._prefix()

    def _without_mark(self, chunk: bytes) -> bytes:
        chunk = b"".join(self._parts) + chunk
        self._clear()
        if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
            self._parts, self.held = [chunk], len(chunk)
            return b""
        self._mark_checked = True
        return chunk.removeprefix(_BOM)

    def _hold(self, piece: bytes) -> list[bytes | Overlong]:
        if self._dropping:
            return self._drop(piece)
        if not piece:
            return []
        self._parts.append(piece)
        self._unjoined += 1
        if self._unjoined == _SEAL:
            self._parts[-_SEAL:] = [b"".join(self._parts[-_SEAL:])]
            self._unjoined = 0
        self.held += len(piece)
        # A carriage return may belong to the line end.
        if self.held - piece.endswith(b"\r") <= self._limit:
            return []
        overlong = Overlong(self.held, self._prefix())
        last = b"".join(self._parts)[-_SUFFIX:]
        self._clear()
        self._dropping = True
        if _ID in overlong.prefix:
            return [overlong]
        self._dropped = attrs.evolve(overlong, suffix=last)
        self._dropped_bytes = overlong.size_seen
        return [] if self._dropped_bytes <= 2 * self._limit else self._report()

    def _drop(self, piece: bytes) -> list[bytes | Overlong]:
        if self._dropped is None:
            return []
        self._dropped = attrs.evolve(self._dropped, suffix=(self._dropped.suffix + piece)[-_SUFFIX:])
        self._dropped_bytes += len(piece)
        return [] if self._dropped_bytes <= 2 * self._limit else self._report()

    def _report(self) -> list[bytes | Overlong]:
        dropped, self._dropped = self._dropped, None
        return [] if dropped is None else [dropped]

    def _prefix(self) -> bytes:
        prefix = b""
        # Usually the first part is enough. Joining all would copy up to the limit.
        for part in self._parts:
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
            self._clear()
        last = last.removesuffix(b"\r")
        if len(last) > self._limit:
            lines.append(Overlong(len(last), last[:_PREFIX], last[-_SUFFIX:]))
        elif last and not last.isspace():
            lines.append(last)

    def _clear(self) -> None:
        self._parts, self._unjoined, self.held = [], 0, 0
