"""Set a member of an object in JSON with comments and trailing commas, without a change to the rest. Pure.

Invariant: after the edit, the text has the values of the text before and the edit, and no other.
"""

import json
import re
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Final, cast

import attrs

from .import_json import plain_json, read_json
from .import_texts import BadImport
from .tables import BadConfig

_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_COMMENT: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|//[^\n\r]*|/\*.*?\*/', re.DOTALL)
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_USUAL_INDENT: Final = "  "


@attrs.frozen
class _Member:
    """A member of an object: the positions of its key and of its value in the text."""

    key: str
    start: int
    value: int
    end: int


def with_member(text: str, path: Sequence[str], value: object) -> str:
    """Return the text with a value at a path of keys; objects on the way are created. Raises BadConfig and BadImport.

    A text in which every line ends with CR LF keeps that.
    """
    if (plain := with_plain_ends(text)) != text:
        return with_member(plain, path, value).replace("\n", "\r\n")
    text = text if text.strip("\ufeff \t\r\n") else "{}\n"
    try:
        return _checked(text, path, value)
    except RecursionError:
        raise BadImport("the JSON is nested too deeply") from None


def with_plain_ends(text: str) -> str:
    """Return a text with LF in place of CR LF, if every line ends with CR LF; else the same text."""
    return text.replace("\r\n", "\n") if text.count("\r\n") == text.count("\n") else text


def _checked(text: str, path: Sequence[str], value: object) -> str:
    wanted = deepcopy(read_json(text))
    inner: dict[str, Any] = wanted
    for key in path[:-1]:
        found = inner.setdefault(key, {})
        if not isinstance(found, dict):
            raise BadConfig(f"{'.'.join(path)}: {key} is not an object")
        inner = cast("dict[str, Any]", found)
    inner[path[-1]] = value
    new = _edited(text, path, value)
    try:
        same = read_json(new) == wanted
    except BadImport:
        same = False
    if not same:
        raise BadConfig(
            f"{'.'.join(path)}: the file has a spelling that cannot be edited here; add it by hand"
        )
    return new


def _edited(text: str, path: Sequence[str], value: object) -> str:
    plain = plain_json(text)
    start = plain.index("{")
    unit = _unit(plain, start)
    members, end = _members(plain, start)
    for depth, key in enumerate(path):
        member = next((one for one in reversed(members) if one.key == key), None)
        rest = path[depth + 1 :]
        if member is None:
            for name in reversed(rest):
                value = {name: value}
            return _inserted(text, start, members, end, key, value, unit)
        if not rest:
            new = _rendered(value, unit, _indent_at(plain, member.start))
            return text[: member.value] + new + text[member.end :]
        start = member.value
        members, end = _members(plain, start)
    raise AssertionError("the path is empty")  # pragma: no cover - every caller has a path


def _members(plain: str, start: int) -> tuple[list[_Member], int]:
    """Return the members of the object that begins at a position, and the position of its closing brace."""
    members: list[_Member] = []
    depth = 0
    key = ""
    key_start = value = -1
    last = start
    for token in _TOKEN.finditer(plain, start):
        word = token[0]
        if depth == 1 and value < 0 and word.startswith('"') and key_start < 0:
            key, key_start = json.loads(word), token.start()
        elif depth == 1 and word in ",}":
            if key_start >= 0:
                members.append(_Member(key, key_start, value, last))
            key_start = value = -1
        elif depth == 1 and word != ":" and value < 0:
            value = token.start()
        depth += (word in "{[") - (word in "}]")
        if depth == 0:
            return members, token.start()
        last = token.end()
    raise AssertionError("the text was valid JSON")  # pragma: no cover - the closing brace comes first


def _unit(plain: str, start: int) -> str:
    """Return the indentation of one level."""
    found = re.match(r"\{[ \t]*\r?\n([ \t]+)", plain[start:])
    return found[1] if found else _USUAL_INDENT


def _indent_at(plain: str, position: int) -> str:
    """Return the white space at the beginning of a line."""
    line = plain[plain.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip())]


def _rendered(value: object, unit: str, indent: str) -> str:
    return _json(value, unit).replace("\n", f"\n{indent}")


def _json(value: object, unit: str | None = None) -> str:
    """Return a value as JSON, with half a surrogate pair escaped, because UTF-8 has none."""
    text = json.dumps(value, indent=unit, ensure_ascii=False)
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _inserted(
    text: str, start: int, members: list[_Member], end: int, key: str, value: object, unit: str
) -> str:
    outer = _indent_at(text, start) if "\n" in text[:start] else ""
    own_line = (
        bool(members) and not text[text.rfind("\n", 0, members[0].start) + 1 : members[0].start].strip()
    )
    indent = _indent_at(text, members[0].start) if own_line else outer + unit
    new = f"\n{indent}{_json(key)}: {_rendered(value, unit, indent)}"
    after = members[-1].end if members else start + 1
    tail = text[after:end]
    comma = "," if members and not _has_comma(tail) else ""
    kept = tail.rstrip()
    return f"{text[:after]}{comma}{kept}{new}\n{outer}{text[end:]}"


def _has_comma(tail: str) -> bool:
    return "," in _COMMENT.sub("", tail)
