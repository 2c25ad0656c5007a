"""Tasks of revision 2025-11-25 (MCP 2025-11-25 basic/utilities/tasks): which task a result or a message belongs to. Pure."""

from typing import Final

import msgspec

from ...validators import json_object

RELATED_TASK: Final = "io.modelcontextprotocol/related-task"


# What says that a call has become a task is small, in bytes.
_TASK_SIZE: Final = 64 * 1024


def task_of(result: bytes | msgspec.Raw) -> bytes:
    """The raw id of the task that a call has become, or nothing where this is its result."""
    if len(memoryview(result)) > _TASK_SIZE or b'"task"' not in bytes(result):
        return b""
    return bytes(json_object.peek(json_object.peek(result).get("task")).get("taskId", b""))


def related_task(params: bytes) -> bytes:
    """The raw id of the task to which a message of the server belongs, or nothing."""
    if RELATED_TASK.encode() not in params:
        return b""
    meta = json_object.peek(json_object.peek(params).get("_meta"))
    return bytes(json_object.peek(meta.get(RELATED_TASK)).get("taskId", b""))
