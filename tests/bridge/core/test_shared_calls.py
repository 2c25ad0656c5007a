"""Requests of the clients of a shared process: held, queued, sent and cancelled."""

import gc
import itertools
import json
import time
import weakref

import pytest

from mcpbridged.bridge.core.attribution import Client, Origins, Phase
from mcpbridged.bridge.core.effects import ToServer
from mcpbridged.bridge.core.forwarded_requests import ForwardedRequests
from mcpbridged.bridge.core.front import Front
from mcpbridged.bridge.core.shared_calls import SharedCall, SharedCalls
from mcpbridged.bridge.core.shared_effects import ToFront
from mcpbridged.validators.jsonrpc import Notification, Request
from mcpbridged.validators.limits import Limits


@pytest.fixture
def fronts():
    return {Front(Client(name), name): None for name in ("one", "other")}


def calls_of(fronts, **limits):
    ids = itertools.count(100)
    requests = ForwardedRequests()
    limits = Limits(**limits)
    origins = Origins(limits.held_seconds, several=True)
    calls = SharedCalls(limits, lambda: b"%d" % next(ids), fronts, origins, requests)
    return calls, requests


def call(wire_id, method="tools/call"):
    return Request(wire_id, method, b'{"name":"t"}')


def test_a_request_that_is_sent_can_cause_requests_of_the_server(fronts):
    calls, _ = calls_of(fronts)
    one, _ = fronts
    assert calls.begin(one, call(b"1"), b"") == (ToServer(call(b"1")),)
    assert calls.by_id[b"1"].front is one
    assert calls.origins.get(b"1").may_ask
    calls.begin(one, call(b"2", "tools/list"), b"")
    assert not calls.origins.get(b"2").may_ask


def test_a_request_of_a_translated_front_is_added_to_the_origins_by_its_adapter(fronts):
    calls, _ = calls_of(fronts)
    translated = Front(Client("adapter"), "adapter", translated=True)
    calls.begin(translated, call(b"1"), b"")
    assert calls.origins.get(b"1") is None


def test_an_owner_without_other_references_is_freed_with_its_requests_in_flight(fronts):
    calls, _ = calls_of(fronts)

    class Session:
        """An owner that refers to the calls of its process, as a session does."""

    session = Session()
    session.calls = calls
    calls.by_id[b"1"] = SharedCall(Front(Client("one"), session), "initialize", b"")
    alive = weakref.ref(session)
    del session, calls
    gc.collect()
    assert alive() is None


def test_requests_beyond_calls_at_once_wait_in_order_except_pings(fronts):
    calls, _ = calls_of(fronts, calls_at_once=1)
    one, other = fronts
    calls.begin(one, call(b"1"), b"")
    assert calls.begin(other, call(b"2"), b"") == calls.begin(one, call(b"3"), b"") == ()
    assert calls.begin(one, Request(b"4", "ping", b"{}"), b"") == (ToServer(Request(b"4", "ping", b"{}")),)
    assert calls.send_queued() == ()
    del calls.by_id[b"1"], calls.by_id[b"4"]
    calls.counted.clear()
    assert calls.send_queued() == (ToServer(call(b"2")),)
    assert list(calls.queued) == [b"3"]


def test_the_sessions_of_one_principal_have_one_turn(fronts):
    """Otherwise a principal would get the more of a shared server the more sessions it opens."""
    flood = [Front(Client(f"flood {number}"), principal="flood") for number in range(10)]
    quiet = Front(Client("quiet"), principal="quiet")
    calls, _ = calls_of(dict.fromkeys([*flood, quiet, *fronts]), calls_at_once=1)
    calls.begin(flood[0], call(b"1"), b"")
    for number, front in enumerate(flood * 2):
        assert calls.begin(front, call(b"%d" % (10 + number)), b"") == ()
    # The last two have no principal, as translated fronts.
    for wire_id, front in zip((b"2", b"3", b"4"), (quiet, *fronts), strict=True):
        assert calls.begin(front, call(wire_id), b"") == ()
    sent = []
    for _ in range(5):
        calls.counted.clear()
        [effect] = calls.send_queued()
        sent.append(effect.message.id)
    assert sent == [b"10", b"2", b"3", b"4", b"11"]


def test_a_call_that_waits_for_its_client_delays_no_other_call(fronts):
    calls, requests = calls_of(fronts, calls_at_once=1)
    one, other = fronts
    calls.begin(one, call(b"1"), b"")
    requests.add(b"50", one, Request(b"7", "elicitation/create", b"{}"), b"1")
    assert calls.begin(other, call(b"2"), b"") == (ToServer(call(b"2")),)


def test_held_requests_are_limited_in_bytes_and_returned_once(fronts):
    calls, _ = calls_of(fronts, stdin_bytes=2 * len(call(b"1").params))
    one, other = fronts
    assert calls.hold(one, call(b"1"), b"") == calls.hold(other, call(b"2"), b'"t"') == ()
    [refused] = calls.hold(other, call(b"3"), b"")
    assert isinstance(refused, ToFront)
    assert refused.front is other
    assert "stdin_bytes" in refused.message.error.decode()
    assert calls.take_held() == [(one, call(b"1"), b""), (other, call(b"2"), b'"t"')]
    assert calls.take_held() == []
    assert not calls.by_id
    # The bytes of the first requests do not count any more.
    assert calls.hold(one, call(b"4"), b"") == calls.hold(one, call(b"5"), b"") == ()
    assert calls.hold(other, call(b"3"), b"") == (refused,)


def test_held_requests_for_subscriptions_and_the_log_level_are_handed_over(fronts):
    calls, _ = calls_of(fronts, stdin_bytes=40)
    one, other = fronts
    methods = ("resources/subscribe", "tools/call", "logging/setLevel", "resources/unsubscribe")
    for wire_id, method in zip((b"1", b"2", b"3", b"4"), methods, strict=True):
        assert calls.hold(one, Request(wire_id, method, b"{}"), b'"t"') == ()
    calls.hold(other, Request(b"5", methods[0], b"{}"), b"")
    assert calls.take_combined(one) == [
        (Request(wire_id, method, b"{}"), b'"t"')
        for wire_id, method in ((b"1", methods[0]), (b"3", methods[2]), (b"4", methods[3]))
    ]
    assert calls.take_combined(one) == []
    assert [*calls.by_id] == [b"2", b"5"]
    assert calls.hold(one, Request(b"6", "tools/call", b"x" * 36), b"") == ()
    assert [held[1].id for held in calls.take_held()] == [b"2", b"5", b"6"]


def test_the_first_held_request_may_be_larger_than_the_limit(fronts):
    calls, _ = calls_of(fronts, stdin_bytes=1)
    assert calls.hold(next(iter(fronts)), call(b"1"), b"") == ()


def test_a_request_that_was_not_sent_is_cancelled_without_a_message(fronts):
    calls, _ = calls_of(fronts, calls_at_once=1)
    one, other = fronts
    calls.hold(one, call(b"1"), b"")
    assert calls.cancel(b"1", b"{}") == ()
    assert calls.take_held() == []
    calls.begin(one, call(b"2"), b"")
    calls.begin(other, call(b"3"), b"")
    assert calls.cancel(b"3", b"{}") == ()
    assert not calls.queued
    assert list(calls.by_id) == [b"2"]


def test_the_cancellation_of_a_call_sends_the_next_queued_call(fronts):
    calls, _ = calls_of(fronts, calls_at_once=1)
    one, other = fronts
    calls.begin(one, call(b"1"), b"")
    calls.begin(other, call(b"2"), b"")
    cancelled, sent = calls.cancel(b"1", b'{"requestId":9,"reason":"r"}')
    assert cancelled.message.method == "notifications/cancelled"
    assert json.loads(cancelled.message.params) == {"requestId": 1, "reason": "r"}
    assert sent == ToServer(call(b"2"))
    assert calls.origins.get(b"1").phase is Phase.CANCELLED
    assert calls.take_abandoned(b"1")
    assert not calls.take_abandoned(b"1")


def test_a_cancelled_list_request_can_cause_no_request(fronts):
    calls, _ = calls_of(fronts)
    calls.begin(next(iter(fronts)), call(b"1", "tools/list"), b"")
    calls.cancel(b"1", b"{}")
    assert calls.origins.get(b"1").phase is Phase.ANSWERED


@pytest.mark.parametrize("method", ["resources/subscribe", "resources/unsubscribe", "logging/setLevel"])
def test_a_request_for_several_clients_is_not_cancelled_at_the_server(fronts, method):
    calls, _ = calls_of(fronts)
    calls.begin(next(iter(fronts)), call(b"1", method), b"")
    assert calls.cancel(b"1", b"{}") == ()
    assert calls.take_abandoned(b"1")


def test_a_front_that_leaves_cancels_only_its_own_calls(fronts):
    calls, _ = calls_of(fronts)
    one, other = fronts
    for wire_id, front in ((b"1", one), (b"2", other), (b"3", one)):
        calls.begin(front, call(wire_id), b"")
    effects = calls.cancel_all(one)
    assert [json.loads(effect.message.params)["requestId"] for effect in effects] == [1, 3]
    assert all(type(effect.message) is Notification for effect in effects)
    assert list(calls.by_id) == [b"2"]


def test_a_front_that_leaves_sends_none_of_its_queued_calls(fronts):
    calls, _ = calls_of(fronts, calls_at_once=1)
    one, other = fronts
    for wire_id, front in ((b"1", one), (b"2", one), (b"3", other)):
        calls.begin(front, call(wire_id), b"")
    cancelled, following = calls.cancel_all(one)
    assert json.loads(cancelled.message.params)["requestId"] == 1
    assert following == ToServer(call(b"3"))


def test_the_response_to_a_request_of_the_bridge_is_expected_once(fronts):
    calls, _ = calls_of(fronts)
    own = calls.own_id()
    assert own == b"100"
    assert calls.take_abandoned(own)
    calls.abandon(own)
    assert calls.take_abandoned(own)
    assert not calls.take_abandoned(own)


def test_the_newest_request_of_a_front_is_found(fronts):
    calls, _ = calls_of(fronts)
    one, other = fronts
    for wire_id, front in ((b"1", one), (b"2", one), (b"3", other)):
        calls.begin(front, call(wire_id), b"")
    assert calls.newest_of(one) == b"2"
    assert calls.newest_of(Front(Client("third"), "third")) == b""


def test_only_the_front_of_every_possible_call_gets_a_message_without_a_request(fronts):
    calls, _ = calls_of(fronts)
    one, other = fronts
    assert calls.only_front() is None
    one.ready = True
    assert calls.only_front() is one
    calls.begin(other, call(b"1"), b"")
    assert calls.only_front() is other
    del fronts[other]
    assert calls.only_front() is None
    fronts[other] = None
    calls.begin(one, call(b"2"), b"")
    assert calls.only_front() is None


def test_a_client_with_many_held_requests_leaves_in_a_short_time(fronts):
    calls, _ = calls_of(fronts)
    one, other = fronts
    for number in range(4000):
        assert calls.hold(one, call(b"%d" % number), b"") == ()
    calls.hold(other, call(b"4000"), b"")
    began = time.thread_time()
    assert calls.cancel_all(one) == ()
    assert time.thread_time() - began < 0.1
    assert [held[1].id for held in calls.take_held()] == [b"4000"]
