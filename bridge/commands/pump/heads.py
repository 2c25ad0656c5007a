"""Read the ids and methods of JSON-RPC messages. Pure.

`scan` reads the layouts that SDKs write, without parsing the payload: the small members stand before or after the payload.
It returns None wherever another reading is possible, and `parse` reads those texts with a JSON parser.

Why the end of a text is enough: the last brace of a JSON object closes the object. The member before it is the last member
of the object, if its text has no backslash and follows a comma; a quote inside a string would have a backslash before it.
"""

# The most bytes at the end of a text that `scan` needs: the small members after the payload.
TAIL = 1024
# The longest value of a small member (bytes). The daemon refuses longer ids and methods.
_VALUE = 300
_QUOTE = 0x22
_COLON = 0x3A
_SPACE = 0x20
_COMMA = 0x2C
_BRACE = 0x7D
# The layouts of the cancellation of a request, up to its id.
_CANCELLED = (
    b'{"method":"notifications/cancelled","params":{"requestId":',
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":',
)


class Head:
    """The small members of a message: a request has an id and a method, a notification no id, a response no method.

    `raw_id` is JSON text. `is_error` is True for a response with an error.
    """

    __slots__ = ("is_error", "method", "raw_id")

    def __init__(self, raw_id: bytes = b"", method: bytes = b"", *, is_error: bool = False) -> None:
        self.raw_id = raw_id
        self.method = method
        self.is_error = is_error

    def __repr__(self) -> str:
        return f"Head({self.raw_id!r}, {self.method!r}, is_error={self.is_error})"

    def __eq__(self, other: object) -> bool:
        return repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def is_request(self) -> bool:
        return bool(self.raw_id and self.method)

    @property
    def is_response(self) -> bool:
        return not self.method


def scan(first: bytes, last: bytes) -> "Head | None":
    """Return the head of a message, or None if a JSON parser must read it.

    `first` is the begin of the text and `last` its end; the same object if they are the whole text. Of a text in several
    pieces, `first` is longer than all small members together, and so is `last`.
    """
    if not first.startswith(b"{"):
        return None
    head, at = Head(), 1
    while True:
        name_end = first.find(b'":', at, at + 12) + 1
        name = first[at:name_end]
        if name in (b'"result"', b'"error"'):
            head.is_error = name == b'"error"'
            return _with_tail(head, first, last, is_response=True)
        if name == b'"params"':
            return _with_tail(head, first, last)
        value, at = _value(first, name_end + 1)
        if name == b'"id"':
            head.raw_id = value
        elif name == b'"method"' and value.startswith(b'"'):
            head.method = value[1:-1]
        elif name != b'"jsonrpc"':
            return None
        if not value:
            return None
        after = first[at]
        if after == _BRACE and first is last and not first[at + 1 :].strip():
            return _with_tail(head, first, b"")
        if after != _COMMA:
            return None
        at += 2 if first[at + 1 : at + 2] == b" " else 1


def _value(text: bytes, at: int) -> "tuple[bytes, int]":
    """Return a short string or an integer as JSON text, and the place behind it; empty for any other value."""
    if text[at : at + 1] == b" ":
        at += 1
    if text[at : at + 1] == b'"':
        end = text.find(b'"', at + 1, at + _VALUE) + 1
        value = text[at:end]
        return (b"", at) if b"\\" in value or end == len(text) else (value, end)
    end = at
    for octet in text[at : at + _VALUE]:
        if octet in b",} ":
            break
        end += 1
    value = text[at:end]
    return (value, end) if value.removeprefix(b"-").isdigit() and end < len(text) else (b"", at)


def _with_tail(head: Head, first: bytes, last: bytes, *, is_response: bool = False) -> "Head | None":
    """Complete the head with the id behind the payload, if it has none yet."""
    if is_response and head.method:
        return None
    if not head.raw_id and last:
        raw_id = _id_at_end(last)
        if raw_id is None:
            return None
        head.raw_id = raw_id
    if head.raw_id:
        return head if head.method or is_response else None
    # A notification, if no member can be an id.
    if is_response or not head.method or b'"id"' in first or b"\\u" in first:
        return None
    return head if first is last or not last else None


def _id_at_end(last: bytes) -> "bytes | None":
    """Return the id among the small members at the end of an object, empty if there is none, and None if that is unclear."""
    text = last.rstrip(b" \t\r\n")
    if not text.endswith(b"}"):
        return None
    end = len(text) - 1
    for _ in range(3):
        start = max(text.rfind(b',"', 0, end), text.rfind(b', "', 0, end))
        name, colon, value = text[start + 1 : end].partition(b":")
        name, value = name.strip(b" "), value.strip(b" ")
        if not colon or start < 0:
            return b""
        if name == b'"id"':
            return value if is_plain(value) else None
        if name != b'"jsonrpc"' or value != b'"2.0"':
            return b""
        end = start
    return b""


def is_plain(raw_id: bytes) -> bool:
    """Return whether an id has only one spelling: an integer without needless characters, or a string without escapes."""
    if raw_id.isdigit():
        return not raw_id.startswith(b"0") or len(raw_id) == 1
    if raw_id.startswith(b'"'):
        inner = raw_id[1:-1]
        return len(raw_id) > 1 and raw_id.endswith(b'"') and b"\\" not in inner and b'"' not in inner
    return raw_id[:1] == b"-" and raw_id[1:].isdigit() and raw_id[1:2] != b"0"


def key_of(raw_id: bytes) -> bytes:
    """Return the same text for all spellings of an id."""
    if is_plain(raw_id):
        return raw_id
    import json  # noqa: PLC0415 - see the package's docstring

    try:
        value: object = json.loads(raw_id.decode("utf-8", "replace"))
    except ValueError:
        return raw_id
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return repr(value).encode()


def parse(text: bytes) -> "list[Head]":
    """Return the heads of a message, or of the messages of a batch; none for a text that is not JSON-RPC."""
    import json  # noqa: PLC0415 - see the package's docstring

    try:
        found: object = json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return []
    heads: list[Head] = []
    for member in found if isinstance(found, list) else [found]:  # pyright: ignore[reportUnknownVariableType] - JSON
        if isinstance(member, dict):
            heads += _heads_of(member)  # pyright: ignore[reportUnknownArgumentType] - JSON
    return heads


def _heads_of(member: "dict[str, object]") -> "list[Head]":
    import json  # noqa: PLC0415 - see the package's docstring

    value, method = member.get("id"), member.get("method")
    raw_id = b""
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        raw_id = json.dumps(value).encode()
    if isinstance(method, str):
        # A request with an id that is none is answered under null.
        return [Head(raw_id, method.encode("utf-8", "replace"))] if raw_id or "id" not in member else []
    if raw_id and ("result" in member or "error" in member):
        return [Head(raw_id, is_error="error" in member)]
    return []


def cancelled_key(text: bytes) -> bytes:
    """Return the key of the request that a `notifications/cancelled` names, or an empty text."""
    for layout in _CANCELLED:
        if text.startswith(layout):
            raw_id, _ = _value(text, len(layout))
            if is_plain(raw_id):
                return raw_id
    import json  # noqa: PLC0415 - see the package's docstring

    try:
        message: object = json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return b""
    params: object = message.get("params") if isinstance(message, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
    value: object = params.get("requestId") if isinstance(params, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        return b""
    return key_of(json.dumps(value).encode())
