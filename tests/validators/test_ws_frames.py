"""WebSocket frames and the opening handshake (RFC 6455)."""

import tracemalloc

import pytest
import wsproto
import wsproto.events
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.validators.incremental_json import depth_ok, fault_of
from mcpbridged.validators.rejection import Rejection
from mcpbridged.validators.ws_frames import (
    NOT_UTF8,
    POLICY,
    PROTOCOL_ERROR,
    TOO_BIG,
    UNSUPPORTED,
    Close,
    FrameReader,
    Ping,
    Pong,
    Text,
    check_upgrade,
    close_frame,
    ping_frame,
    pong_frame,
    text_frame,
    upgrade_response,
)

MASK = b"\1\2\3\4"


def frame(opcode=1, payload=b"hi", *, final=True, masked=True, reserved=0, length=None, wide=0):
    size = len(payload) if length is None else length
    first = (0x80 if final else 0) | reserved | opcode
    if wide == 8 or size > 0xFFFF:
        head = bytes([first, 127 | (0x80 if masked else 0)]) + size.to_bytes(8, "big")
    elif wide == 2 or size > 125:
        head = bytes([first, 126 | (0x80 if masked else 0)]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, size | (0x80 if masked else 0)])
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[place % 4] for place, byte in enumerate(payload))


def read(*pieces, limit=100_000, now=0.0):
    reader = FrameReader(limit)
    return [event for piece in pieces for event in reader.feed(piece, now)]


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (frame(), [Text(b"hi")]),
        (frame(payload=b""), [Text(b"")]),
        (frame(payload=b"x" * 126), [Text(b"x" * 126)]),
        (frame(payload=b"x" * 70_000), [Text(b"x" * 70_000)]),
        (frame(payload="é\u2028".encode()), [Text("é\u2028".encode())]),
        (frame(final=False) + frame(0, b" there"), [Text(b"hi there")]),
        (
            frame(final=False) + frame(9, b"ping") + frame(0, b"!") + frame(),
            [Ping(b"ping"), Text(b"hi!"), Text(b"hi")],
        ),
        (frame(final=False, payload=b"\xc3") + frame(0, b"\xa9"), [Text("é".encode())]),
        (frame(10), [Pong()]),
        (frame(8, b""), [Close(0)]),
        (frame(8, b"\x03\xe8"), [Close(1000)]),
        (frame(8, b"\x0b\xb8why"), [Close(3000)]),
        (frame(8, b"\x13\x87"), [Close(4999)]),
        (frame(8, b"\x03\xe9") + frame(), [Close(1001)]),
    ],
)
def test_valid_input_is_decoded(data, events):
    assert read(data) == events
    assert read(*(data[at : at + 1] for at in range(min(len(data), 2000))), data[2000:]) == events


@pytest.mark.parametrize(
    ("payload", "given"), [(b"", ""), (b"\x03\xe8", ""), (b"\x03\xe8bye", "bye"), (b"\x03\xe8\xff", "")]
)
def test_the_close_reason_of_the_client_is_kept(payload, given):
    reader = FrameReader(100)
    reader.feed(frame(8, payload), 0.0)
    assert reader.close_reason == given


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(masked=False), PROTOCOL_ERROR),
        (frame(reserved=0x40), PROTOCOL_ERROR),
        (frame(opcode=3), PROTOCOL_ERROR),
        (frame(opcode=11), PROTOCOL_ERROR),
        (frame(9, b"x" * 126), PROTOCOL_ERROR),
        (frame(9, final=False), PROTOCOL_ERROR),
        (frame(0), PROTOCOL_ERROR),
        (frame(final=False) + frame(), PROTOCOL_ERROR),
        (frame(wide=2), PROTOCOL_ERROR),
        (frame(wide=8), PROTOCOL_ERROR),
        (frame(length=1 << 63, payload=b""), PROTOCOL_ERROR),
        (frame(length=1 << 62, payload=b""), TOO_BIG),
        (frame(length=6_400_001, payload=b""), TOO_BIG),
        (frame(final=False, payload=b"x" * 60_000) + frame(0, length=6_340_001, payload=b""), TOO_BIG),
        (frame(2), UNSUPPORTED),
        (frame(final=False, payload=b"") + frame(0, b"", final=False) * 1023, POLICY),
        (frame() + frame(final=False, payload=b"") + frame(0, b"", final=False) * 1023, POLICY),
        (frame(9, b"") * 10_923, POLICY),
        (frame(9, b"x" * 125) * 501, POLICY),
        (frame(payload=b"\xff"), NOT_UTF8),
        (frame(final=False, payload=b"\xff"), NOT_UTF8),
        (frame(final=False, payload=b"\xc3") + frame(0, b"x"), NOT_UTF8),
        (frame(final=False, payload=b"a") + frame(0, b"\xc3"), NOT_UTF8),
        (frame(payload=b"\xed\xa0\x80"), NOT_UTF8),
        (frame(8, b"x"), PROTOCOL_ERROR),
        (frame(8, b"\x03\xe7"), PROTOCOL_ERROR),
        (frame(8, b"\x03\xed"), PROTOCOL_ERROR),
        (frame(8, b"\x0b\xb7"), PROTOCOL_ERROR),
        (frame(8, b"\x13\x88"), PROTOCOL_ERROR),
        (frame(8, b"\x03\xe8\xff"), NOT_UTF8),
    ],
)
def test_a_protocol_error_closes_the_connection(data, code):
    events = read(data + frame() + frame())
    assert events[-1] == Close(code)
    assert Close not in [type(event) for event in events[:-1]]


LONG = b'{"id":7,"method":"x","params":{"a":"' + b"x" * 200_000 + b'"}}'


@pytest.mark.parametrize("size", [100, 70_000, 300_000])
@pytest.mark.parametrize(
    "data",
    [
        frame(payload=LONG),
        frame(payload=LONG[:90_000], final=False) + frame(0, LONG[90_000:]),
        frame(payload=LONG[:7], final=False)
        + frame(9, b"p")
        + frame(0, LONG[7:], final=False)
        + frame(0, b""),
    ],
    ids=["one frame", "two fragments", "three fragments and a ping"],
)
def test_a_message_over_its_limit_is_dropped_and_later_ones_are_read(data, size):
    reader, events, dropping = FrameReader(100_000), [], False
    whole = data + frame(payload=b"later") + frame(8, b"\x03\xe8")
    for at in range(0, len(whole), size):
        events += reader.feed(whole[at : at + size], 0.0)
        dropping = dropping or reader.dropping
    texts = [event.text for event in events if isinstance(event, Text)]
    assert texts[1:] == [b"later"]
    fault = fault_of(texts[0])
    assert fault is not None
    assert fault.text == "a message of more than 100000 bytes, the limit (limits.body)"
    assert LONG.startswith(texts[0])
    assert 7 <= len(texts[0]) <= 4096
    assert events[-1] == Close(1000)
    assert reader.reason == ""
    assert dropping or size == 300_000


def test_a_message_that_nests_too_deep_is_dropped_and_later_ones_are_read():
    events = read(
        frame(payload=b"[" * 90_000), frame(payload=b"[" * 65, final=False), frame(0, b"1") + frame()
    )
    faults = [fault_of(event.text) for event in events]
    assert faults[2] is None
    assert [fault.text for fault in faults[:2]] == [
        "JSON nested deeper than the limit of 64 (limits.json_depth)"
    ] * 2


@pytest.mark.parametrize("size", [1000, 65_536, 200_000])
def test_invalid_utf8_in_a_large_message_is_refused_at_once(size):
    data = frame(payload=b"x" * 70_000 + b"\xff" + b"x" * 80_000, length=300_000)
    reader, events, read_by_then = FrameReader(1_000_000), [], 0
    while not events and read_by_then < len(data):
        events = reader.feed(data[read_by_then : read_by_then + size], 0.0)
        read_by_then += size
    assert events == [Close(NOT_UTF8)]
    assert reader.reason == "text is UTF-8"


def test_invalid_utf8_in_a_small_message_is_refused_in_any_pieces():
    data = frame(payload=b"ab\xffcd")
    assert read(*(data[at : at + 1] for at in range(len(data)))) == [Close(NOT_UTF8)]


def test_a_large_message_that_ends_within_a_character_is_not_utf8():
    assert read(frame(payload=b"x" * 70_000 + b"\xc3")) == [Close(NOT_UTF8)]


def test_pings_are_counted_by_the_second():
    reader = FrameReader(100)
    most = 64 * 1024 // len(frame(9, b""))
    for second in range(5):
        assert reader.feed(frame(9, b"") * most, float(second)) == [Ping(b"")] * most


def test_a_message_may_have_1023_empty_fragments():
    empty = frame(final=False, payload=b"") + frame(0, b"", final=False) * 1022
    assert read((frame() + empty + frame(0)) * 2) == [Text(b"hi")] * 4


@given(st.lists(st.integers(0, 300), max_size=20), st.data())
@settings(max_examples=100)
def test_every_chunking_gives_the_same_events(sizes, data):
    whole = b"".join(frame(payload=b"x" * size) for size in sizes) + frame(2)
    reader = FrameReader(100_000)
    at, events = 0, []
    while at < len(whole):
        step = data.draw(st.integers(1, 40))
        events += reader.feed(whole[at : at + step], 0)
        at += step
    assert events == [*(Text(b"x" * size) for size in sizes), Close(UNSUPPORTED)]


def test_written_frames():
    assert text_frame(b"hi") == b"\x81\x02hi"
    assert text_frame(b"x" * 126) == b"\x81\x7e\x00\x7e" + b"x" * 126
    assert text_frame(b"x" * 70_000) == b"\x81\x7f" + (70_000).to_bytes(8, "big") + b"x" * 70_000
    assert ping_frame() == b"\x89\x00"
    assert pong_frame(b"a") == b"\x8a\x01a"
    assert close_frame(0) == b"\x88\x00"
    assert close_frame(1000) == b"\x88\x02\x03\xe8"
    assert close_frame(1011, "why") == b"\x88\x05\x03\xf3why"
    assert len(close_frame(1011, "x" * 200)) == 2 + 125


def test_the_response_to_a_handshake():
    answer = upgrade_response("dGhlIHNhbXBsZSBub25jZQ==")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert b"\r\nSec-WebSocket-Protocol: mcp\r\n" in answer
    without = upgrade_response("dGhlIHNhbXBsZSBub25jZQ==", subprotocol=False)
    assert answer.replace(b"Sec-WebSocket-Protocol: mcp\r\n", b"") == without


@pytest.mark.parametrize("reason", ["", "short", "é" * 100, "x" * 122 + "€", "two\nlines", "\ud800"])
def test_the_reason_of_a_close_is_utf8_and_fits(reason):
    payload = close_frame(1001, reason)[2:]
    assert len(payload) <= 125
    assert payload[:2] == b"\x03\xe9"
    assert len(payload) > 100 or payload[2:].decode() == " ".join(reason.replace("\ud800", "?").split())
    assert close_frame(0, reason) == b"\x88\0"


@given(st.lists(st.text(max_size=200)))
@settings(max_examples=100)
def test_frames_are_equal_in_wsproto(texts):
    theirs = wsproto.Connection(wsproto.ConnectionType.CLIENT)
    reader = FrameReader(100_000)
    for text in texts:
        events = reader.feed(theirs.send(wsproto.events.TextMessage(data=text)), 0)
        assert events == [Text(text.encode())]
        theirs.receive_data(text_frame(text.encode()))
        assert [event.data for event in theirs.events()] == [text]


GOOD = {
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
    "sec-websocket-protocol": "other, mcp",
}


def test_a_valid_handshake_is_accepted():
    check_upgrade(GOOD, "websocket", 11)
    check_upgrade({**GOOD, "content-length": "0"}, "websocket", 11)
    check_upgrade({name: GOOD[name] for name in GOOD if name != "sec-websocket-protocol"}, "websocket", 11)


@pytest.mark.parametrize(
    ("change", "upgrade", "version", "status"),
    [
        ({}, "websocket", 10, 400),
        ({}, "", 11, 426),
        ({}, "h2c", 11, 426),
        ({"sec-websocket-version": "8"}, "websocket", 11, 426),
        ({"sec-websocket-key": "a"}, "websocket", 11, 400),
        ({"sec-websocket-key": "!" * 22 + "=="}, "websocket", 11, 400),
        ({"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZR=="}, "websocket", 11, 400),
        ({"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQAA=="}, "websocket", 11, 400),
        ({"content-length": "3"}, "websocket", 11, 400),
        ({"transfer-encoding": "chunked"}, "websocket", 11, 400),
        ({"sec-websocket-protocol": "other"}, "websocket", 11, 400),
        ({"sec-websocket-protocol": ""}, "websocket", 11, 400),
    ],
)
def test_invalid_handshakes_are_refused(change, upgrade, version, status):
    with pytest.raises(Rejection) as caught:
        check_upgrade({**GOOD, **change}, upgrade, version)
    assert caught.value.status == status


def test_a_frame_in_very_small_pieces_takes_little_more_than_its_size():
    payload = bytes(range(32, 96)) * 2000
    data = frame(payload=payload, wide=8)
    reader = FrameReader(len(payload))
    depth_ok(payload, 1)  # makes the tables
    tracemalloc.start()
    try:
        for at in range(0, len(data) - 2, 2):
            assert reader.feed(data[at : at + 2], 0.0) == []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2 * len(payload)
    assert reader.missing == 2
    assert reader.feed(data[-2:], 0.0) == [Text(payload)]


def test_a_message_that_is_refused_while_it_arrives_is_dropped_and_reported_at_its_end():
    reader = FrameReader(1_000_000)
    whole = frame(payload=b'{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":"' + b"x" * 200_000 + b'"}}')
    assert reader.feed(whole[:150_000], 0.0) == []
    assert reader.held > 100_000
    reader.refuse(Rejection(429, -32600, "too much is unfinished"))
    assert (reader.held, reader.dropping) == (0, True)
    [event] = reader.feed(whole[150_000:], 0.0)
    assert fault_of(event.text).text == "too much is unfinished"
    assert [one.text for one in reader.feed(frame(payload=b"later"), 0.0)] == [b"later"]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 300, 0xFFFF])
def test_a_small_message_in_one_frame_is_read_in_one_step(size):
    text = b"x" * size
    assert FrameReader(100_000).read_message(frame(payload=text)) == text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        frame()[:5],
        frame()[:-1],
        frame() + b"\x81",
        frame(payload=b"x" * 126)[:7],
        frame(payload=b"x" * 126)[:-1],
        frame(payload=b"x" * 20, wide=2),
        frame(payload=b"x" * 20, wide=8),
        frame(payload=b"x" * 0x10000),
        frame(payload=b"x" * 101),
        frame(payload=b"\xff"),
        frame(opcode=0),
        frame(opcode=9),
        frame(final=False),
        frame(masked=False),
        frame(masked=False, payload=b"x" * 30),
        frame(reserved=0x40),
    ],
)
def test_other_input_is_left_to_the_other_way_of_reading(data):
    reader = FrameReader(100)
    assert reader.read_message(data) is None
    assert reader.feed(data, 0.0) == FrameReader(100).feed(data, 0.0)


@pytest.mark.parametrize(
    "before",
    [b"\x81", frame()[:-1], frame(final=False), frame(payload=b""[:0], length=2)[:6], frame(masked=False)],
)
def test_input_after_unfinished_input_or_a_fault_is_left_to_the_other_way_of_reading(before):
    reader = FrameReader(100)
    reader.feed(before, 0.0)
    assert reader.read_message(frame()) is None


frames = st.builds(
    frame,
    opcode=st.sampled_from([1, 1, 1, 1, 0, 9, 10, 8, 2]),
    payload=st.sampled_from([b"", b"{}", b"\xc3", b"\xa9", b"x" * 126, b"y" * 200]),
    final=st.sampled_from([True, True, True, False]),
    masked=st.sampled_from([True] * 9 + [False]),
)


@given(st.lists(frames, max_size=8), st.lists(st.integers(1, 40), max_size=6))
def test_both_ways_of_reading_give_the_same_events(whole, cuts):
    reader, other = FrameReader(150), FrameReader(150)
    pieces = [piece for one in whole for piece in _cut(one, cuts)]
    for piece in pieces:
        text = reader.read_message(piece)
        events = reader.feed(piece, 0.0) if text is None else [Text(text)]
        assert events == other.feed(piece, 0.0)
        assert (reader.missing, reader.dropping, reader.reason) == (
            other.missing,
            other.dropping,
            other.reason,
        )


def _cut(data, cuts):
    """Return the data in pieces, one piece for every second frame."""
    if len(data) % 2:
        return [data]
    places = sorted({cut for cut in cuts if cut < len(data)})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@pytest.mark.parametrize("code", [*range(990, 1025), 2999, 3000, 4999, 5000])
def test_a_close_frame_has_a_code_of_the_registry_or_of_applications(code):
    registered = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
    reader = FrameReader(100)
    [event] = reader.feed(frame(8, code.to_bytes(2, "big")), 0.0)
    is_valid = code in registered or 3000 <= code < 5000
    assert (event == Close(code)) == is_valid
