"""What a request of the stateless era (2026-07-28) must carry, and the headers that must say the same.

Nothing is remembered from one request to the next. Of a repeated JSON member the last one counts, as everywhere.

Sources: specification digest sections 1.4, 1.13, 3.3 to 3.6.
"""

import json
import re
from collections.abc import Callable
from typing import Final

import msgspec

from . import json_object
from .limits import Limits
from .lone_surrogates import decoded
from .names import check_name, check_uri
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
    # The decoder has said that something is wrong. This finds out what, off the hot path.
    read = json_object.peek(params)
    if not bytes(read.get("_meta", b"{")).startswith(b"{"):
        return _wrong("_meta must be an object")
    meta = json_object.peek(read.get("_meta"))
    for holder, key in ((meta, PROTOCOL_VERSION), (meta, LOG_LEVEL), (read, NAMED.get(method, ""))):
        if not bytes(holder.get(key, b'"')).startswith(b'"'):
            return _wrong(f"{key} must be a string")
    return _wrong("requestState must be a string")
