"""Tasks that a shared server process has created for calls of its fronts (MCP 2025-11-25 basic/utilities/tasks). Pure."""

from typing import Final

import msgspec

from ...validators import json_object
from ...validators.jsonrpc import Response
from ...validators.limits import Limits
from .attribution import Origin, Origins, Phase
from .front import Front

_ENDED: Final = frozenset({"completed", "failed", "cancelled"})
# Escapes are decoded in ids up to this size (bytes).
_LONGEST_ID: Final = 64 * 1024


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

    def __init__(self, limits: Limits, origins: Origins) -> None:
        self._limits = limits
        self._origins = origins
        # Whether the server has declared tasks.
        self.declared = False
        # By canonical task id, oldest first.
        self._by_id: dict[bytes, SharedTask] = {}
        # Tasks whose progress is sent to a front, by the wire id of their call.
        self._by_wire_id: dict[bytes, SharedTask] = {}

    def get(self, task_id: bytes) -> SharedTask | None:
        """Return the task with this canonical id, None if there is none."""
        return self._by_id.get(task_id)

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
            self.remove(own[0])
        self._by_id[task_id] = task
        if token or front.translated:
            self._by_wire_id[wire_id] = task

    def end(self, task: SharedTask) -> None:
        """End the call of a task, which causes no more requests."""
        if task.origin is not None and task.origin.phase is not Phase.ANSWERED:
            self._origins.answer(task.origin)

    def remove(self, task_id: bytes) -> None:
        """Remove a task, and end its call."""
        task = self._by_id.pop(task_id)
        self._by_wire_id.pop(task.wire_id, None)
        self.end(task)

    def remove_front(self, front: Front) -> list[bytes]:
        """Remove the tasks of a front, and return their ids."""
        own = [task_id for task_id, task in self._by_id.items() if task.front is front]
        for task_id in own:
            self.remove(task_id)
        return own

    def on_tick(self, now: float) -> None:
        """Remove tasks without a message for too long. `now` is in seconds on any steady clock."""
        for task_id, task in list(self._by_id.items()):
            if task.since is None:
                task.since = now
            elif now - task.since > self._limits.held_seconds:
                self.remove(task_id)

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


def has_ended(payload: bytes | msgspec.Raw) -> bool:
    """Return whether the status in a payload is the last of a task."""
    return json_object.string(json_object.peek(payload).get("status")) in _ENDED


def task_in(params: bytes | msgspec.Raw) -> bytes:
    """Return the canonical id of the task that params name, or nothing."""
    return canonical_text(bytes(json_object.peek(params).get("taskId", b"")))


def canonical_text(raw: bytes) -> bytes:
    """Return one spelling for all spellings of a raw string, unless it is longer than any id of a server."""
    return json_object.text(json_object.string(raw)) if len(raw) <= _LONGEST_ID and b"\\" in raw else raw
