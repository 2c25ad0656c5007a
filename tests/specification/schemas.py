"""Read the official JSON Schemas in this folder, with the corrections that the generated types have."""

import json
from copy import deepcopy
from functools import cache
from pathlib import Path

from mcpbridged.validators.revisions import LEGACY_REVISIONS, MODERN_REVISIONS

FOLDER = Path(__file__).parent
REVISIONS = (*LEGACY_REVISIONS, *MODERN_REVISIONS)

# The official JSON Schemas are made from `schema.ts` by a program that writes `integer` for each `number` without a note. Two
# places of `schema.ts` mean any number, and one also means null (MCP 2026-07-28 schema.ts, `JSONValue`; MCP 2025-06-18
# schema.ts, `ElicitResult`, whose values answer a `NumberSchema` of the type "number").
WRONG_SCALARS = ["string", "integer", "boolean"]
CORRECTED = {
    "ElicitResult": ["string", "number", "boolean"],
    "JSONValue": ["string", "number", "boolean", "null"],
}


@cache
def official(revision):
    """Return the JSON Schema of a revision, without descriptions."""
    return json.loads((FOLDER / f"schema-{revision}.json").read_text())


def definitions(schema):
    """Return the definitions of a schema by name."""
    return schema["$defs"] if "$defs" in schema else schema["definitions"]


@cache
def corrected(revision):
    """Return the JSON Schema of a revision with `CORRECTED`."""
    schema = deepcopy(official(revision))
    for name, scalars in CORRECTED.items():
        if name in definitions(schema):
            _replace(definitions(schema)[name], scalars)
    return schema


def _replace(node, scalars):
    if isinstance(node, dict):
        if node.get("type") == WRONG_SCALARS:
            node["type"] = scalars
        for value in node.values():
            _replace(value, scalars)
    elif isinstance(node, list):
        for value in node:
            _replace(value, scalars)


@cache
def examples(revision):
    """Return the examples of a revision: the source, the name of a definition or nothing for a message, and the value."""
    lines = (FOLDER / f"examples-{revision}.jsonl").read_text().splitlines()
    return [(one["source"], one["definition"], one["value"]) for one in map(json.loads, lines)]
