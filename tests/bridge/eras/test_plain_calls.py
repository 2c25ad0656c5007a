"""Plain calls of a tool are translated without the rules. The result is the same as with the rules."""

import json

import msgspec
import pytest

from mcpbridged.bridge.core.effects import ToRequester, ToServer
from mcpbridged.bridge.eras import rules_legacy_to_modern
from mcpbridged.bridge.eras.legacy_adapter import LegacyAdapter
from mcpbridged.bridge.eras.rules_legacy_to_modern import Profile
from mcpbridged.validators.jsonrpc import Request, Response
from mcpbridged.validators.limits import Limits

ENVELOPE = b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}'
PLAIN = b'{"name":"echo","arguments":{"x":1},"_meta":%b}' % ENVELOPE
OPENED = (
    b'{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}'
)
PARAMS = {
    "plain": PLAIN,
    "no arguments": b'{"name":"echo","_meta":%b}' % ENVELOPE,
    "a string like the end": b'{"name":"echo","arguments":{"x":",\\"_meta\\":{}}"},"_meta":%b}' % ENVELOPE,
    "the envelope first": b'{"_meta":%b,"name":"echo"}' % ENVELOPE,
    "white space": b'{"name":"echo", "_meta":%b}' % ENVELOPE,
    "white space at the end": b'{"name":"echo","_meta":%b }' % ENVELOPE,
    "nested": b'{"name":"echo","arguments":{"x":1,"_meta":%b}}' % ENVELOPE,
    "repeated": b'{"name":"echo","_meta":{"a":1},"_meta":%b}' % ENVELOPE,
    "repeated with escapes": b'{"name":"echo","\\u005fmeta":{"a":1},"_meta":%b}' % ENVELOPE,
    "more in the envelope": b'{"name":"echo","_meta":%b,"a":1}}' % ENVELOPE[:-1],
    "a token": b'{"name":"echo","_meta":%b,"progressToken":7}}' % ENVELOPE[:-1],
    "a level": b'{"name":"echo","_meta":%b,"io.modelcontextprotocol/logLevel":"info"}}' % ENVELOPE[:-1],
    "responses": b'{"name":"echo","inputResponses":{},"_meta":%b}' % ENVELOPE,
    "a repeated name": b'{"name":"echo","name":"other","arguments":{},"_meta":%b}' % ENVELOPE,
    "large": b'{"name":"echo","arguments":{"x":"%b"},"_meta":%b}' % (b"x" * 70_000, ENVELOPE),
    "a stranger": b'{"name":"echo","arguments":{},"x":1,"x":2,"_meta":%b}' % ENVELOPE,
    "the arguments first": b'{"arguments":{},"name":"echo","_meta":%b}' % ENVELOPE,
    "half a surrogate pair": b'{"name":"echo","arguments":{"x":"\\ud800"},"_meta":%b}' % ENVELOPE,
    "no envelope": b'{"name":"echo"}',
    "a large envelope": b'{"name":"echo","_meta":%b,"io.modelcontextprotocol/clientInfo":{"name":"%b"}}}'
    % (ENVELOPE[:-1], b"x" * 2000),
}
RESULTS = {
    "plain": b'{"content":[]}',
    "more": b'{"content":[{"type":"text","text":"\\n\\u0041"}],"structuredContent":{"a":[1]},"isError":false}',
    "large": b'{"content":["%b"]}' % (b"x" * 70_000),
    "repeated": b'{"content":[1],"content":[2]}',
    "half a surrogate pair": b'{"content":["\\ud800"]}',
    "empty": b"{}",
    "no object": b"null",
    "white space": b'{ "content" : [ ] }',
    "meta": b'{"content":[],"_meta":{"a":1}}',
    "meta with escapes": b'{"content":[],"\\u005fmeta":{"a":1}}',
    "a cursor": b'{"content":[],"nextCursor":"x"}',
    "a type": b'{"content":[],"resultType":"other"}',
}


def opened():
    it = LegacyAdapter(Limits(), Profile(), lambda: "name")
    assert len([*it.on_start()]) == 1
    assert len([*it.from_server(Response(b"1", OPENED, b""))]) == 1
    return it


def params_of(it, params):
    """Return the params for the server, without the id in a progress token."""
    (order,) = [
        one for one in it.from_client(Request(b"7", "tools/call", params)) if isinstance(one, ToServer)
    ]
    found = json.loads(order.message.params)
    if "progressToken" in found.get("_meta", {}):
        assert str(found["_meta"].pop("progressToken")).encode() == order.message.id
    return found


@pytest.mark.parametrize("before", PARAMS)
@pytest.mark.parametrize("name", PARAMS)
def test_a_call_behind_another_one_is_translated_as_the_first_one(before, name):
    it = opened()
    params_of(it, PARAMS[before])
    assert params_of(it, PARAMS[name]) == params_of(opened(), PARAMS[name])


def test_a_plain_call_keeps_its_bytes_but_for_the_envelope():
    it = opened()
    for _ in range(2):
        (order,) = it.from_client(Request(b"7", "tools/call", PLAIN))
        assert order.message.params == b'{"name":"echo","arguments":{"x":1}}'


def test_a_result_with_a_cursor_of_any_length_is_not_plain():
    for size in range(64):
        result = b'{"content":[],"nextCursor":"%b"}' % (b"x" * size)
        found = rules_legacy_to_modern.modern_result("tools/call", result, msgspec.Raw(b"{}"), "c.")
        assert json.loads(found)["nextCursor"] == "c." + "x" * size


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_has_what_is_added_to_each(name, monkeypatch):
    def translated():
        it = opened()
        (order,) = it.from_client(Request(b"7", "tools/call", PLAIN))
        (answer,) = it.from_server(Response(order.message.id, RESULTS[name], b""))
        assert isinstance(answer, ToRequester)
        return json.loads(answer.message.result)

    found = translated()
    monkeypatch.setattr(rules_legacy_to_modern, "_needs_no_rule", lambda _result: False)
    assert found == translated()
