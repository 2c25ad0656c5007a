"""Read the WebSocket frames of one client strictly, write frames, and check the opening handshake (RFC 6455).

A frame is refused by the size in its header, before its payload is stored. Bytes are limited and not the number of frames,
except for fragments without a byte. A payload is unmasked and checked in the pieces in which it arrives, because a large
payload at once would block the event loop. No extension is negotiated, therefore nothing is decompressed. Pure: the time is
an argument.
"""

import base64
import hashlib
from typing import Final, NamedTuple

from .incremental_json import WORTH_CHECKING, TextBuffer, fault_of
from .rejection import INVALID_REQUEST, PARSE_ERROR, Rejection

# Codes of close frames (RFC 6455 section 7.4.1). NO_CODE stands for a frame without a code.
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED: Final = 1003
NO_CODE: Final = 1005
NOT_UTF8: Final = 1007
POLICY: Final = 1008
TOO_BIG: Final = 1009
INTERNAL: Final = 1011
TRY_LATER: Final = 1013

# Opcodes (RFC 6455 section 11.8).
CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
# The most fragments of one message without a byte, because the limit of its size does not count them.
_EMPTY_FRAGMENTS: Final = 1023
# The most bytes of control frames with headers in one second: 500 frames of the largest size.
_CONTROL_BYTES: Final = 64 * 1024
# The largest payload of a control frame, and of a frame with its size in the second byte (bytes, RFC 6455 section 5.2).
LARGEST_CONTROL: Final = 125
_SHORT_HEADER: Final = 6
# The first byte of a text frame without fragmentation (RFC 6455 section 5.2).
_WHOLE_TEXT: Final = 0x80 | TEXT
_LARGEST_MASKED_HEADER: Final = 14
# A message above the limit is dropped; a message above this multiple of the limit closes the connection.
_FAR_OVER: Final = 64
# The part of a dropped message (bytes) that is stored, because it may contain the id.
_PREFIX: Final = 4 * 1024
# Valid codes in a close frame of a client (RFC 6455 section 7.4 and the IANA WebSocket close code registry).
_CODES: Final = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
_APPLICATION_CODES: Final = range(3000, 5000)


class Text(NamedTuple):
    """A complete text message in UTF-8."""

    text: bytes


class Ping(NamedTuple):
    """A ping, for which a pong with the same payload must be sent."""

    payload: bytes


class Pong(NamedTuple):
    """A pong."""


class Close(NamedTuple):
    """A close frame of the client, or a violation of the protocol: send this code and read no further. 0 is no code."""

    code: int


Event = Text | Ping | Pong | Close


class FrameReader:
    """Decode the frames of one client. A Close is the last event.

    A message may have `limit` bytes and nest `depth` levels. A message above these limits is dropped while it arrives, and
    reported as a `Text` with a fault (`incremental_json.fault_of`) and its first part. A message far above the limit of bytes
    causes a Close.
    """

    def __init__(self, limit: int, depth: int = 64) -> None:
        # The reason for a Close of the bridge. Empty before it, and after a close frame of the client.
        self.reason = ""
        # The reason in the close frame of the client.
        self.close_reason = ""
        self._limit = limit
        self._partial = b""
        # The opcode of the frame whose payload is incomplete, or -1.
        self._opcode = -1
        self._final = False
        # The mask, rotated to the next byte of the payload.
        self._mask = b""
        self._missing = 0
        self._control = bytearray()
        self._message = TextBuffer(depth)
        self._size = 0
        # Whether a fragmented message is incomplete, and the number of its fragments without a byte.
        self._fragmented = False
        self._empty = 0
        # Bytes of control frames since a time (seconds).
        self._second = 0.0
        self._controls = 0
        self._over = False

    @property
    def missing(self) -> int:
        """Return the bytes of the current frame that were not received yet."""
        return self._missing

    @property
    def dropping(self) -> bool:
        """Return whether the current message was refused and is dropped."""
        return self._message.fault is not None

    @property
    def held(self) -> int:
        """Return the stored bytes of the current message if it is large, otherwise 0."""
        size = len(self._message)
        return size if size > WORTH_CHECKING and not self.dropping else 0

    def refuse(self, fault: Rejection) -> None:
        """Drop the current message, and report it with this fault at its end."""
        self._message.refuse(fault)

    def read_message(self, data: bytes) -> bytes | None:
        """Return the text of a small message in one whole frame, if the next bytes are exactly that.

        Otherwise returns None, without effect. `feed` would return the text as its only event.
        """
        size = len(data) - _SHORT_HEADER
        if size < 0 or data[0] != _WHOLE_TEXT or self._partial or self._fragmented or self._opcode >= 0:
            return None
        short, start = data[1] - 0x80, _SHORT_HEADER
        if short > LARGEST_CONTROL:
            size, start = size - 2, start + 2
            if short != 126 or size <= LARGEST_CONTROL or size != int.from_bytes(data[2:4], "big"):
                return None
        elif short != size:
            return None
        # The size is below WORTH_CHECKING.
        if size > self._limit or self._over:
            return None
        text = masked(data[start:], data[start - 4 : start])
        return text if text.isascii() or _is_utf8(text) else None

    def feed(self, data: bytes, now: float) -> list[Event]:
        """Decode the next bytes of the client at a time (seconds)."""
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
        # Most messages are one small frame in one piece, which needs no buffer.
        return (
            self._opcode == TEXT
            and self._final
            and len(piece) == self._size <= WORTH_CHECKING
            and self._message.fault is None
        )

    def _finish_whole(self, piece: bytes, events: list[Event]) -> None:
        text = masked(piece, self._mask)
        self._opcode, self._size, self._fragmented = -1, 0, False
        self._empty = 0
        if text.isascii() or _is_utf8(text):
            events.append(Text(text))
        else:
            self._end(events, *_NOT_UTF8)

    def _take(self, piece: bytes) -> None:
        if self._opcode >= CLOSE:
            self._control += masked(piece, self._mask)
        elif not self.dropping or len(self._message) < _PREFIX:
            self._message.add(masked(piece, self._mask))
        turn = len(piece) % 4
        self._mask = self._mask[turn:] + self._mask[:turn]

    def _begin(self, header: bytes, length: int, now: float) -> "Fault | None":
        final, reserved, opcode = header[0] & 0x80, header[0] & 0x70, header[0] & 0x0F
        short = header[1] & 0x7F
        size = short if short <= LARGEST_CONTROL else int.from_bytes(header[2 : length - 4], "big")
        if reserved:
            return PROTOCOL_ERROR, "a frame has a reserved bit set, and no extension was negotiated"
        if not header[1] & 0x80:
            return PROTOCOL_ERROR, "a frame of a client must be masked"
        if (short == 126 and size <= LARGEST_CONTROL) or (short == 127 and not 0xFFFF < size < 1 << 63):
            return PROTOCOL_ERROR, "the length of a frame is not in its shortest form"
        if opcode >= CLOSE:
            fault = self._check_control(final, opcode, size, now)
        else:
            fault = self._check_data(opcode, size)
        self._opcode, self._final, self._missing = opcode, bool(final), size
        self._mask = header[length - 4 : length]
        return fault

    def _check_control(self, final: int, opcode: int, size: int, now: float) -> "Fault | None":
        if opcode > PONG:
            return PROTOCOL_ERROR, f"a frame has the unknown opcode {opcode}"
        if not final or size > LARGEST_CONTROL:
            return PROTOCOL_ERROR, f"a control frame is one frame of at most {LARGEST_CONTROL} bytes"
        if now - self._second >= 1:
            self._second, self._controls = now, 0
        self._controls += size + _SHORT_HEADER
        return _TOO_MANY_CONTROLS if self._controls > _CONTROL_BYTES else None

    def _check_data(self, opcode: int, size: int) -> "Fault | None":
        if opcode == BINARY:
            return UNSUPPORTED, "a binary frame: JSON-RPC messages are sent as text frames (opcode 1)"
        if opcode not in (CONTINUATION, TEXT):
            return PROTOCOL_ERROR, f"a frame has the unknown opcode {opcode}"
        if opcode == TEXT and self._fragmented:
            return PROTOCOL_ERROR, "a text frame inside of a fragmented message"
        if opcode == CONTINUATION and not self._fragmented:
            return PROTOCOL_ERROR, "a continuation frame without a message"
        self._fragmented = True
        self._size += size
        self._empty += not size
        if self._size > _FAR_OVER * self._limit:
            return TOO_BIG, f"a message of more than {_FAR_OVER} times the limit of its size"
        if self._size > self._limit:
            self._message.refuse(_too_long(self._limit))
        return _TOO_MANY_EMPTY if self._empty > _EMPTY_FRAGMENTS else None

    def _finish(self, events: list[Event]) -> None:
        opcode, self._opcode = self._opcode, -1
        if opcode >= CLOSE:
            self._finish_control(opcode, events)
        elif self._final:
            self._finish_message(events)
        else:
            # Refuse invalid UTF-8 before the end of the message. A fragment may end inside of a character.
            self._message.check()
            if self._is_garbled():
                self._end(events, *_NOT_UTF8)

    def _finish_control(self, opcode: int, events: list[Event]) -> None:
        payload = bytes(self._control)
        self._control.clear()
        if opcode == PING:
            events.append(Ping(payload))
        elif opcode == PONG:
            events.append(Pong())
        else:
            self._over = True
            code, self.reason = _answer_to_close(payload)
            self.close_reason = "" if self.reason else payload[2:].decode()
            events.append(Close(code))

    def _finish_message(self, events: list[Event]) -> None:
        text = self._message.take()
        self._size, self._fragmented, self._empty = 0, False, 0
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
_TOO_MANY_CONTROLS: Final = (POLICY, f"more than {_CONTROL_BYTES} bytes of control frames in a second")
_TOO_MANY_EMPTY: Final = POLICY, f"more than {_EMPTY_FRAGMENTS} empty fragments in a message"


def _too_long(limit: int) -> Rejection:
    return Rejection(413, INVALID_REQUEST, f"a message of more than {limit} bytes, the limit (limits.body)")


def _header_length(header: bytes) -> int:
    """Return the length of a header with these first bytes, including the mask; at least 2."""
    if len(header) < 2:
        return 2
    extended = {126: 2, 127: 8}.get(header[1] & 0x7F, 0)
    return 2 + extended + (4 if header[1] & 0x80 else 0)


def masked(payload: bytes, mask: bytes) -> bytes:
    """Return a payload with a mask applied, or without the mask that was applied (RFC 6455 section 5.3)."""
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
    """Return the code to send, and the reason if it is not the code of the client. No code is 0."""
    if not payload:
        return 0, ""
    if len(payload) == 1:
        return PROTOCOL_ERROR, "a close frame has half a code"
    code = int.from_bytes(payload[:2], "big")
    if code not in _CODES and code not in _APPLICATION_CODES:
        return PROTOCOL_ERROR, f"a close frame has the code {code}, which RFC 6455 section 7.4 does not allow"
    return (code, "") if _is_utf8(payload[2:]) else (NOT_UTF8, "the reason of a close frame is not UTF-8")


def text_frame(text: bytes) -> bytes:
    """Return a text message in one frame."""
    return _frame(TEXT, text)


def ping_frame() -> bytes:
    """Return a ping frame without payload."""
    return _frame(PING, b"")


def pong_frame(payload: bytes) -> bytes:
    return _frame(PONG, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame with at most 123 bytes of the reason. With 0 it has neither code nor reason."""
    cut = " ".join(reason.split()).encode(errors="replace")[: LARGEST_CONTROL - 2]
    # Drops a part of a character at the end.
    whole = cut.decode(errors="ignore").encode()
    return _frame(CLOSE, code.to_bytes(2, "big") + whole if code else b"")


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size <= LARGEST_CONTROL:
        return bytes((0x80 | opcode, size)) + payload
    if size <= 0xFFFF:
        return b"".join((bytes((0x80 | opcode, 126)), size.to_bytes(2, "big"), payload))
    return b"".join((bytes((0x80 | opcode, 127)), size.to_bytes(8, "big"), payload))


def upgrade_response(key: str, *, subprotocol: bool = True) -> bytes:
    """Return the head of the response to a handshake that `check_upgrade` accepted (RFC 6455 section 4.2.2).

    `subprotocol` is whether the client offered subprotocols: the response then selects `mcp`, otherwise none.
    """
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"%bSec-WebSocket-Accept: %b\r\n\r\n"
        % (b"Sec-WebSocket-Protocol: mcp\r\n" if subprotocol else b"", accept_value(key.encode("ascii")))
    )


def accept_value(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def check_upgrade(headers: dict[str, str], upgrade: str, version: int) -> None:
    """Raise Rejection for anything but a WebSocket opening handshake of version 13.

    A client may offer no subprotocol. A client that offers others but not `mcp` is refused with a text that names `mcp`, because
    it would close a connection without one of its own subprotocols (WHATWG WebSockets).
    """
    if version != 11:
        raise _bad("a WebSocket needs HTTP/1.1")
    if upgrade != "websocket":
        raise Rejection(
            426,
            INVALID_REQUEST,
            "this path needs a WebSocket handshake",
            headers=((b"Upgrade", b"websocket"), _VERSION),
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
