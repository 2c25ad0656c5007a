"""JSON texts that parsers read differently, and invalid messages.

For each case the journal of the child has exactly one canonical line, or no line.
"""

import json
import re
import time

import pytest

from ..support.json_texts import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    INVALID_VALUES,
    MULTILINE,
    OPTIONAL_VALUES,
    PARSE_ERROR,
    REPEATED_MEMBERS,
    UNKNOWN_MEMBERS,
    VALUES,
    call,
    canonical,
    other_encodings,
)

pytestmark = pytest.mark.usefixtures("still_serving")


def send(bridge, session, body):
    """Send a body. Return the response and the lines that the child received."""
    with bridge.lines_received(session) as lines:
        began = time.monotonic()
        reply = bridge.exchange(bridge.post(body, session))
        assert time.monotonic() - began < 2
    return reply, lines


def assert_refused(bridge, session, body, code, status=400):
    reply, lines = send(bridge, session, body)
    assert (reply.status, reply.code) == (status, code), reply
    assert lines == []
    return reply


def assert_passed(bridge, session, body, method=b"test/echo", params=None):
    reply, lines = send(bridge, session, body)
    assert reply.status == 200, reply
    assert len(lines) == 1, lines
    found = canonical(lines[0])
    assert found[0] == method.decode()
    if params is not None:
        assert found[1] == params
    return reply


# ---- J01, inside of params: values that are no JSON (the n_ cases of the JSON parsing test suite)


@pytest.mark.parametrize("value", [pytest.param(value, id=name) for name, value in INVALID_VALUES.items()])
def test_j01_invalid_json_never_reaches_the_child(bridge, session, value):
    reply = assert_refused(bridge, session, call(value), PARSE_ERROR)
    assert reply.json["id"] is None or reply.json["id"] == 1


# ---- and values that are (the y_ cases): the child gets their very bytes


@pytest.mark.parametrize(
    "value", [pytest.param(value, id=name) for name, value in (VALUES | OPTIONAL_VALUES).items()]
)
def test_j01_valid_json_reaches_the_child_byte_for_byte_on_one_line(bridge, session, value):
    expected = b'{"x":' + value.replace(b"\r", b" ").replace(b"\n", b" ") + b"}"
    reply = assert_passed(bridge, session, call(value), params=expected)
    assert reply.json["result"]["params"]["x"] == json.loads(value)


# ---- J01, the text as a whole


@pytest.mark.parametrize("body", list(other_encodings()))
def test_j01_other_encodings_are_not_guessed(bridge, session, body):
    assert_refused(bridge, session, body, PARSE_ERROR)


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"\n", b"\0", b"{", b"}", b'{"', b'"', b"nul", b"undefined", b'{"jsonrpc":"2.0"', b"\x1e{}\n",
        b'{"jsonrpc":"2.0","id":1,"method":"test/echo"}{"jsonrpc":"2.0","id":2,"method":"test/echo"}',
        b'{"jsonrpc":"2.0","id":1,"method":"test/echo"}\n{"jsonrpc":"2.0","id":2,"method":"test/echo"}',
        b'{"jsonrpc":"2.0","id":1,"method":"test/echo"}\0', b'{"jsonrpc":"2.0","id":1,"method":"test/echo"},', b'{"jsonrpc":"2.0","id":1,"method":"test/echo"}x',
        b'\0{"jsonrpc":"2.0","id":1,"method":"test/echo"}', b"{'jsonrpc':'2.0'}", b"{jsonrpc:2.0}",
        b'{"jsonrpc":"2.0","id":1,"method":"test/echo",}', b'{"jsonrpc":"2.0","id":1,"method":"test/echo"}//', b'{"jsonrpc":"2.0","id":01,"method":"test/echo"}',
        b'{"jsonrpc":"2.0","id":1,"method":"test/\xff"}', b'{"jsonrpc":"2.0","id":1,"met\xffhod":"test/echo"}', b'{"jsonrpc":"2.0","id":"\xed\xa0\x80","method":"test/echo"}',
        b'{"jsonrpc":"2.0","id":1,"method":"test/echo","x":"\xc0\xaf"}', b'{"jsonrpc":"2.0","id":1,"method":"test/echo","x":NaN}',
        b'{"jsonrpc":"2.0","id":NaN,"method":"test/echo"}', b'{"jsonrpc":"2.0","id":1,"method":"test/\necho"}',
        b'Content-Length: 45\r\n\r\n{"jsonrpc":"2.0","id":1,"method":"test/echo"}', b"jsonrpc=2.0&method=test/echo", b"<x/>",
    ],
)  # fmt: skip
def test_j01_a_body_that_is_not_one_json_text_is_a_parse_error(bridge, session, body):
    reply = assert_refused(bridge, session, body, PARSE_ERROR)
    assert reply.json["jsonrpc"] == "2.0"


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"true",
        b"1",
        b'"x"',
        b"{}",
        b'{"jsonrpc":"2.0"}',
        b'{"x":1}',
        b" {} ",
        b'{"method":"test/echo","id":1}',
    ],
)
def test_j05_json_that_is_no_message_is_an_invalid_request(bridge, session, body):
    assert_refused(bridge, session, body, INVALID_REQUEST)


# ---- J02


@pytest.mark.parametrize("deep", [65, 1000, 100_000])
@pytest.mark.parametrize(("open_", "close"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_j02_depth_is_refused_at_once(bridge, session, deep, open_, close):
    repeat = deep if len(open_) != 6 else deep // 2
    inner = open_ * repeat + b"1" + close * repeat
    began = time.monotonic()
    assert_refused(bridge, session, call(inner), INVALID_REQUEST)
    assert time.monotonic() - began < 0.5


def test_j02_depth_64_is_passed_and_65_is_not(bridge, session):
    assert_passed(bridge, session, call(b"[" * 62 + b"]" * 62))
    assert_refused(bridge, session, call(b"[" * 63 + b"]" * 63), INVALID_REQUEST)


def test_j02_brackets_in_strings_are_not_depth(bridge, session):
    assert_passed(bridge, session, call(b'"' + b"[" * 1000 + b'\\"' + b"{" * 1000 + b'"'))


def test_j02_depth_hidden_behind_strings_is_depth(bridge, session):
    inner = b'["\\\\",' * 100 + b"1" + b"]" * 100
    assert_refused(bridge, session, call(inner), INVALID_REQUEST)


@pytest.mark.parametrize("unbalanced", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 3_000_000])
def test_j02_brackets_that_never_close_are_refused_at_once(bridge, session, unbalanced):
    began = time.monotonic()
    reply, lines = send(bridge, session, unbalanced)
    assert reply.status == 400
    assert reply.code in (PARSE_ERROR, INVALID_REQUEST)
    assert lines == []
    assert time.monotonic() - began < 1


def test_j02_16_mib_is_read_and_a_byte_more_is_not(bridge, session):
    limit = 16 * 1024 * 1024
    frame = len(call(b'""'))
    assert_passed(bridge, session, call(b'"' + b"a" * (limit - frame) + b'"'))
    assert_refused(
        bridge, session, call(b'"' + b"a" * (limit - frame + 1) + b'"'), INVALID_REQUEST, status=413
    )


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"[" + b"[]," * 600_000 + b"[]]", id="600,000 empty arrays"),
        pytest.param(b"[" + b"{}," * 600_000 + b"{}]", id="600,000 empty objects"),
        pytest.param(b"{" + b",".join(b'"%d":0' % n for n in range(200_000)) + b"}", id="200,000 members"),
        pytest.param(b"9" * 1_000_000, id="an integer of 10^6 digits"),
        pytest.param(b"1e" + b"9" * 1_000_000, id="an exponent of 10^6 digits"),
        pytest.param(b'"' + b"\\u0041" * 500_000 + b'"', id="500,000 escapes"),
        pytest.param(b'"' + b"\\\\" * 1_000_000 + b'"', id="a million backslashes"),
        pytest.param(b" " * 2_000_000 + b"1", id="2 MB of spaces"),
    ],
)
def test_j02_large_values_do_not_delay_others(bridge, session, value):
    """Require that other clients are served meanwhile, whether the value is accepted or refused."""
    with bridge.connect() as heavy, bridge.connect() as light:
        notification = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"x":%b}}' % value
        heavy.send(bridge.post(notification, session))
        began = time.monotonic()
        light.send(bridge.bare("GET", "/healthz"))
        assert light.reply().body == b"ok"
        assert time.monotonic() - began < 0.3
        assert heavy.reply().status in (202, 400)


HEAD = b'{"jsonrpc":"2.0","id":1,"method":"test/echo"'


@pytest.mark.parametrize("target", ["/mcp", "/messages"])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" + b"1," * 2_000_000 + b"1]", id="a batch of 2,000,000 numbers"),
        pytest.param(b"[" + b"[]," * 1_300_000 + b"[]]", id="a batch of 1,300,000 batches"),
        pytest.param(b"[" + b"{}," * 1_300_000 + b"{}]", id="a batch of 1,300,000 objects"),
        pytest.param(HEAD + b",%b}" % b",".join(b'"%x":0' % n for n in range(380_000)), id="380,000 members"),
        pytest.param(HEAD + b',"x":0' * 650_000 + b"}", id="one member 650,000 times"),
        pytest.param(HEAD + b',"x":[' + b"[]," * 1_300_000 + b"[]]}", id="a member of 1,300,000 arrays"),
    ],
)
def test_j02_a_body_that_would_take_many_times_its_size_is_refused_first(bridge, batching, target, body):
    with bridge.event_stream() as (events, path):
        if target == "/messages":
            bridge.exchange(bridge.post(bridge.initialize("2025-03-26"), target=path))
            assert events.message().json["id"] == 0
            request = bridge.post(body, target=path)
        else:
            request = bridge.post(body, batching)
        # Memory for a body of this size is allocated before the measurement.
        bridge.exchange(request.with_body(b"x" * len(body)))
        before = bridge.resident()
        reply = bridge.exchange(request)
    assert (reply.status, reply.code) == (400, INVALID_REQUEST)
    assert bridge.resident() - before < 16 * 1024


# ---- J03


@pytest.mark.parametrize(
    "id_", [b"null", b"1.5", b"1E3", b"true", b"false", b"{}", b"[]", b"[1]", b'{"a":1}', b'"' + b"a" * 300 + b'"', b"9" * 300]
)  # fmt: skip
def test_j03_an_invalid_id_is_refused(bridge, session, id_):
    assert_refused(bridge, session, call(b"1", id_), INVALID_REQUEST)


@pytest.mark.parametrize(
    "id_",
    [
        b"0", b"-0", b"-1", b"1", b'"1"', b"9007199254740993", b"18446744073709551616", b"-9223372036854775809", b"9" * 200, b'""', b'" "', b'"a"',
        b'"\\u0041"', b'"\\u00e9"', '"é"'.encode(), b'"\\\\"', b'"\\""', b'"\\n"', b'"\\u0000"', b'"\\/"', b'"__proto__"', b'"' + b"a" * 256 + b'"', b'"null"', b'"1.5"',
        '"\u2028"'.encode(), b'"\\u2028"', '"🌀"'.encode(), b'"$ID"', b'"{}"', b"1.0", b"1e0", b"-1.0",
    ],
)  # fmt: skip
def test_j03_an_id_is_returned_byte_for_byte(bridge, session, id_):
    reply = assert_passed(bridge, session, call(b"1", id_))
    assert reply.body.startswith(b'{"jsonrpc":"2.0","id":' + id_ + b",")


def test_j03_a_number_and_its_digits_are_two_ids(bridge, session):
    hold = b'{"jsonrpc":"2.0","id":%b,"method":"test/hold"}'
    with bridge.connect() as one, bridge.connect() as two:
        one.send(bridge.post(hold % b"7", session))
        bridge.sync(session)
        two.send(bridge.post(hold % b'"7"', session))
        bridge.sync(session)
        bridge.exchange(bridge.post(b'{"jsonrpc":"2.0","id":8,"method":"test/release"}', session))
        assert one.reply().body.startswith(b'{"jsonrpc":"2.0","id":7,')
        assert two.reply().body.startswith(b'{"jsonrpc":"2.0","id":"7",')


@pytest.mark.parametrize(
    ("first", "second"),
    [(b"7", b"7"), (b'"A"', b'"\\u0041"'), ('"é"'.encode(), b'"\\u00e9"'), (b'"/"', b'"\\/"')],
)
def test_j03_an_id_in_flight_is_refused_in_any_spelling(bridge, session, first, second):
    hold = b'{"jsonrpc":"2.0","id":%b,"method":"test/hold"}'
    with bridge.connect() as connection:
        connection.send(bridge.post(hold % first, session))
        bridge.sync(session)
        refusal = bridge.exchange(bridge.post(hold % second, session))
        bridge.exchange(bridge.post(b'{"jsonrpc":"2.0","id":"release","method":"test/release"}', session))
        assert connection.reply().json["result"] == {"released": True}
    assert (refusal.status, refusal.code) == (400, INVALID_REQUEST)


# ---- J04, V32


@pytest.mark.parametrize("body", REPEATED_MEMBERS)
def test_v32_a_repeated_member_is_refused(bridge, session, body):
    assert_refused(bridge, session, body, INVALID_REQUEST)


@pytest.mark.parametrize("body", UNKNOWN_MEMBERS)
def test_v32_only_the_members_of_json_rpc_reach_the_child(bridge, session, body):
    reply, lines = send(bridge, session, body)
    assert reply.status == 200
    assert len(lines) == 1
    assert re.fullmatch(rb'\{"jsonrpc":"2\.0","id":[0-9]+,"method":"test/echo"\}\n', lines[0])


# ---- V36


@pytest.mark.parametrize("body", MULTILINE)
def test_v36_a_message_over_many_lines_is_one_line_to_the_child(bridge, session, body):
    assert_passed(bridge, session, body)


@pytest.mark.parametrize(
    "body",
    [
        b'[\n{"jsonrpc":"2.0","id":1,"method":"test/echo"}\n]',
        b'[]\n{"jsonrpc":"2.0","id":1,"method":"test/echo"}\n',
        b'{"x":\n{"jsonrpc":"2.0","id":1,"method":"test/echo"}\n}',
        b'"\n{\\"jsonrpc\\":\\"2.0\\",\\"id\\":1,\\"method\\":\\"test/echo\\"}\n"',
        b'{"jsonrpc":"2.0","id":"\n","method":"test/echo"}',
        b'{"jsonrpc":"2.0","id":1,"method":"test/echo\\n{\\"jsonrpc\\":\\"2.0\\"}"}',
    ],
)
def test_v36_nothing_smuggles_a_line(bridge, session, body):
    reply, lines = send(bridge, session, body)
    assert reply.status == 400
    assert lines == []


# ---- J05


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"1.0","id":1,"method":"test/echo"}', b'{"jsonrpc":2.0,"id":1,"method":"test/echo"}', b'{"jsonrpc":"2.00","id":1,"method":"test/echo"}',
        b'{"jsonrpc":null,"id":1,"method":"test/echo"}', b'{"id":1,"method":"test/echo"}', b'{"jsonrpc":"2.0","id":1}', b'{"jsonrpc":"2.0","id":1,"method":null}',
        b'{"jsonrpc":"2.0","id":1,"method":1}', b'{"jsonrpc":"2.0","id":1,"method":["test/echo"]}', b'{"jsonrpc":"2.0","id":1,"method":{}}',
        b'{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}', b'{"jsonrpc":"2.0","id":1,"method":"test/echo","result":{}}',
        b'{"jsonrpc":"2.0","id":1,"method":"test/echo","error":{}}', b'{"jsonrpc":"2.0","result":{}}', b'{"jsonrpc":"2.0","id":null,"result":{}}',
        b'{"jsonrpc":"2.0","id":1,"error":1}', b'{"jsonrpc":"2.0","id":1,"error":"x"}', b'{"jsonrpc":"2.0","id":1,"error":[]}',
        b'{"jsonrpc":"2.0","id":1,"method":"test/echo","params":"x"}',
        b'{"jsonrpc":"2.0","id":1,"method":"test/echo","params":[1,2]}',
        b'{"jsonrpc":"2.0","id":1,"method":"test/echo","params":1}', b'{"jsonrpc":"2.0","id":1,"method":"test/echo","params":true}',
        b'{"jsonrpc":"2.0","method":"notifications/x","params":[1]}',
    ],
)  # fmt: skip
def test_j05_a_malformed_message_is_refused(bridge, session, body):
    assert_refused(bridge, session, body, INVALID_REQUEST)


@pytest.mark.parametrize("params", [b"null", b"[]", b"[ ]", b'""'])
def test_j05_params_that_are_null_or_empty_count_as_absent(bridge, session, params):
    body = b'{"jsonrpc":"2.0","id":1,"method":"test/echo","params":%b}' % params
    reply, lines = send(bridge, session, body)
    assert reply.json["result"] == {"method": "test/echo", "params": {}}
    assert [canonical(line) for line in lines] == [("test/echo", None)]
    notification = b'{"jsonrpc":"2.0","method":"notifications/x","params":%b}' % params
    reply, lines = send(bridge, session, notification)
    assert (reply.status, lines) == (202, [b'{"jsonrpc":"2.0","method":"notifications/x"}\n'])


# ---- J06

ECHO = b'{"jsonrpc":"2.0","id":%d,"method":"test/echo"}'


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"[1]",
        b"[[]]",
        b"[" + ECHO % 1 + b"]",
        b"[" + ECHO % 1 + b"," + ECHO % 2 + b"]",
        b'[{"jsonrpc":"2.0","method":"notifications/x"}]',
    ],
)
@pytest.mark.parametrize("version", ["2024-11-05", "2025-06-18", "2025-11-25"])
def test_j06_a_batch_is_refused_by_other_revisions(bridge, version, body):
    assert_refused(bridge, bridge.open_session(version), body, INVALID_REQUEST)


@pytest.fixture(scope="module")
def batching(bridge):
    return bridge.open_session("2025-03-26")


@pytest.mark.parametrize(
    "body",
    [
        b"[]", b"[ ]", b"[1]", b"[[]]", b"[[" + ECHO % 1 + b"]]", b"[" + ECHO % 1 + b",1]", b"[" + ECHO % 1 + b",[" + ECHO % 2 + b"]]",
        b"[" + b",".join(ECHO % n for n in range(33)) + b"]",
        b'[{"jsonrpc":"2.0","id":9,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}]',
        b"[" + ECHO % 1 + b',{"jsonrpc":"2.0","id":9,"method":"initialize","params":{"protocolVersion":"2025-03-26"}}]',
        b"[" + ECHO % 1 + b',{"jsonrpc":"2.0","id":2,"result":{}}]', b"[" + ECHO % 1 + b",{}]", b"[" + ECHO % 1 + b",null]",
    ],
)  # fmt: skip
def test_j06_an_invalid_batch_is_refused_as_a_whole(bridge, batching, body):
    assert_refused(bridge, batching, body, INVALID_REQUEST)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + ECHO % 1,
        b"[" + ECHO % 1 + b",]",
        b"[" + ECHO % 1 + b"]]",
        b"[" + ECHO % 1 + b" " + ECHO % 2 + b"]",
        b"[{]",
    ],
)
def test_j06_a_batch_that_is_not_json_is_a_parse_error(bridge, batching, body):
    assert_refused(bridge, batching, body, PARSE_ERROR)


def test_j06_a_batch_of_32_is_answered_as_a_whole(bridge, batching):
    body = b"[" + b",\r\n".join(ECHO % n for n in range(32)) + b"]"
    with bridge.lines_received(batching) as lines, bridge.connect() as connection:
        connection.send(bridge.post(body, batching))
        assert connection.head().status == 200
        answers = [event.json["id"] for event in connection.events() if event.data]
    assert sorted(answers) == list(range(32))
    assert len(lines) == 32
    for line in lines:
        canonical(line)


def test_j06_an_id_twice_in_a_batch_gets_one_result_and_one_error(bridge, batching):
    with bridge.lines_received(batching) as lines, bridge.connect() as connection:
        connection.send(bridge.post(b"[" + ECHO % 5 + b"," + ECHO % 5 + b"]", batching))
        reply = connection.head()
        if reply.status == 200:
            answers = [event.json for event in connection.events() if event.data]
            assert sorted("error" in answer for answer in answers) == [False, True]
            assert {answer["id"] for answer in answers} == {5}
    assert reply.status in (200, 400)
    assert len(lines) == (1 if reply.status == 200 else 0)


NAMELESS = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":""}}'


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        (b"[" + NAMELESS % 1 + b"]", [INVALID_PARAMS]),
        (b"[" + NAMELESS % 1 + b"," + NAMELESS % 2 + b"]", [INVALID_PARAMS] * 2),
        (b'[{"jsonrpc":"2.0","method":"notifications/x"},' + NAMELESS % 1 + b"]", [INVALID_PARAMS]),
        (b"[" + NAMELESS % 1 + b"," + ECHO % 2 + b"]", [INVALID_PARAMS, None]),
        (b"[" + ECHO % 1 + b"," + NAMELESS % 2 + b"]", [INVALID_PARAMS, None]),
    ],
)
def test_j06_refused_messages_of_a_batch_are_answered_and_the_stream_ends(bridge, batching, body, codes):
    with bridge.connect() as connection:
        connection.send(bridge.post(body, batching))
        assert connection.head().status == 200
        answers = [event.json for event in connection.events() if event.data]
    assert [answer.get("error", {}).get("code") for answer in answers] == codes


# ---- J07


@pytest.mark.parametrize(
    "body",
    [b'{"jsonrpc":"2.0","id":%b,"result":{}}', b'{"jsonrpc":"2.0","id":%b,"error":{"code":1,"message":"x"}}'],
)
@pytest.mark.parametrize("id_", [b"1", b'"1"', b"999999", b'"x"', b"0"])
def test_j07_a_response_to_no_request_is_dropped(bridge, session, body, id_):
    reply, lines = send(bridge, session, body % id_)
    assert (reply.status, reply.body) == (202, b"")
    assert lines == []


def test_j07_a_notification_with_an_id_is_a_request(bridge, session):
    reply, lines = send(bridge, session, b'{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}')
    if reply.status == 200:
        assert [canonical(line)[0] for line in lines] == ["notifications/initialized"]
    else:
        assert (reply.status, reply.code, lines) == (400, INVALID_REQUEST, [])


# ---- J08


@pytest.mark.parametrize(
    "method",
    [
        "",
        "a" * 129,
        "a" * 10240,
        "a\nb",
        "a\r\nb",
        "a\tb",
        "a b",
        " a",
        "a ",
        "a\0",
        "a\x1b[2J",
        "a\x7f",
        "a\u0085b",
        "a\u2028b",
        "a\ud800",
        "\u3000",
    ],
)
def test_j08_a_method_with_control_characters_is_refused(bridge, session, method):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode()
    with bridge.lines_received(session) as lines:
        reply = bridge.exchange(bridge.post(body, session))
    assert reply.status == 400
    assert reply.code == (PARSE_ERROR if "\ud800" in method else INVALID_REQUEST)
    assert lines == []
    assert not [line for line in bridge.stderr if "\x1b" in line or "\0" in line]


@pytest.mark.parametrize(
    "method",
    ["__proto__", "constructor", "__class__.__init__", "rpc.x", "rpc.discover", "../../x", "/etc/passwd", "a" * 128, "é", "%00", "$(id)", "'\"", "tools/call/", "TOOLS/CALL", "{}", "a\\b", "<x>"],
)  # fmt: skip
def test_j08_any_other_method_is_data(bridge, session, method):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}, ensure_ascii=False).encode()
    reply = assert_passed(bridge, session, body, method.encode())
    assert reply.json["result"]["method"] == method


@pytest.mark.parametrize("key", ["command", "args", "env", "cwd", "transport", "url", "serverPath"])
def test_v24_no_request_names_a_command(bridge, session, key, tmp_path):
    children = bridge.children()
    trap = f"touch {tmp_path / 'trap'}"
    params = {key: trap, "_meta": {key: trap}, "server": {key: [trap]}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "test/echo", "params": params, key: trap}
    assert bridge.exchange(bridge.post(body, session)).status == 200
    assert (
        bridge.exchange(
            bridge.post(bridge.initialize() | {"params": bridge.initialize()["params"] | params})
        ).status
        == 200
    )
    assert len(bridge.children()) == len(children) + 1
    assert not list(tmp_path.iterdir())
