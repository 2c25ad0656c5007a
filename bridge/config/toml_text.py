"""Write tables as TOML, for `config show`."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+\Z")
# The last character of the Basic Multilingual Plane.
_BASIC: Final = 0xFFFF
# A line longer than this has its list over several lines (characters).
_WIDTH: Final = 100


def written(tables: Mapping[str, Any], comments: Mapping[tuple[str, ...], list[str]] | None = None) -> str:
    """Return tables as TOML. `comments` are lines of text for the tables with these paths."""
    return "\n".join(_lines(tables, (), comments or {})).strip("\n") + "\n"


def key_text(key: str) -> str:
    """Return a key, in quotes if it needs them."""
    return key if _BARE.match(key) else _string(key)


def value_text(value: object) -> str:
    """Return a value on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, cast('list[object]', value)))}]"
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        inner = ", ".join(f"{key_text(key)} = {value_text(one)}" for key, one in pairs)
        return f"{{ {inner} }}" if inner else "{}"
    return str(value)


def _string(text: str) -> str:
    """Return a string in quotes. Characters that could control a terminal or reorder its text are escaped."""
    return f'"{"".join(map(_character, text))}"'


def _character(one: str) -> str:
    if one in '"\\':
        return f"\\{one}"
    if one.isprintable():
        return one
    return f"\\u{ord(one):04x}" if ord(one) <= _BASIC else f"\\U{ord(one):08x}"


def _lines(
    table: Mapping[str, Any], path: tuple[str, ...], comments: Mapping[tuple[str, ...], list[str]]
) -> Iterator[str]:
    """Yield the lines of a table: first its own values, because a header ends it, then its tables of tables."""
    inner = {key: one for key, one in table.items() if _is_section(one, path)}
    values = {key: one for key, one in table.items() if key not in inner}
    notes = comments.get(path, [])
    if path and (values or notes or not inner):
        yield f"\n[{'.'.join(map(key_text, path))}]"
    yield from (f"# {note}" for note in notes)
    for key, one in values.items():
        yield from _pair(key, one)
    for key, one in inner.items():
        yield from _lines(one, (*path, key), comments)


def _is_section(value: object, path: tuple[str, ...]) -> bool:
    """Return whether a table gets a header. The tables of a server or a token stay on one line, unless they are long."""
    if not isinstance(value, dict):
        return False
    return len(path) < 2 or len(value_text(cast("dict[str, object]", value))) > _WIDTH


def _pair(key: str, value: object) -> Iterator[str]:
    line = f"{key_text(key)} = {value_text(value)}"
    if len(line) <= _WIDTH or not isinstance(value, list | tuple):
        yield line
        return
    yield f"{key_text(key)} = ["
    yield from (f"  {value_text(one)}," for one in cast("list[object]", value))
    yield "]"
