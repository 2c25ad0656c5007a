"""The state that one process stores for the next."""

import os

from mcpbridged.bridge.commands.pump.record import load, pack, settings_of, settings_values, store, unpack
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
