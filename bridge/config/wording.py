"""Explain in words why a value of the configuration does not have the type of its key.

It is imported after an error only. The names of types are those of TOML: string, list, table, true and false.
"""

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, cast, get_args, get_origin

from msgspec import Meta

from ..core.suggestion import suggestion as by_similarity
from .child_environment import shown

# The elements of a list or a table whose faults are listed.
_MOST_ELEMENTS: Final = 8
# Keys of other programs' configurations, and what to write here instead.
_ELSEWHERE: Final = {
    "autoapprove": "tools.allow",
    "alwaysallow": "tools.allow",
    "bearertoken": "secret_headers",
    "cmd": "command",
    "directory": "cwd",
    "disabled": "enabled = false",
    "disabledtools": "tools.deny",
    "enabledtools": "tools.allow",
    "environment": "env",
    "excludetools": "tools.deny",
    "httpurl": "url",
    "includetools": "tools.allow",
    "mcpservers": "servers",
    "port": "listen.http",
    "server": "servers",
    "serverurl": "url",
    "timeout": "limits.call_seconds",
    "type": "transport",
    "workingdirectory": "cwd",
}


class TypeFault(NamedTuple):
    """Why a value cannot be used. `path` leads from the key to the value; `text` continues a sentence about it.

    `is_key` is whether the last part of the path is a key that cannot be used.
    """

    path: tuple[str | int, ...]
    text: str
    is_key: bool = False


def type_faults(hint: object, value: object, *, hidden: bool) -> list[TypeFault]:
    """Return every reason why a value does not have a type. With `hidden` no text holds a part of the value."""
    # A type that is not known here must not turn an invalid value into a valid one.
    return [*_faults(hint, value, (), hidden=hidden)] or [TypeFault((), f"must be {described(hint)}")]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?` for the name that is most similar, or an empty text."""
    names = [*known]
    by_form: dict[str, str] = {}
    for one in names:
        by_form.setdefault(_form(one), one)
    if instead := by_form.get(_form(name)):
        return f"; did you mean {instead!r}?"
    return by_similarity(name, names)


def unknown_key(name: str, known: Iterable[str], others: Iterable[tuple[str, str]] = ()) -> str:
    """Return the error text for a key that a table does not have.

    `known` are the keys of the table, and `others` the keys of other tables, each with its table.
    """
    names = [*known]
    text = f"there is no key {shown(name)}"
    form = _form(name)
    if form not in map(_form, names):
        if (instead := _ELSEWHERE.get(form)) and instead.split(".")[0].split(" ")[0] in names:
            return f"{text}; use {instead}"
        tables = [table for key, table in others if key == name]
        if tables:
            return f"{text}; it belongs into {' or '.join(dict.fromkeys(tables))}"
    return text + (suggestion(name, names) or f"; there are {', '.join(names)}")


def _form(name: str) -> str:
    """Return a name as it is compared: `envFile`, `env-file` and `env_file` are the same."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _faults(hint: object, value: object, path: tuple[str | int, ...], *, hidden: bool) -> Iterator[TypeFault]:
    base, metas = _parts(hint)
    if get_origin(base) in (Union, UnionType):
        yield from _faults_of_union(get_args(base), value, path, hidden=hidden)
        return
    if not _has_kind(base, value):
        yield TypeFault(path, f"must be {described(hint)}{_instead(value, hidden=hidden)}")
        return
    origin, arguments = get_origin(base), get_args(base)
    if origin is Literal:
        if value not in arguments:
            close = "" if hidden or not isinstance(value, str) else suggestion(value, filter(None, arguments))
            yield TypeFault(path, f"must be {described(hint)}{_instead(value, hidden=hidden)}{close}")
        return
    yield from (TypeFault(path, text) for text in _limit_faults(base, metas, value, hidden=hidden))
    if origin is tuple:
        found = [
            fault
            for index, one in enumerate(cast("list[object]", value))
            for fault in _faults(arguments[0], one, (*path, index), hidden=hidden)
        ]
        yield from found[:_MOST_ELEMENTS]
    elif origin is dict:
        yield from _faults_of_table(arguments, cast("dict[str, object]", value), path, hidden=hidden)


def _faults_of_union(
    options: tuple[object, ...], value: object, path: tuple[str | int, ...], *, hidden: bool
) -> Iterator[TypeFault]:
    # TOML has no null, so None stands for an absent key only.
    options = tuple(option for option in options if option is not type(None))
    for option in options:
        if _has_kind(_parts(option)[0], value):
            found = [*_faults(option, value, path, hidden=hidden)]
            if not found:
                return
            if get_origin(_parts(option)[0]) is not Literal:
                yield from found
                return
    words = _joined([described(option) for option in options])
    yield TypeFault(path, f"must be {words}{_instead(value, hidden=hidden)}")


def _faults_of_table(
    arguments: tuple[object, ...], table: dict[str, object], path: tuple[str | int, ...], *, hidden: bool
) -> Iterator[TypeFault]:
    names = get_args(_parts(arguments[0])[0]) if get_origin(_parts(arguments[0])[0]) is Literal else ()
    found: list[TypeFault] = []
    for key, one in table.items():
        if names and key not in names:
            found.append(TypeFault((*path, key), unknown_key(key, names), is_key=True))
        else:
            found += _faults(arguments[1], one, (*path, key), hidden=hidden)
    yield from found[:_MOST_ELEMENTS]


def _parts(hint: object) -> tuple[Any, list[Meta]]:
    """Return a type without its annotations, and these annotations."""
    metas: list[Meta] = []
    while get_origin(hint) is Annotated:
        hint, *more = get_args(hint)
        metas += (one for one in more if isinstance(one, Meta))
    return hint, metas


def _has_kind(base: Any, value: object) -> bool:  # noqa: ANN401 - a type
    """Return whether a value is of the kind of a type, such as a list, whatever its elements are."""
    origin = get_origin(base)
    if origin is Literal:
        return any(type(value) is type(one) for one in get_args(base))
    if origin is tuple:
        return isinstance(value, list)
    if origin is dict:
        return isinstance(value, dict)
    if base is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if base is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if base is NoneType:
        # TOML has no such value.
        return False
    if base is dt.datetime:
        return isinstance(value, dt.datetime)
    return isinstance(value, base) if base in (str, bool) else isinstance(value, dict)


def _limit_faults(base: object, metas: Iterable[Meta], value: Any, *, hidden: bool) -> Iterator[str]:  # noqa: ANN401 - a value of TOML
    for meta in metas:
        size = len(cast("list[object]", value)) if isinstance(value, str | list | dict) else 0
        unit = "characters" if base is str else "elements"
        if meta.min_length is not None and size < meta.min_length:
            yield "must not be empty" if meta.min_length == 1 else f"needs at least {meta.min_length} {unit}"
        if meta.max_length is not None and size > meta.max_length:
            yield f"has {size} {unit}; the limit is {meta.max_length}"
        if isinstance(value, int | float) and (
            (meta.ge is not None and value < meta.ge) or (meta.le is not None and value > meta.le)
        ):
            yield f"must be {described(Annotated[base, meta])}{_instead(value, hidden=hidden)}"
        if meta.tz and isinstance(value, dt.datetime) and value.tzinfo is None:
            yield f"needs an offset from UTC, such as {value.isoformat()}Z"
        if meta.pattern is not None and isinstance(value, str) and not re.search(meta.pattern, value):
            form: object = (meta.extra or {}).get("form", f"a string that matches {meta.pattern}")
            yield f"must be {form}{_instead(value, hidden=hidden)}"


def described(hint: object) -> str:
    """Return a type in words, such as `a list of strings`."""
    base, metas = _parts(hint)
    origin, arguments = get_origin(base), get_args(base)
    if origin in (Union, UnionType):
        return _joined([described(option) for option in arguments if option is not type(None)])
    if origin is Literal:
        return _joined([_written(one) for one in arguments if one != ""])
    if origin is tuple:
        return f"a list of {_plural(arguments[0])}"
    if origin is dict:
        return f"a table of {_plural(arguments[1])}"
    if base in (int, float):
        return f"a {'whole ' * (base is int)}number{_range(metas)}"
    return {str: "a string", bool: "true or false", dt.datetime: "a date and time"}.get(base, "a table")


def _plural(hint: object) -> str:
    base, _ = _parts(hint)
    if get_origin(base) in (Union, UnionType):
        # The numbers of [limits].
        return "numbers"
    if get_origin(base) is Literal:
        return f"strings, each {described(base)}"
    if get_origin(base) is tuple:
        return f"lists of {_plural(get_args(base)[0])}"
    return {str: "strings", int: "whole numbers", float: "numbers"}.get(base, "tables")


def _range(metas: Iterable[Meta]) -> str:
    for meta in metas:
        if meta.ge is not None and meta.le is not None:
            return f" from {meta.ge:g} to {meta.le:g}" if meta.le < 2**31 else f" of {meta.ge:g} or more"
        if meta.ge is not None:
            return f" of {meta.ge:g} or more"
    return ""


def _joined(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _instead(value: object, *, hidden: bool) -> str:
    """Return `, not VALUE`, or `, not KIND` where the value may be a secret or is long."""
    kinds = (
        (bool, "a boolean"),
        (str, "a string"),
        (int | float, "a number"),
        (list, "a list"),
        (dict, "a table"),
        (dt.datetime | dt.date | dt.time, "a date or time"),
    )
    kind = next((name for type_, name in kinds if isinstance(value, type_)), "another value")
    if hidden or isinstance(value, list | dict):
        return f", not {kind}"
    return f", not the string {shown(value)}" if isinstance(value, str) else f", not {shown(value)}"
