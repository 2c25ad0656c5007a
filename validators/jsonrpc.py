"""Read JSON-RPC messages strictly, and write each canonically on one line without changing its payload.

A written message has only the members of JSON-RPC, each once. `params`, `result` and `error` are the bytes of the sender,
copied from its buffer. Ids stay raw JSON text: `7`, `"7"` and `9007199254740993` are returned exactly as they were sent.

Sources: https://www.jsonrpc.org/specification, MCP 2025-11-25 basic, and MCP 2025-03-26 basic for batches.
"""

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from typing import Final

import msgspec

from .counted import counted
from .incremental_json import CheckedText, depth_ok, fault_of, not_utf8, too_deep, with_replacements
from .limits import Limits
from .lone_surrogates import items, places, readable
from .names import check_method
from .partial_object import outline
from .rejection import INVALID_REQUEST, PARSE_ERROR, Rejection


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request. `id` is raw JSON text, `params` a raw JSON object or empty."""

    id: bytes
    method: str
    params: bytes


class Notification(msgspec.Struct, frozen=True, gc=False):
    """A notification. `params` is a raw JSON object or empty."""

    method: str
    params: bytes


class Response(msgspec.Struct, frozen=True, gc=False):
    """A response. Exactly one of `result` and `error` is not empty; both are raw JSON text.

    A large result is a view of its line, which saves a copy, and must not be stored.
    """

    id: bytes
    result: bytes | msgspec.Raw
    error: bytes


Message = Request | Notification | Response


class _Envelope(msgspec.Struct, gc=False):
    jsonrpc: str = ""
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    method: str | msgspec.UnsetType | None = msgspec.UNSET
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_skip = json.JSONDecoder(parse_int=len, parse_float=len).raw_decode

# Methods that need no check.
KNOWN_METHODS: Final = frozenset(
    {"initialize", "ping", "tools/list", "tools/call", "prompts/list", "prompts/get", "resources/list"}
    | {"resources/read", "resources/subscribe", "resources/unsubscribe", "resources/templates/list"}
    | {"completion/complete", "logging/setLevel", "notifications/initialized", "notifications/cancelled"}
    | {"notifications/progress", "notifications/message"}
)

# The length of the shortest text of a message. A text of this length has each member once and no unknown member, because
# any other member would make it longer. Only longer texts are searched for repeated members.
_REQUEST_FRAME: Final = len(b'{"jsonrpc":"2.0","id":,"method":""}')
_NOTIFICATION_FRAME: Final = len(b'{"jsonrpc":"2.0","method":""}')
_RESULT_FRAME: Final = len(b'{"jsonrpc":"2.0","id":,"result":}')
_ERROR_FRAME: Final = len(b'{"jsonrpc":"2.0","id":,"error":}')
_PARAMS_FRAME: Final = len(b',"params":')

# From this size (bytes) on, a result is a view and not a copy.
_WORTH_A_VIEW: Final = 64 * 1024

# The most bytes outside of the payload, because reading unknown members takes twenty times their size.
_OUTSIDE: Final = 64 * 1024
# Servers may nest deeper than clients. A text with more than `_DEEP` brackets is decoded `_HEADROOM` calls deeper in the
# stack, because code that reads a part of it later may run that much deeper.
_DEEP: Final = 512
_HEADROOM: Final = 64

# Values that count as absent where a member is not allowed, because some programs write every known member.
_EMPTY: Final = re.compile(rb'null|\[\s*+\]|\{\s*+\}|""')
_NULL: Final = b"null"
_REPLACEMENT: Final = "\ufffd".encode()
_NO_INTEGER: Final = Decimal("0.5")
# The members whose values are raw text.
_RAW: Final = ("id", "params", "result", "error")
# An integer as an id. A fraction or an exponent of zero does not change its value.
_WHOLE: Final = re.compile(rb"(-?(?:0|[1-9][0-9]*+))(?:\.0++)?(?:[eE][+-]?0++)?")
# A number, perhaps in quotes, because some programs convert an id to a number or to a string.
_NUMERIC: Final = re.compile(rb'("?)\s*+([0-9]{1,20}+(?:\.[0-9]{1,20}+)?+(?:[eE][+-]?[0-9]{1,2}+)?+)\s*+\1')
# A message up to its payload as most programs write it: each member once and in this order, with any white space.
_PLAIN: Final = re.compile(
    rb'\s*+\{\s*+"jsonrpc"\s*+:\s*+"2\.0"\s*+,\s*+(?:"id"\s*+:\s*+(?:"[^"\\]*+"|[-0-9]++)\s*+,\s*+)?+'
    rb'(?:"method"\s*+:\s*+"[^"\\]*+"\s*+(?:,\s*+|(?=\})))?+(?:"(?:params|result|error)"\s*+:\s*+)?+'
)
_SPACES_FOR_LINE_ENDS: Final = bytes.maketrans(b"\r\n", b"  ")
# As integers, because `in` is then three times as fast as with a bytes object of length one.
_LF: Final = 0x0A
_CR: Final = 0x0D
# Up to this size (bytes) all brackets are counted. In a longer text they are searched one by one up to the limit.
_WORTH_FINDING: Final = 2048


def decode(text: bytes, limits: Limits, *, deep: bool = False) -> Message:
    """Return the message of one JSON text.

    With `deep`, for lines of a server, a text may nest as deep as the decoder can follow, at least 512 levels, and invalid
    UTF-8 becomes U+FFFD. Lone surrogates are kept, but not allowed in an id or a method. A member that is null or empty counts
    as absent where it is not allowed.
    Raises no other exception than Rejection: 400 with -32700 for a text that is not UTF-8 or not JSON, 400 with -32600 for a
    text that is not a JSON-RPC message or exceeds a structural limit (depth, id, method).
    """
    if deep:
        text, envelope = _parse_deep(text)
    else:
        envelope = _parse(text, limits)
    id_, method = envelope.id, envelope.method
    if envelope.jsonrpc != "2.0":
        raise invalid('the member "jsonrpc" must be "2.0"')
    if method is msgspec.UNSET or method is None:
        return _response(text, envelope, limits)
    if envelope.result is not msgspec.UNSET or envelope.error is not msgspec.UNSET:
        _refuse_results(envelope)
    if method not in KNOWN_METHODS:
        check_method(method, limits)
    params = b"" if envelope.params is msgspec.UNSET else bytes(envelope.params)
    if params and params[0] != 0x7B:
        params = _absent_params(params)
    length = len(method) + (len(params) + _PARAMS_FRAME if params else 0)
    if id_ is msgspec.UNSET:
        return _notification(text, method, params, length + _NOTIFICATION_FRAME)
    raw_id = bytes(id_)
    if not raw_id.isdigit() or len(raw_id) > limits.id:
        _check_id(raw_id, limits)
    if len(text) != length + len(raw_id) + _REQUEST_FRAME:
        _refuse_repeated_members(text, "params", params)
    if _LF in params or _CR in params:
        params = _one_line(params)
    return Request(raw_id, method, params)


def _notification(text: bytes, method: str, params: bytes, shortest: int) -> Notification:
    if len(text) != shortest:
        _refuse_repeated_members(text, "params", params)
    if _LF in params or _CR in params:
        params = _one_line(params)
    return Notification(method, params)


def is_batch(text: bytes) -> bool:
    """Return whether a JSON text is an array: a batch, which only early revisions have (`revisions.BATCH_REVISION`)."""
    return text.lstrip(b" \t\r\n")[:1] == b"["


def split_batch(text: bytes, limits: Limits, *, deep: bool = False) -> list[bytes]:
    """Return the messages of a batch as separate JSON texts (MCP 2025-03-26 basic). `deep` has the meaning of `decode`.

    Raises Rejection for a text that is not a JSON array, for an empty array and for more than `limits.batch` messages.
    """
    _refuse_faulty(text)
    if deep:
        text = with_replacements(text)
    else:
        _check_utf8(text)
    decoder = _batch_decoder(limits.batch)
    try:
        found = items(text, lambda array: msgspec.structs.astuple(decoder.decode(array)))
    except (ValueError, RecursionError):
        raise _not_json() from None
    # Messages of a text that was checked while it arrived need no second check.
    kind = type(text) if isinstance(text, CheckedText) else bytes
    members = [kind(member) for member in found]
    if not members:
        raise invalid("a batch must not be empty")
    if len(members) > limits.batch:
        raise invalid(f"a batch of more than {counted(limits.batch, 'message')}, the limit")
    return members


@cache
def _batch_decoder(limit: int) -> msgspec.json.Decoder[msgspec.Struct]:
    # Reads one message more than the limit and skips all others, because a list of millions would take half a gigabyte.
    fields = [(f"m{n}", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for n in range(limit + 1)]
    return msgspec.json.Decoder(msgspec.defstruct("Batch", fields, array_like=True))


def refused_ids(text: bytes, limits: Limits) -> list[bytes]:
    """Return the ids for the error responses to a refused text, as raw JSON text: at least one id, which may be `null`.

    A batch within the limit has an error response for each of its requests with an id.
    """
    if not is_batch(text):
        return [readable_id(text)]
    try:
        found = [readable_id(message) for message in split_batch(text, limits)]
    except Rejection:
        found = []
    return [raw_id for raw_id in found if raw_id != _NULL] or [_NULL]


def readable_id(text: bytes) -> bytes:
    """Return the id of a refused request as raw JSON text, or `null` if no id can be read."""
    if fault_of(text) is not None:
        return request_id_in_prefix(text)
    try:
        text.decode()
    except UnicodeDecodeError:
        # An id in which bytes are replaced is not that of the peer.
        raw_id = readable_id(text.decode(errors="replace").encode())
        return _NULL if _REPLACEMENT in raw_id else raw_id
    found, whole = outline(text)
    # An error with the id of a response would end an unrelated request of the peer.
    return _NULL if whole and "method" not in found else _request_id(found)


def request_id_in_prefix(prefix: bytes) -> bytes:
    """Return the id in the first part of a request as raw JSON text, or `null`."""
    return _request_id(outline(prefix).members)


def _request_id(found: Mapping[str, bytes]) -> bytes:
    if "method" not in found and ("result" in found or "error" in found):
        return _NULL
    return _readable(found.get("id", b""))


def call_of_invalid_line(line: bytes) -> bytes:
    """Return the id of the call that an invalid line of a server responds to, as `wire_id` does, or an empty id.

    The line has an id, and either a result or an error, or `"jsonrpc":"2.0"` and no method, because JavaScript omits a
    `result` that is undefined. Any other line is not part of the protocol, such as a log line in JSON.
    """
    found = {
        name: value for name, value in outline(line).members.items() if value != _NULL or name == "result"
    }
    answers = "result" in found or "error" in found
    if not answers and (found.get("jsonrpc") != b'"2.0"' or "method" in found):
        return b""
    raw_id = wire_id(found.get("id", b""))
    return raw_id if _is_id(raw_id) else b""


def wire_id(raw_id: bytes) -> bytes:
    """Return an id that a peer returned in the spelling of the bridge: an integer for every numerically equal spelling."""
    if raw_id.isdigit():
        return raw_id
    match = _NUMERIC.fullmatch(raw_id)
    number = Decimal(match[2].decode()) if match else _NO_INTEGER
    return b"%d" % number if number == number.to_integral_value() else raw_id


def canonical_id(raw_id: bytes) -> bytes:
    """Return the same text for all spellings of an id: of a string with escapes, and of an integer with a fraction of zero."""
    if raw_id.isdigit():
        return raw_id
    if raw_id.startswith(b'"'):
        if b"\\" not in raw_id and raw_id.isascii():
            return raw_id
        try:
            return _encode(msgspec.json.decode(raw_id))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return raw_id
    match = _WHOLE.fullmatch(raw_id)
    return match[1] if match else raw_id


def _readable(raw_id: bytes) -> bytes:
    if not _is_id(raw_id) or len(raw_id) > Limits().id + 2:
        return _NULL
    try:
        raw_id.decode()
    except UnicodeDecodeError:
        return _NULL
    return raw_id


def request(raw_id: bytes, method: str, params: bytes) -> bytes:
    """Return a request as one line without newline."""
    name = _NAMES.get(method) or _encode(method)
    if params:
        return b"".join((_ID, raw_id, b',"method":', name, b',"params":', params, b"}"))
    return b"".join((_ID, raw_id, b',"method":', name, b"}"))


def notification(method: str, params: bytes) -> bytes:
    """Return a notification as one line without newline."""
    name = _encode(method)
    if params:
        return b"".join((b'{"jsonrpc":"2.0","method":', name, b',"params":', params, b"}"))
    return b"".join((b'{"jsonrpc":"2.0","method":', name, b"}"))


def response(raw_id: bytes, answer: Response) -> bytes:
    """Return a response with another id as one line without newline."""
    if answer.error:
        return b"".join((_ID, raw_id, b',"error":', answer.error, b"}"))
    return b"".join((_ID, raw_id, b',"result":', answer.result, b"}"))


def line(message: Message) -> bytes:
    """Return any message as one line without newline."""
    if type(message) is Request:
        return request(message.id, message.method, message.params)
    if type(message) is Response:
        return response(message.id, message)
    assert type(message) is Notification  # noqa: S101 - the union has three members
    return notification(message.method, message.params)


def response_id(text: bytes) -> bytes:
    """Return the raw id in the result of `response` or `error`, and an empty id for other messages."""
    match = _ANSWER.match(text)
    return match[1] if match else b""


def error(raw_id: bytes, code: int, text: str, data: object = None) -> bytes:
    """Return an error response as one line without newline. `data` is omitted if it is None."""
    body: dict[str, object] = {"code": code, "message": text}
    if data is not None:
        body["data"] = data
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (raw_id, _encode(body))


# The error text for a request whose id is in use.
ID_IN_USE: Final = "this id is in use by a request in flight"


def invalid(text: str) -> Rejection:
    """Return the Rejection of JSON that is not a JSON-RPC message: 400, -32600."""
    return Rejection(400, INVALID_REQUEST, text)


_encode = msgspec.json.Encoder().encode
_NAMES: Final = {method: _encode(method) for method in KNOWN_METHODS}
_ANSWER: Final = re.compile(rb'\{"jsonrpc":"2.0","id":("(?:[^"\\]|\\.)*"|[^",]+),"(?:result|error)":')
# Payloads are joined and not formatted, because `join` copies once and `%b` several times (14 times as slow for 10 MB).
_ID: Final = b'{"jsonrpc":"2.0","id":'


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
        envelope = _parse_cut(text)
    except RecursionError:
        raise too_deep(limits.json_depth) from None
    if not checked and _opens_more(text, limits.json_depth) and not depth_ok(text, limits.json_depth):
        raise too_deep(limits.json_depth)
    return envelope


def _absent_params(params: bytes) -> bytes:
    if not _EMPTY.fullmatch(params):
        raise invalid("params must be an object")
    return b""


def _parse_deep(text: bytes) -> tuple[bytes, _Envelope]:
    if not text.isascii():
        text = with_replacements(text)
    room = _HEADROOM if len(text) > 2 * _DEEP and _opens_more(text, _DEEP) else 0
    try:
        return text, _decode_with_room(text, room) if room else _decode_envelope(text)
    except msgspec.ValidationError:
        raise _no_message() from None
    except ValueError:
        return text, _parse_cut(text, room)
    except RecursionError:
        raise _deeper() from None


def _parse_cut(text: bytes, room: int = 0) -> _Envelope:
    """Decode a text with lone surrogates. Its values are those of the text itself."""
    copy = readable(text)
    if copy is None:
        raise _not_json()
    try:
        envelope = _decode_with_room(copy, room)
        values = {
            name: bytes(value) for name in _RAW if (value := getattr(envelope, name)) is not msgspec.UNSET
        }
        found = places(copy, values)
    except msgspec.ValidationError:
        raise _no_message() from None
    except ValueError:
        raise _not_json() from None
    except RecursionError:
        raise _deeper() from None
    if any(text[found[name]] != copy[found[name]] for name in ("id", "method") if name in found):
        raise Rejection(400, PARSE_ERROR, "an id and a method have no lone surrogates")
    for name in values:
        setattr(envelope, name, msgspec.Raw(text[found[name]]))
    return envelope


def _deeper() -> Rejection:
    return invalid("JSON nested deeper than the decoder can follow")


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
    raw_id = bytes(envelope.id)
    if not raw_id.isdigit() or len(raw_id) > limits.id:
        _check_id(raw_id, limits, responds=True)
    result, error = envelope.result, envelope.error
    if result is not msgspec.UNSET and error is not msgspec.UNSET:
        result, error = _one_of(result, error)
    if (result is msgspec.UNSET) == (error is msgspec.UNSET):
        raise invalid("a response has either a result or an error")
    failed = result is msgspec.UNSET
    payload = error if failed else result
    assert payload is not msgspec.UNSET  # noqa: S101 - exactly one of the two is set
    outside = (_ERROR_FRAME if failed else _RESULT_FRAME) + len(raw_id)
    if len(text) > _WORTH_A_VIEW and not failed and _is_plain(text, outside + len(memoryview(payload))):
        return Response(raw_id, payload, b"")
    copied = bytes(payload)
    if failed and copied[0] != 0x7B:
        raise invalid("error must be an object")
    if len(text) != outside + len(copied):
        _refuse_repeated_members(text, "error" if failed else "result", copied)
    if _LF in copied or _CR in copied:
        copied = _one_line(copied)
    return Response(raw_id, b"", copied) if failed else Response(raw_id, copied, b"")


def _is_plain(text: bytes, shortest: int) -> bool:
    return len(text) == shortest and _LF not in text and _CR not in text


_Value = msgspec.Raw | msgspec.UnsetType


def _one_of(result: msgspec.Raw, error: msgspec.Raw) -> tuple[_Value, _Value]:
    """Return a result and an error, of which an absent value is unset. An empty object is a result if the error is absent."""
    is_object = _begins(result, b"{")
    if is_absent(error) and not (is_object and is_absent(result) and _begins(error, b"{")):
        return result, msgspec.UNSET
    if is_absent(result) and not is_object:
        return msgspec.UNSET, error
    return result, error


def is_absent(value: msgspec.Raw) -> bool:
    """Return whether a value counts as absent where an object is expected: null, or an empty value."""
    return _EMPTY.fullmatch(memoryview(value)) is not None


def _begins(value: msgspec.Raw, text: bytes) -> bool:
    return bytes(memoryview(value)[: len(text)]) == text


def _refuse_results(envelope: _Envelope) -> None:
    for value in (envelope.result, envelope.error):
        if value is not msgspec.UNSET and not _begins(value, _NULL):
            raise invalid("a message has either a method or a result or an error")


def _check_id(raw_id: bytes, limits: Limits, *, responds: bool = False) -> None:
    # A response may have any numerically equal spelling of an id of the bridge.
    if not (_is_id(raw_id) or (responds and wire_id(raw_id).isdigit())):
        raise invalid("an id is a string or an integer")
    if len(raw_id) > limits.id + 2:
        raise invalid(f"an id of {len(raw_id)} bytes exceeds the limit of {limits.id}")


def _is_id(raw: bytes) -> bool:
    # Strings and integers (JSON-RPC 2.0 section 4), also 1.0 and 1e0, which equal an integer. The text is valid JSON.
    return raw.isdigit() or raw[:1] == b'"' or _WHOLE.fullmatch(raw) is not None


def _one_line(payload: bytes) -> bytes:
    # In valid JSON a line end can only be white space between tokens.
    return payload.translate(_SPACES_FOR_LINE_ENDS)


def _refuse_repeated_members(text: bytes, name: str, payload: bytes) -> None:
    # `payload` is the value of the member `name`, or empty. A slow parser reads the rest of the text, which is small.
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
    """Return the position of the value of a member of a message.

    Raises ValueError if the first member of that name has another value than `payload`, because it is then repeated.
    """
    # One character for each byte keeps positions equal.
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
    """Return the name of the next member of an object, and the position of its value. Raises ValueError or IndexError."""
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
    """Return whether a text has more than `limit` opening brackets, also in strings. Only such a text can be too deep."""
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
