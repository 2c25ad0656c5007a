"""WebSocket frames of clients and of servers, compared with wsproto."""

import base64
import zlib

from wsproto import connection as wsproto
from wsproto import events as wsevents
from wsproto.utilities import ProtocolError

from mcpbridged.validators.incremental_json import fault_of
from mcpbridged.validators.rejection import Rejection
from mcpbridged.validators.ws_client import BadServer, Closed, Message, ServerFrames, text_header
from mcpbridged.validators.ws_frames import (
    Close,
    FrameReader,
    Ping,
    Pong,
    Text,
    check_upgrade,
    masked,
    text_frame,
)

from .target import Target, holds, pieces, same

_LIMIT = 1024
# Kinds of events after which none follows: a close frame or a refusal, here or of wsproto, and BadServer.
_ENDS = ("close", "error", "bad", "long form")
# In the text of wsproto about a size that is not in its shortest form.
_LONG_FORM = "would have sufficed"


def client(data: bytes) -> None:
    """Frames of a client: the same events in any pieces, as wsproto finds, and the frames that the bridge writes."""
    whole = _events_of_client([data])
    same("frames in pieces", whole, _events_of_client(pieces(data)))
    closes = [number for number, event in enumerate(whole, 1) if event[0] == "close"]
    holds("an event follows the close", closes in ([], [len(whole)]))
    small = FrameReader(_LIMIT).read_message(data)
    if small is not None:
        same("a message at once", [("text", small)], whole)
    if all(event[0] != "fault" for event in whole):
        _compare(wsproto.ConnectionType.SERVER, data, whole)
    _round_trip_of_client(data)


def _events_of_client(parts) -> list[tuple]:
    reader = FrameReader(_LIMIT)
    found: list[tuple] = []
    for part in parts:
        for event in reader.feed(part, 0.0):
            if isinstance(event, Text):
                fault = fault_of(event.text)
                found.append(
                    ("text", bytes(event.text)) if fault is None else ("fault", fault.status, fault.text)
                )
            elif isinstance(event, Close):
                found.append(("close", event.code, reader.reason))
                return found
            else:
                found.append(_plain(event))
    return found


def _plain(event: Ping | Pong) -> tuple:
    return ("ping", event.payload) if isinstance(event, Ping) else ("pong",)


def _compare(side: wsproto.ConnectionType, data: bytes, found: list[tuple]) -> None:
    """Compare the events with those of wsproto, up to the first event that ends one of the two."""
    other = _wsproto_events(side, data)
    for one, two in zip(found, other, strict=False):
        if one[0] in _ENDS:
            return
        # The bridge accepts a size of a server that is not in its shortest form.
        if two[0] == "long form" and side is wsproto.ConnectionType.CLIENT:
            return
        if two[0] in _ENDS:
            # The bridge checks the text of a server when it is read as JSON.
            holds(f"only wsproto refuses {one!r:.200}", one[0] == "text" and not _is_utf8(one[1]))
            return
        same("event", one, two)
    # wsproto refuses a frame before its header is complete.
    rest = other[len(found) :]
    holds(f"wsproto finds more: {rest!r:.200}", not rest or rest[0][0] in _ENDS or _has_ended(found))
    rest = found[len(other) :]
    holds(f"wsproto finds less: {rest!r:.200}", not rest or rest[0][0] in _ENDS)


def _has_ended(found: list[tuple]) -> bool:
    return bool(found) and found[-1][0] in _ENDS


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _wsproto_events(side: wsproto.ConnectionType, data: bytes) -> list[tuple]:
    connection = wsproto.Connection(side)
    connection.receive_data(data)
    found: list[tuple] = []
    message: list[bytes] = []
    try:
        for event in connection.events():
            if isinstance(event, wsevents.TextMessage | wsevents.BytesMessage):
                text = event.data
                message.append(text.encode() if isinstance(text, str) else bytes(text))
                if event.message_finished:
                    found.append(("text", b"".join(message)))
                    message.clear()
            elif isinstance(event, wsevents.Ping):
                found.append(("ping", bytes(event.payload)))
            elif isinstance(event, wsevents.Pong):
                found.append(("pong",))
            elif isinstance(event, wsevents.CloseConnection):
                # A frame that wsproto refuses, or a close frame.
                is_refused = event.reason is not None and _LONG_FORM in event.reason
                found.append(("long form",) if is_refused else ("close",))
                break
    except ProtocolError:
        found.append(("error",))
    return found


def _round_trip_of_client(data: bytes) -> None:
    """What a client writes is read again, if it is UTF-8 and within the limit."""
    mask = zlib.crc32(data).to_bytes(4, "big")
    frame = text_header(len(data), mask) + masked(data, mask)
    events = FrameReader(1 << 20).feed(frame, 0.0)
    try:
        data.decode()
    except UnicodeDecodeError:
        same("bytes that are not UTF-8", events, [Close(1007)])
    else:
        same("round trip", events, [Text(data)])


def _masked_frame(opcode: int, payload: bytes, final: int = 0x80) -> bytes:
    header = text_header(len(payload), b"mask")
    return bytes([final | opcode]) + header[1:] + masked(payload, b"mask")


def client_seeds():
    yield _masked_frame(1, b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
    yield (
        _masked_frame(1, b"a", 0)
        + _masked_frame(9, b"p")
        + _masked_frame(0, "ä".encode()[:1], 0)
        + _masked_frame(0, "ä".encode()[1:])
    )
    yield _masked_frame(10, b"") + _masked_frame(8, b"\x03\xe8bye")
    yield _masked_frame(1, b"x" * 200) + _masked_frame(1, b"x" * 1100) + _masked_frame(1, b"ok")
    yield _masked_frame(8, b"") + _masked_frame(1, b"late")
    yield _masked_frame(8, b"\x03\xed")
    yield _masked_frame(8, b"x")
    yield _masked_frame(2, b"binary")
    yield _masked_frame(3, b"")
    yield _masked_frame(1, b"\xff\xfe")
    yield _masked_frame(0, b"no message")
    yield _masked_frame(9, b"p" * 126)
    yield bytes([0xC1, 0x80]) + b"mask"
    yield bytes([0x81, 0x01]) + b"x"
    yield bytes([0x81, 0xFF]) + b"\xff" * 8 + b"mask"
    yield _masked_frame(1, b"", 0) + _masked_frame(0, b"", 0) * 1030
    yield bytes([0x81, 0xFE, 0, 1]) + b"maskx"


def server(data: bytes) -> None:
    """Frames of a server: the same events in any pieces, as wsproto finds, and the frames that the bridge writes."""
    for limit in (_LIMIT, 1 << 20):
        whole = _events_of_server([data], limit)
        split = _events_of_server(pieces(data), limit)
        # How many bytes of a message over the limit are kept depends on the pieces.
        same("frames in pieces", _without_cuts(whole), _without_cuts(split))
    _compare(
        wsproto.ConnectionType.CLIENT, data, [event[:2] if event[0] == "text" else event for event in whole]
    )
    frames = ServerFrames(1 << 20)
    same("round trip", list(frames.feed(text_frame(data))), [Message(data)])


def _events_of_server(parts, limit: int) -> list[tuple]:
    frames = ServerFrames(limit)
    found: list[tuple] = []
    try:
        for part in parts:
            for event in frames.feed(part):
                if isinstance(event, Message):
                    found.append(("text", event.text, event.dropped))
                    if event.dropped:
                        holds("a cut message is too long", len(event.text) <= max(limit, 2048))
                elif isinstance(event, Closed):
                    holds("the text of a close has control characters", event.describe().isprintable())
                    found.append(("close", event.code, event.reason))
                    return found
                else:
                    found.append(_plain(event))
    except BadServer:
        found.append(("bad",))
    return found


def _without_cuts(events: list[tuple]) -> list[tuple]:
    return [("cut",) if event[0] == "text" and event[2] else event for event in events]


def server_seeds():
    yield text_frame(b"{}") + text_frame(b"x" * 130)
    yield b"\x01\x01a\x89\x01p\x80\x01b"
    yield b"\x82\x02\xff\xfe\x8a\x00"
    yield b"\x88\x05\x03\xe9\x1b[1"
    yield b"\x88\x00"
    yield b"\x88\x01x"
    yield text_frame(b"y" * 1100) + text_frame(b"z")
    yield b"\x01\x7e\x05\x00" + b"a" * 1280 + b"\x80\x7e\x05\x00" + b"b" * 1280
    yield b"\xc1\x00"
    yield b"\x81\x80mask"
    yield b"\x09\x00"
    yield b"\x80\x00"
    yield b"\x81\x7f" + b"\xff" * 8


def upgrade(data: bytes) -> None:
    """The headers of an opening handshake: one of the documented refusals, or a key of 16 bytes in base64."""
    names = (
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-protocol",
        "upgrade",
        "content-length",
    )
    values = data.decode("latin-1").split("\n")
    headers = {name: value for name, value in zip(names, values, strict=False) if value}
    try:
        check_upgrade(headers, headers.get("upgrade", ""), 11)
    except Rejection as rejection:
        holds(f"status {rejection.status}", rejection.status in (400, 426))
        holds("an error text repeats control characters", rejection.text.isprintable())
        return
    same("key", len(base64.b64decode(headers["sec-websocket-key"], validate=True)), 16)
    same(
        "canonical key",
        base64.b64encode(base64.b64decode(headers["sec-websocket-key"])).decode(),
        headers["sec-websocket-key"],
    )


def upgrade_seeds():
    yield b"dGhlIHNhbXBsZSBub25jZQ==\n13\n\nwebsocket"
    yield b"dGhlIHNhbXBsZSBub25jZQ==\n13\nchat, mcp\nwebsocket\n0"
    yield b"dGhlIHNhbXBsZSBub25jZR==\n13\nchat\nwebsocket\n5"
    yield b"\n8\n\nh2c"


TARGETS = (
    Target("ws_client_frames", client, client_seeds),
    Target("ws_server_frames", server, server_seeds),
    Target("ws_upgrade", upgrade, upgrade_seeds, 512),
)
