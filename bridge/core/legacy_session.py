"""One session of a legacy client with a server process: where each message belongs, and when it is sent.

Pure: no await, no clock, no socket, no randomness. An event is a method call that returns a tuple of effects, to be carried
out in order before the next event. Payloads pass unchanged. Ids are the bridge's on both sides, so that an id of one side
cannot be mistaken for an id of the other.

Invariant: a message leaves only on a stream of this session.
Invariant: a wire id that was sent to the server ends in exactly one response, error or cancellation.
Invariant: no message of the server raises an exception. A message of the client may raise a Rejection.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Final, NamedTuple, assert_never

from ...validators import json_object, jsonrpc
from ...validators.counted import counted
from ...validators.jsonrpc import Message, Notification, Request, Response, invalid
from ...validators.limits import Limits
from ...validators.mcp_params import (
    cancelled_again,
    read_cancelled,
    read_request,
    read_version,
)
from ...validators.rejection import INVALID_PARAMS, SERVER_ERROR, TIMEOUT, Rejection, retry_after
from ...validators.revisions import DEFAULT_REVISION, known_revision
from ...validators.session_replay import REPLAYED, SessionReplay
from .abandoned_requests import AbandonedRequests
from .access_policy import EVERYTHING, AccessPolicy
from .call_metrics import Recorder
from .content_policy import ContentPolicy
from .definition_guard import GUARDED
from .effects import (
    CANCELLED,
    OK,
    EndStream,
    LogDebug,
    RequestFinished,
    StartProcess,
    ToChild,
    ToClient,
    ToUpstream,
    failed_with,
)
from .errors import fault_text, initialize_late, initialize_refused, no_id, read_fault, timeout_data
from .event_store import EventStore, Stream
from .handshake import is_ordinary, revision_named
from .held_messages import HeldMessages
from .outcomes import outcome_of
from .pending_requests import PendingRequest, PendingRequests
from .schema_checks import ToolSchemas
from .server_messages import ServerMessages
from .tasks import task_of
from .tool_listing import ToolListing

# The error of a cancelled request, as the Python SDK of MCP sends it. HTTP requires a response.
REQUEST_CANCELLED: Final = -32800


class KillProcess(NamedTuple):
    """Kill the process, because it has not answered `initialize` in time, and call `on_server_exit` with this reason."""

    text: str


Effect = ToChild | ToUpstream | ToClient | EndStream | StartProcess | KillProcess | RequestFinished | LogDebug
Effects = tuple[Effect, ...]

NEW: Final = "new"
OPENING: Final = "opening"
OPEN: Final = "open"
# The process has exited. The next request starts another.
LOST: Final = "lost"
REVIVING: Final = "reviving"
ENDED: Final = "ended"

_INITIALIZE: Final = "initialize"
_ACCEPTED: Final = "initialize accepted"
_FAILED: Final = "initialize failed"
_REQUEST: Final = "request"
_EXIT: Final = "process exit"
# The next phase by phase and event. In all other phases the event changes no phase. `close` leads to ENDED from any phase.
_NEXT: Final = {
    (NEW, _INITIALIZE): OPENING,
    (OPENING, _ACCEPTED): OPEN,
    (OPENING, _FAILED): NEW,
    (OPENING, _EXIT): ENDED,
    (OPEN, _EXIT): LOST,
    (LOST, _REQUEST): REVIVING,
    (REVIVING, _ACCEPTED): OPEN,
    (REVIVING, _EXIT): LOST,
}


class LegacySession:
    """The state machine of one session.

    `pipe` is the only stream of HTTP+SSE and WebSocket, None for Streamable HTTP. `new_key` returns the random key of a stream.
    With `ids` the session shares a server process: wire ids are taken from there, and messages to the server are
    `ToUpstream`. Requests to the client are numbered from `first_request_id`.
    """

    def __init__(
        self,
        limits: Limits,
        new_key: Callable[[], str],
        pipe: object | None = None,
        policy: AccessPolicy = EVERYTHING,
        *,
        ids: Iterator[int] | None = None,
        first_request_id: int = 1,
        recorder: Recorder | None = None,
    ) -> None:
        self._limits = limits
        self._recorder = recorder or Recorder()
        self._shared = ids is not None
        self._to_server: Callable[[Message], ToChild | ToUpstream] = _as_line if ids is None else ToUpstream
        self._ids = count(1) if ids is None else ids
        self._policy = policy
        # What the checks of content know of the tools of the server.
        self._tools = ToolSchemas()
        self._listing = ToolListing(limits)
        self.phase = NEW
        self._streams = EventStore(limits, new_key, pipe)
        self._pending = PendingRequests(limits)
        self._abandoned = AbandonedRequests()
        self._server = ServerMessages(
            limits, policy, self._streams, self._pending, self._to_server, first_request_id
        )
        # Requests among them are in `_pending` as well.
        self._held = HeldMessages(limits)
        self._replay = SessionReplay(limits)
        # The wire id of `initialize` at a process that replaces another, or nothing.
        self._replayed_id = b""
        # The first tick of the phase OPENING or REVIVING (seconds), 0 in other phases.
        self._opening_since = 0.0
        # How many messages of the client were received.
        self.received = 0

    # ---- state

    @property
    def version(self) -> str:
        """The negotiated revision, empty before."""
        return self._server.version

    def revision_of(self, message: Message) -> str:
        """Return the revision whose rules hold for a message of the client: the negotiated one, before that the requested one."""
        if self.version:
            return known_revision(self.version)
        if isinstance(message, Request) and message.method == "initialize":
            return revision_named(message.params)
        return revision_named(self._replay.initialize)

    def method_answered(self, message: Response) -> str:
        """Return the method of the request of the server that a response of the client answers, empty if there is none."""
        request = self._server.requests.get(jsonrpc.wire_id(message.id))
        return "" if request is None else request.method

    @property
    def in_flight(self) -> int:
        """The number of requests of the client without a response."""
        return len(self._pending.by_wire_id)

    @property
    def has_stream(self) -> bool:
        """Whether the client has a stream open that belongs to no request."""
        return self._streams.home is not None

    @property
    def client_info(self) -> bytes:
        """The clientInfo of the client (JSON); empty without one."""
        return bytes(json_object.peek(self._replay.initialize).get("clientInfo", b""))

    @property
    def is_ordinary(self) -> bool:
        """Whether every server should accept the client's `initialize`."""
        return is_ordinary(self._replay.initialize)

    def unanswered_seconds(self, now: float) -> float:
        """Return how long the server has not answered `initialize` (seconds), 0 if it has or did not receive it."""
        return now - self._opening_since if self._opening_since and self.phase in (OPENING, REVIVING) else 0.0

    # ---- events from the client

    def on_client_message(
        self, message: Message, stream: Stream | None, since: float | None = None
    ) -> Effects:
        """Handle a message of the client. The response to a request is put on `stream`. Raises Rejection.

        A request with `since`, a time of the caller's clock, ends with one `RequestFinished`.
        """
        if self.phase == ENDED:
            raise Rejection(404, -32001, "this session is over")
        self.received += 1
        match message:
            case Request():
                stream = stream or self._streams.pipe
                if stream is None:
                    raise invalid("a request needs a stream for its answer")
                return self._on_request(message, stream, since)
            case Notification():
                return self._on_notification(message)
            case Response():
                return self._on_response(message)
            case _:
                assert_never(message)

    def _on_request(self, message: Request, stream: Stream, since: float | None) -> Effects:
        method = message.method
        if self.phase in (NEW, OPENING) or method == "initialize":
            early = self._before_open(message, stream, since)
            if early is not None:
                return early
        pending = self._pending
        if self._held.messages or len(pending.by_wire_id) >= self._limits.in_flight:
            self._check_room(len(message.params))
        key = jsonrpc.canonical_id(message.id)
        if key in pending.wire_ids:
            raise invalid(jsonrpc.ID_IN_USE)
        token, name = read_request(method, message.params, self._limits)
        if self._policy.checks:
            self._policy.check_request(method, message.params, name, 200)
        content = self._policy.content
        if content is not None:
            checked = content.on_request(self._tools, message, name, self.version)
            if isinstance(checked, Response):
                return self._answer(
                    PendingRequest(message.id, key, method, stream, b"", since, name), checked
                )
            message = checked
        wire_id = b"%d" % next(self._ids)
        # The time of a request that is held begins when the server gets it.
        added = PendingRequest(message.id, key, method, stream, token, since, name)
        pending.add(wire_id, added, timed=self.phase != OPENING)
        if method in REPLAYED:
            self._replay.record(method, message.params)
        params = self._replay.initialize if method == "initialize" else message.params
        if self.phase == OPEN or method == "initialize":
            if content is not None:
                return self._send_or_wait(Request(wire_id, method, params), token)
            if self._shared:
                return (ToUpstream(Request(wire_id, method, params), token),)
            return (ToChild(jsonrpc.request(wire_id, method, params)),)
        return self._hold_request(Request(wire_id, method, params), token)

    # ---- checks of content that need the tools of the server

    def _send_or_wait(self, request: Request, token: bytes) -> Effects:
        if self._policy.content is None or not self._policy.content.needs_tools(self._tools, request.method):
            return self._send_request(request, token)
        self._listing.add(request, token)
        return () if self._listing.listing_id else self._list_tools(b"")

    def _send_request(self, request: Request, token: bytes) -> Effects:
        return (ToUpstream(request, token) if self._shared else self._to_server(request),)

    def _list_tools(self, cursor: bytes) -> Effects:
        return self._send_request(self._listing.begin(b"%d" % next(self._ids), cursor), b"")

    def _on_tools(self, message: Response) -> Effects:
        assert self._policy.content is not None  # noqa: S101 - otherwise no call waits
        self._policy.content.on_response(self._tools, "tools/list", "", message)
        cursor = self._listing.end(message)
        if cursor:
            return self._list_tools(cursor)
        # A list that cannot be read is not requested again for each call.
        self._tools.known = True
        effects: list[Effect] = []
        for request, token in self._listing.take():
            effects.extend(self._check_and_send(self._policy.content, request, token))
        return tuple(effects)

    def _check_and_send(self, content: ContentPolicy, request: Request, token: bytes) -> Effects:
        name = self._pending.by_wire_id[request.id].name
        try:
            checked = content.on_request(self._tools, request, name, self.version)
        except Rejection as rejection:
            checked = Response(request.id, b"", fault_text(rejection.code, rejection.text, rejection.data))
        if isinstance(checked, Response):
            return self._answer(self._pending.remove(request.id), checked)
        return self._send_request(checked, token)

    def _hold_request(self, request: Request, token: bytes) -> Effects:
        self._held.add(request, len(request.method) + len(request.params), token)
        if self.phase != LOST:
            return ()
        self._advance(_REQUEST)
        return (StartProcess(),)

    def _before_open(self, message: Request, stream: Stream, since: float | None) -> Effects | None:
        if message.method == "initialize":
            if self.phase != NEW:
                raise invalid("this session is already initialized")
            if not json_object.is_small(message.params):
                raise Rejection(400, INVALID_PARAMS, f"initialize {json_object.TOO_LARGE}")
            read_version(message.params)
            self._advance(_INITIALIZE)
            self._replay.initialize = self._policy.opening(message.params)
            self._server.declared = frozenset(
                json_object.peek(json_object.peek(message.params).get("capabilities"))
            )
            return None
        if message.method == "ping":
            answer = b'{"jsonrpc":"2.0","id":%b,"result":{}}' % message.id
            ping = PendingRequest(message.id, b"", message.method, stream, b"", since)
            return (*self._streams.put(stream, answer, last=True), *_finished(ping, OK))
        if self.phase == OPENING:
            return None
        raise invalid("a session begins with initialize")

    def _check_room(self, more: int) -> None:
        limits, full = self._limits, ""
        if self.in_flight >= limits.in_flight:
            full = f"the limit of {counted(limits.in_flight, 'call')} in flight is reached"
        elif self._held.messages and self._held.size + more > limits.stdin_bytes:
            until = "answer initialize" if self.phase == OPENING else "be started"
            full = (
                f"{self._held.size} bytes wait for the server to {until} and the limit is {limits.stdin_bytes} "
                "(stdin_bytes)"
            )
        if full:
            raise Rejection(429, SERVER_ERROR, full, headers=retry_after(1))

    def _on_notification(self, message: Notification) -> Effects:
        method = message.method
        if method == "notifications/cancelled":
            return self._on_cancelled(message.params)
        if self._policy.restricts and self._policy.denied(method):
            return (LogDebug("notification_denied"),)
        if self.phase == OPEN:
            return self._send_notification(message)
        if self.phase in (OPENING, REVIVING):
            return self._hold(message, len(method) + len(message.params))
        return (LogDebug("notification_without_session"),)

    def _send_notification(self, message: Notification) -> Effects:
        effect = self._to_server(message)
        if message.method == "notifications/initialized" and not self._server.ready:
            self._server.ready = True
            return (effect, *self._server.send_queued())
        return (effect,)

    def _on_cancelled(self, params: bytes) -> Effects:
        named, _ = read_cancelled(params)
        wire_id = self._pending.wire_ids.get(jsonrpc.canonical_id(named)) if named else None
        if wire_id is None or self._pending.by_wire_id[wire_id].method == "initialize":
            return (LogDebug("cancellation_unmatched"),)
        request = self._pending.remove(wire_id)
        stream = request.stream
        effects: list[Effect] = [*self._cancel(wire_id, params)]
        if stream.used or stream is self._streams.pipe:
            effects.extend(self._streams.end_if_done(stream))
        else:
            error = jsonrpc.error(request.client_id, REQUEST_CANCELLED, "Request cancelled")
            effects.extend(self._streams.put(stream, error, last=not stream.pending))
        return (*effects, *_finished(request, CANCELLED))

    def _cancel(self, wire_id: bytes, params: bytes) -> Effects:
        if self._listing.remove(wire_id):
            return ()
        if self.phase == OPEN:
            self._abandoned.add(wire_id)
            return (
                self._to_server(Notification("notifications/cancelled", cancelled_again(params, wire_id))),
            )
        # The request was not sent.
        self._held.remove(wire_id)
        return ()

    def _on_response(self, message: Response) -> Effects:
        if self.phase == OPENING:
            kept = Response(message.id, bytes(message.result), message.error)
            return self._hold(kept, len(kept.result) + len(kept.error))
        wire_id = jsonrpc.wire_id(message.id)
        request = self._server.requests.get(wire_id)
        if request is None:
            return (LogDebug("response_unmatched", ("client", message.id)),)
        # The client has guessed the id of a request that it did not receive.
        if self._server.requests.is_queued(wire_id):
            return (LogDebug("response_unmatched"),)
        self._server.requests.remove(wire_id)
        if self.phase != OPEN:
            return (LogDebug("response_without_server"),)
        return (self._to_server(Response(request.server_id, message.result, message.error)),)

    # ---- messages that are held until the server has answered `initialize`

    def _hold(self, message: Notification | Response, size: int) -> Effects:
        # These messages have no response that could name the limit.
        if not self._held.has_room(size):
            return (LogDebug("message_dropped_before_initialize"),)
        self._held.add(message, size)
        return ()

    def _send_held(self) -> Effects:
        effects: list[Effect] = []
        for message, token, _ in self._held.take():
            match message:
                case Request():
                    effects.extend(self._send_or_wait(message, token))
                case Notification():
                    effects.extend(self._send_notification(message))
                case Response():
                    effects.extend(self._on_response(message))
                case _:
                    assert_never(message)
        return tuple(effects)

    # ---- events from the client's streams

    def call_stream(self, queue: object, *, answers_only: bool = False) -> Stream:
        """Return the stream of a POST. With `answers_only` its client accepts JSON and no event stream."""
        return Stream(queue, listens=False, answers_only=answers_only)

    def on_listen(self, queue: object) -> tuple[Stream, Effects]:
        """Open a GET stream. Raises Rejection 409 at the limit."""
        stream = self._streams.listen(queue)
        return stream, self._server.send_queued()

    def on_resume(self, last_event_id: str, queue: object) -> tuple[Stream, Effects]:
        """Resume a stream after an event. Raises Rejection 400 for an unknown event id, 409 at the limit of streams."""
        stream, effects = self._streams.resume(last_event_id, queue)
        if stream.listens:
            return stream, (*effects, *self._server.send_queued())
        return stream, (*effects, *self._streams.end_if_done(stream))

    def on_events_start(self, stream: Stream) -> bytes:
        """Return the id of the priming event of a stream, nothing if it has none (SEP-1699)."""
        return self._streams.on_events_start(stream, self.version)

    def end_if_done(self, stream: Stream) -> Effects:
        """End the stream of a POST if all its requests have their responses."""
        return self._streams.end_if_done(stream)

    def on_stream_closed(self, stream: Stream, queue: object, *, begun: bool = True) -> None:
        """Handle the end of the connection of a stream. Later events are stored for a client that resumes.

        A client that has left before the stream has `begun` has no event id, so no event is stored for it.
        """
        if self._streams.disconnect(stream, queue, begun=begun) and not stream.key:
            self._pending.callers.pop(stream, None)

    # ---- events from the server

    def on_server_message(self, message: Message, about: bytes = b"") -> Effects:
        """Handle a message of the server. `about` is the wire id of the request that it belongs to, where that is known."""
        if type(message) is Response:
            return self._on_child_response(message)
        request = self._pending.by_wire_id.get(about) if about else None
        stream = None if request is None or request.stream.answers_only else request.stream
        if type(message) is Notification:
            if self._policy.content is not None:
                return self._on_checked_notification(self._policy.content, message, stream)
            return self._server.on_notification(message, stream)
        assert type(message) is Request  # noqa: S101 - the union has three members
        if self._policy.content is not None:
            checked = self._policy.content.on_server_request(message)
            if isinstance(checked, Response):
                return (self._to_server(checked),)
            message = checked
        return self._server.on_request(message, stream, is_open=self.phase == OPEN)

    def _on_checked_notification(
        self, content: ContentPolicy, message: Notification, stream: Stream | None
    ) -> Effects:
        if message.method == "notifications/tools/list_changed":
            self._tools.clear()
        checked = content.on_notification(message)
        if checked is None:
            return (LogDebug("notification_refused"),)
        return self._server.on_notification(checked, stream)

    def on_server_start(self) -> Effects:
        """Handle the start of a process: one that replaces another gets `initialize` as the client has sent it."""
        if self.phase != REVIVING:
            return ()
        self._replayed_id = b"%d" % next(self._ids)
        return (ToChild(jsonrpc.request(self._replayed_id, "initialize", self._replay.initialize)),)

    def on_server_exit(self, text: str, data: dict[str, object]) -> Effects:
        """Handle the exit of the process, or a failed start. Requests in flight fail with the reason, none is repeated."""
        if self.phase == ENDED:
            return ()
        self._advance(_EXIT)
        self._held.clear()
        self._replayed_id = b""
        self._pending.clear_tasks()
        self._server.requests.clear()
        self._listing.clear()
        # Another process may have other tools.
        self._tools.clear()
        return self._fail(tuple(self._pending.by_wire_id), text, data)

    def on_calls_lost(self, wire_ids: Iterable[bytes], text: str, data: dict[str, object]) -> Effects:
        """Handle the loss of these requests by the shared server process. The session continues."""
        lost = (*wire_ids, *self._listing.clear())
        self._tools.clear()
        return self._fail(tuple(one for one in lost if one in self._pending.by_wire_id), text, data)

    def close(self, text: str) -> Effects:
        """End the session: requests in flight fail, and all streams end."""
        if self.phase == ENDED:
            return ()
        failed = self._fail(tuple(self._pending.by_wire_id), text, {"reason": "session ended"})
        self.phase = ENDED
        streams = [*self._streams.close(), *self._pending.callers]
        self._pending.callers.clear()
        self._server.requests.clear_queue()
        return (*failed, *(EndStream(stream.queue) for stream in streams if stream.queue is not None))

    def _on_child_response(self, message: Response) -> Effects:
        wire_id = message.id
        pending = self._pending
        if wire_id not in pending.by_wire_id:
            return self._on_unmatched(message)
        request = pending.remove(wire_id)
        if self._policy.guard is not None and request.method in GUARDED:
            message = self._policy.guard.on_list(request.method, message)
        if self._policy.restricts:
            message = self._policy.answer(request.method, message, self._limits)
        if self._policy.content is not None:
            message = self._policy.content.on_response(self._tools, request.method, request.name, message)
        if request.method == "initialize":
            self._on_initialized(message)
        elif request.token and request.method == "tools/call" and task_of(message.result):
            pending.on_task(request)
        effects = self._answer(request, message)
        return (*effects, *self._after_initialize(message)) if request.method == "initialize" else effects

    def _answer(self, request: PendingRequest, message: Response) -> Effects:
        stream = request.stream
        text = jsonrpc.response(request.client_id, message)
        effects: Effects = self._streams.put(stream, text, last=not stream.pending)
        if request.since is not None:
            counts = self._recorder.counts
            if counts is not None:
                counts.on_response(request.method, request.name, request.since, message)
            else:
                effects = (*effects, *_finished(request, outcome_of(request.method, message)))
        return effects

    def _on_unmatched(self, message: Response) -> Effects:
        wire_id = message.id
        if wire_id == self._replayed_id:
            return self._on_replayed(message)
        if wire_id == self._listing.listing_id and self.phase == OPEN:
            return self._on_tools(message)
        if self._abandoned.take(wire_id) or self.phase == ENDED:
            return (LogDebug("response_not_awaited"),)
        return (LogDebug("response_unmatched", ("server", wire_id)),)

    def _on_initialized(self, message: Response) -> None:
        if not message.result:
            self._advance(_FAILED)
            return
        try:
            self._server.version = read_version(message.result)
        except Rejection:
            self._server.version = DEFAULT_REVISION
        self._advance(_ACCEPTED)
        self._replay.record_result(message.result)

    def _after_initialize(self, message: Response) -> Effects:
        if self.phase == OPEN:
            if self._pending.timeouts.limited:
                self._pending.start_timeouts()
            return self._send_held()
        self._replay.clear()
        text = initialize_refused(message.error)
        return self._fail(self._held.clear(), text, {"reason": "initialize refused"})

    def _on_replayed(self, message: Response) -> Effects:
        self._replayed_id = b""
        if message.error:
            text = f"the server was restarted and refused to initialize: {read_fault(message.error).message}"
            return self.on_server_exit(text, {"reason": "initialize refused"})
        self._advance(_ACCEPTED)
        lines = [jsonrpc.notification("notifications/initialized", b"")] if self._server.ready else []
        lines += self._replay.requests(self._own_id)
        requests = self._server.send_queued(notifications=False)
        held = self._send_held()
        missed = [
            effect for text in self._replay.missed() for effect in self._server.put_or_queue(None, text)
        ]
        return (*map(ToChild, lines), *held, *missed, *requests)

    # ---- time

    def on_tick(self, now: float, new_id: Callable[[], str] = no_id) -> Effects:
        """Handle the passing of time: enforce all time limits. `now` is in seconds on any steady clock.

        `new_id` returns the correlation id of the error of a call that took too long.
        """
        self._server.requests.on_tick(now)
        if self.phase in (OPENING, REVIVING):
            self._opening_since = self._opening_since or now
            limit = self._limits.start_seconds
            if now - self._opening_since > limit:
                return (KillProcess(initialize_late(limit)),)
        else:
            self._opening_since = 0.0
        effects: list[Effect] = [*self._server.refuse_expired()]
        timeouts = self._pending.timeouts
        if timeouts.limited:
            if self._server.requests.excuse_calls():
                timeouts.restart_idle(now)
            for wire_id, how in timeouts.on_tick(now):
                effects.extend(self._time_out(wire_id, f"the call {how}", new_id))
        return tuple(effects)

    def _time_out(self, wire_id: bytes, text: str, new_id: Callable[[], str]) -> Effects:
        request = self._pending.remove(wire_id)
        error = jsonrpc.error(request.client_id, TIMEOUT, text, timeout_data(new_id))
        return (
            *self._cancel(wire_id, json_object.write({"reason": text})),
            *self._streams.put(request.stream, error, last=not request.stream.pending),
            *_finished(request, failed_with(TIMEOUT)),
        )

    # ---- helpers

    def _advance(self, event: str) -> None:
        self.phase = _NEXT.get((self.phase, event), self.phase)

    def _own_id(self) -> bytes:
        return self._abandoned.add(b"%d" % next(self._ids))

    def _fail(self, wire_ids: tuple[bytes, ...], text: str, data: dict[str, object]) -> Effects:
        if self._held.messages:
            wire_ids = self._with_held(wire_ids)
        effects: list[Effect] = []
        for wire_id in wire_ids:
            request = self._pending.remove(wire_id)
            error = jsonrpc.error(request.client_id, SERVER_ERROR, text, data)
            effects.extend(self._streams.put(request.stream, error, last=not request.stream.pending))
            effects.extend(_finished(request, failed_with(SERVER_ERROR)))
        return tuple(effects)

    def _with_held(self, wire_ids: tuple[bytes, ...]) -> tuple[bytes, ...]:
        # Requests that wait for the answer to `initialize` fail with it.
        if any(self._pending.by_wire_id[wire_id].method == "initialize" for wire_id in wire_ids):
            self._advance(_FAILED)
            return tuple(dict.fromkeys((*wire_ids, *self._held.clear())))
        for wire_id in wire_ids:
            self._held.remove(wire_id)
        return wire_ids


def _finished(request: PendingRequest, outcome: str) -> Effects:
    if request.since is None:
        return ()
    return (RequestFinished(request.client_id, request.method, request.name, request.since, outcome),)


def _as_line(message: Message) -> ToChild:
    return ToChild(jsonrpc.line(message))
