"""Chunked bodies have the same result in any pieces, and in h11 and llhttp."""

import itertools
import tracemalloc

import attrs
import h11
import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcpbridged.validators.http_body import ChunkedDecoder, check_length
from mcpbridged.validators.http_head import parse_head
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import INVALID_REQUEST, Rejection

LIMITS = Limits()
SMALL = Limits(body=1000)


def decode(pieces: list[bytes], limits: Limits = SMALL) -> tuple[bool, bytes, bytes] | int:
    """Whether it is done, the body and what follows it; or the status of the refusal."""
    decoder = ChunkedDecoder(limits)
    try:
        for piece in pieces:
            decoder.feed(piece)
    except Rejection as rejection:
        return rejection.status if rejection.close and rejection.code == INVALID_REQUEST else 0
    return decoder.done, decoder.take(), decoder.rest


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"", (False, b"", b"")),
        (b"0\r\n\r\n", (True, b"", b"")),
        (b"000\r\n\r\nGET /", (True, b"", b"GET /")),
        (b"5\r\nhello\r\n0\r\n\r\n", (True, b"hello", b"")),
        (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", (True, b"hello world", b"")),
        (b"00000A\r\n0123456789\r\n0\r\n\r\n", (True, b"0123456789", b"")),
        (b"2\r\n\r\n\r\n0\r\n\r\n", (True, b"\r\n", b"")),
        (b"5\r\nhel", (False, b"hel", b"")),
        (b"5\r\nhello\r", (False, b"hello", b"")),
        (b"5\r\nhello\r\n", (False, b"hello", b"")),
        (b"5\r\nhello\r\n0\r\n", (False, b"hello", b"")),
        (b"5\r\nhello\r\n0\r\nX: y\r", (False, b"hello", b"")),
        (b"5\r", (False, b"", b"")),
        (b'5;a;b=c;d="e;\\"f"\r\nhello\r\n0;x\r\n\r\n', (True, b"hello", b"")),
        (b"1;" + b"a" * 255 + b"\r\nx\r\n0\r\n\r\n", (True, b"x", b"")),
        (b"1;" + b"a" * 255, (False, b"", b"")),
        (b"0\r\nAuthorization: x\r\nHost: y\r\n\r\n", (True, b"", b"")),
        (b"0\r\n" + b"A: b\r\n" * 16 + b"\r\n", (True, b"", b"")),
        (b"0\r\nX-City: S\xc3\xa3o Paulo\r\n\r\n", (True, b"", b"")),
        (b'5;a="\xc3\xa3\\\xff"\r\nhello\r\n0\r\n\r\n', (True, b"hello", b"")),
        (b"3E8\r\n" + b"a" * 1000 + b"\r\n0\r\n\r\n", (True, b"a" * 1000, b"")),
    ],
)
def test_valid_bodies_are_decoded(wire, expected):
    assert decode([wire]) == expected
    assert decode([wire[at : at + 1] for at in range(len(wire))]) == expected


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"0x5\r\nhello\r\n", 400),
        (b"-5\r\n", 400),
        (b"+5\r\n", 400),
        (b"5 \r\n", 400),
        (b" 5\r\n", 400),
        (b"5_0\r\n", 400),
        (b"\r\n", 400),
        (b"\r", 400),
        (b"g\r\n", 400),
        (b"1" * 17, 400),
        (b"0" * 17, 400),
        (b"1" * 21 + b"\r\n", 400),
        (b"FFFFFFFFFFFFFFFF\r\n", 413),
        (b"3E9\r\n", 413),
        (b"3E8\r\n" + b"a" * 1000 + b"\r\n1\r\n", 413),
        (b"5\nhello\n0\n\n", 400),
        (b"5\r\nhello\n", 400),
        (b"5\r\nhelloXX0\r\n\r\n", 400),
        (b"5\r\nhello\rX", 400),
        (b"5\r\nhelloo\r\n", 400),
        (b"5\rX", 400),
        (b"5\r\nhello\r\n0\n", 400),
        (b"5 ;a\r\n", 400),
        (b"5;\r\n", 400),
        (b"5;a b\r\n", 400),
        (b'5;a="b\r\n', 400),
        (b"5;a\x00\r\n", 400),
        (b"5;a=\xff\r\n", 400),
        (b"5;\xff\r\n", 400),
        (b"0\r\n\xff: b\r\n", 400),
        (b"5;" + b"a" * 256, 400),
        (b"5;" + b"a" * 256 + b"\r\nhello\r\n", 400),
        (b"5;" + b"a" * 8192 + b"\r\nhello\r\n", 400),
        (b"0\r\n" + b"A: b\r\n" * 17, 400),
        (b"0\r\n" + b"A: b\r\n" * 100 + b"\r\n", 400),
        (b"0\r\nA: " + b"b" * 16384, 400),
        (b"0\r\nA: " + b"b" * 16384 + b"\r\n\r\n", 400),
        (b"0\r\nA : b\r\n", 400),
        (b"0\r\n b\r\n", 400),
        (b"0\r\nA: \x00\r\n", 400),
        (b"0\r\nA: b\n", 400),
        (b"0\r\n\r\r", 400),
        (b"0\r\nA: \r\r\n\r\n", 400),
        (b"0\r\nA: b\n\r\n\r\n", 400),
    ],
)
def test_malformed_bodies_are_refused(wire, status):
    assert decode([wire]) == status
    assert decode([wire[at : at + 1] for at in range(len(wire))]) == status


def test_extensions_are_bounded_in_one_body():
    chunk = b"1;" + b"a" * 200 + b"\r\nx\r\n"
    assert decode([chunk * 80]) == (False, b"x" * 80, b"")
    assert decode([chunk * 90]) == 400


def test_trailers_have_the_limit_of_a_head_together():
    limits = Limits(header_block=20)
    assert decode([b"0\r\nA: 34567\r\nB: 34567\r\n\r\n"], limits) == (True, b"", b"")
    for wire in (b"0\r\nA: 34567\r\nB: 345678\r\n\r\n", b"0\r\nA: " + b"x" * 18):
        assert decode([wire], limits) == 400


def test_bytes_that_were_taken_are_removed_but_count():
    decoder = ChunkedDecoder(SMALL)
    decoder.feed(b"258\r\n" + b"a" * 600)
    assert decoder.take() == b"a" * 600
    assert decoder.take() == b""
    with pytest.raises(Rejection) as caught:
        decoder.feed(b"\r\n258\r\n")
    assert caught.value.text == "a body of 1200 bytes exceeds the limit of 1000"


def test_bytes_after_the_end_are_kept_for_the_next_request():
    decoder = ChunkedDecoder(SMALL)
    decoder.feed(b"0\r\n\r\nGET ")
    decoder.feed(b"/")
    assert (decoder.done, decoder.rest) == (True, b"GET /")


def test_a_body_in_single_bytes_takes_no_more_memory_than_its_size():
    size = 16 * 1024
    decoder = ChunkedDecoder(Limits(body=size))
    tracemalloc.start()
    for _ in range(size):
        for byte in (b"1", b"\r", b"\n", b"x", b"\r", b"\n"):
            decoder.feed(byte)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * size + 4096
    assert decoder.take() == b"x" * size


def test_an_announced_length_is_compared_with_the_limit():
    head = parse_head(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", LIMITS)
    check_length(head, 1001)
    check_length(attrs.evolve(head, content_length=None), 0)
    with pytest.raises(Rejection) as caught:
        check_length(head, 1000)
    assert (caught.value.status, caught.value.close) == (413, True)
    assert caught.value.text == "a body of 1001 bytes exceeds the limit of 1000"


# ---- any pieces, and an oracle

chunks = st.builds(
    lambda data, zeros, extension: b"0" * zeros + b"%x%b\r\n%b\r\n" % (len(data), extension, data),
    st.binary(min_size=1, max_size=30),
    st.integers(0, 3),
    st.sampled_from([b"", b"", b";a", b";a=b", b';a="b;c\\"";d=1', b';a="\xff"']),
)
trailers = st.sampled_from([b"X: y\r\n", b"Authorization: \t z \r\n", b"E:\r\n", b"U: \xc3\xa9\r\n"])
bodies = st.builds(
    lambda parts, fields, rest: b"".join(parts) + b"0\r\n" + b"".join(fields) + b"\r\n" + rest,
    st.lists(chunks, max_size=4),
    st.lists(trailers, max_size=3),
    st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"\r\n"]),
)
spoils = st.sampled_from(
    [b"", b"\r", b"\n", b"\r\n", b"0", b"7", b"f", b" ", b";", b"x", b"\0", b"-", b'"', b"\x80"]
)


def spoil(wire: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    for where, removed, inserted in changes:
        at = int(where * len(wire))
        wire = wire[:at] + inserted + wire[at + removed :]
    return wire


wires = st.builds(spoil, bodies, st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2), spoils), max_size=2))


@settings(max_examples=300)
@given(wires, st.lists(st.floats(0, 1), max_size=6))
@example(b"5;a\r\nhello\r\n0\r\nX: y\r\n\r\nrest", [0.5])
def test_any_pieces_give_the_same_result(wire, cuts):
    places = sorted({0, len(wire), *(int(cut * len(wire)) for cut in cuts)})
    whole = decode([wire])
    assert decode([wire[a:b] for a, b in itertools.pairwise(places)]) == whole
    assert decode([wire[at : at + 1] for at in range(len(wire))]) == whole


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Callbacks:
    def __init__(self) -> None:
        self.body = b""
        self.complete = False

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        self.complete = True


@settings(max_examples=300)
@given(wires)
def test_accepted_bodies_are_equal_in_h11_and_llhttp(wire):
    result = decode([wire])
    if isinstance(result, int):
        return
    done, body, rest = result
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(HEAD + wire)
    assert isinstance(peer.next_event(), h11.Request)
    data = b""
    while isinstance(event := peer.next_event(), h11.Data):
        data += event.data
    assert data == body
    if not done:
        assert event is h11.NEED_DATA
        return
    assert isinstance(event, h11.EndOfMessage)
    assert peer.trailing_data[0] == rest
    seen = Callbacks()
    httptools.HttpRequestParser(seen).feed_data(HEAD + wire.removesuffix(rest))
    assert (seen.complete, seen.body) == (True, body)
