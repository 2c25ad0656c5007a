import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage
from wsproto.events import Ping as ProtocolPing

from mcpbridged.validators.ws_client import (
    BadServer,
    Closed,
    Message,
    ServerFrames,
    check_opened,
    close_frame,
    control_frame,
    new_key,
    text_header,
)
from mcpbridged.validators.ws_frames import PING, PONG, Ping, Pong, accept_value, masked

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def frame(opcode, payload=b"", *, final=True, first=0, second=0):
    size = len(payload)
    if size < 126:
        length = bytes((size | second,))
    elif size < 65536:
        length = bytes((126 | second,)) + size.to_bytes(2, "big")
    else:
        length = bytes((127 | second,)) + size.to_bytes(8, "big")
    return bytes(((0x80 if final else 0) | opcode | first,)) + length + payload


def events_of(*pieces, limit=100_000):
    frames = ServerFrames(limit)
    return [event for piece in pieces for event in frames.feed(piece)]


# ---- the handshake


@pytest.mark.parametrize("protocol", [{}, {"sec-websocket-protocol": "mcp"}])
def test_a_server_need_not_select_the_subprotocol(protocol):
    check_opened({"upgrade": "WebSocket", "sec-websocket-accept": ACCEPT, **protocol}, KEY)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"upgrade": "h2c"}, "invalid response"),
        ({"upgrade": ""}, "invalid response"),
        ({"sec-websocket-accept": "x"}, "invalid response"),
        ({"sec-websocket-extensions": "permessage-deflate"}, "extension"),
        ({"sec-websocket-protocol": "other"}, "subprotocol 'other' instead of 'mcp'"),
    ],
)
def test_a_handshake_that_was_not_requested_is_refused(changed, reason):
    with pytest.raises(BadServer, match=reason):
        check_opened({"upgrade": "websocket", "sec-websocket-accept": ACCEPT, **changed}, KEY)


def test_keys_are_random():
    assert len({new_key() for _ in range(10)}) == 10
    assert len(new_key()) == 24
    assert accept_value(KEY) == ACCEPT.encode()


# ---- frames of the server

STREAM = (
    frame(1, b"{}")
    + frame(9, b"a")
    + frame(1, b"[1,", final=False)
    + frame(10, b"pong")
    + frame(0, b"", final=False)
    + frame(9)
    + frame(0, b"2]")
    + frame(2, "ü".encode())
    + frame(1, b"x" * 125)
    + frame(1, b"x" * 126)
    + frame(1, b"x" * 70_000)
    + frame(1)
    + frame(8, b"\x03\xf1too \x1b[2J\nlarge")
)
EVENTS = [
    Message(b"{}"),
    Ping(b"a"),
    Pong(),
    Ping(b""),
    Message(b"[1,2]"),
    Message("ü".encode()),
    Message(b"x" * 125),
    Message(b"x" * 126),
    Message(b"x" * 70_000),
    Message(b""),
    Closed(1009, "too \x1b[2J\nlarge"),
]


def test_frames_are_read_in_any_pieces():
    assert events_of(STREAM) == EVENTS
    assert events_of(*(STREAM[at : at + 1] for at in range(len(STREAM)))) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=20).map(sorted))
def test_the_pieces_of_frames_do_not_matter(cuts):
    edges = [0, *cuts, len(STREAM)]
    assert events_of(*(STREAM[a:b] for a, b in itertools.pairwise(edges))) == EVENTS


@pytest.mark.parametrize(
    "data",
    [
        frame(3, b"x"),
        frame(7, b"x"),
        frame(11, b"x"),
        frame(1, b"x", first=0x40),
        frame(1, b"x", second=0x80),
        frame(0, b"x"),
        frame(1, b"x", final=False) + frame(1, b"y"),
        frame(9, b"x", final=False),
        frame(9, b"x" * 126),
        frame(8, b"x" * 126),
        # A size of 64 bits (RFC 6455 section 5.2).
        b"\x81\x7f" + (1 << 63).to_bytes(8, "big"),
    ],
)
def test_a_frame_against_the_protocol_is_refused(data):
    with pytest.raises(BadServer, match="RFC 6455"):
        events_of(data)


@pytest.mark.parametrize("pieces", [1, 7, 50])
def test_a_message_over_the_limit_keeps_its_edges(pieces):
    text = bytes(range(256)) * 200
    size = len(text) // pieces + 1
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    data = b"".join(frame(0 if at else 1, part, final=at == len(parts) - 1) for at, part in enumerate(parts))
    over, following = events_of(data[:1000], data[1000:] + frame(1, b"{}"), limit=5000)
    assert over.text.startswith(text[:1000])
    assert over.text.endswith(text[-1000:])
    assert over.dropped + len(over.text) == len(text)
    assert len(over.text) <= 5000
    assert following == Message(b"{}")


def test_a_message_of_the_limit_is_complete():
    assert events_of(frame(1, b"abc"), limit=3) == [Message(b"abc")]
    assert events_of(frame(1, b"abcd"), limit=3) == [Message(b"abcd", 1)]


def test_a_large_message_holds_little_memory():
    frames = ServerFrames(5000)
    assert not list(frames.feed(b"\x81\x7f" + (2**40).to_bytes(8, "big")))
    for _ in range(1000):
        assert not list(frames.feed(b"x" * 16384))
    assert len(frames._message) + len(frames._buffer) < 25_000


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", "closed the WebSocket with code 1005 (no code)"),
        (b"\x03", "closed the WebSocket with code 1005 (no code)"),
        (b"\x03\xe8", "closed the WebSocket with code 1000 (normal closure)"),
        (
            b"\x03\xf4down \x1b[2J\r\nsoon\xff",
            "closed the WebSocket with code 1012 (service restart): down [2J soon\ufffd",
        ),
        (b"\x03\xf5", "closed the WebSocket with code 1013 (try again later)"),
        (b"\x03\xf6", "closed the WebSocket with code 1014 (bad gateway)"),
        (b"\x0f\xa0x", "closed the WebSocket with code 4000: x"),
    ],
)
def test_a_close_frame_is_described(payload, text):
    (closed,) = events_of(frame(8, payload))
    assert closed.describe() == text


# ---- frames of the client


def test_a_server_reads_what_the_client_writes():
    server = Connection(ConnectionType.SERVER)
    for size in (0, 1, 125, 126, 65535, 65536, 200_000):
        text = b"x" * size
        mask = b"\x01\x80\xff\x00"
        server.receive_data(text_header(size, mask) + masked(text, mask))
        assert (
            b"".join(event.data.encode() for event in server.events() if isinstance(event, TextMessage))
            == text
        )
    server.receive_data(control_frame(PING, b"a") + control_frame(PONG, b"") + close_frame(1000))
    first, _, last = server.events()
    assert isinstance(first, ProtocolPing)
    assert bytes(first.payload) == b"a"
    assert isinstance(last, CloseConnection)
    assert last.code == 1000
