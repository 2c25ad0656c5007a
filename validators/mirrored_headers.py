"""Check the headers of a request without a session against its body (MCP 2026-07-28 basic/transports/streamable-http)."""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple, cast

import msgspec

from . import json_object
from .http_head import TCHAR
from .incremental_json import depth_ok
from .limits import Limits
from .rejection import Rejection, too_large
from .revisions import MODERN_REVISIONS
from .stateless_request import MODERN_NAMED, Envelope, check_supported

HEADER_MISMATCH: Final = -32020


# ---- the headers of every request


def check_headers(headers: Mapping[str, str], method: str, envelope: Envelope) -> None:
    """Check that the headers of a request equal its body. Names are in lower case, values without outer spaces.

    Raises Rejection 400: -32020 for a missing or different header, -32022 for a revision that the bridge does not support.
    """
    if headers.get("mcp-protocol-version") != envelope.version:
        raise _mismatch("MCP-Protocol-Version", "the protocolVersion of the body")
    if envelope.version not in MODERN_REVISIONS:
        check_supported(envelope.version)
    if headers.get("mcp-method") != method:
        raise _mismatch("Mcp-Method", "the method of the body")
    if method in MODERN_NAMED:
        name = headers.get("mcp-name")
        if name is None or (decode_value(name) if name.startswith(_ENCODED) else name) != envelope.name:
            raise _mismatch("Mcp-Name", f"the {MODERN_NAMED[method]} of the body")


def _mismatch(header: str, what: str) -> Rejection:
    return Rejection(400, HEADER_MISMATCH, f"the header {header} must be given once and equal {what}")


# A value in Base64 is written as `=?base64?...?=`. Both markers are case-sensitive.
_SENTINEL: Final = re.compile(r"=\?base64\?(.*)\?=\Z", re.DOTALL)
_ENCODED: Final = "=?base64?"
# Visible ASCII, with spaces and tabs inside only, or nothing at all.
_PLAIN: Final = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?\Z")


def decode_value(value: str) -> str:
    """Return the value of a header, decoded if it is marked as Base64.

    Raises Rejection 400 -32020 for invalid Base64, Base64 that is not canonical, and bytes that are not UTF-8.
    """
    match = _SENTINEL.match(value)
    if match is None:
        return value
    try:
        decoded = base64.b64decode(match[1], validate=True)
        text = decoded.decode()
    except ValueError:
        # The alphabet, the padding or the UTF-8 is wrong.
        raise _not_canonical() from None
    # The last character may have unused bits that are set.
    if base64.b64encode(decoded).decode() != match[1]:
        raise _not_canonical()
    return text


def encode_value(value: str) -> str:
    """Return a value for a header: unchanged, or in Base64 if a header cannot carry it unchanged."""
    if _PLAIN.match(value) and not _SENTINEL.match(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def _not_canonical() -> Rejection:
    return Rejection(400, HEADER_MISMATCH, "a header's value is not canonical Base64 of UTF-8")


# ---- the headers that mirror the arguments of a tool


class ParamHeader(NamedTuple):
    """One `x-mcp-header` annotation of an inputSchema.

    `header` is the name in lower case, `path` the names below `arguments` that lead to the value, `kind` is "string",
    "integer" or "boolean".
    """

    header: str
    path: tuple[str, ...]
    kind: str


_ANNOTATION: Final = "x-mcp-header"
_HEADER: Final = re.compile(rf"{TCHAR}+\Z")
_KINDS: Final = ("string", "integer", "boolean")

# Keywords of JSON Schema whose value is a schema or an array of schemas, and keywords whose value is an object of schemas.
# The values of all others, such as `default`, `enum` or `examples`, are data and not searched for annotations.
_BELOW: Final = frozenset(
    {"items", "prefixItems", "additionalItems", "contains", "unevaluatedItems", "contentSchema"}
    | {"additionalProperties", "propertyNames", "unevaluatedProperties"}
    | {"allOf", "anyOf", "oneOf", "not", "if", "then", "else"}
)
_BELOW_NAMES: Final = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"}
)

# A text that is compared as a number. The limit is far above the safe integers, and keeps the comparison cheap.
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,63})(?:\.[0-9]{1,64})?(?:[eE][+-]?[0-9]{1,3})?\Z")

_encode: Final = msgspec.json.Encoder().encode
# All annotated schemas of one list together may have this many times the limit of one schema.
_SCHEMAS: Final = 4


class SchemaReader:
    """Read the header annotations of the tools of one list, within the limits of one list."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._left = _SCHEMAS * limits.schema_bytes

    def param_headers(self, schema: bytes) -> tuple[ParamHeader, ...]:
        """Return the header annotations of the inputSchema of a tool, in its order.

        Raises ValueError with the reason for an annotation that breaks the rules, which makes the whole tool invalid (MCP
        2026-07-28 server/tools). Raises Rejection for a schema over its limit.
        """
        if not _may_be_annotated(schema):
            return ()
        found: dict[str, ParamHeader] = {}
        _collect(self._parsed(schema), (), found)
        return tuple(found.values())

    def without_annotations(self, schema: bytes) -> bytes:
        """Return a schema without any header annotation. All other members keep their order, and numbers their spelling.

        A schema that is nested deeper than a message, or has a lone surrogate, is returned unchanged.
        Raises Rejection for a schema over its limit.
        """
        if not _may_be_annotated(schema):
            return schema
        try:
            return _encode(_without_annotations(self._parsed(schema)))
        except ValueError:
            return schema

    def _parsed(self, schema: bytes) -> object:
        size, limit = len(schema), self._limits.schema_bytes
        if size > limit:
            raise too_large(f"an inputSchema with an x-mcp-header of {size} bytes", limit, "schema_bytes")
        if size > self._left:
            raise too_large(
                "one list with inputSchemas with an x-mcp-header of more bytes together",
                _SCHEMAS * limit,
                f"schema_bytes, {_SCHEMAS} times",
            )
        self._left -= size
        if not depth_ok(schema, self._limits.json_depth):
            raise ValueError("an inputSchema with an x-mcp-header is nested too deep")
        return json.loads(schema, parse_int=_number, parse_float=_number)


def param_headers(schema: bytes) -> tuple[ParamHeader, ...]:
    """Return the header annotations of one inputSchema, as `SchemaReader.param_headers` does."""
    return SchemaReader(Limits()).param_headers(schema)


def _number(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def check_param_headers(
    headers: Mapping[str, str], params: bytes, annotations: Sequence[ParamHeader]
) -> None:
    """Check that the headers equal the annotated arguments of a `tools/call`. Names are in lower case.

    Other headers are ignored. Raises Rejection 400 -32020 for a header that is missing, that differs, or whose argument is
    absent or null.
    """
    if not annotations:
        return
    levels: dict[tuple[str, ...], json_object.Members] = {(): _arguments(params)}
    for annotation in annotations:
        value = _level(levels, annotation.path[:-1]).get(annotation.path[-1])
        argument = b"null" if value is None else bytes(value)
        header = headers.get(annotation.header)
        if header is None:
            if argument != b"null":
                raise _mismatch(_shown(annotation), "its argument")
        elif argument == b"null":
            raise Rejection(
                400, HEADER_MISMATCH, f"the header {_shown(annotation)} is given, its argument is not"
            )
        elif not _is_same(decode_value(header), argument, annotation.kind):
            raise _mismatch(_shown(annotation), "its argument")


def mirror_arguments(params: bytes, annotations: Sequence[ParamHeader]) -> list[tuple[bytes, bytes]]:
    """Return the header fields that mirror the annotated arguments of a `tools/call`.

    An argument that is absent or null has none. No argument can end a field: other characters are encoded (`encode_value`).
    """
    if not annotations:
        return []
    levels: dict[tuple[str, ...], json_object.Members] = {(): _arguments(params)}
    fields: list[tuple[bytes, bytes]] = []
    for annotation in annotations:
        value = _level(levels, annotation.path[:-1]).get(annotation.path[-1])
        argument = b"null" if value is None else bytes(value)
        if argument != b"null":
            text = json_object.string(argument) if argument.startswith(b'"') else argument.decode()
            fields.append((_shown(annotation).encode(), encode_value(text).encode()))
    return fields


def _arguments(params: bytes) -> json_object.Members:
    return json_object.peek(json_object.peek(params).get("arguments"))


def _level(levels: dict[tuple[str, ...], json_object.Members], path: tuple[str, ...]) -> json_object.Members:
    """Return the members of the argument at a path, which is decoded only once."""
    if path not in levels:
        levels[path] = json_object.peek(_level(levels, path[:-1]).get(path[-1]))
    return levels[path]


# A character of the name of the annotation, as an escape.
_SPELLED: Final = re.compile(rb"\\u00(?:2[dD]|6[134589dD]|7[028])")


def _may_be_annotated(schema: bytes) -> bool:
    return b"x-mcp-header" in schema or _SPELLED.search(schema) is not None


def _collect(schema: object, path: tuple[str, ...], found: dict[str, ParamHeader]) -> None:
    for keyword, value in _members(schema).items():
        if keyword == _ANNOTATION:
            annotation = _param_header(_members(schema), path)
            if annotation.header in found:
                raise ValueError("two arguments have the same x-mcp-header")
            found[annotation.header] = annotation
        elif keyword == "properties":
            for name, property_ in _members(value).items():
                _collect(property_, (*path, name), found)
        else:
            for below in _schemas_below(keyword, value):
                _refuse_annotations(below)


def _param_header(schema: Mapping[str, object], path: tuple[str, ...]) -> ParamHeader:
    header, kind = schema[_ANNOTATION], schema.get("type")
    if not path:
        raise ValueError("an x-mcp-header is on the inputSchema itself")
    if not isinstance(header, str) or not _HEADER.match(header):
        raise ValueError("an x-mcp-header is not a header name")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError("an x-mcp-header is not on a string, integer or boolean")
    return ParamHeader(f"mcp-param-{header.lower()}", path, kind)


def _refuse_annotations(schema: object) -> None:
    # Below any other keyword than `properties` a schema has no certain argument.
    for keyword, value in _members(schema).items():
        if keyword == _ANNOTATION:
            raise ValueError("an x-mcp-header is not reachable by properties alone")
        for below in _schemas_below(keyword, value):
            _refuse_annotations(below)


def _members(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _schemas_below(keyword: str, value: object) -> Iterable[object]:
    if keyword in _BELOW_NAMES:
        return _members(value).values()
    if keyword in _BELOW:
        return cast("list[object]", value) if isinstance(value, list) else (value,)
    return ()


def _without_annotations(schema: object) -> object:
    found = _members(schema)
    found.pop(_ANNOTATION, None)
    for keyword, value in found.items():
        for below in _schemas_below(keyword, value):
            _without_annotations(below)
    return schema


def _shown(annotation: ParamHeader) -> str:
    return f"Mcp-Param-{annotation.header.removeprefix('mcp-param-')}"


def _is_same(header: str, argument: bytes, kind: str) -> bool:
    if argument.startswith(b'"'):
        return header == json_object.string(argument)
    text = argument.decode()
    if kind == "integer" and _NUMBER.match(header) and _NUMBER.match(text):
        return Decimal(header) == Decimal(text)
    return header == text
