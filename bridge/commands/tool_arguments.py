"""Read the arguments of a tool from words: KEY=VALUE, KEY:=JSON, KEY=@FILE, and JSON objects. Pure.

A value gets the type that the input schema of the tool names for its key. Without a type it is JSON if it can be read as
such, and otherwise a string.
"""

import base64
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn, cast

# Further alternatives of a schema are ignored.
_MOST_ALTERNATIVES: Final = 256
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_BOOLEANS: Final = {"true": True, "false": False}
_BINARY: Final = frozenset({"base64", "base64url"})
# How many alternatives an error names.
_NAMED: Final = 20
# From an integer of this many digits on `int` refuses to convert (sys.set_int_max_str_digits).
_LONGEST_NUMBER: Final = 4000

Schema = Mapping[str, Any]


class BadArgument(Exception):
    """A word that is no argument, or whose value has another type; the text states why."""


class ToolArguments:
    """Reads words by the input schema of a tool. `read` returns the content of a file; "-" is stdin. It raises OSError."""

    def __init__(self, schema: object, read: Callable[[str], bytes]) -> None:
        self._root: Schema = cast("Schema", schema) if isinstance(schema, dict) else {}
        self._read = read

    def of(self, words: Iterable[str]) -> dict[str, Any]:
        """Return the arguments. A later word replaces the value of an earlier one, and adds to a list. Raises BadArgument."""
        found: dict[str, Any] = {}
        # The lists that words of this form have begun, by path.
        begun: dict[tuple[str, ...], list[Any]] = {}
        for word in words:
            if not _is_text(word):
                raise BadArgument(f"{_short(word)}: not valid UTF-8; KEY=@FILE sends the content of a file")
            if word == "-" or word[:1] == "{":
                found |= _object(self._text("-") if word == "-" else word)
            else:
                self._add(found, word, begun)
        return found

    def _add(self, found: dict[str, Any], word: str, begun: dict[tuple[str, ...], list[Any]]) -> None:
        key, equals, text = word.partition("=")
        is_json = key.endswith(":")
        key = key.removesuffix(":")
        if not equals or not key:
            raise BadArgument(
                f"{word!r} is not KEY=VALUE, KEY:=JSON, KEY=@FILE, a JSON object, or - for a JSON object on stdin"
            )
        path, schemas = self._located(key)
        place = found
        for at, name in enumerate(path[:-1]):
            below = place.setdefault(name, {})
            if not isinstance(below, dict):
                raise BadArgument(
                    f"{word!r}: {'.'.join(path[: at + 1])} has a value that is no object, so it has no member"
                )
            place = cast("dict[str, Any]", below)
        name = path[-1]
        if is_json:
            place[name] = self._json(key, text)
            begun.pop(path, None)
            return
        value = self._value(key, text, schemas)
        if path in begun and isinstance(value, list):
            begun[path] += value
            return
        place[name] = value
        if isinstance(value, list):
            begun[path] = value

    def _located(self, key: str) -> tuple[tuple[str, ...], list[Schema]]:
        """Return the path of a key, and the schemas of its value. A dot separates members, unless a name contains it."""
        path: list[str] = []
        schemas: list[Schema] = self._alternatives(self._root)
        rest = key
        while rest:
            known = {name for schema in schemas for name in _properties(schema)}
            name = rest if rest in known else next(_heads(rest, known), rest.partition(".")[0])
            if not name:
                raise BadArgument(f"{key!r} has an empty member name; use {key.partition('.')[0]}:=JSON")
            path.append(name)
            rest = rest[len(name) + 1 :] if len(rest) > len(name) else ""
            schemas = [
                alternative
                for schema in schemas
                for inner in _of_member(schema, name)
                for alternative in self._alternatives(inner)
            ][:_MOST_ALTERNATIVES]
        return tuple(path), schemas

    # ---- values

    def _value(self, key: str, text: str, schemas: list[Schema]) -> object:
        if text.startswith("@@"):
            text = text[1:]
        elif text.startswith("@"):
            data = self._data(key, text[1:])
            if any(schema.get("contentEncoding") in _BINARY for schema in schemas):
                return base64.b64encode(data).decode()
            text = self._decoded(key, data)
        fixed = [value for schema in schemas for value in _fixed(schema)]
        for value in fixed:
            if _spelled(value) == text:
                return value
        types = _types(schemas)
        if fixed and all(_fixed(schema) for schema in schemas):
            raise BadArgument(_not_one_of(key, text, fixed))
        if not types:
            return self._guessed(text)
        for convert in _BY_TYPE:
            if convert in types and (made := _CONVERT[convert](text)):
                return made[0]
        if "string" in types:
            return text
        if "array" in types:
            items = [
                item for schema in schemas for inner in _items(schema) for item in self._alternatives(inner)
            ]
            return [self._value(key, f"@{text}" if text.startswith("@") else text, items)]
        raise BadArgument(
            f"{key}={_short(text)}: must be {_either(types)}; {key}:=JSON sends any other value"
        )

    def _guessed(self, text: str) -> object:
        for kind in ("null", "boolean", "number", "object", "array"):
            if made := _CONVERT[kind](text):
                return made[0]
        return text

    def _json(self, key: str, text: str) -> object:
        if text.startswith("@"):
            text = self._decoded(key, self._data(key, text[1:]))
        try:
            return loaded(text)
        except ValueError as fault:
            raise BadArgument(f"{key}:={_short(text)}: not valid JSON: {fault}") from None

    def _data(self, key: str, file: str) -> bytes:
        try:
            return self._read(file)
        except (OSError, ValueError) as fault:
            reason = (fault.strerror if isinstance(fault, OSError) else None) or fault
            raise BadArgument(
                f"{key}=@{file}: cannot read {'stdin' if file == '-' else file}: {reason}; "
                f"{key}=@@{file} sends the text @{file}"
            ) from None

    def _decoded(self, key: str, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as fault:
            raise BadArgument(f"{key}: the file is not UTF-8 text: {fault}") from None

    def _text(self, file: str) -> str:
        return self._decoded("stdin", self._data("stdin", file))

    # ---- schemas

    def _alternatives(self, schema: object) -> list[Schema]:
        """Return a schema, or those that it refers to or combines, each once."""
        found: list[Schema] = []
        waiting: list[object] = [schema]
        # By identity. A schema may refer to itself.
        seen: set[int] = set()
        while waiting and len(seen) < _MOST_ALTERNATIVES:
            one = waiting.pop(0)
            if not isinstance(one, dict):
                continue
            this = cast("dict[str, Any]", one)
            if id(this) in seen:
                continue
            seen.add(id(this))
            inner = [self._referred(this["$ref"])] if isinstance(this.get("$ref"), str) else []
            for word in ("anyOf", "oneOf", "allOf"):
                if isinstance(this.get(word), list):
                    inner += cast("list[object]", this[word])[:_MOST_ALTERNATIVES]
            waiting += inner
            if not inner or "type" in this or "properties" in this:
                found.append(this)
        return found

    def _referred(self, reference: str) -> object:
        """Return the schema at a reference within the document (RFC 6901), None for any other."""
        if reference == "#":
            return self._root
        if not reference.startswith("#/"):
            return None
        place: object = self._root
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(place, dict):
                place = cast("dict[str, object]", place).get(name)
            elif (
                isinstance(place, list) and name.isdecimal() and int(name) < len(cast("list[object]", place))
            ):
                place = cast("list[object]", place)[int(name)]
            else:
                return None
        return place


def loaded(text: str) -> Any:  # noqa: ANN401 - JSON
    """Return the value of a JSON text. Raises ValueError, also for what JSON does not have, such as NaN or half a surrogate pair."""
    try:
        value: Any = json.loads(text, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("a string has half of a surrogate pair") from None
    return value


def _is_text(word: str) -> bool:
    # Bytes of the command line that are not UTF-8 became surrogates (PEP 383).
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _object(text: str) -> dict[str, Any]:
    try:
        value = loaded(text)
    except ValueError as fault:
        raise BadArgument(f"not valid JSON: {fault}: {_short(text)}") from None
    if not isinstance(value, dict):
        raise BadArgument(f"must be a JSON object, not {_short(text)}")
    return cast("dict[str, Any]", value)


def _heads(key: str, known: set[str]) -> Iterator[str]:
    """Yield the beginnings of a key that name a known member and end before a dot, longest first."""
    yield from sorted((name for name in known if key.startswith(f"{name}.")), key=len, reverse=True)


def _properties(schema: Schema) -> Mapping[str, object]:
    properties = schema.get("properties")
    return cast("Mapping[str, object]", properties) if isinstance(properties, dict) else {}


def _of_member(schema: Schema, name: str) -> list[object]:
    properties = _properties(schema)
    if name in properties:
        return [properties[name]]
    more = schema.get("additionalProperties")
    return [more] if isinstance(more, dict) else []


def _items(schema: Schema) -> list[object]:
    return [schema["items"]] if isinstance(schema.get("items"), dict) else []


def _fixed(schema: Schema) -> list[object]:
    """Return the values that enum or const permits, none if there is neither."""
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return cast("list[object]", values) if isinstance(values, list) else []


def _types(schemas: Sequence[Schema]) -> set[str]:
    found: set[str] = set()
    for schema in schemas:
        kind = schema.get("type")
        if isinstance(kind, str):
            found.add(kind)
        elif isinstance(kind, list):
            found.update(one for one in cast("list[object]", kind) if isinstance(one, str))
        elif "properties" in schema:
            found.add("object")
        elif "items" in schema:
            found.add("array")
        if schema.get("nullable") is True:
            found.add("null")
    return found & _CONVERT.keys() | found & {"string"}


def _spelled(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _short(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 80 else f"{shown[:80]}..."


def _either(types: Iterable[str]) -> str:
    return " or ".join(_NAMES[kind] for kind in _NAMES if kind in types)


def _not_one_of(key: str, text: str, values: Sequence[object]) -> str:
    named = ", ".join(map(_spelled, values[:_NAMED])) + (", ..." if len(values) > _NAMED else "")
    return f"{key}={_short(text)}: must be one of {named}; {key}:=JSON sends any other value"


# Each returns the converted value in a list, and an empty list for a text of another type.


def _null(text: str) -> list[None]:
    return [None] if text == "null" else []


def _boolean(text: str) -> list[bool]:
    return [_BOOLEANS[text.lower()]] if text.lower() in _BOOLEANS else []


def _integer(text: str) -> list[int]:
    if len(text) > _LONGEST_NUMBER:
        return []
    if _INTEGER.fullmatch(text):
        return [int(text)]
    # JSON Schema counts 3.0 and 1e3 as integers.
    return [int(value) for value in _number(text) if isinstance(value, float) and value.is_integer()]


def _number(text: str) -> list[int | float]:
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        return []
    value = int(text) if _INTEGER.fullmatch(text) else float(text)
    return [value] if math.isfinite(value) else []


def _structure(text: str, kind: type) -> list[object]:
    try:
        value = loaded(text)
    except ValueError:
        return []
    return [value] if isinstance(value, kind) else []


_CONVERT: Final[Mapping[str, Callable[[str], Sequence[object]]]] = {
    "null": _null,
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "object": lambda text: _structure(text, dict),
    "array": lambda text: _structure(text, list),
}
# The order in which types are tried.
_BY_TYPE: Final = tuple(_CONVERT)
_NAMES: Final = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "object": "a JSON object",
    "array": "a JSON array",
    "null": "null",
}
