"""The JSON-RPC envelope, by literals and by properties."""

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.validators import json_object, jsonrpc
from mcpbridged.validators.incremental_json import CheckedText, TextBuffer, depth_ok
from mcpbridged.validators.jsonrpc import Notification, Request, Response, decode
from mcpbridged.validators.limits import UNLIMITED, Limits
from mcpbridged.validators.rejection import INVALID_REQUEST, PARSE_ERROR, Rejection

LIMITS = Limits()


def refused(text: bytes, limits: Limits = LIMITS) -> Rejection:
    with pytest.raises(Rejection) as caught:
        decode(text, limits)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', Request(b"1", "ping", b"")),
        (b'{"jsonrpc":"2.0","id":"1","method":"ping","params":{}}', Request(b'"1"', "ping", b"{}")),
        (b'{"id":9007199254740993,"method":"a/b","jsonrpc":"2.0"}', Request(b"9007199254740993", "a/b", b"")),
        (b'{"jsonrpc":"2.0","id":-0,"method":"ping"}', Request(b"-0", "ping", b"")),
        (
            b'{"jsonrpc":"2.0","id":18446744073709551616,"method":"x"}',
            Request(b"18446744073709551616", "x", b""),
        ),
        (b'{"jsonrpc":"2.0","method":"notifications/x"}', Notification("notifications/x", b"")),
        (b'{"jsonrpc":"2.0","method":"n","params":{"a":[1, 2]}}', Notification("n", b'{"a":[1, 2]}')),
        (b'{"jsonrpc":"2.0","id":1,"result":{"a":1}}', Response(b"1", b'{"a":1}', b"")),
        (b'{"jsonrpc":"2.0","id":10e-1,"result":{}}', Response(b"10e-1", b"{}", b"")),
        (
            b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}',
            Response(b"1", b"", b'{"code":1,"message":""}'),
        ),
        (b' {"jsonrpc" : "2.0", "id" : 1,\r\n"method":"ping"}\n', Request(b"1", "ping", b"")),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"a":\r1,\n"b":2}}',
            Request(b"1", "a", b'{"a": 1, "b":2}'),
        ),
        (b'{"jsonrpc":"2.0","method":"a","params":{"a":\r1}}', Notification("a", b'{"a": 1}')),
        (b'{"jsonrpc":"2.0","id":1,"result":{"a":\n1}}', Response(b"1", b'{"a": 1}', b"")),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"x","unknown":{"id":2}}',
            Request(b"1", "tools/list", b""),
        ),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"t","params":{"id":2,"method":"x","params":1}}',
            Request(b"1", "t", b'{"id":2,"method":"x","params":1}'),
        ),
        ('{"jsonrpc":"2.0","id":"é","method":"ping"}'.encode(), Request('"é"'.encode(), "ping", b"")),
        (b'{"jsonrpc":"2.0","id":1,"method":"__proto__"}', Request(b"1", "__proto__", b"")),
    ],
)
def test_valid_input_is_decoded(text, message):
    assert decode(text, LIMITS) == message


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"a":1}{',
        b'{"a":NaN}',
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b'{"a":01}',
        b"'a'",
        b'{"a":1,}',
        '{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16"),
        b'{"jsonrpc":"2.0","id":1,"method":"a\\ud800"}',
        b'{"jsonrpc":"2.0","id":"\\ud800","method":"a"}',
        b'{"a":"\\ud800\\u"}',
        b'{"a":"\\ud800\x01\x02\\\\"}',
        b'{"a":"\\ud800",}',
        b'{"a":"\xed\xa0\x80"}',
    ],
)
def test_a_text_that_is_not_json_is_a_parse_error(text):
    assert refused(text).code == PARSE_ERROR


@pytest.mark.parametrize(
    ("text", "expected_text"),
    [
        (b"1", "JSON-RPC"),
        (b"[]", "JSON-RPC"),
        (b'"a"', "JSON-RPC"),
        (b'{"id":1,"method":"a"}', "jsonrpc"),
        (b'{"jsonrpc":"1.0","id":1,"method":"a"}', "jsonrpc"),
        (b'{"jsonrpc":2.0,"id":1,"method":"a"}', "JSON-RPC"),
        (b'{"jsonrpc":"2.0"}', "method or an id"),
        (b'{"jsonrpc":"2.0","result":{}}', "method or an id"),
        (b'{"jsonrpc":"2.0","id":1}', "either a result or an error"),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', "either a result or an error"),
        (b'{"jsonrpc":"2.0","id":1,"error":"no"}', "error must be an object"),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","result":{}}', "either a method"),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","error":{}}', "either a method"),
        (b'{"jsonrpc":"2.0","id":1,"method":1}', "JSON-RPC"),
        (b'{"jsonrpc":"2.0","id":1,"method":""}', "128"),
        (b'{"jsonrpc":"2.0","id":1,"method":"a\\nb"}', "control"),
        (b'{"jsonrpc":"2.0","id":null,"method":"a"}', "string or an integer"),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"a"}', "string or an integer"),
        (b'{"jsonrpc":"2.0","id":1e3,"method":"a"}', "string or an integer"),
        (b'{"jsonrpc":"2.0","id":true,"method":"a"}', "string or an integer"),
        (b'{"jsonrpc":"2.0","id":{},"method":"a"}', "string or an integer"),
        (b'{"jsonrpc":"2.0","id":[],"method":"a"}', "string or an integer"),
        (b'{"jsonrpc":"2.0","id":"' + b"x" * 257 + b'","method":"a"}', "259 bytes exceeds the limit of 256"),
        (b'{"jsonrpc":"2.0","id":' + b"1" * 259 + b',"method":"a"}', "259 bytes exceeds the limit of 256"),
        (b'{"jsonrpc":"2.0","id":' + b"1" * 259 + b',"result":{}}', "259 bytes exceeds the limit of 256"),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":[1]}', "params must be an object"),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":0}', "params must be an object"),
        (b'{"jsonrpc":"2.0","id":1,"method":null}', "either a result or an error"),
        (b'{"jsonrpc":"2.0","id":1,"method":null,"params":{}}', "either a result or an error"),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1}}', "either a result or an error"),
        (b'{"jsonrpc":"2.0","id":1,"error":null}', "error must be an object"),
        (b'{"x":"\\ud800","jsonrpc":2,"id":1}', "JSON-RPC"),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"a":"\\ud800"},"params":{}}', "repeated"),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":"x"}', "params must be an object"),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}', "repeated"),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}', "repeated"),
        (b'{"jsonrpc":"2.0","method":"a","params":{},"params":{"x":1}}', "repeated"),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","m\\u0065thod":"b"}', "repeated"),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"result":{}}', "repeated"),
        (b'{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"a"}', "repeated"),
        (b'{"x":{},"jsonrpc":"2.0","id":1,"method":"a","method":"b","params":{}}', "repeated"),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"a","params":' + b'{"a":' * 64 + b"1" + b"}" * 64 + b"}",
            "limit of 64",
        ),
        (b'{"a":' * 100_000, "limit of 64"),
        (b"[" * 100_000, "JSON-RPC"),
    ],
)
def test_json_that_is_not_a_message_is_an_invalid_request(text, expected_text):
    rejection = refused(text)
    assert rejection.code == INVALID_REQUEST
    assert expected_text in rejection.text


@pytest.mark.parametrize("text", [b"x" * 100_000, b"\\n" * 50_000])
def test_a_large_result_is_not_copied(text):
    line = b'{"jsonrpc":"2.0","id":1,"result":{"text":"%b"}}' % text
    message = decode(line, LIMITS)
    assert isinstance(message.result, msgspec.Raw)
    assert jsonrpc.response(b'"7"', message) == line.replace(b'"id":1', b'"id":"7"')
    spaced = line.replace(b'"id":1', b'"id":\r1')
    assert jsonrpc.response(b"1", decode(spaced, LIMITS)) == line


def test_exactly_the_depth_limit_passes():
    nested = b'{"a":' * 63 + b"1" + b"}" * 63
    assert decode(b'{"jsonrpc":"2.0","id":1,"method":"a","params":%b}' % nested, LIMITS)


def test_an_unknown_member_that_repeats_the_params_text_does_not_hide_a_repetition():
    assert decode(b'{"jsonrpc":"2.0","x":{"a":1},"id":1,"method":"a","params":{"a":1}}', LIMITS)


def test_a_written_message_is_one_line_with_the_same_id():
    assert jsonrpc.request(b"7", "a", b'{"b":1}') == b'{"jsonrpc":"2.0","id":7,"method":"a","params":{"b":1}}'
    assert jsonrpc.request(b'"x"', 'quo"te', b"") == b'{"jsonrpc":"2.0","id":"x","method":"quo\\"te"}'
    assert jsonrpc.notification("n", b"") == b'{"jsonrpc":"2.0","method":"n"}'
    assert jsonrpc.response(b"9", Response(b"1", b"{}", b"")) == b'{"jsonrpc":"2.0","id":9,"result":{}}'
    assert jsonrpc.response(b"9", Response(b"1", b"", b"{}")) == b'{"jsonrpc":"2.0","id":9,"error":{}}'
    assert json.loads(jsonrpc.error(b"null", -1, "a\nb")) == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -1, "message": "a\nb"},
    }
    assert json.loads(jsonrpc.error(b"1", -1, "a", {"b": 1}))["error"]["data"] == {"b": 1}


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        (b'{"id":7,"method":"a"}', b"7"),
        (b'{"id":"7","method":"a"}', b'"7"'),
        (b'{"id":7}', b"null"),
        (b'{"method":"a"}', b"null"),
        (b'{"id":null,"method":"a"}', b"null"),
        (b'{"id":"' + b"x" * 256 + b'","method":"a"}', b'"' + b"x" * 256 + b'"'),
        (b'{"id":"' + b"x" * 257 + b'","method":"a"}', b"null"),
        (b"[]", b"null"),
        (b"{", b"null"),
        (b'{"id":7,"method":"\xff"}', b"7"),
        (b'{"id":"\xff","method":"a"}', b"null"),
        (b'{"id":7,"result":"\xff"}', b"null"),
        (b"[" * 10_000, b"null"),
    ],
)
def test_the_id_of_a_refused_message_is_read_where_it_can_be(text, raw):
    assert jsonrpc.readable_id(text) == raw


def test_the_limit_of_an_id_does_not_count_its_quotation_marks():
    for responds in (b'"method":"a"', b'"result":{}'):
        text = b'{"jsonrpc":"2.0","id":"%b",' + responds + b"}"
        assert decode(text % b"abc", Limits(id=3)).id == b'"abc"'
        assert "6 bytes exceeds the limit of 3" in refused(text % b"abcd", Limits(id=3)).text


def test_without_limits_a_message_may_be_of_any_size():
    nested = b'{"a":' * 100 + b"1" + b"}" * 100
    text = b'{"jsonrpc":"2.0","id":"%b","method":"%b","params":%b}' % (b"x" * 300, b"m" * 200, nested)
    assert decode(text, UNLIMITED) == Request(b'"%b"' % (b"x" * 300), "m" * 200, nested)


def test_white_space_around_a_message_is_ignored():
    text = b" " * 100_000 + b'{"jsonrpc":"2.0","id":1,"method":"a"}' + b"\n" * 100_000
    assert decode(text, LIMITS) == Request(b"1", "a", b"")


def test_unknown_members_of_a_message_are_small():
    text = b'{"jsonrpc":"2.0","id":1,"method":"a/b","params":{"x":[%b1]},"x":[%b1]}'
    assert decode(text % (b"1," * 50_000, b"1," * 30_000), LIMITS).method == "a/b"
    with pytest.raises(Rejection, match="has 70057 bytes, and the limit is 65536") as caught:
        decode(text % (b"", b"1," * 35_000), LIMITS)
    assert caught.value.code == INVALID_REQUEST


PYTHON_SPACING = [
    b'{"jsonrpc":"2.0","id":5, "result":"result"}',
    b'{"jsonrpc": "2.0", "id": 10, "result": 1}',
    b'{"jsonrpc": "2.0", "id": 2, "result": 2.0}',
    b'{"result": "id", "id": "result", "jsonrpc": "2.0"}',
    b'{"x": [{"result": 1}, "result\\""], "jsonrpc": "2.0", "id": 1, "result": 1 }',
    b' { "\\u0072esult" : null , "jsonrpc" : "2.0" , "id" : 1 } ',
    b'{"jsonrpc": "2.0", "id": 1, "error": {}, "data": {}}',
    b'{"params": {"jsonrpc": "2.0"}, "jsonrpc": "2.0", "method": "params"}',
    b'{"method": "a", "jsonrpc": "2.0", "params": {"a": 1, "a": 2}, "id": "params", "y": {"a": 1, "a": 2}}',
]


@pytest.mark.parametrize("text", PYTHON_SPACING)
def test_members_may_have_any_order_and_white_space(text):
    message, wanted = decode(text, LIMITS), json.loads(text)
    if isinstance(message, Response):
        assert json.loads(message.id) == wanted["id"]
        assert json.loads(message.error or message.result) == wanted.get("error", wanted.get("result"))
    else:
        assert message.method == wanted["method"]
        assert json.loads(message.params) == wanted["params"]


@pytest.mark.parametrize(
    "text",
    [
        b'{"jsonrpc":"2.0","id":1,"result":10,"result":1}',
        b'{"jsonrpc":"2.0","id":1,"result":1,"result":1}',
        b'{"jsonrpc":"2.0","id":1,"result":1,"result":10}',
        b'{"jsonrpc":"2.0","id":1,"result":1.5,"result":1}',
        b'{"jsonrpc":"2.0","id":1,"result":"1", "\\u0072esult":1}',
        b'{"jsonrpc":"2.0","method":"a","params":{"b":1},"params":{}}',
        b'{"jsonrpc":"2.0","method":"a","params":{},"params":{}}',
        b'{"jsonrpc":"2.0","method":"a","params":{},"x":1,"x":2}',
        b'{"jsonrpc":"2.0","method":"a","x":{},"x":{}}',
        b'{"jsonrpc":"2.0","id":1,"error":{"a":1},"error":{}}',
    ],
)
def test_a_repeated_member_is_refused_at_any_position(text):
    assert refused(text).text == "a member of the message is repeated"


MEMBERS = st.lists(
    st.sampled_from(
        [
            b'"jsonrpc":"2.0"',
            b'"id":5',
            b'"id": "result"',
            b'"id":null',
            b'"method":"params"',
            b'"method":"\\ud83d"',
            b'"result":"result"',
            b'"result" : 5',
            b'"error":{"code":5}',
            b'"error":null',
            b'"params":{"params":{}}',
            b'"params": []',
            b'"par\\u0061ms":{"\xff":1}',
            b'"other":[[["id"]]]',
            b'"other":' + b"[" * 1200 + b"]" * 1200,
            b'"\\ud83d":1',
            b'"":""',
        ]
    ),
    max_size=7,
)


@given(MEMBERS, st.sampled_from([b",", b", ", b"\n,\r\t"]), st.data())
@settings(max_examples=600)
def test_the_decoder_raises_rejections_only(members, comma, data):
    text = b"{" + comma.join(members) + b"}"
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.binary(max_size=3)) + text[at + data.draw(st.integers(0, 3)) :]
    only_rejections(text)


@given(
    st.binary(max_size=200)
    | st.text(st.sampled_from('{}[]",:\\\ud800 1e-.u0jsonrpcid'), max_size=80).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )
)
@settings(max_examples=600)
def test_the_decoder_raises_rejections_only_for_any_bytes(text):
    only_rejections(text)


def only_rejections(text):
    for deep in (False, True):
        with suppress(Rejection):
            decode(text, LIMITS, deep=deep)
    with suppress(Rejection):
        for member in jsonrpc.split_batch(text, LIMITS):
            assert isinstance(member, bytes)
    assert jsonrpc.readable_id(text) is not None
    assert jsonrpc.request_id_in_prefix(text) is not None


@pytest.mark.parametrize("levels", [65, 512, 700])
def test_a_line_of_a_server_may_be_deep(levels):
    result = b"[" * levels + b"]" * levels
    message = decode(b'{"jsonrpc":"2.0","id":1,"result":%b}' % result, LIMITS, deep=True)
    assert bytes(message.result) == result
    assert refused(b'{"jsonrpc":"2.0","id":1,"result":%b}' % result).code == INVALID_REQUEST


def deeper(calls, text):
    return deeper(calls - 1, text) if calls else json_object.read(text)


def test_a_part_of_the_deepest_line_of_a_server_can_be_read_deeper_in_the_stack():
    def result(levels):
        nested = b'{"a":%b1%b}' % (b"[" * levels, b"]" * levels)
        return decode(b'{"jsonrpc":"2.0","id":1,"result":%b}' % nested, LIMITS, deep=True).result

    least, most = 512, 50_000
    while most - least > 1:
        levels = (least + most) // 2
        try:
            result(levels)
            least = levels
        except Rejection:
            most = levels
    assert list(deeper(50, result(least))) == ["a"]


def test_a_text_too_deep_for_the_decoder_is_refused():
    text = b'{"jsonrpc":"2.0","id":1,"result":%b}' % (b"[" * 50_000 + b"]" * 50_000)
    with pytest.raises(Rejection, match="deeper than the decoder can follow") as caught:
        decode(text, LIMITS, deep=True)
    assert caught.value.code == INVALID_REQUEST


@pytest.mark.parametrize(
    ("prefix", "raw"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":"aaaa', b"7"),
        (b' {"id" : "a\\"b" , "params":{', b'"a\\"b"'),
        (b'{"method":"x","meta":{"id":1},"id":-2,"', b"-2"),
        (b'{"id":12', b"null"),
        (b'{"id":"12', b"null"),
        (b'{"id":1.5,"method":', b"null"),
        (b'{"id":"' + b"a" * 300 + b'","method":', b"null"),
        (b'{"id":7,"result":{"a', b"null"),
        (b'{"id":7,"error":{"a', b"null"),
        (b'{"params":{"a":[', b"null"),
        (b'{"params":' + b"[" * 4000, b"null"),
        (b"", b"null"),
        (b"[[[", b"null"),
        (b'[{"id":1,"method":"x"', b"null"),
        (b'x{"id":1,"method":"x"', b"null"),
        (b'{"id":"\xff","method":"x"', b"null"),
        ('{"id":"é","method":"x"'.encode(), '"é"'.encode()),
        (b'{"id":', b"null"),
        (b'{"id"', b"null"),
        (b'{"id":1,"\xff":', b"1"),
    ],
)
def test_the_id_of_a_request_is_read_from_its_first_part(prefix, raw):
    assert jsonrpc.request_id_in_prefix(prefix) == raw


def gathered(text, size=65536):
    gathering = TextBuffer(LIMITS.json_depth)
    for at in range(0, len(text), size):
        gathering.add(text[at : at + size])
    return gathering.take()


def test_a_text_that_was_checked_piece_by_piece_is_not_checked_again():
    text = b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"a":"%b"}}' % ("é".encode() * 50_000)
    checked = gathered(text)
    assert type(checked) is CheckedText
    assert decode(checked, LIMITS) == decode(text, LIMITS)
    assert jsonrpc.readable_id(checked) == b"1"
    assert jsonrpc.split_batch(gathered(b"[" + text + b"]"), LIMITS) == [text]


@pytest.mark.parametrize(
    ("payload", "code"), [(b'"' + b"a" * 70_000 + b'\xff"', PARSE_ERROR), (b"[" * 70_000, INVALID_REQUEST)]
)
def test_a_text_that_failed_while_it_arrived_is_refused_under_its_id(payload, code):
    text = gathered(b'{"jsonrpc":"2.0","id":"x","method":"a","params":{"a":%b' % payload)
    assert refused(text).code == code
    assert jsonrpc.readable_id(text) == b'"x"'
    with pytest.raises(Rejection):
        jsonrpc.split_batch(text, LIMITS)


def test_batches_are_split():
    assert jsonrpc.is_batch(b" \n[1]")
    assert not jsonrpc.is_batch(b'{"a":[]}')
    assert jsonrpc.split_batch(b'[{"a":1}, {"b":2}]', LIMITS) == [b'{"a":1}', b'{"b":2}']


@pytest.mark.parametrize(
    ("text", "code", "expected_text"),
    [
        (b"[]", INVALID_REQUEST, "empty"),
        (b"[" + b",".join([b"1"] * 33) + b"]", INVALID_REQUEST, "more than 32 messages"),
        (b"[1", PARSE_ERROR, "JSON"),
        (b'["\xff"]', PARSE_ERROR, "UTF-8"),
        (b"[" * 100_000, PARSE_ERROR, "JSON"),
        (b"[" + b"1," * 100 + b"]", PARSE_ERROR, "JSON"),
    ],
)
def test_batches_that_are_refused(text, code, expected_text):
    with pytest.raises(Rejection, match=expected_text) as caught:
        jsonrpc.split_batch(text, LIMITS)
    assert caught.value.code == code


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('[]{}"\\,: ab\n\u2028é')),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from('[]{}"\\k')), inner),
    max_leaves=60,
)


def depth_of(value):
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 0


@given(TREES, st.integers(1, 8), st.booleans())
@settings(max_examples=400)
def test_depth_is_exact(tree, limit, ascii_only):
    text = json.dumps(tree, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert depth_ok(text, limit) == (depth_of(tree) <= limit)


@pytest.mark.parametrize("limit", [63, 64])
def test_depth_is_counted_exactly_in_large_documents(limit):
    deep = b"[" * 64 + b"]" * 64
    wide = b"[" + b",".join([b'[[[[[[[["x[",1]]]]]]]]'] * 500 + [deep[1:-1]]) + b"]"
    assert depth_ok(wide, limit) == (limit >= 64)


@pytest.mark.parametrize("strings", range(20))
def test_a_bracket_in_a_string_is_none_however_many_strings_come_before_it(strings):
    text = b"[" + b'"",' * strings + b'"]",' + b"[" * 9 + b"]" * 9 + b"]"
    assert depth_ok(text, 10)
    assert not depth_ok(text, 9)


@pytest.mark.parametrize(("opening", "closing"), [(b'{"a":', b"}"), (b"[", b"]")])
@pytest.mark.parametrize("padding", [0, 5000])
def test_the_depth_limit_holds_for_large_messages_too(opening, closing, padding):
    def message(levels):
        nested = b'{"pad":"%b","deep":%b1%b}' % (b"x" * padding, opening * levels, closing * levels)
        return b'{"jsonrpc":"2.0","id":1,"method":"a","params":%b}' % nested

    assert decode(message(62), LIMITS)
    with pytest.raises(Rejection, match="deeper than the limit of 64"):
        decode(message(63), LIMITS)


@given(
    st.integers() | st.text(),
    st.text(min_size=1, max_size=20),
    TREES.map(lambda tree: {"p": tree}),
    st.booleans(),
)
@settings(max_examples=300)
def test_any_request_is_decoded_unchanged(id_, method, params, spaced):
    text = json.dumps(
        {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}, indent=1 if spaced else None
    )
    try:
        message = decode(text.encode("utf-8", "surrogatepass"), LIMITS)
    except Rejection:
        return
    line = jsonrpc.request(message.id, message.method, message.params)
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.loads(line) == {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            Request(b'"7"', "tools/call", b"{}"),
            b'{"jsonrpc":"2.0","id":"7","method":"tools/call","params":{}}',
        ),
        (Notification("notifications/x", b""), b'{"jsonrpc":"2.0","method":"notifications/x"}'),
        (Response(b"7", b"[]", b""), b'{"jsonrpc":"2.0","id":7,"result":[]}'),
        (Response(b"7", b"", b"{}"), b'{"jsonrpc":"2.0","id":7,"error":{}}'),
    ],
)
def test_any_message_is_one_line(message, text):
    assert jsonrpc.line(message) == text


@pytest.mark.parametrize("raw_id", [b"7", b'"a\\"b"', b"-1", b'"x,y"'])
def test_the_id_of_a_written_response_is_found(raw_id):
    result = jsonrpc.response(raw_id, jsonrpc.Response(b"", b'{"id":1}', b""))
    assert jsonrpc.response_id(result) == raw_id
    assert jsonrpc.response_id(jsonrpc.error(raw_id, -1, "no")) == raw_id
    assert not jsonrpc.response_id(jsonrpc.request(raw_id, "ping", b""))
    assert not jsonrpc.response_id(jsonrpc.notification("ping", b""))


CUT = [
    (b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":"cut \\ud83d"}}', b'{"x":"cut \\ud83d"}'),
    (b'{"params": {"x":"\\uDE00"} ,"method":"a", "id": "\\\\u00e9","jsonrpc":"2.0"}', b'{"x":"\\uDE00"}'),
    (b'{"jsonrpc":"2.0","id":1,"method":"a","\\ud83d":1,"params":{"\\ud83d":"\\ud83d\\ude00"}}', None),
    (b'{"jsonrpc":"2.0","id":1,"method":"a","x":"\\ud83d","params":{"x":1}}', b'{"x":1}'),
    (b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"\xc3\xa9":"\\ud83d"},"\xc3\xa9":1}', None),
    (
        b'{"jsonrpc":"2.0","id":1,"method":"a\\u00e9","params":{"x":"\\\\\\ud83d",\n"y":1}}',
        b'{"x":"\\\\\\ud83d", "y":1}',
    ),
]


@pytest.mark.parametrize(("text", "params"), CUT)
def test_a_lone_surrogate_is_kept_byte_for_byte(text, params):
    for deep in (False, True):
        message = decode(text, LIMITS, deep=deep)
        assert json.loads(message.params) == json.loads(text)["params"]
        assert message.id in (b"1", b'"\\\\u00e9"')
        assert message.method in ("a", "a\u00e9")
        if params is not None:
            assert message.params == params


@pytest.mark.parametrize("padding", [b"", b"x" * 100_000])
def test_a_lone_surrogate_in_a_response_is_kept_byte_for_byte(padding):
    result = b'{"x":"%b\\ud83d"}' % padding
    message = decode(b'{"jsonrpc":"2.0","id":1,"result":%b}' % result, LIMITS)
    assert bytes(message.result) == result
    message = decode(b'{"jsonrpc":"2.0","id":1,"error":%b,"result":null}' % result, LIMITS, deep=True)
    assert (message.result, message.error) == (b"", result)


def test_too_much_around_the_payload_of_a_text_with_a_lone_surrogate_is_refused():
    text = b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":"\\ud83d"},"x":"%b"}'
    assert refused(text % (b"x" * 2_000_000)).code == PARSE_ERROR
    deep = b'{"jsonrpc":"2.0","id":1,"x":%b,"method":"a","params":{"x":"\\ud83d"}}'
    assert refused(deep % (b"[" * 5000 + b"]" * 5000)).code in (PARSE_ERROR, INVALID_REQUEST)
    with pytest.raises(Rejection):
        decode(b'{"a":"\\ud83d","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", LIMITS, deep=True)


def test_invalid_utf8_in_a_line_of_a_server_is_replaced():
    line = b'{"jsonrpc":"2.0","id":1,"result":"\xff\xed\xa0\x80%b"}'
    assert decode(line % b"", LIMITS, deep=True).result == '"\ufffd\ufffd\ufffd\ufffd"'.encode()
    assert refused(line % b"").code == PARSE_ERROR
    with pytest.raises(Rejection, match="not UTF-8"):
        decode(line % (b"\xff" * 2_000_000), LIMITS, deep=True)
    assert jsonrpc.split_batch(b'["\xff"]', LIMITS, deep=True) == ['"\ufffd"'.encode()]


def test_the_members_of_a_batch_with_a_lone_surrogate_are_those_of_its_text():
    assert jsonrpc.split_batch(b'[{"a":"\\ud83d"}, 1 ,[2,"\\uDE00"]]', LIMITS) == [
        b'{"a":"\\ud83d"}',
        b"1",
        b'[2,"\\uDE00"]',
    ]
    with pytest.raises(Rejection):
        jsonrpc.split_batch(b'{"a":"\\ud83d"}', LIMITS)


@pytest.mark.parametrize("raw_id", [b"1.0", b"-1.0", b"1e0", b"1.00E+00", b"-0", b"10", b"-0.0"])
def test_an_integer_is_an_id_however_it_is_written(raw_id):
    assert decode(b'{"jsonrpc":"2.0","id":%b,"method":"a"}' % raw_id, LIMITS) == Request(raw_id, "a", b"")
    assert jsonrpc.readable_id(b'{"id":%b,"method":"a","params":NaN}' % raw_id) == raw_id


@pytest.mark.parametrize("raw_id", [b"1.5", b"1e3", b"10e-1", b"null", b"true", b"[]", b"NaN"])
def test_a_number_that_is_not_an_integer_is_not_an_id(raw_id):
    with pytest.raises(Rejection):
        decode(b'{"jsonrpc":"2.0","id":%b,"method":"a"}' % raw_id, LIMITS)
    assert jsonrpc.readable_id(b'{"id":%b,"method":"a","params":NaN}' % raw_id) == b"null"


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":NaN}}', [b"1"]),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":[1,]}}', [b"1"]),
        (b'{"method":"a","params":{"x":[1,]},"jsonrpc":"2.0","id":"y"}', [b'"y"']),
        (b'{"method":"a","params":{"x":"' + b"x" * 70_000 + b'","y":NaN},"jsonrpc":"2.0","id":2}\n', [b"2"]),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":{"y":1,"id":5}', [b"1"]),
        (b'{"jsonrpc":"2.0","id":1,"meth', [b"1"]),
        (b'{"jsonrpc":"2.0","id":1,"result":{"x":NaN}}', [b"null"]),
        (b'{"jsonrpc":"2.0","id":1}', [b"null"]),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', [b"1"]),
        (b'{"jsonrpc":"2.0","id":1,"method":"a"}{"jsonrpc":"2.0","id":2,"method":"a"}', [b"1"]),
        (b'{"jsonrpc":"2.0","id":01,"method":"a"}', [b"null"]),
        (b'{"jsonrpc":"2.0","id" 1,"method":"a"}', [b"null"]),
        (b'{"jsonrpc":"2.0","id":null,"method":"a"}', [b"null"]),
        (b'{"jsonrpc":"2.0","id":1.5,"result":{}}', [b"null"]),
        (b"{}", [b"null"]),
        (b"", [b"null"]),
        (b"nonsense", [b"null"]),
        (b'[{"id":1,"method":"a"}, {"method":"a"}, 7, {"id":"b","method":"a"}]', [b"1", b'"b"']),
        (b'[{"method":"a"}]', [b"null"]),
        (b"[]", [b"null"]),
        (b'[{"id":1,"method":"a","params":NaN}]', [b"null"]),
        (b"[" + b",".join(b'{"id":%d,"method":"a"}' % n for n in range(33)) + b"]", [b"null"]),
    ],
)
def test_the_ids_of_the_error_responses_to_a_refused_text(text, ids):
    assert jsonrpc.refused_ids(text, LIMITS) == ids


@pytest.mark.parametrize(
    ("line", "raw_id"),
    [
        (b'{"jsonrpc":"2.0","id":5}', b"5"),
        (b'{"jsonrpc":"2.0","id":"5","msg":"x"}', b"5"),
        (b'{"id":5,"result":{}}', b"5"),
        (b'{"id":5,"error":"x"}', b"5"),
        (b'{"jsonrpc":"1.0","id":5.0,"result":{}}', b"5"),
        (b'{"jsonrpc":"2.0","id":5,"result":{"x":NaN}}', b"5"),
        (b'{"jsonrpc":"2.0","id":5,"method":null,"result":1,"error":1}', b"5"),
        (b'{"result":{"content":[1,]},"jsonrpc":"2.0","id":5}', b"5"),
        (b'{"jsonrpc":"2.0","id":5,"result":null,"error":1}', b"5"),
        (b'{"level":30,"msg":"x"}', b""),
        (b'{"id":2,"msg":"row"}', b""),
        (b'{"id":2,"error":null,"msg":"row"}', b""),
        (b"{}", b""),
        (b'{"jsonrpc":"2.0","level":30}', b""),
        (b'{"jsonrpc":"2.0","id":5,"method":7}', b""),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}', b""),
        (b'{"jsonrpc":"2.0","id":[5],"result":{}}', b""),
        (b"npm WARN", b""),
    ],
)
def test_an_invalid_line_belongs_to_a_call_by_its_id_and_its_members(line, raw_id):
    assert jsonrpc.call_of_invalid_line(line) == raw_id


@pytest.mark.parametrize(
    ("raw_id", "ours"),
    [
        (b"1", b"1"), (b'"1"', b"1"), (b"1.0", b"1"), (b'"1.0"', b"1"), (b"1e0", b"1"), (b"10e-1", b"1"), (b'" 12 "', b"12"), (b'"012"', b"12"),
        (b"1.5", b"1.5"), (b'"1.5"', b'"1.5"'), (b"-1", b"-1"), (b'"x1"', b'"x1"'), (b'""', b'""'), (b'"input-1"', b'"input-1"'), (b"", b""), (b'"1', b'"1'),
        (b"9" * 400 + b".0", b"9" * 400 + b".0"),
    ],
)  # fmt: skip
def test_numerically_equal_ids_are_equal(raw_id, ours):
    assert jsonrpc.wire_id(raw_id) == ours


@pytest.mark.parametrize(
    ("raw_id", "canonical"),
    [
        (b"7", b"7"), (b"7.0", b"7"), (b"-7e0", b"-7"), (b'"a"', b'"a"'), (b'"\\u0041"', b'"A"'), (b'"\\u00e9"', '"é"'.encode()),
        ('"é"'.encode(), '"é"'.encode()), (b'"7"', b'"7"'), (b'"\\ud83d"', b'"\\ud83d"'), (b"", b""), (b'"\xff"', b'"\xff"'),
    ],
)  # fmt: skip
def test_one_id_has_one_spelling(raw_id, canonical):
    assert jsonrpc.canonical_id(raw_id) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":null}', Request(b"1", "a", b"")),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":[ ]}', Request(b"1", "a", b"")),
        (b'{"jsonrpc":"2.0","method":"a","params":""}', Notification("a", b"")),
        (b'{"jsonrpc":"2.0","method":"a","params":[\n]}', Notification("a", b"")),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","result":null,"error":null}', Request(b"1", "a", b"")),
        (b'{"jsonrpc":"2.0","id":1,"result":{"a":1},"error":null}', Response(b"1", b'{"a":1}', b"")),
        (b'{"jsonrpc":"2.0","id":1,"error":[],"result":{}}', Response(b"1", b"{}", b"")),
        (b'{"jsonrpc":"2.0","id":1,"error":{},"result":1}', Response(b"1", b"1", b"")),
        (b'{"jsonrpc":"2.0","id":1,"error":{"a":1},"result":null}', Response(b"1", b"", b'{"a":1}')),
        (b'{"jsonrpc":"2.0","id":1,"error":{"a":1},"result":[]}', Response(b"1", b"", b'{"a":1}')),
        (b'{"jsonrpc":"2.0","id":1,"error":null,"result":null}', Response(b"1", b"null", b"")),
        (b'{"jsonrpc":"2.0","id":1,"method":null,"params":null,"result":2}', Response(b"1", b"2", b"")),
    ],
)
def test_a_null_or_empty_member_counts_as_absent(text, message):
    for deep in (False, True):
        assert decode(text, LIMITS, deep=deep) == message
