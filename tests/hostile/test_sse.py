"""Event streams whose clients use ids of others, stall, leave or send invalid ids."""

import json
import re
import time
from pathlib import Path

import pytest

from ..support.waiting import wait_until_empty
from ..support.wire import NothingReceived, parse_event

pytestmark = pytest.mark.usefixtures("still_serving")

UNKNOWN_SESSION = "A" * 43


def notify_request(count, id_=1, **more):
    params = {"count": count}
    if more:
        params["more"] = more
    return {"jsonrpc": "2.0", "id": id_, "method": "test/notify", "params": params}


def raw_request(line, id_=1):
    """Return a request on which the child writes these bytes. $ID stands for the id of the request."""
    line = line if isinstance(line, bytes) else line.encode()
    return {"jsonrpc": "2.0", "id": id_, "method": "test/raw", "params": {"hex": (line + b"\n").hex()}}


def open_stream(connection, bridge, session, *fields):
    """Return the events of a GET stream whose head was received."""
    connection.send(bridge.get(session).add(*fields))
    assert connection.head().status == 200
    return connection.events()


def initialize(bridge, path, events):
    assert bridge.exchange(bridge.post(bridge.initialize(), target=path)).status == 202
    assert events.message().json["id"] == 0
    assert (
        bridge.exchange(
            bridge.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, target=path)
        ).status
        == 202
    )


def memory(bridge):
    """Return the resident memory (KiB)."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{bridge.process.pid}/status").read_text())[1])


# ---- S01


@pytest.mark.parametrize(
    "last",
    ["", "x", "0", "_", "_0", "0_", "0_-1", "0_x", "0_1_2", "../x_1", "%00_1", "a" * 8000, "0_" + "9" * 40, "*", "null", "0_1, 0_2", "1e3_1", "0123456789abcdef_1"],
)  # fmt: skip
def test_s01_an_event_id_that_was_never_sent_is_refused(bridge, session, last):
    reply = bridge.exchange(bridge.get(session).add(f"Last-Event-ID: {last}"))
    assert (reply.status, reply.code) == (400, -32600)


def test_s01_the_event_id_of_another_session_is_refused_and_replays_nothing(bridge, session):
    other = bridge.open_session()
    with bridge.connect() as connection:
        events = open_stream(connection, bridge, other)
        theirs = next(events).id
        assert theirs
        assert bridge.exchange(bridge.post(notify_request(3), other)).status == 200
        assert events.message().json["params"]["n"] == 0
        reply = bridge.exchange(bridge.get(session).add(f"Last-Event-ID: {theirs}"))
        never = bridge.exchange(bridge.get(session).add("Last-Event-ID: 0123456789abcdef_1"))
        assert reply.status == 400
        assert reply.constant_part == never.constant_part
        assert [events.message().json["params"]["n"] for _ in range(2)] == [1, 2]
    assert bridge.exchange(bridge.delete(other)).status == 204


def test_s01_an_event_of_the_future_resumes_nothing(bridge):
    session = bridge.open_session()
    with bridge.connect() as connection:
        events = open_stream(connection, bridge, session)
        key = next(events).id.rpartition("_")[0]
        assert bridge.exchange(bridge.post(notify_request(3), session)).status == 200
        events.message()
    with bridge.connect() as connection:
        open_stream(connection, bridge, session, f"Last-Event-ID: {key}_999999")
        assert connection.is_silent(0.1)
    assert bridge.exchange(bridge.delete(session)).status == 204


def test_s01_a_stream_resumes_right_behind_the_last_event(bridge):
    session = bridge.open_session()
    with bridge.connect() as connection:
        events = open_stream(connection, bridge, session)
        assert bridge.exchange(bridge.post(notify_request(5), session)).status == 200
        seen = [events.message() for _ in range(2)]
    with bridge.connect() as connection:
        events = open_stream(connection, bridge, session, f"Last-Event-ID: {seen[-1].id}")
        assert [events.message().json["params"]["n"] for _ in range(3)] == [2, 3, 4]
        assert connection.is_silent(0.05)
    assert bridge.exchange(bridge.delete(session)).status == 204


def children_after_exits(bridge):
    """Return the children after those that are ending have ended."""
    seen = bridge.children()
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        time.sleep(0.05)
        now = bridge.children()
        if now == seen:
            break
        seen = now
    return seen


# ---- S02, V17


def test_s02_the_fifth_stream_is_refused_and_nothing_else_changes(bridge):
    session = bridge.open_session()
    children = children_after_exits(bridge)
    with (
        bridge.connect() as one,
        bridge.connect() as two,
        bridge.connect() as three,
        bridge.connect() as four,
    ):
        streams = [open_stream(connection, bridge, session) for connection in (one, two, three, four)]
        for stream in streams:
            assert next(stream).id
        for _ in range(3):
            assert bridge.exchange(bridge.get(session)).status == 409
        assert bridge.children() <= children
        for connection in (one, two, three, four):
            assert connection.is_silent(0.02)
        four.reset()
        left = wait_until_empty(lambda: head_of(bridge, session) == 409)
        assert not left, "the place of the stream that left is still taken"
    assert bridge.exchange(bridge.delete(session)).status == 204


def head_of(bridge, session):
    with bridge.connect() as connection:
        connection.send(bridge.get(session))
        return connection.head().status


def test_v17_two_streams_get_each_message_once(bridge):
    """Require each message on exactly one of both streams."""
    session = bridge.open_session()
    with bridge.connect() as one, bridge.connect() as two:
        streams = [open_stream(connection, bridge, session) for connection in (one, two)]
        for stream in streams:
            next(stream)
        assert bridge.exchange(bridge.post(notify_request(1000), session)).status == 200
        found = []
        for connection, stream in zip((one, two), streams, strict=True):
            while not connection.is_silent(0.1):
                found.append(stream.message().json["params"]["n"])
                while stream._text:
                    found.append(stream.message().json["params"]["n"])
    assert sorted(found) == list(range(1000))
    assert bridge.exchange(bridge.delete(session)).status == 204


# ---- S03


def test_s03_a_client_that_never_reads_loses_its_stream_and_no_more(bridge):
    session = bridge.open_session()
    before = memory(bridge)
    with bridge.connect() as connection:
        # SOL_SOCKET, SO_RCVBUF.
        connection.sock.setsockopt(1, 8, 65536)
        events = open_stream(connection, bridge, session)
        reply = bridge.exchange(bridge.post(notify_request(30_000, fill="x" * 1000), session))
        assert reply.status == 200
        assert bridge.exchange(bridge.post(session=session)).status == 200
        assert memory(bridge) - before < 24 * 1024
        try:
            # The stream may have ended.
            got = sum(1 for event in events if event.data)
        except NothingReceived:
            raise AssertionError("the stream goes on behind the gap") from None
    assert got < 30_000
    assert bridge.exchange(bridge.delete(session)).status == 204


def test_s03_a_stream_that_is_closed_because_of_an_unread_one_is_logged(bridge):
    session, before = bridge.open_session(), len(bridge.stderr)
    with bridge.connect() as connection:
        connection.sock.setsockopt(1, 8, 65536)
        open_stream(connection, bridge, session)
        assert bridge.exchange(bridge.post(notify_request(30_000, fill="x" * 1000), session)).status == 200
        assert bridge.exchange(bridge.delete(session)).status == 204
    lines = [
        line
        for line in bridge.stderr[before:]
        if not any(
            event in line
            for event in ("session_opened", "session_closed", "info: refused", "notifications_dropped")
        )
    ]
    assert len(lines) == 1, lines


# ---- S04


def test_s04_a_post_to_an_unknown_or_ended_session_gets_the_same_404(bridge):
    with bridge.event_stream() as (events, path):
        initialize(bridge, path, events)
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    deadline = time.monotonic() + 3
    while (
        reply := bridge.exchange(bridge.post(body, target=path))
    ).status == 202 and time.monotonic() < deadline:
        time.sleep(0.02)
    random = bridge.exchange(bridge.post(body, target=f"/messages?sessionId={UNKNOWN_SESSION}"))
    assert (reply.status, reply.code) == (404, -32001)
    assert reply.json["error"]["message"] == "Session not found"
    assert reply.constant_part == random.constant_part


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?",
        "?sessionId",
        "?sessionid=ID",
        "?SessionId=ID",
        "?session_id=ID",
        "?sessionId=ID&sessionId=ID",
        "?sessionId=ID&x=1&sessionId=x",
        "?xsessionId=ID",
        "?sessionId=ID;x=1",
        "?sessionId=",
        "?sessionId=ID,ID",
        "?sessionId=%41",
    ],
)
def test_s04_no_other_spelling_of_the_query_finds_a_session(bridge, query):
    with bridge.event_stream() as (events, path):
        initialize(bridge, path, events)
        id_ = path.partition("=")[2]
        reply = bridge.exchange(bridge.post(target="/messages" + query.replace("ID", id_)))
        assert reply.status in (400, 404)


def test_s04_a_session_of_one_transport_cannot_be_used_over_another(bridge, session):
    """Require that no message of another transport reaches the stream, whatever the response is."""
    with bridge.event_stream() as (events, path), bridge.connect() as connection:
        initialize(bridge, path, events)
        connection.send(bridge.get(session).replace_field(f"Mcp-Session-Id: {path.partition('=')[2]}"))
        assert connection.head().status in (200, 400, 404, 409)
        assert bridge.exchange(bridge.post(notify_request(1, id_=5), target=path)).status == 202
        assert events.message().json["method"] == "notifications/test"
        assert events.message().json["id"] == 5


# ---- S05


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "POST", "OPTIONS", "PATCH", "TRACE"])
@pytest.mark.parametrize("target", ["/sse", "/ws"])
def test_s05_only_a_get_starts_a_child(bridge, method, target):
    children = children_after_exits(bridge)
    reply = bridge.exchange(bridge.get(target=target).with_method(method))
    assert (reply.status, reply.headers["allow"]) == (405, "GET")
    assert bridge.children() <= children


# ---- S06, V35

RESULT = '{"jsonrpc":"2.0","id":$ID,"result":{"x":VALUE}}'
NOTIFICATION = '{"jsonrpc":"2.0","method":"notifications/test","params":{"x":VALUE}}'
SPECIAL_VALUES = [
    pytest.param('"a\\r\\ndata: {evil}\\u2028"', id="escaped line ends"),
    pytest.param('"\u2028\u2029\u0085"', id="separators as they are"),
    pytest.param('"\\n\\ndata: {\\"jsonrpc\\":\\"2.0\\"}\\n\\n"', id="an event in a string"),
    pytest.param('"id: 1\\nretry: 1\\nevent: endpoint\\ndata: /evil\\n\\n"', id="an endpoint in a string"),
    pytest.param('":\\n:\\n: comment"', id="comments"),
    pytest.param("[1,\r2,\r3]", id="bare CR between tokens"),
    pytest.param("[1,\t2 ,  3]", id="tabs and spaces between tokens"),
    pytest.param('"\\u0000\\u001b[2J\ufeff"', id="controls"),
    pytest.param('{"data:":"x","data":"\u2028data: y"}', id="members named data"),
    pytest.param('"\\u000b\\u000c\\u001c\\u001d\\u001e"', id="escaped separators of splitlines"),
]


def readers():
    """Yield the ways in which known clients split a stream into lines."""
    yield lambda text: text.split("\n")
    yield lambda text: re.split(r"\r\n|\n|\r", text)
    yield str.splitlines
    yield lambda text: re.split(r"\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", text)


def assert_one_event(block, expected):
    assert b"\r" not in block
    for split in readers():
        event = parse_event(block.decode(), split)
        assert event.json == expected


@pytest.mark.parametrize("value", SPECIAL_VALUES)
def test_s06_a_result_is_one_event_to_every_reader(bridge, session, value):
    line = RESULT.replace("VALUE", value)
    expected = {"jsonrpc": "2.0", "id": 1, "result": {"x": json.loads(value)}}
    request = bridge.post(raw_request(line), session).replace_field(
        "Accept: text/event-stream, application/json;q=0.5"
    )
    with bridge.connect() as connection:
        connection.send(request)
        assert connection.head().headers["content-type"] == "text/event-stream"
        events = connection.events()
        assert events.message().json == expected
        assert not list(events)
    blocks = [block for block in events.raw.split(b"\n\n") if b"jsonrpc" in block]
    assert len(blocks) == 1
    assert_one_event(blocks[0], expected)


@pytest.mark.parametrize("value", SPECIAL_VALUES)
def test_s06_a_notification_is_one_event_to_every_reader(bridge, value):
    line = NOTIFICATION.replace("VALUE", value)
    expected = {"jsonrpc": "2.0", "method": "notifications/test", "params": {"x": json.loads(value)}}
    with bridge.event_stream() as (events, path):
        initialize(bridge, path, events)
        assert bridge.exchange(bridge.post(raw_request(line), target=path)).status == 202
        assert events.message().json == expected
    assert_one_event(
        next(block for block in events.raw.split(b"\n\n") if b"notifications/test" in block), expected
    )


@pytest.mark.parametrize("value", SPECIAL_VALUES)
def test_s06_a_result_as_json_is_the_same(bridge, session, value):
    reply = bridge.exchange(bridge.post(raw_request(RESULT.replace("VALUE", value)), session))
    assert reply.json["result"]["x"] == json.loads(value)


# ---- S07


def test_s07_a_stream_that_breaks_anywhere_affects_no_other(bridge):
    session = bridge.open_session()
    request = bridge.post(notify_request(5), session).replace_field(
        "Accept: text/event-stream, application/json"
    )
    with bridge.connect() as connection:
        connection.send(request)
        connection.head()
        whole = len(b"".join(connection.chunks()))
    for at in range(1, whole, 40):
        with bridge.connect() as connection:
            # The call continues and keeps its id.
            connection.send(request.with_body(notify_request(5, id_=f"broken at {at}")))
            connection.exactly(at)
            if at % 80 > 40:
                connection.reset()
        assert bridge.exchange(bridge.post(session=session)).status == 200
    assert bridge.exchange(bridge.delete(session)).status == 204


def test_s07_a_call_whose_stream_broke_continues_and_can_be_resumed(bridge):
    session = bridge.open_session()
    hold = b'{"jsonrpc":"2.0","id":"long","method":"test/hold"}'
    with bridge.lines_received(session) as lines:
        with bridge.connect() as connection:
            connection.send(
                bridge.post(hold, session).replace_field("Accept: text/event-stream, application/json")
            )
            assert connection.head().status == 200
            primed = next(connection.events()).id
            assert primed
        bridge.sync(session)
    assert not [line for line in lines if b"cancelled" in line]
    assert (
        bridge.exchange(bridge.post(b'{"jsonrpc":"2.0","id":2,"method":"test/release"}', session)).status
        == 200
    )
    with bridge.connect() as connection:
        connection.send(bridge.get(session).add(f"Last-Event-ID: {primed}"))
        assert connection.head().status == 200
        answer = connection.events().message().json
    assert answer == {"jsonrpc": "2.0", "id": "long", "result": {"released": True}}
    assert bridge.exchange(bridge.delete(session)).status == 204


def test_s07_a_closed_event_stream_ends_its_child(bridge):
    children = children_after_exits(bridge)
    for how in ("close", "reset"):
        with bridge.event_stream() as (events, path):
            initialize(bridge, path, events)
            assert len(bridge.children()) == len(children) + 1
            if how == "reset":
                events._connection.reset()
        assert not wait_until_empty(lambda: bridge.children() - children)


def test_s07_a_half_closed_event_stream_counts_as_closed(bridge):
    children = children_after_exits(bridge)
    with bridge.event_stream() as (events, path):
        initialize(bridge, path, events)
        events._connection.sock.shutdown(1)
        assert not wait_until_empty(lambda: bridge.children() - children)


def test_heartbeats_are_comments(short_limits):
    with short_limits.event_stream() as (events, path):
        connection = events._connection
        for _ in range(2):
            assert connection.chunk(timeout=3).startswith(b":")
        assert short_limits.exchange(short_limits.post(target=path)).status == 202
