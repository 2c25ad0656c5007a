"""Checks of a text in pieces have the result of the same checks of the whole text."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcpbridged.validators import incremental_json
from mcpbridged.validators.incremental_json import CheckedText, DepthMeter, TextBuffer, fault_of
from mcpbridged.validators.rejection import INVALID_REQUEST, PARSE_ERROR

LIMIT = 8
TREES = st.recursive(
    st.none() | st.integers() | st.text(st.sampled_from('[]{}"\\,: ab\n\u2028é漢😀')),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from('[]{}"\\k')), inner),
    max_leaves=40,
)
SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=20)


def depth_of(text):
    """The depth of well-formed JSON, one byte after the other."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in text:
        if escaped or (in_string and byte not in b'"\\'):
            escaped = False
        elif byte == 0x5C:
            escaped = True
        elif byte == 0x22:
            in_string = not in_string
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def is_json(text):
    """Of a text that is none, the nesting is not defined."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def cut(text, sizes):
    at, found = 0, []
    while at < len(text):
        size = sizes[len(found) % len(sizes)]
        found.append(text[at : at + size])
        at += size
    return found


@given(TREES, SIZES, st.booleans(), st.integers(1, 5))
@settings(max_examples=400)
def test_depth_is_the_same_in_pieces(tree, sizes, ascii_only, limit):
    text = json.dumps(tree, ensure_ascii=ascii_only).encode()
    meter = DepthMeter(limit)
    assert all(map(meter.feed, cut(text, sizes))) == (depth_of(text) <= limit)


@pytest.mark.parametrize("levels", [1, 15, 16, 17, 63, 64, 65, 200])
@pytest.mark.parametrize("size", [1, 7, 16, 1000, 65536])
def test_depth_is_exact_where_brackets_are_counted_in_words(levels, size):
    text = b"[" + b",".join([b"[" * (levels - 1) + b"]" * (levels - 1)] * 30) + b"]"
    for limit in (levels - 1, levels):
        meter = DepthMeter(limit)
        assert all(meter.feed(text[at : at + size]) for at in range(0, len(text), size)) == (limit == levels)


@pytest.fixture
def small(monkeypatch):
    """As if some bytes were many: what is looked at in pieces, and in which."""
    monkeypatch.setattr(incremental_json, "WORTH_CHECKING", 20)
    monkeypatch.setattr(incremental_json, "_PIECE", 7)


@example([{"[[[[": None}, {"[[[[": None}], [1], b'"', 1)
@given(TREES, SIZES, st.binary(max_size=2), st.integers(0, 100))
@settings(max_examples=400)
def test_a_text_in_pieces_has_the_result_of_the_whole_text(tree, sizes, wrong, place):
    text = json.dumps(tree, ensure_ascii=False).encode()
    text = text[:place] + wrong + text[place:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental_json, "WORTH_CHECKING", 20)
        patch.setattr(incremental_json, "_PIECE", 7)
        gathering = TextBuffer(LIMIT)
        for piece in cut(text, sizes):
            gathering.add(piece)
        assert len(gathering) == len(text)
        taken = gathering.take()
    if len(text) <= 20:
        assert type(taken) is bytes
        assert taken == text
        return
    fault = fault_of(taken)
    if fault is None:
        assert taken == text
        assert text.decode()
        assert incremental_json.depth_ok(text, LIMIT) or not is_json(text)
    elif fault.code == PARSE_ERROR:
        with pytest.raises(UnicodeDecodeError):
            text.decode()
    else:
        assert fault.code == INVALID_REQUEST
        assert not (incremental_json.depth_ok(text, LIMIT) and is_json(text))


@pytest.mark.usefixtures("small")
def test_a_refused_text_is_no_longer_stored():
    gathering = TextBuffer(LIMIT)
    gathering.add(b"[" * 100)
    for _ in range(1000):
        gathering.add(b"[" * 1000)
    taken = gathering.take()
    assert isinstance(taken, CheckedText)
    assert len(taken) <= 4096
    assert taken.fault is not None
    gathering.add(b"{}")  # the next one
    assert gathering.take() == b"{}"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("end", range(1, 4))
def test_a_text_that_ends_within_a_character_is_no_utf8(end):
    gathering = TextBuffer(LIMIT)
    text = b'"' + b"a" * 26 + "😀".encode()[:end]
    gathering.add(text)
    fault = fault_of(gathering.take())
    assert fault is not None
    assert fault.code == PARSE_ERROR


@pytest.mark.parametrize(("size", "kind"), [(65_536, bytes), (65_537, CheckedText)])
def test_a_text_of_more_than_64_kib_is_checked_while_it_arrives(size, kind):
    gathering = TextBuffer(LIMIT)
    gathering.add(b"x" * size)
    assert type(gathering.take()) is kind


def test_other_bytes_have_no_fault():
    assert fault_of(b"[" * 100) is None


@pytest.mark.usefixtures("small")
def test_the_first_part_of_a_text_that_the_caller_refuses_is_stored():
    gathering = TextBuffer(LIMIT)
    fault = incremental_json.too_deep(1)
    gathering.add(b"ab")
    gathering.refuse(fault)
    gathering.refuse(incremental_json.not_utf8())  # the first reason counts
    gathering.add(b"c" * 5000)
    gathering.add(b"d")
    assert len(gathering) == 5003
    taken = gathering.take()
    assert fault_of(taken) is fault
    assert taken == b"ab" + b"c" * 4094


def test_a_small_text_is_checked_on_request():
    gathering = TextBuffer(LIMIT)
    gathering.add(b"\xc3")
    gathering.check()
    assert gathering.fault is None
    gathering.add(b"x")
    gathering.check()
    assert gathering.fault is not None
    assert gathering.fault.code == PARSE_ERROR
