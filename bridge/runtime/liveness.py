"""Check that a process still answers, with a ping whose response no client receives.

A silent process is shown and not stopped, because it may answer after a long call. The request is `ping` for a legacy server
(MCP 2025-11-25 basic/utilities/ping), and `server/discover` for a modern one, which has no ping. The clock stands still while
a process is not read because its client is behind.
"""

import secrets
from typing import Final

from ...transports.ports import ServerConnection
from ...transports.server_io import ChildBusy, ChildGone, OnLine, Overlong, Rest
from ...validators import jsonrpc
from ...validators.jsonrpc import Response
from ...validators.limits import Limits
from ...validators.rejection import Rejection
from .era_probe import discover

# Random, so that no client uses the same id.
_ID: Final = b'"mcp-bridge-%b"' % secrets.token_hex(8).encode()
_PING: Final = jsonrpc.request(_ID, "ping", b"")
_DISCOVER: Final = discover(_ID)


class Liveness:
    """The pings of one process. `on_other_line` receives all lines but their responses, `now` is in seconds."""

    def __init__(
        self, child: ServerConnection, on_other_line: OnLine, limits: Limits, now: float, *, modern: bool
    ) -> None:
        self.silent = False
        self._child = child
        self._on_other_line = on_other_line
        self._limits = limits
        self._ping = _DISCOVER if modern else _PING
        self._waiting = False
        self._due = child.active_time(now) + limits.ping_seconds

    def on_tick(self, now: float) -> None:
        """Send a ping when it is due. A process with an open ping is then silent, and receives no further one."""
        now = self._child.active_time(now)
        if now < self._due:
            return
        self._due = now + self._limits.ping_seconds
        if self._waiting:
            self.silent = True
            return
        try:
            self._child.send(self._ping)
        except ChildGone:
            # Its exit is reported elsewhere.
            return
        except ChildBusy:
            self.silent = True
            return
        self._waiting = True
        self._child.set_line_handler(self._on_line)

    def _on_line(self, line: bytes | Overlong) -> Rest:
        if isinstance(line, bytes) and _ID in line and self._is_answer(line):
            self.silent = self._waiting = False
            self._child.set_line_handler(self._on_other_line)
            return None
        return self._on_other_line(line)

    def _is_answer(self, line: bytes) -> bool:
        try:
            message = jsonrpc.decode(line, self._limits, deep=True)
        except Rejection:
            return False
        return isinstance(message, Response) and message.id == _ID
