"""A session whose child has not answered `initialize` yet, event by event: what is held, released and refused."""

import itertools
import json

import pytest

from mcpbridged.bridge.core import legacy_session as core
from mcpbridged.bridge.core.access_policy import AccessPolicy
from mcpbridged.bridge.core.legacy_session import (
    LegacySession,
    RequestFinished,
    StartProcess,
    ToChild,
    ToClient,
    ToUpstream,
)
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

INITIALIZE = b'{"protocolVersion":"2025-11-25","capabilities":{"roots":{}}}'
OPENED = Response(b"1", INITIALIZE, b"")
REFUSED = Response(b"1", b"", b'{"code":-32602,"message":"no"}')
READY = Notification("notifications/initialized", b"")
CHANGED = Notification("notifications/roots/list_changed", b"")
CALL = b'{"name":"t"}'


def opening(limits=None, since=None, **options):
    session = LegacySession(limits or Limits(), lambda: "k", "pipe", **options)
    session.on_client_message(Request(b"0", "initialize", INITIALIZE), None, since)
    return session


def send(session, number, method="tools/call", params=CALL, since=None):
    return session.on_client_message(Request(b"%d" % number, method, params), None, since)


def cancel(session, number):
    return session.on_client_message(
        Notification("notifications/cancelled", b'{"requestId":%d}' % number), None
    )


def given(effects):
    """Return what the child receives: methods, or the ids of responses."""
    lines = [json.loads(effect.line) for effect in effects if isinstance(effect, ToChild)]
    return [line.get("method", line["id"] if "id" in line else None) for line in lines]


def answered(effects):
    found = [json.loads(effect.message) for effect in effects if isinstance(effect, ToClient)]
    return {one["id"]: one.get("error", {}).get("message") for one in found if "method" not in one}


def test_all_is_held_in_order_until_initialize_is_answered():
    session = opening()
    sent = [
        send(session, 1),
        session.on_client_message(READY, None),
        session.on_client_message(Response(b"9", b"{}", b""), None),
        send(session, 2, "tools/list", b""),
        session.on_client_message(CHANGED, None),
    ]
    assert all(list(effects) == [] for effects in sent)
    assert answered(send(session, 3, "ping", b"")) == {3: None}
    effects = session.on_server_message(OPENED)
    assert isinstance(effects[0], ToClient)
    assert given(effects) == ["tools/call", READY.method, "tools/list", CHANGED.method]
    assert answered(session.on_server_message(Response(b"2", b"{}", b""))) == {1: None}


def test_a_question_of_the_child_waits_for_initialized_and_its_answer_passes():
    session = opening()
    assert given(session.on_server_message(Request(b"5", "roots/list", b""))) == []
    session.on_client_message(READY, None)
    effects = session.on_server_message(OPENED)
    assert [
        json.loads(effect.message).get("method") for effect in effects if isinstance(effect, ToClient)
    ] == [
        None,
        "roots/list",
    ]
    assert given(session.on_client_message(Response(b"1", b'{"roots":[]}', b""), None)) == [5]


def test_a_request_that_is_cancelled_while_it_is_held_is_never_sent():
    session = opening()
    send(session, 1)
    send(session, 2, "tools/list", b"")
    session.on_client_message(CHANGED, None)
    assert given(cancel(session, 1)) == []
    assert given(session.on_server_message(OPENED)) == ["tools/list", CHANGED.method]


def test_a_refused_initialize_answers_all_that_is_held():
    session = opening(since=7.0)
    send(session, 1, "logging/setLevel", b'{"level":"debug"}', since=8.0)
    send(session, 2, "resources/subscribe", b'{"uri":"x:y"}', since=9.0)
    session.on_client_message(CHANGED, None)
    effects = session.on_server_message(REFUSED)
    text = "the server refused to initialize: no"
    assert answered(effects) == {0: "no", 1: text, 2: text}
    assert len([effect for effect in effects if isinstance(effect, RequestFinished)]) == 3
    assert (session.phase, session.in_flight) == (core.NEW, 0)
    with pytest.raises(Rejection, match="begins with initialize"):
        send(session, 3)
    session.on_client_message(Request(b"4", "initialize", INITIALIZE), None)
    assert given(session.on_server_message(Response(b"4", INITIALIZE, b""))) == []


@pytest.mark.parametrize("way", ["child_lost", "ended", "call_lost"])
def test_an_initialize_that_fails_answers_all_that_is_held(way):
    session = opening()
    send(session, 1)
    session.on_client_message(CHANGED, None)
    match way:
        case "child_lost":
            effects = session.on_server_exit("gone", {})
        case "ended":
            effects = session.close("gone")
        case _:
            effects = session.on_calls_lost((b"1",), "gone", {})
    assert answered(effects) == {0: "gone", 1: "gone"}
    assert session.in_flight == 0


def test_a_held_request_that_fails_alone_is_not_sent_later():
    session = opening()
    send(session, 1)
    send(session, 2, "tools/list", b"")
    assert answered(session.on_calls_lost((b"2",), "gone", {})) == {1: "gone"}
    assert given(session.on_server_message(OPENED)) == ["tools/list"]


def test_what_is_held_is_limited_in_bytes_and_number():
    session = opening(Limits(stdin_bytes=300, stream_messages=4))
    send(session, 1, params=b'{"name":"t","arguments":{"text":"%b"}}' % (b"x" * 150))
    with pytest.raises(Rejection, match=r"answer initialize and the limit is 300 \(stdin_bytes\)") as refused:
        send(session, 2, params=b'{"name":"t","arguments":{"text":"%b"}}' % (b"x" * 150))
    size = refused.value.text.partition(" ")[0]
    large = Notification("notifications/x", b'{"text":"%b"}' % (b"x" * 150))
    [note] = session.on_client_message(large, None)
    assert note.event == "message_dropped_before_initialize"
    assert given(session.on_server_message(OPENED)) == ["tools/call"]
    # A session may hold as much again for another process.
    session.on_server_exit("gone", {})
    send(session, 3, params=b'{"name":"t","arguments":{"text":"%b"}}' % (b"x" * 150))
    with pytest.raises(Rejection, match=f"^{size} bytes wait for the server to be started"):
        send(session, 4, params=b'{"name":"t","arguments":{"text":"%b"}}' % (b"x" * 150))
    session = opening(Limits(stream_messages=2))
    assert [len(session.on_client_message(CHANGED, None)) for _ in range(3)] == [0, 0, 1]


def test_the_time_of_a_call_begins_when_the_child_gets_it():
    session = opening(Limits(call_seconds=10, start_seconds=100))
    list(session.on_tick(100))
    send(session, 1)
    list(session.on_tick(150))
    assert given(session.on_server_message(OPENED)) == ["tools/call"]
    assert answered(session.on_tick(159)) == {}
    assert 1 in answered(session.on_tick(161))


def test_a_shared_process_gets_what_was_held_with_its_tokens():
    session = opening(ids=itertools.count(1))
    params = b'{"name":"t","_meta":{"progressToken":"p"}}'
    assert send(session, 1, params=params) == ()
    send(session, 2)
    assert cancel(session, 2) == ()
    effects = session.on_server_message(OPENED)
    assert effects[1:] == (ToUpstream(Request(b"2", "tools/call", params), b'"p"'),)


def test_notifications_for_a_child_that_is_being_replaced_are_held():
    session = opening()
    session.on_server_message(OPENED)
    assert [one.text for one in session.on_server_exit("gone", {})] == []
    session.on_client_message(READY, None)  # there is no child that it could be for
    assert isinstance(send(session, 1)[0], StartProcess)
    assert session.on_client_message(READY, None) == ()
    assert session.on_client_message(CHANGED, None) == ()
    [again] = session.on_server_start()
    number = json.loads(again.line)["id"]
    assert given(session.on_server_message(Request(b"5", "roots/list", b""))) == []
    effects = session.on_server_message(Response(b"%d" % number, INITIALIZE, b""))
    assert given(effects) == ["tools/call", READY.method, CHANGED.method]


def test_what_is_switched_off_is_not_held():
    session = opening(policy=AccessPolicy(without=frozenset({"roots"})))
    assert [len(session.on_client_message(CHANGED, None)) for _ in range(1)] == [1]
