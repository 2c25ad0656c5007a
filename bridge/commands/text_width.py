"""Measure and cut text by the cells that it takes on a terminal. Pure.

Control characters must be escaped before (`log.escaped`).
"""

import unicodedata
from collections.abc import Iterator
from typing import Final

# Variation selectors, which terminals give different widths, and Hangul jamo that join the syllable before them.
_DROPPED: Final = frozenset(map(chr, range(0xFE00, 0xFE10)))
_JOINED_JAMO: Final = range(0x1160, 0x1200)
# Marks on one character that are kept; more of them would write over the lines above and below.
_MOST_MARKS: Final = 4


def normal(text: str) -> str:
    """Return a text whose width all terminals agree on: no variation selectors, few marks on each character."""
    if text.isascii():
        return text
    return "".join(_with_few_marks(one for one in text if one not in _DROPPED))


def _with_few_marks(characters: Iterator[str]) -> Iterator[str]:
    marks = 0
    for one in characters:
        marks = 0 if _cells(one) else marks + 1
        if marks <= _MOST_MARKS:
            yield one


def width(text: str) -> int:
    """Return how many cells a text takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf") or ord(character) in _JOINED_JAMO:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, cells: int, ellipsis: str = "…", *, keep_end: bool = False) -> str:
    """Return a text that takes at most this many cells. What is cut is replaced with the ellipsis."""
    if width(text) <= cells:
        return text
    room = cells - width(ellipsis)
    if room < 0:
        return ellipsis[: max(cells, 0)]
    if keep_end:
        return ellipsis + _beginning(text[::-1], room)[::-1]
    return _beginning(text, room) + ellipsis


def _beginning(text: str, cells: int) -> str:
    taken = 0
    for at, one in enumerate(text):
        taken += _cells(one)
        if taken > cells:
            return text[:at]
    return text


def wrapped(text: str, cells: int | None, indent: str = "") -> list[str]:
    """Return the lines of a text, broken between words, or inside of longer ones. All but the first start with the indent."""
    if cells is None or width(text) <= cells:
        return [text]
    first = text[: len(text) - len(text.lstrip(" "))]
    lines: list[str] = []
    line = lead = first
    for word in _pieces(text.split(), max(2, cells - max(width(indent), width(first)))):
        if line != lead and width(line) + 1 + width(word) > cells:
            lines.append(line)
            line = lead = indent
        line += word if line == lead else f" {word}"
    return [*lines, line]


def _pieces(words: list[str], cells: int) -> Iterator[str]:
    """Yield the words, and those that are wider than this in pieces."""
    for word in words:
        rest = word
        while width(rest) > cells:
            piece = _beginning(rest, cells)
            yield piece
            rest = rest[len(piece) :]
        if rest:
            yield rest
