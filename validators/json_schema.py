"""Check JSON values against JSON Schemas of a peer, in a bounded time. Pure.

The validator is jsonschema-rs (the extra `schemas`), which is imported when the first schema is compiled. It loads nothing: a `$ref` leads
to a place in the same document, and everything else is refused. Regular expressions are those of a linear engine, which cannot
backtrack.

Dialects are 2020-12, also without `$schema`, and draft-07 (MCP 2026-07-28 basic, "JSON Schema Usage"). A schema without `$schema`
that is no schema of 2020-12 is read as one of draft-07, because revisions before 2025-11-25 had no default. `format` is not
checked, as in 2020-12.
"""

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakValueDictionary

import msgspec

if TYPE_CHECKING:
    import jsonschema_rs

# The largest schema (bytes).
MOST_BYTES: Final = 64 * 1024
# The largest value that is checked (bytes). Decoding it takes a few milliseconds.
MOST_VALUE_BYTES: Final = 1024 * 1024
# The longest path in a violation (characters).
_LONGEST_PATH: Final = 256
# The size of a compiled regular expression (bytes).
_PATTERN_SIZE: Final = 64 * 1024
DIALECTS: Final = {
    "https://json-schema.org/draft/2020-12/schema": 2020,
    "http://json-schema.org/draft-07/schema": 7,
    "https://json-schema.org/draft-07/schema": 7,
}


class Violation(NamedTuple):
    """Where a value violates its schema: a JSON pointer in the value, and the keyword of the schema.

    Both are empty if the place was not looked for, because that takes too long.
    """

    path: str
    keyword: str


class UnusableSchema(ValueError):
    """A schema that cannot be used. The text is the reason."""


class Unchecked(ValueError):
    """A value that cannot be checked in a short time. The text is the reason."""


class Schema:
    """One schema. It is compiled when it is used first."""

    __slots__ = ("__weakref__", "_validator", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        # Why it cannot be used, and None before it is compiled.
        self._validator: jsonschema_rs.Validator | UnusableSchema | None = None

    def check(self, value: bytes) -> Violation | None:
        """Return where a value violates the schema, None if it does not. Raises UnusableSchema and Unchecked."""
        if len(value) > MOST_VALUE_BYTES:
            raise Unchecked(f"{len(value)} bytes, and the limit is {MOST_VALUE_BYTES}")
        if self._validator is None:
            self._validator = _compiled(self.text)
        if isinstance(self._validator, UnusableSchema):
            raise self._validator
        decoded: Any = msgspec.json.decode(value)
        if self._validator.is_valid(decoded):
            return None
        error = next(self._validator.iter_errors(decoded))
        pointer = "".join(
            f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in error.instance_path
        )
        return Violation(pointer[:_LONGEST_PATH], error.kind.name)


class SchemaStore:
    """The schemas of one server by their text, so that equal ones are compiled once. A schema that no connection knows is removed."""

    def __init__(self) -> None:
        self._schemas: WeakValueDictionary[bytes, Schema] = WeakValueDictionary()

    def find(self, text: bytes) -> Schema:
        """Return the schema with this text."""
        found = self._schemas.get(text)
        if found is None:
            found = self._schemas[text] = Schema(text)
        return found


def _compiled(text: bytes) -> "jsonschema_rs.Validator | UnusableSchema":
    import jsonschema_rs  # noqa: PLC0415 - an extra, which is needed for this only

    if len(text) > MOST_BYTES:
        return UnusableSchema(f"the schema has {len(text)} bytes and the limit is {MOST_BYTES}")
    schema = msgspec.json.decode(text)
    try:
        return jsonschema_rs.validator_for(
            schema,
            validate_formats=False,
            retriever=_refuse_to_load,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_SIZE),
        )
    except ValueError as fault:
        return UnusableSchema(str(fault))


def _refuse_to_load(uri: str) -> Any:  # noqa: ANN401 - JSON
    raise ValueError(uri)
