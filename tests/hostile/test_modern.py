"""The texts of test_json as requests of revision 2026-07-28, over POST and WebSocket.

The server is of the legacy era. The multiplexer and the legacy adapter therefore rebuild params. The journal of the child
shows the result.
"""

import json

import pytest

from ..support.hostile_carriers import StatelessFrames, StatelessLines, StatelessPosts, call
from ..support.json_texts import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    INVALID_VALUES,
    META,
    OPTIONAL_VALUES,
    PARSE_ERROR,
    REVISION,
    VALUES,
    other_encodings,
)
from ..support.wire import TEXT, Socket, frame

pytestmark = pytest.mark.usefixtures("still_serving")

HEADER_MISMATCH, METHOD_NOT_FOUND = -32020, -32601
# Parts of lines that no text of a test causes: `sync`, the list of tools for the headers, and the era probe. The process of the
# probe may start late, because the bridge serves the client as soon as a process beside it has opened a session.
NOT_OF_THE_TEXT = (b'"sync-', b'"tools/list"', b'"id":"probe')


def request_text(method, id_=b"1"):
    """Return a request of this method with its envelope as JSON text."""
    return b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":{%b}}' % (id_, method, META)


@pytest.fixture(scope="module", params=["POST", "WebSocket", "pipe"])
def modern(request, bridge):
    if request.param == "POST":
        yield StatelessPosts(bridge)
        return
    if request.param == "pipe":
        with bridge.pipe() as connection:
            yield StatelessLines(bridge, connection)
        return
    with bridge.websocket(initialized=False) as socket:
        yield StatelessFrames(bridge, socket)


_BOM = b"\xef\xbb\xbf"
_numbers = iter(range(1_000_000))


def exchange(modern, text, **more):
    """Send a text. Return the status (None over WebSocket), the response and the lines that the child received."""
    modern.sync(next(_numbers))
    before = modern.bridge.journal.stat().st_size
    status, answer = modern.exchange(text, **more)
    modern.sync(next(_numbers))
    lines = modern.bridge.journal.read_bytes()[before:].splitlines(keepends=True)
    return status, answer, [line for line in lines if not any(mark in line for mark in NOT_OF_THE_TEXT)]


def assert_refused(modern, text, code, status=400, **more):
    found, answer, lines = exchange(modern, text, **more)
    assert lines == []
    assert found in (status, None)
    assert answer["error"]["code"] == code, answer


def assert_passed(modern, text, value):
    status, answer, lines = exchange(modern, text)
    assert status in (200, None)
    (line,) = lines
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    assert b'"arguments":{"x":' + value + b"}" in line
    assert b"_meta" not in line
    return answer


@pytest.mark.parametrize("value", [pytest.param(v, id=name) for name, v in INVALID_VALUES.items()])
def test_j01_invalid_json_never_reaches_the_child(bridge, value):
    assert_refused(StatelessPosts(bridge), call(value), PARSE_ERROR)


@pytest.mark.parametrize(
    "value", [pytest.param(value, id=name) for name, value in (VALUES | OPTIONAL_VALUES).items()]
)
def test_j01_valid_json_reaches_the_child_byte_for_byte_on_one_line(modern, value):
    answer = assert_passed(modern, call(value), value.replace(b"\r", b" ").replace(b"\n", b" "))
    assert answer["result"]["params"]["arguments"]["x"] == json.loads(value)


@pytest.mark.parametrize("body", list(other_encodings()))
def test_j01_other_encodings_are_not_guessed(bridge, body):
    assert_refused(StatelessPosts(bridge), body, PARSE_ERROR)


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b"\0", b"{", call(b"1") + call(b"2"), call(b"1") + b"\n" + call(b"2"), call(b"1") + b"\0", call(b"1")[:-1], b"\xef\xbb\xbf" + call(b"1")],
)  # fmt: skip
def test_w11_anything_but_one_json_text_is_a_parse_error(modern, text):
    if isinstance(modern, StatelessLines) and (not text.strip() or b"\n" in text or text.startswith(_BOM)):
        pytest.skip(
            "a newline ends a line, blank lines are skipped, and the first line may begin with a mark"
        )
    assert_refused(modern, text, PARSE_ERROR)


@pytest.mark.parametrize(
    "text",
    [b"null", b"1", b"{}", b"[]", b"[" + call(b"1") + b"]", b"[" + call(b"1") + b"," + call(b"2") + b"]"],
)
def test_j06_a_batch_or_an_invalid_message_is_refused(modern, text):
    assert_refused(modern, text, INVALID_REQUEST)


@pytest.mark.parametrize("deep", [65, 1000, 100_000])
@pytest.mark.parametrize(("open_", "close"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_j02_depth_is_refused(modern, deep, open_, close):
    assert_refused(modern, call(open_ * deep + b"1" + close * deep), INVALID_REQUEST)


@pytest.mark.parametrize(
    "id_", [b"null", b"1.5", b"1e3", b"true", b"{}", b"[]", b'"' + b"a" * 300 + b'"', b"9" * 300]
)
def test_j03_an_invalid_id_is_refused(modern, id_):
    assert_refused(modern, call(b"1", id_), INVALID_REQUEST)


@pytest.mark.parametrize(
    "id_",
    [b"0", b"-0", b"-1", b"1.0", b"1e0", b"-1.0", b'"1"', b"9007199254740993", b"18446744073709551616", b'""', b'"\\u0041"', '"é"'.encode(), b'"\\u2028"', b'"__proto__"', b'"$ID"'],
)  # fmt: skip
def test_j03_an_id_is_returned_unchanged(modern, id_):
    answer = assert_passed(modern, call(b"1", id_), b"1")
    assert repr(answer["id"]) == repr(json.loads(id_))


@pytest.mark.parametrize(
    "text",
    [
        call(b"1").replace(b'"name":"echo"', b'"name":"echo","name":"other"'),
        call(b"1").replace(b'"method":"tools/call"', b'"method":"tools/call","method":"x/y"'),
        call(b"1").replace(b'"id":1', b'"id":1,"id":2'), call(b"1").replace(b'"id":1', b'"id":1,"i\\u0064":2'),
        call(b"1").replace(b'"2.0"', b'"1.0"'), call(b"1").replace(b'"2.0"', b"2.0"), call(b"1").replace(b'"jsonrpc":"2.0",', b""),
        call(b"1").replace(b'"method":"tools/call"', b'"method":"tools/call","result":{}'),
    ],
)  # fmt: skip
def test_v32_j05_an_ambiguous_or_malformed_message_is_refused(modern, text):
    _, answer, lines = exchange(modern, text)
    # The last value of a repeated name counts, for the headers, for the bridge and for the child.
    if lines:
        assert b'"other"' in lines[0]
        assert b'"echo"' not in lines[0]
    elif answer:
        assert answer["error"]["code"] in (INVALID_REQUEST, HEADER_MISMATCH)


@pytest.mark.parametrize(
    "member",
    [b'"Method":"x/y"', b'"method\\u0000":"x/y"', '"paramſ":{"a":1}'.encode(), b'"command":"x","env":{}'],
)
def test_v32_only_the_members_of_json_rpc_reach_the_child(modern, member):
    answer = assert_passed(modern, call(b"1")[:-1] + b"," + member + b"}", b"1")
    assert "result" in answer


@pytest.mark.parametrize("method", ["", "a" * 129, "a" * 10240, "a\nb", "a\t", "a\0", "a\x1b[2J", "a\u2028b"])
def test_j08_a_method_with_control_characters_is_refused(modern, method):
    text = request_text(json.dumps(method).encode())
    assert_refused(modern, text, INVALID_REQUEST, method="tools/list")


@pytest.mark.parametrize(
    "method", ["__proto__", "rpc.x", "../../x", "initialize", "ping", "logging/setLevel"]
)
def test_j08_a_method_that_this_era_does_not_have_is_not_found(modern, method):
    assert_refused(modern, request_text(json.dumps(method).encode()), METHOD_NOT_FOUND, 404, method=method)


@pytest.mark.parametrize("name", ["x" * 129, "", "a\0b", "a\nb"])
def test_m06_the_name_of_a_tool_is_of_bounded_length(modern, name):
    text = call(b"1", name=json.dumps(name)[1:-1].encode())
    status, answer, lines = exchange(modern, text)
    assert lines == []
    assert status in (400, None)
    assert answer["error"]["code"] in (INVALID_PARAMS, HEADER_MISMATCH)


def test_m05_a_response_is_refused_and_a_session_id_is_ignored(bridge, session):
    modern = StatelessPosts(bridge)
    assert_refused(modern, b'{"jsonrpc":"2.0","id":1,"result":{}}', INVALID_REQUEST)
    for id_ in (session.id, "A" * 43):
        request = bridge.post(call(b"1")).add(
            f"MCP-Protocol-Version: {REVISION}",
            "Mcp-Method: tools/call",
            "Mcp-Name: echo",
            f"Mcp-Session-Id: {id_}",
        )
        reply = bridge.exchange(request)
        assert reply.status == 200
        assert "mcp-session-id" not in reply.headers


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_m05_get_and_delete_are_refused(bridge, session, method):
    request = bridge.get(session).with_method(method).replace_field(f"MCP-Protocol-Version: {REVISION}")
    assert bridge.exchange(request).status == 405


def test_two_eras_on_one_websocket_share_nothing(bridge):
    with bridge.websocket() as socket:
        for number in range(20):
            socket.connection.send(frame(TEXT, call(b"%d" % number, b"%d" % (2 * number))))
            socket.send(
                {"jsonrpc": "2.0", "id": 2 * number + 1, "method": "test/echo", "params": {"x": number}}
            )
        found = {answer["id"]: answer["result"]["params"] for answer in (socket.message() for _ in range(40))}
    for number in range(20):
        assert found[2 * number]["arguments"] == {"x": number}
        assert found[2 * number + 1] == {"x": number}


def test_garbage_on_one_websocket_ends_no_modern_request_of_another(bridge):
    with bridge.websocket(initialized=False) as good, bridge.connect() as bad:
        bad.send(bridge.upgrade())
        assert bad.head().status == 101
        bad.try_send(b"\xff" * 4096)
        assert Socket(bad).closing() == 1002
        assert StatelessFrames(bridge, good).exchange(call(b"7"))[1]["result"]["params"]["arguments"] == {
            "x": 7
        }


def test_m09_subscriptions_without_end_are_refused_at_the_limit(bridge):
    listen = b'{"jsonrpc":"2.0","id":%d,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},%b}}'
    with bridge.websocket(initialized=False) as socket:
        socket.connection.send(b"".join(frame(TEXT, listen % (number, META)) for number in range(1100)))
        found = [socket.message() for _ in range(1100)]
        refused = [message["error"] for message in found if "error" in message]
        assert len(refused) == 1100 - 1024
        assert {error["message"] for error in refused} == {"the limit of 1024 open subscriptions is reached"}
        assert {message["method"] for message in found if "error" not in message} == {
            "notifications/subscriptions/acknowledged"
        }
    # The places are free as soon as the bridge has seen the end of the WebSocket.
    for _ in range(50):
        status, answer = StatelessPosts(bridge).exchange(call(b"7"))
        if status == 200:
            break
    assert answer["result"]["params"]["arguments"] == {"x": 7}
