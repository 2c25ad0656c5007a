"""Describe the terminal that a command writes to: its width, and whether it shows styles.

NO_COLOR and TERM=dumb switch styles off, CLICOLOR_FORCE switches them on for a file or a pipe (https://no-color.org,
https://bixense.com/clicolors). A file or a pipe has no width, so that nothing is cut for a program that reads it.
"""

import os
from collections.abc import Mapping
from typing import Final, TextIO

import attrs

# Of a terminal that does not state its size (columns, lines).
_USUAL_SIZE: Final = (80, 24)
# Select Graphic Rendition, by style (ECMA-48).
_STYLES: Final = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
}
_RESET: Final = "\x1b[0m"


@attrs.frozen
class Terminal:
    """A place for text. `width` and `height` are in cells, None for no limit.

    With `styled` text has styles. With `addressable` the cursor can be moved.
    """

    width: int | None = None
    height: int | None = None
    styled: bool = False
    addressable: bool = False
    encoding: str = "utf-8"

    def style(self, text: str, style: str) -> str:
        """Return a text with an escape sequence for one of the styles; empty is none. The text must be escaped already."""
        return f"\x1b[{_STYLES[style]}m{text}{_RESET}" if self.styled and style and text else text

    @property
    def ellipsis(self) -> str:
        """The sign for a cut, which the encoding of the terminal has."""
        return "…" if self.shown("…") == "…" else "..."

    def shown(self, text: str) -> str:
        """Return a text as the stream writes it: characters that its encoding does not have are escaped."""
        if text.isascii():
            return text
        return text.encode(self.encoding, "backslashreplace").decode(self.encoding)


# A file or a pipe: no limit and no style.
PLAIN: Final = Terminal()


def terminal_of(stream: TextIO, environment: Mapping[str, str]) -> Terminal:
    """Return the terminal at a stream of ours. COLUMNS and LINES have precedence over the size that the terminal states."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    if not stream.isatty():
        return Terminal(styled=_is_styled(environment, is_terminal=False), encoding=encoding)
    width, height = _size(stream)
    return Terminal(
        _number(environment, "COLUMNS") or width,
        _number(environment, "LINES") or height,
        _is_styled(environment, is_terminal=True),
        _has_sequences(environment),
        encoding,
    )


def _is_styled(environment: Mapping[str, str], *, is_terminal: bool) -> bool:
    if environment.get("NO_COLOR"):
        return False
    if environment.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    return is_terminal and _has_sequences(environment) and environment.get("CLICOLOR") != "0"


def _has_sequences(environment: Mapping[str, str]) -> bool:
    # A terminal of unknown type may show them as text.
    return environment.get("TERM", "dumb") not in ("", "dumb")


def _size(stream: TextIO) -> tuple[int, int]:
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return _USUAL_SIZE
    # A serial line or a new pseudo-terminal states 0.
    return size.columns or _USUAL_SIZE[0], size.lines or _USUAL_SIZE[1]


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
