"""WebSocket frame headers (attacks W04 to W08) and the opening handshake (W01 to W03)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.validators.rejection import Rejection
from mcpbridged.validators.ws_frames import (
    POLICY,
    PROTOCOL_ERROR,
    TOO_BIG,
    UNSUPPORTED,
    FrameGuard,
    check_upgrade,
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
    return head + (MASK if masked else b"") + payload


@pytest.mark.parametrize(
    "data",
    [
        frame(),
        frame(payload=b""),
        frame(payload=b"x" * 126),
        frame(payload=b"x" * 70_000),
        frame(final=False) + frame(0, b"there"),
        frame(final=False) + frame(9, b"ping") + frame(0, b"there") + frame(),
        frame(8, b"\x03\xe8"),
        frame(10),
    ],
)
def test_what_passes(data):
    assert FrameGuard(100_000).feed(data, 0) == 0


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
        (frame(length=100_001, payload=b""), TOO_BIG),
        (
            frame(final=False, length=60_000, payload=b"x" * 60_000) + frame(0, length=60_000, payload=b""),
            TOO_BIG,
        ),
        (frame(2), UNSUPPORTED),
        (frame(final=False, payload=b"") + frame(0, b"", final=False) * 1024, POLICY),
        (frame(9, b"") * 21, POLICY),
    ],
)
def test_what_is_cut_off(data, code):
    assert FrameGuard(100_000).feed(data, 0) == code


def test_pings_are_counted_by_the_second():
    guard = FrameGuard(100)
    for second in range(5):
        assert guard.feed(frame(9, b"") * 20, float(second)) == 0


@given(st.lists(st.integers(0, 300), max_size=20), st.data())
@settings(max_examples=100, deadline=None)
def test_every_chunking_gives_the_same_verdict(sizes, data):
    whole = b"".join(frame(payload=b"x" * size) for size in sizes) + frame(2)
    guard = FrameGuard(100_000)
    at = 0
    code = 0
    while at < len(whole) and not code:
        step = data.draw(st.integers(1, 40))
        code = guard.feed(whole[at : at + step], 0)
        at += step
    assert code == UNSUPPORTED


GOOD = {
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
    "sec-websocket-protocol": "other, mcp",
}


def test_a_good_handshake_passes():
    check_upgrade(GOOD, "websocket", 11)
    check_upgrade({**GOOD, "content-length": "0"}, "websocket", 11)


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
        ({"content-length": "3"}, "websocket", 11, 400),
        ({"transfer-encoding": "chunked"}, "websocket", 11, 400),
        ({"sec-websocket-protocol": "other"}, "websocket", 11, 400),
        ({"sec-websocket-protocol": ""}, "websocket", 11, 400),
    ],
)
def test_handshakes_that_are_refused(change, upgrade, version, status):
    with pytest.raises(Rejection) as caught:
        check_upgrade({**GOOD, **change}, upgrade, version)
    assert caught.value.status == status
