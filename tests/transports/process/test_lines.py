"""Split a byte stream into lines."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.transports.process.lines import LineSplitter
from mcpbridged.transports.server_io import Overlong


def split(*chunks, limit=100):
    splitter = LineSplitter(limit)
    return [line for chunk in chunks for line in splitter.feed(chunk)]


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"a\nb\n"], [b"a", b"b"]),
        ([b"a\r\nb\r\n"], [b"a", b"b"]),
        ([b"a", b"b", b"\n"], [b"ab"]),
        ([b"\n\n \r\n\t\na\n"], [b"a"]),
        ([b"\xef\xbb\xbfa\n"], [b"a"]),
        ([b"\xef", b"\xbb", b"\xbfa\n"], [b"a"]),
        ([b"\xef", b"\xbbx\n"], [b"\xef\xbbx"]),
        ([b"a\n\xef\xbb\xbfb\n"], [b"a", b"\xef\xbb\xbfb"]),
        ([b"a\xe2\x80\xa8b\x85c\n"], [b"a\xe2\x80\xa8b\x85c"]),
        ([b"a\rb\n"], [b"a\rb"]),
        ([b"unfinished"], []),
        ([b""], []),
    ],
)
def test_lines(chunks, lines):
    assert split(*chunks) == lines


def test_a_line_over_the_limit_is_reported_once_and_dropped():
    assert split(b"x" * 60, b"x" * 60, b"x" * 1000, b"\nok\n") == [Overlong(120, b"x" * 120), b"ok"]
    assert split(b"y" * 1000 + b"\nok\n") == [Overlong(1000, b"y" * 256), b"ok"]
    assert split(b"z" * 100 + b"\n") == [b"z" * 100]


def test_the_end_of_a_line_without_an_id_at_its_beginning_is_kept():
    answer = b'{"result":"' + b"x" * 2000 + b'","jsonrpc":"2.0","id":7}'
    for size in (1, 7, 50, 3000):
        chunks = [answer[at : at + size] for at in range(0, len(answer), size)]
        [line, ok] = split(*chunks, b"\r\n", b"ok\n", limit=1500)
        assert (line.prefix, ok) == (answer[:256], b"ok")
        assert line.suffix.removesuffix(b"\r").endswith(answer[-1000:])


def test_a_line_without_an_id_and_without_an_end_is_reported_at_twice_the_limit():
    splitter = LineSplitter(100)
    assert splitter.feed(b"x" * 150) == []
    [line] = splitter.feed(b"y" * 100)
    assert (line.size_seen, line.suffix) == (150, b"x" * 150 + b"y" * 100)
    assert splitter.feed(b"y" * 1000) == []
    assert splitter.feed(b"y\nok\n") == [b"ok"]
    [line] = splitter.feed(b'{"jsonrpc":"2.0","id":7,"result":"' + b"x" * 100)
    assert line.suffix == b""
    assert splitter.feed(b"\nok\n") == [b"ok"]


def test_a_long_line_costs_linear_time():
    splitter = LineSplitter(20_000_000)
    for _ in range(160):
        splitter.feed(b"x" * 65536)
    [line] = splitter.feed(b"\n")
    assert len(line) == 160 * 65536


def test_a_line_in_many_pieces_is_joined():
    pieces = [b"%d" % (i % 10) for i in range(3000)]
    assert split(*pieces, b"\n", limit=4000) == [b"".join(pieces)]
    assert split(*pieces, b"\nok\n", limit=2500) == [Overlong(2501, b"".join(pieces)[:256]), b"ok"]


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf", b" ", b"x" * 30])), st.data())
@settings(max_examples=200)
def test_every_chunking_gives_the_same_lines(parts, data):
    whole = b"".join(parts)
    chunks, at = [], 0
    while at < len(whole):
        step = data.draw(st.integers(1, 7))
        chunks.append(whole[at : at + step])
        at += step

    def told(lines):
        return [line.prefix[:51] if isinstance(line, Overlong) else line for line in lines]

    assert told(split(*chunks, limit=50)) == told(split(whole, limit=50))
