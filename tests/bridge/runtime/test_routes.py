"""The ways of a session to a process that it shares: which messages go where, and what fails."""

import gc
import weakref

import pytest

from mcpbridged.bridge.core.access_policy import EVERYTHING
from mcpbridged.bridge.core.attribution import Client
from mcpbridged.bridge.runtime.routes import LegacyRoute, ModernRoute
from mcpbridged.transports.send_queue import DISCONNECTED, Backlog
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

LIMITS = Limits()
META = (
    b'{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
    b'"io.modelcontextprotocol/clientCapabilities":{"roots":{}}}}'
)
INITIALIZE = Request(b"1", "initialize", b"{}")
CALL = Request(b"2", "tools/call", META)
REFUSED = Rejection(503, -32000, "no")


class Session:
    """A session that records its events."""

    id = "s"
    principal = "p"
    caller = None
    version = ""

    def __init__(self):
        self.events = []

    def on_shared_message(self, message, about):
        self.events.append((message, about))

    def on_calls_lost(self, *lost):
        self.events.append(("lost", *lost))

    def failed(self, *reason):
        self.events.append(("failed", *reason))

    def translate_shared(self, make):
        self.events.append(("translate", make))

    def end(self, reason):
        self.events.append(("end", reason))

    def on_refused(self, message, rejection):
        self.events.append((message.id, rejection))

    def on_line(self, line):
        self.events.append(line)
        return (lambda: self.events.append("rest")) if line == b"large" else None


class Shared:
    """A shared process of the legacy era that records what it receives."""

    def __init__(self):
        self.ended = False
        self.sent = []
        # The requests that another process must get.
        self.left = []

    def hand_over(self, front):
        assert front is self.front
        return self.left

    def join(self, front, member):
        self.sent.append("join")
        self.front, self.member = front, member

    def leave(self, front):
        assert front is self.front
        self.sent.append("leave")

    def send(self, front, message, token=b""):
        assert front is self.front
        self.sent.append((message, token))


class Upstream:
    """A shared process of the modern era that records what it receives."""

    def __init__(self, refusal=None):
        self.ended = False
        self.refusal = refusal
        self.events = []

    def request(self, asked):
        if self.refusal is not None:
            raise self.refusal
        self.events.append(asked)

    def cancel(self, queue, raw_id, params):
        self.events.append(("cancel", raw_id))

    def notify(self, message, client):
        self.events.append((message, client))

    def on_disconnect(self, queue):
        self.events.append("disconnect")


# ---- the legacy era


def legacy_route(*processes):
    """Return the route of a session to these processes, each for one look-up."""
    session, left = Session(), [*processes]
    return LegacyRoute(session, lambda: left.pop(0)), session


def test_the_first_request_finds_the_process():
    shared = Shared()
    route, session = legacy_route(shared)
    assert route.process is None
    route.send(INITIALIZE)
    route.send(CALL, b"token")
    assert shared.sent == ["join", (INITIALIZE, b""), (CALL, b"token")]
    assert route.process is shared
    assert (shared.front.client.key, shared.front.principal, route.principal) == ("s", "p", "p")
    shared.member.on_shared_message(Response(b"1", b"{}", b""), b"")
    assert session.events == [(Response(b"1", b"{}", b""), b"")]


def test_a_notification_goes_to_the_process_for_new_requests_and_a_response_to_each():
    first, second = Shared(), Shared()
    route, _ = legacy_route(first, second)
    route.send(INITIALIZE)
    route.detach()
    note, answer = Notification("notifications/x", b""), Response(b"q", b"{}", b"")
    route.send(note)
    route.send(CALL)
    first.sent.clear()
    second.sent.clear()
    cancelled = Notification("notifications/cancelled", b"{}")
    for message in (note, answer, cancelled):
        route.send(message)
    assert first.sent == [(answer, b""), (cancelled, b"")]
    assert second.sent == [(note, b""), (answer, b""), (cancelled, b"")]
    second.ended = True
    route.send(note)
    assert len(second.sent) == 3


def test_a_process_that_replaces_another_knows_the_state_of_the_client():
    first, second = Shared(), Shared()
    route, _ = legacy_route(first, second)
    route.send(INITIALIZE)
    first.front.ready, first.front.level = True, "info"
    first.ended = True
    route.send(CALL)
    assert (second.front.ready, second.front.renewed, second.front.level) == (True, True, "info")
    # The first has ended, so nothing is left to leave.
    route.close()
    assert first.sent[-1] != "leave"
    assert second.sent[-1] == "leave"


def test_a_process_that_replaces_another_gets_what_waits_for_it_before_later_requests():
    first, second = Shared(), Shared()
    route, _ = legacy_route(first, second)
    route.send(INITIALIZE)
    subscribe = Request(b"5", "resources/subscribe", b"{}")
    first.left = [(subscribe, b'"t"')]
    route.detach()
    route.send(CALL)
    assert second.sent == ["join", (subscribe, b'"t"'), (CALL, b"")]


def test_a_session_that_ends_while_it_joins_a_process_sends_it_nothing():
    class Ending(Shared):
        def join(self, front, member):
            super().join(front, member)
            route.close()

    first, second = Shared(), Ending()
    route, _ = legacy_route(first, second)
    route.send(INITIALIZE)
    first.left = [(Request(b"5", "resources/subscribe", b"{}"), b"")]
    route.detach()
    route.send(CALL)
    assert second.sent == ["join", "leave"]
    assert route.process is None


def test_a_request_without_a_process_fails():
    def find():
        raise REFUSED

    session = Session()
    LegacyRoute(session, find).send(CALL)
    ((message, about),) = session.events
    assert (message.id, about) == (b"2", b"")
    assert b'"no"' in message.error


@pytest.mark.parametrize("message", [INITIALIZE, CALL])
def test_a_session_that_was_opened_ends_if_the_server_speaks_another_era(message):
    route, session = legacy_route(None)
    route.send(message)
    # The new route has sent `initialize` again.
    assert session.events == (
        [] if message is INITIALIZE else [("end", "the server speaks another era since it was restarted")]
    )


def test_an_unanswered_initialize_is_returned_for_another_route():
    shared = Shared()
    route, session = legacy_route(shared)
    assert route.close() is None
    route.send(INITIALIZE)
    route.translate("make")
    assert session.events == [("translate", "make")]
    assert route.close() is INITIALIZE
    assert route.process is None
    route.on_shared_message(Response(b"1", b"{}", b""), b"")
    assert route.close() is None


def test_a_session_that_was_not_opened_fails_with_its_process():
    route, session = legacy_route()
    route.calls_lost((b"1",), "gone", {})
    session.version = "2025-11-25"
    route.calls_lost((b"2",), "gone", {})
    route.end("a fault")
    assert session.events == [("failed", "gone", {}), ("lost", (b"2",), "gone", {}), ("end", "a fault")]


def test_a_process_that_keeps_the_front_of_a_closed_session_does_not_keep_the_session():
    shared = Shared()
    route, session = legacy_route(shared)
    route.send(INITIALIZE)
    gc.disable()
    try:
        route.close()
        # The process removes the member. It keeps the front with a cancelled call until the server has answered that.
        shared.member = None
        found = weakref.ref(session)
        del route, session
        assert found() is None
        assert shared.front is not None
    finally:
        gc.enable()


# ---- the modern era


def modern_route():
    session, found = Session(), []
    route = ModernRoute(session, LIMITS, Backlog(LIMITS), lambda _route, caps: found.append(caps))
    return route, session, found


def test_messages_wait_until_a_process_is_found():
    route, session, found = modern_route()
    note = Notification("notifications/x", b"")
    route.send(note)
    route.send(CALL)
    route.send(note)
    assert found == [b'{"roots":{}}']
    upstream = Upstream()
    route.join(upstream, EVERYTHING, Client("c"))
    asked, second = upstream.events
    assert (asked.request, asked.principal, asked.client, asked.pipe) == (CALL, "p", Client("c"), True)
    assert second == (note, Client("c"))
    route.send(Notification("notifications/cancelled", b'{"requestId":2}'))
    assert upstream.events[-1] == ("cancel", b"2")
    assert route.process is None
    assert session.events == []


def test_requests_fail_where_no_process_is_found_or_none_accepts_them():
    route, session, _ = modern_route()
    route.send(CALL)
    route.send(Notification("notifications/x", b""))
    route.refuse(REFUSED)
    route.join(Upstream(REFUSED), EVERYTHING, Client(""))
    route.send(CALL)
    assert session.events == [(b"2", REFUSED)] * 2


@pytest.mark.parametrize("how", ["detached", "ended"])
def test_the_next_request_finds_another_process(how):
    route, _, found = modern_route()
    upstream = Upstream()
    route.join(upstream, EVERYTHING, Client(""))
    if how == "detached":
        route.detach()
    upstream.ended = how == "ended"
    route.send(CALL)
    assert len(found) == 1
    assert upstream.events == []


def test_what_waits_is_sent_to_another_process_if_the_first_ends_meanwhile():
    route, _, found = modern_route()
    later = [Request(b"%d" % number, "tools/call", META) for number in (3, 4)]
    for message in (CALL, *later):
        route.send(message)

    class Ending(Upstream):
        def request(self, asked):
            assert not self.ended
            super().request(asked)
            self.ended = True

    first, second = Ending(), Upstream()
    route.join(first, EVERYTHING, Client(""))
    assert [asked.request for asked in first.events] == [CALL]
    assert len(found) == 2
    route.join(second, EVERYTHING, Client(""))
    assert [asked.request for asked in second.events] == later


def test_a_line_of_the_process_reaches_the_session_at_once():
    route, session, _ = modern_route()
    upstream = Upstream()
    route.join(upstream, EVERYTHING, Client(""))
    route.send(CALL)
    queue = upstream.events[0].queue
    queue.enqueue(b"line")
    queue.enqueue(b"large")
    assert session.events == [b"line", b"large", "rest"]
    assert len(queue) == 0


def test_a_closed_route_sends_nothing_and_is_freed_without_the_garbage_collector():
    gc.disable()
    try:
        route, session, _ = modern_route()
        upstream = Upstream()
        route.join(upstream, EVERYTHING, Client(""))
        route.send(CALL)
        queue = upstream.events.pop().queue
        for _ in range(2):
            route.close()
        route.send(CALL)
        assert upstream.events == ["disconnect"]
        assert queue.state == DISCONNECTED
        found = weakref.ref(session)
        del route, session, queue
        assert found() is None
    finally:
        gc.enable()
