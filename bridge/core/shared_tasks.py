"""Tasks that a shared server process has created for calls of its fronts (MCP 2025-11-25 basic/utilities/tasks). Pure."""

from typing import Final

import msgspec

from ...validators import json_object
from ...validators.jsonrpc import Notification, Request, Response
from ...validators.limits import Limits
from ...validators.rejection import INVALID_PARAMS
from .attribution import Origin, Phase
from .effects import ToServer
from .front import Front
from .shared_calls import SharedCall, SharedCalls
from .shared_effects import Effects, ToFront, failure
from .tasks import canonical_text, has_ended, related_task, task_in

# Requests that name a task, in both directions.
NAME_A_TASK: Final = frozenset({"tasks/get", "tasks/result", "tasks/cancel"})


class SharedTask:
    """A task of a front. `token` is the progress token of its call."""

    __slots__ = ("front", "origin", "since", "token", "wire_id")

    def __init__(self, front: Front, wire_id: bytes, token: bytes, origin: Origin | None) -> None:
        self.front = front
        self.wire_id = wire_id
        self.token = token
        self.origin = origin
        # The time of the first tick after the last message about the task (seconds).
        self.since: float | None = None


class SharedTasks:
    """The tasks of one process. Tasks without a message for `held_seconds` are dropped, and the oldest beyond `in_flight`."""

    def __init__(self, limits: Limits, calls: SharedCalls) -> None:
        self._limits = limits
        self._calls = calls
        # Whether the server has declared tasks.
        self.declared = False
        # By canonical task id, oldest first. Added by `add`; `remove_front`, `on_tick` and the limit remove entries.
        self._by_id: dict[bytes, SharedTask] = {}
        # Tasks whose progress is sent to a front, by the wire id of their call; removed with the entry above.
        self._by_wire_id: dict[bytes, SharedTask] = {}

    def of_call(self, wire_id: bytes) -> SharedTask | None:
        """Return the task with progress whose call had this wire id, None if there is none."""
        return self._by_wire_id.get(wire_id)

    def add(self, front: Front, wire_id: bytes, token: bytes, task_id: bytes, origin: Origin | None) -> None:
        """Add the task of a call with this raw task id."""
        task_id = canonical_text(task_id)
        if front.translated:
            origin = None
        if origin is not None:
            origin.task = task_id
        task = SharedTask(front, wire_id, token, origin)
        own = [one for one, other in self._by_id.items() if other.front is front]
        if len(own) >= self._limits.in_flight:
            self._remove(own[0])
        self._by_id[task_id] = task
        if token or front.translated:
            self._by_wire_id[wire_id] = task

    def remove_front(self, front: Front) -> Effects:
        """Remove the tasks of a front, and cancel them at the server."""
        own = [task_id for task_id, task in self._by_id.items() if task.front is front]
        for task_id in own:
            self._remove(task_id)
        return tuple(map(self.cancel, own))

    def cancel(self, task_id: bytes) -> ToServer:
        """Cancel a task with this raw id at the server."""
        return ToServer(Request(self._calls.own_id(), "tasks/cancel", b'{"taskId":%b}' % task_id))

    def on_tick(self, now: float) -> None:
        """Remove tasks without a message for too long. `now` is in seconds on any steady clock."""
        for task_id, task in list(self._by_id.items()):
            if task.since is None:
                task.since = now
            elif now - task.since > self._limits.held_seconds:
                self._remove(task_id)

    # ---- requests of a front, and their responses

    def on_request(self, front: Front, message: Request, token: bytes) -> Effects:
        """Handle a request of a front that names a task, which must be its own."""
        task_id = task_in(message.params)
        task = self._by_id.get(task_id)
        if self.declared and (task is None or task.front is not front):
            return (ToFront(front, failure(message.id, INVALID_PARAMS, "Unknown task")),)
        self._calls.by_id[message.id] = SharedCall(front, message.method, token, "", task_id)
        if task is not None:
            task.since = None
            if message.method == "tasks/result" and task.origin is not None:
                self._calls.origins.rename(task.origin, message.id)
        return (ToServer(message),)

    def on_response(self, call: SharedCall, message: Response) -> None:
        """Handle the response to a request that names a task."""
        task = self._by_id.get(call.task)
        if task is not None and (call.method == "tasks/result" or has_ended(message.result)):
            self._end(task)

    def list_of(self, front: Front, message: Response) -> Response:
        """Return a response to `tasks/list` with the tasks of a front only."""
        found = json_object.peek(message.result)
        own = [
            one
            for one in json_object.items(found.get("tasks"))
            if (task := self._by_id.get(task_in(one))) is not None and task.front is front
        ]
        if "tasks" not in found:
            return message
        found["tasks"] = json_object.raw(msgspec.json.encode(own))
        return Response(message.id, json_object.write(found), b"")

    # ---- notifications of the server

    def front_of(self, message: Notification) -> Front | None:
        """Return the front of the task that a notification names, or of a notification that names none.

        None if the task is unknown, or several fronts may have caused the notification.
        """
        named = task_in(message.params) if message.method == "notifications/tasks/status" else b""
        task_id = named or canonical_text(related_task(message.params))
        if not task_id:
            return self._calls.only_front()
        task = self._by_id.get(task_id)
        if task is None:
            return None
        task.since = None
        if named and has_ended(message.params):
            self._end(task)
        return task.front

    # ---- the end of tasks

    def _end(self, task: SharedTask) -> None:
        """End the call of a task, which causes no more requests."""
        if task.origin is not None and task.origin.phase is not Phase.ANSWERED:
            self._calls.origins.answer(task.origin)

    def _remove(self, task_id: bytes) -> None:
        task = self._by_id.pop(task_id)
        self._by_wire_id.pop(task.wire_id, None)
        self._end(task)
