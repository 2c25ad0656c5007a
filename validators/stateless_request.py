"""Read and check the `_meta` of requests without a session (MCP 2026-07-28 basic, basic/versioning).

No state is kept between two requests. The last of repeated JSON members counts.
"""

import json
from collections.abc import Callable
from typing import Final

import msgspec

from . import json_object
from .limits import Limits
from .lone_surrogates import decoded
from .names import check_name, check_progress_token, check_uri
from .quoted_strings import occurs
from .rejection import INVALID_PARAMS, Rejection
from .revisions import MODERN_REVISION, MODERN_REVISIONS

MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022

PROTOCOL_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
CLIENT_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"

LISTEN: Final = "subscriptions/listen"
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

# The `_meta` of requests that the bridge itself sends.
OWN_META: Final = {
    PROTOCOL_VERSION: MODERN_REVISION,
    CLIENT_CAPABILITIES: {},
    CLIENT_INFO: {"name": "mcp-bridge", "version": "0"},
}

# Method: the member of its params that the header Mcp-Name mirrors (MCP 2026-07-28 basic/transports/streamable-http).
MODERN_NAMED: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
# The limit of a requestState (bytes). The server chooses its size.
_STATE: Final = 64 * 1024


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """The `_meta` of one request without a session, and the members that headers mirror.

    `capabilities` is a raw JSON object. `token` is the raw progress token and `log_level` one of LOG_LEVELS; each may be empty.
    `info` is the raw clientInfo, which is not verified. `name` is the value that Mcp-Name must have, or empty. `state` is the
    requestState, or None; methods that MODERN_NAMED does not list have none.
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


# The params of a method that MODERN_NAMED does not list may have members of these names with any type.
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
_decode_for = {method: _DECODERS[named] for method, named in MODERN_NAMED.items()}
_KEY: Final = b'"%b"' % PROTOCOL_VERSION.encode()


# ---- the envelope


def may_be_modern(params: bytes) -> bool:
    """Return False if params cannot have a protocolVersion in `_meta`. Searches bytes and decodes nothing."""
    return occurs(_KEY, params) or (b"\\" in params and _may_spell_the_key(params))


def is_modern(params: bytes) -> bool:
    """Return whether the `_meta` of params has a protocolVersion of any type.

    Returns True for all params that `read_envelope` accepts.
    """
    if not may_be_modern(params):
        return False
    try:
        meta = decoded(_decode_claim, params).meta
        return meta is not msgspec.UNSET and decoded(_decode_claimed, meta).version is not msgspec.UNSET
    except json_object.UNREADABLE:
        return False


def check_meta(params: bytes) -> None:
    """Raise Rejection 400 -32602 for a `_meta` with more values than the bridge reads with each request."""
    if json_object.is_small(params):
        return
    try:
        meta = decoded(_decode_claim, params).meta
    except json_object.UNREADABLE:
        return
    if meta is not msgspec.UNSET and not json_object.is_small(meta):
        raise _wrong(f"_meta {json_object.TOO_LARGE}")


def _may_spell_the_key(params: bytes) -> bool:
    # A key may be spelled with escapes, and some encoders write every "/" as "\/". `rfind` takes a third of the time of `find`.
    return params.rfind(b"\\u00") >= 0 or params.rfind(b"\\/") >= 0


def read_envelope(method: str, params: bytes, limits: Limits) -> Envelope:
    """Read and check the `_meta` of a request, its name and its requestState.

    The version is not checked here, because the comparison with the headers comes first (`mirrored_headers.check_headers`).
    Raises Rejection 400 -32602 that names the member that is missing, of the wrong type or over its limit.
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
    if token:
        check_progress_token(token, limits)
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
    """Read params with lone surrogates. Raises Rejection for other unreadable params.

    Lone surrogates are kept in a name, because the following check refuses them there.
    """
    try:
        read = decoded(decode, params)
    except json_object.UNREADABLE:
        raise _wrong_type(method, params) from None
    if isinstance(read, _Named) and read.named is not msgspec.UNSET:
        read.named = json.loads(bytes(json_object.read(params)[MODERN_NAMED[method]]))
    return read


def check_supported(version: str) -> None:
    """Raise Rejection 400 -32022 for a revision that the bridge does not support."""
    if version not in MODERN_REVISIONS:
        raise Rejection(
            400,
            UNSUPPORTED_VERSION,
            "Unsupported protocol version",
            data={"supported": list(MODERN_REVISIONS), "requested": version},
        )


def _check_state(state: str) -> None:
    size = len(state) if state.isascii() else len(state.encode())
    if size > _STATE:
        raise _wrong(f"a requestState of {size} bytes exceeds the limit of {_STATE}")


def _wrong(text: str) -> Rejection:
    return Rejection(400, INVALID_PARAMS, text)


def _wrong_type(method: str, params: bytes) -> Rejection:
    # Finds the member that the decoder refused, outside of the hot path.
    read = json_object.peek(params)
    if not bytes(read.get("_meta", b"{")).startswith(b"{"):
        return _wrong("_meta must be an object")
    meta = json_object.peek(read.get("_meta"))
    for parent, key in ((meta, PROTOCOL_VERSION), (meta, LOG_LEVEL), (read, MODERN_NAMED.get(method, ""))):
        if not bytes(parent.get(key, b'"')).startswith(b'"'):
            return _wrong(f"{key} must be a string")
    return _wrong("requestState must be a string")
