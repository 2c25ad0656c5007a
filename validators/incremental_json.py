"""Check the UTF-8 and the nesting of one JSON text while its pieces arrive.

A check of a whole text of 16 MiB can block the event loop for most of a second. The same check of one piece takes one or two
milliseconds. The state between two pieces is small: an unfinished character, whether the text is inside a string, whether
the next byte is escaped, and the depth.

A text that is not JSON may pass these checks, because the decoder rejects it later.
"""

import codecs
import struct
from array import array
from functools import cache
from itertools import accumulate
from operator import add
from typing import Final

from .rejection import INVALID_REQUEST, PARSE_ERROR, Rejection

# Up to this size (bytes) a text is checked when it is complete, which takes at most two milliseconds.
WORTH_CHECKING: Final = 64 * 1024
# The size (bytes) of a piece that is checked at once.
_PIECE: Final = 64 * 1024
# The part of a refused text (bytes) that is stored, because it may contain the id of the message.
_PREFIX: Final = 4 * 1024

# The most (bytes) by which replacements of invalid UTF-8 may lengthen a text: one byte becomes three.
_MOST_LONGER: Final = 2 * 1024 * 1024
_BACKSLASH: Final = b"\\"
_BRACES_TO_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_ALL_BUT_QUOTES_AND_BRACKETS: Final = bytes(set(range(256)) - set(b'"[]{}'))
# Quotes of strings without brackets, eight pairs at once. The others are removed pair by pair.
_EIGHT_STRINGS: Final = b'""' * 8
# Up to this size (bytes) it is usually faster to remove the innermost brackets a few times than to count brackets.
_SMALL: Final = 8 * 1024
_PEELS: Final = 6
_TO_DIGITS: Final = bytes.maketrans(b"[]", b"10")
# The number of brackets that are counted at once, as bits of a number.
_WORD: Final = 16

_Decoder: Final = codecs.getincrementaldecoder("utf-8")


def not_utf8() -> Rejection:
    """Return the Rejection of a text that is not UTF-8: 400, -32700."""
    return Rejection(400, PARSE_ERROR, "not UTF-8")


def with_replacements(text: bytes) -> bytes:
    """Return a text with U+FFFD in the place of invalid UTF-8.

    Raises Rejection for a text that would become longer by more than `_MOST_LONGER` bytes.
    """
    try:
        text.decode()
    except UnicodeDecodeError:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        found = bytearray()
        for at in range(0, len(text), _PIECE):
            found += decoder.decode(text[at : at + _PIECE]).encode()
            if len(found) - at > _MOST_LONGER:
                raise not_utf8() from None
        found += decoder.decode(b"", final=True).encode()
        return bytes(found)
    return text


def depth_ok(text: bytes, limit: int) -> bool:
    """Return whether well-formed JSON nests at most `limit` containers."""
    if len(text) <= _SMALL and _is_shallow(_outside_strings(_unescaped(text)), limit):
        return True
    meter = DepthMeter(limit)
    return all(meter.feed(text[at : at + _PIECE]) for at in range(0, len(text), _PIECE))


def too_deep(limit: int) -> Rejection:
    """Return the Rejection of a text that is nested too deep: 400, -32600."""
    return Rejection(
        400, INVALID_REQUEST, f"JSON nested deeper than the limit of {limit} (limits.json_depth)"
    )


class CheckedText(bytes):
    """A JSON text whose UTF-8 and nesting were checked piece by piece.

    With a `fault` the check failed, and the text is only the first part of the received text.
    """

    fault: Rejection | None = None


def fault_of(text: bytes) -> Rejection | None:
    """Return the Rejection of a text that was refused while it arrived, or None."""
    return text.fault if isinstance(text, CheckedText) else None


class DepthMeter:
    """Follow the nesting of one JSON text, piece by piece."""

    __slots__ = ("_depth", "_escaped", "_in_string", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, piece: bytes | bytearray) -> bool:
        """Return whether the text nests at most `limit` containers up to the end of this piece."""
        if self._escaped and piece:
            piece = piece[1:]
            self._escaped = False
        if _BACKSLASH in piece:
            piece = piece.replace(b"\\\\", b"")
            self._escaped = piece.endswith(_BACKSLASH)
            piece = piece.replace(b'\\"', b"")
        found = piece.translate(_BRACES_TO_BRACKETS, _ALL_BUT_QUOTES_AND_BRACKETS)
        if self._in_string:
            found = b'"' + found
        self._in_string = found.count(b'"') % 2 == 1
        brackets = _without_strings(found)
        return not brackets or self._nests(brackets)

    def _nests(self, brackets: bytes | bytearray) -> bool:
        opening = brackets.count(b"[")
        if self._depth + opening <= self._limit:
            self._depth += 2 * opening - len(brackets)
            return True
        highest, self._depth = _climb(brackets, self._depth)
        return highest <= self._limit


def _unescaped(text: bytes) -> bytes:
    return text.replace(b"\\\\", b"").replace(b'\\"', b"") if _BACKSLASH in text else text


def _outside_strings(text: bytes) -> bytes | bytearray:
    return _without_strings(text.translate(_BRACES_TO_BRACKETS, _ALL_BUT_QUOTES_AND_BRACKETS))


def _without_strings(found: bytes | bytearray) -> bytes | bytearray:
    """Return the brackets of a text of brackets and quotes that are outside of strings."""
    found = found.replace(_EIGHT_STRINGS, b"").replace(b'""', b"")
    # Every second part is inside of a string with brackets.
    return b"".join(found.split(b'"')[::2]) if b'"' in found else found


def _is_shallow(brackets: bytes | bytearray, limit: int) -> bool:
    """Return whether a few rounds show that a whole text nests at most `limit` levels."""
    for peeled in range(min(limit, _PEELS)):
        if len(brackets) <= 2 * (limit - peeled):
            return True
        # This removes exactly the innermost level.
        brackets = brackets.replace(b"[]", b"")
    return not brackets


def _climb(brackets: bytes | bytearray, depth: int) -> tuple[int, int]:
    """Return the greatest depth and the last depth of brackets that begin at `depth`."""
    gains, peaks = _words()
    missing = -len(brackets) % _WORD
    digits = brackets.translate(_TO_DIGITS) + b"0" * missing
    number = int(digits, 2).to_bytes(len(digits) // 8, "little")
    words = [*struct.unpack(f"<{len(number) // 2}H", number)]
    words.reverse()
    before = list(accumulate(map(gains.__getitem__, words), initial=depth))
    return max(map(add, before, map(peaks.__getitem__, words))), before[-1] + missing


@cache
def _words() -> "tuple[array[int], array[int]]":
    """Return the gain in depth and the greatest depth of 16 brackets, for each number with these brackets as bits."""
    # The values of one bracket: a bit that is not set is a closing bracket.
    gains, peaks = [-1, 1], [0, 1]
    while len(gains) < 1 << _WORD:
        peaks = [max(peak, gain + other) for peak, gain in zip(peaks, gains, strict=True) for other in peaks]
        gains = [first + second for first in gains for second in gains]
    return array("b", gains), array("b", peaks)


class TextBuffer:
    """Collect one JSON text of a client from its pieces, and check each piece.

    A text of up to `WORTH_CHECKING` bytes is returned without a check. Of a text with a `fault` only the first part is stored, and
    later pieces are dropped.
    """

    def __init__(self, depth: int) -> None:
        self.fault: Rejection | None = None
        self._limit = depth
        self._text = bytearray()
        self._size = 0
        self._checked = 0
        self._depth: DepthMeter | None = None
        self._decoder = _Decoder()

    def __len__(self) -> int:
        """Return the number of bytes received."""
        return self._size

    def add(self, piece: bytes | bytearray) -> None:
        """Append the next bytes."""
        self._size += len(piece)
        if self.fault is not None:
            self._text += piece[: max(0, _PREFIX - len(self._text))]
            return
        self._text += piece
        if self._size > WORTH_CHECKING:
            self._check(_PIECE)

    def check(self) -> None:
        """Check all bytes received so far."""
        self._check(1)

    def refuse(self, fault: Rejection) -> None:
        """Drop all but the first part of the text, with this fault."""
        if self.fault is None:
            self.fault = fault
            del self._text[_PREFIX:]

    def take(self) -> bytes:
        """Return the text, and start a new text."""
        if self._depth is not None:
            self._check(1)
            if self.fault is None and not _is_utf8(self._decoder, b"", final=True):
                self.refuse(not_utf8())
        text: bytes
        if self._depth is not None or self.fault is not None:
            text = CheckedText(self._text)
            text.fault = self.fault
        else:
            text = bytes(self._text)
        self._text.clear()
        self._size = self._checked = 0
        self._depth = self.fault = None
        return text

    def _check(self, least: int) -> None:
        if self._depth is None:
            self._depth = DepthMeter(self._limit)
            self._decoder = _Decoder()
        while self.fault is None and len(self._text) - self._checked >= least:
            piece = self._text[self._checked : self._checked + _PIECE]
            self._checked += len(piece)
            if not _is_utf8(self._decoder, piece, final=False):
                self.refuse(not_utf8())
            elif not self._depth.feed(piece):
                self.refuse(too_deep(self._limit))


def _is_utf8(decoder: codecs.IncrementalDecoder, piece: bytes | bytearray, *, final: bool) -> bool:
    # The state has the bytes of an unfinished character.
    if piece.isascii() and not decoder.getstate()[0]:
        return True
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError:
        return False
    return True
