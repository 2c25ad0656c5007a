"""Limit the number of frames of each kind that an HTTP/2 client sends (RFC 9113 section 10.5), before they are parsed.

A frame costs far more to handle than to send. Therefore received bytes are divided into pieces of a few frames, between
which other tasks run. Kinds of frames that no client needs in large numbers have a burst and a rate. Only frame headers
are decoded.
"""

from typing import Final

import attrs

# The client connection preface (RFC 9113 section 3.4), and the length of a frame header.
_MAGIC: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_PREFACE: Final = len(_MAGIC)
_HEADER: Final = 9
# Frames in one piece.
_FRAMES: Final = 16
_FEW: Final = 2
# A DATA frame below this size (bytes) that does not end its stream costs more than it carries.
_TINY: Final = 32
# WINDOW_UPDATE frames that a client may send for each piece of data that was sent to it.
_UPDATES_FOR_A_SEND: Final = 4

_DATA, _HEADERS, _RST_STREAM, _WINDOW_UPDATE, _CONTINUATION = 0x0, 0x1, 0x3, 0x8, 0x9
_END_STREAM, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x4, 0x8, 0x20
# A stream identifier has 31 bits.
_STREAM: Final = 0x7FFFFFFF


@attrs.frozen
class Allowance:
    """The number of frames at once (`burst`), and of frames in each second after that (`rate`)."""

    name: str
    burst: float
    rate: float


# By frame type. HEADERS and DATA are bounded by the number of streams and by flow control.
_ALLOWANCES: Final = {
    _DATA: Allowance("tiny_data", 256, 64),
    0x2: Allowance("priority", 256, 16),
    _RST_STREAM: Allowance("resets", 256, 64),
    0x4: Allowance("settings", 32, 2),
    0x5: Allowance("push_promise", 1, 0),
    0x6: Allowance("pings", 64, 8),
    0x7: Allowance("goaway", 8, 1),
    _WINDOW_UPDATE: Allowance("window_updates", 512, 64),
    _CONTINUATION: Allowance("continuations", 64, 8),
}
_UNKNOWN: Final = Allowance("unknown_frames", 256, 64)
# Frames of any kind before the first request with a credential.
_UNAUTHENTICATED: Final = Allowance("frames_without_credential", 128, 16)


class FrameFlood(Exception):
    """A client sent more frames of one kind (`name`) than its allowance."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def first_header_block(data: bytes) -> tuple[int, bytes] | None:
    """Return stream and encoded header block of the first request in the first bytes of a client.

    Returns None without a request, and for an incomplete request or a request in several frames.
    """
    if not data.startswith(_MAGIC):
        return None
    at = _PREFACE
    while at + _HEADER <= len(data):
        length, kind, flags = int.from_bytes(data[at : at + 3], "big"), data[at + 3], data[at + 4]
        stream = int.from_bytes(data[at + 5 : at + _HEADER], "big") & _STREAM
        payload = data[at + _HEADER : at + _HEADER + length]
        if kind == _HEADERS:
            whole = len(payload) == length and bool(flags & _END_HEADERS)
            return (stream, _without_padding(payload, flags)) if whole else None
        at += _HEADER + length
    return None


def _without_padding(payload: bytes, flags: int) -> bytes:
    if flags & _PADDED:
        payload = payload[1 : len(payload) - payload[0]] if payload else b""
    return payload[5:] if flags & _PRIORITY else payload


class FrameMeter:
    """Divide the bytes of one client into pieces of a few frames, and count the frames.

    The owner sets `admitted` after the first request with a credential. `heads` counts complete request heads,
    `last_stream` is the highest stream that the client opened.
    """

    def __init__(self) -> None:
        self.admitted = False
        self.heads = 0
        self.last_stream = 0
        # Bytes of the preface or of the payload of the current frame that were not received yet.
        self._missing = _PREFACE
        self._header = b""
        # Whether a request head is complete with the current frame.
        self._ends_head = False
        # Name of an allowance: frames left, and the time of that number (seconds). Written by `_spend`, never removed.
        self._left: dict[str, tuple[float, float]] = {}
        self._updates = 0

    def sent(self) -> None:
        """Count a piece of data that was sent, for which the client may update its windows."""
        self._updates = min(self._updates + _UPDATES_FOR_A_SEND, 4096)

    def cut(self, data: bytes, start: int, now: float, *, few: bool = False) -> int:
        """Return the end of the piece that begins at `start`: some frames, or one request before the first admission.

        `now` is a time (seconds). With `few` the piece has as many frames as a short request. Raises FrameFlood.
        """
        most = _FEW if few else _FRAMES
        end, frames, heads = start, 0, self.heads
        while end < len(data):
            if self._missing:
                step = min(self._missing, len(data) - end)
                end += step
                self._missing -= step
                self._finish()
                continue
            if frames >= most or (self.heads > heads and not self.admitted):
                break
            part = data[end : end + _HEADER - len(self._header)]
            self._header += part
            end += len(part)
            if len(self._header) == _HEADER:
                self._begin(now)
                frames += 1
        return end

    def _begin(self, now: float) -> None:
        header, self._header = self._header, b""
        length, kind, flags = int.from_bytes(header[:3], "big"), header[3], header[4]
        if not self.admitted:
            self._spend(_UNAUTHENTICATED, now)
        if kind == _HEADERS:
            self.last_stream = max(self.last_stream, int.from_bytes(header[5:], "big") & _STREAM)
        elif kind == _DATA:
            if length < _TINY and not flags & _END_STREAM:
                self._spend(_ALLOWANCES[_DATA], now)
        elif kind == _WINDOW_UPDATE and self._updates:
            self._updates -= 1
        else:
            self._spend(_ALLOWANCES.get(kind, _UNKNOWN), now)
        self._missing = length
        self._ends_head = kind in (_HEADERS, _CONTINUATION) and bool(flags & _END_HEADERS)
        self._finish()

    def _finish(self) -> None:
        if self._ends_head and not self._missing:
            self._ends_head = False
            self.heads += 1

    def _spend(self, allowance: Allowance, now: float) -> None:
        left, since = self._left.get(allowance.name, (allowance.burst, now))
        left = min(allowance.burst, left + (now - since) * allowance.rate) - 1
        if left < 0:
            raise FrameFlood(allowance.name)
        self._left[allowance.name] = left, now


def answer(stream: int, block: bytes, body: bytes) -> bytes:
    """Return the first frames of a server with the response to one request: settings, a header block and an optional body."""
    settings = _frame(0x4, 0, 0, b"") + _frame(0x4, 0x1, 0, b"")
    last = 0 if body else _END_STREAM
    head = _frame(_HEADERS, _END_HEADERS | last, stream, block)
    return settings + head + (_frame(_DATA, _END_STREAM, stream, body) if body else b"")


def enhance_your_calm(last_stream: int) -> bytes:
    """Return a GOAWAY frame with the error code ENHANCE_YOUR_CALM (RFC 9113 sections 6.8 and 7)."""
    return _goaway_frame(last_stream, 0x0B)


def go_away(last_stream: int) -> bytes:
    """Return a GOAWAY frame with the error code NO_ERROR."""
    return _goaway_frame(last_stream, 0)


def _goaway_frame(last_stream: int, code: int) -> bytes:
    return _frame(0x7, 0, 0, last_stream.to_bytes(4, "big") + code.to_bytes(4, "big"))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
