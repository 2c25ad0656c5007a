"""Format the text of a configuration file: order of the tables, spacing, and lists. Comments stay, and the meaning too.

The order of keys within a table, and of servers and tokens, is that of the file, because the operator has chosen it.
"""

import re
import tomllib
from collections import Counter
from typing import Final, cast

import attrs

from .schema import File
from .toml_positions import Positions, Statement

# The order of the tables, by their first key. Tables that are not in the schema come last.
_ORDER: Final = {name: rank for rank, name in enumerate(field.name for field in attrs.fields(File))}
_TOKEN: Final = re.compile(
    r'"""(?:[^"\\]++|\\.|"{1,2}+(?!"))*+"{3,5}'
    r"|'''(?:[^']++|'{1,2}+(?!'))*+'{3,5}"
    r'|"(?:[^"\\\n]++|\\.)*+"'
    r"|'[^'\n]*'|#[^\n]*|\n|[\[\]{},=]|[^\s\[\]{},=#\"']+(?:[ \t]+[0-9][^\s\[\]{},=#\"']*)?",
    re.DOTALL,
)
_INDENT: Final = "  "


class CannotFormat(Exception):
    """Raised for a text whose formatted form would not have the same meaning or comments."""


@attrs.define
class _Section:
    """A header with the lines before it and below it; the first one has no header."""

    name: str
    before: list[str] = attrs.field(factory=list[str])
    lines: list[str] = attrs.field(factory=list[str])


def formatted(text: str) -> str:
    """Return the text of a valid file in its usual form. A second call changes nothing. Raises CannotFormat."""
    text = text.replace("\r\n", "\n")
    positions = Positions(text)
    preamble, sections, rest = _sections_of(text, positions.statements)
    top, *tables = sections
    tables.sort(key=lambda section: _ORDER.get(section.name, len(_ORDER)))
    blocks = [preamble, top.lines, *([*section.before, *section.lines] for section in tables), rest]
    found = "\n\n".join("\n".join(block) for block in map(_without_blank_ends, blocks) if block)
    new = f"{found}\n" if found else ""
    if positions.unfinished is not None or not _is_same(text, new):
        raise CannotFormat("the text cannot be formatted without a change of its meaning")
    return new


def _sections_of(text: str, statements: list[Statement]) -> tuple[list[str], list[_Section], list[str]]:
    """Return the comment at the begin of a file, its tables, and the comment at its end."""
    sections = [_Section("")]
    preamble: list[str] = []
    before = _lines_of(text[: statements[0].start] if statements else text)
    if statements:
        # A comment with an empty line below it is about the file, not about the first key.
        last = max((index for index, line in enumerate(before) if not line), default=-1)
        preamble, before = before[: last + 1], before[last + 1 :]
    else:
        return before, sections, []
    for index, one in enumerate(statements):
        end = statements[index + 1].start if index + 1 < len(statements) else len(text)
        first, _, following = text[one.end : end].partition("\n")
        comment = first.strip()
        line = _statement_lines(text, one)
        if comment:
            line[-1] += f"  {comment}"
        if one.is_header:
            sections.append(_Section(str(one.path[0]), before, line))
        else:
            section = sections[-1]
            is_first = len(section.lines) <= 1
            section.lines += [*(_without_blank_ends(before) if is_first else before), *line]
        before = _lines_of(following)
    # Comments at the end stay there, unless they are directly below the last key.
    return preamble, sections, before


def _lines_of(between: str) -> list[str]:
    """Return the comments and empty lines of the text between two statements, at most one empty line in a row."""
    lines = [line.strip() for line in between.split("\n")]
    if lines and not lines[-1]:
        # The begin of the line of the next statement.
        lines.pop()
    return [line for index, line in enumerate(lines) if line or not index or lines[index - 1]]


def _without_blank_ends(lines: list[str]) -> list[str]:
    first = next((index for index, line in enumerate(lines) if line), len(lines))
    last = next((index for index in range(len(lines), 0, -1) if lines[index - 1]), first)
    found = lines[first:last]
    return [line for index, line in enumerate(found) if line or found[index - 1]]


def _statement_lines(text: str, statement: Statement) -> list[str]:
    """Return the lines of a statement, without its comment."""
    if statement.is_header:
        brackets = "[[" if text.startswith("[[", statement.start) else "["
        inner = _key_text(text[statement.start : statement.end].strip("[] \t"))
        return [f"{brackets}{inner}{']' * len(brackets)}"]
    key = _key_text(text[statement.start : statement.place.key_end])
    return f"{key} = {_Value(text[statement.place.value : statement.end]).formatted()}".split("\n")


def _key_text(key: str) -> str:
    """Return a key without spaces around its dots."""
    parts = re.findall(r"\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[A-Za-z0-9_-]+", key)
    return ".".join(parts)


class _Value:
    """The words of one value: strings, numbers, comments, line ends and punctuation."""

    def __init__(self, text: str) -> None:
        self._words: list[str] = _TOKEN.findall(text)
        self._at = 0

    def formatted(self) -> str:
        """Return the value in its usual form."""
        return self._value("")

    def _value(self, indent: str) -> str:
        word = self._next()
        if word == "[":
            return self._list(indent)
        return self._table() if word == "{" else word

    def _next(self) -> str:
        self._at += 1
        return self._words[self._at - 1]

    def _list(self, indent: str) -> str:
        """Return a list: on one line, or with a line for each element if it had several lines."""
        deeper = indent + _INDENT
        lines: list[str] = []
        elements: list[str] = []
        is_long = is_line_begun = False
        while (word := self._next()) != "]":
            if word == "\n":
                is_long, is_line_begun = True, False
            elif word.startswith("#"):
                if is_line_begun and lines:
                    lines[-1] += f"  {word.rstrip()}"
                else:
                    lines.append(f"{deeper}{word.rstrip()}")
            elif word != ",":
                self._at -= 1
                elements.append(self._value(deeper))
                lines.append(f"{deeper}{elements[-1]},")
                is_line_begun = True
        if not is_long:
            return f"[{', '.join(elements)}]"
        return "\n".join(["[", *lines, f"{indent}]"]) if lines else "[]"

    def _table(self) -> str:
        parts: list[str] = []
        while (word := self._next()) != "}":
            if word in {",", "\n"}:
                continue
            key = word
            while (word := self._next()) != "=":
                key += word
            parts.append(f"{_key_text(key)} = {self._value('')}")
        return f"{{ {', '.join(parts)} }}" if parts else "{}"


def _is_same(old: str, new: str) -> bool:
    """Return whether two texts have the same values in the same order within each table, and the same comments."""
    try:
        before, after = tomllib.loads(old), tomllib.loads(new)
    except tomllib.TOMLDecodeError:
        return False
    return _ordered(before, top=True) == _ordered(after, top=True) and _comments(old) == _comments(new)


def _ordered(value: object, *, top: bool = False) -> object:
    if isinstance(value, dict):
        pairs = [(key, _ordered(one)) for key, one in cast("dict[str, object]", value).items()]
        return sorted(pairs, key=_first) if top else pairs
    if isinstance(value, list):
        return [_ordered(one) for one in cast("list[object]", value)]
    return type(value).__name__, str(value)


def _first(pair: tuple[str, object]) -> str:
    return pair[0]


def _comments(text: str) -> Counter[str]:
    return Counter(
        word.rstrip() for word in _TOKEN.findall(text.replace("\r\n", "\n")) if word.startswith("#")
    )
