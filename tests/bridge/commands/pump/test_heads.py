"""Ids and methods of JSON-RPC messages, which `scan` reads without a parser where that is exact."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.bridge.commands.pump.heads import Head, cancelled_key, key_of, parse, scan

CALL = Head(b"1", b"tools/call")
PAYLOAD = r'{"name":"x","arguments":{"id":7,"text":"\",\"id\":9}","last":{"id":8}}}'


def whole(text):
    return scan(text, text)


COMMON = [
    # As Python 2.x, Go and Rust write it, and the bridge itself.
    (f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{PAYLOAD}}}', CALL),
    # As TypeScript and Python 1.x.
    (f'{{"method":"tools/call","params":{PAYLOAD},"jsonrpc":"2.0","id":1}}', CALL),
    # As C#.
    (f'{{"method":"tools/call","params":{PAYLOAD},"id":1,"jsonrpc":"2.0"}}', CALL),
    # As Java.
    (f'{{"jsonrpc":"2.0","method":"tools/call","id":1,"params":{PAYLOAD}}}', CALL),
    # As json.dumps of Python.
    (f'{{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {PAYLOAD}}}', CALL),
    (f'{{"method": "tools/call", "params": {PAYLOAD}, "jsonrpc": "2.0", "id": 1}}', CALL),
    ('{"id":"a-\u00fc","jsonrpc":"2.0","method":"ping"}', Head('"a-\u00fc"'.encode(), b"ping")),
    ('{"jsonrpc":"2.0","id":-5,"method":"ping"}', Head(b"-5", b"ping")),
    ('{"jsonrpc":"2.0","id":12345678901234567890,"method":"ping"}', Head(b"12345678901234567890", b"ping")),
    ('{"method":"notifications/initialized","jsonrpc":"2.0"}', Head(b"", b"notifications/initialized")),
    ('{"jsonrpc":"2.0","method":"notifications/x","params":{"text":"y"}}', Head(b"", b"notifications/x")),
    ('{"jsonrpc":"2.0","id":5,"result":{"id":6}}', Head(b"5")),
    ('{"result":{"id":6},"jsonrpc":"2.0","id":5}', Head(b"5")),
    ('{"jsonrpc":"2.0","id":5,"error":{"code":1}}', Head(b"5", is_error=True)),
    ('{"error":{"code":1},"jsonrpc":"2.0","id":"5"}', Head(b'"5"', is_error=True)),
    ('{"jsonrpc":"2.0","id":1,"method":"ping"} \r', Head(b"1", b"ping")),
]


@pytest.mark.parametrize(("text", "head"), COMMON)
def test_common_layouts_need_no_parser(text, head):
    data = text.encode()
    assert whole(data) == head
    assert [_canonical(found) for found in parse(data)] == [_canonical(head)]


UNUSUAL = [
    '{"jsonrpc":"2.0","id":1.0,"method":"ping"}',
    '{"jsonrpc":"2.0","id":"\\u0061","method":"ping"}',
    '{"jsonrpc":"2.0","\\u0069d":1,"method":"ping"}',
    '{"jsonrpc":"2.0","method":"ping","params":{},"\\u0069d":1}',
    '{"jsonrpc":"2.0","method":"ping","params":{},"id":1,"x":{}}',
    '{"params":{},"id":1,"method":"ping","jsonrpc":"2.0"}',
    ' {"jsonrpc":"2.0","id":1,"method":"ping"}',
    '{"jsonrpc" : "2.0","id":1,"method":"ping"}',
    '[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]',
    '{"jsonrpc":"2.0","method":"a\\"b","id":1}',
    '{"jsonrpc":"2.0","method":"x","id":1,"result":{}}',
    '{"jsonrpc":"2.0","id":"%s","method":"ping"}' % ("x" * 400),
    '{"jsonrpc":"2.0","method":"notifications/x","params":{"id":1}}',
    '{"jsonrpc":"2.0","method":"notifications/x","params":["a","id"]}',
]


@pytest.mark.parametrize("text", UNUSUAL)
def test_unusual_layouts_are_left_to_the_parser(text):
    assert whole(text.encode()) is None
    assert parse(text.encode())


@pytest.mark.parametrize(
    ("text", "heads"),
    [
        ('{"jsonrpc":"2.0","id":1.0,"method":"ping"}', [Head(b"1.0", b"ping")]),
        ('{"jsonrpc":"2.0","\\u0069d":"\\u0061","method":"ping"}', [Head(b'"a"', b"ping")]),
        (
            '[{"id":1,"method":"a"},{"id":2,"result":1},{"method":"b"},3]',
            [Head(b"1", b"a"), Head(b"2"), Head(b"", b"b")],
        ),
        ('{"id":null,"method":"a"}', []),
        ('{"id":true,"method":"a"}', []),
        ('{"id":1,"params":{}}', []),
        ('{"id":1,"error":null}', [Head(b"1", is_error=True)]),
        ("{", []),
        ("[" * 100_000, []),
        ("[]", []),
        ('{"id":%s,"method":"a"}' % ("1" * 5000), []),
    ],
)
def test_the_parser_reads_every_layout(text, heads):
    assert parse(text.encode()) == heads


def test_invalid_utf_8_does_not_hide_the_id():
    text = b'{"jsonrpc":"2.0","id":1,"x":"\xff","method":"ping"}'
    assert whole(text) is None
    assert parse(text) == [Head(b"1", b"ping")]


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b"7", b"7"),
        (b"0", b"0"),
        (b"-7", b"-7"),
        (b"-0", b"0"),
        (b"7.0", b"7"),
        (b"7e0", b"7"),
        (b"7.5", b"7.5"),
        (b'"7"', b'"7"'),
        (b'"\\u0061"', b'"a"'),
        (b'"\\u00fc"', '"\u00fc"'.encode()),
        (b'"\\ud83d"', b'"\xed\xa0\xbd"'),
        (b'"\\\\"', b'"\\\\"'),
        (b"007", b"007"),
    ],
)
def test_all_spellings_of_an_id_have_one_key(raw, key):
    assert key_of(raw) == key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5,"reason":"x"}}', b"5"),
        ('{"method":"notifications/cancelled","params":{"requestId":"a"},"jsonrpc":"2.0"}', b'"a"'),
        ('{"method":"notifications/cancelled","params":{"reason":"x","requestId":5.0}}', b"5"),
        ('{"method":"notifications/cancelled","params":{"requestId":"\\u0061"}}', b'"a"'),
        ('{"method":"notifications/cancelled","params":{"requestId":true}}', b""),
        ('{"method":"notifications/cancelled","params":[1]}', b""),
        ('{"method":"notifications/cancelled"}', b""),
        ("{", b""),
        ("[]", b""),
    ],
)
def test_the_request_that_is_cancelled_is_found(text, key):
    assert cancelled_key(text.encode()) == key


# ---- `scan` never contradicts the parser

_TRICKY = st.sampled_from(
    ['","id":9}', '"', "\\", '\\"', ',"jsonrpc":"2.0"}', "id", "\u00fc", "}", "\\u0069d"]
)
_TEXTS = st.one_of(st.text(max_size=8), st.lists(_TRICKY, max_size=4).map("".join))
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_TEXTS | st.sampled_from(["id", "method"]), inner, max_size=3)
    ),
    max_leaves=8,
)
_IDS = st.integers() | _TEXTS | st.sampled_from([1.0, 1.5, None, True, "x" * 300])
_METHODS = st.sampled_from(["ping", "tools/call", 'a"b', "notifications/x", "\u00fc"])
# A message with a method beside a result, or with a result beside an error, is refused by the daemon under its id.
_KINDS = st.one_of(
    st.fixed_dictionaries({"method": _METHODS}, optional={"params": _VALUES}),
    st.fixed_dictionaries({"result": _VALUES}),
    st.fixed_dictionaries({"error": _VALUES}),
    st.fixed_dictionaries({}, optional={"params": _VALUES}),
)
_OTHERS = st.fixed_dictionaries({}, optional={"jsonrpc": st.just("2.0"), "id": _IDS, "other": _VALUES})
_MEMBERS = st.tuples(_KINDS, _OTHERS).map(lambda found: {**found[0], **found[1]})


def _canonical(head):
    return key_of(head.raw_id) if head.raw_id else b"", head.method, head.is_error


@settings(max_examples=600)
@given(
    _MEMBERS.flatmap(lambda found: st.permutations(list(found.items()))),
    st.booleans(),
    st.booleans(),
    st.data(),
)
def test_scan_is_exact_or_leaves_a_text_to_the_parser(items, spaced, ascii_only, data):
    separators = (", ", ": ") if spaced else (",", ":")
    text = json.dumps(dict(items), separators=separators, ensure_ascii=ascii_only).encode(
        "utf-8", "surrogatepass"
    )
    expected = [_canonical(head) for head in parse(text)]
    found = whole(text)
    assert found is None or [_canonical(found)] == expected
    # A text in pieces: its begin and its end.
    begin = data.draw(st.integers(1, len(text)))
    end = data.draw(st.integers(1, len(text)))
    found = scan(text[:begin], text[-end:])
    assert found is None or [_canonical(found)] == expected
