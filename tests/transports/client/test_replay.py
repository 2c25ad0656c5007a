"""The state of a session at a remote server."""

import json

import pytest

from mcpbridged.transports.client.messages import Received, read_sent
from mcpbridged.transports.client.replay import LegacySession
from mcpbridged.validators import jsonrpc
from mcpbridged.validators.limits import Limits


def sent(method, params=b"", raw_id=b"1"):
    return read_sent(
        jsonrpc.request(raw_id, method, params) if raw_id else jsonrpc.notification(method, params)
    )


def result(version="2025-11-25", **capabilities):
    body = {"protocolVersion": version, "capabilities": capabilities}
    return Received(json.dumps({"jsonrpc": "2.0", "id": 1, "result": body}).encode(), b"1", "")


@pytest.fixture
def session():
    found = LegacySession(Limits())
    found.record(sent("initialize", b'{"a":1}'))
    return found


def test_a_session_has_the_headers_of_its_result(session):
    assert session.begun
    assert session.headers == ()
    assert session.open(result(), "abc") == ""
    assert session.headers == ((b"MCP-Protocol-Version", b"2025-11-25"), (b"Mcp-Session-Id", b"abc"))
    assert session.generation == 1


@pytest.mark.parametrize("session_id", [None, "", "a b", "a\nb", "é", "x" * 4097])
def test_a_session_id_is_visible_ascii(session, session_id):
    session.open(result(), session_id)
    assert session.headers == ((b"MCP-Protocol-Version", b"2025-11-25"),)


@pytest.mark.parametrize("version", ["", "x\ny", "2025 11 25", "x" * 65])
def test_a_revision_that_is_no_field_value_is_not_sent(session, version):
    session.open(result(version), "abc")
    assert session.headers == ((b"Mcp-Session-Id", b"abc"),)


@pytest.mark.parametrize(
    "line",
    [b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}', b'{"jsonrpc":"2.0","id":1,"result":NaN}'],
)
def test_a_refusal_opens_no_session(session, line):
    assert session.open(Received(line, b"1", ""), "abc")
    assert (session.headers, session.generation) == ((), 0)


def test_the_next_session_gets_the_state_of_the_former(session):
    session.open(result(tools={"listChanged": True}), "abc")
    assert session.missed() == []
    session.record(sent("notifications/initialized", raw_id=b""))
    session.record(sent("logging/setLevel", b'{"level":"info"}'))
    session.record(sent("resources/subscribe", b'{"uri":"a:b"}'))
    session.record(sent("tools/call", b"{}"))
    session.add_request(b'"q"')
    assert [json.loads(line)["params"]["requestId"] for line in session.lose()] == ["q"]
    assert session.headers == ((b"MCP-Protocol-Version", b"2025-11-25"),)
    again = session.initialize_again()
    assert (again.method, again.params, again.unsent) == ("initialize", b'{"a":1}', False)
    restored = session.restore()
    assert [(one.method, one.params) for one in restored] == [
        ("logging/setLevel", b'{"level":"info"}'),
        ("resources/subscribe", b'{"uri":"a:b"}'),
    ]
    assert len({one.id for one in (again, *restored)}) == 3
    assert [json.loads(line)["method"] for line in session.missed()] == [
        "notifications/tools/list_changed",
        "notifications/resources/updated",
    ]


def test_a_response_is_sent_only_in_the_session_of_its_request(session):
    session.add_request(b"5")
    assert session.answers(b"5")
    assert not session.answers(b"5")
    session.add_request(b"6")
    session.withdrawn(b'{"requestId":6}')
    session.withdrawn(b"{}")
    assert not session.answers(b"6")
    session.add_request(b"7")
    session.lose()
    assert not session.answers(b"7")


def test_the_requests_of_a_server_are_bounded(session):
    for number in range(5000):
        session.add_request(b"%d" % number)
    assert (session.answers(b"903"), session.answers(b"904")) == (False, True)
