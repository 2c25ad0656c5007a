"""WebSocket: the frames of one client read strictly, ours written, and the opening handshake (RFC 6455).

Sizes are refused by a frame's header, before anything is held; empty fragments and pings are counted. A payload is unmasked and
checked in the pieces in which it arrives, since at once that would hold up everybody.
No extension is ever negotiated, so nothing is decompressed. Pure: bytes in, events out, the time is an argument.
"""

import base64
import hashlib
from typing import Final, NamedTuple

from .pieces import WORTH_CHECKING, Gathering, fault_of
from .rejection import INVALID_REQUEST, PARSE_ERROR, Rejection

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED: Final = 1003
NOT_UTF8: Final = 1007
POLICY: Final = 1008
TOO_BIG: Final = 1009
INTERNAL: Final = 1011
TRY_LATER: Final = 1013

_CONTINUATION: Final = 0
_TEXT: Final = 1
_BINARY: Final = 2
_CLOSE: Final = 8
_PING: Final = 9
_PONG: Final = 10
# More fragments than this serve no honest purpose for a message of a few MiB.
_FRAGMENTS: Final = 1024
# Control frames allowed in one second.
_CONTROLS: Final = 20
_SMALL: Final = 125
_LARGEST_MASKED_HEADER: Final = 14
# So many times the limit a message may have before it costs the connection, and not itself only.
_FAR_OVER: Final = 64
# So much (bytes) is read of a message that is dropped, for its id.
_PREFIX: Final = 4 * 1024
# What a client may say in a close frame (RFC 6455 section 7.4, and the IANA registry).
_CODES: Final = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
_APPLICATION_CODES: Final = range(3000, 5000)


class Text(NamedTuple):
    """A whole text message, which is UTF-8."""

    text: bytes


class Ping(NamedTuple):
    """To be answered with a pong of the same payload."""

    payload: bytes


class Pong(NamedTuple):
    """A sign of life."""


class Close(NamedTuple):
    """The client closes, or has broken a rule: answer with this code and read no further. 0 means without a code."""

    code: int


Event = Text | Ping | Pong | Close


class FrameReader:
    """Follows the frames of one client. After a Close nothing more comes.

    A message may have `limit` bytes and nest `depth` levels. One that has more is dropped as it arrives and comes as a
    `Text` with its fault (`pieces.fault_of`) and its first part; one that has far more ends the connection.
    """

    def __init__(self, limit: int, depth: int = 64) -> None:
        self.reason = ""  # of the rule that the client has broken
        self._limit = limit
        self._partial = b""
        self._opcode = -1  # of the frame whose payload is being read
        self._final = False
        self._mask = b""  # for the next byte of the payload on
        self._missing = 0
        self._control = bytearray()
        self._message = Gathering(depth)
        self._size = 0
        self._fragments = 0
        self._second = 0.0
        self._controls = 0
        self._over = False

    @property
    def missing(self) -> int:
        """How much of the frame under way is still to come."""
        return self._missing

    @property
    def dropping(self) -> bool:
        """Whether a message is under way that is refused already."""
        return self._message.fault is not None

    @property
    def held(self) -> int:
        """How much of a large message under way is held (bytes); 0 for a small one."""
        size = len(self._message)
        return size if size > WORTH_CHECKING and not self.dropping else 0

    def refuse(self, fault: Rejection) -> None:
        """Drop the message under way, and report it with this fault when it is over."""
        self._message.refuse(fault)

    def feed(self, data: bytes, now: float) -> list[Event]:
        """Take the next bytes from the client, at a time in seconds."""
        events: list[Event] = []
        if self._partial:
            data, self._partial = self._partial + data, b""
        at = 0
        while not self._over and (at < len(data) or (self._opcode >= 0 and not self._missing)):
            if self._opcode < 0:
                header = data[at : at + _LARGEST_MASKED_HEADER]
                length = _header_length(header)
                if length > len(header):
                    self._partial = header
                    break
                at += length
                code = self._begin(header, length, now)
                if code:
                    self._end(events, code)
                continue
            piece = data[at : at + self._missing]
            at += len(piece)
            self._missing -= len(piece)
            if not self._missing and self._is_whole(piece):
                self._finish_whole(piece, events)
                continue
            self._take(piece)
            if not self._missing:
                self._finish(events)
            elif self._is_garbled():
                self._end(events, NOT_UTF8)
        return events

    def _is_whole(self, piece: bytes) -> bool:
        # Most messages are one small frame that comes at once: they need not be gathered.
        return (
            self._opcode == _TEXT
            and self._final
            and len(piece) == self._size <= WORTH_CHECKING
            and self._message.fault is None
        )

    def _finish_whole(self, piece: bytes, events: list[Event]) -> None:
        text = _masked(piece, self._mask)
        self._opcode, self._size, self._fragments = -1, 0, 0
        if text.isascii() or _is_utf8(text):
            events.append(Text(text))
        else:
            self._end(events, NOT_UTF8)

    def _take(self, piece: bytes) -> None:
        if self._opcode >= _CLOSE:
            self._control += _masked(piece, self._mask)
        elif not self.dropping or len(self._message) < _PREFIX:
            self._message.add(_masked(piece, self._mask))
        turn = len(piece) % 4
        self._mask = self._mask[turn:] + self._mask[:turn]

    def _begin(self, header: bytes, length: int, now: float) -> int:
        final, reserved, opcode = header[0] & 0x80, header[0] & 0x70, header[0] & 0x0F
        short = header[1] & 0x7F
        size = short if short <= _SMALL else int.from_bytes(header[2 : length - 4], "big")
        if reserved or not header[1] & 0x80:
            return PROTOCOL_ERROR
        if (short == 126 and size <= _SMALL) or (short == 127 and not 0xFFFF < size < 1 << 63):
            return PROTOCOL_ERROR
        if opcode >= _CLOSE:
            code = self._check_control(final, opcode, size, now)
        else:
            code = self._check_data(opcode, size)
        self._opcode, self._final, self._missing = opcode, bool(final), size
        self._mask = header[length - 4 : length]
        return code

    def _check_control(self, final: int, opcode: int, size: int, now: float) -> int:
        if not final or opcode > _PONG or size > _SMALL:
            return PROTOCOL_ERROR
        if now - self._second >= 1:
            self._second, self._controls = now, 0
        self._controls += 1
        return POLICY if self._controls > _CONTROLS else 0

    def _check_data(self, opcode: int, size: int) -> int:
        if opcode == _BINARY:
            return UNSUPPORTED
        if opcode not in (_CONTINUATION, _TEXT) or (opcode == _CONTINUATION) != bool(self._fragments):
            return PROTOCOL_ERROR
        self._size += size
        self._fragments += 1
        if self._size > _FAR_OVER * self._limit:
            return TOO_BIG
        if self._size > self._limit:
            self._message.refuse(_too_long(self._limit))
        return POLICY if self._fragments > _FRAGMENTS else 0

    def _finish(self, events: list[Event]) -> None:
        opcode, self._opcode = self._opcode, -1
        if opcode >= _CLOSE:
            self._finish_control(opcode, events)
        elif self._final:
            self._finish_message(events)
        else:
            self._message.check()  # what is wrong is wrong at once, though a character may be cut by a fragment's end
            if self._is_garbled():
                self._end(events, NOT_UTF8)

    def _finish_control(self, opcode: int, events: list[Event]) -> None:
        payload = bytes(self._control)
        self._control.clear()
        if opcode == _PING:
            events.append(Ping(payload))
        elif opcode == _PONG:
            events.append(Pong())
        else:
            self._over = True
            events.append(Close(_answer_to_close(payload)))

    def _finish_message(self, events: list[Event]) -> None:
        text = self._message.take()
        self._size = self._fragments = 0
        fault = fault_of(text)
        if fault is not None and fault.code == PARSE_ERROR:
            self._end(events, NOT_UTF8)
        elif type(text) is not bytes or text.isascii() or _is_utf8(text):
            events.append(Text(text))
        else:
            self._end(events, NOT_UTF8)

    def _is_garbled(self) -> bool:
        fault = self._message.fault
        return fault is not None and fault.code == PARSE_ERROR

    def _end(self, events: list[Event], code: int) -> None:
        self._over = True
        self.reason = _REASONS[code]
        events.append(Close(code))


_REASONS: Final = {
    PROTOCOL_ERROR: "a frame breaks RFC 6455",
    UNSUPPORTED: "a message is text",
    NOT_UTF8: "text is UTF-8",
    POLICY: f"more than {_FRAGMENTS} fragments in a message or {_CONTROLS} control frames in a second",
    TOO_BIG: f"a message of more than {_FAR_OVER} times the limit of its size",
}


def _too_long(limit: int) -> Rejection:
    return Rejection(413, INVALID_REQUEST, f"a message of more than {limit} bytes, the limit (limits.body)")


def _header_length(header: bytes) -> int:
    """How long the header that begins like this is, counting a mask; at least 2."""
    if len(header) < 2:
        return 2
    extended = {126: 2, 127: 8}.get(header[1] & 0x7F, 0)
    return 2 + extended + (4 if header[1] & 0x80 else 0)


def _masked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _answer_to_close(payload: bytes) -> int:
    if not payload:
        return 0
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or (code not in _CODES and code not in _APPLICATION_CODES):
        return PROTOCOL_ERROR
    return code if _is_utf8(payload[2:]) else NOT_UTF8


def text_frame(text: bytes) -> bytes:
    """One message of ours."""
    return _frame(_TEXT, text)


def ping_frame() -> bytes:
    """Ask for a sign of life."""
    return _frame(_PING, b"")


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping."""
    return _frame(_PONG, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """The last frame, with a reason of at most 123 bytes; 0 for one without a code."""
    return _frame(_CLOSE, code.to_bytes(2, "big") + reason.encode()[: _SMALL - 2] if code else b"")


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size <= _SMALL:
        return bytes((0x80 | opcode, size)) + payload
    if size <= 0xFFFF:
        return b"".join((bytes((0x80 | opcode, 126)), size.to_bytes(2, "big"), payload))
    return b"".join((bytes((0x80 | opcode, 127)), size.to_bytes(8, "big"), payload))


def accepted(key: str) -> bytes:
    """The head of the answer to a handshake that `check_upgrade` has let pass (RFC 6455 section 4.2.2)."""
    digest = hashlib.sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Protocol: mcp\r\nSec-WebSocket-Accept: %b\r\n\r\n" % base64.b64encode(digest)
    )


_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def check_upgrade(headers: dict[str, str], upgrade: str, version: int) -> None:
    """Raise Rejection for anything but a WebSocket opening handshake of version 13 that offers `mcp` (digest 5.2)."""
    if version != 11:
        raise _bad("a WebSocket needs HTTP/1.1")
    if upgrade != "websocket":
        raise Rejection(
            426, INVALID_REQUEST, "this path speaks WebSocket", headers=((b"Upgrade", b"websocket"), _VERSION)
        )
    if headers.get("sec-websocket-version") != "13":
        raise Rejection(426, INVALID_REQUEST, "Sec-WebSocket-Version must be 13", headers=(_VERSION,))
    if not _is_key(headers.get("sec-websocket-key", "")):
        raise _bad("Sec-WebSocket-Key must be 16 bytes in base64")
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise _bad("a WebSocket handshake has no body")
    offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]
    if "mcp" not in offered:
        raise _bad("Sec-WebSocket-Protocol must offer mcp")


_VERSION: Final = (b"Sec-WebSocket-Version", b"13")
_BASE64: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_KEY_LENGTH: Final = 24


def _is_key(key: str) -> bool:
    # 16 bytes are 22 digits and two pads; the last digit carries four bits that must be zero.
    return len(key) == _KEY_LENGTH and key.endswith("==") and set(key[:22]) <= _BASE64 and key[21] in "AQgw"


def _bad(text: str) -> Rejection:
    return Rejection(400, INVALID_REQUEST, text)
