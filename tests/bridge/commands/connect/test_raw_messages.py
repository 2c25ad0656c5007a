"""Ids and reasons in raw messages."""

import pytest

from mcpbridged.bridge.commands.connect.raw_messages import (
    id_in,
    one_line,
    reason_of,
    response_ids,
    revision_in,
    value_of,
)


def test_spellings_of_an_id_have_one_value():
    assert value_of(b"1") == value_of(b"1.0")
    assert value_of(b'"a"') == value_of(b'"\\u0061"') == "a"
    assert value_of(b"[1]") == b"[1]"
    assert value_of(b"{") == b"{"


def test_the_id_of_a_broken_request_is_found():
    assert id_in(b'{"jsonrpc":"2.0","id":7,"method":8}') == b"7"
    assert id_in(b"no JSON") == b"null"


def test_a_text_is_put_on_one_line_in_utf_8():
    assert one_line(b'{\r\n"a":1}\n') == b'{  "a":1}'
    assert one_line(b'"\xff"') == '"\N{REPLACEMENT CHARACTER}"'.encode()


@pytest.mark.parametrize(
    ("line", "ids"),
    [
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', (b"1",)),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', ()),
        (b'{"jsonrpc":"2.0","method":"x"}', ()),
        (b'{"id":1,"error":{}}', (b"1",)),
        (b'{"id":1,"level":"info"}', None),
        (b'[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":"a","error":{}}]', (b"1", b'"a"')),
        (b"[1, {}]", None),
        (b"a banner", None),
        (b"[" * 100_000, ()),
    ],
)
def test_the_responses_in_a_line_of_the_server_are_found(line, ids):
    assert response_ids(line) == ids


def test_the_reason_and_the_revision_are_texts_or_empty():
    assert reason_of(b'{"data":{"reason":"restarts"}}') == "restarts"
    assert reason_of(b'{"data":7}') == reason_of(b"") == reason_of(b'{"data":{"reason":7}}') == ""
    assert revision_in(b'{"protocolVersion":"2025-06-18"}') == "2025-06-18"
    assert revision_in(b"{}") == ""
