"""Messages as `tap` describes them."""

import io
import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.bridge.daemon import message_tap as module
from mcpbridged.bridge.daemon.message_tap import Head, MessageTap, head_of
from mcpbridged.bridge.log import LineLog
from mcpbridged.bridge.runtime.server_log import ServerLog
from mcpbridged.bridge.runtime.taps import Sender

BIG = "x" * 300_000


class Owner:
    """Serves two clients, by the id of their request."""

    def sender(self, wire_id):
        senders = {
            b"1": Sender("editor", "0123456789", b'{"name": "Editor"}'),
            b"2": Sender("owner", "", b'{"name": 5}'),
        }
        return senders.get(wire_id, Sender(""))


@pytest.fixture
def tapped():
    """Return a function that passes a message of a process, and returns its description."""
    log, seen = ServerLog("one", LineLog(out=io.StringIO())), []
    tap = MessageTap(seen.append)
    tap.begin(log)
    process = SimpleNamespace(pid=7, owner=Owner())
    processes = {True: process, False: SimpleNamespace(pid=8, owner=None)}

    def tapped(direction, text, *, owned=True):
        line = text if isinstance(text, bytes) else json.dumps(text).encode()
        for receive in log.taps._taps:
            receive(processes[owned], direction, line)
        return json.loads(seen[-1])

    tapped.log, tapped.tap, tapped.seen = log, tap, seen
    return tapped


def test_a_request_and_its_response_have_one_method_and_client(tapped):
    request = tapped("to server", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {}})
    assert (request["kind"], request["method"], request["id"]) == ("request", "tools/call", "1")
    assert (request["principal"], request["session"], request["client"]) == ("editor", "01234567", "Editor")
    assert (request["server"], request["pid"], request["own"]) == ("one", 7, False)
    response = tapped("to client", {"result": {}, "jsonrpc": "2.0", "id": 1})
    assert (response["kind"], response["method"], response["client"]) == ("response", "tools/call", "Editor")
    assert tapped("to client", {"id": 1, "error": {}})["method"] == ""
    assert tapped("to client", {"id": 2, "error": {}})["kind"] == "error"


def test_a_request_of_the_server_belongs_to_no_request_of_a_client(tapped):
    request = tapped("to client", {"id": 1, "method": "elicitation/create"})
    assert (request["kind"], request["client"]) == ("request", "")
    response = tapped("to server", {"id": 1, "result": {}})
    assert (response["method"], response["client"]) == ("elicitation/create", "")


@pytest.mark.parametrize("token", [1, "1.0123abcd"])
def test_progress_belongs_to_the_client_of_its_call(tapped, token):
    progress = {"method": "notifications/progress", "params": {"progressToken": token}}
    assert tapped("to client", progress)["client"] == "Editor"
    assert tapped("to client", {**progress, "method": "notifications/message"})["client"] == ""


@pytest.mark.parametrize("own_id", ["mcp-bridge-0a1b", "probe", "probe-initialize"])
def test_requests_of_the_bridge_are_its_own(tapped, own_id):
    assert tapped("to server", {"id": own_id, "method": "ping"})["own"] is True
    assert tapped("to server", {"id": f"x{own_id}", "method": "ping"})["own"] is False
    assert tapped("to server", {"id": 1, "method": "ping"}, owned=False)["own"] is True


def test_secrets_are_redacted_and_long_texts_cut(tapped):
    tapped.log.hide(["a secret value"])
    found = tapped("to client", {"id": 5, "method": "a secret value", "params": {"x": "a secret value"}})
    assert "a secret value" not in json.dumps(found)
    assert len(tapped("to client", b"y" * 50_000)["line"]) == 16_384
    assert tapped("to client", b"y" * 50_000)["size"] == 50_000
    assert len(tapped("to client", {"id": "i" * 500, "method": "m" * 500})["method"]) == 128


def test_what_is_no_message_has_no_kind(tapped):
    for line in (b"log line", b"[1]", b"{}", b'{"method": 5}x', b"\xff", b"[" * 10_000):
        assert tapped("to client", line)["kind"] == ""
    assert tapped("to client", {"method": 5})["kind"] == "notification"


def test_the_methods_of_requests_without_a_response_are_bounded(tapped, monkeypatch):
    monkeypatch.setattr(module, "_MOST_METHODS", 2)
    for at in range(3):
        tapped("to server", {"id": at, "method": "m"})
    assert tapped("to client", {"id": 0, "result": {}})["method"] == ""
    assert tapped("to client", {"id": 2, "result": {}})["method"] == "m"


def test_a_tap_that_has_ended_gets_nothing(tapped):
    tapped.tap.end(tapped.log)
    assert not tapped.log.taps


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize(
    ("text", "head"),
    [
        ({"jsonrpc": "2.0", "id": 5, "method": "a/b", "params": BIG}, Head("request", "a/b", b"5")),
        ({"jsonrpc": "2.0", "method": "a/b", "params": BIG}, Head("notification", "a/b")),
        ({"jsonrpc": "2.0", "id": "x", "result": BIG}, Head("response", "", b'"x"')),
        ({"result": {"id": 3, "t": BIG}, "jsonrpc": "2.0", "id": 5}, Head("response", "", b"5")),
        ({"result": {"id": 3, "t": BIG}, "id": 5, "jsonrpc": "2.0"}, Head("response", "", b"5")),
        # The id of another object is not that of the message.
        ({"result": {"t": BIG, "id": 3}}, Head()),
        ({"result": [{"id": 3}, BIG]}, Head()),
    ],
)
def test_a_large_message_is_read_at_its_ends_only(text, head, separators):
    assert head_of(json.dumps(text, separators=separators).encode()) == head


@given(st.binary(max_size=300), st.booleans())
def test_no_line_raises(line, large):
    head_of(line + b" " * (300_000 if large else 0))
