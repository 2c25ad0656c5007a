"""Set a member of an object in JSON with comments and trailing commas, without a change to the rest. Pure.

Invariant: after the edit, the text has the values of the text before and the edit, and no other.
"""

import json
import re
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Final, cast

import attrs

from .import_json import plain_json, read_json, without_comments
from .import_texts import BadImport
from .tables import BadConfig

_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_COMMENT: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|//[^\n\r]*|/\*.*?\*/', re.DOTALL)
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_USUAL_INDENT: Final = "  "
# Each edit reads the text again, so an entry with more differences is replaced as a whole.
_MOST_EDITS: Final = 100


@attrs.frozen
class _Member:
    """A member of an object: the positions of its key and of its value in the text."""

    key: str
    start: int
    value: int
    end: int


def with_member(text: str, path: Sequence[str], value: object) -> str:
    """Return the text with a value at a path of keys; objects on the way are created. Raises BadConfig and BadImport.

    An object with comments that replaces another keeps the comments, except those on the lines of members that it loses. A text
    in which every line ends with CR LF keeps that.
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
    former: object = inner.get(path[-1])
    inner[path[-1]] = value
    if _are_objects(value, former) and _has_comments(text, path):
        new = _merged(text, path, cast("dict[str, Any]", former), cast("dict[str, Any]", value))
        if _means(new, wanted):
            return new
    new = _edited(text, path, value)
    if not _means(new, wanted):
        raise BadConfig(
            f"{'.'.join(path)}: the file has a spelling that cannot be edited here; add it by hand"
        )
    return new


def _are_objects(*values: object) -> bool:
    return all(isinstance(value, dict) for value in values)


def _means(text: str, wanted: object) -> bool:
    try:
        return read_json(text) == wanted
    except BadImport:
        return False


def _has_comments(text: str, path: Sequence[str]) -> bool:
    """Return whether the value at a path, which exists, has a comment inside."""
    plain = plain_json(text)
    members, number = _member_at(plain, path)
    member = members[number]
    return any(not found[0].startswith('"') for found in _COMMENT.finditer(text[member.value : member.end]))


def _merged(text: str, path: Sequence[str], former: dict[str, Any], value: dict[str, Any]) -> str:
    """Return the text with the members of an object that differ from the former one, each edited alone."""
    lost = [key for key in former if key not in value]
    changed = [key for key in value if key not in former or former[key] != value[key]]
    if len(lost) + len(changed) > _MOST_EDITS:
        return text
    for key in changed:
        text = _edited(text, (*path, key), value[key])
    for key in lost:
        text = _removed(text, (*path, key))
    return text


def _removed(text: str, path: Sequence[str]) -> str:
    """Return the text without the member at a path, and without its comma or, for the last member, the one before it."""
    members, number = _member_at(plain_json(text), path)
    bare = without_comments(text)
    member = members[number]
    start, end = member.start, member.end
    rest = bare[end:].lstrip()
    if rest.startswith(","):
        end = len(bare) - len(rest) + 1
    elif number:
        comma = bare.index(",", members[number - 1].end)
        text = f"{text[:comma]}{text[comma + 1 :]}"
        bare = f"{bare[:comma]}{bare[comma + 1 :]}"
        start, end = member.start - 1, end - 1
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    # The comment of a line goes with its member, unless it goes on after the line.
    alone = not text[first:start].strip() and not bare[end:last].strip() and "/*" not in text[end:last]
    return text[:first] + text[last + 1 :] if alone else text[:start] + text[end:].lstrip(" \t")


def _member_at(plain: str, path: Sequence[str]) -> tuple[list[_Member], int]:
    """Return the members of an object, and the number of the one at a path, which exists."""
    members, _ = _members(plain, plain.index("{"))
    for key in path[:-1]:
        members, _ = _members(plain, members[_number_of(members, key)].value)
    return members, _number_of(members, path[-1])


def _number_of(members: list[_Member], key: str) -> int:
    return max(number for number, member in enumerate(members) if member.key == key)


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
