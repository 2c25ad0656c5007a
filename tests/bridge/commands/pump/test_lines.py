"""Lines in pieces."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.bridge.commands.pump.heads import Head
from mcpbridged.bridge.commands.pump.lines import PIECE, Line, Splitter, line_of

LINES = [b'{"jsonrpc":"2.0","id":1,"method":"a"}\n', b"x\r\n", b"\n", b"  \r\n", b"y" * 1000 + b"\n", b"z"]
TEXT = b"".join(LINES)


def text_in(lines):
    return [b"".join(line.pieces) for line in lines]


@given(st.lists(st.integers(0, len(TEXT)), max_size=12))
def test_lines_are_the_same_in_every_chunking(cuts):
    splitter, found = Splitter(), []
    places = [0, *sorted(cuts), len(TEXT)]
    for begin, end in itertools.pairwise(places):
        found += splitter.feed(TEXT[begin:end])
    found += splitter.end()
    assert text_in(found) == [*[line for line in LINES if line.strip()][:-1], b"z\n"]
    assert splitter.unfinished == 0


def test_a_large_line_is_kept_in_pieces():
    splitter = Splitter()
    for _ in range(100):
        assert splitter.feed(b"x" * PIECE) == []
    assert splitter.unfinished == 100 * PIECE
    (line,) = splitter.feed(b"\n")
    assert line.size == 100 * PIECE + 1
    assert max(map(len, line.pieces)) == PIECE


def test_many_small_reads_are_joined():
    splitter = Splitter()
    for _ in range(10_000):
        splitter.feed(b"x" * 100)
    (line,) = splitter.feed(b"\n")
    assert len(line.pieces) < 20
    assert line.size == 1_000_001


HEAD = b'{"method":"tools/call","params":{"text":"'
END = b'"},"jsonrpc":"2.0","id":17}\n'


@pytest.mark.parametrize("cut", range(1, len(END)))
def test_the_id_at_the_end_is_found_wherever_the_last_piece_begins(cut):
    line = Line([HEAD + b"x" * PIECE, END[:cut], END[cut:]])
    assert line.heads == [Head(b"17", b"tools/call")]


def test_a_line_in_an_unusual_layout_is_parsed_as_a_whole():
    line = Line([b'{"params":{},"id":1.0,', b'"method":"ping"}\n'])
    assert line.heads == [Head(b"1.0", b"ping")]


def test_a_line_that_is_not_json_has_no_heads():
    assert line_of(b"hello").heads == []


def test_the_id_of_a_line_whose_end_has_not_arrived_is_found_at_its_begin():
    line = Line([b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":"'], finished=False)
    assert line.heads == [Head(b"1", b"a")]


def test_the_id_of_a_line_is_found_at_its_end_although_its_pieces_are_no_longer_kept():
    line = Line([HEAD + b"x" * PIECE], finished=False)
    assert line.heads == []
    line.extend([b"x" * 100], finished=False)
    line.pieces.clear()
    line.extend([b"y" + END], finished=True)
    assert line.heads == [Head(b"17", b"tools/call")]
