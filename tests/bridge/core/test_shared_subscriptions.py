"""Subscriptions of several clients of a shared process to the same resources."""

import itertools
import json
import time
import tracemalloc

import pytest

from mcpbridged.bridge.core.attribution import Client, Origins
from mcpbridged.bridge.core.effects import ToServer
from mcpbridged.bridge.core.forwarded_requests import ForwardedRequests
from mcpbridged.bridge.core.front import Front
from mcpbridged.bridge.core.shared_calls import SharedCalls
from mcpbridged.bridge.core.shared_effects import ToFront
from mcpbridged.bridge.core.shared_subscriptions import SharedSubscriptions
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.limits import Limits


@pytest.fixture
def shared():
    fronts = {Front(Client(name), name): None for name in ("one", "other")}
    ids = itertools.count(100)
    limits = Limits(stream_messages=2)
    origins = Origins(limits.held_seconds, several=True)
    calls = SharedCalls(limits, lambda: b"%d" % next(ids), fronts, origins, ForwardedRequests())
    return SharedSubscriptions(limits, fronts, calls), fronts, calls


def request(wire_id, uri, method="subscribe"):
    params = json.dumps({"uri": uri} if uri else {}).encode()
    return Request(wire_id, f"resources/{method}", params)


def updated(uri):
    return Notification("notifications/resources/updated", json.dumps({"uri": uri}).encode())


def respond(shared, wire_id, error=b""):
    subscriptions, _, calls = shared
    calls.by_id.pop(wire_id, None)
    return subscriptions.on_response(Response(wire_id, b"" if error else b"{}", error))


def test_the_server_gets_the_first_subscription_and_the_last_end(shared):
    subscriptions, (one, other), _ = shared
    assert subscriptions.subscribe(one, request(b"1", "a:"), b"") == (ToServer(request(b"1", "a:")),)
    assert subscriptions.subscribe(other, request(b"2", "a:"), b"") == ()
    assert respond(shared, b"1") == (ToFront(other, Response(b"2", b"{}", b"")),)
    assert subscriptions.subscribe(one, request(b"3", "a:"), b"") == (
        ToFront(one, Response(b"3", b"{}", b"")),
    )
    end = request(b"4", "a:", "unsubscribe")
    assert subscriptions.unsubscribe(one, end, b"") == (ToFront(one, Response(b"4", b"{}", b"")),)
    end = request(b"5", "a:", "unsubscribe")
    assert subscriptions.unsubscribe(other, end, b"") == (ToServer(end),)


def test_a_refusal_ends_the_subscription_of_every_client(shared):
    subscriptions, (one, other), _ = shared
    subscriptions.subscribe(one, request(b"1", "a:"), b"")
    subscriptions.subscribe(other, request(b"2", "a:"), b"")
    assert subscriptions.is_pending(b"1")
    [effect] = respond(shared, b"1", b'{"code":1}')
    assert effect == ToFront(other, Response(b"2", b"", b'{"code":1}'))
    assert not one.uris
    assert not other.uris
    assert not subscriptions.is_pending(b"1")


def test_a_late_refusal_does_not_end_a_newer_subscription(shared):
    subscriptions, (one, _), _ = shared
    subscriptions.subscribe(one, request(b"1", "a:"), b"")
    subscriptions.unsubscribe(one, request(b"2", "a:", "unsubscribe"), b"")
    subscriptions.subscribe(one, request(b"3", "a:"), b"")
    respond(shared, b"1", b'{"code":1}')
    assert list(one.uris) == ["a:"]


def test_a_client_that_has_left_gets_no_response(shared):
    subscriptions, (one, other), calls = shared
    subscriptions.subscribe(one, request(b"1", "a:"), b"")
    subscriptions.subscribe(other, request(b"2", "a:"), b"")
    del calls.by_id[b"2"]
    assert respond(shared, b"1") == ()


def test_a_request_without_a_uri_is_for_the_server_to_refuse(shared):
    subscriptions, (one, _), calls = shared
    assert subscriptions.subscribe(one, request(b"1", ""), b"") == (ToServer(request(b"1", "")),)
    assert not one.uris
    assert calls.by_id[b"1"].front is one
    assert respond(shared, b"1", b'{"code":1}') == ()


def test_the_number_of_resources_of_a_client_is_limited(shared):
    subscriptions, (one, _), _ = shared
    for number, uri in enumerate(("a:", "b:")):
        subscriptions.subscribe(one, request(b"%d" % number, uri), b"")
    [effect] = subscriptions.subscribe(one, request(b"7", "c:"), b"")
    assert b"stream_messages" in effect.message.error
    assert list(one.uris) == ["a:", "b:"]
    assert subscriptions.subscribe(one, request(b"8", "a:"), b"") == ()


def test_an_update_is_sent_to_the_clients_that_have_subscribed_to_the_resource_or_to_a_parent(shared):
    subscriptions, fronts, _ = shared
    one, other = fronts
    subscriptions.subscribe(one, request(b"1", "f:/a"), b"")
    subscriptions.subscribe(other, request(b"2", "f:/a/b"), b"")
    translated = Front(Client("adapter"), "adapter", translated=True)
    fronts[translated] = None
    found = {
        uri: [effect.front for effect in subscriptions.on_updated(updated(uri))]
        for uri in ("f:/a/b", "f:/a/c", "f:/ab")
    }
    assert found == {
        "f:/a/b": [one, other, translated],
        "f:/a/c": [one, translated],
        "f:/ab": [translated],
    }


@pytest.mark.parametrize("root", ["file:///", "x://", "x:/", "x:"])
def test_a_root_covers_all_resources_below_it(shared, root):
    subscriptions, (one, _), _ = shared
    subscriptions.subscribe(one, request(b"1", root), b"")
    [effect] = subscriptions.on_updated(updated(f"{root.rstrip('/')}///a//b"))
    assert effect.front is one


def test_an_update_and_a_departure_take_a_short_time_with_many_subscriptions(shared):
    """A step of the event loop must not cost the product of the clients and their resources."""
    subscriptions, fronts, _ = shared
    for client in range(1000):
        front = Front(Client(f"c{client}"), client)
        front.uris = dict.fromkeys(f"x://{client}/{number}" for number in range(500))
        fronts[front] = None
    # The time to look at each resource once, on this machine at this time.
    began = time.thread_time()
    assert sum(uri != "" for one in fronts for uri in one.uris) == 500_000
    all_of_them = time.thread_time() - began
    began = time.thread_time()
    [effect] = subscriptions.on_updated(updated("x://999/499/part"))
    assert effect.front is front
    assert time.thread_time() - began < all_of_them
    began = time.thread_time()
    assert len(subscriptions.remove(front)) == 500
    assert time.thread_time() - began < all_of_them


def test_an_update_of_a_long_uri_with_many_parts_takes_a_short_time_and_little_memory(shared):
    """All URIs that could cover it have 64 MiB together."""
    subscriptions, (one, other), _ = shared
    uri = "x://" + "a/" * 4096
    subscriptions.subscribe(one, request(b"1", "x://a/a"), b"")
    subscriptions.subscribe(other, request(b"2", uri), b"")
    began = time.thread_time()
    tracemalloc.start()
    try:
        found = [effect.front for effect in subscriptions.on_updated(updated(uri))]
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert found == [one, other]
    assert time.thread_time() - began < 0.05


def test_a_new_process_gets_each_subscription_once(shared):
    subscriptions, (one, other), calls = shared
    one.uris, other.uris = dict.fromkeys(("a:", "b:")), dict.fromkeys(("b:",))
    found = [effect.message for effect in subscriptions.restore_all()]
    assert [json.loads(one.params)["uri"] for one in found] == ["a:", "b:"]
    assert all(calls.take_abandoned(one.id) for one in found)


@pytest.mark.parametrize("method", ["restore", "remove"])
def test_a_client_that_comes_or_goes_changes_only_what_it_alone_has_subscribed_to(shared, method):
    subscriptions, (one, other), _ = shared
    one.uris, other.uris = dict.fromkeys(("a:", "b:")), dict.fromkeys(("b:",))
    [effect] = getattr(subscriptions, method)(one)
    assert effect.message.method == (
        "resources/subscribe" if method == "restore" else "resources/unsubscribe"
    )
    assert json.loads(effect.message.params) == {"uri": "a:"}


def test_a_new_process_that_refuses_a_subscription_ends_it_for_every_client(shared):
    subscriptions, (one, other), _ = shared
    one.uris["a:"] = None
    [restored] = subscriptions.restore_all()
    wire_id = restored.message.id
    assert subscriptions.is_pending(wire_id)
    assert subscriptions.subscribe(other, request(b"1", "a:"), b"") == ()
    refused = b'{"code":-32602,"message":"no"}'
    assert respond(shared, wire_id, refused) == (ToFront(other, Response(b"1", b"", refused)),)
    assert subscriptions.on_updated(updated("a:")) == ()
    assert subscriptions.subscribe(one, request(b"2", "a:"), b"") == (ToServer(request(b"2", "a:")),)
