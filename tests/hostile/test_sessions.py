"""Sessions of others, ended sessions, guessed ids, ids that a client chose, and too many sessions."""

import json
import re

import pytest

from ..support.hostile_bridge import Session, running
from ..support.waiting import wait_until_empty
from ..support.wire import connect

pytestmark = pytest.mark.usefixtures("still_serving")

UNKNOWN_SESSION = "A" * 43
INVALID_REQUEST = -32600


def exchange_all(bridge, id_, address=None):
    """Return the responses to one request of every kind under a session id."""
    session = Session(id_, "2025-11-25")
    requests = [
        bridge.post(session=session),
        bridge.post({"jsonrpc": "2.0", "method": "notifications/x"}, session),
        bridge.post({"jsonrpc": "2.0", "id": 1, "result": {}}, session),
        bridge.get(session),
        bridge.get(session).add("Last-Event-ID: 0123456789abcdef_1"),
        bridge.delete(session),
        bridge.post(target=f"/messages?sessionId={id_}"),
        bridge.post(target=f"/servers/stdio/messages?sessionId={id_}"),
        bridge.post(session=session, target="/servers/stdio/mcp"),
    ]
    replies = []
    for request in requests:
        with connect(address or ("127.0.0.1", bridge.port)) as connection:
            connection.send(request if address is None else request.replace_field("Host: localhost"))
            replies.append(connection.reply().constant_part)
    return replies


# ---- V16


@pytest.fixture(scope="module")
def two_principals(tmp_path_factory):
    """Yield a bridge with a Unix socket, whose clients are another principal, and a session of each principal."""
    runtime = tmp_path_factory.mktemp("doors")
    with running(runtime, "--unix", str(runtime / "s")) as bridge:
        yield bridge, str(runtime / "s")


def test_v16_the_session_of_another_principal_is_not_found(two_principals):
    bridge, unix = two_principals
    mine = bridge.open_session()
    with bridge.connect() as stream:
        stream.send(bridge.get(mine))
        assert stream.head().status == 200
        next(stream.events())
        stolen = exchange_all(bridge, mine.id, unix)
        assert stolen == exchange_all(bridge, UNKNOWN_SESSION, unix)
        assert {status for _, status, _ in stolen} == {404}
        assert stream.is_silent(0.05)
    assert bridge.exchange(bridge.post(session=mine)).status == 200
    assert bridge.exchange(bridge.delete(mine)).status == 204


def test_v16_the_event_stream_of_another_principal_cannot_be_posted_to(two_principals):
    bridge, unix = two_principals
    with bridge.event_stream() as (_, path), connect(unix) as connection:
        connection.send(bridge.post(bridge.initialize(), target=path).replace_field("Host: localhost"))
        reply = connection.reply()
        assert (reply.status, reply.code) == (404, -32001)


# ---- V21 to V23


@pytest.mark.parametrize("id_", ["AAAA", UNKNOWN_SESSION, "../../x", "0", "'", "x" * 4000, "null", "%00"])
def test_v21_a_session_id_that_the_client_chose_is_not_accepted(bridge, id_):
    reply = bridge.exchange(bridge.post(bridge.initialize()).add(f"Mcp-Session-Id: {id_}"))
    assert reply.status == 200
    given = reply.headers["mcp-session-id"]
    assert given != id_
    assert bridge.exchange(bridge.post(session=Session(id_, "2025-11-25"))).status == 404
    assert bridge.exchange(bridge.delete(Session(given, ""))).status == 204


def test_v22_session_ids_are_random_and_visible_ascii(bridge):
    ids = set()
    for _ in range(12):
        session = bridge.open_session()
        ids.add(session.id)
        assert bridge.exchange(bridge.delete(session)).status == 204
    assert len(ids) == 12
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", id_) for id_ in ids)
    # The last character encodes four bits only.
    for place in range(42):
        assert len({id_[place] for id_ in ids}) > 2


@pytest.mark.parametrize(
    "id_",
    [UNKNOWN_SESSION, "x", "", "a" * 7000, "..", "' OR 1=1", "*", "null", "é".encode().decode("latin-1")],
)
def test_v23_an_unknown_session_is_404_so_that_clients_initialize_again(bridge, id_):
    reply = bridge.exchange(bridge.post(session=Session(id_, "2025-11-25")))
    if not id_.isascii():
        assert reply.status == 400
        return
    assert (reply.status, reply.code) == (404, -32001)
    assert reply.json["error"]["message"] == "Session not found"
    assert reply.json["id"] in (1, None)


def test_v23_a_session_of_a_bridge_that_was_restarted_is_404(bridge, two_principals):
    other, _ = two_principals
    theirs = other.open_session()
    assert bridge.exchange(bridge.post(session=theirs)).status == 404
    assert other.exchange(other.delete(theirs)).status == 204


def test_v23_a_prefix_or_another_case_of_an_id_is_not_found(bridge, session):
    for id_ in (session.id[:-1], session.id + "A", session.id.swapcase(), session.id + ", " + session.id):
        assert bridge.exchange(bridge.post(session=Session(id_, session.version))).status == 404


def test_v23_without_a_session_id_there_is_no_session(bridge):
    for request in (bridge.post(), bridge.get(), bridge.request("DELETE", "/mcp")):
        reply = bridge.exchange(request)
        assert (reply.status, reply.code) == (400, INVALID_REQUEST)


# ---- M01


@pytest.mark.parametrize("method", ["tools/list", "tools/call", "x", "notifications/initialized"])
def test_m01_a_request_before_initialize_is_refused(bridge, method):
    body = {"jsonrpc": "2.0", "id": 1, "method": method}
    with bridge.event_stream() as (events, path):
        assert bridge.exchange(bridge.post(body, target=path)).status == 202
        # The error is on the stream, because the clients of the SDKs treat a 400 as the end of the transport.
        refusal = events.message().json
        assert (refusal["id"], refusal["error"]["code"]) == (1, INVALID_REQUEST)


def test_m01_a_request_while_initialize_is_answered_is_refused_or_waits(bridge):
    with bridge.event_stream() as (events, path):
        body = b"".join(
            bytes(bridge.post(text, target=path))
            for text in (bridge.initialize(), {"jsonrpc": "2.0", "id": 1, "method": "test/echo"})
        )
        with bridge.connect() as connection:
            connection.send(body)
            assert connection.reply().status == 202
            assert connection.reply().status == 202
        assert {events.message().json["id"], events.message().json["id"]} == {0, 1}


def test_m01_a_second_initialize_is_refused(bridge, session):
    with bridge.lines_received(session) as lines:
        reply = bridge.exchange(bridge.post(bridge.initialize(), session))
        assert (reply.status, reply.code) == (400, INVALID_REQUEST)
    assert lines == []
    with bridge.event_stream() as (events, path):
        assert bridge.exchange(bridge.post(bridge.initialize(), target=path)).status == 202
        assert events.message().json["id"] == 0
        assert bridge.exchange(bridge.post(bridge.initialize(id_=5), target=path)).status == 202
        refusal = events.message().json
        assert (refusal["id"], refusal["error"]["code"]) == (5, INVALID_REQUEST)


@pytest.mark.parametrize("version", ["9999-01-01", "2026-07-28", "x" * 1000, "", "1.0", "2025-11-25\\n"])
def test_m01_an_unknown_version_is_negotiated_or_refused(bridge, version):
    reply = bridge.exchange(bridge.post(bridge.initialize(version)))
    assert reply.status in (200, 400)
    if reply.status == 200 and "result" in reply.json and "mcp-session-id" in reply.headers:
        given = Session(reply.headers["mcp-session-id"], reply.json["result"]["protocolVersion"])
        assert bridge.exchange(bridge.delete(given)).status == 204


@pytest.mark.parametrize(
    "params",
    [None, {}, {"protocolVersion": 1}, {"protocolVersion": None}, {"protocolVersion": ["2025-11-25"]}],
)
def test_m01_an_initialize_without_a_version_is_refused_and_leaves_no_child(bridge, params):
    children = bridge.children()
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize"} | (
        {} if params is None else {"params": params}
    )
    reply = bridge.exchange(bridge.post(body))
    assert (reply.status, reply.code) == (400, -32602)
    assert not wait_until_empty(lambda: bridge.children() - children)


def test_m01_an_initialize_that_is_too_big_is_413_and_starts_nothing(bridge):
    children = bridge.children()
    body = bridge.initialize()
    body["params"]["clientInfo"]["name"] = "x" * 16 * 1024 * 1024
    assert bridge.exchange(bridge.post(body)).status == 413
    assert bridge.children() <= children


# ---- M02, M03


@pytest.mark.parametrize("id_", ["1", '"x"', "0", "null", "{}", "[]", "1.5", '"' + "a" * 300 + '"'])
def test_m02_a_cancellation_of_nothing_in_flight_is_ignored(bridge, session, id_):
    body = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b}}' % id_.encode()
    with bridge.lines_received(session) as lines:
        assert bridge.exchange(bridge.post(body, session)).status == 202
    assert lines == []


def test_m02_a_session_cannot_cancel_a_call_of_another(bridge, session):
    other = bridge.open_session()
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
    with bridge.connect() as connection:
        bridge.hold(connection, session, 7)
        with bridge.lines_received(other) as lines:
            assert bridge.exchange(bridge.post(cancel, other)).status == 202
        assert lines == []
        bridge.exchange(bridge.post({"jsonrpc": "2.0", "id": 8, "method": "test/release"}, session))
        assert connection.reply().json == {"jsonrpc": "2.0", "id": 7, "result": {"released": True}}
    assert bridge.exchange(bridge.delete(other)).status == 204


@pytest.mark.parametrize("token", ["{}", "[]", "1.5", "true", "null", '"' + "a" * 300 + '"', "1" * 300])
def test_m03_an_invalid_progress_token_is_refused(bridge, session, token):
    body = (
        b'{"jsonrpc":"2.0","id":1,"method":"test/echo","params":{"_meta":{"progressToken":%b}}}'
        % token.encode()
    )
    with bridge.lines_received(session) as lines:
        reply = bridge.exchange(bridge.post(body, session))
    assert (reply.status, reply.code, lines) == (400, -32602, [])


# ---- M04


@pytest.mark.parametrize(
    "version",
    [
        "2026-07-28",
        "9999-01-01",
        "x",
        "",
        "2025-11-25, 2025-11-25",
        "2025-11-25x",
        "1" * 4000,
    ],
)
def test_m04_a_version_header_that_differs_from_the_session_is_400(bridge, session, version):
    with bridge.lines_received(session) as lines:
        reply = bridge.exchange(bridge.post(session=Session(session.id, version)))
    assert (reply.status, reply.code, lines) == (400, -32602, [])


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18"])
def test_m04_another_legacy_version_is_accepted_and_the_negotiated_one_kept(bridge, session, version):
    """Accept a known revision that was not negotiated, because clients exist that send their own."""
    assert bridge.exchange(bridge.post(session=Session(session.id, version))).status == 200


@pytest.mark.parametrize("version", ["9999-01-01", "x"])
def test_m04_a_wrong_version_header_is_400_for_a_stream(bridge, session, version):
    assert bridge.exchange(bridge.get(Session(session.id, version))).status == 400


@pytest.mark.parametrize("version", ["9999-01-01", "x"])
def test_m04_a_wrong_version_header_is_400_for_a_delete(bridge, session, version):
    reply = bridge.exchange(bridge.delete(session).add(f"MCP-Protocol-Version: {version}"))
    assert reply.status == 400
    assert bridge.exchange(bridge.post(session=session)).status == 200


def test_m04_a_missing_version_header_is_accepted(bridge, session):
    assert bridge.exchange(bridge.post(session=session).without_field("MCP-Protocol-Version")).status == 200


# ---- M06


@pytest.mark.parametrize(
    ("name", "status"), [("x" * 129, 400), ("x" * 1_000_000, 400), ("", 400), ("a\0b", 400), ("a\nb", 400), (None, 400), (1, 400), ("../../x", 200), ("<form>", 200), ("a b", 200)]
)  # fmt: skip
def test_m06_the_name_of_a_tool_is_data_of_bounded_length(bridge, session, name, status):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name}}).encode()
    reply = bridge.exchange(bridge.post(body, session))
    assert reply.status == status
    if status == 400:
        assert reply.code == -32602


@pytest.mark.parametrize("uri", ["file:///etc/shadow", "a://" + "1," * 1000])
def test_m07_a_resource_uri_is_passed_on_unchecked(bridge, session, uri):
    body = {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": uri}}
    reply = bridge.exchange(bridge.post(body, session))
    assert reply.json["result"]["params"] == {"uri": uri}


# ---- M08


def test_m08_a_delete_ends_what_is_in_flight_and_is_404_the_second_time(bridge):
    session, before = bridge.open_session(), bridge.children()
    with bridge.connect() as one, bridge.connect() as two, bridge.connect() as stream:
        one.send(bridge.post({"jsonrpc": "2.0", "id": 1, "method": "test/hold"}, session))
        two.send(
            bridge.post({"jsonrpc": "2.0", "id": 2, "method": "test/hold"}, session).replace_field(
                "Accept: text/event-stream, application/json"
            )
        )
        assert two.head().status == 200
        stream.send(bridge.get(session))
        assert stream.head().status == 200
        bridge.sync(session)
        assert bridge.exchange(bridge.delete(session)).status == 204
        assert one.reply().code == -32000
        assert two.events().message().json["error"]["code"] == -32000
        assert not [event for event in stream.events() if event.data]
    gone = bridge.exchange(bridge.delete(session))
    assert (gone.status, gone.code) == (404, -32001)
    assert exchange_all(bridge, session.id) == exchange_all(bridge, UNKNOWN_SESSION)
    assert not wait_until_empty(lambda: len(bridge.children()) == len(before))


# ---- ids in flight, and limits


def test_i1_equal_ids_of_many_sessions_are_answered_to_their_own_sessions(bridge):
    sessions = [bridge.open_session() for _ in range(8)]
    connections = []
    try:
        for number, session in enumerate(sessions):
            manager = bridge.connect()
            connection = manager.__enter__()
            connections.append((manager, connection))
            bodies = [
                {"jsonrpc": "2.0", "id": id_, "method": "test/echo", "params": {"nonce": f"{number}/{id_}"}}
                for id_ in range(5)
            ]
            connection.send(b"".join(bytes(bridge.post(body, session)) for body in bodies))
        for number, (_, connection) in enumerate(connections):
            for id_ in range(5):
                answer = connection.reply().json
                assert (answer["id"], answer["result"]["params"]["nonce"]) == (id_, f"{number}/{id_}")
    finally:
        for manager, _ in connections:
            manager.__exit__(None, None, None)
    for session in sessions:
        assert bridge.exchange(bridge.delete(session)).status == 204


def test_v18_a_duplicate_id_in_flight_is_refused_and_the_first_answered(bridge, session):
    with bridge.connect() as connection:
        bridge.hold(connection, session, 7)
        with bridge.lines_received(session) as lines:
            reply = bridge.exchange(bridge.post({"jsonrpc": "2.0", "id": 7, "method": "test/echo"}, session))
        assert (reply.status, reply.code, reply.json["id"], lines) == (400, INVALID_REQUEST, 7, [])
        bridge.exchange(bridge.post({"jsonrpc": "2.0", "id": 8, "method": "test/release"}, session))
        assert connection.reply().json["result"] == {"released": True}
    assert (
        bridge.exchange(bridge.post({"jsonrpc": "2.0", "id": 7, "method": "test/echo"}, session)).status
        == 200
    )


def test_the_129th_call_in_flight_is_refused_and_the_rest_answered(bridge):
    with bridge.event_stream() as (events, path), bridge.connect() as connection:
        connection.send(bridge.post(bridge.initialize(), target=path))
        assert connection.reply().status == 202
        assert events.message().json["id"] == 0
        for id_ in range(1, 129):
            connection.send(bridge.post({"jsonrpc": "2.0", "id": id_, "method": "test/hold"}, target=path))
            assert connection.reply().status == 202
        connection.send(bridge.post({"jsonrpc": "2.0", "id": 129, "method": "test/hold"}, target=path))
        assert connection.reply().status == 202
        refusal = events.message().json
        assert (refusal["id"], refusal["error"]["code"]) == (129, -32000)
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 128}}
        connection.send(bridge.post(cancel, target=path))
        assert connection.reply().status == 202
        connection.send(bridge.post({"jsonrpc": "2.0", "id": 130, "method": "test/release"}, target=path))
        assert connection.reply().status == 202
        answered = {events.message().json["id"] for _ in range(128)}
        assert answered == {*range(1, 128), 130}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    limits = [
        "sessions_per_principal=3",
        "connections_per_principal=8",
        "connections_unauthenticated=4",
        "head_seconds=2",
    ]
    with running(tmp_path_factory.mktemp("narrow"), *(f"--limit={limit}" for limit in limits)) as bridge:
        yield bridge


def test_v20_one_session_too_many_ends_the_session_that_was_idle_longest(narrow):
    sessions = [narrow.open_session() for _ in range(3)]
    # After this request the second session is the one that was idle longest.
    assert narrow.exchange(narrow.post(session=sessions[0])).status == 200
    sessions.append(narrow.open_session())
    found = [narrow.exchange(narrow.post(session=session)).status for session in sessions]
    assert found == [200, 404, 200, 200]
    for session in (sessions[0], *sessions[2:]):
        assert narrow.exchange(narrow.delete(session)).status == 204


def test_v20_one_session_too_many_is_refused_if_all_are_busy(narrow):
    # Those of an earlier test may not have ended yet.
    assert not wait_until_empty(narrow.children)
    with narrow.event_stream(), narrow.event_stream(), narrow.event_stream():
        reply = narrow.exchange(narrow.post(narrow.initialize()))
        assert reply.status == 503
        assert reply.headers["retry-after"]
        assert len(narrow.children()) == 3
    assert not wait_until_empty(narrow.children, 3)


def test_a_flood_over_tcp_without_a_credential_does_not_block_the_unix_socket(tmp_path):
    unix = str(tmp_path / "s")
    options = ("--unix", unix, "--limit=connections_unauthenticated=1")
    with running(tmp_path / "run", *options) as bridge, bridge.connect() as silent:
        assert silent.is_silent(0.1)
        assert bridge.exchange(bridge.request("GET", "/nothing")).status == 404
        # Its place was needed.
        assert silent.to_the_end() == b""
        for _ in range(3):
            with connect(unix) as connection:
                connection.send(bridge.bare("GET", "/nothing").replace_field("Host: localhost"))
                assert connection.reply().status == 404


@pytest.mark.parametrize(("authenticated", "limit"), [(True, 8), (False, 4)])
def test_one_connection_too_many_is_refused_and_the_others_kept(narrow, authenticated, limit):
    """Refuse it if the clients are authenticated. Otherwise serve it and close the oldest connection."""
    request = narrow.request("GET", "/nothing") if authenticated else narrow.bare("GET", "/healthz")
    managers, refused = [], 0
    try:
        for _ in range(limit):
            manager = narrow.connect()
            connection = manager.__enter__()
            managers.append((manager, connection))
            connection.send(request)
            assert connection.reply().status in (200, 404)
        with narrow.connect() as connection:
            connection.try_send(request)
            reply = connection.reply()
            refused = reply.status
            assert not authenticated or reply.headers["retry-after"]
        if not authenticated:
            assert managers[0][1].to_the_end() == b""
        for _, connection in managers if authenticated else managers[1:]:
            connection.send(request)
            assert connection.reply().status in (200, 404)
    finally:
        for manager, _ in managers:
            manager.__exit__(None, None, None)
    assert refused == (503 if authenticated else 200)
