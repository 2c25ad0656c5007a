"""The client side of a WebSocket (RFC 6455): the opening handshake, and the frames of an untrusted server.

No extension is offered. Pure: bytes in, events out.
"""

import base64
import os
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from ....validators.ws_frames import (
    BINARY,
    CLOSE,
    LARGEST_CONTROL,
    NO_CODE,
    PING,
    PONG,
    TEXT,
    Ping,
    accept_value,
    masked,
)
from .bounded_lines import Collector, Oversize

SUBPROTOCOL: Final = "mcp"
# Of the head of the handshake response (bytes).
HEAD: Final = 64 * 1024
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |\r|\n|\Z)")


class BadPeer(Exception):
    """The peer violates the protocol. The text is a predicate, to be written after the name of the peer."""


class NotWebSocket(BadPeer):
    """The peer does not respond with HTTP/1.1."""


class ResponseHead(NamedTuple):
    """The head of the handshake response. Header names are in lower case."""

    status: int
    headers: dict[str, str]


class Closed(NamedTuple):
    """A close frame of the server."""

    code: int
    reason: str


Event = bytes | Oversize | Ping | Closed


def new_key() -> bytes:
    """Return a random Sec-WebSocket-Key."""
    return base64.b64encode(os.urandom(16))


def opening(host: str, path: str, key: bytes, token: str) -> bytes:
    """Return the head of the request that opens a WebSocket."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key.decode()}",
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
        *([f"Authorization: Bearer {token}"] if token else []),
    ]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def read_response(data: bytes) -> tuple[ResponseHead, bytes] | None:
    """Return the head of the response and the bytes after it, None as long as it is incomplete. Raises BadPeer."""
    # A TLS alert (RFC 8446 section 5.1).
    if data[:1] == b"\x15":
        raise BadPeer("requires TLS; use an https:// or wss:// URL")
    start = b"HTTP/1."
    if data[: len(start)] != start[: len(data)]:
        raise NotWebSocket("is not a WebSocket server")
    head, end, rest = data.partition(b"\r\n\r\n")
    if len(head) > HEAD:
        raise BadPeer(f"sent a response head of more than {HEAD} bytes")
    if not end:
        return None
    first, *lines = head.split(b"\r\n")
    status = _STATUS.match(first)
    if status is None:
        raise NotWebSocket("is not a WebSocket server")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return ResponseHead(int(status[1]), headers), rest


def check_opened(response: ResponseHead, key: bytes) -> None:
    """Raise BadPeer for a response of status 101 that does not complete the handshake (RFC 6455 section 4.1)."""
    expected = accept_value(key).decode()
    upgraded = response.headers.get("upgrade", "").lower() == "websocket"
    if not upgraded or response.headers.get("sec-websocket-accept") != expected:
        raise BadPeer("sent an invalid WebSocket handshake response")
    if response.headers.get("sec-websocket-extensions"):
        raise BadPeer("selected a WebSocket extension that was not offered")
    # A server that selects no subprotocol is accepted as well: MCP does not define one.
    chosen = response.headers.get("sec-websocket-protocol", SUBPROTOCOL)
    if chosen != SUBPROTOCOL:
        raise BadPeer(f"selected the subprotocol {chosen[:32]!r} instead of {SUBPROTOCOL!r}")


class ServerFrames:
    """Parses the frames of a server. A message of more than `limit` bytes is an Oversize."""

    def __init__(self, limit: int) -> None:
        self._buffer = bytearray()
        self._message = Collector(limit)
        # Of the frame whose payload is being read, else -1.
        self._opcode = -1
        self._final = self._begun = False
        self._missing = 0
        self._control = b""

    def feed(self, data: bytes | bytearray) -> Iterator[Event]:
        """Yield the events that the next bytes complete. Bytes after Closed are meaningless. Raises BadPeer."""
        self._buffer += data
        while self._opcode >= 0 or self._header():
            piece = self._buffer[: self._missing]
            del self._buffer[: len(piece)]
            self._missing -= len(piece)
            if self._opcode < CLOSE:
                self._message.add(piece)
            else:
                self._control += piece
            if self._missing:
                return
            yield from self._finish()

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
            raise BadPeer("sent an invalid WebSocket frame (RFC 6455 section 5)")

    def _finish(self) -> Iterator[Event]:
        opcode, self._opcode = self._opcode, -1
        if opcode < CLOSE:
            self._begun = not self._final
            if self._final:
                yield self._message.take()
            return
        payload, self._control = self._control, b""
        if opcode == PING:
            yield Ping(payload)
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NO_CODE
            yield Closed(code, payload[2:].decode(errors="replace"))


def text_frame(text: bytes, *, secret: bool) -> bytes:
    """Return a text frame. A `secret` mask protects proxies on the way from crafted payloads (RFC 6455 section 10.3)."""
    return _frame(TEXT, text, os.urandom(4) if secret else bytes(4))


def pong_frame(payload: bytes) -> bytes:
    """Return the response to a ping."""
    return _frame(PONG, payload, os.urandom(4))


def close_frame(code: int) -> bytes:
    return _frame(CLOSE, code.to_bytes(2, "big"), os.urandom(4))


def _frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    if size <= LARGEST_CONTROL:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size <= 0xFFFF:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    return b"".join((head, mask, masked(payload, mask) if any(mask) else payload))
