"""Read the form of an elicitation, and the answers that a user types (MCP 2025-11-25 client/elicitation). Pure."""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any, Final, cast

import attrs

_MOST_FIELDS: Final = 256
_MOST_CHOICES: Final = 1000
_YES: Final = frozenset({"y", "yes", "true", "1"})
_NO: Final = frozenset({"n", "no", "false", "0"})
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,400}")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


class BadAnswer(Exception):
    """An answer that the form does not permit; the text states why."""


@attrs.frozen
class Field:
    """One field. `kind` is string, integer, number, boolean, choice or choices. `default` is None without one.

    `choices` are values with their titles. `least` and `most` limit a number, the characters of a text, or the number of choices.
    """

    name: str
    kind: str
    required: bool
    title: str = ""
    description: str = ""
    default: Any = None
    choices: tuple[tuple[str, str], ...] = ()
    least: float = -math.inf
    most: float = math.inf
    form: str = ""

    def answer(self, text: str) -> object:
        """Return the value that a text stands for. Raises BadAnswer."""
        match self.kind:
            case "boolean":
                return _boolean(text)
            case "integer" | "number":
                return self._number(text)
            case "choice":
                return self._choice(text)
            case "choices":
                chosen = list(dict.fromkeys(self._choice(one) for one in text.split(",") if one.strip()))
                self._limit(len(chosen), "choices")
                return chosen
            case _:
                return self._text(text)

    @property
    def hint(self) -> str:
        """Return the type, the limits and the default of the field, in words."""
        words = [{"choice": "one of", "choices": "any of, separated by commas"}.get(self.kind, self.kind)]
        if self.kind == "boolean":
            words = ["yes or no"]
        if self.form:
            words.append(self.form)
        if limits := self._limits():
            words.append(limits)
        words.append("required" if self.required else "optional")
        if self.default is not None:
            words.append(f"default {self.shown(self.default)}")
        return ", ".join(words)

    def shown(self, value: object) -> str:
        """Return a value as a user types it."""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, list):
            return ",".join(map(str, cast("list[object]", value)))
        return str(value)

    def _limits(self) -> str:
        unit = {"string": " characters", "choices": " choices"}.get(self.kind, "")
        least, most = (_plain(limit) for limit in (self.least, self.most))
        if least and most:
            return f"{least} to {most}{unit}" if least != most else f"{least}{unit}"
        return f"at least {least}{unit}" if least else f"at most {most}{unit}" if most else ""

    def _limit(self, value: float, unit: str = "") -> None:
        if not self.least <= value <= self.most:
            raise BadAnswer(f"must be {self._limits()}, not {_plain(value)}{f' {unit}' if unit else ''}")

    def _number(self, text: str) -> int | float:
        try:
            value = int(text) if _INTEGER.fullmatch(text) else float(text)
        except ValueError:
            value = math.nan
        if self.kind == "integer" and isinstance(value, float) and value.is_integer():
            value = int(value)
        if not math.isfinite(value) or (self.kind == "integer" and not isinstance(value, int)):
            raise BadAnswer(f"must be {'an integer' if self.kind == 'integer' else 'a number'}")
        self._limit(value)
        return value

    def _choice(self, text: str) -> str:
        text = text.strip()
        for value, _ in self.choices:
            if text == value:
                return value
        same = [
            value for value, title in self.choices if text.casefold() in (title.casefold(), value.casefold())
        ]
        if len(same) == 1:
            return same[0]
        if text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= len(self.choices):
            return self.choices[int(text[:9]) - 1][0]
        raise BadAnswer(f"must be a number from 1 to {len(self.choices)}, or one of the values")

    def _text(self, text: str) -> str:
        self._limit(len(text), "characters")
        _CHECKS.get(self.form, _nothing)(text)
        return text


def fields_of(schema: object) -> tuple[Field, ...]:
    """Return the fields of a form. What is not understood of a field is ignored, so that the user can still answer."""
    if not isinstance(schema, dict):
        return ()
    properties = _object(cast("dict[str, object]", schema).get("properties"))
    required = cast("dict[str, Any]", schema).get("required")
    names = cast("list[object]", required) if isinstance(required, list) else []
    return tuple(
        _field(name, _object(inner), required=name in names)
        for name, inner in list(properties.items())[:_MOST_FIELDS]
    )


def _field(name: str, schema: Mapping[str, Any], *, required: bool) -> Field:
    kind = schema.get("type")
    choices = tuple(_choices(schema))
    lowest, highest = "minimum", "maximum"
    if kind == "array":
        kind, choices = "choices", tuple(_choices(_object(schema.get("items"))))
        lowest, highest = "minItems", "maxItems"
    elif choices:
        kind = "choice"
    elif kind not in ("integer", "number", "boolean"):
        kind, lowest, highest = "string", "minLength", "maxLength"
    return Field(
        name,
        kind,
        required,
        _string(schema.get("title")),
        _string(schema.get("description")),
        schema.get("default"),
        choices,
        _limit(schema.get(lowest), -math.inf),
        _limit(schema.get(highest), math.inf),
        _string(schema.get("format")),
    )


def _choices(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    values = schema.get("enum")
    titles = schema.get("enumNames")
    if isinstance(values, list):
        named = cast("list[object]", titles) if isinstance(titles, list) else []
        for at, value in enumerate(cast("list[object]", values)[:_MOST_CHOICES]):
            yield str(value), _string(named[at]) if at < len(named) else ""
        return
    for word in ("oneOf", "anyOf"):
        if isinstance(schema.get(word), list):
            for one in cast("list[object]", schema[word])[:_MOST_CHOICES]:
                inner = _object(one)
                if "const" in inner:
                    yield str(inner["const"]), _string(inner.get("title"))


def _object(value: object) -> Mapping[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _limit(value: object, otherwise: float) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _plain(limit: float) -> str:
    return str(limit) if math.isfinite(limit) else ""


def _boolean(text: str) -> bool:
    word = text.casefold()
    if word not in _YES | _NO:
        raise BadAnswer("must be yes or no")
    return word in _YES


def _nothing(text: str) -> None:
    """Accept every text."""


def _email(text: str) -> None:
    if not _EMAIL.fullmatch(text):
        raise BadAnswer("must be an e-mail address")


def _uri(text: str) -> None:
    if not _URI.fullmatch(text):
        raise BadAnswer("must be a URI, such as https://example.com/")


def _date(text: str) -> None:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise BadAnswer("must be a date, such as 2026-07-28") from None


def _date_time(text: str) -> None:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise BadAnswer("must be a date and time, such as 2026-07-28T10:00:00Z") from None


_CHECKS: Final = {"email": _email, "uri": _uri, "date": _date, "date-time": _date_time}
