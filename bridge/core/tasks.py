"""Find the task that a result or a message belongs to (MCP 2025-11-25 basic/utilities/tasks). Pure."""

from typing import Final

import msgspec

from ...validators import json_object

RELATED_TASK: Final = "io.modelcontextprotocol/related-task"
_ENDED: Final = frozenset({"completed", "failed", "cancelled"})
# Escapes are decoded in ids up to this size (bytes).
_LONGEST_ID: Final = 64 * 1024
# A larger result is no CreateTaskResult (bytes).
_TASK_SIZE: Final = 64 * 1024


def task_of(result: bytes | msgspec.Raw) -> bytes:
    """Return the raw id of the task that a result has created, empty bytes for an ordinary result."""
    if len(memoryview(result)) > _TASK_SIZE or b'"task"' not in bytes(result):
        return b""
    return bytes(json_object.peek(json_object.peek(result).get("task")).get("taskId", b""))


def related_task(params: bytes) -> bytes:
    """Return the raw id of the task that the params of a message name, empty bytes for none."""
    if RELATED_TASK.encode() not in params:
        return b""
    meta = json_object.peek(json_object.peek(params).get("_meta"))
    return bytes(json_object.peek(meta.get(RELATED_TASK)).get("taskId", b""))


def has_ended(payload: bytes | msgspec.Raw) -> bool:
    """Return whether the status in a payload is the last of a task."""
    return json_object.string(json_object.peek(payload).get("status")) in _ENDED


def task_in(params: bytes | msgspec.Raw) -> bytes:
    """Return the canonical id of the task that params name, or nothing."""
    return canonical_text(bytes(json_object.peek(params).get("taskId", b"")))


def canonical_text(raw: bytes) -> bytes:
    """Return one spelling for all spellings of a raw string, unless it is longer than any id of a server."""
    return json_object.text(json_object.string(raw)) if len(raw) <= _LONGEST_ID and b"\\" in raw else raw
