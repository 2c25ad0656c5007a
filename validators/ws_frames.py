"""WebSocket frame headers checked before the library sees a byte of them (RFC 6455 section 5, attacks W04-W08).

The library behind is strict about most of this, but allocates before it refuses a size and never tires of empty
fragments or pings. Only headers are looked at here; payloads pass untouched.
"""

from typing import Final

import attrs

from .rejection import INVALID_REQUEST, Rejection

PROTOCOL_ERROR: Final = 1002
UNSUPPORTED: Final = 1003
POLICY: Final = 1008
TOO_BIG: Final = 1009

_CONTINUATION: Final = 0
_TEXT: Final = 1
_BINARY: Final = 2
_CLOSE: Final = 8
_PONG: Final = 10
# More fragments than this serve no honest purpose for a message of a few MiB.
_FRAGMENTS: Final = 1024
# Control frames allowed in one second.
_CONTROLS: Final = 20
_SMALL: Final = 125
_LARGEST_MASKED_HEADER: Final = 14


@attrs.define
class FrameGuard:
    """Follows the frames of one client. `feed` answers 0, or the close code for the first frame that breaks a rule."""

    limit: int
    _skip: int = 0
    _partial: bytes = b""
    _message: int = 0
    _fragments: int = 0
    _second: float = 0.0
    _controls: int = 0

    def feed(self, data: bytes, now: float) -> int:
        """Look at the next bytes from the client, at a time in seconds."""
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            header = self._partial + data[at : at + _LARGEST_MASKED_HEADER - len(self._partial)]
            length = _header_length(header)
            if length > len(header):
                self._partial = header
                return 0
            at += length - len(self._partial)
            self._partial = b""
            code = self._check(header, length, now)
            if code:
                return code
        return 0

    def _check(self, header: bytes, length: int, now: float) -> int:
        final, reserved, opcode = header[0] & 0x80, header[0] & 0x70, header[0] & 0x0F
        short = header[1] & 0x7F
        payload = short if short <= _SMALL else int.from_bytes(header[2 : length - 4], "big")
        if reserved or not header[1] & 0x80:
            return PROTOCOL_ERROR
        if (short == 126 and payload <= _SMALL) or (short == 127 and not 0xFFFF < payload < 1 << 63):
            return PROTOCOL_ERROR
        if opcode >= _CLOSE:
            code = self._check_control(final, opcode, payload, now)
        else:
            code = self._check_data(final, opcode, payload)
        self._skip = payload
        return code

    def _check_control(self, final: int, opcode: int, payload: int, now: float) -> int:
        if not final or opcode > _PONG or payload > _SMALL:
            return PROTOCOL_ERROR
        if now - self._second >= 1:
            self._second, self._controls = now, 0
        self._controls += 1
        return POLICY if self._controls > _CONTROLS else 0

    def _check_data(self, final: int, opcode: int, payload: int) -> int:
        if opcode == _BINARY:
            return UNSUPPORTED
        if opcode not in (_CONTINUATION, _TEXT) or (opcode == _CONTINUATION) != bool(self._fragments):
            return PROTOCOL_ERROR
        self._message += payload
        self._fragments += 1
        if self._message > self.limit:
            return TOO_BIG
        if self._fragments > _FRAGMENTS:
            return POLICY
        if final:
            self._message = self._fragments = 0
        return 0


def _header_length(header: bytes) -> int:
    """How long the header that begins like this is, counting a mask; at least 2."""
    if len(header) < 2:
        return 2
    extended = {126: 2, 127: 8}.get(header[1] & 0x7F, 0)
    return 2 + extended + (4 if header[1] & 0x80 else 0)


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
