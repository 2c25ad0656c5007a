"""Check the shape of definitions against the protocol: names, schemas, annotations. Pure.

The rules are those of MCP 2025-11-25 and 2026-07-28, server/tools, server/prompts and server/resources. A rule that the two
revisions do not share is checked where a client of one of them fails.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, cast

from ...validators.mirrored_headers import param_headers
from ...validators.rejection import Rejection
from .definition_texts import definition_finding, similar_names
from .definitions import PROMPT, TEMPLATE, TOOL, Definition
from .findings import ERROR, WARNING, Finding

_TYPES: Final = frozenset({"null", "boolean", "object", "array", "number", "string", "integer"})
_DEEPEST: Final = 64
# Members of a schema with one schema, with a list of schemas, and with named schemas (JSON Schema 2020-12 core).
_ONE: Final = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_LISTS: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
# Other sources of properties beside `properties`.
_MORE_PROPERTIES: Final = ("patternProperties", "allOf", "anyOf", "oneOf", "$ref", "if", "dependentSchemas")
_HINTS: Final = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
_CHANGING: Final = frozenset(
    {"delete", "remove", "write", "update", "create", "drop", "insert", "edit", "move", "kill"}
)
_REPORT_FIX: Final = "report it to the author of the server; clients may refuse the definition"

_Report = Callable[..., Finding]
_Schema = Mapping[str, object]


def check_shape(definition: Definition) -> Iterator[Finding]:
    """Yield the findings about the shape of one definition."""
    content = definition.content
    if not isinstance(content, dict):
        if definition.kind in (TOOL, PROMPT, TEMPLATE):
            yield definition_finding(definition, "")(ERROR, "no-object", "is no object", _REPORT_FIX)
        return
    found = cast("_Schema", content)
    if not definition.name:
        yield definition_finding(definition, "")(ERROR, "no-name", "has no name", _REPORT_FIX)
    match definition.kind:
        case "tool":
            yield from _check_tool(definition, found)
        case "prompt":
            yield from _check_arguments(definition, found.get("arguments"))
        case "resource template":
            yield from _check_template(definition)
        case _:
            pass


def check_names(kind: str, names: Sequence[str]) -> Iterator[Finding]:
    """Yield the findings about names that several definitions of one kind have."""
    for name in sorted({name for name in names if name and names.count(name) > 1}):
        yield definition_finding(Definition(kind, name, None), "")(
            ERROR,
            "duplicate-name",
            f"is listed {names.count(name)} times",
            "a client uses one of them, and the other may replace it: report it to the author of the server",
        )
    if kind == TOOL:
        for first, second in similar_names(names):
            yield definition_finding(Definition(kind, second, None), "name")(
                WARNING,
                "similar-name",
                f"differs from {first} in case or punctuation only",
                "a model may confuse them: deny one with tools.deny",
            )


def _check_tool(definition: Definition, tool: _Schema) -> Iterator[Finding]:
    report = definition_finding(definition, "inputSchema")
    schema = tool.get("inputSchema")
    if not isinstance(schema, dict):
        yield report(ERROR, "input-schema", "is no object", _REPORT_FIX)
    else:
        found = cast("_Schema", schema)
        if found.get("type") != "object":
            yield report(ERROR, "input-schema", 'has no "type": "object"', _REPORT_FIX)
        yield from _check_schema(definition, found, "inputSchema")
        yield from _check_headers(report, found)
    if "outputSchema" in tool:
        output = tool["outputSchema"]
        if isinstance(output, dict):
            yield from _check_schema(definition, cast("_Schema", output), "outputSchema")
        else:
            yield definition_finding(definition, "outputSchema")(
                ERROR, "output-schema", "is no object", _REPORT_FIX
            )
    if not isinstance(tool.get("description"), str) or not tool["description"]:
        yield definition_finding(definition, "")(
            WARNING, "no-description", "has no description", "a model cannot know when to use the tool"
        )
    yield from _check_annotations(definition, tool.get("annotations", {}))


def _check_headers(report: _Report, schema: _Schema) -> Iterator[Finding]:
    try:
        param_headers(json.dumps(schema).encode())
    except ValueError as fault:
        yield report(
            ERROR, "header-annotation", f"x-mcp-header: {fault}", "clients over HTTP must not use the tool"
        )
    except Rejection as rejection:
        yield report(WARNING, "header-annotation", rejection.text, _REPORT_FIX)


def _check_annotations(definition: Definition, annotations: object) -> Iterator[Finding]:
    report = definition_finding(definition, "annotations")
    if not isinstance(annotations, dict):
        yield report(ERROR, "annotations", "is no object", _REPORT_FIX)
        return
    found = cast("_Schema", annotations)
    for hint in _HINTS:
        if hint in found and not isinstance(found[hint], bool):
            yield report(ERROR, "annotations", f"{hint} is not true or false", _REPORT_FIX)
    if found.get("readOnlyHint") is not True:
        return
    if found.get("destructiveHint") is True:
        yield report(
            WARNING,
            "annotations-contradict",
            "readOnlyHint and destructiveHint are both true",
            "do not let a client run the tool without a question because of readOnlyHint",
        )
    first = definition.name.replace("-", "_").split("_")[0].lower()
    if first in _CHANGING:
        yield report(
            WARNING,
            "read-only-name",
            f"readOnlyHint is true, and the name begins with {first}",
            "do not let a client run the tool without a question because of readOnlyHint",
        )


def _check_arguments(definition: Definition, arguments: object) -> Iterator[Finding]:
    report = definition_finding(definition, "arguments")
    if arguments is None:
        return
    if not isinstance(arguments, list):
        yield report(ERROR, "arguments", "is no list", _REPORT_FIX)
        return
    items = cast("list[object]", arguments)
    names = [cast("_Schema", one).get("name") if isinstance(one, dict) else None for one in items]
    if not all(isinstance(one, str) and one for one in names):
        yield report(ERROR, "arguments", "has an argument without a name", _REPORT_FIX)
    elif len({*names}) < len(names):
        yield report(ERROR, "arguments", "has two arguments of the same name", _REPORT_FIX)


def _check_template(definition: Definition) -> Iterator[Finding]:
    depth = 0
    for character in definition.name:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth not in (0, 1):
            break
    if depth:
        yield definition_finding(definition, "uriTemplate")(
            ERROR, "uri-template", "has braces that do not match (RFC 6570)", _REPORT_FIX
        )


def _check_schema(definition: Definition, root: _Schema, where: str) -> Iterator[Finding]:
    """Yield the findings about a schema and those in it, without recursion."""
    waiting: list[tuple[str, object, int]] = [(where, root, 0)]
    while waiting:
        path, schema, depth = waiting.pop()
        report = definition_finding(definition, path)
        if depth > _DEEPEST:
            yield report(WARNING, "schema-depth", f"is nested deeper than {_DEEPEST} levels", _REPORT_FIX)
            return
        if isinstance(schema, bool):
            continue
        if not isinstance(schema, dict):
            yield report(ERROR, "schema", "is no schema: it must be an object, true or false", _REPORT_FIX)
            continue
        found = cast("_Schema", schema)
        yield from _check_keywords(report, found, root)
        waiting += reversed([(f"{path}.{place}", one, depth + 1) for place, one in _below(found)])


def _below(schema: _Schema) -> Iterator[tuple[str, object]]:
    for key in _ONE:
        # Before JSON Schema 2020-12 `items` could be a list.
        if key in schema and not isinstance(schema[key], list):
            yield key, schema[key]
    for key in _LISTS:
        found = schema.get(key)
        for index, one in enumerate(cast("list[object]", found) if isinstance(found, list) else ()):
            yield f"{key}[{index}]", one
    for key in _NAMED:
        named = schema.get(key)
        for name, one in cast("_Schema", named).items() if isinstance(named, dict) else ():
            yield f"{key}.{name}", one


def _check_keywords(report: _Report, schema: _Schema, root: _Schema) -> Iterator[Finding]:
    kinds = schema.get("type", [])
    listed = cast("list[object]", kinds) if isinstance(kinds, list) else [kinds]
    for one in listed:
        if not isinstance(one, str) or one not in _TYPES:
            yield report(ERROR, "schema-type", f"has the unknown type {json.dumps(one)[:40]}", _REPORT_FIX)
    if "properties" in schema and not isinstance(schema["properties"], dict):
        yield report(ERROR, "schema", "has properties that are no object", _REPORT_FIX)
    if "enum" in schema and not isinstance(schema["enum"], list):
        yield report(ERROR, "schema", "has an enum that is no list", _REPORT_FIX)
    yield from _check_required(report, schema)
    yield from _check_reference(report, schema.get("$ref"), root)


def _check_required(report: _Report, schema: _Schema) -> Iterator[Finding]:
    required = schema.get("required", [])
    names = cast("list[object]", required) if isinstance(required, list) else None
    if names is None or not all(isinstance(one, str) for one in names):
        yield report(ERROR, "required", "has a required that is no list of strings", _REPORT_FIX)
        return
    properties = schema.get("properties", {})
    if not isinstance(properties, dict) or any(key in schema for key in _MORE_PROPERTIES):
        return
    lacking = [cast("str", one) for one in names if one not in cast("_Schema", properties)]
    if lacking and "properties" in schema:
        yield report(
            WARNING,
            "required-unknown",
            f"requires {', '.join(lacking[:8])}, which is not among its properties",
            _REPORT_FIX,
        )


def _check_reference(report: _Report, reference: object, root: _Schema) -> Iterator[Finding]:
    if reference is None:
        return
    if not isinstance(reference, str):
        yield report(ERROR, "reference", "has a $ref that is no string", _REPORT_FIX)
    elif not reference.startswith("#"):
        yield report(
            WARNING, "reference", f"refers to another document: {reference[:80]}", "clients do not fetch it"
        )
    elif reference.startswith("#/") and not _resolves(reference, root):
        yield report(ERROR, "reference", f"refers to {reference[:80]}, which does not exist", _REPORT_FIX)


def _resolves(reference: str, root: object) -> bool:
    for word in reference[2:].split("/"):
        key = word.replace("~1", "/").replace("~0", "~")
        if isinstance(root, list) and key.isdecimal() and int(key) < len(cast("list[object]", root)):
            root = cast("list[object]", root)[int(key)]
        elif isinstance(root, dict) and key in root:
            root = cast("_Schema", root)[key]
        else:
            return False
    return True
