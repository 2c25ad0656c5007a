"""Texts of an imported configuration, and their form in TOML. No text of a note has a value of the input."""

import json
from collections.abc import Iterable
from typing import Any, Final, cast

from .schema import LONGEST_TEXT

PLACEHOLDER: Final = "${"
INPUT: Final = "${input:"


class LeftOut(Exception):
    """Raised for a server that is not supported. The text is the reason."""


def as_object(value: object, otherwise: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LeftOut(otherwise)
    return cast("dict[str, Any]", value)


def as_text(value: object) -> str | None:
    """Return a string or a number as text, or None for another type."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    return value if isinstance(value, str) else None


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
    return ", ".join(names)


def toml_array(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(toml_string, texts))}]"


def toml_string(text: str) -> str:
    """Return a text as a TOML basic string on one line, with invisible characters escaped.

    The text must not hold lone surrogates, which TOML cannot express.
    """
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
