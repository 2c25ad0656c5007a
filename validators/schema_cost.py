"""Bound the work of checking a value against a JSON Schema, before it is done. Pure.

A schema of a peer can make a validator evaluate a number of subschemas that grows exponentially, with the number of its references
or with the depth of the value. `SchemaCost` counts how many evaluations one place of a value and all places above it can cause.
The sum over all places of a value is at most this number for each.
"""

from collections.abc import Iterator
from typing import Any, Final, cast
from urllib.parse import unquote

import msgspec

from .incremental_json import depth_ok

# The most subschemas.
MOST_NODES: Final = 2048
# The most regular expressions.
MOST_PATTERNS: Final = 64
# More evaluations than anything may cause.
_TOO_MANY: Final = 2**40
# Subschemas times depths that are computed, each some two microseconds.
_MOST_WORK: Final = 12 * 1024
# The depths for which the number is computed, one after the other, until the value is not deeper.
_DEPTHS: Final = (2, 4, 8, 16, 32, 64, 128, 512)
# Keywords whose value is one schema, a list of schemas, or schemas by name.
_SAME_PLACE: Final = (
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependencies",
)
_MEMBERS: Final = ("properties", "additionalProperties")
_EACH_MEMBER: Final = ("patternProperties", "propertyNames", "unevaluatedProperties")
_ITEMS: Final = ("prefixItems", "items", "additionalItems")
_EACH_ITEM: Final = ("contains", "unevaluatedItems")
_DEFINITIONS: Final = ("$defs", "definitions")
_MAPS: Final = frozenset(
    {"dependentSchemas", "dependencies", "properties", "patternProperties", "$defs", "definitions"}
)
# With these a schema without its patterns may refuse what it accepts with them.
_NEGATIVE: Final = ("not", "oneOf", "if", "maxContains")
# Keywords that lead elsewhere depending on the way to them, and those of other dialects.
_UNSUPPORTED: Final = ("$dynamicRef", "$recursiveRef")
_LISTS: Final = ("enum", "const", "required", "dependentRequired")
# The bytes of these lists that count as one evaluation.
_LIST_BYTES: Final = 16
# A comparison of all items with each other.
_UNIQUE: Final = 8


# In the place of a metaschema: some keywords at each place, and the metaschema again below it.
_METASCHEMA: Final[dict[str, Any]] = {"enum": ["keyword" * 128]}
_METASCHEMA["items"] = _METASCHEMA["additionalProperties"] = _METASCHEMA


class UnusableSchema(ValueError):
    """A schema that cannot be used. The text is the reason."""


class _Node:
    """One subschema, and those that it applies to the same place, to members and to items. Of `one_*` only one applies to each."""

    __slots__ = ("each_item", "each_member", "one_item", "one_member", "same", "schema", "weight")

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema
        self.same: list[int] = []
        self.one_member: list[int] = []
        self.each_member: list[int] = []
        self.one_item: list[int] = []
        self.each_item: list[int] = []
        self.weight = 1 + _UNIQUE * bool(schema.get("uniqueItems"))
        self.weight += sum(
            len(msgspec.json.encode(schema[key])) // _LIST_BYTES for key in _LISTS if key in schema
        )

    @property
    def has_edges(self) -> bool:
        return bool(self.same or self.one_member or self.each_member or self.one_item or self.each_item)


class SchemaCost:
    """The cost of one schema, as `msgspec.json.decode` returns it. Raises UnusableSchema.

    A `$ref` may lead to a place in the schema, and to the `metaschema` of its dialect. `nodes` are its subschemas, `patterns` is the number of regular expressions. Without its patterns the schema accepts everything that
    it accepts with them, if it is `relaxable`.
    """

    def __init__(self, schema: dict[str, Any], metaschema: str = "") -> None:
        self._root = schema
        self._metaschema = metaschema
        self._nodes: list[_Node] = []
        # Indexes by the identity of the subschema, and subschemas by the name of their anchor.
        self._index: dict[int, int] = {}
        self._anchors: dict[str, dict[str, Any]] = {}
        self._collect()
        self._connect()
        self._order = self._sorted()
        self.nodes = [node.schema for node in self._nodes if node.schema is not _METASCHEMA]
        named = [one for node in self.nodes for one in _map(node, "patternProperties")]
        self.has_named_patterns = bool(named)
        self.patterns = len(named) + sum("pattern" in node for node in self.nodes)
        self.relaxable = not any(key in node for node in self.nodes for key in _NEGATIVE)
        if self.patterns > MOST_PATTERNS:
            raise UnusableSchema(f"{self.patterns} regular expressions, and the limit is {MOST_PATTERNS}")
        # The evaluations at one place by node, and those of a value of a depth, which grow until they are `steady`.
        self._here = [0] * len(self._nodes)
        for at in self._order:
            node = self._nodes[at]
            below = sum(self._here[one] for one in node.same)
            repeated = 1 + ("unevaluatedProperties" in node.schema) + ("unevaluatedItems" in node.schema)
            self._here[at] = min(node.weight + repeated * below, _TOO_MANY)
        self._inner = [(at, self._nodes[at]) for at in self._order if self._nodes[at].has_edges]
        self._totals = self._here
        self._depth = 1
        self._steady = False

    def bound(self, value: bytes) -> int:
        """Return how many evaluations a value (JSON) can cause at most."""
        places = value.count(b",") + value.count(b"[") + value.count(b"{") + 1
        total = 0
        for depth in _DEPTHS:
            while self._depth < depth and not self._steady:
                if self._depth * len(self._inner) > _MOST_WORK:
                    return _TOO_MANY
                self._deepen()
            total = self._totals[0]
            if self._steady or total >= _TOO_MANY or depth_ok(value, depth):
                break
        return places * total

    def _deepen(self) -> None:
        before = self._totals
        members, items = [0] * len(before), [0] * len(before)
        totals = before.copy()
        for at, node in self._inner:
            members[at] = _most(before, node.one_member) + sum(before[one] for one in node.each_member)
            items[at] = _most(before, node.one_item) + sum(before[one] for one in node.each_item)
            for one in node.same:
                members[at] += members[one]
                items[at] += items[one]
            totals[at] = min(self._here[at] + max(members[at], items[at]), _TOO_MANY)
        self._depth += 1
        self._steady = totals == before
        self._totals = totals

    # ---- the graph

    def _collect(self) -> None:
        self._add(self._root)
        at = 0
        while at < len(self._nodes):
            schema = self._nodes[at].schema
            for key in _UNSUPPORTED:
                if key in schema:
                    raise UnusableSchema(f"{key} is not supported")
            if at and isinstance(schema.get("$id"), str):
                raise UnusableSchema("$id is not supported below the root")
            if self._is_metaschema(schema.get("$ref")):
                self._add(_METASCHEMA)
            if isinstance(anchor := schema.get("$anchor"), str):
                self._anchors[anchor] = schema
            for key in (*_SAME_PLACE, *_MEMBERS, *_EACH_MEMBER, *_ITEMS, *_EACH_ITEM, *_DEFINITIONS):
                for one in _schemas(schema, key):
                    self._add(one)
            at += 1

    def _add(self, schema: dict[str, Any]) -> int:
        found = self._index.get(id(schema))
        if found is not None:
            return found
        if len(self._nodes) >= MOST_NODES:
            raise UnusableSchema(f"more than {MOST_NODES} subschemas")
        self._index[id(schema)] = len(self._nodes)
        self._nodes.append(_Node(schema))
        return len(self._nodes) - 1

    def _connect(self) -> None:
        for node in self._nodes:
            for keys, edges in (
                (_SAME_PLACE, node.same),
                (_MEMBERS, node.one_member),
                (_EACH_MEMBER, node.each_member),
                (_ITEMS, node.one_item),
                (_EACH_ITEM, node.each_item),
            ):
                edges += [self._index[id(one)] for key in keys for one in _schemas(node.schema, key)]
            if "$ref" in node.schema:
                self._refer(node, self._target(node.schema["$ref"]))

    def _refer(self, node: _Node, target: object) -> None:
        # A reference to true or false has no cost.
        if isinstance(target, dict):
            at = self._index.get(id(cast("object", target)))
            if at is None:
                raise UnusableSchema("a $ref to a place that holds no schema")
            node.same.append(at)

    def _is_metaschema(self, ref: object) -> bool:
        return isinstance(ref, str) and ref.startswith("http") and ref.rstrip("#") == self._metaschema

    def _target(self, ref: object) -> object:
        if self._is_metaschema(ref):
            return _METASCHEMA
        if not isinstance(ref, str) or not ref.startswith("#"):
            raise UnusableSchema("a $ref to another document")
        name = unquote(ref[1:])
        if name and not name.startswith("/"):
            if name not in self._anchors:
                raise UnusableSchema("a $ref to a place that does not exist")
            return self._anchors[name]
        found: object = self._root
        for part in name.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            try:
                found = _member(found, key)
            except (LookupError, TypeError, ValueError):
                raise UnusableSchema("a $ref to a place that does not exist") from None
        return found

    def _sorted(self) -> list[int]:
        """Return the nodes, each after those that it applies to the same place."""
        order: list[int] = []
        # 1 while the nodes below are visited, 2 afterwards.
        state = [0] * len(self._nodes)
        for start in range(len(self._nodes)):
            stack = [] if state[start] else [(start, iter(self._nodes[start].same))]
            state[start] = state[start] or 1
            while stack:
                at, rest = stack[-1]
                one = next(rest, None)
                if one is None:
                    stack.pop()
                    state[at] = 2
                    order.append(at)
                elif state[one] == 1:
                    raise UnusableSchema("a $ref that leads to itself")
                elif not state[one]:
                    state[one] = 1
                    stack.append((one, iter(self._nodes[one].same)))
        return order


def _most(totals: list[int], nodes: list[int]) -> int:
    return max((totals[one] for one in nodes), default=0)


def _map(schema: dict[str, Any], key: str) -> dict[str, Any]:
    found = schema.get(key)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _member(value: object, key: str) -> object:
    """Return a member of an object or an item of an array. Raises LookupError, TypeError and ValueError."""
    if isinstance(value, list):
        return cast("list[object]", value)[int(key)]
    return cast("dict[str, object]", value)[key]


def _schemas(schema: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    """Yield the subschemas of a keyword. Those that are true or false have no cost."""
    found = schema.get(key)
    values: list[object] = []
    if isinstance(found, dict):
        table = cast("dict[str, object]", found)
        values = list(table.values()) if key in _MAPS else [table]
    elif isinstance(found, list):
        values = cast("list[object]", found)
    yield from (cast("dict[str, Any]", one) for one in values if isinstance(one, dict))
