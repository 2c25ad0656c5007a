"""Find the positions of keys and values in a TOML text, for error messages and for the formatter.

The parsers return values without positions: tomllib has none, and tomlkit has them for syntax errors only. This scanner
assumes that tomllib has accepted the text, or its beginning, and checks no syntax. It is used after an error only.
"""

import re
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import attrs

# The keys that lead to a value, with the indexes of elements of lists.
Path = tuple[str | int, ...]

_SPACE: Final = re.compile(r"[ \t]*")
# White space, line ends and comments.
_TRIVIA: Final = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_KEY_PART: Final = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_STRING: Final = re.compile(
    # Possessive, so that a string without an end takes linear time.
    r'"""(?:[^"\\]++|\\.|"{1,2}+(?!"))*+"{3,5}'
    r"|'''(?:[^']++|'{1,2}+(?!'))*+'{3,5}"
    r'|"(?:[^"\\\n]++|\\.)*+"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
# Numbers, booleans and dates. A date may hold a space.
_SCALAR: Final = re.compile(r"[^,\]}#\r\n]+")


@attrs.frozen
class Place:
    """Where a key and its value are in the text: the offsets of their first characters, and after their last ones."""

    key: int
    key_end: int
    value: int
    value_end: int


@attrs.frozen
class Statement:
    """A header of a table, or a key with its value. `end` is the offset after its last character, without a comment."""

    start: int
    end: int
    path: Path
    place: Place
    is_header: bool


class _Stop(Exception):
    """The text is not valid from here on."""


class Positions:
    """The positions in one text. After a syntax error they end before the statement with the error.

    `statements` are those that were read, and `unfinished` is the path and the offset of the one that was not.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.places: dict[Path, Place] = {}
        self.statements: list[Statement] = []
        self.unfinished: tuple[Path, int] | None = None
        # The number of tables of each array of tables.
        self._counts: dict[Path, int] = {}
        self._table: Path = ()
        # After a syntax error the statement that was begun is in `unfinished`.
        with suppress(_Stop, RecursionError):
            self._read()

    def line_and_column(self, offset: int) -> tuple[int, int]:
        """Return the number of the line and of the column of an offset, both from 1."""
        line = self._text.count("\n", 0, offset) + 1
        return line, offset - (self._text.rfind("\n", 0, offset) + 1) + 1

    def find(self, path: Path) -> Place | None:
        """Return the place of a value, or of the innermost table or list around it that has a place."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return None

    def _read(self) -> None:
        while True:
            self._skip(_TRIVIA)
            if self._at >= len(self._text):
                return
            start = self._at
            self.unfinished = self._table, start
            if self._text[start] == "[":
                self._read_header(start)
            else:
                path, place = self._read_pair(self._table)
                self.statements.append(Statement(start, self._at, path, place, is_header=False))
            self.unfinished = None

    def _read_header(self, start: int) -> None:
        is_list = self._text.startswith("[[", start)
        self._at += 1 + is_list
        parts = [*self._key_parts()]
        self._expect("]]" if is_list else "]")
        path: Path = ()
        for index, (part, key, key_end) in enumerate(parts):
            path = (*path, part)
            if is_list and index == len(parts) - 1:
                self._counts[path] = self._counts.get(path, 0) + 1
            self.places.setdefault(path, Place(key, key_end, start, self._at))
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
                self.places.setdefault(path, Place(key, key_end, start, self._at))
        self._table = path
        place = Place(parts[0][1], parts[-1][2], start, self._at)
        self.statements.append(Statement(start, self._at, path, place, is_header=True))

    def _read_pair(self, table: Path) -> tuple[Path, Place]:
        parts = [*self._key_parts()]
        path = table
        for part, *_ in parts:
            path = (*path, part)
        if self.unfinished is not None and table == self._table:
            self.unfinished = path, self.unfinished[1]
        self._expect("=")
        self._skip(_SPACE)
        value = self._at
        self._read_value(path)
        path = table
        for part, key, key_end in parts:
            path = (*path, part)
            self.places.setdefault(path, Place(key, key_end, value, self._at))
        return path, Place(parts[0][1], parts[-1][2], value, self._at)

    def _key_parts(self) -> Iterator[tuple[str, int, int]]:
        while True:
            self._skip(_SPACE)
            found = _KEY_PART.match(self._text, self._at)
            if found is None:
                raise _Stop
            self._at = found.end()
            yield _name_of(found[0]), found.start(), found.end()
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return
            self._at += 1

    def _read_value(self, path: Path) -> None:
        opening = self._text[self._at : self._at + 1]
        if opening == "[":
            self._read_list(path)
        elif opening == "{":
            self._read_table(path)
        elif opening and opening in "\"'":
            self._take(_STRING)
        else:
            self._take(_SCALAR)
            while self._text[self._at - 1] in " \t":
                self._at -= 1

    def _read_list(self, path: Path) -> None:
        self._at += 1
        index = 0
        while True:
            self._skip(_TRIVIA)
            if self._text.startswith("]", self._at):
                self._at += 1
                return
            start = self._at
            element = (*path, index)
            self._read_value(element)
            self.places[element] = Place(start, self._at, start, self._at)
            index += 1
            self._skip(_TRIVIA)
            if self._text.startswith(",", self._at):
                self._at += 1
            elif not self._text.startswith("]", self._at):
                raise _Stop

    def _read_table(self, path: Path) -> None:
        self._at += 1
        while True:
            self._skip(_TRIVIA)
            if self._text.startswith("}", self._at):
                self._at += 1
                return
            self._read_pair(path)
            self._skip(_TRIVIA)
            if self._text.startswith(",", self._at):
                self._at += 1
            elif not self._text.startswith("}", self._at):
                raise _Stop

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _take(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise _Stop
        self._at = found.end()

    def _expect(self, text: str) -> None:
        if not self._text.startswith(text, self._at):
            raise _Stop
        self._at += len(text)


def _name_of(written: str) -> str:
    """Return the name that a part of a key stands for."""
    if written[0] == "'":
        return written[1:-1]
    if written[0] != '"':
        return written
    if "\\" not in written:
        return written[1:-1]
    try:
        return str(tomllib.loads(f"name = {written}")["name"])
    except tomllib.TOMLDecodeError:
        return written[1:-1]
