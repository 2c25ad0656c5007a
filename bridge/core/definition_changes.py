"""Describe in words what differs between two versions of a definition. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

from .hidden_characters import hidden_in, visible

# The differences that are described; further ones are counted.
MOST: Final = 40
# Of a value that is shown (characters).
_LONGEST: Final = 160
# Of an equal beginning that is shown before the first difference (characters).
_BEFORE: Final = 40
# Deeper values are compared as a whole (levels).
_DEEPEST: Final = 60
_ABSENT: Final = object()
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_$][\w$-]*\Z", re.ASCII)


def differences(old: object, new: object) -> list[str]:
    """Return a line for each difference between two versions, as values of JSON. The lines are printable."""
    found: list[str] = []
    more = 0
    for line in _differences("", old, new, 0):
        if len(found) < MOST:
            found.append(line)
        else:
            more += 1
    return [*found, f"and {more} more"] if more else found


def _differences(path: str, old: object, new: object, depth: int) -> Iterator[str]:
    if _same(old, new):
        return
    both = (old, new)
    if depth < _DEEPEST and isinstance(old, dict) and isinstance(new, dict):
        yield from _in_objects(
            path, cast("Mapping[str, object]", old), cast("Mapping[str, object]", new), depth
        )
    elif path.rpartition(".")[2] == "required" and isinstance(old, list) and isinstance(new, list):
        yield from _in_required(path, cast("Sequence[object]", old), cast("Sequence[object]", new))
    else:
        yield from _in_values(path or "value", *both)


def _in_objects(path: str, old: Mapping[str, object], new: Mapping[str, object], depth: int) -> Iterator[str]:
    what = "property" if path.rpartition(".")[2] == "properties" else "member"
    for key in [*old, *(key for key in new if key not in old)]:
        below = f"{path}.{_key(key)}" if path else _key(key)
        if key not in new:
            yield f"{below}: {what} removed, was {_shown(old[key])}"
        elif key not in old:
            yield f"{below}: {what} added: {_shown(new[key])}"
            yield from _hidden(below, _ABSENT, new[key])
        else:
            yield from _differences(below, old[key], new[key], depth + 1)


def _in_required(path: str, old: Sequence[object], new: Sequence[object]) -> Iterator[str]:
    for one in new:
        if one not in old:
            yield f"{path}: {_shown(one)} is required now"
    for one in old:
        if one not in new:
            yield f"{path}: {_shown(one)} is not required any more"


def _in_values(path: str, old: object, new: object) -> Iterator[str]:
    if isinstance(old, str) and isinstance(new, str):
        start = max(_first_difference(old, new) - _BEFORE, 0)
        yield f"{path}: changed from {_excerpt(old, start)} to {_excerpt(new, start)}"
    else:
        yield f"{path}: changed from {_shown(old)} to {_shown(new)}"
    yield from _hidden(path, old, new)


def _first_difference(old: str, new: str) -> int:
    pairs = enumerate(zip(old, new, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(old), len(new)))


def _hidden(path: str, old: object, new: object) -> Iterator[str]:
    known = hidden_in(_text(old))
    added = [one for one in hidden_in(_text(new)) if one not in known]
    if added:
        yield f"{path}: has hidden characters now: {', '.join(added)}"


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is _ABSENT else json.dumps(value, ensure_ascii=False)


def _same(old: object, new: object) -> bool:
    # true and 1 are equal in Python, and different in JSON.
    return old == new and json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)


def _key(key: str) -> str:
    return key if _PLAIN_KEY.match(key) else visible(json.dumps(key, ensure_ascii=False))


def _shown(value: object) -> str:
    return (
        _excerpt(value, 0) if isinstance(value, str) else visible(_cut(json.dumps(value, ensure_ascii=False)))
    )


def _excerpt(text: str, start: int) -> str:
    part = _cut(text[start:])
    return visible(json.dumps(f"{'...' if start else ''}{part}", ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
