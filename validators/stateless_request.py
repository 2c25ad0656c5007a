"""What a request of the stateless era (2026-07-28) must carry, and the headers that must say the same.

Nothing is remembered from one request to the next. Of a repeated JSON member the last one counts, as everywhere.

Sources: specification digest sections 1.4, 1.13, 3.3 to 3.6.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple, cast

import msgspec

from . import json_object
from .incremental_json import depth_ok
from .limits import Limits
from .lone_surrogates import decoded
from .names import check_name, check_uri
from .rejection import INVALID_PARAMS, Rejection, too_large

MODERN_REVISION: Final = "2026-07-28"
SUPPORTED: Final = (MODERN_REVISION,)

HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022

PROTOCOL_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
CLIENT_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"

LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

# What says who asks, where nobody but the bridge does.
OWN_META: Final = {
    PROTOCOL_VERSION: MODERN_REVISION,
    CLIENT_CAPABILITIES: {},
    CLIENT_INFO: {"name": "mcp-bridge", "version": "0"},
}

# What `Mcp-Name` mirrors (digest 3.4).
NAMED: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
# A requestState is the server's, so its limit is only there to have one, in bytes.
_STATE: Final = 64 * 1024
_TOKEN: Final = re.compile(rb'-?(?:0|[1-9][0-9]*)\Z|"')


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What one modern request says of itself.

    `capabilities` is a raw JSON object; `token` the raw progress token and `log_level` one of LOG_LEVELS, each empty where
    there is none. `info` is the raw clientInfo, which nothing verifies. `name` is what Mcp-Name must say, empty where the method or the request names nothing. `state` is the
    requestState, None where there is none or the method (one that NAMED does not list) knows none.
    """

    version: str
    capabilities: bytes
    log_level: str
    token: bytes
    name: str
    state: str | None
    info: bytes = b""


class _Claim(msgspec.Struct, gc=False):
    meta: msgspec.Raw | msgspec.UnsetType = msgspec.field(name="_meta", default=msgspec.UNSET)


class _Claimed(msgspec.Struct, gc=False):
    version: msgspec.Raw | msgspec.UnsetType = msgspec.field(name=PROTOCOL_VERSION, default=msgspec.UNSET)


class _Meta(msgspec.Struct, gc=False):
    version: str | msgspec.UnsetType = msgspec.field(name=PROTOCOL_VERSION, default=msgspec.UNSET)
    capabilities: msgspec.Raw | msgspec.UnsetType = msgspec.field(
        name=CLIENT_CAPABILITIES, default=msgspec.UNSET
    )
    info: msgspec.Raw | msgspec.UnsetType = msgspec.field(name=CLIENT_INFO, default=msgspec.UNSET)
    level: str | msgspec.UnsetType = msgspec.field(name=LOG_LEVEL, default=msgspec.UNSET)
    token: msgspec.Raw | msgspec.UnsetType = msgspec.field(name="progressToken", default=msgspec.UNSET)


# A method that names nothing of ours may use the members of `_Named` as it likes.
class _Params(msgspec.Struct, gc=False):
    meta: _Meta | msgspec.UnsetType = msgspec.field(name="_meta", default=msgspec.UNSET)


class _Named(_Params, gc=False):
    named: str | msgspec.UnsetType = msgspec.field(name="name", default=msgspec.UNSET)
    state: str | msgspec.UnsetType = msgspec.field(name="requestState", default=msgspec.UNSET)


class _Located(_Named, gc=False):
    named: str | msgspec.UnsetType = msgspec.field(name="uri", default=msgspec.UNSET)


class _OfTask(_Named, gc=False):
    named: str | msgspec.UnsetType = msgspec.field(name="taskId", default=msgspec.UNSET)


_decode_claim = msgspec.json.Decoder(_Claim).decode
_decode_claimed = msgspec.json.Decoder(_Claimed).decode
_decode_unnamed = msgspec.json.Decoder[_Params](_Params).decode
_DECODERS: Final = {
    "name": msgspec.json.Decoder[_Params](_Named).decode,
    "uri": msgspec.json.Decoder[_Params](_Located).decode,
    "taskId": msgspec.json.Decoder[_Params](_OfTask).decode,
}
_decode_for = {method: _DECODERS[named] for method, named in NAMED.items()}
_KEY: Final = PROTOCOL_VERSION.encode()


# ---- the envelope


def may_be_modern(params: bytes) -> bool:
    """Return False where params cannot carry the modern envelope: a test of bytes, before anything is decoded."""
    return _KEY in params or (b"\\" in params and _may_spell_the_key(params))


def is_modern(params: bytes) -> bool:
    """Whether params claim to carry the modern envelope: their `_meta` has a protocolVersion, of whatever type.

    It is so where `read_envelope` can read them, and otherwise need not be.
    """
    if not may_be_modern(params):
        return False
    try:
        meta = decoded(_decode_claim, params).meta
        return meta is not msgspec.UNSET and decoded(_decode_claimed, meta).version is not msgspec.UNSET
    except json_object.UNREADABLE:
        return False


def check_meta(params: bytes) -> None:
    """Raise Rejection 400 -32602 for a `_meta` with more values than can be read with each request."""
    if json_object.is_small(params):
        return
    try:
        meta = decoded(_decode_claim, params).meta
    except json_object.UNREADABLE:
        return
    if meta is not msgspec.UNSET and not json_object.is_small(meta):
        raise _wrong(f"_meta {json_object.TOO_LARGE}")


def _may_spell_the_key(params: bytes) -> bool:
    # A key spelled with escapes is still the key, and some encoders write every "/" as "\/". Searched from the end: that takes
    # a third of the time.
    return params.rfind(b"\\u00") >= 0 or params.rfind(b"\\/") >= 0


def read_envelope(method: str, params: bytes, limits: Limits) -> Envelope:
    """Read and check the envelope of a request, and what the request names.

    Whether the version is spoken here is not asked: the headers come first (`check_headers`, `check_supported`).
    Raises Rejection 400 -32602, naming the member that is missing, of the wrong type or over its limit.
    """
    decode = _decode_for.get(method, _decode_unnamed)
    try:
        read = decode(params or b"{}")
    except json_object.UNREADABLE:
        read = _read_again(method, params, decode)
    meta = read.meta
    if meta is msgspec.UNSET:
        raise _wrong(
            f"_meta needs {PROTOCOL_VERSION}; a session of an earlier revision begins with initialize"
        )
    if meta.version is msgspec.UNSET:
        raise _wrong(f"_meta needs {PROTOCOL_VERSION}")
    if meta.capabilities is msgspec.UNSET:
        raise _wrong(f"_meta needs {CLIENT_CAPABILITIES}")
    capabilities = bytes(meta.capabilities)
    if capabilities[0] != 0x7B:
        raise _wrong(f"{CLIENT_CAPABILITIES} must be an object")
    if meta.level is not msgspec.UNSET and meta.level not in LOG_LEVELS:
        raise _wrong(f"{LOG_LEVEL} must be one of {', '.join(LOG_LEVELS)}")
    token = b"" if meta.token is msgspec.UNSET else bytes(meta.token)
    if token and (not _TOKEN.match(token) or len(token) > limits.id + 2):
        raise _wrong(f"a progress token is a string or an integer of at most {limits.id} bytes")
    name, state = "", None
    if isinstance(read, _Named):
        if read.named is not msgspec.UNSET:
            name = read.named
            check = check_uri if type(read) is _Located else check_name
            check(name, limits)
        if read.state is not msgspec.UNSET:
            state = read.state
            _check_state(state)
    return Envelope(
        meta.version,
        capabilities,
        "" if meta.level is msgspec.UNSET else meta.level,
        token,
        name,
        state,
        b"" if meta.info is msgspec.UNSET else bytes(meta.info),
    )


def _read_again(method: str, params: bytes, decode: Callable[[bytes | msgspec.Raw], _Params]) -> _Params:
    """Read params with lone surrogates. A name keeps them, and must not have any. Raises Rejection for all others."""
    try:
        read = decoded(decode, params)
    except json_object.UNREADABLE:
        raise _wrong_type(method, params) from None
    if isinstance(read, _Named) and read.named is not msgspec.UNSET:
        read.named = json.loads(bytes(json_object.read(params)[NAMED[method]]))
    return read


def check_supported(version: str) -> None:
    """Raise Rejection 400 -32022 for a revision that is not spoken here."""
    if version not in SUPPORTED:
        raise Rejection(
            400,
            UNSUPPORTED_VERSION,
            "Unsupported protocol version",
            data={"supported": list(SUPPORTED), "requested": version},
        )


def _check_state(state: str) -> None:
    size = len(state) if state.isascii() else len(state.encode())
    if size > _STATE:
        raise _wrong(f"a requestState of {size} bytes exceeds the limit of {_STATE}")


def _wrong(text: str) -> Rejection:
    return Rejection(400, INVALID_PARAMS, text)


def _wrong_type(method: str, params: bytes) -> Rejection:
    # The decoder has said that something is wrong. This finds out what, off the hot path.
    read = json_object.peek(params)
    if not bytes(read.get("_meta", b"{")).startswith(b"{"):
        return _wrong("_meta must be an object")
    meta = json_object.peek(read.get("_meta"))
    for holder, key in ((meta, PROTOCOL_VERSION), (meta, LOG_LEVEL), (read, NAMED.get(method, ""))):
        if not bytes(holder.get(key, b'"')).startswith(b'"'):
            return _wrong(f"{key} must be a string")
    return _wrong("requestState must be a string")


# ---- the headers of every request


def check_headers(headers: Mapping[str, str], method: str, envelope: Envelope) -> None:
    """Check that the headers say what the body says (digest 3.4). Names are in lower case, values without outer spaces.

    Raises Rejection 400: -32020 where they do not, -32022 where they agree on a revision that is not spoken here.
    """
    if headers.get("mcp-protocol-version") != envelope.version:
        raise _mismatch("MCP-Protocol-Version", "the protocolVersion of the body")
    if envelope.version not in SUPPORTED:
        check_supported(envelope.version)
    if headers.get("mcp-method") != method:
        raise _mismatch("Mcp-Method", "the method of the body")
    if method in NAMED:
        name = headers.get("mcp-name")
        if name is None or (decode_value(name) if name.startswith(_ENCODED) else name) != envelope.name:
            raise _mismatch("Mcp-Name", f"the {NAMED[method]} of the body")


def _mismatch(header: str, what: str) -> Rejection:
    return Rejection(400, HEADER_MISMATCH, f"the header {header} must be given once and equal {what}")


# A value in Base64 says so, as `=?base64?...?=` (digest 3.5). Both ends are case-sensitive.
_SENTINEL: Final = re.compile(r"=\?base64\?(.*)\?=\Z", re.DOTALL)
_ENCODED: Final = "=?base64?"
# Visible ASCII, with spaces and tabs inside only, or nothing at all.
_PLAIN: Final = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?\Z")


def decode_value(value: str) -> str:
    """The value of a header, with the Base64 of section 3.5 undone.

    Raises Rejection 400 -32020 for Base64 that is none, or not canonical, and for what it holds not being UTF-8.
    """
    match = _SENTINEL.match(value)
    if match is None:
        return value
    try:
        decoded = base64.b64decode(match[1], validate=True)
        text = decoded.decode()
    except ValueError:  # of the alphabet, the padding or the UTF-8
        raise _not_canonical() from None
    if base64.b64encode(decoded).decode() != match[1]:  # bits behind the end that mean nothing
        raise _not_canonical()
    return text


def encode_value(value: str) -> str:
    """A value as it can stand in a header: as it is, or in Base64 where it would not arrive as it is."""
    if _PLAIN.match(value) and not _SENTINEL.match(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def _not_canonical() -> Rejection:
    return Rejection(400, HEADER_MISMATCH, "a header's value is not canonical Base64 of UTF-8")


# ---- the headers that mirror the arguments of a tool


class Mirror(NamedTuple):
    """One annotation of an inputSchema.

    `header` is the name in lower case, `path` where the value is below `arguments`, `kind` "string", "integer" or "boolean".
    """

    header: str
    path: tuple[str, ...]
    kind: str


_ANNOTATION: Final = "x-mcp-header"
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_KINDS: Final = ("string", "integer", "boolean")

# Where JSON Schema has schemas below a schema: one or an array of them, or an object of them. All else, such as
# `default`, `enum` or `examples`, is data, in which the annotation's name means nothing.
_BELOW: Final = frozenset(
    {"items", "prefixItems", "additionalItems", "contains", "unevaluatedItems", "contentSchema"}
    | {"additionalProperties", "propertyNames", "unevaluatedProperties"}
    | {"allOf", "anyOf", "oneOf", "not", "if", "then", "else"}
)
_BELOW_NAMES: Final = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"}
)

# What compares as a number. The bound is far beyond the safe integers, and keeps the comparison cheap.
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,63})(?:\.[0-9]{1,64})?(?:[eE][+-]?[0-9]{1,3})?\Z")

_encode: Final = msgspec.json.Encoder().encode
# The annotated schemas of one list may have so many times the limit of one, all together.
_SCHEMAS: Final = 4


class Schemas:
    """Read the header annotations of the tools of one list, and no more of it than the limits allow."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._left = _SCHEMAS * limits.schema_bytes

    def mirrors(self, schema: bytes) -> tuple[Mirror, ...]:
        """Return the header annotations of a tool's inputSchema, in its order.

        Raises ValueError with the reason where one of them breaks the rules (digest 3.5): then the whole tool is invalid.
        Raises Rejection for what is too large to be read.
        """
        if not _may_be_annotated(schema):
            return ()
        found: dict[str, Mirror] = {}
        _collect(self._parsed(schema), (), found)
        return tuple(found.values())

    def stripped(self, schema: bytes) -> bytes:
        """Return a schema without any header annotation (digest 8.3). All else keeps its order, and numbers their spelling.

        Raises Rejection for what is too large to be read. A schema that is nested deeper than a message, or holds half a
        surrogate pair, is returned as it was.
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


def mirrors(schema: bytes) -> tuple[Mirror, ...]:
    """Return the header annotations of one inputSchema, as `Schemas.mirrors` does."""
    return Schemas(Limits()).mirrors(schema)


def strip_annotations(schema: bytes) -> bytes:
    """Return one inputSchema without any header annotation, as `Schemas.stripped` does."""
    return Schemas(Limits()).stripped(schema)


def _number(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def check_params(headers: Mapping[str, str], params: bytes, mirrors: Sequence[Mirror]) -> None:
    """Check that the headers mirror the arguments of a `tools/call` (digest 3.5). Names are in lower case.

    A header that no mirror names is not looked at. Raises Rejection 400 -32020 for one that is missing, that differs, or
    whose argument is absent or null.
    """
    if not mirrors:
        return
    levels: dict[tuple[str, ...], json_object.Members] = {(): _arguments(params)}
    for mirror in mirrors:
        value = _level(levels, mirror.path[:-1]).get(mirror.path[-1])
        argument = b"null" if value is None else bytes(value)
        header = headers.get(mirror.header)
        if header is None:
            if argument != b"null":
                raise _mismatch(_shown(mirror), "its argument")
        elif argument == b"null":
            raise Rejection(
                400, HEADER_MISMATCH, f"the header {_shown(mirror)} is given, its argument is not"
            )
        elif not _is_same(decode_value(header), argument, mirror.kind):
            raise _mismatch(_shown(mirror), "its argument")


def _arguments(params: bytes) -> json_object.Members:
    return json_object.peek(json_object.peek(params).get("arguments"))


def _level(levels: dict[tuple[str, ...], json_object.Members], path: tuple[str, ...]) -> json_object.Members:
    """Return the members of the argument at a path. Each is decoded once, however many mirrors are below it."""
    if path not in levels:
        levels[path] = json_object.peek(_level(levels, path[:-1]).get(path[-1]))
    return levels[path]


# One of the letters of the annotation's name, as an escape.
_SPELLED: Final = re.compile(rb"\\u00(?:2[dD]|6[134589dD]|7[028])")


def _may_be_annotated(schema: bytes) -> bool:
    return b"x-mcp-header" in schema or _SPELLED.search(schema) is not None


def _collect(schema: object, path: tuple[str, ...], found: dict[str, Mirror]) -> None:
    for keyword, value in _members(schema).items():
        if keyword == _ANNOTATION:
            mirror = _mirror(_members(schema), path)
            if mirror.header in found:
                raise ValueError("two arguments have the same x-mcp-header")
            found[mirror.header] = mirror
        elif keyword == "properties":
            for name, property_ in _members(value).items():
                _collect(property_, (*path, name), found)
        else:
            for one in _schemas_below(keyword, value):
                _refuse_annotations(one)


def _mirror(schema: Mapping[str, object], path: tuple[str, ...]) -> Mirror:
    header, kind = schema[_ANNOTATION], schema.get("type")
    if not path:
        raise ValueError("an x-mcp-header is on the inputSchema itself")
    if not isinstance(header, str) or not _HEADER.match(header):
        raise ValueError("an x-mcp-header is not a header name")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError("an x-mcp-header is on what is no string, integer or boolean")
    return Mirror(f"mcp-param-{header.lower()}", path, kind)


def _refuse_annotations(schema: object) -> None:
    # Below anything but `properties` it is not certain which argument a schema is for, or whether there is one.
    for keyword, value in _members(schema).items():
        if keyword == _ANNOTATION:
            raise ValueError("an x-mcp-header is where properties alone do not lead")
        for one in _schemas_below(keyword, value):
            _refuse_annotations(one)


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
        for one in _schemas_below(keyword, value):
            _without_annotations(one)
    return schema


def _shown(mirror: Mirror) -> str:
    return f"Mcp-Param-{mirror.header.removeprefix('mcp-param-')}"


def _is_same(header: str, argument: bytes, kind: str) -> bool:
    if argument.startswith(b'"'):
        return header == json_object.string(argument)
    text = argument.decode()
    if kind == "integer" and _NUMBER.match(header) and _NUMBER.match(text):
        return Decimal(header) == Decimal(text)
    return header == text
