"""Requests of a shared process to its clients: which client gets each."""

import itertools
import json

import pytest

from mcpbridged.bridge.core.access_policy import AccessPolicy
from mcpbridged.bridge.core.attribution import Client, Origins
from mcpbridged.bridge.core.effects import LogDebug, ServerRequestRefused, ToServer
from mcpbridged.bridge.core.forwarded_requests import ForwardedRequests
from mcpbridged.bridge.core.front import Front
from mcpbridged.bridge.core.shared_calls import SharedCalls
from mcpbridged.bridge.core.shared_effects import Assigned, ToFront, Undeclared
from mcpbridged.bridge.core.shared_server_requests import SharedServerRequests
from mcpbridged.validators import json_object
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.limits import Limits

ELICIT = "elicitation/create"


class World:
    """Two fronts whose clients accept elicitation and roots, and sampling as tasks."""

    def __init__(self, policy=None, **limits):
        declared = json_object.peek(b'{"elicitation":{"url":{},"form":{}},"sampling":{},"tasks":{}}')
        self.one, self.other = Front(Client("one"), "one"), Front(Client("other"), "other")
        self.one.capabilities = self.other.capabilities = declared
        self.fronts = dict.fromkeys((self.one, self.other))
        ids = itertools.count(100)
        limits = Limits(**limits)
        requests = ForwardedRequests()
        origins = Origins(limits.held_seconds, several=True)
        self.calls = SharedCalls(limits, lambda: b"%d" % next(ids), self.fronts, origins, requests)
        policy = policy or AccessPolicy()
        self.it = SharedServerRequests(limits, policy, self.fronts, self.calls, requests)

    def call(self, wire_id, front):
        return self.calls.begin(front, Request(wire_id, "tools/call", b"{}"), b"")

    def ask(self, server_id=b"7", method=ELICIT, params=b"{}"):
        return self.it.on_request(Request(server_id, method, params))


@pytest.fixture
def world():
    return World()


def error_of(effect):
    assert isinstance(effect, ToServer)
    return json.loads(effect.message.error)


def test_a_request_goes_to_the_client_of_the_call_and_its_response_back(world):
    world.call(b"1", world.one)
    assert world.ask() == (ToFront(world.one, Request(b"100", ELICIT, b"{}"), b"1"),)
    answer = Response(b"100", b'{"action":"accept"}', b"")
    assert world.it.on_response(world.other, answer) == (LogDebug("response_unmatched", ("client", b"100")),)
    [effect] = world.it.on_response(world.one, answer)
    assert effect.message == Response(b"7", b'{"action":"accept"}', b"")
    assert world.it.on_response(world.one, answer) == (LogDebug("response_unmatched", ("client", b"100")),)


def test_a_request_that_several_clients_can_have_caused_reaches_none(world):
    world.call(b"1", world.one)
    world.call(b"2", world.other)
    refusal, note = world.ask()
    assert "several clients" in error_of(refusal)["message"]
    assert note == ServerRequestRefused(ELICIT, "ambiguous")


def test_a_ping_of_the_server_is_answered_at_once(world):
    assert world.ask(method="ping") == (ToServer(Response(b"7", b"{}", b"")),)


def test_an_id_in_use_is_refused(world):
    world.call(b"1", world.one)
    world.ask(b'"a"')
    [refusal] = world.ask(b'"\\u0061"')
    assert "in use" in error_of(refusal)["message"]


def test_a_method_that_the_policy_denies_reaches_no_client():
    world = World(AccessPolicy(without=("elicitation",)))
    world.call(b"1", world.one)
    refusal, note = world.ask()
    assert error_of(refusal)["code"] == -32601
    assert note == ServerRequestRefused(ELICIT, "denied")


def test_a_call_whose_client_has_left_gets_no_request(world):
    world.call(b"1", world.one)
    del world.fronts[world.one]
    refusal, note = world.ask()
    assert error_of(refusal)["message"] == "the client has left"
    assert note == ServerRequestRefused(ELICIT, "client_left")


def test_a_translated_front_gets_the_call_of_a_request_or_of_its_refusal(world):
    translated = Front(Client("adapter"), "adapter", translated=True)
    world.fronts[translated] = None
    origin = world.calls.origins.begin(b"1", Client("c"), "adapter", lambda method, _: method == ELICIT)
    assert world.ask() == (Assigned(translated, Request(b"100", ELICIT, b"{}"), origin),)
    message = Request(b"8", "roots/list", b"{}")
    assert world.it.on_request(message)[2] == Undeclared(translated, message, origin)


def test_a_call_that_waits_for_its_client_makes_room_for_a_queued_call():
    world = World(calls_at_once=1)
    world.call(b"1", world.one)
    assert world.call(b"2", world.other) == ()
    assert world.ask()[1] == ToServer(Request(b"2", "tools/call", b"{}"))


def test_a_request_is_assigned_again_under_its_own_id(world):
    world.call(b"1", world.one)
    world.ask()
    again = Request(b"100", ELICIT, b"{}")
    assert world.it.reassign(again, Client("one")) == (ToFront(world.one, again, b"1"),)
    [refusal, _] = world.it.reassign(again, Client("other"))
    assert refusal.message.id == b"7"
    assert world.it.reassign(again, Client("one")) == ()


def test_the_server_cancels_its_own_requests_only(world):
    world.call(b"1", world.one)
    world.ask()
    cancel = Notification("notifications/cancelled", b'{"requestId":7}')
    [effect] = world.it.on_cancelled(cancel)
    assert effect.front is world.one
    assert json.loads(effect.message.params) == {"requestId": 100}
    assert world.it.on_cancelled(cancel) == (LogDebug("cancellation_unmatched"),)


def test_a_client_that_leaves_answers_nothing_more(world):
    world.call(b"1", world.one)
    world.ask()
    assert world.it.remove_front(world.other) == ()
    [effect] = world.it.remove_front(world.one)
    assert effect.message.id == b"7"
    assert error_of(effect)["message"] == "the client left without an answer"


def test_requests_are_cancelled_at_the_clients_when_the_process_exits(world):
    world.call(b"1", world.one)
    world.ask()
    [effect] = world.it.on_exit()
    assert effect.front is world.one
    assert effect.message.method == "notifications/cancelled"
    assert json.loads(effect.message.params) == {"requestId": 100}
    world.it.remove_front(world.one)
    translated = Front(Client("adapter"), "adapter", translated=True)
    world.fronts[translated] = None
    world.calls.origins.begin(b"2", Client("one"), "adapter", lambda *_: True)
    world.ask(b"8")
    assert world.it.on_exit() == ()


def test_a_task_of_a_client_is_reached_by_the_server_and_reported_by_that_client_only(world):
    world.call(b"1", world.one)
    world.ask(method="sampling/createMessage", params=b'{"task":{}}')
    world.it.on_response(world.one, Response(b"100", b'{"task":{"taskId":"k"}}', b""))
    [effect] = world.ask(b"8", "tasks/get", b'{"taskId":"k"}')
    assert effect == ToFront(world.one, Request(b"101", "tasks/get", b'{"taskId":"k"}'))
    [refusal] = world.ask(b"9", "tasks/get", b'{"taskId":"other"}')
    assert error_of(refusal)["message"] == "Unknown task"
    status = Notification("notifications/tasks/status", b'{"taskId":"k","status":"working"}')
    assert world.it.on_notification(world.one, status) == (ToServer(status),)
    assert world.it.on_notification(world.other, status) == (LogDebug("task_status_unmatched"),)


def test_a_response_that_creates_no_task_adds_none(world):
    world.call(b"1", world.one)
    world.ask(method="sampling/createMessage", params=b'{"task":{}}')
    world.it.on_response(world.one, Response(b"100", b"", b'{"code":1}'))
    status = Notification("notifications/tasks/status", b'{"taskId":"k"}')
    assert world.it.on_notification(world.one, status) == (LogDebug("task_status_unmatched"),)


def test_progress_of_a_client_needs_the_token_of_a_request_to_it(world):
    world.call(b"1", world.one)
    world.ask(params=b'{"_meta":{"progressToken":"t"}}')
    progress = Notification("notifications/progress", b'{"progressToken":"t","progress":1}')
    assert world.it.on_notification(world.one, progress) == (ToServer(progress),)
    assert world.it.on_notification(world.other, progress) == (LogDebug("progress_unmatched"),)


def test_other_notifications_of_a_client_are_sent(world):
    changed = Notification("notifications/roots/list_changed", b"")
    assert world.it.on_notification(world.one, changed) == (ToServer(changed),)


@pytest.mark.parametrize("how", ["request", "error"])
def test_the_end_of_an_elicitation_belongs_to_the_client_that_was_given_the_url(world, how):
    asked = {"mode": "url", "url": "https://example.com", "elicitationId": "e"}
    if how == "request":
        world.call(b"1", world.one)
        world.ask(params=json.dumps(asked).encode())
    else:
        error = {"code": -32042, "message": "m", "data": {"elicitations": [asked, {}]}}
        world.it.on_error(world.one, json.dumps(error).encode())
    complete = Notification("notifications/elicitation/complete", b'{"elicitationId":"e"}')
    assert world.it.front_of_url(complete) is world.one
    world.it.remove_front(world.one)
    assert world.it.front_of_url(complete) is None


@pytest.mark.parametrize(
    "error", [{"code": -1, "message": "m", "data": {}}, {"code": -32042, "message": "m"}]
)
def test_other_errors_name_no_url(world, error):
    world.it.on_error(world.one, json.dumps(error).encode())
    complete = Notification("notifications/elicitation/complete", b"{}")
    assert world.it.front_of_url(complete) is None
