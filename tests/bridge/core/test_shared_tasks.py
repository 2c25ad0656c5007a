"""Tasks that a shared process has created for the calls of its clients."""

import itertools
import json

import pytest

from mcpbridged.bridge.core.attribution import Client, Origins, Phase
from mcpbridged.bridge.core.effects import ToServer
from mcpbridged.bridge.core.forwarded_requests import ForwardedRequests
from mcpbridged.bridge.core.front import Front
from mcpbridged.bridge.core.shared_calls import SharedCalls
from mcpbridged.bridge.core.shared_tasks import SharedTasks
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.limits import Limits


class World:
    """Two fronts, and a task "a" of the call 1 of the first."""

    def __init__(self):
        self.one, self.other = Front(Client("one"), "one"), Front(Client("other"), "other")
        self.fronts = dict.fromkeys((self.one, self.other))
        ids = itertools.count(100)
        limits = Limits(in_flight=2, held_seconds=10.0)
        self.origins = Origins(limits.held_seconds, several=True)
        self.calls = SharedCalls(
            limits, lambda: b"%d" % next(ids), self.fronts, self.origins, ForwardedRequests()
        )
        self.tasks = SharedTasks(limits, self.calls)
        self.tasks.declared = True
        self.add(b"1", "a", b'"t"')

    def add(self, wire_id, task_id, token=b""):
        origin = self.origins.begin(wire_id, self.one.client, self.one, self.one.declared)
        self.tasks.add(self.one, wire_id, token, json.dumps(task_id).encode(), origin)
        return origin

    def request(self, front, task_id, method="tasks/get"):
        message = Request(b"50", method, json.dumps({"taskId": task_id}).encode())
        return self.tasks.on_request(front, message, b"")


@pytest.fixture
def world():
    return World()


def test_a_client_reaches_its_own_tasks_only(world):
    [effect] = world.request(world.one, "a")
    assert isinstance(effect, ToServer)
    assert world.calls.by_id[b"50"].task == b'"a"'
    for front, task_id in ((world.other, "a"), (world.one, "b")):
        [effect] = world.request(front, task_id)
        assert effect.front is front
        assert b"Unknown task" in effect.message.error


def test_a_server_without_tasks_refuses_by_itself(world):
    world.tasks.declared = False
    [effect] = world.request(world.other, "a")
    assert isinstance(effect, ToServer)


def test_the_request_for_the_result_becomes_the_call_that_may_cause_requests(world):
    world.request(world.one, "a", "tasks/result")
    assert world.origins.get(b"1") is None
    origin = world.origins.get(b"50")
    assert origin.task == b'"a"'
    call = world.calls.by_id[b"50"]
    world.tasks.on_response(call, Response(b"50", b"{}", b""))
    assert origin.phase is Phase.ANSWERED


@pytest.mark.parametrize(("status", "phase"), [("completed", Phase.ANSWERED), ("working", Phase.RUNNING)])
def test_the_status_of_a_task_ends_its_call(world, status, phase):
    origin = world.origins.get(b"1")
    world.request(world.one, "a")
    result = json.dumps({"status": status}).encode()
    world.tasks.on_response(world.calls.by_id[b"50"], Response(b"50", result, b""))
    assert origin.phase is phase
    params = json.dumps({"taskId": "a", "status": status}).encode()
    assert world.tasks.front_of(Notification("notifications/tasks/status", params)) is world.one
    assert origin.phase is phase


def test_the_response_for_a_task_that_was_dropped_changes_nothing(world):
    world.request(world.one, "a")
    world.tasks.remove_front(world.one)
    world.tasks.on_response(world.calls.by_id[b"50"], Response(b"50", b'{"status":"completed"}', b""))
    assert world.tasks.of_call(b"1") is None


def test_a_notification_belongs_to_the_front_of_the_task_that_it_names(world):
    related = {"_meta": {"io.modelcontextprotocol/related-task": {"taskId": "a"}}}
    named = Notification("notifications/x", json.dumps(related).encode())
    assert world.tasks.front_of(named) is world.one
    world.tasks.remove_front(world.one)
    assert world.tasks.front_of(named) is None


def test_a_notification_without_a_task_belongs_to_the_only_front_with_a_call(world):
    message = Notification("notifications/x", b"{}")
    assert world.tasks.front_of(message) is world.one
    world.origins.begin(b"2", world.other.client, world.other, world.other.declared)
    assert world.tasks.front_of(message) is None


def test_the_tasks_of_a_front_that_leaves_are_cancelled(world):
    [effect] = world.tasks.remove_front(world.one)
    assert effect.message == Request(b"100", "tasks/cancel", b'{"taskId":"a"}')
    assert world.calls.take_abandoned(b"100")
    assert world.tasks.of_call(b"1") is None
    assert world.tasks.remove_front(world.one) == ()


def test_a_task_without_a_message_is_dropped_after_held_seconds(world):
    world.tasks.on_tick(0.0)
    world.tasks.on_tick(10.0)
    assert world.tasks.of_call(b"1") is not None
    world.request(world.one, "a")
    world.tasks.on_tick(11.0)
    world.tasks.on_tick(21.0)
    assert world.tasks.of_call(b"1") is not None
    world.tasks.on_tick(21.5)
    assert world.tasks.of_call(b"1") is None


def test_the_oldest_task_of_a_front_is_dropped_at_the_limit(world):
    world.add(b"2", "b", b'"t"')
    world.add(b"3", "c", b'"t"')
    assert world.tasks.of_call(b"1") is None
    assert world.tasks.of_call(b"2").front is world.one


def test_a_call_has_progress_after_its_response_only_with_a_token(world):
    world.add(b"2", "b")
    assert world.tasks.of_call(b"2") is None


def test_a_list_of_tasks_has_those_of_the_client_only(world):
    listed = {"tasks": [{"taskId": "a"}, {"taskId": "b"}], "nextCursor": "c"}
    message = Response(b"9", json.dumps(listed).encode(), b"")
    found = {
        front: json.loads(world.tasks.list_of(front, message).result) for front in (world.one, world.other)
    }
    assert found[world.one] == {"tasks": [{"taskId": "a"}], "nextCursor": "c"}
    assert found[world.other]["tasks"] == []
    error = Response(b"9", b"", b'{"code":1}')
    assert world.tasks.list_of(world.one, error) is error
