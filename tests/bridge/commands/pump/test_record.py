"""The state that one process stores for the next."""

import os

from mcpbridged.bridge.commands.pump.conversation import OPEN, Conversation
from mcpbridged.bridge.commands.pump.lines import line_of
from mcpbridged.bridge.commands.pump.record import (
    conversation_of,
    load,
    pack,
    settings_of,
    settings_values,
    state_values,
    store,
    unpack,
)
from mcpbridged.bridge.commands.pump.settings import WAIT, Settings

VALUES = [(b"a", b""), (b"b", b"two\nlines\n"), (b"b", bytes(range(256))), (b"c", b"x" * 100_000)]


def test_values_of_any_bytes_are_stored_in_order():
    assert unpack(pack(VALUES)) == VALUES
    descriptor = store(VALUES)
    assert os.get_inheritable(descriptor)
    assert load(descriptor) == VALUES


def test_a_record_that_was_cut_off_ends_before_the_incomplete_value():
    text = pack(VALUES[:2])
    assert unpack(text[:-1]) == VALUES[:1]
    assert unpack(b"") == []


def test_settings_are_the_same_afterwards():
    settings = Settings(b"one \xff", b"/run/x y", [(b"A", b"b: c"), (b"D", b"")], 2.5)
    values = [(b"unknown", b"1"), *settings_values(settings)]
    found = settings_of(unpack(pack(values)))
    assert vars(found) == vars(settings)


def test_absent_settings_have_defaults():
    found = settings_of([])
    assert (found.name, found.path, found.headers, found.wait) == (b"", b"", [], WAIT)


def test_a_conversation_is_the_same_afterwards():
    before = Conversation("own-")
    before.on_connect()
    for text in (
        b'{"jsonrpc":"2.0","id":"\\u0061","method":"initialize","params":{}}',
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
        b'{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"info"}}',
        b'{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"x://1"}}',
        b'{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{}}',
        b'{"jsonrpc":"2.0","id":"s","method":"subscriptions/listen","params":{}}',
    ):
        before.on_client_line(line_of(text))
        before.on_sent(before.outgoing.advance(before.outgoing.size))
    before.on_server_line(line_of(b'{"jsonrpc":"2.0","id":"a","result":{"protocolVersion":"x"}}'))
    for number in (1, 2):
        before.on_server_line(line_of(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % number))
    before.on_server_line(line_of(b'{"jsonrpc":"2.0","id":"q","method":"roots/list"}'))
    before.server_requests.add_lost(b"7")
    assert before.may_pause
    after = conversation_of(unpack(pack(state_values(before))))
    assert (after.phase, after.prefix) == (OPEN, "own-")
    assert vars(after.setup) == vars(before.setup)
    assert after.setup.key == b'"a"'
    assert after.requests.items() == [(b"3", False), (b'"s"', True)]
    assert after.requests.are_due
    assert (after.server_requests.raw_ids, after.server_requests.lost) == ([b'"q"'], [b"7"])


def test_a_conversation_without_a_session_is_the_same_afterwards():
    before = Conversation("own-")
    before.on_connect()
    after = conversation_of(unpack(pack(state_values(before))))
    assert vars(after.setup) == vars(before.setup)
    assert not after.requests


def test_an_empty_record_is_a_conversation_without_a_session():
    after = conversation_of([])
    assert not after.setup.accepted
