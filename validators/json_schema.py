"""Check JSON values against JSON Schemas of a peer, in a bounded time. Pure.

The validator is jsonschema-rs (the extra `schemas`), which is imported when the first schema is compiled. It loads nothing: a
`$ref` leads to a place in the same document, or to the metaschema of its dialect. Its regular expressions are those of a linear
engine, which cannot backtrack. `schema_cost` bounds the rest.

Dialects are 2020-12, also without `$schema`, and draft-07 (MCP 2026-07-28 basic, "JSON Schema Usage"). A schema without
`$schema` that is none of 2020-12 is read as one of draft-07, because revisions before 2025-11-25 had no default. `format` is not
checked, as in 2020-12.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from weakref import WeakValueDictionary

import msgspec

from .json_object import UNREADABLE
from .schema_cost import SchemaCost, UnusableSchema

if TYPE_CHECKING:
    import jsonschema_rs

    Validator = jsonschema_rs.Draft202012Validator | jsonschema_rs.Draft7Validator

# The largest schema (bytes).
MOST_BYTES: Final = 64 * 1024
# The largest value that is checked (bytes). Decoding it takes a few milliseconds.
MOST_VALUE_BYTES: Final = 1024 * 1024
# Evaluations of subschemas for one value, each some 20 ns.
MOST_EVALUATIONS: Final = 2_000_000
# The same, if the place of the violation is found, which takes some 10 microseconds for each.
_MOST_EXPLAINED: Final = 4096
# The bytes of a value times the number of patterns. The engine takes at most some 2.5 microseconds for each.
MOST_MATCHED: Final = 32 * 1024
# The size of a compiled regular expression (bytes).
_PATTERN_SIZE: Final = 48 * 1024
# The longest path in a violation (characters).
_LONGEST_PATH: Final = 256
_DRAFT_7: Final = "http://json-schema.org/draft-07/schema"
_2020_12: Final = "https://json-schema.org/draft/2020-12/schema"
# Dialects by `$schema`, with the metaschema.
_DIALECTS: Final = {
    _2020_12: _2020_12,
    _DRAFT_7: _DRAFT_7,
    "https://json-schema.org/draft-07/schema": _DRAFT_7,
}

# The keywords that can be violated.
_KEYWORDS: Final = frozenset(
    [
        "type",
        "enum",
        "const",
        "multipleOf",
        "maximum",
        "exclusiveMaximum",
        "minimum",
        "exclusiveMinimum",
        "maxLength",
        "minLength",
        "pattern",
        "maxItems",
        "minItems",
        "uniqueItems",
        "maxContains",
        "minContains",
        "contains",
        "maxProperties",
        "minProperties",
        "required",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "then",
        "else",
        "items",
        "prefixItems",
        "additionalItems",
        "unevaluatedItems",
        "additionalProperties",
        "patternProperties",
        "propertyNames",
        "unevaluatedProperties",
        "properties",
    ]
)


class Violation(NamedTuple):
    """Where a value violates its schema: a JSON pointer in the value, and the keyword of the schema.

    `declared` is the path with `*` for members that the schema does not name, because such a name may be data. All are empty if the
    place was not looked for, because that takes too long.
    """

    path: str = ""
    keyword: str = ""
    declared: str = ""


class UncheckedValue(ValueError):
    """A value that cannot be checked in a short time. The text is the reason."""


def prepare() -> None:
    """Import the validator."""
    _validator({}, _2020_12)


class Schema:
    """One schema. It is compiled when it is used first."""

    __slots__ = ("__weakref__", "_compiled", "_fault", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._compiled: _Compiled | None = None
        # Why it cannot be used, empty if it can or is not compiled.
        self._fault = ""

    def check(self, value: bytes) -> Violation | None:
        """Return where a value violates the schema, None if it does not. Raises UnusableSchema and UncheckedValue."""
        if self._fault:
            raise UnusableSchema(self._fault)
        if self._compiled is None:
            try:
                self._compiled = _Compiled(self.text)
            except UnusableSchema as fault:
                self._fault = str(fault)
                raise
        return self._compiled.check(value)


class SchemaStore:
    """The schemas of one server by their text, so that equal ones are compiled once. One that no connection has is removed."""

    def __init__(self) -> None:
        self._schemas: WeakValueDictionary[bytes, Schema] = WeakValueDictionary()

    def find(self, text: bytes) -> Schema:
        """Return the schema with this text."""
        found = self._schemas.get(text)
        if found is None:
            found = self._schemas[text] = Schema(text)
        return found


class _Compiled:
    """A schema that can be used. Raises UnusableSchema."""

    def __init__(self, text: bytes) -> None:
        if len(text) > MOST_BYTES:
            raise UnusableSchema(f"{len(text)} bytes, and the limit is {MOST_BYTES}")
        try:
            schema = msgspec.json.decode(text)
            if not isinstance(schema, dict):
                raise UnusableSchema("no JSON object")
            self._read(cast("dict[str, Any]", schema))
        except UnusableSchema:
            raise
        # The last is of the validator, which has its own limit of nesting.
        except UNREADABLE as fault:
            raise UnusableSchema(f"no JSON Schema: {type(fault).__name__}") from None

    def _read(self, schema: dict[str, Any]) -> None:
        named = schema.get("$schema", _2020_12)
        dialect = _DIALECTS.get(named.rstrip("#")) if isinstance(named, str) else None
        if dialect is None:
            raise UnusableSchema("the dialect of $schema is neither 2020-12 nor draft-07")
        self._cost = SchemaCost(schema, dialect)
        if any(not _is_linear(one) for one in _named_patterns(self._cost)):
            raise UnusableSchema("patternProperties with a regular expression that is not supported")
        self._drop_patterns(lambda pattern: not _is_linear(pattern))
        try:
            self._all = _validator(schema, dialect)
        except ValueError:
            if "$schema" in schema:
                raise
            dialect = _DRAFT_7
            self._all = _validator(schema, dialect)
        # For values that are too large for the patterns, None if these cannot be left out.
        self._relaxed: Validator | None = self._all
        if self._cost.patterns:
            self._relaxed = None
            if self._cost.relaxable and not self._cost.has_named_patterns:
                self._drop_patterns(lambda _: True)
                self._relaxed = _validator(schema, dialect)
        self._names = {name for node in self._cost.nodes for name in _members(node)}

    def _drop_patterns(self, is_dropped: Callable[[str], bool]) -> None:
        for node in self._cost.nodes:
            pattern = node.get("pattern")
            if isinstance(pattern, str) and is_dropped(pattern):
                if not self._cost.relaxable:
                    raise UnusableSchema("a regular expression that is not supported")
                del node["pattern"]

    def check(self, value: bytes) -> Violation | None:
        if len(value) > MOST_VALUE_BYTES:
            raise UncheckedValue(f"{len(value)} bytes, and the limit is {MOST_VALUE_BYTES}")
        evaluations = self._cost.bound(value)
        if evaluations > MOST_EVALUATIONS:
            raise UncheckedValue(f"up to {evaluations} evaluations, and the limit is {MOST_EVALUATIONS}")
        is_small = len(value) * self._cost.patterns <= MOST_MATCHED
        validator = self._all if is_small else self._relaxed
        if validator is None:
            raise UncheckedValue(f"{len(value)} bytes for {self._cost.patterns} regular expressions")
        try:
            decoded: Any = msgspec.json.decode(value)
        except UNREADABLE:
            raise UncheckedValue("it cannot be decoded") from None
        if validator.is_valid(decoded):
            return None
        return self._explained(validator, decoded) if evaluations <= _MOST_EXPLAINED else Violation()

    def _explained(self, validator: "Validator", value: Any) -> Violation:  # noqa: ANN401 - JSON
        error = next(validator.iter_errors(value))
        keyword = next((one for one in reversed(error.schema_path) if one in _KEYWORDS), "")
        place = error.instance_path
        declared = [one if isinstance(one, int) or one in self._names else "*" for one in place]
        return Violation(_pointer(place), str(keyword), _pointer(declared))


def _validator(schema: dict[str, Any], dialect: str) -> "Validator":
    import jsonschema_rs  # noqa: PLC0415 - an extra, which is needed for this only

    cls = jsonschema_rs.Draft7Validator if dialect == _DRAFT_7 else jsonschema_rs.Draft202012Validator
    try:
        return cls(
            schema,
            validate_formats=False,
            retriever=_refuse_to_load,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_SIZE),
        )
    except (
        jsonschema_rs.ReferencingError
    ) as fault:  # pragma: no cover - SchemaCost has refused what leads here
        raise ValueError(fault.message) from None


def _refuse_to_load(uri: str) -> Any:  # noqa: ANN401 - JSON
    raise ValueError(uri)


def _is_linear(pattern: str) -> bool:
    """Return whether the linear engine can compile a regular expression, so that it has no look-around and no back-references."""
    try:
        _validator({"pattern": pattern}, _2020_12)
    except ValueError:
        return False
    return True


def _members(node: dict[str, Any]) -> Iterable[str]:
    found = node.get("properties")
    return cast("dict[str, object]", found) if isinstance(found, dict) else ()


def _named_patterns(cost: SchemaCost) -> Iterator[str]:
    for node in cost.nodes:
        found = node.get("patternProperties")
        if isinstance(found, dict):
            yield from cast("dict[str, object]", found)


def _pointer(path: Iterable[str | int]) -> str:
    """Return a JSON pointer (RFC 6901), cut where it is too long."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)[:_LONGEST_PATH]
