"""Frames of HTTP/2 are counted in any pieces, and divided into pieces of a few."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.validators.http2_frames import (
    FrameFlood,
    FrameMeter,
    answer,
    enhance_your_calm,
    first_header_block,
    go_away,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, UPDATE, CONTINUATION = range(10)


def frame(kind, payload=b"", flags=0, stream=1):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def admitted(now=0.0):
    meter = FrameMeter()
    meter.admitted = True
    assert meter.cut(PREFACE, 0, now) == len(PREFACE)
    return meter


def pieces(meter, data, now=0.0, **how):
    found, at = [], 0
    while at < len(data):
        end = meter.cut(data, at, now, **how)
        found.append(data[at:end])
        at = end
    return found


def test_a_piece_has_sixteen_frames():
    ping = frame(PING, b"12345678")
    assert pieces(admitted(), ping * 40) == [ping * 16, ping * 16, ping * 8]


def test_a_piece_of_few_frames_has_two():
    ping = frame(PING, b"12345678")
    assert pieces(admitted(), ping * 5, few=True) == [ping * 2, ping * 2, ping]


def test_an_incomplete_frame_is_in_a_piece_and_counted_once():
    meter, data = admitted(), frame(DATA, b"x" * 100) * 3
    assert [len(piece) for piece in pieces(meter, data[:150])] == [150]
    assert [len(piece) for piece in pieces(meter, data[150:])] == [len(data) - 150]


def test_without_a_credential_a_piece_ends_with_the_first_head():
    head = frame(HEADERS, b"abc", 0x5)
    meter = FrameMeter()
    assert pieces(meter, PREFACE + head + head) == [PREFACE + head, head]
    assert meter.heads == 2
    in_two = frame(HEADERS, b"abc", 0x1) + frame(CONTINUATION, b"", 0x4)
    assert pieces(meter, in_two + head) == [in_two, head]


def test_a_head_counts_when_it_is_complete():
    meter = admitted()
    head = frame(HEADERS, b"abc", 0x4, stream=7)
    meter.cut(head[:-1], 0, 0.0)
    assert (meter.heads, meter.last_stream) == (0, 7)
    meter.cut(head[-1:], 0, 0.0)
    assert meter.heads == 1


@pytest.mark.parametrize(
    ("data", "name", "burst"),
    [
        (frame(DATA), "tiny_data", 256),
        (frame(DATA, b"x" * 31), "tiny_data", 256),
        (frame(DATA, b"\0", flags=0x8), "tiny_data", 256),
        (frame(PRIORITY, b"12345"), "priority", 256),
        (frame(RST, b"1234"), "resets", 256),
        (frame(SETTINGS), "settings", 32),
        (frame(SETTINGS, flags=1), "settings", 32),
        (frame(PUSH), "push_promise", 1),
        (frame(PING, b"12345678"), "pings", 64),
        (frame(GOAWAY, b"12345678"), "goaway", 8),
        (frame(UPDATE, b"1234"), "window_updates", 512),
        (frame(CONTINUATION), "continuations", 64),
        (frame(0x10, b"x"), "unknown_frames", 256),
        (frame(0xFF), "unknown_frames", 256),
    ],
)
def test_each_kind_has_a_burst(data, name, burst):
    meter = admitted()
    pieces(meter, data * burst)
    with pytest.raises(FrameFlood) as caught:
        pieces(meter, data)
    assert caught.value.name == name


@pytest.mark.parametrize("data", [frame(DATA, b"x" * 32), frame(DATA, flags=1), frame(HEADERS, b"x", 0x4)])
def test_requests_and_their_bodies_have_no_allowance(data):
    pieces(admitted(), data * 2000)


def test_an_allowance_is_restored_with_time_up_to_the_burst():
    meter, ping = admitted(), frame(PING, b"12345678")
    pieces(meter, ping * 64, 0.0)
    pieces(meter, ping * 8, 1.0)
    with pytest.raises(FrameFlood):
        pieces(meter, ping, 1.0)
    pieces(meter, ping * 64, 1000.0)
    with pytest.raises(FrameFlood):
        pieces(meter, ping, 1000.0)


def test_sent_data_allows_window_updates():
    meter, update = admitted(), frame(UPDATE, b"1234")
    for _ in range(1000):
        meter.sent()
        pieces(meter, update * 4)
    pieces(meter, update * 512)
    with pytest.raises(FrameFlood):
        pieces(meter, update)


def test_without_a_credential_all_frames_share_one_allowance():
    meter = FrameMeter()
    meter.cut(PREFACE, 0, 0.0)
    pieces(meter, frame(DATA, b"x" * 100) * 128)
    with pytest.raises(FrameFlood) as caught:
        pieces(meter, frame(HEADERS))
    assert caught.value.name == "frames_without_credential"


@given(st.lists(st.integers(1, 40), max_size=60))
def test_pieces_contain_all_bytes_and_the_count_does_not_depend_on_them(lengths):
    data = frame(HEADERS, b"abc", 0x4) * 5 + frame(DATA, b"y" * 50) * 5 + frame(PING, b"12345678") * 5
    meter, whole, at = admitted(), b"", 0
    for length in [*lengths, len(data)]:
        whole += b"".join(pieces(meter, data[at : at + length]))
        at += length
    assert whole == data
    assert meter.heads == 5
    pieces(meter, frame(PING, b"12345678") * 59)
    with pytest.raises(FrameFlood):
        pieces(meter, frame(PING, b"12345678"))


def test_the_frames_that_end_a_connection():
    assert enhance_your_calm(5) == b"\0\0\x08\x07\0\0\0\0\0" + b"\0\0\0\x05" + b"\0\0\0\x0b"
    assert go_away(0) == b"\0\0\x08\x07\0\0\0\0\0" + b"\0\0\0\0" + b"\0\0\0\0"


PRIORITY_FIELDS = b"\0\0\0\0\x10"


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        (frame(HEADERS, b"abc", 0x5), (1, b"abc")),
        (frame(SETTINGS) + frame(UPDATE, b"1234") + frame(HEADERS, b"abc", 0x4, stream=3), (3, b"abc")),
        (frame(HEADERS, b"\x02abc\0\0", 0x4 | 0x8), (1, b"abc")),
        (frame(HEADERS, PRIORITY_FIELDS + b"abc", 0x4 | 0x20), (1, b"abc")),
        (frame(HEADERS, b"\x01" + PRIORITY_FIELDS + b"abc\0", 0x4 | 0x28), (1, b"abc")),
        (frame(HEADERS, b"", 0x4 | 0x8), (1, b"")),
        (frame(HEADERS, b"\xffabc", 0x4 | 0x8), (1, b"")),
        (frame(HEADERS, b"abc", 0x4) + frame(HEADERS, b"def", 0x4, stream=3), (1, b"abc")),
        (frame(HEADERS, b"abc", 0x1) + frame(CONTINUATION, b"def", 0x4), None),
        (frame(HEADERS, b"abc", 0x4)[:-1], None),
        (frame(SETTINGS)[:-1], None),
        (frame(SETTINGS), None),
    ],
)
def test_the_first_header_block_of_a_client(frames, found):
    assert first_header_block(PREFACE + frames) == found


def test_bytes_without_the_preface_have_no_header_block():
    assert first_header_block(frame(HEADERS, b"abc", 0x4)) is None
    assert first_header_block(b"") is None


def test_the_first_frames_of_a_server():
    settings = frame(SETTINGS, stream=0) + frame(SETTINGS, flags=1, stream=0)
    assert answer(3, b"abc", b"") == settings + frame(HEADERS, b"abc", 0x5, stream=3)
    assert answer(3, b"abc", b"de") == settings + frame(HEADERS, b"abc", 0x4, stream=3) + frame(
        DATA, b"de", 1, stream=3
    )
