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
from .quoted_strings import occurs
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


class _OnlyMeta(msgspec.Struct, gc=False):
    meta: msgspec.Raw | msgspec.UnsetType = msgspec.field(name="_meta", default=msgspec.UNSET)


class _Named(msgspec.Struct, gc=False):
    name: str = ""


_decode_named = msgspec.json.Decoder(_Named).decode
_decode_only_meta = msgspec.json.Decoder(_OnlyMeta).decode
_decode_params = msgspec.json.Decoder(_Params).decode
_decode_cancelled = msgspec.json.Decoder(_Cancelled).decode
_decode_progress = msgspec.json.Decoder(_Progress).decode
_decode_initialize = msgspec.json.Decoder(_Initialize).decode

# A name that needs no decoding: ASCII without control characters, at the beginning of the params.
_PLAIN_NAME: Final = re.compile(rb'\{\s*+"name"\s*+:\s*+"([ !#-\[\]-~]++)"')
_BACKSLASH: Final = 0x5C
# The name of `_meta` and the text up to its value. A key may also be spelled with escapes of its characters.
_META: Final = b'"_meta"'
_COLON: Final = re.compile(rb"\s*+:\s*+")
_ESCAPED_ASCII: Final = b"\\u00"
# A longer `_meta` is found by decoding all params (bytes).
_USUAL_META: Final = 4096
_end_of_value = json.JSONDecoder(parse_int=len, parse_float=len).raw_decode
_REQUEST_ID: Final = "requestId"
# From this size (bytes) on, two searches cost less than parsing.
_WORTH_SEARCHING: Final = 1024


def read_request(method: str, params: bytes, limits: Limits) -> tuple[bytes, str]:
    """Check the name or URI of a request. Return its progress token as raw JSON text, and the name. Each may be empty.

    Raises Rejection -32602 for a name or URI of the wrong type or over its limit, and for a token that is neither a
    string nor an integer.
    """
    named = LEGACY_NAMED.get(method)
    if named is None:
        if _has_no_meta(params):
            return b"", ""
    elif len(params) > _WORTH_SEARCHING and _has_no_meta(params):
        plain = _plain_name(named, params, limits)
        if plain:
            return b"", plain
    try:
        read = _decode_params(params or b"{}")
    except UNREADABLE:
        read = _read_again(named, params)
    name = ""
    if named == "name" and read.name is not msgspec.UNSET:
        name = read.name
        check_name(name, limits)
    elif named == "uri" and read.uri is not msgspec.UNSET:
        name = read.uri
        check_uri(name, limits)
    if read.meta is msgspec.UNSET or read.meta is None or read.meta.progressToken is msgspec.UNSET:
        return b"", name
    token = bytes(read.meta.progressToken)
    check_progress_token(token, limits)
    return token, name


def _read_again(named: str | None, params: bytes) -> _Params:
    """Read params of unusual types, or with lone surrogates. Raises Rejection for a name, URI or `_meta` of the wrong type.

    The params of an unknown method may have members of these names with any type.
    """
    if named is None:
        try:
            return decoded(_decode_params, params)
        except UNREADABLE:
            return _Params(meta=_read_meta(params))
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


def _read_meta(params: bytes) -> _Meta | msgspec.UnsetType:
    try:
        meta = decoded(_decode_only_meta, params).meta
    except UNREADABLE:
        meta = msgspec.UNSET
    token = None if meta is msgspec.UNSET else json_object.peek(meta).get("progressToken")
    return msgspec.UNSET if token is None else _Meta(token)


def _wrong_type(named: str) -> Rejection:
    return Rejection(400, INVALID_PARAMS, f"the {named} or the _meta of the request has the wrong type")


def _has_no_meta(params: bytes) -> bool:
    # A key may be spelled with escapes.
    return not occurs(_META, params) and _BACKSLASH not in params


def _plain_name(named: str, params: bytes, limits: Limits) -> str:
    # As most clients write it: the name is the first member and not repeated, therefore the params are not parsed.
    plain = _PLAIN_NAME.match(params) if named == "name" else None
    if plain is None or len(plain[1]) > limits.name or occurs(b'"name"', params, plain.end()):
        return ""
    return plain[1].decode("ascii")


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

    A name that differs in case only is dropped: some servers read it as the id, which could be that of another client. If the
    members that the specification does not name exceed their limit (`json_object.has_room`), only the reason is kept.
    """
    if not json_object.has_room(params):
        return cancelled(raw_id, read_cancelled(params)[1])
    found = {
        name: value
        for name, value in json_object.peek(params).items()
        if name == _REQUEST_ID or name.casefold() != _REQUEST_ID.casefold()
    }
    return json_object.write({**found, _REQUEST_ID: json_object.raw(raw_id)})


def read_progress(params: bytes) -> bytes:
    """Return the raw token of a `notifications/progress`, or an empty text."""
    try:
        return bytes(decoded(_decode_progress, params or b"{}").progressToken)
    except UNREADABLE:
        return b""


def with_progress_token(params: bytes, token: bytes) -> bytes:
    """Return params that have a progress token with another one, raw JSON text. All bytes outside of `_meta` are usually kept.

    Raises Rejection -32602 where that needs all members, and those that the specification does not name exceed their limit
    (`json_object.has_room`).
    """
    at = params.find(_META)
    colon = _COLON.match(params, at + len(_META))
    # The only key, therefore a member of the params and not of their values.
    if colon is not None and params.rfind(_META) == at and _ESCAPED_ASCII not in params:
        start = colon.end()
        end = start + _length_of_object(params[start : start + _USUAL_META])
        if end > start:
            text = memoryview(params)
            return b"".join((text[:start], _with_token(text[start:end].tobytes(), token), text[end:]))
    if not json_object.has_room(params):
        raise Rejection(400, INVALID_PARAMS, json_object.TOO_MANY)
    found = json_object.peek(params)
    found["_meta"] = json_object.raw(_with_token(found.get("_meta"), token))
    return json_object.write(found)


def _length_of_object(text: bytes) -> int:
    """Return the length of the JSON object at the beginning of a text (bytes), 0 if the text has no end of it."""
    try:
        # One character for each byte.
        return int(_end_of_value(text.decode("latin-1"))[1])
    except UNREADABLE:
        return 0


def _with_token(meta: bytes | msgspec.Raw | None, token: bytes) -> bytes:
    return json_object.write({**json_object.peek(meta), "progressToken": json_object.raw(token)})


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
