"""Tools that a server of revision 2025-11-25 runs as tasks (MCP 2025-11-25 basic/utilities/tasks). Pure."""

import msgspec

from ...validators import json_object
from ...validators.jsonrpc import Response
from ...validators.limits import Limits
from ..core import tasks
from ..core.handshake import Handshake
from . import rules_legacy_to_modern
from .legacy_call import LegacyCall


class TaskTools:
    """The known tools of a server process that run as tasks only."""

    def __init__(self, limits: Limits, handshake: Handshake) -> None:
        self._limits = limits
        self._handshake = handshake
        # Names of tools, from lists of the server and from its refusals. Never removed.
        self.names: set[str] = set()

    def learn(self, listed: bytes | msgspec.Raw) -> None:
        """Read a result of `tools/list`."""
        if "tasks" in self._handshake.capabilities:
            self.names |= rules_legacy_to_modern.tools_that_require_tasks(listed, self._limits)

    def add(self, call: LegacyCall) -> None:
        """Add the tool of a call that has become a task."""
        self.names.add(rules_legacy_to_modern.tool_name(call.params))

    def task_of(self, message: Response) -> bytes:
        """Return the raw id of the task that a call has become, empty if the response is its result."""
        return tasks.task_of(message.result) if "tasks" in self._handshake.capabilities else b""

    def may_require_task(self, call: LegacyCall) -> bool:
        """Return whether "method not found" may mean that the tool runs as a task only.

        Before its list of tools is read, only this error shows that a tool requires a task.
        """
        requests = json_object.peek(self._handshake.setting("tasks", "requests"))
        return (
            call.method == "tools/call"
            and not (call.as_task or call.task)
            and "call" in json_object.peek(requests.get("tools"))
        )
