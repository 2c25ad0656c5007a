"""Whether a server's process still answers: it is asked from time to time, and its answer is heard by nobody else.

A process that is silent is shown and not ended for it: one that works on a long call may answer afterwards. The question is
`ping`, which every legacy server answers (2025-11-25, basic/utilities/ping), and `server/discover` where that is gone.
While a process is not read, because its client is behind, the clock stands still.
"""

import secrets
from typing import Final

from ...transports.process.child import Child, ChildBusy, ChildGone, OnLine, Rest
from ...transports.process.lines import Overlong
from ...validators import json_object, jsonrpc, stateless_request
from ...validators.jsonrpc import Response
from ...validators.limits import Limits
from ...validators.rejection import Rejection

# No client can know it, and use it as its own.
_ID: Final = b'"mcp-bridge-%b"' % secrets.token_hex(8).encode()
_PING: Final = jsonrpc.request(_ID, "ping", b"")
_DISCOVER: Final = jsonrpc.request(
    _ID, "server/discover", json_object.write({"_meta": stateless_request.OWN_META})
)


class Liveness:
    """One process that serves. `hear` is who hears its lines, `now` a time in seconds."""

    def __init__(
        self,
        child: Child,
        hear: OnLine,
        limits: Limits,
        now: float,
        *,
        modern: bool,
    ) -> None:
        self.silent = False
        self._child = child
        self._hear = hear
        self._limits = limits
        self._question = _DISCOVER if modern else _PING
        self._asked = False
        self._due = child.active_time(now) + limits.ping_seconds

    def on_tick(self, now: float) -> None:
        """Ask, when it is time. A question that is open by then makes it silent, and none follows."""
        now = self._child.active_time(now)
        if now < self._due:
            return
        self._due = now + self._limits.ping_seconds
        if self._asked:
            self.silent = True
            return
        try:
            self._child.send(self._question)
        except ChildGone:
            return  # its end is told by others
        except ChildBusy:
            self.silent = True
            return
        self._asked = True
        self._child.set_line_handler(self._heard)

    def _heard(self, line: bytes | Overlong) -> Rest:
        if isinstance(line, bytes) and _ID in line and self._is_answer(line):
            self.silent = self._asked = False
            self._child.set_line_handler(self._hear)
            return None
        return self._hear(line)

    def _is_answer(self, line: bytes) -> bool:
        try:
            message = jsonrpc.decode(line, self._limits, deep=True)
        except Rejection:
            return False
        return isinstance(message, Response) and message.id == _ID
