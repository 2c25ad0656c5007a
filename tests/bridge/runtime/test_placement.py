"""Which requests share a server process."""

import json

import pytest

from mcpbridged.bridge.core.attribution import Client
from mcpbridged.bridge.core.client_environment import NOTHING
from mcpbridged.bridge.core.forwarded_client import in_the_name_of, named_client, split_name, with_client
from mcpbridged.bridge.core.request_state import SharedKeys
from mcpbridged.bridge.eras.rules_legacy_to_modern import Profile
from mcpbridged.bridge.runtime.place_table import PlaceTable
from mcpbridged.bridge.runtime.placement import (
    Declared,
    Key,
    Place,
    client_of,
    declared,
    fingerprint,
    of_session,
)
from mcpbridged.transports import client_process
from mcpbridged.transports.client_process import UNKNOWN, Caller
from mcpbridged.validators import json_object
from mcpbridged.validators.jsonrpc import Request
from mcpbridged.validators.stateless_request import Envelope

INFO = "io.modelcontextprotocol/clientInfo"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"


def said(**capabilities):
    return declared(json.dumps(capabilities).encode())


@pytest.mark.parametrize(
    ("mine", "theirs", "covered"),
    [
        (said(), said(), True),
        (said(elicitation={}), said(), True),
        (said(), said(elicitation={}), False),
        (said(elicitation={}, roots={}), said(roots={}), True),
        (said(roots={}), said(elicitation={}), False),
        (said(sampling={"tools": {}}), said(sampling={}), True),
        (said(sampling={}), said(sampling={"tools": {}}), False),
        (said(extensions={"a/b": {"x": 1}}), said(), True),
        (said(), said(extensions={"a/b": {}}), False),
        (said(extensions={"a/b": {"x": 1, "y": 2}}), said(extensions={"a/b": {"y": 2, "x": 1}}), True),
        (said(extensions={"a/b": {"x": 1}}), said(extensions={"a/b": {"x": 2}}), False),
        (said(experimental={"a": {}}), said(extensions={"a": {}}), False),
    ],
)
def test_what_was_declared_covers_what_is_declared_now(mine, theirs, covered):
    assert mine.covers(theirs) == covered
    assert mine.joined(theirs).covers(mine) or not mine.extensions <= mine.joined(theirs).extensions
    assert mine.joined(theirs).covers(theirs)


def test_of_two_settings_of_an_extension_the_later_count():
    one, two = said(extensions={"a": {"x": 1}, "b": {}}), said(extensions={"a": {"x": 2}}, roots={})
    assert one.joined(two) == said(extensions={"a": {"x": 2}, "b": {}}, roots={})


def test_an_empty_declaration_has_several_spellings():
    assert declared(b"{}") == declared(b"{ }") == Declared(Profile())


def test_equal_values_have_equal_fingerprints():
    assert fingerprint(b"") == ""
    assert fingerprint(b'{"a":1,"b":2}') == fingerprint(b'{ "b": 2, "a": 1 }')
    assert fingerprint(b'{"a":1}') != fingerprint(b'{"a":2}')
    assert fingerprint(b'"\\ud800"') == fingerprint(b'"\\ud800"')


def test_a_client_is_a_caller_of_one_principal_with_one_client_info():
    one, two = client_process.stream(), client_process.stream()
    clients = {
        client_of("a", one, b"{}"),
        client_of("b", one, b"{}"),
        client_of("a", two, b"{}"),
        client_of("a", one, b'{"name":"x"}'),
        of_session("a", one),
    }
    assert len(clients) == 5
    assert all(client.known for client in clients)
    assert not client_of("a", Caller(name=UNKNOWN), b"").known
    assert client_of("a", one, b"") == of_session("a", one) == Client(of_session("a", one).key)


def test_the_aggregate_gets_the_directory_of_a_client_with_its_name():
    caller = client_process.stream()
    caller.note_directory({"mcp-cwd": "/a b"})
    alone = of_session("a", caller)
    assert client_of("a", caller, b"") == alone
    whole = of_session("a", caller, forwarded=True)
    assert whole != alone
    assert client_of("a", caller, b"", forwarded=True) == whole
    name = whole.key.split("\n")[1]
    assert split_name(name) == (caller.name, "/a b")
    caller.note_directory({})
    assert of_session("a", caller, forwarded=True) == alone
    assert split_name(caller.name) == (caller.name, "")


def meta_of(request):
    return json.loads(request.params)["_meta"]


def test_a_request_names_its_client_whatever_its_own_header_is():
    request = Request(b"1", "tools/call", b'{"name":"x","_meta":{"mcp-bridge/client":"other","a":1}}')
    named = with_client(request, "stream-1")
    assert meta_of(named) == {"mcp-bridge/client": "stream-1", "a": 1}
    assert named_client(named.params) == ("stream-1", b'{"name":"x","_meta":{"a":1}}')
    assert named_client(b'{"_meta":{}}') == ("", b'{"_meta":{}}')


def test_a_request_of_ours_is_made_in_the_name_of_a_client():
    theirs = with_client(
        Request(b"1", "tools/call", json.dumps({"_meta": {CAPABILITIES: {"roots": {}}, "a": 1}}).encode()),
        "c",
    )
    ours = Request(
        b"2", "tools/list", json.dumps({"_meta": {INFO: {"name": "us"}, CAPABILITIES: {}, "v": 1}}).encode()
    )
    assert meta_of(in_the_name_of(ours, theirs)) == {
        "v": 1,
        CAPABILITIES: {"roots": {}},
        "mcp-bridge/client": "c",
    }
    assert in_the_name_of(theirs, ours) is theirs


def test_the_settings_of_extensions_are_carried_as_they_were_declared():
    one = declared(b'{"roots":{},"extensions":{"a/b":{"n":1.50}}}')
    two = declared(b'{"experimental":{"x":{}},"extensions":{"io.modelcontextprotocol/tasks":{}}}')
    assert json_object.write(one.joined(two).capabilities()) == (
        b'{"roots":{},"extensions":{"a/b":{"n":1.50}},"experimental":{"x":{}}}'
    )


class Upstream:
    ended = False

    def __init__(self, *, subscribed=False):
        self.subscribed = subscribed


def test_a_legacy_place_is_left_when_the_server_turns_out_to_be_modern_unless_it_has_a_subscription():
    table = PlaceTable("one", SharedKeys())
    caller, read = client_process.stream(), Envelope("2026-07-28", b"{}", "", b"", "", None)
    places = [
        Place("left", Upstream(), Key("a"), Declared()),
        Place("subscribed", Upstream(subscribed=True), Key("b"), Declared()),
        Place("modern", Upstream(), Key("c"), None),
    ]
    for place in places:
        table.add(place)
        table.remember(place.key.principal, NOTHING, caller, read, (place.upstream, Client("")))
    table.replace_legacy()
    assert [place.replaced for place in places] == [True, False, False]
    current = [table.find_current(Key(name)) for name in "abc"]
    assert current == [None, *places[1:]]
    found = [table.look_up(name, NOTHING, caller, read) for name in "abc"]
    assert [one is not None for one in found] == [False, True, True]
