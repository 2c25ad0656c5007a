"""WebSocket: the frames of one client read strictly, ours written, and the opening handshake (RFC 6455).

Sizes are refused by a frame's header, before anything is held. Bytes are limited, not the number of frames: only fragments
without a byte are counted. A payload is unmasked and checked in the pieces in which it arrives, since at once that would hold up everybody.
No extension is ever negotiated, so nothing is decompressed. Pure: bytes in, events out, the time is an argument.
"""

import base64
import hashlib
from typing import Final, NamedTuple

from .incremental_json import WORTH_CHECKING, TextBuffer, fault_of
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
# Fragments of one message that add no byte to it: the limit of its size does not end a row of them.
_EMPTY_FRAGMENTS: Final = 1023
# Bytes of control frames in one second, with their headers: 500 of the largest size.
_CONTROL_BYTES: Final = 64 * 1024
_SMALL: Final = 125
_SHORT_HEADER: Final = 6
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
        # Why the bridge closes; empty while it does not, and after a close frame of the client.
        self.reason = ""
        # The reason in the close frame of the client.
        self.close_reason = ""
        self._limit = limit
        self._partial = b""
        self._opcode = -1  # of the frame whose payload is being read
        self._final = False
        self._mask = b""  # for the next byte of the payload on
        self._missing = 0
        self._control = bytearray()
        self._message = TextBuffer(depth)
        self._size = 0
        self._under_way = False  # whether a fragmented message is
        self._empty = 0  # fragments of the message under way that had no byte
        self._second = 0.0  # when counting the bytes of control frames began (seconds)
        self._controls = 0  # their bytes since then
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
                fault = self._begin(header, length, now)
                if fault is not None:
                    self._end(events, *fault)
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
                self._end(events, *_NOT_UTF8)
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
        self._opcode, self._size, self._under_way = -1, 0, False
        self._empty = 0
        if text.isascii() or _is_utf8(text):
            events.append(Text(text))
        else:
            self._end(events, *_NOT_UTF8)

    def _take(self, piece: bytes) -> None:
        if self._opcode >= _CLOSE:
            self._control += _masked(piece, self._mask)
        elif not self.dropping or len(self._message) < _PREFIX:
            self._message.add(_masked(piece, self._mask))
        turn = len(piece) % 4
        self._mask = self._mask[turn:] + self._mask[:turn]

    def _begin(self, header: bytes, length: int, now: float) -> "Fault | None":
        final, reserved, opcode = header[0] & 0x80, header[0] & 0x70, header[0] & 0x0F
        short = header[1] & 0x7F
        size = short if short <= _SMALL else int.from_bytes(header[2 : length - 4], "big")
        if reserved:
            return PROTOCOL_ERROR, "a frame has a reserved bit set, and no extension was negotiated"
        if not header[1] & 0x80:
            return PROTOCOL_ERROR, "a frame of a client must be masked"
        if (short == 126 and size <= _SMALL) or (short == 127 and not 0xFFFF < size < 1 << 63):
            return PROTOCOL_ERROR, "the length of a frame is not in its shortest form"
        if opcode >= _CLOSE:
            fault = self._check_control(final, opcode, size, now)
        else:
            fault = self._check_data(opcode, size)
        self._opcode, self._final, self._missing = opcode, bool(final), size
        self._mask = header[length - 4 : length]
        return fault

    def _check_control(self, final: int, opcode: int, size: int, now: float) -> "Fault | None":
        if opcode > _PONG:
            return PROTOCOL_ERROR, f"a frame has the unknown opcode {opcode}"
        if not final or size > _SMALL:
            return PROTOCOL_ERROR, f"a control frame is one frame of at most {_SMALL} bytes"
        if now - self._second >= 1:
            self._second, self._controls = now, 0
        self._controls += size + _SHORT_HEADER
        return _TOO_MANY_CONTROLS if self._controls > _CONTROL_BYTES else None

    def _check_data(self, opcode: int, size: int) -> "Fault | None":
        if opcode == _BINARY:
            return UNSUPPORTED, "a binary frame: JSON-RPC messages are sent as text frames (opcode 1)"
        if opcode not in (_CONTINUATION, _TEXT):
            return PROTOCOL_ERROR, f"a frame has the unknown opcode {opcode}"
        if opcode == _TEXT and self._under_way:
            return PROTOCOL_ERROR, "a text frame inside of a fragmented message"
        if opcode == _CONTINUATION and not self._under_way:
            return PROTOCOL_ERROR, "a continuation frame without a message"
        self._under_way = True
        self._size += size
        self._empty += not size
        if self._size > _FAR_OVER * self._limit:
            return TOO_BIG, f"a message of more than {_FAR_OVER} times the limit of its size"
        if self._size > self._limit:
            self._message.refuse(_too_long(self._limit))
        return _TOO_MANY_EMPTY if self._empty > _EMPTY_FRAGMENTS else None

    def _finish(self, events: list[Event]) -> None:
        opcode, self._opcode = self._opcode, -1
        if opcode >= _CLOSE:
            self._finish_control(opcode, events)
        elif self._final:
            self._finish_message(events)
        else:
            self._message.check()  # what is wrong is wrong at once, though a character may be cut by a fragment's end
            if self._is_garbled():
                self._end(events, *_NOT_UTF8)

    def _finish_control(self, opcode: int, events: list[Event]) -> None:
        payload = bytes(self._control)
        self._control.clear()
        if opcode == _PING:
            events.append(Ping(payload))
        elif opcode == _PONG:
            events.append(Pong())
        else:
            self._over = True
            code, self.reason = _answer_to_close(payload)
            self.close_reason = "" if self.reason else payload[2:].decode()
            events.append(Close(code))

    def _finish_message(self, events: list[Event]) -> None:
        text = self._message.take()
        self._size, self._under_way, self._empty = 0, False, 0
        fault = fault_of(text)
        if fault is not None and fault.code == PARSE_ERROR:
            self._end(events, *_NOT_UTF8)
        elif type(text) is not bytes or text.isascii() or _is_utf8(text):
            events.append(Text(text))
        else:
            self._end(events, *_NOT_UTF8)

    def _is_garbled(self) -> bool:
        fault = self._message.fault
        return fault is not None and fault.code == PARSE_ERROR

    def _end(self, events: list[Event], code: int, reason: str) -> None:
        self._over = True
        self.reason = reason
        events.append(Close(code))


# A code of RFC 6455 section 7.4.1, and a reason of at most 123 bytes.
Fault = tuple[int, str]

_NOT_UTF8: Final = NOT_UTF8, "text is UTF-8"
_TOO_MANY_CONTROLS: Final = (
    POLICY,
    f"more than {_CONTROL_BYTES} bytes of control frames in a second",
)
_TOO_MANY_EMPTY: Final = POLICY, f"more than {_EMPTY_FRAGMENTS} empty fragments in a message"


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


def _answer_to_close(payload: bytes) -> Fault:
    """Return the code to answer with, and why it is another than the client's own; no code is 0."""
    if not payload:
        return 0, ""
    if len(payload) == 1:
        return PROTOCOL_ERROR, "a close frame has half a code"
    code = int.from_bytes(payload[:2], "big")
    if code not in _CODES and code not in _APPLICATION_CODES:
        return PROTOCOL_ERROR, f"a close frame has the code {code}, which RFC 6455 section 7.4 does not allow"
    return (code, "") if _is_utf8(payload[2:]) else (NOT_UTF8, "the reason of a close frame is not UTF-8")


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
    """Return the last frame, with as much of the reason as fits (123 bytes); 0 for one without a code and a reason."""
    cut = " ".join(reason.split()).encode(errors="replace")[: _SMALL - 2]
    whole = cut.decode(errors="ignore").encode()  # without a part of a character at its end
    return _frame(_CLOSE, code.to_bytes(2, "big") + whole if code else b"")


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size <= _SMALL:
        return bytes((0x80 | opcode, size)) + payload
    if size <= 0xFFFF:
        return b"".join((bytes((0x80 | opcode, 126)), size.to_bytes(2, "big"), payload))
    return b"".join((bytes((0x80 | opcode, 127)), size.to_bytes(8, "big"), payload))


def upgrade_response(key: str, *, subprotocol: bool = True) -> bytes:
    """The head of the answer to a handshake that `check_upgrade` has let pass (RFC 6455 section 4.2.2).

    `subprotocol` says whether the client has offered any: it is answered with `mcp` then, and with none otherwise.
    """
    digest = hashlib.sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"%bSec-WebSocket-Accept: %b\r\n\r\n"
        % (b"Sec-WebSocket-Protocol: mcp\r\n" if subprotocol else b"", base64.b64encode(digest))
    )


_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def check_upgrade(headers: dict[str, str], upgrade: str, version: int) -> None:
    """Raise Rejection for anything but a WebSocket opening handshake of version 13.

    A client may offer no subprotocol. One that offers some, but not `mcp`, would close the connection at an answer without
    one of its own (WHATWG WebSockets), so it is refused with a text that says what to offer.
    """
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
    offered = headers.get("sec-websocket-protocol")
    if offered is not None and "mcp" not in [name.strip(" \t") for name in offered.split(",")]:
        raise _bad("Sec-WebSocket-Protocol must offer mcp, or be absent")


_VERSION: Final = (b"Sec-WebSocket-Version", b"13")
_BASE64: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_KEY_LENGTH: Final = 24


def _is_key(key: str) -> bool:
    # 16 bytes are 22 digits and two pads; the last digit carries four bits that must be zero.
    return len(key) == _KEY_LENGTH and key.endswith("==") and set(key[:22]) <= _BASE64 and key[21] in "AQgw"


def _bad(text: str) -> Rejection:
    return Rejection(400, INVALID_REQUEST, text)
