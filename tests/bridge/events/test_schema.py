"""Each event is described, and reads back as what was written."""

import re
import typing

import msgspec
import pytest
from msgspec import inspect

from mcpbridged.bridge.events import schema
from mcpbridged.bridge.events.catalog import EVENTS, line
from tests.support.event_document import PATH, document, example_of

DECODER = msgspec.json.Decoder(typing.Union[tuple(EVENTS.values())], strict=True)  # noqa: UP007 - made of a table


@pytest.mark.parametrize("cls", EVENTS.values(), ids=EVENTS)
def test_each_event_and_field_is_described(cls):
    assert cls.__doc__
    assert cls.__doc__.endswith(".")
    for field in inspect.type_info(cls).fields:
        described = field.type.extra_json_schema
        assert described["description"].endswith((".", ")")), field.name
        assert described["examples"], field.name


@pytest.mark.parametrize("cls", EVENTS.values(), ids=EVENTS)
def test_an_event_reads_back_as_it_was_written(cls):
    event = example_of(cls)
    text = line(event)
    assert text.endswith(b"}\n")
    assert text.count(b"\n") == 1
    assert DECODER.decode(text) == event


def test_names_of_events_are_identifiers_of_the_log():
    assert EVENTS["authentication_failed"] is schema.AuthenticationFailed
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", name) for name in EVENTS)
    assert not {"event", "__refusal", "_refusal"} & EVENTS.keys()


def test_a_field_without_a_value_is_absent():
    text = line(schema.Stopped(ts="t", level="info"))
    assert msgspec.json.decode(text) == {"event": "stopped", "ts": "t", "level": "info"}


def test_the_document_has_each_event_with_its_fields():
    """After a change: .venv/bin/python -m tests.support.event_document."""
    assert PATH.read_text() == document()
