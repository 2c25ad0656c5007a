"""Requests that are moved to a process of another era."""

from mcpbridged.bridge.core.requests import ClientRequest
from mcpbridged.bridge.runtime.moved_requests import MovedRequests
from mcpbridged.validators.jsonrpc import Request
from mcpbridged.validators.stateless_request import Envelope


class Destination:
    def __init__(self):
        self.busy = True
        self.waiting = False
        self.events = []

    def waits(self, queue):
        return self.waiting and queue == "q"

    def on_disconnect(self, queue):
        self.events.append(("disconnect", queue))

    def cancel(self, queue, raw_id, params=b""):
        self.events.append(("cancel", queue, raw_id, params))


def request(queue, raw_id):
    return ClientRequest(
        "p",
        Request(raw_id, "m", b"{}"),
        Envelope("2026-07-28", b"{}", "", b"", "", None),
        None,
        queue,
        pipe=True,
    )


def test_requests_are_moved_in_their_order():
    moved, destination = MovedRequests(), Destination()
    assert moved.next is None
    assert not moved.busy
    first, second = request("q", b"1"), request("q", b"2")
    moved.begin([first, second])
    assert moved.next is first
    moved.on_moved(first, destination)
    assert moved.next is second
    moved.remove(second)
    assert moved.next is None
    assert moved.busy
    destination.busy = False
    assert not moved.busy


def test_a_request_waits_wherever_it_is():
    moved, destination = MovedRequests(), Destination()
    assert not moved.waits("q")
    first = request("q", b"1")
    moved.begin([first])
    assert (moved.waits("q"), moved.waits("other")) == (True, False)
    moved.on_moved(first, destination)
    assert not moved.waits("q")
    destination.waiting = True
    assert (moved.waits("q"), moved.waits("other")) == (True, False)


def test_a_cancellation_reaches_the_request_wherever_it_is():
    moved, destination = MovedRequests(), Destination()
    first, second, other = request("q", b"1"), request("q", b"2"), request("other", b"2")
    moved.begin([first, second, other])
    moved.on_moved(first, destination)
    moved.cancel("q", b"2", b"{}")
    assert moved.next is other
    assert destination.events == [("cancel", "q", b"2", b"{}")]


def test_a_client_that_leaves_cancels_all_its_requests():
    moved, destination = MovedRequests(), Destination()
    first, second, other = request("q", b"1"), request("q", b"2"), request("other", b"2")
    moved.begin([first, second, other])
    moved.on_moved(first, destination)
    for _ in range(2):
        moved.on_disconnect("q")
    assert moved.next is other
    assert destination.events == [("disconnect", "q")]
