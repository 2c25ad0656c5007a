"""One legacy client's session with one child of its own: who asked what, and where each message belongs.

Pure: no await, no clock, no socket, no randomness. An event is a method call; it answers with the effects that the
shell must carry out, in their order, before the next event. Payloads pass through untouched (digest 8.0, P2); ids are
ours on the child's side and on the client's, so that neither can confuse the other.

Invariant I1: a message leaves only on a stream of this session.
Invariant I7: a wire id handed to the child ends in exactly one of: an answer, an error, a cancellation.
Invariant: what the child says is never an exception here, however wrong it is; what the client says may be refused.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Final, NamedTuple, cast

import msgspec

from ...validators import json_object, jsonrpc
from ...validators.jsonrpc import Message, Notification, Request, Response, invalid
from ...validators.limits import Limits
from ...validators.mcp_params import (
    PRIMING_SINCE,
    cancelled_again,
    read_cancelled,
    read_name,
    read_progress,
    read_request,
    read_uri,
    read_version,
)
from ...validators.rejection import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    SERVER_ERROR,
    TIMEOUT,
    Rejection,
)
from .abandoned_requests import AbandonedRequests
from .access_policy import EVERYTHING, AccessPolicy
from .call_timeouts import CallTimeouts
from .effects import CANCELLED, OK, LogDebug, RequestFinished, StartProcess, ToClient, failed_with
from .errors import fault_text, read_fault, without_stream
from .handshake import is_ordinary
from .tasks import task_of

# What Python's SDK says on its legacy wire to a caller who cancelled (digest 4.1).
REQUEST_CANCELLED: Final = -32800
# Methods in whose course a server may turn to its client (digest 8.1, R3).
_INTERACTIVE: Final = frozenset({"tools/call", "prompts/get", "resources/read", "completion/complete"})
# What a client is asked for, and the capability by which it says that it can answer. Since this revision nothing that was
# not negotiated may be used (digest 1.5).
_CAPABILITY: Final = {
    "roots/list": "roots",
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
}
_NEGOTIATED_SINCE: Final = "2025-06-18"
# Streams whose events are kept for a client that comes back.
_KEPT_STREAMS: Final = 64
# What a message that is held counts beside its method and payload, in bytes.
_ENVELOPE: Final = len('{"jsonrpc":"2.0","id":1,"method":"","params":}')
# How long, in seconds, a request of the child waits for a stream to be opened for it.
_PATIENCE: Final = 60.0
# And for how long a client that is asked may be the reason why a call shows no sign of life.
_HUMAN: Final = 600.0
_EVENT_ID: Final = re.compile(r"([0-9A-Za-z-]{1,32})_([0-9]{1,18})\Z")
_SWITCHED_OFF: Final = "notification_denied"
_NO_STREAM: Final = (
    "the client cannot be asked: a request of the server needs text/event-stream, the Accept header of the call allows "
    "application/json only (or the client has left), and the session has no GET stream"
)


class ToChild(msgspec.Struct, frozen=True):
    """Write this line to the child."""

    line: bytes


class ToUpstream(NamedTuple):
    """Pass this message to the shared server process. `token` is the raw progress token of a request."""

    message: Message
    token: bytes = b""


class EndStream(NamedTuple):
    """Nothing more will be put on this stream."""

    queue: object


class KillProcess(NamedTuple):
    """The child has not opened the session in time: end it, and say `child_lost` with this reason."""

    text: str


Effect = ToChild | ToUpstream | ToClient | EndStream | StartProcess | KillProcess | RequestFinished | LogDebug


# Its number in its stream, and its text.
_Event = tuple[int, bytes]
_no_events = cast("Callable[[], deque[_Event]]", deque)


class Stream(msgspec.Struct, eq=False):
    """One stream to the client, as the session knows it. `outlet` is None while no connection carries it.

    With `answers_only` it carries the answers to its requests and nothing else, and none of it is kept for a client that
    comes back: the client takes no event stream for this POST, or has left before it was sent the id of an event.
    """

    queue: object | None
    listens: bool
    answers_only: bool = False
    pending: int = 0
    seq: int = 0
    key: str = ""
    resumed: bool = False
    used: bool = False  # whether anything, or a priming event, was put on it
    backlog: deque[_Event] = msgspec.field(default_factory=_no_events)
    bytes: int = 0


class _Ask(msgspec.Struct, frozen=True):
    """A request of the client that the child has not answered."""

    client_id: bytes
    key: bytes  # its canonical spelling
    method: str
    stream: Stream
    token: bytes


class _Held(NamedTuple):
    """A message of the client that waits until the child has answered `initialize`: a request has its wire id."""

    message: Message
    token: bytes
    size: int


class _Question(NamedTuple):
    """A request of the child that the client has not answered."""

    child_id: bytes
    stream: Stream
    since: float


NEW: Final = "new"
OPENING: Final = "opening"
OPEN: Final = "open"
# The child is gone. The next request brings another one to life.
LOST: Final = "lost"
REVIVING: Final = "reviving"
ENDED: Final = "ended"


class LegacySession:
    """The state machine of one session.

    `pipe` is the one stream of a transport that has only one (HTTP+SSE, WebSocket); None means Streamable HTTP.
    `mint` makes the random key of a stream. With `reports_outcomes` each request ends with `RequestFinished`, which names it by the client's id.
    With `ids` the session shares a server process: wire ids come from there, and messages for the server are `ToUpstream`.
    Requests to the client are numbered from `first_request_id`.
    """

    def __init__(
        self,
        limits: Limits,
        mint: Callable[[], str],
        pipe: object | None = None,
        policy: AccessPolicy = EVERYTHING,
        *,
        reports_outcomes: bool = False,
        ids: Iterator[int] | None = None,
        first_request_id: int = 1,
    ) -> None:
        self._limits = limits
        self._reports_outcomes = reports_outcomes
        self._shared = ids is not None
        self._mint = mint
        self._pipe = Stream(pipe, listens=True) if pipe is not None else None
        self.phase = NEW
        self.version = ""
        self._ready = False  # the client has said notifications/initialized
        self._ids = count(1) if ids is None else ids
        self._asks: dict[bytes, _Ask] = {}
        self._abandoned = AbandonedRequests()
        self._timeouts = CallTimeouts(limits)
        self._policy = policy
        self._wire_ids: dict[bytes, bytes] = {}
        self._tokens: dict[bytes, bytes] = {}
        self._task_tokens: dict[bytes, None] = {}  # of calls that go on as tasks after their answer
        self._questions: dict[bytes, _Question] = {}
        self._question_ids: dict[bytes, bytes] = {}
        self._next_question = first_request_id
        self._listeners: list[Stream] = []
        # The streams of calls in flight, without those that carry answers only.
        self._callers: list[Stream] = []
        # Whether the client has ever opened a stream for what belongs to no request.
        self._has_listened = False
        self._kept: dict[str, Stream] = {}
        self._kept_bytes = 0
        # What belongs to no request and found no stream: (message, wire id of a question or nothing, when).
        self._unsent: deque[tuple[bytes, bytes, float]] = deque()
        self._unsent_bytes = 0
        self._declared: frozenset[str] = frozenset()  # the capabilities of the client
        # What must be said again to another child: DESIGN section 8, digest 2.3.
        self._initialize = b""
        self._level = b""
        self._subscriptions: dict[str, None] = {}
        self._announced: tuple[
            str, ...
        ] = ()  # how the server has said that it reports_outcomes of changed lists
        self._revival = b""
        # In the client's order. Requests in it are in `_asks` as well; `_released` or `_fail` removes them.
        self._held: list[_Held] = []
        self._held_bytes = 0
        self._now = 0.0
        self._opening_since = 0.0

    # ---- what the shell asks

    @property
    def in_flight(self) -> int:
        """How many requests of the client wait for an answer."""
        return len(self._asks)

    @property
    def has_stream(self) -> bool:
        """Whether the client holds a stream open."""
        return bool(self._listeners) or self._pipe is not None

    @property
    def is_ordinary(self) -> bool:
        """Whether every server should accept the client's `initialize`."""
        return is_ordinary(self._initialize)

    # ---- events from the client

    def on_client_message(self, message: Message, stream: Stream | None) -> Iterable[Effect]:
        """A message of the client. Raises Rejection."""
        if self.phase == ENDED:
            raise Rejection(404, -32001, "this session is over")
        if type(message) is Request:
            stream = stream or self._pipe
            if stream is None:
                raise invalid("a request needs a stream for its answer")
            return self._asked(message, stream)
        if type(message) is Notification:
            return self._notified(message)
        assert type(message) is Response  # noqa: S101 - the union has three members
        return self._client_answered(message)

    def _check_policy(self, method: str, params: bytes) -> None:
        if self._policy.denied(method):
            raise self._policy.refusal(method, 200)
        if method == "tools/call":
            self._policy.check(read_name(params))

    def _asked(self, message: Request, stream: Stream) -> Iterable[Effect]:
        method = message.method
        if self.phase in (NEW, OPENING) or method == "initialize":
            early = self._before_open(message, stream)
            if early is not None:
                return early
        if self._held or len(self._asks) >= self._limits.in_flight:
            self._check_room(len(message.params))
        client_id = jsonrpc.canonical_id(message.id)
        if client_id in self._wire_ids:
            raise invalid("this id is in use by a request in flight")
        token = read_request(method, message.params, self._limits)
        if self._policy.restricts:
            self._check_policy(method, message.params)
        wire_id = b"%d" % next(self._ids)
        self._asks[wire_id] = _Ask(message.id, client_id, method, stream, token)
        if self._timeouts.limited and self.phase != OPENING:  # or else it begins when the child gets it
            self._timeouts.add(wire_id)
        self._wire_ids[client_id] = wire_id
        if token:
            self._tokens.setdefault(_canonical(token), wire_id)
            self._task_tokens.pop(_canonical(token), None)
        if not stream.pending and stream is not self._pipe and not stream.answers_only:
            self._callers.append(stream)
        stream.pending += 1
        if method in _REMEMBERED:
            self._remember(method, message.params)
        params = self._initialize if method == "initialize" else message.params
        if self.phase == OPEN or method == "initialize":
            if self._shared:
                return (ToUpstream(Request(wire_id, method, params), token),)
            return (ToChild(jsonrpc.request(wire_id, method, params)),)
        self._hold_back(Request(wire_id, method, params), len(method) + len(params), token)
        return self._revive()

    def _revive(self) -> Iterable[Effect]:
        if self.phase != LOST:
            return ()
        self.phase = REVIVING
        return (StartProcess(),)

    def _check_room(self, more: int) -> None:
        limits, full = self._limits, ""
        if len(self._asks) >= limits.in_flight:
            full = f"the limit of {limits.in_flight} calls in flight is reached"
        elif self._held and self._held_bytes + more > limits.stdin_bytes:
            until = "answer initialize" if self.phase == OPENING else "be started"
            full = (
                f"{self._held_bytes} bytes wait for the server to {until} and the limit is {limits.stdin_bytes} "
                "(stdin_bytes)"
            )
        if full:
            raise Rejection(429, SERVER_ERROR, full, headers=((b"Retry-After", b"1"),))

    def _before_open(self, message: Request, stream: Stream) -> Iterable[Effect] | None:
        if message.method == "initialize":
            if self.phase != NEW:
                raise invalid("this session is already initialized")
            if not json_object.is_small(message.params):
                raise Rejection(400, INVALID_PARAMS, f"initialize {json_object.TOO_LARGE}")
            read_version(message.params)
            self.phase = OPENING
            self._initialize = self._policy.opening(message.params)
            self._declared = frozenset(json_object.peek(json_object.peek(message.params).get("capabilities")))
            return None
        if message.method == "ping":
            answer = b'{"jsonrpc":"2.0","id":%b,"result":{}}' % message.id
            return (*self._put(stream, answer, last=True), *self._done(message.id, OK))
        if self.phase == OPENING:
            return None
        raise invalid("a session begins with initialize")

    # ---- what the client sends while the child has not answered `initialize`

    def _hold_back(self, message: Message, size: int, token: bytes = b"") -> None:
        size += _ENVELOPE
        self._held.append(_Held(message, token, size))
        self._held_bytes += size

    def _hold_back_unasked(self, message: Notification | Response, size: int) -> Iterable[Effect]:
        # These have no answer that could name the limit.
        limits = self._limits
        if self._held_bytes + size > limits.stdin_bytes or len(self._held) >= limits.stream_messages:
            return (LogDebug("message_dropped_before_initialize"),)
        self._hold_back(message, size)
        return ()

    def _released(self) -> list[Effect]:
        """Return what was held, in the client's order, as the child gets it now."""
        held, self._held, self._held_bytes = self._held, [], 0
        effects: list[Effect] = []
        for message, token, _ in held:
            if type(message) is Request:
                effects.append(ToUpstream(message, token) if self._shared else self._order(message))
            elif type(message) is Notification:
                effects.extend(self._pass_on(message))
            else:
                assert type(message) is Response  # noqa: S101 - the union has three members
                effects.extend(self._client_answered(message))
        return effects

    def _drop_held(self) -> tuple[bytes, ...]:
        """Forget what was held, and return the wire ids of the requests in it."""
        held, self._held, self._held_bytes = self._held, [], 0
        return tuple(one.message.id for one in held if type(one.message) is Request)

    def _remember(self, method: str, params: bytes) -> None:
        if method == "logging/setLevel":
            self._level = params
            return
        # The URI alone, whose length is limited: whatever else is in the params was for that one request.
        uri = read_uri(params)
        if method == "resources/unsubscribe":
            self._subscriptions.pop(uri, None)
        elif uri and len(self._subscriptions) < self._limits.stream_messages:
            self._subscriptions[uri] = None

    def _notified(self, message: Notification) -> Iterable[Effect]:
        method = message.method
        if method == "notifications/cancelled":
            return self._client_cancelled(message.params)
        if self._policy.restricts and self._policy.denied(method):
            return (LogDebug(_SWITCHED_OFF),)
        if self.phase == OPEN:
            return self._pass_on(message)
        if self.phase in (OPENING, REVIVING):
            return self._hold_back_unasked(message, len(method) + len(message.params))
        return (LogDebug("notification_without_session"),)

    def _pass_on(self, message: Notification) -> Iterable[Effect]:
        method = message.method
        line = self._order(message)
        if method == "notifications/initialized" and not self._ready:
            self._ready = True
            return [line, *self._flush_unsent()]
        return (line,)

    def _client_cancelled(self, params: bytes) -> Iterable[Effect]:
        named, _ = read_cancelled(params)
        wire_id = self._wire_ids.get(_canonical(named)) if named else None
        if wire_id is None or self._asks[wire_id].method == "initialize":
            return (LogDebug("cancellation_unmatched"),)
        ask = self._settle(wire_id)
        effects = self._take_back(wire_id, params)
        if ask.stream.used or ask.stream is self._pipe:
            effects.extend(self.end_if_done(ask.stream))
        else:  # HTTP must answer something
            error = jsonrpc.error(ask.client_id, REQUEST_CANCELLED, "Request cancelled")
            effects.extend(self._put(ask.stream, error, last=not ask.stream.pending))
        effects.extend(self._done(ask.client_id, CANCELLED))
        return effects

    def _take_back(self, wire_id: bytes, params: bytes) -> list[Effect]:
        if self.phase == OPEN:
            self._abandoned.add(wire_id)
            return [self._order(Notification("notifications/cancelled", cancelled_again(params, wire_id)))]
        # Never written to a child, so there is nothing to take back.
        self._unhold_request(wire_id)
        return []

    def _unhold_request(self, wire_id: bytes) -> None:
        kept = [one for one in self._held if type(one.message) is not Request or one.message.id != wire_id]
        self._held, self._held_bytes = kept, sum(one.size for one in kept)

    def _client_answered(self, message: Response) -> Iterable[Effect]:
        if self.phase == OPENING:
            kept = Response(message.id, bytes(message.result), message.error)
            return self._hold_back_unasked(kept, len(kept.result) + len(kept.error))
        wire_id = jsonrpc.wire_id(message.id)
        question = self._questions.get(wire_id)
        if question is None:
            return (LogDebug("response_unmatched", ("client", message.id)),)
        if self._is_held(wire_id):  # what was not sent yet can only be guessed
            return (LogDebug("response_unmatched"),)
        self._forget_question(wire_id)
        if self.phase != OPEN:
            return (LogDebug("response_without_server"),)
        return (self._order(Response(question.child_id, message.result, message.error)),)

    # ---- events from the client's streams

    def call_stream(self, queue: object, *, answers_only: bool = False) -> Stream:
        """Return the stream of a POST. With `answers_only` its client takes JSON and no event stream."""
        return Stream(queue, listens=False, answers_only=answers_only)

    def on_listen(self, queue: object) -> tuple[Stream, Iterable[Effect]]:
        """The client opens a stream for what belongs to no request. Raises Rejection 409."""
        self._refuse_more_listeners()
        stream = Stream(queue, listens=True)
        self._has_listened = True
        self._listeners.append(stream)
        return stream, self._flush_unsent()

    def on_resume(self, last_event_id: str, queue: object) -> tuple[Stream, Iterable[Effect]]:
        """The client comes back for the rest of a stream. Raises Rejection 400 for an id that we never gave."""
        match = _EVENT_ID.match(last_event_id)
        stream = self._kept.get(match[1]) if match else None
        if match is None or stream is None:
            raise Rejection(400, INVALID_REQUEST, "Last-Event-ID is not the id of an event of this session")
        seen = int(match[2])
        effects: list[Effect] = []
        if stream.queue is not None:
            effects.append(EndStream(stream.queue))
        elif stream.listens:
            self._refuse_more_listeners()
        if stream.listens and stream not in self._listeners:
            self._listeners.append(stream)
        stream.queue = queue
        stream.resumed = True  # the client has an event id; the one before the first would set it back
        effects.extend(
            ToClient(queue, message, self._event_id(stream, seq))
            for seq, message in stream.backlog
            if seq > seen
        )
        if stream.listens:
            effects.extend(self._flush_unsent())
        else:
            effects.extend(self.end_if_done(stream))
        return stream, effects

    def on_events_start(self, stream: Stream) -> bytes:
        """The stream's events go out as such. Answers the id of a priming event where the revision knows one."""
        stream.used = True
        if self._pipe is not None or self.version < PRIMING_SINCE or stream.resumed or stream.answers_only:
            return b""
        self._keep(stream)
        return self._event_id(stream, 0)

    def on_stream_closed(self, stream: Stream, queue: object, *, begun: bool = True) -> None:
        """The connection under a stream is gone. What the stream still gets is kept for a client that comes back.

        A client that has left before the stream was `begun` has no event id, so nothing is kept for it.
        """
        if stream.queue is not queue:
            return  # another connection has taken over
        stream.queue = None
        if not begun and not stream.resumed:
            self._forget(stream)
        if stream in self._listeners:
            self._listeners.remove(stream)
        if not stream.key and stream in self._callers:
            self._callers.remove(stream)

    def _forget(self, stream: Stream) -> None:
        stream.answers_only = True
        if self._kept.pop(stream.key, None) is not None:
            self._kept_bytes -= stream.bytes
        stream.key, stream.bytes = "", 0
        stream.backlog.clear()

    def _refuse_more_listeners(self) -> None:
        limit = self._limits.streams_per_session
        if len(self._listeners) >= limit:
            raise Rejection(409, INVALID_REQUEST, f"the limit of {limit} streams of one session is reached")

    # ---- events from the child

    def on_child_message(self, message: Message, about: bytes = b"") -> Iterable[Effect]:
        """A message of the child. `about` is the wire id of the request that it belongs to, where that is known."""
        if type(message) is Response:
            return self._child_answered(message)
        ask = self._asks.get(about) if about else None
        stream = None if ask is None or ask.stream.answers_only else ask.stream
        if type(message) is Notification:
            return self._child_notified(message, stream)
        assert type(message) is Request  # noqa: S101 - the union has three members
        return self._child_asked(message, stream)

    def on_child_start(self) -> Iterable[Effect]:
        """Another child is there: open its session as the client did, then give it what was held."""
        self._revival = b"%d" % next(self._ids)
        return (ToChild(jsonrpc.request(self._revival, "initialize", self._initialize)),)

    def on_child_exit(self, text: str, data: dict[str, object]) -> Iterable[Effect]:
        """The child is gone, or could not be started. Everything in flight fails with the reason, nothing is replayed."""
        if self.phase == ENDED:
            return ()
        if self.phase in (OPEN, REVIVING):
            self.phase = LOST
        elif self.phase == OPENING:
            self.phase = ENDED
        self._drop_held()
        self._revival = b""
        self._task_tokens.clear()
        for wire_id in tuple(self._questions):
            self._forget_question(wire_id)
            self._unhold(wire_id)
        return self._fail(tuple(self._asks), text, data)

    def on_calls_lost(
        self, wire_ids: Iterable[bytes], text: str, data: dict[str, object]
    ) -> Iterable[Effect]:
        """The shared server process was lost with these requests. The session goes on."""
        return self._fail(tuple(one for one in wire_ids if one in self._asks), text, data)

    def close(self, text: str) -> Iterable[Effect]:
        """The session is over: what is in flight fails, every stream ends."""
        if self.phase == ENDED:
            return ()
        effects = list(self._fail(tuple(self._asks), text, {"reason": "session ended"}))
        self.phase = ENDED
        streams = [*self._listeners, *self._callers, *([self._pipe] if self._pipe else [])]
        effects.extend(EndStream(stream.queue) for stream in streams if stream.queue is not None)
        self._listeners.clear()
        self._callers.clear()
        self._kept.clear()
        self._unsent.clear()
        return effects

    def unanswered_seconds(self, now: float) -> float:
        """Return for how long the child has not answered `initialize` (seconds), 0 where it has or was not asked."""
        return now - self._opening_since if self._opening_since and self.phase in (OPENING, REVIVING) else 0.0

    def on_tick(self, now: float) -> Iterable[Effect]:
        """Time has passed (seconds on any steady clock): questions that no stream was opened for are given up."""
        if not self._now:  # the first look at the clock: what is held has been held since now
            self._unsent = deque((message, wire_id, now) for message, wire_id, _ in self._unsent)
            self._questions = {wire_id: one._replace(since=now) for wire_id, one in self._questions.items()}
        self._now = now
        if self.phase in (OPENING, REVIVING):
            self._opening_since = self._opening_since or now
            if now - self._opening_since > self._limits.start_seconds:
                return (
                    KillProcess(
                        f"the server did not answer initialize within {self._limits.start_seconds:g} s"
                    ),
                )
        else:
            self._opening_since = 0.0
        effects: list[Effect] = []
        late = [wire_id for _, wire_id, since in self._unsent if wire_id and now - since > _PATIENCE]
        for wire_id in late:
            self._unhold(wire_id)
            effects.extend(self._unanswerable(wire_id, f"no client stream within {_PATIENCE:g} s"))
        if self._timeouts.limited:
            if any(now - question.since < _HUMAN for question in self._questions.values()):
                self._timeouts.restart_idle(now)
            effects.extend(self._given_up(now))
        return effects

    def _given_up(self, now: float) -> Iterable[Effect]:
        for wire_id, how in self._timeouts.on_tick(now):
            text = f"the call {how}"
            ask = self._settle(wire_id)
            yield from self._take_back(wire_id, json_object.write({"reason": text}))
            error = jsonrpc.error(ask.client_id, TIMEOUT, text, {"reason": "timeout"})
            yield from self._put(ask.stream, error, last=not ask.stream.pending)
            yield from self._done(ask.client_id, failed_with(TIMEOUT))

    def _child_answered(self, message: Response) -> Iterable[Effect]:
        wire_id = message.id
        if wire_id not in self._asks:
            return self._unmatched(message)
        ask = self._settle(wire_id)
        if self._policy.restricts:
            message = self._policy.answer(ask.method, message, self._limits)
        if ask.method == "initialize":
            self._opened(message)
        elif ask.token and ask.method == "tools/call" and task_of(message.result):
            self._goes_on(ask)
        effects = self._put(ask.stream, jsonrpc.response(ask.client_id, message), last=not ask.stream.pending)
        if self._reports_outcomes:
            outcome = failed_with(read_fault(message.error).code) if message.error else OK
            effects = (*effects, RequestFinished(ask.client_id, outcome))
        return (*effects, *self._after_opening(message)) if ask.method == "initialize" else effects

    def _after_opening(self, message: Response) -> Iterable[Effect]:
        if self.phase == OPEN:
            if self._timeouts.limited:
                for wire_id in self._asks:
                    self._timeouts.add(wire_id)
            return self._released()
        self._level = b""
        self._subscriptions.clear()
        text = f"the server refused to initialize: {read_fault(message.error).message}"
        return self._fail(self._drop_held(), text, {"reason": "initialize refused"})

    def _unmatched(self, message: Response) -> Iterable[Effect]:
        if message.id == self._revival:
            return self._revived(message)
        if self._abandoned.take(message.id) or self.phase == ENDED:
            return (LogDebug("response_not_awaited"),)
        return (LogDebug("response_unmatched", ("server", message.id)),)

    def _goes_on(self, ask: _Ask) -> None:
        # A task keeps the progress token of its call (digest 1.14). Its end is nothing that we would notice.
        self._task_tokens[_canonical(ask.token)] = None
        if len(self._task_tokens) > self._limits.in_flight:
            del self._task_tokens[next(iter(self._task_tokens))]

    def _opened(self, message: Response) -> None:
        self.phase = NEW
        if message.result:
            try:
                self.version = read_version(message.result)
            except Rejection:
                self.version = (
                    "2025-03-26"  # a server that names none is spoken to as the first HTTP revision
                )
            self.phase = OPEN
            self._announced = _announced(message.result)

    def _revived(self, message: Response) -> Iterable[Effect]:
        self._revival = b""
        if message.error:
            text = f"the server was restarted and refused to initialize: {read_fault(message.error).message}"
            return self.on_child_exit(text, {"reason": "initialize refused"})
        self.phase = OPEN
        lines: list[bytes] = []
        if self._ready:
            lines.append(jsonrpc.notification("notifications/initialized", b""))
        if self._level:
            lines.append(jsonrpc.request(self._internal_id(), "logging/setLevel", self._level))
        lines.extend(
            jsonrpc.request(self._internal_id(), "resources/subscribe", json_object.write({"uri": uri}))
            for uri in self._subscriptions
        )
        requests = self._flush_unsent(requests_only=True)
        return [*map(ToChild, lines), *self._released(), *self._missed(), *requests]

    def _missed(self) -> Iterable[Effect]:
        # While no child was there nobody told of changes, and another one may have other lists (digest 8.3).
        for method in self._announced:
            yield from self._put_or_keep(None, jsonrpc.notification(method, b""))
        for uri in self._subscriptions:
            params = json_object.write({"uri": uri})
            yield from self._put_or_keep(
                None, jsonrpc.notification("notifications/resources/updated", params)
            )

    def _child_notified(self, message: Notification, stream: Stream | None) -> Iterable[Effect]:
        method = message.method
        if self._policy.restricts and self._policy.denied(method):
            return (LogDebug(_SWITCHED_OFF),)
        text = jsonrpc.notification(method, message.params)
        match method:
            case "notifications/progress":
                token = _canonical(read_progress(message.params))
                # Some servers write a number as a string. The official TypeScript client reads both as a number.
                wire_id = self._tokens.get(token) or self._tokens.get(jsonrpc.wire_id(token))
                if wire_id is None and token in self._task_tokens:
                    return self._put_or_keep(None, text)
                if wire_id is None:
                    return (LogDebug("progress_unmatched"),)
                if self._timeouts.limited:
                    self._timeouts.on_progress(wire_id)
                return self._put_progress(self._asks[wire_id].stream, text)
            case "notifications/cancelled":
                return self._child_cancelled(message.params)
            case "notifications/message":
                return self._put_or_keep(stream or self._caller(), text)
            case _:
                return self._put_or_keep(None, text)

    def _child_cancelled(self, params: bytes) -> Iterable[Effect]:
        named, _ = read_cancelled(params)
        wire_id = self._question_ids.get(_canonical(named))
        if wire_id is None:
            return (LogDebug("cancellation_unmatched"),)
        question = self._forget_question(wire_id)
        if self._is_held(wire_id):
            self._unhold(wire_id)
            return ()  # the client never saw it
        return self._put(
            question.stream,
            jsonrpc.notification("notifications/cancelled", cancelled_again(params, wire_id)),
        )

    def _child_asked(self, message: Request, stream: Stream | None) -> Iterable[Effect]:
        if message.method == "ping":
            return (self._order(Response(message.id, b"{}", b"")),)
        if self._policy.restricts and self._policy.denied(message.method):
            refusal = self._policy.refusal(message.method, 200)
            return self._refuse_child(message.id, refusal.text, refusal.code)
        if not self._may_ask(message.method):
            return self._refuse_child(
                message.id, f"the client does not support {message.method}", METHOD_NOT_FOUND
            )
        limit = self._limits.in_flight  # every call may have a question of its own
        if len(self._questions) >= limit:
            return self._refuse_child(message.id, f"the limit of {limit} requests to the client is reached")
        child_id = _canonical(message.id)
        if child_id in self._question_ids:
            return self._refuse_child(message.id, "this id is in use by a request in flight", INVALID_REQUEST)
        wire_id = b"%d" % self._next_question
        self._next_question += 1
        stream = stream or self._caller() or self._home()
        if stream is None:
            if self._is_answers_only():
                return (self._order(Response(message.id, b"", without_stream(_NO_STREAM))),)
            stream = Stream(None, listens=True)
        self._questions[wire_id] = _Question(message.id, stream, self._now)
        self._question_ids[child_id] = wire_id
        text = jsonrpc.request(wire_id, message.method, message.params)
        if not self._ready or self.phase != OPEN or (stream.queue is None and not stream.key):
            return self._hold(text, wire_id)
        return self._put(stream, text)

    def _is_answers_only(self) -> bool:
        # Whether a call that may have caused a request of the server is of a client that reads no stream, here or by GET.
        return not self._has_listened and any(
            ask.stream.answers_only and ask.method in _INTERACTIVE for ask in self._asks.values()
        )

    def _may_ask(self, method: str) -> bool:
        needed = _CAPABILITY.get(method)
        return needed is None or needed in self._declared or self.version < _NEGOTIATED_SINCE

    def _refuse_child(self, raw_id: bytes, text: str, code: int = SERVER_ERROR) -> Iterable[Effect]:
        return (self._order(Response(raw_id, b"", fault_text(code, text))),)

    def _order(self, message: Message) -> ToChild | ToUpstream:
        return ToUpstream(message) if self._shared else ToChild(jsonrpc.line(message))

    # ---- bookkeeping

    def _settle(self, wire_id: bytes) -> _Ask:
        ask = self._asks.pop(wire_id)
        if self._timeouts.limited:
            self._timeouts.remove(wire_id)
        del self._wire_ids[ask.key]
        if ask.token:
            token = _canonical(ask.token)
            if self._tokens.get(token) == wire_id:
                del self._tokens[token]
        stream = ask.stream
        stream.pending -= 1
        if not stream.pending and stream is not self._pipe and stream in self._callers:
            self._callers.remove(stream)
        return ask

    def _fail(self, wire_ids: tuple[bytes, ...], text: str, data: dict[str, object]) -> Iterable[Effect]:
        effects: list[Effect] = []
        if self._held:
            wire_ids = self._with_those_behind(wire_ids)
        for wire_id in wire_ids:
            ask = self._settle(wire_id)
            error = jsonrpc.error(ask.client_id, SERVER_ERROR, text, data)
            effects.extend(self._put(ask.stream, error, last=not ask.stream.pending))
            effects.extend(self._done(ask.client_id, failed_with(SERVER_ERROR)))
        return effects

    def _with_those_behind(self, wire_ids: tuple[bytes, ...]) -> tuple[bytes, ...]:
        # What waits for the answer to `initialize` fails with it.
        if any(self._asks[wire_id].method == "initialize" for wire_id in wire_ids):
            self.phase = NEW if self.phase == OPENING else self.phase
            return tuple(dict.fromkeys((*wire_ids, *self._drop_held())))
        for wire_id in wire_ids:
            self._unhold_request(wire_id)
        return wire_ids

    def _done(self, client_id: bytes, outcome: str) -> Iterable[Effect]:
        return (RequestFinished(client_id, outcome),) if self._reports_outcomes else ()

    def _internal_id(self) -> bytes:
        return self._abandoned.add(b"%d" % next(self._ids))

    def _caller(self) -> Stream | None:
        # R3: the one interactive call in flight; else the newest stream of a call (digest 8.1, 8.6).
        if self._pipe is not None:
            return self._pipe
        if len(self._callers) > 1:
            asking = {
                id(ask.stream): ask.stream
                for ask in self._asks.values()
                if ask.method in _INTERACTIVE
                and not ask.stream.answers_only
                and (ask.stream.queue is not None or ask.stream.key)
            }
            if len(asking) == 1:
                return next(iter(asking.values()))
        return self._callers[-1] if self._callers else None

    def _home(self) -> Stream | None:
        if self._pipe is not None:
            return self._pipe
        return self._listeners[-1] if self._listeners else None

    # ---- putting messages on streams

    def _put(self, stream: Stream, text: bytes, *, last: bool = False) -> Iterable[Effect]:
        queue = stream.queue
        if stream is self._pipe:
            return (ToClient(queue, text),)
        if (last and not stream.used and not stream.listens) or stream.answers_only:
            # The whole answer and nothing before it: it can go out as JSON, and there is no event to come back for.
            if queue is None:
                return ()
            return (ToClient(queue, text, b"", last),)
        stream.used = True
        self._keep(stream)
        stream.seq += 1
        stream.backlog.append((stream.seq, text))
        stream.bytes += len(text)
        self._kept_bytes += len(text)
        self._shrink()
        if queue is None:
            return ()
        return (ToClient(queue, text, self._event_id(stream, stream.seq), last),)

    def end_if_done(self, stream: Stream) -> Iterable[Effect]:
        """The end of the stream of a call, where no answer is awaited on it any more."""
        if stream is self._pipe or stream.listens or stream.pending or stream.queue is None:
            return ()
        return (EndStream(stream.queue),)

    def _put_progress(self, stream: Stream, text: bytes) -> Iterable[Effect]:
        if stream.answers_only:
            home = self._home()
            if home is None:
                return (LogDebug("progress_without_stream"),)
            stream = home
        return self._put(stream, text)

    def _put_or_keep(self, stream: Stream | None, text: bytes) -> Iterable[Effect]:
        stream = stream or self._home()
        if stream is None:
            return self._hold(text, b"")
        return self._put(stream, text)

    def _hold(self, text: bytes, wire_id: bytes) -> Iterable[Effect]:
        self._unsent.append((text, wire_id, self._now))
        self._unsent_bytes += len(text)
        effects: list[Effect] = []
        while len(self._unsent) > self._limits.stream_messages or (
            self._unsent_bytes > self._limits.stream_bytes and len(self._unsent) > 1
        ):
            dropped, question, _ = self._unsent.popleft()
            self._unsent_bytes -= len(dropped)
            effects.extend(self._unanswerable(question, "too much waits for the client") if question else ())
        return effects

    def _is_held(self, wire_id: bytes) -> bool:
        return any(held == wire_id for _, held, _ in self._unsent)

    def _unhold(self, wire_id: bytes) -> None:
        self._unsent = deque(entry for entry in self._unsent if entry[1] != wire_id)
        self._unsent_bytes = sum(len(text) for text, _, _ in self._unsent)

    def _forget_question(self, wire_id: bytes) -> _Question:
        question = self._questions.pop(wire_id)
        del self._question_ids[_canonical(question.child_id)]
        return question

    def _unanswerable(self, wire_id: bytes, text: str) -> Iterable[Effect]:
        return self._refuse_child(self._forget_question(wire_id).child_id, text, INTERNAL_ERROR)

    def _flush_unsent(self, *, requests_only: bool = False) -> Iterable[Effect]:
        home = self._home()
        effects: list[Effect] = []
        if home is None:
            home = self._caller()
        if home is None:
            return effects
        waiting, self._unsent, self._unsent_bytes = self._unsent, deque(), 0
        for text, wire_id, since in waiting:
            if not self._ready if wire_id else requests_only:
                self._unsent.append((text, wire_id, since))
                self._unsent_bytes += len(text)
                continue
            if wire_id:
                question = self._questions[wire_id]
                self._questions[wire_id] = question._replace(stream=home)
            effects.extend(self._put(home, text))
        return effects

    # ---- keeping events for a client that comes back

    def _keep(self, stream: Stream) -> None:
        if stream.key:
            return
        stream.key = self._mint()
        self._kept[stream.key] = stream
        if len(self._kept) > _KEPT_STREAMS:
            self._forget_one()

    def _shrink(self) -> None:
        while self._kept_bytes > self._limits.replay_bytes and self._forget_one():
            pass

    def _forget_one(self) -> bool:
        # The oldest stream that is over goes first, a call's before one that the client will listen on again; then the
        # oldest event of any other.
        over = [key for key, stream in self._kept.items() if stream.queue is None and not stream.pending]
        if over:
            key = next((key for key in over if not self._kept[key].listens), over[0])
            self._kept_bytes -= self._kept.pop(key).bytes
            return True
        for stream in self._kept.values():
            if stream.backlog:
                _, text = stream.backlog.popleft()
                stream.bytes -= len(text)
                self._kept_bytes -= len(text)
                return True
        return False

    def _event_id(self, stream: Stream, seq: int) -> bytes:
        return b"%b_%d" % (stream.key.encode("ascii"), seq)


_REMEMBERED: Final = frozenset({"logging/setLevel", "resources/subscribe", "resources/unsubscribe"})
_canonical = jsonrpc.canonical_id


def _announced(result: bytes | msgspec.Raw) -> tuple[str, ...]:
    offered = json_object.peek(json_object.peek(result).get("capabilities"))
    return tuple(
        f"notifications/{name}/list_changed"
        for name in ("tools", "prompts", "resources")
        if bytes(json_object.peek(offered.get(name)).get("listChanged", b"")) == b"true"
    )
