"""The log level of a process that several clients share."""

import itertools
import json

import pytest

from mcpbridged.bridge.core.attribution import Client, Origins
from mcpbridged.bridge.core.forwarded_requests import ForwardedRequests
from mcpbridged.bridge.core.front import Front
from mcpbridged.bridge.core.shared_calls import SharedCalls
from mcpbridged.bridge.core.shared_effects import LogOnly, ToFront
from mcpbridged.bridge.core.shared_log_level import SharedLogLevel
from mcpbridged.validators.jsonrpc import Notification, Request
from mcpbridged.validators.limits import Limits


@pytest.fixture
def shared():
    fronts = {Front(Client(name), name): None for name in ("one", "other")}
    ids = itertools.count(1)
    limits = Limits()
    origins = Origins(limits.held_seconds, several=True)
    calls = SharedCalls(limits, lambda: b"%d" % next(ids), fronts, origins, ForwardedRequests())
    return SharedLogLevel(fronts, calls), fronts, calls


def set_level(level, front, value, wire_id=b"50"):
    [effect] = level.set(
        front, Request(wire_id, "logging/setLevel", json.dumps({"level": value}).encode()), b""
    )
    return json.loads(effect.message.params)["level"]


def logged(value):
    return Notification("notifications/message", json.dumps({"level": value, "data": "d"}).encode())


def test_the_server_gets_the_most_verbose_level_of_all_clients(shared):
    level, fronts, _ = shared
    one, other = fronts
    assert set_level(level, one, "error") == "error"
    assert set_level(level, other, "debug") == "debug"
    assert set_level(level, one, "warning") == "debug"
    assert set_level(level, other, "critical") == "warning"


def test_the_params_are_sent_unchanged_where_they_have_the_level_of_all_clients(shared):
    level, (one, other), _ = shared
    message = Request(b"1", "logging/setLevel", b'{ "level" : "info" }')
    assert level.set(one, message, b"")[0].message == message
    assert level.set(other, Request(b"2", "logging/setLevel", b'{ "level" : "error" }'), b"")[0].message == (
        Request(b"2", "logging/setLevel", b'{"level":"info"}')
    )


def test_a_level_that_does_not_exist_is_sent_unchanged_and_not_stored(shared):
    level, fronts, calls = shared
    one, _ = fronts
    assert set_level(level, one, "loud") == "loud"
    assert not one.level
    assert calls.by_id[b"50"].method == "logging/setLevel"


def test_a_client_whose_level_was_refused_keeps_its_former_level(shared):
    level, fronts, calls = shared
    one, _ = fronts
    set_level(level, one, "error", b"50")
    set_level(level, one, "debug", b"51")
    level.on_refused(calls.by_id[b"51"])
    assert one.level == "error"
    assert level.adjust() == ()


def test_the_level_follows_a_client_that_leaves(shared):
    level, fronts, calls = shared
    one, other = fronts
    set_level(level, one, "debug")
    set_level(level, other, "error")
    del fronts[one]
    [effect] = level.adjust()
    assert (effect.message.method, json.loads(effect.message.params)) == (
        "logging/setLevel",
        {"level": "error"},
    )
    assert calls.take_abandoned(effect.message.id)
    assert level.adjust() == ()
    # Without a level of a client the server keeps its own.
    del fronts[other]
    assert level.adjust() == ()


def test_a_log_message_that_several_clients_can_have_caused_is_logged_only(shared):
    level, _, _ = shared
    assert level.on_log_message(logged("error")) == (LogOnly(logged("error").params),)


def test_a_client_gets_no_message_below_its_own_level(shared):
    level, fronts, calls = shared
    one, other = fronts
    other.ready = True
    set_level(level, one, "debug")
    calls.by_id.clear()
    # `other` has set no level.
    assert level.on_log_message(logged("debug")) == ()
    assert level.on_log_message(logged("info")) == (ToFront(other, logged("info")),)
    set_level(level, other, "error")
    assert level.on_log_message(logged("warning")) == ()
    assert level.on_log_message(logged("error")) == (ToFront(other, logged("error"), b"50"),)
    assert level.on_log_message(logged("loud")) == (ToFront(other, logged("loud"), b"50"),)


def test_a_translated_front_filters_the_messages_itself(shared):
    level, fronts, _ = shared
    one, _ = fronts
    set_level(level, one, "error")
    fronts.clear()
    translated = Front(Client("adapter"), "adapter", translated=True)
    fronts[translated] = None
    assert level.on_log_message(logged("debug")) == (ToFront(translated, logged("debug")),)


def test_a_process_that_is_replaced_filters_by_the_level_that_the_client_sets_later(shared):
    level, fronts, calls = shared
    one, other = fronts
    del fronts[other]
    set_level(level, one, "debug")
    later = one
    # As many as no chain of calls could have.
    for _ in range(2000):
        before, later = later, Front(Client("one"))
        later.follow(before)
    assert later.level == "debug"
    assert level.on_log_message(logged("info")) == (ToFront(one, logged("info"), b"50"),)
    later.level = "error"
    assert level.on_log_message(logged("info")) == ()
    # A late refusal of the former process is about the level before.
    level.on_refused(calls.by_id.pop(b"50"))
    assert later.level == "error"
