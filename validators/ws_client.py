"""The client side of a WebSocket (RFC 6455): the check of the opening handshake, and the frames of an untrusted server.

No extension is offered. Pure: bytes in, events out; only keys and masks are random.
"""

import base64
import os
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from .ws_frames import (
    BINARY,
    CLOSE,
    GOING_AWAY,
    INTERNAL,
    LARGEST_CONTROL,
    NO_CODE,
    NORMAL,
    NOT_UTF8,
    PING,
    POLICY,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    TRY_LATER,
    UNSUPPORTED,
    Ping,
    Pong,
    accept_value,
    masked,
)

SUBPROTOCOL: Final = "mcp"
# How much of the beginning and of the end of a message over the limit is kept (bytes).
_EDGE: Final = 1024
_INVALID_FRAME: Final = "sent an invalid WebSocket frame (RFC 6455 section 5)"
# Meanings of close codes (RFC 6455 section 7.4.1, and the IANA WebSocket close code registry).
_MEANINGS: Final = {
    NORMAL: "normal closure",
    GOING_AWAY: "going away",
    PROTOCOL_ERROR: "protocol error",
    UNSUPPORTED: "unsupported data",
    NO_CODE: "no code",
    NOT_UTF8: "invalid data",
    POLICY: "policy violation",
    TOO_BIG: "message too big",
    INTERNAL: "internal error",
    1012: "service restart",
    TRY_LATER: "try again later",
    1014: "bad gateway",
}


class BadServer(Exception):
    """The server violates the protocol. The text is a predicate, to be written after its name."""


class Message(NamedTuple):
    """A message. `dropped` is 0, or the number of bytes that are missing between its beginning and its end."""

    text: bytes
    dropped: int = 0


class Closed(NamedTuple):
    """A close frame of the server."""

    code: int
    reason: str

    def describe(self) -> str:
        """Return a predicate for the server."""
        meaning = _MEANINGS.get(self.code)
        shown = f"{self.code} ({meaning})" if meaning else f"{self.code}"
        reason = " ".join(
            "".join(character if character.isprintable() else " " for character in self.reason).split()
        )
        return f"closed the WebSocket with code {shown}{reason and ': '}{reason}"


Event = Message | Ping | Pong | Closed


def new_key() -> bytes:
    """Return a random Sec-WebSocket-Key."""
    return base64.b64encode(os.urandom(16))


def check_opened(headers: Mapping[str, str], key: bytes) -> None:
    """Check a response of status 101 (RFC 6455 section 4.1). Names of headers are in lower case. Raises BadServer."""
    expected = accept_value(key).decode()
    upgraded = headers.get("upgrade", "").lower() == "websocket"
    if not upgraded or headers.get("sec-websocket-accept") != expected:
        raise BadServer("sent an invalid response to the WebSocket handshake")
    if headers.get("sec-websocket-extensions"):
        raise BadServer("selected a WebSocket extension that was not offered")
    # A server that selects no subprotocol is accepted as well: MCP does not define one.
    chosen = headers.get("sec-websocket-protocol", SUBPROTOCOL)
    if chosen != SUBPROTOCOL:
        raise BadServer(f"selected the subprotocol {chosen[:32]!r} instead of {SUBPROTOCOL!r}")


class ServerFrames:
    """Parses the frames of a server. Of a message of more than `limit` bytes only the edges are kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._message = bytearray()
        self._dropped = 0
        # Of the frame whose payload is being read, else -1.
        self._opcode = -1
        self._final = self._begun = False
        self._missing = 0
        self._control = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that the next bytes complete. Bytes after Closed are meaningless. Raises BadServer."""
        self._buffer += data
        while self._opcode >= 0 or self._header():
            piece = self._buffer[: self._missing]
            del self._buffer[: len(piece)]
            self._missing -= len(piece)
            if self._opcode < CLOSE:
                self._collect(piece)
            else:
                self._control += piece
            if self._missing:
                return
            event = self._finish()
            if event is not None:
                yield event

    def _header(self) -> bool:
        """Read the header of a frame, and return whether it is complete."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        size = buffer[1] & 0x7F
        extended = {126: 2, 127: 8}.get(size, 0)
        if len(buffer) < 2 + extended:
            return False
        if extended:
            size = int.from_bytes(buffer[2 : 2 + extended], "big")
        # At most 63 bits (RFC 6455 section 5.2). Clients in use accept a size that is not in its shortest form.
        if size >= 1 << 63:
            raise BadServer(_INVALID_FRAME)
        self._check(buffer[0], buffer[1], size)
        self._final, self._missing = bool(buffer[0] & 0x80), size
        self._opcode = buffer[0] & 0x0F
        del buffer[: 2 + extended]
        return True

    def _check(self, first: int, second: int, size: int) -> None:
        opcode = first & 0x0F
        known = opcode in (CLOSE, PING, PONG) if opcode >= CLOSE else opcode <= BINARY
        in_turn = opcode >= CLOSE or (opcode == 0) == self._begun
        small = opcode < CLOSE or (size <= LARGEST_CONTROL and first & 0x80)
        if first & 0x70 or second & 0x80 or not (known and in_turn and small):
            raise BadServer(_INVALID_FRAME)

    def _collect(self, piece: bytearray) -> None:
        self._message += piece
        size = len(self._message)
        if size + self._dropped > self._limit:
            del self._message[_EDGE:-_EDGE]
            # At least one, because a message below the edges may be over the limit as well.
            self._dropped += max(size - len(self._message), 1)

    def _finish(self) -> Event | None:
        opcode, self._opcode = self._opcode, -1
        if opcode < CLOSE:
            self._begun = not self._final
            return self._take() if self._final else None
        payload, self._control = self._control, b""
        if opcode == PING:
            return Ping(payload)
        if opcode == PONG:
            return Pong()
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NO_CODE
        return Closed(code, payload[2:].decode(errors="replace"))

    def _take(self) -> Message:
        message = Message(bytes(self._message), self._dropped)
        self._message = bytearray()
        self._dropped = 0
        return message


def text_header(size: int, mask: bytes) -> bytes:
    """Return the header of a text frame, whose payload (bytes) must follow with the mask applied."""
    return _header(TEXT, size, mask)


def control_frame(opcode: int, payload: bytes) -> bytes:
    """Return a ping, a pong or a close frame."""
    mask = os.urandom(4)
    return _header(opcode, len(payload), mask) + masked(payload, mask)


def close_frame(code: int) -> bytes:
    """Return a close frame."""
    return control_frame(CLOSE, code.to_bytes(2, "big"))


def _header(opcode: int, size: int, mask: bytes) -> bytes:
    if size <= LARGEST_CONTROL:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size <= 0xFFFF:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    return head + mask
