"""The entries of a session in the log of its server, and in the counts."""

from ...transports.send_queue import SendQueue
from ...validators import json_object
from ...validators.jsonrpc import Request
from ...validators.mcp_params import LEGACY_NAMED
from ...validators.rejection import Rejection
from ..core.effects import LogDebug, RequestFinished, ServerRequestRefused, Unassigned, failed_with
from .server_log import DENIALS, SHOWN_SESSION, ServerLog


class SessionLog:
    """The entries of one session."""

    __slots__ = ("_principal", "_session", "server_log")

    def __init__(self, server_log: ServerLog, principal: str, session: str) -> None:
        self.server_log = server_log
        self._principal = principal
        self._session = session

    def refuse(self, message: Request, since: float | None, rejection: Rejection) -> Rejection:
        """Record a request that was not accepted, if ends of requests are recorded or the policy denies it. Return its rejection."""
        denied = rejection.reason in DENIALS
        if since is not None or denied:
            named = LEGACY_NAMED.get(message.method)
            # A request that was refused for its size is not decoded again.
            is_read = named is not None and json_object.is_small(message.params)
            name = (
                json_object.string(json_object.peek(message.params).get(named)) if named and is_read else ""
            )
            if denied:
                self.server_log.denied(rejection, self._principal, message.method, name, self._session)
            if since is not None:
                outcome = failed_with(rejection.code)
                refused = RequestFinished(message.id, message.method, name, since, outcome)
                self.server_log.finish(refused, self._principal, self._session)
        return rejection

    def failed(self, correlation_id: str, reason: str) -> None:
        """Log an error of the bridge for requests that were accepted."""
        self.server_log.request_failed(correlation_id, reason, self._principal, self._session)

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
        shown = self._session[:SHOWN_SESSION]
        self.server_log.info("session_closed", session=shown, principal=self._principal, reason=reason)

    def _warn(self, event: str, **fields: object) -> None:
        shown = self._session[:SHOWN_SESSION]
        self.server_log.warning(event, session=shown, principal=self._principal, **fields)
