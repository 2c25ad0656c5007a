"""The texts of test_json over HTTP+SSE, WebSocket and lines, because a check that one transport lacks is a common vulnerability."""

import json

import pytest

from ..support.hostile_carriers import METHOD, Lines, Posts, frames, lines, posts
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
)
from ..support.waiting import wait_until_empty
from ..support.wire import TEXT, Socket, frame

pytestmark = pytest.mark.usefixtures("still_serving")

ECHO = METHOD % (b"1", b"test/echo")


@pytest.fixture(scope="module", params=[posts, frames, lines], ids=["messages", "ws", "pipe"])
def carrier(request, bridge):
    with request.param(bridge) as carrier:
        yield carrier


def is_utf8(text):
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def assert_refused(carrier, text, code, id_=None):
    """Require one error with this code, under the id of the text if it has a readable id."""
    refusal, messages, lines = carrier.exchange(text)
    (error,) = [refusal, *messages] if refusal else messages
    assert error["error"]["code"] == code
    assert error["id"] in (None, id_)
    assert lines == []


def assert_passed(carrier, text, params=None):
    refusal, messages, lines = carrier.exchange(text)
    assert refusal is None
    (answer,) = messages
    assert len(lines) == 1
    method, found = canonical(lines[0])
    assert method == "test/echo"
    if params is not None:
        assert found == params
    return answer


# ---- J01, J02, V32, V36

NO_VALUES = [(name, value) for name, value in INVALID_VALUES.items() if is_utf8(value)]


@pytest.mark.parametrize("value", [pytest.param(value, id=name) for name, value in NO_VALUES])
def test_j01_invalid_json_never_reaches_the_child(carrier, value):
    if isinstance(carrier, Lines) and b"\n" in value:
        pytest.skip("a newline ends a line")
    assert_refused(carrier, call(value), PARSE_ERROR, 1)


@pytest.mark.parametrize(
    "value", [pytest.param(value, id=name) for name, value in INVALID_VALUES.items() if not is_utf8(value)]
)
def test_j01_invalid_utf8_is_refused_by_a_post_and_ends_a_websocket(bridge, value):
    before = bridge.journal.stat().st_size
    with bridge.event_stream() as (_, path):
        reply = bridge.exchange(bridge.post(call(value), target=path))
        assert (reply.status, reply.code) == (400, PARSE_ERROR)
    with bridge.websocket() as socket:
        socket.connection.send(frame(TEXT, call(value)))
        # The close code has tests in test_websocket.
        assert socket.closing() in (1007, None)
    assert b"test/echo" not in bridge.journal.read_bytes()[before:]


@pytest.mark.parametrize(
    "value", [pytest.param(value, id=name) for name, value in INVALID_VALUES.items() if not is_utf8(value)]
)
def test_j01_invalid_utf8_is_refused_by_a_line_and_the_session_continues(bridge, value):
    with lines(bridge) as carrier:
        assert_refused(carrier, call(value), PARSE_ERROR, 1)
        assert_passed(carrier, ECHO)


@pytest.mark.parametrize(
    "value", [pytest.param(value, id=name) for name, value in (VALUES | OPTIONAL_VALUES).items()]
)
def test_j01_valid_json_reaches_the_child_byte_for_byte(carrier, value):
    expected = b'{"x":' + value.replace(b"\r", b" ").replace(b"\n", b" ") + b"}"
    answer = assert_passed(carrier, call(value), expected)
    assert answer["result"]["params"]["x"] == json.loads(value)


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b"\0", b"{", b'"', b"nul", ECHO + ECHO, ECHO + b"\n" + ECHO, ECHO + b"\0", ECHO + b",", ECHO + b"]", b"\xef\xbb\xbf" + ECHO, ECHO.decode().encode("utf-16-le")],
)  # fmt: skip
def test_w11_anything_but_one_json_text_is_a_parse_error_and_the_session_continues(carrier, text):
    if isinstance(carrier, Lines) and (not text.strip() or b"\n" in text):
        pytest.skip("a newline ends a line, and blank lines are skipped")
    assert_refused(carrier, text, PARSE_ERROR, 1)


@pytest.mark.parametrize(
    "text", [b"null", b"1", b'"x"', b"{}", b'{"jsonrpc":"2.0"}', b'{"id":1,"method":"test/echo"}']
)
def test_w11_json_that_is_not_a_message_is_an_invalid_request(carrier, text):
    assert_refused(carrier, text, INVALID_REQUEST, 1)


@pytest.mark.parametrize(
    "text",
    [b"[]", b"[1]", b"[[]]", b"[" + ECHO + b"]", b"[" + ECHO + b"," + METHOD % (b"2", b"test/echo") + b"]"],
)
def test_w11_j06_a_batch_of_another_revision_is_refused(carrier, text):
    refusal, messages, lines = carrier.exchange(text)
    errors = [refusal, *messages] if refusal else messages
    ids = [request["id"] for request in json.loads(text) if isinstance(request, dict)]
    assert [error["id"] for error in errors] == ([None] if isinstance(carrier, Posts) else (ids or [None]))
    assert {error["error"]["code"] for error in errors} == {INVALID_REQUEST}
    assert lines == []


@pytest.mark.parametrize("open_carrier", [posts, frames, lines], ids=["messages", "ws", "pipe"])
@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26"])
def test_j06_a_batch_of_a_revision_with_batches_is_split(bridge, open_carrier, version):
    with open_carrier(bridge, version) as carrier:
        requests = [METHOD % (b"%d" % number, b"test/echo") for number in range(3)]
        greeting = b'{"jsonrpc":"2.0","method":"notifications/x"}'
        refusal, messages, lines = carrier.exchange(b" [" + b",".join([greeting, *requests]) + b"]")
        assert (refusal, len(lines)) == (None, 4)
        assert [message["id"] for message in messages] == [0, 1, 2]
        opening = json.dumps(carrier.bridge.initialize()).encode()
        for wrong in (b"[]", b"[1]", b"[" + opening + b"]"):
            assert_refused(carrier, wrong, INVALID_REQUEST, 0)
        refusal, messages, lines = carrier.exchange(b"[" + ECHO + b"," + opening + b"]")
        errors = [refusal, *messages] if refusal else messages
        assert [error["id"] for error in errors] == ([None] if refusal else [1, 0])
        assert lines == []


@pytest.mark.parametrize("deep", [65, 1000, 100_000])
@pytest.mark.parametrize(("open_", "close"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_j02_depth_is_refused(carrier, deep, open_, close):
    assert_refused(carrier, call(open_ * deep + b"1" + close * deep), INVALID_REQUEST, 1)


@pytest.mark.parametrize("text", REPEATED_MEMBERS)
def test_v32_a_repeated_member_is_refused(carrier, text):
    refusal, messages, lines = carrier.exchange(text)
    assert lines == []
    for error in [refusal, *messages] if refusal else messages:
        assert error["error"]["code"] == INVALID_REQUEST


@pytest.mark.parametrize("text", UNKNOWN_MEMBERS)
def test_v32_only_the_members_of_json_rpc_reach_the_child(carrier, text):
    assert assert_passed(carrier, text)["result"] == {"method": "test/echo", "params": {}}


@pytest.mark.parametrize("text", MULTILINE)
def test_v36_a_message_over_many_lines_is_one_line_to_the_child(carrier, text):
    assert_passed(carrier, text)


# ---- J03, J05, J07, J08, M01


@pytest.mark.parametrize(
    "id_", [b"null", b"1.5", b"1e3", b"true", b"{}", b"[]", b'"' + b"a" * 300 + b'"', b"9" * 300]
)
def test_j03_an_invalid_id_is_refused(carrier, id_):
    assert_refused(carrier, call(b"1", id_), INVALID_REQUEST)


@pytest.mark.parametrize(
    "id_",
    [b"0", b"-0", b"-1", b"1.0", b"1e0", b"-1.0", b'"1"', b"9007199254740993", b"18446744073709551616", b'""', b'"\\u0041"', '"é"'.encode(), b'"\\u00e9"', b'"\\u2028"', b'"__proto__"', b'"$ID"'],
)  # fmt: skip
def test_j03_an_id_is_returned_unchanged(carrier, id_):
    answer = assert_passed(carrier, call(b"1", id_))
    assert repr(answer["id"]) == repr(json.loads(id_))


@pytest.mark.parametrize(
    "members",
    [
        b'"jsonrpc":"1.0","id":1,"method":"test/echo"', b'"jsonrpc":2.0,"id":1,"method":"test/echo"', b'"jsonrpc":"2.0","id":1',
        b'"jsonrpc":"2.0","id":1,"method":null', b'"jsonrpc":"2.0","id":1,"method":1', b'"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}',
        b'"jsonrpc":"2.0","id":1,"method":"test/echo","result":{}', b'"jsonrpc":"2.0","id":1,"method":"test/echo","params":"x"',
        b'"jsonrpc":"2.0","id":1,"method":"test/echo","params":[1]',
        b'"jsonrpc":"2.0","method":"notifications/x","params":[1]', b'"jsonrpc":"2.0","id":1,"error":"x"',
    ],
)  # fmt: skip
def test_j05_a_malformed_message_is_refused(carrier, members):
    assert_refused(carrier, b"{" + members + b"}", INVALID_REQUEST, 1)


@pytest.mark.parametrize("id_", [b"1", b'"1"', b"999999", b'"x"'])
def test_j07_a_response_to_no_request_is_dropped(carrier, id_):
    assert carrier.exchange(b'{"jsonrpc":"2.0","id":%b,"result":{}}' % id_) == (None, [], [])


@pytest.mark.parametrize(
    "method", ["", "a" * 129, "a" * 10240, "a\nb", "a\tb", "a\0", "a\x1b[2J", "a\u2028b"]
)
def test_j08_a_method_with_control_characters_is_refused(carrier, method):
    text = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode()
    assert_refused(carrier, text, INVALID_REQUEST, 1)


def test_m01_a_second_initialize_is_refused(carrier):
    assert_refused(carrier, json.dumps(carrier.bridge.initialize(id_=1)).encode(), INVALID_REQUEST, 1)


@pytest.mark.parametrize("id_", [b"7", b'"A"'])
def test_v18_an_id_in_flight_is_refused_and_the_first_call_is_answered(carrier, id_):
    assert carrier.exchange(METHOD % (id_, b"test/hold"))[:2] == (None, [])
    assert_refused(
        carrier, METHOD % (id_.replace(b"A", b"\\u0041"), b"test/echo"), INVALID_REQUEST, json.loads(id_)
    )
    refusal, messages, _ = carrier.exchange(METHOD % (b'"release"', b"test/release"))
    assert refusal is None
    assert [message["id"] for message in messages] == [json.loads(id_), "release"]


EARLY = (ECHO, METHOD % (b"1", b"tools/list"), b'{"jsonrpc":"2.0","method":"notifications/initialized"}')


@pytest.mark.parametrize("text", EARLY)
def test_m01_no_message_is_served_before_initialize(bridge, text):
    children = bridge.children()
    with bridge.event_stream() as (events, path):
        size = bridge.journal.stat().st_size
        bridge.exchange(bridge.post(text, target=path))
        if b'"id"' in text:
            assert events.message().json["error"]["code"] == INVALID_REQUEST
        assert bridge.journal.stat().st_size == size
    assert not wait_until_empty(lambda: bridge.children() - children)


@pytest.mark.parametrize("text", EARLY)
def test_m01_a_websocket_starts_no_server_before_initialize(bridge, text):
    """Require an error that names the missing `_meta` member and `initialize`, because the era is unknown."""
    children = bridge.children()
    with bridge.websocket(initialized=False) as socket:
        socket.connection.send(frame(TEXT, text) + frame(TEXT, METHOD % (b'"mark"', b"ping")))
        if b'"id"' in text:
            refused = socket.message()["error"]
            assert refused["code"] == INVALID_PARAMS
            assert "protocolVersion" in refused["message"]
            assert "initialize" in refused["message"]
        assert socket.message() == {"jsonrpc": "2.0", "id": "mark", "result": {}}
        assert bridge.children() <= children


def test_carriers_do_not_share_responses(bridge):
    """Use equal ids over all transports and on two WebSockets. Each client gets its own responses."""
    with posts(bridge) as one, frames(bridge) as two, frames(bridge) as three, lines(bridge) as four:
        for turn in range(5):
            for number, carrier in enumerate((one, two, three, four)):
                answer = assert_passed(carrier, call(b'"%d/%d"' % (turn, number)))
                assert answer["result"]["params"]["x"] == f"{turn}/{number}"


def test_garbage_on_one_websocket_does_not_close_another(bridge):
    with frames(bridge) as good, bridge.connect() as bad:
        bad.send(bridge.upgrade())
        assert bad.head().status == 101
        bad.try_send(b"\xff" * 4096)
        assert Socket(bad).closing() == 1002
        assert_passed(good, ECHO)
