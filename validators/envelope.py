"""The JSON-RPC envelope of one message: read strictly, rebuilt canonically, its payload never looked into.

What leaves here has exactly the members JSON-RPC knows, once each, on one line. `params`, `result` and `error` are the
sender's own bytes (msgspec.Raw views are copied out, so nothing pins the buffer it came in). Ids stay raw JSON text:
`7`, `"7"` and `9007199254740993` come back exactly as they were sent.

Sources: JSON-RPC 2.0; specification digest sections 1.1, 1.2 and 2.1.
"""

import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Final

import msgspec

from .limits import Limits
from .names import check_method
from .pieces import CheckedText, depth_ok, fault_of, not_utf8, too_deep
from .rejection import INVALID_REQUEST, PARSE_ERROR, Rejection


class Request(msgspec.Struct, frozen=True, gc=False):
    """Something that asks for an answer. `id` is raw JSON text, `params` a raw JSON object or empty."""

    id: bytes
    method: str
    params: bytes


class Notification(msgspec.Struct, frozen=True, gc=False):
    """Something that must not be answered."""

    method: str
    params: bytes


class Response(msgspec.Struct, frozen=True, gc=False):
    """An answer. Exactly one of `result` and `error` is not empty; both are raw JSON text.

    A large one is a view of the line it came in, to save a copy: it must not be kept.
    """

    id: bytes
    result: bytes | msgspec.Raw
    error: bytes


Message = Request | Notification | Response


class _Envelope(msgspec.Struct, gc=False):
    jsonrpc: str = ""
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    method: str | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_skip = json.JSONDecoder(parse_int=len, parse_float=len).raw_decode

# Read once, so that the check costs nothing for what everybody sends.
_KNOWN_METHODS: Final = frozenset(
    {"initialize", "ping", "tools/list", "tools/call", "prompts/list", "prompts/get", "resources/list"}
    | {"resources/read", "resources/subscribe", "resources/unsubscribe", "resources/templates/list"}
    | {"completion/complete", "logging/setLevel", "notifications/initialized", "notifications/cancelled"}
    | {"notifications/progress", "notifications/message"}
)

# The length of the shortest text that says the same. A body whose length is that number has every member
# once and no unknown one: any repetition or stranger would make it longer. Only longer ones are searched.
_REQUEST_FRAME: Final = len(b'{"jsonrpc":"2.0","id":,"method":""}')
_NOTIFICATION_FRAME: Final = len(b'{"jsonrpc":"2.0","method":""}')
_RESULT_FRAME: Final = len(b'{"jsonrpc":"2.0","id":,"result":}')
_ERROR_FRAME: Final = len(b'{"jsonrpc":"2.0","id":,"error":}')
_PARAMS_FRAME: Final = len(b',"params":')

# From this size on, copying an answer costs more than looking at it, in bytes.
_WORTH_A_VIEW: Final = 64 * 1024

# Bytes outside of the payload: to read unknown members takes twenty times their size.
_OUTSIDE: Final = 64 * 1024
# Servers may nest deeper than clients. From so many brackets on, an answer is decoded with room for this many more calls, so
# that whatever reads a part of it later, from deeper in the stack, can follow it as well.
_DEEP: Final = 512
_HEADROOM: Final = 64

_ID_IN_PREFIX: Final = re.compile(rb'"id"\s*:\s*([0-9]{1,18})\s*[,}]')
_METHOD_IN_PREFIX: Final = re.compile(rb'"method"\s*:')
# A message up to its payload as most programs write it: each member once, in this order, with any white space.
_PLAIN: Final = re.compile(
    rb'\s*+\{\s*+"jsonrpc"\s*+:\s*+"2\.0"\s*+,\s*+(?:"id"\s*+:\s*+(?:"[^"\\]*+"|[-0-9]++)\s*+,\s*+)?+'
    rb'(?:"method"\s*+:\s*+"[^"\\]*+"\s*+(?:,\s*+|(?=\})))?+(?:"(?:params|result|error)"\s*+:\s*+)?+'
)
_SPACES_FOR_LINE_ENDS: Final = bytes.maketrans(b"\r\n", b"  ")
# As integers: bytes are asked for one of these at a third of what they take for a bytes object of length one.
_LF: Final = 0x0A
_CR: Final = 0x0D
# Up to this size every bracket is counted; beyond, they are looked for one by one and no further than needed.
_WORTH_FINDING: Final = 2048


def decode(text: bytes, limits: Limits, *, deep: bool = False) -> Message:
    """Return the message of one JSON text.

    With `deep`, for what a server writes, it may nest as deep as the decoder can follow, and 512 levels in any case.
    Raises Rejection and nothing else: 400 with -32700 for what is not UTF-8 or not JSON, 400 with -32600 for what is not a
    JSON-RPC message or breaks a structural limit (depth, id, method).
    """
    envelope = _parse_deep(text) if deep else _parse(text, limits)
    id_, method = envelope.id, envelope.method
    if envelope.jsonrpc != "2.0":
        raise invalid('the member "jsonrpc" must be "2.0"')
    if method is msgspec.UNSET:
        return _response(text, envelope, limits)
    if envelope.result is not msgspec.UNSET or envelope.error is not msgspec.UNSET:
        raise invalid("a message has either a method or a result or an error")
    if method not in _KNOWN_METHODS:
        check_method(method, limits)
    params = b"" if envelope.params is msgspec.UNSET else bytes(envelope.params)
    if params and params[0] != 0x7B:
        raise invalid("params must be an object")
    length = len(method) + (len(params) + _PARAMS_FRAME if params else 0)
    if id_ is msgspec.UNSET:
        if len(text) != length + _NOTIFICATION_FRAME:
            _refuse_repeated_members(text, "params", params)
        if _LF in params or _CR in params:
            params = _one_line(params)
        return Notification(method, params)
    raw_id = _checked_id(id_, limits)
    if len(text) != length + len(raw_id) + _REQUEST_FRAME:
        _refuse_repeated_members(text, "params", params)
    if _LF in params or _CR in params:
        params = _one_line(params)
    return Request(raw_id, method, params)


def is_batch(text: bytes) -> bool:
    """Whether a JSON text is an array (a JSON-RPC batch, revision 2025-03-26 only)."""
    return text.lstrip(b" \t\r\n")[:1] == b"["


def split_batch(text: bytes, limits: Limits) -> list[bytes]:
    """The messages of a batch as separate JSON texts (digest 1.2).

    Raises Rejection for what is not a JSON array, for an empty one and for one with more than `limits.batch` members.
    """
    _refuse_faulty(text)
    _check_utf8(text)
    try:
        found = msgspec.structs.astuple(_batch_decoder(limits.batch).decode(text))
    except (ValueError, RecursionError):
        raise _not_json() from None
    # Of a text that was checked while it arrived, the members need not be checked either.
    kind = type(text) if isinstance(text, CheckedText) else bytes
    members = [kind(member) for member in found if member is not msgspec.UNSET]
    if not members:
        raise invalid("a batch must not be empty")
    if len(members) > limits.batch:
        raise invalid(f"a batch of more than {limits.batch} messages, the limit")
    return members


@cache
def _batch_decoder(limit: int) -> msgspec.json.Decoder[msgspec.Struct]:
    # Reads one message more than there may be and passes over the others: a list of millions would cost half a gigabyte.
    fields = [(f"m{n}", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for n in range(limit + 1)]
    return msgspec.json.Decoder(msgspec.defstruct("Batch", fields, array_like=True))


def readable_id(text: bytes) -> bytes:
    """The id of a message that was refused, as raw JSON text, or `null` where none can be read (digest 1.3)."""
    if fault_of(text) is not None:
        return request_id_in_prefix(text)
    try:
        text.decode()
        envelope = _decode_envelope(text)
    except (ValueError, RecursionError):
        return b"null"
    if envelope.id is msgspec.UNSET or envelope.method is msgspec.UNSET:
        return b"null"
    return _readable(bytes(envelope.id))


def request_id_in_prefix(prefix: bytes) -> bytes:
    """Return the id of a request of which only the first part was received, as raw JSON text, or `null`."""
    head, found = prefix.decode("latin-1").lstrip(" \t\r\n"), b"null"
    if not head.startswith("{"):  # a batch, or no JSON
        return found
    at = 1
    try:
        while True:
            name, begin = _name(head, at)
            if name in ("result", "error"):
                return b"null"
            _, at = _skip(head, begin)
            # A number at the end of what was received may have more digits: then there is no such place.
            head[at]
            if name == "id":
                found = head[begin:at].encode("latin-1")
                found.decode()
    except UnicodeDecodeError:
        return b"null"
    except (ValueError, IndexError, RecursionError):
        return _readable(found)


def _readable(raw_id: bytes) -> bytes:
    return raw_id if _is_id(raw_id) and len(raw_id) <= Limits().id + 2 else b"null"


def request(raw_id: bytes, method: str, params: bytes) -> bytes:
    """A request as one line without its newline."""
    head = b'{"jsonrpc":"2.0","id":%b,"method":%b' % (raw_id, _encode(method))
    return b"".join((head, *_member(params), b"}"))


def notification(method: str, params: bytes) -> bytes:
    """A notification as one line without its newline."""
    return b"".join((b'{"jsonrpc":"2.0","method":', _encode(method), *_member(params), b"}"))


def response(raw_id: bytes, answer: Response) -> bytes:
    """An answer under another id, as one line without its newline."""
    if answer.error:
        return b"".join((_ID, raw_id, b',"error":', answer.error, b"}"))
    return b"".join((_ID, raw_id, b',"result":', answer.result, b"}"))


def line(message: Message) -> bytes:
    """Any message as one line without its newline."""
    if type(message) is Request:
        return request(message.id, message.method, message.params)
    if type(message) is Response:
        return response(message.id, message)
    assert type(message) is Notification  # noqa: S101 - the union has three members
    return notification(message.method, message.params)


def id_in_prefix(prefix: bytes) -> bytes:
    """The integer id of an answer of which only the beginning can be read, or nothing."""
    match = _ID_IN_PREFIX.search(prefix)
    return match[1] if match and not _METHOD_IN_PREFIX.search(prefix) else b""


def answered_id(text: bytes) -> bytes:
    """Return the id of an answer that `response` or `error` has written, as raw JSON text; nothing for other messages."""
    match = _ANSWER.match(text)
    return match[1] if match else b""


def error(raw_id: bytes, code: int, text: str, data: object = None) -> bytes:
    """An error of ours as one line without its newline. `data` is left out where it is None."""
    body: dict[str, object] = {"code": code, "message": text}
    if data is not None:
        body["data"] = data
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (raw_id, _encode(body))


def invalid(text: str) -> Rejection:
    """The Rejection of JSON that is not a JSON-RPC message: 400, -32600."""
    return Rejection(400, INVALID_REQUEST, text)


_encode = msgspec.json.Encoder().encode
_ANSWER: Final = re.compile(rb'\{"jsonrpc":"2.0","id":("(?:[^"\\]|\\.)*"|[^",]+),"(?:result|error)":')
# Payloads are joined, never formatted: join copies once, %b a few times (14 times as long for 10 MB).
_ID: Final = b'{"jsonrpc":"2.0","id":'


def _member(params: bytes) -> tuple[bytes, ...]:
    return (b',"params":', params) if params else ()


def _parse(text: bytes, limits: Limits) -> _Envelope:
    checked = type(text) is CheckedText
    if checked:
        _refuse_faulty(text)
    elif not text.isascii():
        _check_utf8(text)
    try:
        envelope = _decode_envelope(text)
    except msgspec.ValidationError:
        raise _no_message() from None
    except ValueError:
        raise _not_json() from None
    except RecursionError:
        raise too_deep(limits.json_depth) from None
    if not checked and _opens_more(text, limits.json_depth) and not depth_ok(text, limits.json_depth):
        raise too_deep(limits.json_depth)
    return envelope


def _parse_deep(text: bytes) -> _Envelope:
    if not text.isascii():
        _check_utf8(text)
    try:
        if len(text) > 2 * _DEEP and _opens_more(text, _DEEP):
            return _decode_with_room(text, _HEADROOM)
        return _decode_envelope(text)
    except msgspec.ValidationError:
        raise _no_message() from None
    except ValueError:
        raise _not_json() from None
    except RecursionError:
        raise invalid("JSON nested deeper than the decoder can follow") from None


def _decode_with_room(text: bytes, calls: int) -> _Envelope:
    return _decode_with_room(text, calls - 1) if calls else _decode_envelope(text)


def _refuse_faulty(text: bytes) -> None:
    fault = fault_of(text)
    if fault is not None:
        raise fault


def _no_message() -> Rejection:
    return invalid("not a JSON-RPC message")


def _response(text: bytes, envelope: _Envelope, limits: Limits) -> Response:
    if envelope.id is msgspec.UNSET:
        raise invalid("a message has a method or an id")
    raw_id = _checked_id(envelope.id, limits)
    if (envelope.result is msgspec.UNSET) == (envelope.error is msgspec.UNSET):
        raise invalid("a response has either a result or an error")
    failed = envelope.result is msgspec.UNSET
    payload = envelope.error if failed else envelope.result
    assert payload is not msgspec.UNSET  # noqa: S101 - exactly one of the two is set
    frame = _ERROR_FRAME if failed else _RESULT_FRAME
    plain = len(text) == frame + len(raw_id) + len(memoryview(payload))
    if plain and not failed and len(text) > _WORTH_A_VIEW and _LF not in text and _CR not in text:
        return Response(raw_id, payload, b"")
    copied = bytes(payload)
    if failed and copied[0] != 0x7B:
        raise invalid("error must be an object")
    if not plain:
        _refuse_repeated_members(text, "error" if failed else "result", copied)
    if _LF in copied or _CR in copied:
        copied = _one_line(copied)
    return Response(raw_id, b"", copied) if failed else Response(raw_id, copied, b"")


def _checked_id(raw: msgspec.Raw, limits: Limits) -> bytes:
    id_ = bytes(raw)
    if not (id_.isdigit() or _is_id(id_)):
        raise invalid("an id is a string or an integer")
    if len(id_) > limits.id + 2:
        raise invalid(f"an id of {len(id_)} bytes exceeds the limit of {limits.id}")
    return id_


def _is_id(raw: bytes) -> bool:
    # JSON integers and strings only: 1.0, 1e0, true, null, {} and [] are not ids (digest 1.1). The parser has been here.
    return raw.isdigit() or raw[:1] == b'"' or (raw[:1] == b"-" and raw[1:].isdigit())


def _one_line(payload: bytes) -> bytes:
    # After the parser accepted it, a line end can only be white space between tokens.
    return payload.translate(_SPACES_FOR_LINE_ENDS)


def _refuse_repeated_members(text: bytes, name: str, payload: bytes) -> None:
    # `payload` is the value of the member `name`, or nothing. A slow parser reads what is left without it, which is small.
    outside = len(text) - len(payload)
    if outside > _OUTSIDE:
        text = text.strip()
        outside = len(text) - len(payload)
    if outside > _OUTSIDE:
        raise invalid(
            f"all but the params, the result or the error of a message has {outside} bytes, and the limit is {_OUTSIDE}"
        )
    plain = _PLAIN.match(text)
    if (
        plain is not None
        and text.startswith(payload, plain.end())
        and text[plain.end() + len(payload) :].strip() == b"}"
    ):
        return
    names: list[str] = []

    def outermost_last(pairs: Iterable[tuple[str, object]]) -> None:
        names[:] = [name for name, _ in pairs]

    try:
        if payload:
            at = _place_of(text, name, payload, outside)
            text = b"%b0%b" % (text[:at], text[at + len(payload) :])
        json.loads(text, object_pairs_hook=outermost_last, parse_int=len, parse_float=len)
    except (ValueError, RecursionError):
        raise _repeated() from None
    if len(set(names)) != len(names):
        raise _repeated()


def _place_of(text: bytes, name: str, payload: bytes, outside: int) -> int:
    """Return where the value of a member of a message begins.

    Raises ValueError where the first member of that name has another value than `payload`: then it is repeated.
    """
    # One character for each byte, so that places are the same.
    head = text[: outside + 1].decode("latin-1")
    at = head.index("{") + 1
    while True:
        found, at = _name(head, at)
        if found == name:
            break
        _, at = _skip(head, at)
    if not text.startswith(payload, at):
        raise ValueError
    return at


def _name(head: str, at: int) -> tuple[str, int]:
    """Return the name of the next member of an object, and where its value begins. Raises ValueError or IndexError."""
    name, at = _skip(head, head.index('"', at))
    at = head.index(":", at) + 1
    while head[at] in " \t\r\n":
        at += 1
    return name, at


def _repeated() -> Rejection:
    return invalid("a member of the message is repeated")


def _check_utf8(text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError:
        raise not_utf8() from None


def _not_json() -> Rejection:
    return Rejection(400, PARSE_ERROR, "not JSON")


def _opens_more(text: bytes, limit: int) -> bool:
    """Whether there are more opening brackets than `limit`, in strings or not: only then can it be too deep."""
    if len(text) <= _WORTH_FINDING:
        return text.count(b"{") + text.count(b"[") > limit
    seen = 0
    for bracket in (b"{", b"["):
        at = text.find(bracket)
        while at >= 0:
            seen += 1
            if seen > limit:
                return True
            at = text.find(bracket, at + 1)
    return False
