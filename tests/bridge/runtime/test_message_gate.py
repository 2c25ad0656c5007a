"""Messages that do not fit their schema: refused towards their sender, and reported."""

import json

import pytest

from mcpbridged.bridge.runtime.message_gate import MessageGate
from mcpbridged.transports.counted_events import CountedEvents
from mcpbridged.validators import jsonrpc
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.rejection import Rejection

LEGACY = "2025-11-25"


class Log:
    def __init__(self):
        self.events = []

    def info(self, event, **fields):
        self.events.append((event, fields))

    debug = warning = error = info


class World:
    """A gate, and what it has sent to its server and failed."""

    def __init__(self):
        self.log = Log()
        self.gate = MessageGate(CountedEvents(self.log))
        self.sent = []
        self.failed = []
        self.server = self.gate.for_server(
            lambda raw_id, why: self.failed.append((raw_id, why)), self.sent.append
        )
        self.server.on_sent(jsonrpc.request(b"1", "initialize", b"{}"))
        about = {"protocolVersion": LEGACY, "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
        assert self.server.admits(Response(b"1", json.dumps(about).encode(), b""))

    def from_client(self, message, **known):
        return self.gate.from_client(message, LEGACY, **known)

    @property
    def event(self):
        [(event, fields)] = self.log.events
        assert event == "message_invalid"
        return fields


@pytest.fixture
def world():
    return World()


def test_a_message_that_fits_is_returned_unchanged(world):
    message = Request(b"1", "tools/call", b'{"name":"a"}')
    assert world.from_client(message) is message
    assert world.log.events == []


def test_a_request_of_a_client_is_refused_with_the_path_and_without_a_value(world):
    with pytest.raises(Rejection) as caught:
        world.from_client(
            Request(b"1", "tools/call", b'{"name":"a","arguments":"hunter2"}'), principal="ci", session="abc"
        )
    rejection = caught.value
    assert (rejection.status, rejection.code, rejection.reason) == (200, -32602, "message_invalid")
    assert rejection.text == (
        "the message does not fit tools/call in MCP 2025-11-25: Expected `object`, got `str` at $.arguments"
    )
    event = world.event
    assert event.pop("correlation_id") == rejection.correlation_id
    assert event == {
        "reason": "Expected `object`, got `str`",
        "count": 1,
        "sender": "client",
        "method": "tools/call",
        "revision": LEGACY,
        "path": "$.arguments",
        "principal": "ci",
        "session": "abc",
    }
    assert "hunter2" not in str(world.log.events)


def test_a_notification_of_a_client_is_refused_with_a_status_of_its_own(world):
    with pytest.raises(Rejection) as caught:
        world.from_client(Notification("notifications/progress", b"{}"))
    assert (caught.value.status, caught.value.code) == (400, -32602)
    assert world.event["method"] == "notifications/progress"


def test_the_server_gets_an_error_for_a_wrong_response_of_its_client(world):
    """It waits for a response."""
    message = world.from_client(Response(b"7", b'{"roots":5}', b""), answered="roots/list")
    assert (message.id, message.result) == (b"7", b"")
    assert json.loads(message.error)["code"] == -32603
    assert "$.roots" in json.loads(message.error)["message"]
    assert world.event["method"] == "roots/list"


def test_a_wrong_response_of_a_server_fails_its_request(world):
    world.server.on_sent(jsonrpc.request(b"2", "tools/call", b"{}"))
    assert not world.server.admits(Response(b"2", b'{"content":5}', b""))
    assert world.failed == [
        (
            b"2",
            "the server's answer is not valid: tools/call in MCP 2025-11-25: Expected `array`, got `int` at $.content",
        )
    ]
    assert (world.event["sender"], world.event["path"], world.sent) == ("server", "$.content", [])


def test_a_wrong_request_of_a_server_is_refused_towards_it(world):
    assert not world.server.admits(Request(b'"q"', "sampling/createMessage", b'{"messages":[]}'))
    [line] = map(json.loads, world.sent)
    assert (line["id"], line["error"]["code"]) == ("q", -32602)
    assert "Object missing required field `maxTokens` at $" in line["error"]["message"]
    assert world.failed == []
    assert world.event["sender"] == "server"


def test_a_wrong_notification_of_a_server_is_dropped(world):
    assert not world.server.admits(Notification("notifications/message", b"{}"))
    assert (world.sent, world.failed) == ([], [])
    assert world.event["method"] == "notifications/message"


def test_many_wrong_messages_are_counted_and_not_all_logged(world):
    for _ in range(50):
        world.server.admits(Notification("notifications/message", b"{}"))
    assert len(world.log.events) == 1
