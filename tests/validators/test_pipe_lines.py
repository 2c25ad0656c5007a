"""Lines of clients of the pipe endpoint, and its upgrade request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.validators.incremental_json import CheckedText, fault_of
from mcpbridged.validators.jsonrpc import refused_ids
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.pipe_lines import LineReader, check_pipe_upgrade, end_line, is_control
from mcpbridged.validators.rejection import Rejection

LIMIT = 100_000


def read(*pieces, limit=LIMIT, depth=64):
    reader = LineReader(limit, depth)
    lines = []
    for piece in pieces:
        line = reader.read_line(piece)
        lines += reader.feed(piece) if line is None else [line]
    return [*lines, *reader.end()]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"{}\n", [b"{}"]),
        (b"{}\r\n{}\r\n", [b"{}", b"{}"]),
        (b"{}", [b"{}"]),
        (b"\n\r\n \t\n{}\n\n", [b"{}"]),
        (b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}\n", [b"{}", b"\xef\xbb\xbf{}"]),
        (b"\xef\xbb\xbf\n{}\n", [b"{}"]),
        (b"{} \n", [b"{} "]),
        (b"#drain\n{}\n", [b"#drain", b"{}"]),
        (b"", []),
        (b"\xff\n", [b"\xff"]),
    ],
)
def test_lines_end_with_a_newline_and_blank_lines_are_skipped(data, lines):
    assert read(data) == lines
    assert read(*(data[at : at + 1] for at in range(len(data)))) == lines


@given(
    st.lists(st.sampled_from([b"{}", b"a", b"\r", b" ", b"\n", b"#x", b"\xef\xbb\xbf", b"y" * 30])), st.data()
)
def test_the_pieces_of_the_input_make_no_difference(parts, data):
    text = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert [bytes(line) for line in read(*pieces, limit=40)] == [bytes(line) for line in read(text, limit=40)]


def test_a_whole_small_line_needs_no_buffer():
    reader = LineReader(LIMIT, 64)
    assert reader.read_line(b"{}\n") is None
    assert reader.feed(b"{}\n") == [b"{}"]
    assert reader.read_line(b"{}\n") == b"{}"
    for other in (b"", b"\n", b"{}", b"{}\n{}\n", b"{}\r\n", b" \n", b"x" * 70_000 + b"\n"):
        assert reader.read_line(other) is None
    assert LineReader(1, 64).read_line(b"{}\n") is None


def test_a_line_over_the_limit_is_reported_at_its_end_and_the_next_is_read():
    reader = LineReader(1000, 64)
    begin = b'{"jsonrpc":"2.0","id":5,"method":"x","params":"' + b"z" * 990
    assert reader.feed(begin) == []
    assert reader.feed(b"z" * 100_000) == []
    assert (reader.unfinished, reader.held) == (len(begin) + 100_000, 0)
    [line, other] = reader.feed(b'"}\n{}\n')
    assert fault_of(line).text == "a line of more than 1000 bytes, the limit (limits.body)"
    assert (refused_ids(line, Limits()), other) == ([b"5"], b"{}")
    assert reader.unfinished == 0


@pytest.mark.parametrize("size", [1500, 6000, 200_000])
def test_an_id_at_the_end_of_a_dropped_request_is_read(size):
    """The TypeScript SDK writes the id as the last member."""
    text = b'{"method":"x","params":{"y":"%b"},"jsonrpc":"2.0","id":"a b"}' % (b"z" * size)
    for pieces in ([text], [text[:900], text[900:]], [text[:-3], text[-3:]]):
        [line] = read(*pieces, limit=1000)
        assert refused_ids(line, Limits()) == [b'"a b"']


def test_an_id_at_the_end_of_a_request_that_is_nested_too_deep_is_read():
    text = b'{"method":"x","params":{"y":"%b","z":%b},"jsonrpc":"2.0","id":9}'
    [line] = read(text % (b"z" * 70_000, b"[" * 40 + b"]" * 40), limit=1_000_000, depth=10)
    assert "nested deeper" in fault_of(line).text
    assert refused_ids(line, Limits()) == [b"9"]


def test_a_dropped_response_has_no_id_for_an_error():
    [line] = read(b'{"result":"%b","jsonrpc":"2.0","id":9}\n' % (b"z" * 2000), limit=1000)
    assert refused_ids(line, Limits()) == [b"null"]


def test_the_limit_does_not_count_the_end_of_the_line():
    assert read(b"x" * 10 + b"\r", b"\n", limit=10) == [b"x" * 10]
    [line] = read(b"x" * 10 + b"\r", b"y\n", limit=10)
    assert fault_of(line) is not None


def test_a_dropped_control_line_is_not_reported():
    assert read(b"#" + b"x" * 2000 + b"\n{}\n", limit=1000) == [b"{}"]


def test_a_large_line_is_checked_once_also_without_its_mark_and_its_carriage_return():
    text = b'"%b"' % (b"x" * 70_000)
    [line] = read(b"\xef\xbb\xbf" + text + b"\r\n")
    assert line == text
    assert isinstance(line, CheckedText)


def test_an_unfinished_large_line_is_held_until_it_is_refused():
    reader = LineReader(LIMIT, 64)
    reader.refuse(Rejection(429, -32000, "nothing to refuse"))
    reader.feed(b"x" * 65_536)
    assert reader.held == 0
    reader.feed(b"x" * 4_464)
    assert reader.held == 70_000
    reader.refuse(Rejection(429, -32000, "too much"))
    assert reader.held == 0
    [line, other] = reader.feed(b"\n{}\n")
    assert (fault_of(line).text, other) == ("too much", b"{}")


def test_control_lines():
    assert is_control(b"#drain")
    assert not is_control(b"{}")
    assert end_line(69) == b"#end 69"
    assert end_line(69, "the\r\nserver \ud800") == b"#end 69 the server ?"


def test_the_upgrade_needs_its_name():
    check_pipe_upgrade("mcp-pipe", 11, None, chunked=False)
    check_pipe_upgrade("mcp-pipe", 11, 0, chunked=False)


@pytest.mark.parametrize(
    ("upgrade", "version", "length", "chunked", "status"),
    [
        ("websocket", 11, None, False, 426),
        ("", 11, None, False, 426),
        ("mcp-pipe", 10, None, False, 400),
        ("mcp-pipe", 11, 5, False, 400),
        ("mcp-pipe", 11, None, True, 400),
    ],
)
def test_another_upgrade_is_refused(upgrade, version, length, chunked, status):
    with pytest.raises(Rejection) as caught:
        check_pipe_upgrade(upgrade, version, length, chunked=chunked)
    assert caught.value.status == status
    assert (dict(caught.value.headers).get(b"Upgrade") == b"mcp-pipe") is (status == 426)
