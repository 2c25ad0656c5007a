import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.validators.http_head import FIELD_VALUE
from mcpbridged.validators.sse_events import SseEvent, SseOverflow, SseParser


def events_of(*pieces, limit=1000, cut=False):
    parser = SseParser(limit, cut=cut)
    return [event for piece in pieces for event in parser.feed(piece)]


def expected_events(data):
    """Parse a whole stream as the specification words it."""
    lines = re.split(rb"\r\n|\r|\n", data.removeprefix(b"\xef\xbb\xbf"))
    kind, found, last_id, values = b"", [], b"", []
    # The last part has no line end.
    for line in lines[:-1]:
        if not line:
            if values:
                found.append(SseEvent(kind or b"message", b"\n".join(values), last_id))
            kind, values = b"", []
        elif not line.startswith(b":"):
            name, _, value = line.partition(b":")
            value = value[1:] if value.startswith(b" ") else value
            if name == b"data":
                values.append(value)
            elif name == b"event":
                kind = value
            elif name == b"id" and b"\0" not in value:
                last_id = value if FIELD_VALUE.match(value) else b""
    return found


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: x\n\n", [SseEvent(b"message", b"x", b"")]),
        (b"data:x\r\n\r\n", [SseEvent(b"message", b"x", b"")]),
        (b"data: x\r\r", [SseEvent(b"message", b"x", b"")]),
        (b"data:  x \n\n", [SseEvent(b"message", b" x ", b"")]),
        (b"\xef\xbb\xbfdata: x\n\n", [SseEvent(b"message", b"x", b"")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", []),
        (b"data: a\ndata: b\ndata\ndata:\n\n", [SseEvent(b"message", b"a\nb\n\n", b"")]),
        (b": comment\n:\ndata: x\nother: y\n\n", [SseEvent(b"message", b"x", b"")]),
        (b"event: endpoint\ndata: /m\n\n", [SseEvent(b"endpoint", b"/m", b"")]),
        (b"event: e\n\ndata: x\n\n", [SseEvent(b"message", b"x", b"")]),
        (
            b"id: 1\ndata: x\n\ndata: y\n\n",
            [SseEvent(b"message", b"x", b"1"), SseEvent(b"message", b"y", b"1")],
        ),
        (
            b"id: 1\ndata: x\n\nid\ndata: y\n\n",
            [SseEvent(b"message", b"x", b"1"), SseEvent(b"message", b"y", b"")],
        ),
        (b"id: a\0b\ndata: x\n\n", [SseEvent(b"message", b"x", b"")]),
        (
            b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n",
            [(b"message", b"a\nb", b"", 0), (b"message", b"c", b"", 0)],
        ),
        (b"id: 1\n\nid: a\0b\ndata: x\n\n", [SseEvent(b"message", b"x", b"1")]),
        (b"data: x\n", []),
        (b"Data: x\n data: x\n\n", []),
        (
            "data: ü\u2028\x85\x0b\x0c\x1c\n\n".encode(),
            [SseEvent(b"message", "ü\u2028\x85\x0b\x0c\x1c".encode(), b"")],
        ),
        (b"data: \xff\0\n\n", [SseEvent(b"message", b"\xff\0", b"")]),
    ],
)
def test_a_stream_is_read_as_the_specification_says_in_any_pieces(stream, expected):
    assert expected_events(stream) == expected
    assert events_of(stream) == expected
    assert events_of(*(stream[at : at + 1] for at in range(len(stream)))) == expected
    assert (
        events_of(*(piece for at in range(len(stream)) for piece in (b"", stream[at : at + 1]))) == expected
    )


ALPHABET = st.sampled_from(
    [
        b"data",
        b"id",
        b"event",
        b":",
        b" ",
        b"\n",
        b"\n\n",
        b"\r",
        b"\r\n",
        b"x",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xef",
        b"\xbb",
    ]
)


@given(st.lists(st.lists(ALPHABET, max_size=12).map(b"".join), max_size=12))
def test_the_pieces_of_a_stream_do_not_matter(pieces):
    assert events_of(*pieces) == expected_events(b"".join(pieces))


def test_an_id_counts_from_the_end_of_its_event_on():
    parser = SseParser(1000)
    assert not list(parser.feed(b"id: 1\n"))
    assert parser.last_event_id == b""
    assert not list(parser.feed(b"\nid: 2\ndata: x"))
    assert parser.last_event_id == b"1"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1500", 1.5),
        (b"0", 0),
        (b"", None),
        (b"1.5", None),
        (b"-1", None),
        (b"+1", None),
        (b"9" * 5000, 999999999.999),
    ],
)
def test_a_reconnection_time_has_digits_only(value, seconds):
    parser = SseParser(10000)
    assert not list(parser.feed(b"retry: %b\n" % value))
    assert parser.retry == seconds


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"x" * 101 + b"\n\n",
        b"data: " + b"x" * 200,
        b"data: " + b"x" * 50 + b"\ndata: " + b"x" * 51 + b"\n\n",
        b"data: " + b"x" * 50 + b"\ndata: " + b"x" * 200,
        b":" + b"x" * 200,
        b"id: " + b"x" * 200,
        b"data\n" * 102,
    ],
)
def test_an_event_over_the_limit_is_refused_before_its_end(stream):
    with pytest.raises(SseOverflow, match="sent an event of more than 100 bytes"):
        events_of(stream, limit=100)
    with pytest.raises(SseOverflow):
        events_of(*(stream[at : at + 1] for at in range(len(stream))), limit=100)


@pytest.mark.parametrize("size", [1, 1000, 100_000])
@pytest.mark.parametrize("lines", [1, 2, 50])
def test_an_event_over_the_limit_keeps_its_edges_if_it_is_to_be_cut(size, lines):
    value = bytes(range(48, 122)) * 800
    parts = [value[at * len(value) // lines : (at + 1) * len(value) // lines] for at in range(lines)]
    stream = b"".join(b"data: %b\n" % part for part in parts) + b"\ndata: next\n\n"
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    over, following = events_of(*pieces, limit=5000, cut=True)
    whole = b"\n".join(parts)
    assert over.data.startswith(whole[:1000])
    assert over.data.endswith(whole[-1000:])
    assert len(over.data) <= 5000
    assert over.dropped > 0
    assert following == (b"message", b"next", b"", 0)


def test_a_cut_event_holds_little():
    parser = SseParser(5000, cut=True)
    for _ in range(1000):
        assert not list(parser.feed(b"data: " + b"x" * 3000 + b"\n"))
        assert not list(parser.feed(b": " + b"x" * 3000))
        assert not list(parser.feed(b"x" * 3000))
        assert parser.held < 20_000
        assert not list(parser.feed(b"\n"))
    (event,) = parser.feed(b"\n")
    assert event.dropped > 2_000_000
    assert [event.dropped for event in events_of(b"data: abc\n\n", limit=2, cut=True)] == [1]
    assert [event.dropped for event in events_of(b"data: ab\n\n", limit=2, cut=True)] == [0]


@pytest.mark.parametrize("value", [b"a\x1bb", b" a", b"a ", b"a" * 5000])
def test_an_id_that_cannot_be_sent_is_none(value):
    (event,) = events_of(b"id: 1\n\nid: %b\ndata: x\n\n" % value, limit=10000)
    assert event.id == b""


def test_an_event_of_the_limit_is_accepted():
    assert [event.data for event in events_of(b"data: " + b"x" * 100 + b"\n\n", limit=100)] == [b"x" * 100]
    pieces = (b"data: " + b"x" * 50, b"x" * 50 + b"\n", b": comment\n\n")
    assert [event.data for event in events_of(*pieces, limit=101)] == [b"x" * 100]
