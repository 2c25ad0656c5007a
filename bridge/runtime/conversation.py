"""Connect the pure `LegacySession` to the streams of its client and to a process, its own or one that is shared.

A translator translates where the server speaks the modern era. Each event is processed in the task that brings it, without
`await`, so that no task waits for a lock or a queue.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol, assert_never

import trio

from ...transports import client_process
from ...transports.correlation import MEMBER, data_of, id_of, new_id
from ...transports.ports import ServerConnection
from ...transports.send_queue import SendQueue, forwards, transport_of
from ...transports.server_io import OnLine, ignore
from ...validators import jsonrpc
from ...validators.jsonrpc import Message, Notification, Request, Response
from ...validators.limits import Limits
from ...validators.mcp_params import read_name
from ...validators.rejection import SERVER_ERROR, Rejection
from ..core import legacy_session
from ..core.access_policy import AccessPolicy
from ..core.call_metrics import Recorder
from ..core.client_environment import ClientEnvironment
from ..core.effects import (
    EndStream,
    EraMismatch,
    LogDebug,
    RequestFinished,
    ServerRequestRefused,
    StartProcess,
    ToChild,
    ToClient,
    ToServer,
    ToUpstream,
    Translator,
    Unassigned,
)
from ..core.era_trial import OVER, EraTrial, Exited, Failure, TimedOut, Verdict
from ..core.event_store import Stream
from ..core.legacy_session import KillProcess, LegacySession
from ..core.link import Link, LinkEffect, StartTimer
from ..core.request_rates import ServerGuard
from .link_owner import LinkOwner
from .pace import SessionProcess
from .process_owner import ProcessOwner, send_line
from .routes import LegacyRoute, ModernRoute, error_of
from .server_log import DENIALS, SHOWN_SESSION, TIMED_OUT, ServerLog
from .session_log import SessionLog
from .session_streams import SessionStreams
from .shared_process import SharedProcess
from .taps import Sender
from .tasks import stopping

_CANCELLED: Final = "notifications/cancelled"
# The first request to a client has a random number below this.
_QUESTIONS: Final = 2**31

Effects = tuple[legacy_session.Effect | LinkEffect, ...]
# The effects that a call without a translator does not have.
_RareEffect = (
    ToUpstream
    | ToServer
    | EndStream
    | StartProcess
    | KillProcess
    | StartTimer
    | EraMismatch
    | ServerRequestRefused
    | Unassigned
    | LogDebug
)

if TYPE_CHECKING:
    from .message_gate import MessageGate


class SessionHooks(Protocol):
    """The server, as a session uses it."""

    @property
    def guard(self) -> ServerGuard:
        """The rates of requests to the server."""
        ...

    def start_process(self, conversation: "LocalConversation") -> None:
        """Start another process."""
        ...

    def on_end(self, conversation: "LocalConversation", *, unanswered: float) -> None:
        """Remove the session. Called once, when it has ended.

        `unanswered` is for how long its process had not answered `initialize` then (seconds).
        """
        ...

    def call_later(
        self, conversation: "LocalConversation", /, seconds: float, call: Callable[[], None]
    ) -> None:
        """Call a function after this time (seconds)."""
        ...

    def on_handshake(self, conversation: "LocalConversation", *, opened: bool) -> None:
        """Record the response to `initialize` of a server whose eras are not known. `resolve_era` follows an error."""
        ...

    def on_start_timeout(
        self, owner: "LocalConversation | SharedProcess", /, text: str
    ) -> tuple[str, dict[str, object]]:
        """Record a failed start with this reason. Return the text and the data of the error."""
        ...

    def on_era_mismatch(self, text: str) -> None:
        """Drop the facts about eras, because a process speaks another one."""
        ...

    def find_upstream(
        self, conversation: "LocalConversation", route: ModernRoute, capabilities: bytes
    ) -> None:
        """Find the process for these capabilities. `join` or `refuse` of the route follows."""
        ...

    def find_shared(self, conversation: "LocalConversation") -> SharedProcess | None:
        """Return the process that the session shares, None where the server speaks the modern era. Raises Rejection."""
        ...


class LocalConversation(LinkOwner[SessionProcess]):
    """The session of one client (transports.ports.Conversation).

    With `ids` the session shares a process with others (`routes`). Otherwise it has a process of its own (ProcessOwner).
    """

    error_code = SERVER_ERROR

    def __init__(
        self,
        principal: str,
        limits: Limits,
        *,
        pipe: SendQueue | None,
        hooks: SessionHooks,
        server_log: ServerLog,
        policy: AccessPolicy,
        client_environment: ClientEnvironment,
        ids: Iterator[int] | None = None,
    ) -> None:
        self.id = secrets.token_urlsafe(32)
        self.principal = principal
        self.client_environment = client_environment
        self.caller = client_process.stream()
        self.ended = False
        # The reason why no request is accepted any more; empty until then.
        self.draining = ""
        self._limits = limits
        self._hooks = hooks
        self._log = SessionLog(server_log, principal, self.id)
        self._session = _session_of(limits, pipe, policy, ids, server_log.recorder)
        self._link: Link[legacy_session.Effect, Translator] = Link(self._session, limits)
        self._trial = EraTrial(OVER)
        self._streams = SessionStreams(limits, self._log, pipe)
        self._process = SessionProcess(self._streams.backlog)
        # The way to a process that it shares. None for a process of its own, and after the end.
        self._route: LegacyRoute | ModernRoute | None = None
        if ids is not None:
            self._route = LegacyRoute(self, partial(hooks.find_shared, self))
        reader = self._reader(limits, server_log)
        # Reads a line of the process (ProcessOwner). Replaced by `end`, because the reader refers to this object.
        self.on_line: OnLine = reader.on_line

    # ---- ports.Conversation

    @property
    def version(self) -> str:
        """The negotiated revision (ports.Conversation)."""
        return self._session.version

    @property
    def busy(self) -> bool:
        """Whether a call is in flight or a stream is open (session_table.Busy)."""
        return bool(self._session.in_flight) or self._session.has_stream

    @property
    def calling(self) -> bool:
        """Whether a call is in flight."""
        return bool(self._session.in_flight)

    @property
    def received(self) -> int:
        """How many messages of the client were received (session_table.Busy)."""
        return self._session.received

    @property
    def in_flight(self) -> int:
        """The number of calls in flight."""
        return self._session.in_flight

    @property
    def client_info(self) -> bytes:
        """The clientInfo of the client (JSON); empty without one."""
        return self._session.client_info

    def sender(self, wire_id: bytes) -> Sender:  # noqa: ARG002 - the process has one client (ProcessOwner)
        """Return the client of the session (ProcessOwner)."""
        return Sender(self.principal, self.id, self.client_info)

    @property
    def transport(self) -> str:
        """The transport of the client: http, sse, websocket or pipe."""
        return transport_of(self._streams.pipe, otherwise="sse")

    @property
    def process_owner(self) -> ProcessOwner | None:
        """The owner of the process that serves the session; None before a shared process is found."""
        return self._route.owner if self._route is not None else self

    def receive(
        self, message: Message, queue: SendQueue | None, headers: Mapping[str, str] | None = None
    ) -> None:
        """Process a message of the client (ports.Conversation). Raises Rejection."""
        since: float | None = None
        if isinstance(message, Request):
            server_log = self._log.server_log
            if server_log.records_ends:
                since = server_log.begin(message.params, headers) if server_log.reads_traces else monotonic()
            if self.draining:
                raise self._log.refuse(message, since, stopping(self.draining))
            if self._hooks.guard.on:
                self._check_rates(message, since)
            server_log.calls += 1
        stream: Stream | None = None
        if queue is not None:
            if isinstance(queue.context, Stream):
                stream = queue.context
            else:
                stream = self._session.call_stream(queue, answers_only=queue.answers_only)
                queue.context = stream
            if queue.client is None:
                queue.bind(self._streams.backlog)
        elif self._streams.backlog.full and type(message) is Notification and message.method == _CANCELLED:
            # Otherwise the response to the cancellation would wait behind what it ends.
            self._streams.backlog.extend()
        try:
            gate = self._log.server_log.gate
            if gate is not None:
                message = self._checked(message, gate)
            effects = self._session.on_client_message(message, stream, since)
        except Rejection as rejection:
            if isinstance(message, Request):
                self._log.count_errors()
                self._log.refuse(message, since, rejection)
            raise
        self._perform(effects if self._link.translator is None else self._link.through(effects))

    def _checked(self, message: Message, gate: "MessageGate") -> Message:
        """Return the message that the session gets. Raises Rejection for one that does not fit its schema."""
        return gate.from_client(
            message,
            self._session.revision_of(message),
            answered=self._session.method_answered(message) if isinstance(message, Response) else "",
            principal=self.principal,
            session=self.id[:SHOWN_SESSION],
        )

    def _check_rates(self, message: Request, since: float | None) -> None:
        # The request that opened the session was counted before its process was started.
        if message.method == "initialize" and self._session.phase == legacy_session.NEW:
            return
        guard, pipe = self._hooks.guard, self._streams.pipe
        tool = read_name(message.params) if guard.reads_tools and message.method == "tools/call" else None
        try:
            guard.take(self.principal, self.transport, tool, monotonic(), forwarded=forwards(pipe))
        except Rejection as rejection:
            self._log.server_log.refused()
            raise self._log.refuse(message, since, rejection) from None

    def refuse(self, message: Request, rejection: Rejection, queue: SendQueue | None) -> None:
        """Send an error for one message of a batch (ports.Conversation)."""
        since = monotonic() if self._log.server_log.records_ends else None
        self._log.refuse(message, since, rejection)
        if rejection.reason not in DENIALS:
            self._log.failed(id_of(rejection), rejection.text)
        self._streams.enqueue(
            queue, jsonrpc.error(message.id, rejection.code, rejection.text, data_of(rejection))
        )

    def listen(self, queue: SendQueue) -> None:
        """Open a stream for messages that belong to no request (ports.Conversation)."""
        queue.context, effects = self._session.on_listen(queue)
        queue.bind(self._streams.backlog, pauses=False)
        self._perform(self._link.through(effects))

    def resume(self, last_event_id: str, queue: SendQueue) -> None:
        """Continue an interrupted stream (ports.Conversation)."""
        stream, effects = self._session.on_resume(last_event_id, queue)
        queue.context = stream
        queue.bind(self._streams.backlog, pauses=not stream.listens)
        queue.replaying = True
        self._perform(self._link.through(effects))
        queue.replaying = False

    def begin_events(self, queue: SendQueue) -> bytes:
        """Return the id of the first event of a stream, empty for none (ports.Conversation)."""
        stream = _stream_of(queue)
        event_id = self._session.on_events_start(stream)
        # All messages of a batch may have been refused.
        self._perform(self._session.end_if_done(stream))
        return event_id

    def close_queue(self, queue: SendQueue, *, begun: bool = True) -> None:
        """Detach a stream whose connection is closed (ports.Conversation)."""
        self._session.on_stream_closed(_stream_of(queue), queue, begun=begun)

    def end(self, reason: str) -> None:
        """End the session and stop its process (ports.Conversation)."""
        if self.ended:
            return
        self.ended = True
        unanswered = self._session.unanswered_seconds(self._process.time(trio.current_time()))
        why = f"the session has ended: {reason}"
        self._streams.set_reason(why)
        self._perform(self._link.close(why))
        self._streams.close(self._streams.pipe)
        self._process.close()
        self.on_line = ignore
        route, self._route = self._route, None
        if route is not None:
            route.close()
        self._log.closed(reason)
        self.caller.end()
        self._hooks.on_end(self, unanswered=unanswered)

    def not_opened(self, reason: str) -> None:
        """End a session for which no process could be started. Its client receives the reason, and may try again."""
        self._streams.keep_open()
        self.end(reason)

    # ---- ProcessOwner

    @property
    def era_unresolved(self) -> bool:
        """Whether it is not known that the server speaks a handshake revision."""
        return self._trial.unresolved

    @property
    def is_ordinary(self) -> bool:
        """Whether every server should accept the `initialize` of the client."""
        return self._session.is_ordinary

    @property
    def principals(self) -> tuple[str]:
        """The principal of the session."""
        return (self.principal,)

    @property
    def speaks_modern(self) -> bool:
        """Whether the process receives requests of the modern era."""
        return self._link.make is not None

    def expect(self, make: Callable[[], Translator] | None, trial: EraTrial) -> None:
        """Expect a modern server behind translators that `make` makes, or else a legacy one. `trial` shows which it is."""
        self._link.make, self._trial = make, trial

    def on_start(self, child: ServerConnection) -> None:
        """Use this process from now on."""
        self._process.child = child
        if self.ended:
            child.stop()
            return
        self._process.reads_on = bool(self.draining)
        self._process.update()
        self._perform(self._link.on_start())
        if opening := self._trial.take_opening():
            self._perform(self._link.through((ToChild(opening),)))

    def on_exit(self, text: str, data: dict[str, object]) -> None:
        """Fail what is in flight, because the process has exited."""
        if not self._is_held(self._trial.on_exit(text, data)):
            self.failed(text, data)

    def failed(self, text: str, data: dict[str, object]) -> None:
        """Fail what is in flight, because there is no process."""
        self._process.on_exit()
        lost = self._session.in_flight
        self._log.count_errors(lost)
        self._perform(self._link.on_server_exit(text, self._identified(text, data, lost)))
        if not self.version:
            self.end(text)

    def _identified(self, text: str, data: dict[str, object], lost: int) -> dict[str, object]:
        """Return the data of an error with its correlation id. An error without one is logged, if it fails any request."""
        if MEMBER in data or not lost:
            return data
        correlation_id = new_id()
        self._log.failed(correlation_id, text)
        return {**data, MEMBER: correlation_id}

    def discard(self, reason: str) -> None:
        """Stop the process as if it had exited. The next request starts another (ProcessOwner)."""
        self._process.discard()
        self.failed(reason, {"reason": "restarted"})

    def on_tick(self, now: float) -> None:
        """Apply the time limits. `now` is in seconds."""
        reason = self._streams.on_tick(now)
        if reason:
            self.end(reason)
            return
        # The limits of a server do not count while it is not read.
        self._perform(self._link.on_tick(self._process.time(now), self._new_timeout))

    def _new_timeout(self) -> str:
        """Return the correlation id of a call that took too long, and log the call."""
        correlation_id = new_id()
        self._log.failed(correlation_id, TIMED_OUT)
        return correlation_id

    # ---- the era of the server

    def resolve_era(self, make: Callable[[], Translator] | None) -> None:
        """Handle the failures that were held, or with `make` start again through a translator."""
        failures = self._trial.resolve(legacy=make is None)
        if make is None:
            for failure in failures:
                self._fail(failure)
            return
        self._process.discard()
        self._link.make = make

    def _fail(self, failure: Failure) -> None:
        match failure:
            case Response():
                self._from_server(failure)
            case Exited(text, data):
                self.failed(text, data)
            case TimedOut(text):
                self._kill_process(text)
            case _:
                assert_never(failure)

    def _is_held(self, verdict: Verdict) -> bool:
        """Report what the first handshake shows. Return whether the event waits for `resolve_era`."""
        if verdict in (Verdict.OPENED, Verdict.FAILED):
            self._hooks.on_handshake(self, opened=verdict is Verdict.OPENED)
        return verdict in (Verdict.FAILED, Verdict.HELD)

    def _kill_process(self, text: str) -> None:
        if self._is_held(self._trial.on_timeout(text)):
            return
        shared = self._route.process if self._route is not None else None
        text, data = self._hooks.on_start_timeout(self if shared is None else shared, text)
        self._process.discard(kill=True)
        self.failed(text, data)

    # ---- a process that others use as well (routes)

    def on_shared_message(self, message: Message, about: bytes) -> None:
        """Process a message of the shared process. `about` is the wire id of the request that it belongs to."""
        if type(message) is Response and message.error:
            self._log.count_errors()
        # As in `_from_server`.
        receiver = self._session if self._link.translator is None else self._link
        self._perform(receiver.on_server_message(message, about))

    def on_calls_lost(self, wire_ids: tuple[bytes, ...], text: str, data: dict[str, object]) -> None:
        """Fail these requests, because the shared process has exited."""
        self._log.count_errors(len(wire_ids))
        self._perform(
            self._session.on_calls_lost(wire_ids, text, self._identified(text, data, len(wire_ids)))
        )

    def translate_shared(self, make: Callable[[], Translator]) -> None:
        """Use a process of the modern era, and send it the `initialize` that has no response yet."""
        initialize = self._route.close() if isinstance(self._route, LegacyRoute) else None
        find = partial(self._hooks.find_upstream, self)
        self._route = ModernRoute(self, self._limits, self._streams.backlog, find)
        self._link.make = make
        self._perform(self._link.on_start())
        if initialize is not None:
            self._perform(self._link.through((ToUpstream(initialize),)))

    def detach(self) -> None:
        """Use another process for new requests. Responses of the current one are still received."""
        if self._route is not None:
            self._route.detach()

    def on_refused(self, message: Request, rejection: Rejection) -> None:
        """Fail a request that no shared process accepts (routes.ModernMember)."""
        self._log.count_errors()
        self._from_server(error_of(message, rejection))

    # ---- messages of the server, and effects

    def _from_server(self, message: Message) -> None:
        trial = self._trial
        if trial.phase != OVER and type(message) is Response and self._is_held(trial.on_response(message)):
            return
        if type(message) is Response and message.error and self._route is None:
            # Errors of a shared process are counted there.
            self._log.count_errors()
        # As the link does, without a call on the way of each response.
        receiver = self._session if self._link.translator is None else self._link
        about = b"" if type(message) is Response else self._process.related
        self._perform(receiver.on_server_message(message, about))

    def _perform(self, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, ToClient):
                queue = effect.queue
                if isinstance(queue, SendQueue) and not queue.enqueue(
                    effect.message, effect.event_id, last=effect.last
                ):
                    self._log.stream_closed(queue)
            elif isinstance(effect, ToChild):
                if self._trial.phase != OVER:
                    self._trial.on_sent(effect.line)
                reason = send_line(self._process.child, effect.line)
                if reason:
                    self._not_sent(jsonrpc.decode(effect.line, self._limits, deep=True), reason)
            elif isinstance(effect, RequestFinished):
                self._log.server_log.finish(effect, self.principal, self.id)
            elif isinstance(effect, ToUpstream) and self._route is not None:
                self._route.send(effect.message, effect.token)
            else:
                self._perform_rare(effect)

    def _perform_rare(self, effect: _RareEffect) -> None:
        match effect:
            case ToUpstream(message, token):
                self._send(message, token)
            case ToServer():
                self._send(effect.message)
            case EndStream(queue):
                self._streams.close(queue)
            case StartProcess():
                self._hooks.start_process(self)
            case KillProcess(text):
                self._kill_process(text)
            case StartTimer():
                self._hooks.call_later(self, effect.seconds, partial(self._on_timer, effect))
            case EraMismatch(text):
                # A shared process handles its own.
                if self._route is None:
                    self._hooks.on_era_mismatch(text)
            case LogDebug() | ServerRequestRefused() | Unassigned():
                self._log.log_debug(effect)
            case _:
                assert_never(effect)

    def _on_timer(self, timer: StartTimer) -> None:
        self._perform(self._link.on_timer(timer))

    def _send(self, message: Message, token: bytes = b"") -> None:
        if self._route is not None:
            self._route.send(message, token)
            return
        reason = send_line(self._process.child, jsonrpc.line(message))
        if reason:
            self._not_sent(message, reason)

    def _message_dropped(self, reason: str) -> None:
        self._log.message_dropped(reason)


def _session_of(
    limits: Limits,
    pipe: SendQueue | None,
    policy: AccessPolicy,
    ids: Iterator[int] | None,
    recorder: Recorder,
) -> LegacySession:
    return LegacySession(
        limits,
        lambda: secrets.token_hex(8),
        pipe,
        policy,
        ids=ids,
        # A late response of a client that has connected again must match no other request.
        first_request_id=1 + secrets.randbelow(_QUESTIONS),
        recorder=recorder,
    )


def _stream_of(queue: SendQueue) -> Stream:
    stream = queue.context
    assert isinstance(stream, Stream)  # noqa: S101 - the endpoint received or listened first
    return stream
