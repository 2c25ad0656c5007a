"""JSON-RPC messages, compared with the parser of the standard library, and JSON in pieces."""

import json
from decimal import Decimal

from mcpbridged.validators import jsonrpc
from mcpbridged.validators.incremental_json import (
    DepthMeter,
    TextBuffer,
    depth_ok,
    fault_of,
    with_replacements,
)
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.pipe_lines import LineReader
from mcpbridged.validators.rejection import INVALID_REQUEST, PARSE_ERROR, Rejection

from .target import Target, holds, pieces, same

LIMITS = Limits()
_DEPTH = 64


class _NotJson(Exception):
    pass


def _parsed(text: bytes) -> object:
    """Return the value of a JSON text: an object is a list of pairs, a number its text. Raises _NotJson."""

    def refuse(_: str) -> None:
        raise _NotJson

    try:
        return json.loads(
            text.decode(),
            object_pairs_hook=_Pairs,
            parse_int=Decimal,
            parse_float=Decimal,
            parse_constant=refuse,
        )
    except (ValueError, ArithmeticError, RecursionError):
        raise _NotJson from None


class _Pairs(list):
    """The members of an object in their order."""

    def get(self, name: str) -> object:
        return dict(self).get(name)


def envelope(data: bytes) -> None:
    """A message of a client and of a server: read as the standard library reads it, and written with the same meaning."""
    _one(data, deep=False)
    _one(data, deep=True)
    _batch(data)
    for raw_id in (*jsonrpc.refused_ids(data, LIMITS), jsonrpc.request_id_in_prefix(data)):
        holds(
            "the id of a refused text is no id",
            raw_id == b"null" or isinstance(_parsed(raw_id), str | Decimal),
        )
        holds("the id of a refused text has a line end", b"\n" not in raw_id)
    found = jsonrpc.call_of_invalid_line(data)
    holds("the id of an invalid line has a line end", b"\n" not in found)
    same("canonical id", jsonrpc.canonical_id(jsonrpc.canonical_id(data)), jsonrpc.canonical_id(data))
    same("wire id", jsonrpc.wire_id(jsonrpc.wire_id(data)), jsonrpc.wire_id(data))


def _one(data: bytes, *, deep: bool) -> None:
    try:
        message = jsonrpc.decode(data, LIMITS, deep=deep)
    except Rejection as rejection:
        same("status", rejection.status, 400)
        holds("code", rejection.code in (PARSE_ERROR, INVALID_REQUEST))
        if rejection.text == "not JSON" and not deep:
            _must_not_parse(data)
        return
    line = jsonrpc.line(message)
    holds("a written message has a line end", b"\n" not in line and b"\r" not in line)
    same("a message that is read again", jsonrpc.decode(line, LIMITS, deep=deep), message)
    text = with_replacements(data) if deep else data
    given, written = _parsed(text), _parsed(line)
    holds("a message is no object", isinstance(given, _Pairs))
    names = [name for name, _ in given]
    same("repeated members", len({*names}), len(names))
    same("version", given.get("jsonrpc"), "2.0")
    for name, value in written:
        same(f"member {name}", value, given.get(name))


def _must_not_parse(data: bytes) -> None:
    try:
        _parsed(data)
    except _NotJson:
        return
    holds(
        "a text is refused as not JSON, and the standard library reads it",
        b"\\u" in data or data.count(b"[") + data.count(b"{") > 500,
    )


def _batch(data: bytes) -> None:
    if not jsonrpc.is_batch(data):
        return
    for deep in (False, True):
        try:
            members = jsonrpc.split_batch(data, LIMITS, deep=deep)
        except Rejection as rejection:
            holds("code of a batch", rejection.code in (PARSE_ERROR, INVALID_REQUEST))
            continue
        whole = _parsed(with_replacements(data) if deep else data)
        same("members of a batch", [_parsed(member) for member in members], whole)


_CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":[1,2.50,"\\u00e4"]}}}'


def envelope_seeds():
    yield _CALL
    yield b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
    yield b' {"id" : "a\\"b", "result" : {"x":1e3,\r\n"y":null}, "jsonrpc":"2.0"} '
    yield b'{"jsonrpc":"2.0","id":1.0,"error":{"code":-1,"message":"no"},"result":null}'
    yield b"[" + _CALL + b', {"jsonrpc":"2.0","method":"x"}]'
    yield b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\\ud83d"}}'
    yield b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\\\\ud83d \\ud83d\\ude00"}}'
    yield b'{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}'
    yield b'{"jsonrpc":"2.0","id":1,"method":"x","i\\u0064":2}'
    yield b'{"jsonrpc":"2.0","id":9007199254740993,"method":"x","params":[]}'
    yield b'{"jsonrpc":"2.0","id":"1e0","result":{"a":"\xff"}}'
    yield b'{"jsonrpc":"2.0","id":NaN,"result":-Infinity}'
    yield b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 70 + b"]" * 70 + b"}"
    yield b'{"jsonrpc":"2.0","id":1,"result"'
    yield b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1}'
    yield b'{"jsonrpc":"2.0","id":null,"method":"a\x00b"}'
    yield b"[]"
    yield b"[1,[2],{}]"


def incremental(data: bytes) -> None:
    """The UTF-8 and the nesting of a text in pieces: as of the whole text, and as a reader of single bytes finds them."""
    meter, whole = DepthMeter(_DEPTH), DepthMeter(_DEPTH).feed(data)
    split = all(meter.feed(piece) for piece in pieces(data))
    try:
        _parsed(data)
    except _NotJson:
        # A backslash outside of a string, which the decoder refuses, is read in one way or another.
        if b"\\" not in data:
            same("nesting in pieces", split, whole)
    else:
        same("nesting of JSON in pieces", split, whole)
        same("nesting of JSON", whole, _deepest(data) <= _DEPTH)
        same("nesting at once", depth_ok(data, _DEPTH), whole)
    same("replacements", with_replacements(data), data.decode(errors="replace").encode())
    buffer = TextBuffer(_DEPTH)
    for piece in pieces(data):
        buffer.add(piece)
        buffer.check()
    text = buffer.take()
    fault = fault_of(text)
    try:
        data.decode()
    except UnicodeDecodeError:
        holds("a text that is not UTF-8 has no fault", fault is not None)
    else:
        same("fault of a text", fault is None, split)
    if fault is None:
        same("text in pieces", bytes(text), data)
    same("a buffer that was taken", (len(buffer), buffer.fault), (0, None))


def _deepest(text: bytes) -> int:
    depth = deepest = 0
    inside = escaped = False
    for byte in text:
        if inside:
            inside = escaped or byte != 0x22
            escaped = byte == 0x5C and not escaped
        elif byte == 0x22:
            inside = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def incremental_seeds():
    yield b'{"a":["\\\\",{"b":"]}\\""}]}'
    yield b"[" * 64 + b"]" * 64
    yield b"[" * 65 + b"]" * 65
    yield b'["' + b'\\"' * 9 + b'[",' + b"[" * 63 + b"]" * 64
    yield '"äöü €😀"'.encode()
    yield b'"\xed\xa0\x80"'
    yield b'"\xf0\x9f\x98'
    yield b"[]" * 200 + b"[" * 65


def lines(data: bytes) -> None:
    """Lines of the pipe endpoint: the same in any pieces, and as a split of the whole text."""
    whole, split = _lines([data]), _lines(pieces(data))
    same("lines in pieces", whole, split)
    parts = data.split(b"\n")
    if all(len(part) <= 200 for part in parts) and b"\xef\xbb\xbf" not in data:
        cut = [part.removesuffix(b"\r") for part in parts]
        same("lines", whole, [(part, None) for part in cut if part and not part.isspace()])


def _lines(parts) -> list[tuple[bytes, int | None]]:
    reader = LineReader(256, _DEPTH)
    found: list[bytes] = []
    for part in parts:
        small = reader.read_line(part)
        found += reader.feed(part) if small is None else [small]
    found += reader.end()
    return [(bytes(line), fault and fault.status) for line in found for fault in [fault_of(line)]]


def lines_seeds():
    yield _CALL + b"\n#sleep\n\n \r\n{}\r\n[1]"
    yield b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}\n"
    yield b"x" * 256 + b"\r\n" + b"x" * 257 + b"\n{}\n"
    yield b"#" + b"x" * 300 + b"\n{}\n"


TARGETS = (
    Target("jsonrpc", envelope, envelope_seeds),
    Target("incremental_json", incremental, incremental_seeds),
    Target("pipe_lines", lines, lines_seeds),
)
