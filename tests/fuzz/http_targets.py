"""Heads and bodies of HTTP/1.1, compared with h11 and llhttp, and frames of HTTP/2, compared with hyperframe."""

import h11
import httptools
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import Frame

from mcpbridged.validators.http2_frames import FrameFlood, FrameMeter, first_header_block
from mcpbridged.validators.http_body import ChunkedDecoder
from mcpbridged.validators.http_head import Head, parse_head, reject_early, skip_empty_lines
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from .target import Target, holds, pieces, same

LIMITS = Limits()
_SMALL = Limits(header_block=2048, header_count=8, header_field=256, target=128, body=4096)
_STATUSES = frozenset({400, 405, 414, 415, 417, 431, 501, 505})
_CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


# ---- heads


def head(data: bytes) -> None:
    """The head of a request: refused early only if it is refused, and read as two other parsers read it."""
    try:
        buffer = skip_empty_lines(data)
    except Rejection as rejection:
        same("status of empty lines", rejection.status, 400)
        return
    found = buffer.find(b"\r\n\r\n")
    if found < 0:
        _early(buffer, LIMITS)
        return
    block = buffer[: found + 4]
    _head_in_pieces(block, _SMALL)
    read = _head_in_pieces(block, LIMITS)
    if read is not None:
        _compare_with_h11(block, read)
        _compare_with_llhttp(block, read)


def _early(buffer: bytes, limits: Limits) -> bool:
    try:
        reject_early(buffer, limits)
    except Rejection as rejection:
        _check_refusal(rejection)
        return False
    return True


def _head_in_pieces(block: bytes, limits: Limits) -> Head | None:
    try:
        read = parse_head(block, limits)
    except Rejection as rejection:
        _check_refusal(rejection)
        return None
    received = b""
    for piece in pieces(block[:-1]):
        received += piece
        holds("the beginning of a valid head is refused", _early(received, limits))
    return read


def _check_refusal(rejection: Rejection) -> None:
    holds(f"status {rejection.status} of a head", rejection.status in _STATUSES)
    holds("a refused head leaves the connection open", rejection.close)
    holds("an error text repeats control characters", rejection.text.isprintable())


def _target(read: Head) -> bytes:
    return f"{read.path}{'?' if read.query else ''}{read.query}".encode("latin-1")


def _compare_with_h11(block: bytes, read: Head) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(block)
    event = connection.next_event()
    holds("h11 reads no request", isinstance(event, h11.Request))
    same("method", event.method.decode(), read.method)
    same("version", event.http_version, b"1.1" if read.version == 11 else b"1.0")
    if read.authority is None and not event.target.endswith(b"?"):
        same("target", event.target, _target(read))
    values: dict[str, list[str]] = {}
    for name, value in event.headers:
        values.setdefault(name.decode(), []).append(value.decode("latin-1"))
    expected = {name: ", ".join(found) for name, found in values.items()}
    if "transfer-encoding" in expected:
        # h11 writes its only coding in lower case.
        expected["transfer-encoding"] = read.headers.get("transfer-encoding", "")
    same("headers", expected, read.headers)


class _Collected:
    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.done = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.done = True


def _compare_with_llhttp(block: bytes, read: Head) -> None:
    collected = _Collected()
    parser = httptools.HttpRequestParser(collected)
    try:
        parser.feed_data(block)
    except (httptools.HttpParserUpgrade, httptools.HttpParserError):
        # Refused or handed over: no second reading.
        return
    same("method for llhttp", parser.get_method().decode(), read.method)
    same(
        "number of fields for llhttp",
        {name.decode().lower() for name, _ in collected.headers},
        {*read.headers},
    )
    bodiless = not read.chunked and not read.content_length
    same("end of the message for llhttp", collected.done, bodiless)


_START = b"POST /mcp HTTP/1.1\r\nHost: h\r\n"


def head_seeds():
    yield _START + b"Content-Type: application/json\r\nContent-Length: 158\r\n\r\n"
    yield _START + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    yield b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
    yield b"\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: h\r\nAccept: a\r\naccept:\tb\r\n\r\n"
    yield b"GET http://u:p@h:1/x?y=%00 HTTP/1.0\r\nX-A: \xe4 \r\n\r\n"
    yield _START + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n"
    yield _START + b"Content-Length: 1, 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield _START + b"Transfer-Encoding: gzip, chunked\r\nContent-Encoding: identity\r\n\r\n"
    yield _START + b"Transfer-Encoding : chunked\r\n folded\r\n\r\n"
    yield b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"
    yield b"GET /\x00 HTTP/1.1\nHost: h\n\n\r\n\r\n"
    yield b"PROPFIND / HTTP/2.0\r\n\r\n"
    yield b"\x16\x03\x01\x02\x00\x01"
    yield b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 101 + b"\r\n"
    yield b"GET /" + b"a" * 900 + b" HTTP/1.1\r\nHost: h\r\n\r\n"


# ---- bodies


def body(data: bytes) -> None:
    """A chunked body: the same in any pieces, and as h11 and llhttp read it."""
    limits = Limits(body=4096, header_block=1024)
    whole = _decoded([data], limits)
    same("body in pieces", whole, _decoded(pieces(data), limits))
    if isinstance(whole, int):
        holds(f"status {whole} of a body", whole in (400, 413))
        return
    content, done, rest = whole
    same("body for h11", _h11_body(data), (content, done, rest if done else b""))
    if done:
        same("body for llhttp", _llhttp_body(data[: len(data) - len(rest)]), content)


def _decoded(parts, limits: Limits) -> int | tuple[bytes, bool, bytes]:
    decoder = ChunkedDecoder(limits)
    content = b""
    try:
        for part in parts:
            decoder.feed(part)
    except Rejection as rejection:
        holds("a refused body leaves the connection open", rejection.close)
        return rejection.status
    content += decoder.take()
    return content, decoder.done, decoder.rest


def _h11_body(data: bytes) -> tuple[bytes, bool, bytes]:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(_CHUNKED + data)
    connection.next_event()
    content = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            content += event.data
        elif isinstance(event, h11.EndOfMessage):
            return content, True, connection.trailing_data[0]
        else:
            return content, False, b""


def _llhttp_body(data: bytes) -> bytes:
    collected = _Collected()
    httptools.HttpRequestParser(collected).feed_data(_CHUNKED + data)
    holds("llhttp finds no end of the body", collected.done)
    return collected.body


def body_seeds():
    yield b"5\r\nhello\r\n0\r\n\r\n"
    yield b'3;a=b;c="d\\"e";f\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-Trailer: y\r\n\r\nGET / HTTP/1.1\r\n'
    yield b"0\r\n\r\n"
    yield b"1000\r\n" + b"a" * 4096 + b"\r\n1\r\nb\r\n0\r\n\r\n"
    yield b"0x5\r\nhello\r\n0\r\n\r\n"
    yield b"+5\r\nhello\r\n0\r\n\r\n"
    yield b"5 \r\nhello\r\n0\r\n\r\n"
    yield b"5\nhello\n0\n\n"
    yield b"5\r\nhelloX\r\n0\r\n\r\n"
    yield b"ffffffffffffffff1\r\n"
    yield b"7fffffff\r\na"
    yield b"0\r\n bad\r\n\r\n"
    yield b"0\r\n" + b"A: b\r\n" * 17 + b"\r\n"
    yield b"1;" + b"e" * 300 + b"\r\n"


# ---- HTTP/2


def http2(data: bytes) -> None:
    """Frames of HTTP/2 behind the preface: counted the same in any pieces, and as many as hyperframe finds."""
    data = _PREFACE + data
    for admitted in (False, True):
        whole = _metered([data], admitted=admitted)
        same("frames in pieces", whole, _metered(pieces(data), admitted=admitted))
    if isinstance(whole, tuple):
        same("heads for hyperframe", _hyperframe(data[len(_PREFACE) :]), whole)
    found = first_header_block(data)
    if found is not None:
        holds("a stream has more than 31 bits", 0 <= found[0] < 1 << 31)
        holds("a header block is not a part of the data", found[1] in data)


def _metered(parts, *, admitted: bool) -> str | tuple[int, int]:
    meter = FrameMeter()
    meter.admitted = admitted
    try:
        for part in parts:
            at = 0
            while at < len(part):
                end = meter.cut(part, at, 0.0)
                holds("a piece is empty", at < end <= len(part))
                at = end
    except FrameFlood as flood:
        return flood.name
    return meter.heads, meter.last_stream


def _hyperframe(data: bytes) -> tuple[int, int]:
    heads = last = at = 0
    while at + 9 <= len(data):
        length, kind, flags = int.from_bytes(data[at : at + 3], "big"), data[at + 3], data[at + 4]
        try:
            frame, size = Frame.parse_frame_header(memoryview(data[at : at + 9]))
        except HyperframeError:
            # A stream that the kind of frame must not have.
            stream = int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFFFFFF
        else:
            same("size of a frame", size, length)
            stream = frame.stream_id
        whole = at + 9 + length <= len(data)
        heads += kind in (1, 9) and bool(flags & 4) and whole
        last = max(last, stream) if kind == 1 else last
        at += 9 + length
    return heads, last


def _frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 1) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def http2_seeds():
    yield _frame(4, b"", 0, 0) + _frame(1, b"\x82\x84", 5)
    yield (
        _frame(4, b"\x00\x03\x00\x00\x00\x64", 0, 0)
        + _frame(1, b"\x02\x82\x84ab", 13)
        + _frame(0, b"x" * 40, 1)
    )
    yield _frame(1, b"\x82", 0x20, 3) + _frame(9, b"\x84", 4, 3) + _frame(8, b"\0\0\1\0", 0, 0)
    yield _frame(6, b"\0" * 8, 0, 0) * 70
    yield _frame(3, b"\0\0\0\x08") * 140
    yield _frame(0, b"", 0) * 130
    yield b"".join(_frame(kind, b"", 0, 7) for kind in range(12))
    yield _frame(1, b"\xff", 8)


TARGETS = (
    Target("http_head", head, head_seeds, 1024),
    Target("http_body", body, body_seeds),
    Target("http2_frames", http2, http2_seeds),
)
