"""The entries of a session in the log of its server, and in the counts."""

import trio

from ...transports.send_queue import SendQueue
from ...validators import json_object
from ...validators.jsonrpc import Request
from ...validators.mcp_params import LEGACY_NAMED
from ...validators.rejection import Rejection
from ..core.effects import LogDebug, RequestFinished, ServerRequestRefused, Unassigned, failed_with
from .server_log import SHOWN_SESSION, Call, ServerLog


class SessionLog:
    """The entries of one session. With `server_log.log_calls` each of its requests has an entry when it ends."""

    __slots__ = ("_open", "_principal", "_session", "server_log")

    def __init__(self, server_log: ServerLog, principal: str, session: str) -> None:
        self.server_log = server_log
        self._principal = principal
        self._session = session
        # Requests that end with `RequestFinished`, by the ids of the client. Added by `begin`, removed by `finish`.
        self._open: dict[bytes, Call] = {}

    def call(self, message: Request) -> Call | None:
        """Return the entry of a request, None if requests are not logged."""
        if not self.server_log.log_calls:
            return None
        named = LEGACY_NAMED.get(message.method)
        name = json_object.string(json_object.peek(message.params).get(named)) if named else ""
        return Call(self._principal, self._session, message.id, message.method, name, trio.current_time())

    def begin(self, call: Call) -> None:
        """Store the entry of a request that was accepted."""
        self._open[call.id] = call

    def refuse(self, call: Call | None, rejection: Rejection) -> Rejection:
        """Log a request that was not accepted. Return its rejection."""
        if call is not None:
            self.server_log.done(call, failed_with(rejection.code))
        return rejection

    def finish(self, effect: RequestFinished) -> None:
        """Log a request that has ended."""
        call = self._open.pop(effect.request, None) if isinstance(effect.request, bytes) else None
        if call is not None:
            self.server_log.done(call, effect.outcome)

    def count_errors(self, number: int = 1) -> None:
        """Count requests that have ended with an error."""
        self.server_log.errors += number

    def log_debug(self, effect: LogDebug | ServerRequestRefused | Unassigned) -> None:
        """Log an event for developers, and count a response without a request."""
        # The other effects are those of a process of the legacy era behind a translator, which no session has.
        if isinstance(effect, LogDebug):
            self.server_log.debug(effect.event, session=self._session[:SHOWN_SESSION])
            if effect.unmatched is not None:
                self.server_log.unmatched(*effect.unmatched)

    def stream_closed(self, queue: SendQueue) -> None:
        """Log that a stream was closed, because its client reads too slowly."""
        unsent = queue.backlog.at_most if queue.backlog is not None else 0
        self._warn("stream_closed", reason="client behind", bytes=unsent)

    def messages_lost(self, lost: int, unsent: int) -> None:
        """Log how many messages the client has not got in all, and the limit that is the reason (bytes)."""
        self._warn("client_behind", lost=lost, unsent_bytes=unsent)

    def message_dropped(self, reason: str) -> None:
        """Log a notification or response that could not be sent to the server."""
        self._warn("message_dropped", direction="to server", reason=reason)

    def closed(self, reason: str) -> None:
        """Log the end of the session."""
        self.server_log.info("session_closed", session=self._session[:SHOWN_SESSION], reason=reason)

    def _warn(self, event: str, **fields: object) -> None:
        self.server_log.warning(event, session=self._session[:SHOWN_SESSION], **fields)
