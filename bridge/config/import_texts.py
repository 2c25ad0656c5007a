"""Texts of an imported configuration, and their form in TOML. No text of a note has a value of the input."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from ..core.exit_codes import EX_CONFIG, ReportedError
from .schema import LONGEST_TEXT

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+\Z")
# The tables of a server that are written with a heading of their own. Others are written as dotted keys.
_HEADED: Final = frozenset({"env", "secrets", "headers", "secret_headers"})


class BadImport(ReportedError):
    """Raised for a text without servers. The text of the error is the reason."""

    exit_code = EX_CONFIG


class NoServers(BadImport):
    """Raised for a text of a known form that has no servers, or of an unknown form."""


class LeftOut(Exception):
    """Raised for a server that is not supported. The text is the reason."""


def as_object(value: object, otherwise: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LeftOut(otherwise)
    return cast("dict[str, Any]", value)


def objects_in(value: object) -> dict[str, dict[str, Any]]:
    """Return the members of an object that are objects; none for another value."""
    if not isinstance(value, dict):
        return {}
    members = cast("dict[str, Any]", value)
    return {name: cast("dict[str, Any]", one) for name, one in members.items() if isinstance(one, dict)}


def object_in(value: object, *path: str) -> dict[str, Any]:
    """Return the object at a path of keys; an empty one where there is none."""
    for key in path:
        value = cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_text(value: object) -> str | None:
    """Return a string or a number as text, or None for another type."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    return value if isinstance(value, str) else None


def texts_in(value: object) -> list[str] | None:
    """Return a list of strings, or None for another value."""
    if not isinstance(value, list):
        return None
    found = cast("list[object]", value)
    texts = [one for one in found if isinstance(one, str)]
    return texts if len(texts) == len(found) else None


def why_unfit(text: str) -> str:
    """Return why the configuration cannot hold a text; empty if it can."""
    if len(text) > LONGEST_TEXT:
        return f"has more than {LONGEST_TEXT} characters"
    if "\0" in text:
        return "holds a zero byte"
    return "is not Unicode" if any("\ud800" <= character <= "\udfff" for character in text) else ""


def shown_name(name: str) -> str:
    text = repr(name)
    return text if len(text) <= 60 else text[:59] + "…"


def listed(names: Iterable[str]) -> str:
    """Return names for a note, with invisible characters escaped."""
    text = ", ".join(names)
    return text if text.isprintable() else "".join(map(_visible, text))


def toml_array(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(toml_string, texts))}]"


def toml_key(key: str) -> str:
    """Return a key of TOML, bare where that is possible."""
    return key if _BARE_KEY.match(key) else toml_string(key)


def toml_string(text: str) -> str:
    """Return a text as a TOML basic string on one line, with invisible characters escaped.

    The text must not hold lone surrogates, which TOML cannot express.
    """
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    return f"\\{character}" if character in '"\\' else _visible(character)


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def toml_table(name: str, keys: Mapping[str, Any], comment: str = "") -> str:
    """Return the table `[servers.NAME]` with these keys. Values are strings, numbers, booleans, lists of strings and tables."""
    head = f"[servers.{toml_key(name)}]"
    lines = [head, *([f"# {comment}"] if comment else [])]
    tables: list[str] = []
    for key, value in keys.items():
        if not isinstance(value, Mapping):
            lines.append(f"{key} = {_toml_value(value)}")
            continue
        members = cast("Mapping[str, Any]", value)
        if key in _HEADED:
            tables += ["", f"{head[:-1]}.{key}]"]
            tables += [f"{toml_key(one)} = {_toml_value(inner)}" for one, inner in members.items()]
        else:
            lines += [f"{key}.{toml_key(one)} = {_toml_value(inner)}" for one, inner in members.items()]
    return "\n".join([*lines, *tables]) + "\n"


def _toml_value(value: object) -> str:
    if isinstance(value, str):
        return toml_string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return toml_array(cast("list[str]", value)) if isinstance(value, list | tuple) else repr(value)
