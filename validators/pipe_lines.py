"""Read the lines of a client of the pipe endpoint, write lines, and check the upgrade request (RFC 9110 section 7.8).

A line is one JSON-RPC message, or a batch, and ends with a newline (MCP 2025-11-25 basic/transports, stdio). A line that begins
with `#` is for the other program of the connection and not a message, because no JSON text begins so. A line above a limit
is dropped while it arrives, and reported with its first and its last part. Pure.
"""

from typing import Final

from .incremental_json import WORTH_CHECKING, CheckedText, TextBuffer, fault_of
from .rejection import INVALID_REQUEST, Rejection

UPGRADE: Final = "mcp-pipe"
UPGRADED: Final = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: mcp-pipe\r\n\r\n"

# Lines of the daemon. The client sends nothing more, closes its sending side, and connects again after the end.
DRAIN: Final = b"#drain"
# The client sleeps; it must wake, for any reason; its stdin cannot be watched, so it cannot sleep.
ASLEEP: Final = b"#asleep"
WAKE: Final = b"#wake"
AWAKE: Final = b"#awake"
# Line of the client, with its stdin attached to the first byte: it wants to sleep.
SLEEP: Final = b"#sleep"

# Bytes of the end of a dropped line that are stored, because the id may be the last member.
_SUFFIX: Final = 1024
_BOM: Final = b"\xef\xbb\xbf"


def end_line(code: int, reason: str = "") -> bytes:
    """Return the line after which the client shows the reason, exits with this status and does not connect again."""
    words = " ".join(reason.split()).encode(errors="replace")
    return b"#end %d %b" % (code, words) if words else b"#end %d" % code


def is_control(line: bytes) -> bool:
    """Return whether a line is not a message."""
    return line.startswith(b"#")


def check_pipe_upgrade(upgrade: str, version: int, content_length: int | None, *, chunked: bool) -> None:
    """Raise Rejection for anything but an upgrade to `mcp-pipe` without a body."""
    if version != 11:
        raise _bad("the pipe endpoint needs HTTP/1.1")
    if upgrade != UPGRADE:
        raise Rejection(
            426,
            INVALID_REQUEST,
            "this path needs the header `Upgrade: mcp-pipe`",
            headers=((b"Upgrade", UPGRADE.encode("ascii")),),
        )
    if content_length or chunked:
        raise _bad("an upgrade to mcp-pipe has no body")


class LineReader:
    """Split the bytes of one client into lines without their ends. Blank lines are skipped.

    A line may have `limit` bytes and nest `depth` levels. A line above these limits is returned at its end as a text with a
    fault (`incremental_json.fault_of`), which has the first and the last part of the line.
    """

    def __init__(self, limit: int, depth: int) -> None:
        self._limit = limit
        self._line = TextBuffer(depth)
        # The end of the unfinished line.
        self._suffix = b""
        self._is_first = True

    @property
    def unfinished(self) -> int:
        """Return the bytes received of the unfinished line, also those that were dropped."""
        return len(self._line)

    @property
    def held(self) -> int:
        """Return the stored bytes of the unfinished line if it is large, otherwise 0."""
        size = len(self._line)
        return size if size > WORTH_CHECKING and self._line.fault is None else 0

    def refuse(self, fault: Rejection) -> None:
        """Drop the unfinished line, and report it with this fault at its end."""
        if len(self._line):
            self._line.refuse(fault)

    def read_line(self, data: bytes) -> bytes | None:
        """Return a small line, if the next bytes are exactly that. Otherwise returns None, without effect.

        `feed` would return the same line alone.
        """
        end = len(data) - 1
        if len(self._line) or self._is_first or data.find(b"\n") != end or end < 0 or end > WORTH_CHECKING:
            return None
        line = data[:end]
        return None if end > self._limit or line[-1:] <= b" " else line

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that the next bytes complete."""
        *whole, rest = data.split(b"\n")
        lines: list[bytes] = []
        for piece in whole:
            # Skipped early, because a flood of blank lines must cost little.
            if piece:
                self._add(piece)
            if len(self._line):
                self._end_line(lines)
        if rest:
            self._add(rest)
        return lines

    def end(self) -> list[bytes]:
        """Return the last line, if it has no newline."""
        lines: list[bytes] = []
        if len(self._line):
            self._end_line(lines)
        return lines

    def _add(self, piece: bytes) -> None:
        line = self._line
        # A carriage return may belong to the end of the line.
        if line.fault is None and len(line) + len(piece) - piece.endswith(b"\r") > self._limit:
            line.refuse(_too_long(self._limit))
        line.add(piece)
        self._suffix = (self._suffix + piece[-_SUFFIX:])[-_SUFFIX:]

    def _end_line(self, lines: list[bytes]) -> None:
        line = self._line.take()
        suffix, self._suffix = self._suffix, b""
        fault = fault_of(line)
        if fault is not None:
            if is_control(line):
                return
            dropped = CheckedText(line + suffix)
            dropped.fault = fault
            lines.append(dropped)
            return
        if self._is_first:
            # Some programs of Windows begin their output with a byte order mark.
            self._is_first = False
            line = _kept(line, line.removeprefix(_BOM))
        if line.endswith(b"\r"):
            line = _kept(line, line[:-1])
        if line and not line.isspace():
            lines.append(line)


def _kept(checked: bytes, line: bytes) -> bytes:
    """Return a part of a line, which needs no second check if the line was checked."""
    return CheckedText(line) if type(checked) is CheckedText else line


def _too_long(limit: int) -> Rejection:
    return Rejection(413, INVALID_REQUEST, f"a line of more than {limit} bytes, the limit (limits.body)")


def _bad(text: str) -> Rejection:
    return Rejection(400, INVALID_REQUEST, text)
