"""Find keys of the configuration by the names that documents use: `listen.hosts`, `[servers.NAME] url`, `share`."""

import re
import tomllib
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import attrs
import msgspec

from mcpbridged.bridge.config import schema
from mcpbridged.validators.limits import Limits

LIMITS = {field.name: field.default for field in attrs.fields(Limits)}


def classes(cls: type = schema.File) -> set[type]:
    """Return the classes of all tables."""
    found = {cls}
    for hint in get_type_hints(cls, include_extras=True).values():
        for one in _types(hint):
            for inner in (one, *get_args(one)):
                for deepest in _types(inner):
                    if attrs.has(deepest) and deepest not in found:
                        found |= classes(deepest)
    return found


def _types(hint: Any) -> Iterator[Any]:
    """Yield a type, or those of a union, without their limits."""
    if get_origin(hint) is Annotated:
        yield from _types(hint.__origin__)
    elif get_origin(hint) in (Union, types.UnionType):
        for one in get_args(hint):
            yield from _types(one)
    else:
        yield hint


def _below(hint: Any, names: list[str]) -> Iterator[tuple[Any, Any]]:
    """Yield the type and the default of each key at a path below a type."""
    if not names:
        yield hint, attrs.NOTHING
        return
    first, *rest = names
    for one in _types(hint):
        if attrs.has(one):
            fields = attrs.fields_dict(one)
            if first in fields:
                inner = get_type_hints(one, include_extras=True)[first]
                if first == "limits" and rest:
                    # A table of limits has the names of Limits, and no other.
                    if rest[0] in LIMITS and len(rest) == 1:
                        yield int | float, LIMITS[rest[0]]
                elif rest:
                    yield from _below(inner, rest)
                else:
                    yield inner, fields[first].default
        elif get_origin(one) is dict:
            yield from _below(get_args(one)[1], rest)


def found(path: str) -> list[tuple[Any, Any]]:
    """Return type and default of each key with this path, from the top of the file or from any table."""
    names = re.findall(r'"[^"]*"|[^.]+', path)
    return [pair for cls in classes() for pair in _below(cls, names)]


def is_table(path: str) -> bool:
    """Return whether there is a table such as `tokens.NAME`."""
    return bool(list(_below(schema.File, path.split("."))))


def default_of(path: str) -> list[Any]:
    """Return the defaults of the keys with this path, with the values of factories."""
    values = [default for _, default in found(path) if default is not attrs.NOTHING]
    return [
        value.factory() if isinstance(value, attrs.Factory) else value  # type: ignore[misc]
        for value in values
    ]


def statement_fault(text: str) -> str:
    """Return what is wrong with `key = value` or `[table] key = value`, and "" if the file may have it."""
    table, _, rest = text.rpartition("] ")
    prefix = f"{table.strip(' [')}." if table else ""
    try:
        whole = tomllib.loads(rest)
    except tomllib.TOMLDecodeError as fault:
        return f"{text}: {fault}"
    for path, value in _leaves(whole):
        pairs = found(prefix + path)
        if not pairs:
            return f"{text}: there is no key {prefix}{path}"
        if not any(_accepts(hint, value) for hint, _ in pairs):
            return f"{text}: no key {prefix}{path} has such a value"
    return ""


def _leaves(table: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        path = f"{before}{name}"
        # The keys of an inline table may be names that the user chooses.
        if isinstance(value, dict) and value and (name == "limits" or not found(path)):
            yield from _leaves(value, f"{path}.")
        elif isinstance(value, dict) and len(value) == 1 and found(path):
            inner = f"{path}.{next(iter(value))}"
            if found(inner):
                yield from _leaves(value, f"{path}.")
            else:
                yield path, value
        else:
            yield path, value


def _accepts(hint: Any, value: Any) -> bool:
    # "..." stands for any text.
    if value == "...":
        return any(one is str for one in _types(hint))
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError:
        return False
    return True
