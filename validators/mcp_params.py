"""Read the few members of params and results that the bridge itself needs. All other members pass unread.

The functions read the raw `params` or `result` of a message that `jsonrpc.decode` accepted.
Sources: MCP 2025-11-25 basic (`_meta`), basic/lifecycle, basic/utilities/cancellation and basic/utilities/progress.
"""

import json
import re
from typing import Final

import msgspec

from . import json_object
from .json_object import UNREADABLE, Members
from .jsonrpc import is_absent
from .limits import Limits
from .lone_surrogates import decoded
from .names import check_name, check_progress_token, check_uri
from .rejection import INVALID_PARAMS, Rejection, too_large

# Method: the member of its params that has a length limit.
LEGACY_NAMED: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "resources/subscribe": "uri",
    "resources/unsubscribe": "uri",
}


class _Meta(msgspec.Struct, gc=False):
    progressToken: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - the spelling of the protocol


class _Params(msgspec.Struct, gc=False):
    name: str | msgspec.UnsetType = msgspec.UNSET
    uri: str | msgspec.UnsetType = msgspec.UNSET
    meta: _Meta | msgspec.UnsetType | None = msgspec.field(name="_meta", default=msgspec.UNSET)


class _Cancelled(msgspec.Struct, gc=False):
    requestId: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - likewise
    reason: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Progress(msgspec.Struct, gc=False):
    progressToken: msgspec.Raw  # noqa: N815 - likewise


class _Initialize(msgspec.Struct, gc=False):
    protocolVersion: str  # noqa: N815 - likewise


class _Named(msgspec.Struct, gc=False):
    name: str = ""


_decode_named = msgspec.json.Decoder(_Named).decode
_decode_params = msgspec.json.Decoder(_Params).decode
_decode_cancelled = msgspec.json.Decoder(_Cancelled).decode
_decode_progress = msgspec.json.Decoder(_Progress).decode
_decode_initialize = msgspec.json.Decoder(_Initialize).decode

# A name that needs no decoding: ASCII without control characters, at the beginning of the params.
_PLAIN_NAME: Final = re.compile(rb'\{"name":"([ !#-\[\]-~]++)"')
_BACKSLASH: Final = 0x5C
# From this size (bytes) on, two searches cost less than parsing.
_WORTH_SEARCHING: Final = 1024


def read_request(method: str, params: bytes, limits: Limits) -> bytes:
    """Check the name or URI of a request, and return its progress token as raw JSON text, or an empty text.

    Raises Rejection -32602 for a name or URI of the wrong type or over its limit, and for a token that is neither a
    string nor an integer.
    """
    named = LEGACY_NAMED.get(method)
    if named is None:
        if _has_no_meta(params):
            return b""
    elif len(params) > _WORTH_SEARCHING and _has_no_meta(params) and _names_plainly(named, params, limits):
        return b""
    try:
        read = _decode_params(params or b"{}")
    except UNREADABLE:
        read = _read_again(named, params)
    if named == "name" and read.name is not msgspec.UNSET:
        check_name(read.name, limits)
    elif named == "uri" and read.uri is not msgspec.UNSET:
        check_uri(read.uri, limits)
    if read.meta is msgspec.UNSET or read.meta is None or read.meta.progressToken is msgspec.UNSET:
        return b""
    token = bytes(read.meta.progressToken)
    check_progress_token(token, limits)
    return token


def _read_again(named: str | None, params: bytes) -> _Params:
    """Read params of unusual types, or with lone surrogates. Raises Rejection for a name, URI or `_meta` of the wrong type.

    The params of an unknown method may have members of these names with any type.
    """
    if named is None:
        try:
            return decoded(_decode_params, params)
        except UNREADABLE:
            return _Params()
    found = json_object.peek(params)
    meta, value = found.get("_meta"), found.get(named)
    read = _Params()
    if meta is not None and bytes(meta).startswith(b"{"):
        read.meta = _Meta(json_object.peek(meta).get("progressToken", msgspec.UNSET))
    elif meta is not None and not is_absent(meta):
        raise _wrong_type(named)
    if value is not None:
        if not bytes(value).startswith(b'"'):
            raise _wrong_type(named)
        # This keeps lone surrogates, which the following check refuses.
        setattr(read, named, json.loads(bytes(value)))
    return read


def _wrong_type(named: str) -> Rejection:
    return Rejection(400, INVALID_PARAMS, f"the {named} or the _meta of the request has the wrong type")


def _has_no_meta(params: bytes) -> bool:
    # A key may be spelled with escapes. `rfind` is faster than `find`.
    return params.rfind(b'"_meta"') < 0 and _BACKSLASH not in params


def _names_plainly(named: str, params: bytes, limits: Limits) -> bool:
    # As most clients write it: the name is the first member and not repeated, therefore the params are not parsed.
    plain = _PLAIN_NAME.match(params) if named == "name" else None
    return plain is not None and len(plain[1]) <= limits.name and params.rfind(b'"name"') == 1


def read_uri(params: bytes) -> str:
    """Return the URI of params that `read_request` accepted, or an empty text."""
    return json_object.string(json_object.peek(params).get("uri"))


def read_name(params: bytes) -> str:
    """Return the name of params that `read_request` accepted, or an empty text."""
    return decoded(_decode_named, params or b"{}").name


def read_cancelled(params: bytes) -> tuple[bytes, bytes]:
    """Return the raw request id and the raw reason of a `notifications/cancelled`. Each may be empty."""
    try:
        read = decoded(_decode_cancelled, params or b"{}")
    except UNREADABLE:
        return b"", b""
    named = b"" if read.requestId is msgspec.UNSET else bytes(read.requestId)
    return named, b"" if read.reason is msgspec.UNSET else bytes(read.reason)


def cancelled(raw_id: bytes, reason: bytes) -> bytes:
    """Return the params of a `notifications/cancelled` for this id."""
    return b'{"requestId":%b%b}' % (raw_id, b',"reason":' + reason if reason else b"")


def cancelled_again(params: bytes, raw_id: bytes) -> bytes:
    """Return the params of a `notifications/cancelled` with another id. Their other members are kept.

    If the members that the specification does not name exceed their limit (`json_object.has_room`), only the reason is kept.
    """
    if not json_object.has_room(params):
        return cancelled(raw_id, read_cancelled(params)[1])
    return json_object.write({**json_object.peek(params), "requestId": json_object.raw(raw_id)})


def read_progress(params: bytes) -> bytes:
    """Return the raw token of a `notifications/progress`, or an empty text."""
    try:
        return bytes(decoded(_decode_progress, params or b"{}").progressToken)
    except UNREADABLE:
        return b""


def read_version(payload: bytes) -> str:
    """Return the `protocolVersion` in the params or the result of `initialize`.

    Raises Rejection -32602 if there is none.
    """
    try:
        return decoded(_decode_initialize, payload or b"{}").protocolVersion
    except UNREADABLE:
        raise Rejection(400, INVALID_PARAMS, "initialize needs a protocolVersion, a string") from None


def read_list(result: bytes | msgspec.Raw, limits: Limits) -> Members:
    """Return the members of the result of a list.

    Raises Rejection for a result of more than `limits.list_bytes` bytes.
    """
    size = len(memoryview(result))
    if size > limits.list_bytes:
        raise too_large(f"a list of {size} bytes", limits.list_bytes, "list_bytes")
    return json_object.peek(result)


def read_items(value: bytes | msgspec.Raw | None, limits: Limits) -> list[msgspec.Raw]:
    """Return the items of an array, and no items of any other value.

    Raises Rejection for more than `limits.list_items` items.
    """
    found = json_object.items_up_to(limits.list_items, value)
    if found is None:
        raise too_large("the number of items of a list", limits.list_items, "list_items")
    return found
