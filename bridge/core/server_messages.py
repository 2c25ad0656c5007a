"""Notifications and requests of a server to the client of one session: on which stream they are sent, and when. Pure."""

from collections.abc import Callable
from typing import Final

from ...validators import jsonrpc
from ...validators.counted import counted
from ...validators.jsonrpc import Message, Notification, Request, Response
from ...validators.limits import Limits
from ...validators.mcp_params import cancelled_again, read_cancelled, read_progress
from ...validators.rejection import INTERNAL_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, SERVER_ERROR
from ...validators.revisions import NEGOTIATED_SINCE
from .access_policy import AccessPolicy
from .effects import LogDebug, ToChild, ToClient, ToUpstream
from .errors import fault_text, without_stream
from .event_store import EventStore, Stream
from .pending_requests import PendingRequests
from .server_requests import STREAM_SECONDS, ServerRequest, ServerRequests

# The capability that a client declares for each request of the server. Since `NEGOTIATED_SINCE` neither side may use what
# was not negotiated (MCP 2025-06-18 basic/lifecycle).
_CAPABILITY: Final = {
    "roots/list": "roots",
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
}
_NO_STREAM: Final = (
    "the request cannot be sent to the client: it needs text/event-stream, the Accept header of the call allows "
    "application/json only (or the client has left), and the session has no GET stream"
)

Effects = tuple[ToClient | ToChild | ToUpstream | LogDebug, ...]


class ServerMessages:
    """The way of the messages of the server to the client. `to_server` wraps the response to a request of the server."""

    def __init__(
        self,
        limits: Limits,
        policy: AccessPolicy,
        streams: EventStore,
        pending: PendingRequests,
        to_server: Callable[[Message], ToChild | ToUpstream],
        first_request_id: int,
    ) -> None:
        self._limits = limits
        self._policy = policy
        self._streams = streams
        self._pending = pending
        self._to_server = to_server
        self.requests = ServerRequests(limits, first_request_id)
        # The negotiated revision, empty before.
        self.version = ""
        # Whether the client has sent notifications/initialized, which a request must not precede.
        self.ready = False
        # The names of the capabilities of the client.
        self.declared: frozenset[str] = frozenset()

    def on_notification(self, message: Notification, stream: Stream | None) -> Effects:
        """Handle a notification. `stream` is that of the call that it belongs to, where that is known."""
        method = message.method
        if self._policy.restricts and self._policy.denied(method):
            return (LogDebug("notification_denied"),)
        text = jsonrpc.notification(method, message.params)
        match method:
            case "notifications/progress":
                return self._on_progress(message.params, text)
            case "notifications/cancelled":
                return self._on_cancelled(message.params)
            case "notifications/message":
                return self.put_or_queue(stream or self._caller(), text)
            case _:
                return self.put_or_queue(None, text)

    def on_request(self, message: Request, stream: Stream | None, *, is_open: bool) -> Effects:
        """Handle a request. `is_open` is whether the server has answered `initialize`."""
        method = message.method
        if method == "ping":
            return (self._to_server(Response(message.id, b"{}", b"")),)
        if self._policy.restricts and self._policy.denied(method):
            refusal = self._policy.refusal(method, 200)
            return self._refuse(message.id, refusal.text, refusal.code)
        if not self._is_declared(method):
            return self._refuse(message.id, f"the client does not support {method}", METHOD_NOT_FOUND)
        # Every call may have a request of its own.
        limit = self._limits.in_flight
        if self.requests.count >= limit:
            return self._refuse(
                message.id, f"the limit of {counted(limit, 'request')} to the client is reached"
            )
        if self.requests.wire_id_of(message.id) is not None:
            return self._refuse(message.id, jsonrpc.ID_IN_USE, INVALID_REQUEST)
        stream = stream or self._caller() or self._streams.home
        if stream is None:
            if not self._streams.has_listened and self._pending.may_ask_without_stream():
                return (self._to_server(Response(message.id, b"", without_stream(_NO_STREAM))),)
            stream = Stream(None, listens=True)
        wire_id = self.requests.add(message.id, method, stream)
        text = jsonrpc.request(wire_id, method, message.params)
        if not self.ready or not is_open or (stream.queue is None and not stream.key):
            return self._queue(text, wire_id)
        return self._streams.put(stream, text)

    def put_or_queue(self, stream: Stream | None, text: bytes) -> Effects:
        """Put a message on a stream, else on that for messages of no request, else queue it."""
        stream = stream or self._streams.home
        return self._queue(text, b"") if stream is None else self._streams.put(stream, text)

    def send_queued(self, *, notifications: bool = True) -> Effects:
        """Send the messages in the queue, if there is a stream for them."""
        home = self._streams.home or self._caller()
        if home is None:
            return ()
        queued = self.requests.dequeue_all(home, requests=self.ready, notifications=notifications)
        return tuple(effect for text in queued for effect in self._streams.put(home, text))

    def refuse_expired(self) -> Effects:
        """Refuse the requests that have waited for a stream for too long."""
        return self._refuse_all(self.requests.expire(), f"no client stream within {STREAM_SECONDS:g} s")

    def _on_progress(self, params: bytes, text: bytes) -> Effects:
        token = jsonrpc.canonical_id(read_progress(params))
        wire_id = self._pending.wire_id_of(token)
        if wire_id is None:
            if self._pending.is_of_task(token):
                return self.put_or_queue(None, text)
            return (LogDebug("progress_unmatched"),)
        if self._pending.timeouts.limited:
            self._pending.timeouts.on_progress(wire_id)
        stream = self._pending.by_wire_id[wire_id].stream
        if stream.answers_only:
            home = self._streams.home
            if home is None:
                return (LogDebug("progress_without_stream"),)
            stream = home
        return self._streams.put(stream, text)

    def _on_cancelled(self, params: bytes) -> Effects:
        named, _ = read_cancelled(params)
        wire_id = self.requests.wire_id_of(named)
        if wire_id is None:
            return (LogDebug("cancellation_unmatched"),)
        request = self.requests.remove(wire_id)
        # The client has not received a request that is queued.
        if self.requests.is_queued(wire_id):
            self.requests.dequeue(wire_id)
            return ()
        text = jsonrpc.notification("notifications/cancelled", cancelled_again(params, wire_id))
        return self._streams.put(request.stream, text)

    def _is_declared(self, method: str) -> bool:
        needed = _CAPABILITY.get(method)
        return needed is None or needed in self.declared or self.version < NEGOTIATED_SINCE

    def _caller(self) -> Stream | None:
        return self._streams.pipe or self._pending.caller()

    def _queue(self, text: bytes, wire_id: bytes) -> Effects:
        dropped = self.requests.enqueue(text, wire_id)
        return self._refuse_all(dropped, "too much waits for the client")

    def _refuse(self, server_id: bytes, text: str, code: int = SERVER_ERROR) -> Effects:
        return (self._to_server(Response(server_id, b"", fault_text(code, text))),)

    def _refuse_all(self, requests: tuple[ServerRequest, ...], text: str) -> Effects:
        error = fault_text(INTERNAL_ERROR, text)
        return tuple(self._to_server(Response(one.server_id, b"", error)) for one in requests)
