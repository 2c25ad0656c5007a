"""Bound the members of values that are read member by member: initialize, `_meta`, and notifications and requests of servers.

R4: a million members of such a value would hold the event loop for 0.6 to 3.8 seconds.
"""

import itertools
import json

import pytest

from mcpbridged.bridge.core.access_policy import AccessPolicy
from mcpbridged.bridge.core.attribution import Origins
from mcpbridged.bridge.core.effects import LogDebug
from mcpbridged.bridge.core.multiplexer import Multiplexer
from mcpbridged.bridge.core.request_state import StateSigner
from mcpbridged.bridge.core.shared_upstream import SharedUpstream
from mcpbridged.bridge.eras.legacy_adapter import LegacyAdapter
from mcpbridged.bridge.eras.modern_adapter import ModernAdapter
from mcpbridged.bridge.eras.rules_legacy_to_modern import Profile
from mcpbridged.bridge.runtime import placement
from mcpbridged.validators.jsonrpc import Notification, Request
from mcpbridged.validators.limits import Limits

from ..support.scripted_servers import META, PAIRS, client, served

CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
INFO = "io.modelcontextprotocol/clientInfo"
# Just above what may be declared, and just below.
MANY, FEW = 20_000, 1500
FILLED = {
    "members": lambda count: {f"member{n}": 1 for n in range(count)},
    "extensions": lambda count: {"extensions": {f"extension{n}": {} for n in range(count)}},
    "list": lambda count: {"experimental": {"list": [{}] * (4 * count)}},
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with served(tmp_path_factory.mktemp("declarations")) as running:
        yield running


def initialize(filled, where):
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "n", "version": "1"},
    }
    if where == "params":
        params |= filled
    else:
        params[where] = {**params[where], **filled}
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.era == "legacy"], ids=str)
@pytest.mark.parametrize("kind", FILLED)
@pytest.mark.parametrize("where", ["params", "capabilities", "clientInfo"])
def test_r04_an_initialize_of_too_many_values_is_refused_and_another_is_answered(running, pair, kind, where):
    with client(running, pair, opened=False) as peer:
        found = peer.exchange_json(json.dumps(initialize(FILLED[kind](MANY), where)).encode())
        assert found["error"]["code"] == -32602
        assert "initialize has more than 65536 bytes" in found["error"]["message"]
    with client(running, pair, opened=False) as peer:
        found = peer.exchange_json(json.dumps(initialize(FILLED[kind](FEW), where)).encode())
        assert "result" in found, found


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.era == "modern"], ids=str)
@pytest.mark.parametrize("kind", FILLED)
@pytest.mark.parametrize("where", ["_meta", CAPABILITIES, INFO])
def test_r04_a_meta_of_too_many_values_is_refused_and_another_is_answered(running, pair, kind, where):
    with client(running, pair) as peer:
        for count in (MANY, FEW):
            filled = FILLED[kind](count)
            meta = {**META, **filled} if where == "_meta" else {**META, where: filled}
            params = {"name": f"{pair.prefix}echo", "arguments": {}, "_meta": meta}
            found = peer.exchange_json(
                json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
            )
            if count == MANY:
                assert found["error"]["code"] == -32602
                assert "_meta has more than 65536 bytes" in found["error"]["message"]
            else:
                assert "result" in found, found


def test_r04_a_long_value_is_compared_as_text():
    short, long = b'{"a": 1, "b": "%b"}', b"x" * 100_000
    assert placement.fingerprint(short % b"") == placement.fingerprint(b'{"b":"","a":1}')
    assert placement.fingerprint(short % long) == placement.fingerprint(short % long)
    assert placement.fingerprint(short % long) != placement.fingerprint(b'{"b":"%b","a":1}' % long)


# ---- messages of a server

LIMITS = Limits()
UNNAMED = b"{%b}" % b",".join(b'"member%d":1' % n for n in range(70_000))
# Large in a member that the specification names.
NAMED = b'{"level":"info","data":%b}' % UNNAMED


def upstream():
    ids = itertools.count(1)
    found = SharedUpstream(LIMITS, lambda: b"%d" % next(ids), AccessPolicy())
    return found.on_server_message


def to_legacy():
    return LegacyAdapter(LIMITS, Profile(), lambda: "k", version="1", origins=Origins(1.0)).from_server


def to_modern():
    return ModernAdapter(LIMITS, lambda: "k", "stdio").from_server


def relay():
    found = Multiplexer(LIMITS, StateSigner(b"key"))
    found.on_server_start()
    return found.on_server_message


@pytest.mark.parametrize("receiver", [upstream, to_legacy, to_modern, relay])
def test_r04_a_notification_of_too_many_members_is_dropped(receiver):
    receive = receiver()
    for method in ("notifications/message", "notifications/progress", "notifications/resources/updated"):
        (effect,) = receive(Notification(method, UNNAMED))
        assert effect.event == "notification_with_too_many_members"
    for effect in receive(Notification("notifications/message", NAMED)):
        assert not (isinstance(effect, LogDebug) and "members" in effect.event)


@pytest.mark.parametrize("receiver", [upstream, to_legacy])
def test_r04_a_request_of_too_many_members_is_refused(receiver):
    receive = receiver()
    for method in ("elicitation/create", "sampling/createMessage", "roots/list", "ping"):
        answer, event = receive(Request(b"7", method, UNNAMED))
        assert answer.message.id == b"7"
        assert "members that the specification does not name" in answer.message.error.decode()
        assert (event.method, event.reason) == (method, "too_many_members")


@pytest.mark.parametrize(
    "pair", [pair for pair in PAIRS if pair.transport == "W" or pair.server == "shared"], ids=str
)
def test_r04_a_call_goes_on_after_messages_of_too_many_members(running, pair):
    lines = [
        b'{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":%b}' % UNNAMED,
        b'{"jsonrpc":"2.0","method":"notifications/message","params":%b}' % UNNAMED,
        b'{"jsonrpc":"2.0","method":"notifications/progress","params":%b}' % UNNAMED,
        b'{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}',
    ]
    with client(running, pair) as peer:
        assert peer.exchange_json(peer.raw(b"1", *lines))["result"]["content"] == []
