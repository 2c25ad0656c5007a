"""Lines up to a limit: the same for every chunking, and the id of a message over the limit is found in its edges."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.bridge.commands.connect.bounded_lines import Lines, Oversize


def lines_of(pieces, limit=20):
    lines = Lines(limit)
    found = [line for piece in pieces for line in lines.feed(piece)]
    return found + lines.end()


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"\n", b"\r\n", b"x" * 20, b" "])), st.randoms())
def test_lines_are_the_same_whatever_the_pieces(parts, random):
    data = b"".join(parts)
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(5))
    pieces = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    found = lines_of(pieces)
    assert found == lines_of([data])
    assert [line for line in found if isinstance(line, bytes)] == [
        line.removesuffix(b"\r") for line in data.split(b"\n") if line.strip() and len(line) <= 20
    ]
    assert [line.size for line in found if isinstance(line, Oversize)] == [
        len(line) for line in data.split(b"\n") if len(line) > 20
    ]


LARGE = {"name": "t", "arguments": {"id": 9, "text": 'x"id":8,' * 1000, "more": {"jsonrpc": "2.0", "id": 7}}}


@pytest.mark.parametrize("raw_id", [5, -5, "five", 'f"\\5', 1.5])
@pytest.mark.parametrize("spaces", [None, (",", ":")])
@pytest.mark.parametrize(
    ("members", "is_response"),
    [
        (("jsonrpc", "id", "method", "params"), False),
        (("method", "params", "jsonrpc", "id"), False),
        (("params", "id", "method", "jsonrpc"), False),
        (("id", "params"), False),
        (("jsonrpc", "id", "result"), True),
        (("result", "jsonrpc", "id"), True),
        (("error", "id", "jsonrpc"), True),
    ],
)
def test_the_id_is_found_before_and_after_large_members(raw_id, spaces, members, is_response):
    values = {
        "jsonrpc": "2.0",
        "id": raw_id,
        "method": "tools/call",
        "params": LARGE,
        "result": LARGE,
        "error": LARGE,
    }
    text = json.dumps({name: values[name] for name in members}, separators=spaces).encode()
    [found] = lines_of([text])
    assert json.loads(found.id) == raw_id
    assert found.is_response == is_response


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"jsonrpc": "2.0", "method": "notifications/x", "params": LARGE}),
        json.dumps({"params": LARGE, "jsonrpc": "2.0", "method": "notifications/x"}),
        json.dumps([{"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": LARGE}]),
        json.dumps({"params": {"text": "x" * 3000, "id": 5}}),
        '"id":5' * 500,
        "x" * 5000,
    ],
)
def test_the_id_of_another_member_is_not_used(text):
    [found] = lines_of([text.encode()])
    assert found.id == b""
