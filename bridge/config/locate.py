"""Find where an error of the configuration is in its file: line, column, and the part of the line that may be shown.

It is imported after an error only, so that the start with a valid file costs nothing more. A value is shown only if its key is
one whose values are no secrets. The errors of tomllib are put in words here.
"""

import re
import tomllib
from typing import Any, Final, NamedTuple

from .child_environment import SECRET_VALUE, looks_random
from .toml_positions import Path, Positions, Statement

# The longest part of a line that is shown (characters).
_LONGEST: Final = 120
# After so many syntax errors the rest of a file is not read.
_MOST_SYNTAX_ERRORS: Final = 20
# In a larger text (characters) only the first syntax error is reported, because each costs another pass over the text.
_LARGE: Final = 128 * 1024
# The keys whose values are shown. The values of other keys, and of unknown ones, may be secrets.
_SHOWN: Final = frozenset(
    {
        *("aggregate", "aggregates", "approval", "calls", "config_version", "connect_seconds", "cwd_trust", "enabled"),
        *("era", "features", "format", "health", "level", "limits", "listen", "log", "name", "pin", "plain_http", "rename"),
        *("private_tmp", "network", "connect", "sandbox", "sandbox_preset", "rlimits", "servers", "share", "spare", "start", "tls_cert", "tls_key", "tokens", "tools"),
        *("transport", "umask", "unix", "authenticate", "allow", "deny", "surface", "actions"),
    }
)  # fmt: skip
# The keys below which any name is a key whose value is shown.
_TABLES_OF_PLAIN_VALUES: Final = frozenset({"limits", "rename", "rlimits"})
_KNOWN_WORD: Final = re.compile(r"[a-z][a-z_]*")
_AT: Final = re.compile(r" \(at line (\d+), column (\d+)\)\Z")
_AT_END: Final = re.compile(r" \(at end of document\)\Z")
_TWICE: Final = re.compile(r"Cannot declare \((.*)\) twice")
_VALUE: Final = re.compile(r"[^=\n]*=[ \t]*")
_DUPLICATE: Final = ("Cannot overwrite", "Cannot declare", "Cannot mutate", "Duplicate inline table key")
# The beginnings of messages of tomllib, and the same in words.
_MESSAGES: Final = (
    ("Expected '='", "a key must be followed by = and a value; a key with spaces needs quotes"),
    *(
        (start, "the string{begun} is not closed: its quote is missing")
        for start in ("Illegal character", "Unterminated", 'Expected "\'"', "Expected '\"'")
    ),
    *(
        (start, "a backslash in a string in \"…\" must be doubled; a string in '…' needs none")
        for start in ("Unescaped", "Invalid hex")
    ),
    ("Unclosed array", "a comma or ] is missing in the list{begun}"),
    ("Unclosed inline table", "a comma or }} is missing in the inline table, which must be on one line"),
    ("Expected ']'", "] is missing after the name of the table"),
    ("Invalid statement", "a line must be a [table], a KEY = VALUE, or a comment after #"),
    ("Invalid initial character", "a key must follow here; an inline table does not end with a comma"),
)
# The line of a header, or of a key with its value: what follows a broken statement.
_NEXT_STATEMENT: Final = re.compile(
    r"""^[ \t]*(?:\[|(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')[ \t]*[.=:])""", re.MULTILINE
)
_NEXT_HEADER: Final = re.compile(r"^[ \t]*\[", re.MULTILINE)
# More decimal digits than Python reads as a number; TOML allows underscores between them.
_LONG_NUMBER: Final = re.compile(r"[0-9](?:_?[0-9]){4300,}")


class Spot(NamedTuple):
    """A place in the file. `source` is the shown part of the line, and `mark` and `width` the part of it to underline."""

    line: int
    column: int
    source: str = ""
    mark: int = 0
    width: int = 1


class SyntaxFault(NamedTuple):
    """An error of the syntax of TOML, with its place."""

    text: str
    spot: Spot


class Locator:
    """Finds places in one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._positions = Positions(text)

    def spot(self, path: Path, *, is_key: bool) -> Spot | None:
        """Return the place of a value, or of its key; None where no part of the path is in the text."""
        place = self._positions.find(path)
        if place is None:
            return None
        whole = path in self._positions.places
        # A table has no value of its own, and the key of a missing one is that of the table around it.
        on_key = is_key or not whole or (self._text.startswith("[", place.value) and place.value < place.key)
        start, end = (place.key, place.key_end) if on_key else (place.value, place.value_end)
        line, column = self._positions.line_and_column(start)
        # Another key of an inline table could hold a secret.
        shows_value = whole and not on_key and _may_show(path) and "=" not in self._text[start:end]
        if shows_value or on_key:
            source, mark = _excerpt(self._text, place.key, start, end, shows_value=shows_value)
        else:
            source, mark = _hidden_value(self._text, place.key, start)
        width = min(end, self._end_of_line(start)) - start
        return Spot(line, column, source, mark, max(1, min(width, len(source) - mark)))

    def _end_of_line(self, offset: int) -> int:
        end = self._text.find("\n", offset)
        return len(self._text) if end < 0 else end


def _excerpt(text: str, key: int, start: int, end: int, *, shows_value: bool) -> tuple[str, int]:
    """Return the part of a line from the key on, and where the marked part begins in it."""
    begin = text.rfind("\n", 0, start) + 1
    # An element of a list may be on another line than its key.
    first = key if key >= begin and key <= start else start
    line_end = text.find("\n", start)
    stop = min(end, len(text) if line_end < 0 else line_end)
    shown = text[first:stop].rstrip()
    if shows_value and is_safe(shown):
        return shown[:_LONGEST], start - first
    if shows_value:
        return _hidden_value(text, key, start)
    rest = "" if text[stop : stop + 1] in ("", "\n", "\r", "]") else " = …"
    return (f"{shown}{rest}"[:_LONGEST], 0) if is_safe(shown) else ("", 0)


def _hidden_value(text: str, key: int, start: int) -> tuple[str, int]:
    """Return a key without its value, and where the value would begin."""
    equals = text.find("=", key, start)
    head = text[key : equals + 1] if equals >= 0 and "\n" not in text[key:start] else ""
    return (f"{head} …", len(head) + 1) if head and is_safe(head) else ("", 0)


def is_safe(text: str) -> bool:
    """Return whether a text looks like no secret."""
    return not (
        SECRET_VALUE.search(text)
        or "@" in text
        or any(map(looks_random, re.findall(r"[A-Za-z0-9+_=-]{20,}", text)))
    )


def _may_show(path: Path) -> bool:
    names = [part for part in path if isinstance(part, str)]
    if len(names) > 1 and names[0] in ("servers", "tokens", "aggregates"):
        names[1:2] = []
    for index, name in enumerate(names):
        if name in _TABLES_OF_PLAIN_VALUES and all(one in _SHOWN for one in names[:index]):
            return True
        if name not in _SHOWN:
            return False
    return True


def parse_all(text: str) -> tuple[dict[str, Any], str, list[SyntaxFault]]:
    """Return the tables of a text, the text that was read, and the syntax errors. Raises RecursionError.

    A statement with an error is replaced by spaces, so that the places of the others stay.
    """
    faults: list[SyntaxFault] = []
    rest = text
    while True:
        try:
            return tomllib.loads(rest), rest, faults
        except tomllib.TOMLDecodeError as error:
            fault, start, end = _explain(rest, str(error))
        except ValueError:
            # Python limits the digits of a decimal number (sys.set_int_max_str_digits).
            number = _LONG_NUMBER.search(rest)
            start = number.start() if number else 0
            faults.append(SyntaxFault("holds a number that is too long", Spot(*_line_of(rest, start))))
            return {}, rest, faults
        faults.append(fault)
        if len(faults) >= _MOST_SYNTAX_ERRORS or len(text) > _LARGE or not rest[start:end].strip():
            return {}, rest, faults
        rest = rest[:start] + re.sub(r"[^\n]", " ", rest[start:end]) + rest[end:]


def _line_of(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


def _explain(rest: str, message: str) -> tuple[SyntaxFault, int, int]:
    """Return the error in words, and the part of the text to leave out: its statement and the lines that belong to it."""
    found = _AT.search(message)
    plain = _AT_END.sub("", _AT.sub("", message))
    positions = Positions(rest)
    offset = _offset(rest, int(found[1]), int(found[2])) if found else len(rest)
    path, start, is_read = _statement_at(positions, offset)
    if plain.startswith(_DUPLICATE):
        # The parser reports a duplicate after it.
        offset = start
    elif not found:
        # A string or list without an end is reported at the end of the text.
        value = _VALUE.match(rest, start)
        offset = value.end() if value else start
    context = _Context(rest, offset, start, path, positions)
    source, mark = _source_of(rest, start, offset, path)
    after = rest.find("\n", start if is_read else max(start, offset - 1)) + 1 or len(rest)
    line_start = rest.rfind("\n", 0, offset) + 1
    if line_start > start and _NEXT_STATEMENT.match(rest, line_start):
        # The list or string of the lines before it was not closed.
        after = line_start
    follows = (_NEXT_HEADER if rest[start : start + 1] == "[" else _NEXT_STATEMENT).search(rest, after)
    spot = Spot(*_line_of(rest, offset), source, mark)
    return SyntaxFault(context.in_words(plain), spot), start, follows.start() if follows else len(rest)


def _offset(text: str, line: int, column: int) -> int:
    start = 0
    for _ in range(line - 1):
        start = text.find("\n", start) + 1
    return min(len(text), start + column - 1)


def _statement_at(positions: Positions, offset: int) -> tuple[Path, int, bool]:
    """Return the path and the start of the statement with an error, and whether it was read to its end."""
    if positions.unfinished is not None and positions.unfinished[1] <= offset:
        return (*positions.unfinished, False)
    before = [one for one in positions.statements if one.start <= offset]
    if not before:
        return (), 0, False
    last = before[-1]
    # An error after its end is one of the text that follows it on the line.
    return last.path, last.start, offset <= last.end and not _is_within(last, offset)


def _is_within(statement: Statement, offset: int) -> bool:
    return statement.place.value < offset < statement.end and not statement.is_header


class _Context(NamedTuple):
    """The text around a syntax error: its offset, and the start and the path of its statement."""

    text: str
    offset: int
    start: int
    path: Path
    positions: Positions

    def in_words(self, message: str) -> str:
        """Return a message of tomllib in words that say what to write."""
        if message.startswith(_DUPLICATE):
            return self._duplicate(message)
        if message == "Invalid value":
            return self._bad_value()
        if message.startswith("Expected newline"):
            return self._text_after_value()
        if message.startswith("Expected '='") and self._following.startswith(":"):
            return "a key and its value are separated by =, not by :"
        if message.startswith("Invalid initial character") and self.text.startswith("[", self.start):
            return "the name of a table must follow here"
        if message == "Invalid statement" and self.text.lstrip().startswith("{"):
            return "this is JSON, not TOML; `mcp-bridge config import FILE` converts the configuration of another client"
        begun = f" that begins in line {self._begun}" if self._begun != self._line else ""
        words = next((words for start, words in _MESSAGES if message.startswith(start)), "")
        return words.format(begun=begun) if words else message[:1].lower() + message[1:]

    @property
    def _begun(self) -> int:
        return _line_of(self.text, self.start)[0]

    @property
    def _line(self) -> int:
        return _line_of(self.text, self.offset)[0]

    @property
    def _following(self) -> str:
        return self.text[self.offset :].partition("\n")[0].strip()

    def _duplicate(self, message: str) -> str:
        if twice := _TWICE.match(message):
            name = ".".join(re.findall(r"'([^']*)'", twice[1]))
            return f"the table [{name}] is already there{self._before}"
        return f"the key {'.'.join(map(str, self.path[-1:]))} is already set{self._before}"

    @property
    def _before(self) -> str:
        for one in self.positions.statements:
            if one.start < self.start and one.path[: len(self.path)] == self.path:
                return f" in line {_line_of(self.text, one.start)[0]}"
        return ""

    def _bad_value(self) -> str:
        before = self.text[self.start : self.offset]
        if self._line != self._begun and before.count("[") > before.count("]"):
            return f"the list that begins in line {self._begun} is not closed: ] is missing, or a value is not in quotes"
        if not self._following or self._following.startswith("#"):
            return "the value is missing"
        word = re.match(r"[A-Za-z]+", self._following)
        if word and word[0].lower() in ("true", "false", "yes", "no", "on", "off", "null", "none", "nil"):
            return "TOML has the values true and false in small letters, and no others of this kind"
        return (
            "a string must be in quotes"
            if word
            else "this is not a value of TOML; a string must be in quotes"
        )

    def _text_after_value(self) -> str:
        last, following = self.text[: self.offset].rstrip()[-1:], self._following
        if last == "0" and following[:1].isdecimal():
            return "a number does not begin with 0"
        if last and last in "\"'":
            return 'there is more text after the end of the string; a quote within a string in "…" is written as \\"'
        if self.offset and not self.text[self.offset - 1].isspace() and last not in ("]", "}"):
            return "a string must be in quotes"
        return "there is more text after the value; each KEY = VALUE needs a line of its own"


def _source_of(text: str, start: int, offset: int, path: Path) -> tuple[str, int]:
    """Return the part of a line with a syntax error that may be shown, and where the error is in it."""
    begin = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    line = text[begin : len(text) if end < 0 else end].rstrip()
    lead = len(line) - len(line.lstrip())
    is_header = text[start : start + 1] == "["
    if is_safe(line) and (
        (is_header and begin <= start and "=" not in line)
        or (path and _may_show(path) and "#" not in line and line.count("=") < 2)
    ):
        return line[lead:][:_LONGEST], max(0, min(offset - begin - lead, _LONGEST - 1))
    word = _KNOWN_WORD.match(text, start)
    equals = text.find("=", start, offset)
    if begin <= start and equals >= 0 and path and is_safe(text[start:equals]):
        head = f"{text[start : equals + 1]} "
        return f"{head}…", len(head)
    if begin <= start and word and word[0] in _SHOWN:
        return f"{word[0]} …", min(len(word[0]) + 1, offset - start)
    return "", 0
