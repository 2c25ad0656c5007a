"""Connect the pure `LegacySession` to the streams of its client and to a process, its own or one that is shared.

An adapter translates where the server speaks the modern era. Each event is processed in the task that brings it, without
`await`, so that no task waits for a lock or a queue.
"""

import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol, assert_never

import trio

from ...transports import client_process
from ...transports.ports import Log
from ...transports.process.child import Child
from ...transports.send_queue import Backlog, SendQueue
from ...validators import json_object, jsonrpc
from ...validators.jsonrpc import Message, Notification, Request, Response
from ...validators.limits import Limits
from ...validators.mcp_params import LEGACY_NAMED, read_cancelled
from ...validators.rejection import SERVER_ERROR, Rejection
from ...validators.stateless_request import read_envelope
from ..core import effects as orders
from ..core.access_policy import AccessPolicy
from ..core.attribution import Client
from ..core.client_environment import ClientEnvironment
from ..core.effects import (
    EndStream,
    EraMismatch,
    LogDebug,
    RequestFinished,
    SetTimer,
    StartProcess,
    ToChild,
    ToClient,
    ToRequester,
    ToServer,
    ToUpstream,
    Translator,
    failed_with,
)
from ..core.era_trial import OVER, EraTrial, Exited, Failure, TimedOut, Verdict
from ..core.errors import fault_text
from ..core.event_store import Stream
from ..core.front import Front
from ..core.legacy_session import (
    REVIVING,
    Effect,
    KillProcess,
    LegacySession,
)
from ..core.requests import ClientRequest
from .message_reader import INVALID_RESPONSE, MessageReader
from .multiplexed_process import MultiplexedProcess
from .pace import SessionProcess
from .process_owner import send_line
from .server_log import Call, ServerLog
from .shared_process import SharedProcess
from .tasks import stopping

_CANCELLED: Final = "notifications/cancelled"
# The first request to a client has a random number below this.
_QUESTIONS: Final = 2**31


class SessionHooks(Protocol):
    """What a session needs of its server."""

    def start_process(self, conversation: "LocalConversation") -> None:
        """Start another process."""
        ...

    def on_end(self, conversation: "LocalConversation") -> None:
        """Remove the session. Called once, when it has ended."""
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

    def find_upstream(self, conversation: "LocalConversation", capabilities: bytes) -> None:
        """Find the process for these capabilities. `join` or `on_no_upstream` follows."""
        ...

    def find_shared(self, conversation: "LocalConversation") -> SharedProcess | None:
        """Return the process that the session shares, None where the server speaks the modern era. Raises Rejection."""
        ...


class LocalConversation:
    """The session of one client (transports.ports.Conversation).

    With `ids` the session shares a process (`SharedProcess`).
    """

    def __init__(
        self,
        principal: str,
        limits: Limits,
        log: Log,
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
        # The client that a shared process sees. The server sets it for the aggregate.
        self.client = Client("")
        self._limits = limits
        self._log = log
        self._policy = policy
        self._session = LegacySession(
            limits,
            lambda: secrets.token_hex(8),
            pipe,
            policy,
            reports_outcomes=server_log.log_calls,
            ids=ids,
            # A late response of a client that has connected again must match no other request.
            first_request_id=1 + secrets.randbelow(_QUESTIONS),
        )
        # The requests that will end with `RequestFinished`, by their ids.
        self._open: dict[bytes, Call] = {}
        self._pipe = pipe
        # What the client has still to read, over all its streams. A process of its own is paused at the limit.
        self.backlog = (pipe.client if pipe is not None else None) or Backlog(limits)
        if pipe is not None:
            pipe.bind(self.backlog)
        # How many messages that `backlog` has refused are in the log.
        self._lost = 0
        self._hooks = hooks
        self._server_log = server_log
        self._process = SessionProcess(self.backlog)
        self.on_line = MessageReader(
            limits, log, self._from_server, self._on_invalid_line
        ).on_line  # ProcessOwner
        self.ended = False
        self._begun = True
        # For how long its process had not answered `initialize` when the session ended (seconds).
        self.unanswered = 0.0
        # The reason why no request is accepted any more; empty until then.
        self.draining = ""
        self.make: Callable[[], Translator] | None = None
        self._trial = EraTrial(OVER)
        self._translator: Translator | None = None
        self._shared: SendQueue | None = None
        self._upstream: MultiplexedProcess | None = None
        self._waiting: deque[Message] = deque()
        # The shared processes that may still send a message for the session, the one for its next request last.
        self._processes: dict[SharedProcess, Front] = {}
        self._shared_process: SharedProcess | None = None
        # Until a shared process has answered it.
        self._initialize: Request | None = None

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

    def receive(self, message: Message, queue: SendQueue | None) -> None:
        """Process a message of the client (ports.Conversation). Raises Rejection."""
        call: Call | None = None
        if isinstance(message, Request):
            if self._server_log.log_calls:
                call = self._call(message)
            if self.draining:
                raise self._log_rejection(call, stopping(self.draining))
            self._server_log.calls += 1
        stream: Stream | None = None
        if queue is not None:
            if isinstance(queue.context, Stream):
                stream = queue.context
            else:
                stream = self._session.call_stream(queue, answers_only=queue.answers_only)
                queue.context = stream
            if queue.client is None:
                queue.bind(self.backlog)
        elif self.backlog.full and type(message) is Notification and message.method == _CANCELLED:
            # Otherwise the response to the cancellation would wait behind what it ends.
            self.backlog.extend()
        try:
            effects = self._session.on_client_message(message, stream)
        except Rejection as rejection:
            self._server_log.errors += isinstance(message, Request)
            raise self._log_rejection(call, rejection) from None
        if call is not None:
            self._open[call.id] = call
        self._perform(effects)

    def _call(self, message: Request) -> Call:
        named = LEGACY_NAMED.get(message.method)
        name = json_object.string(json_object.peek(message.params).get(named)) if named else ""
        return Call(self.principal, self.id, message.id, message.method, name, trio.current_time())

    def _log_rejection(self, call: Call | None, rejection: Rejection) -> Rejection:
        if call is not None:
            self._server_log.done(call, failed_with(rejection.code))
        return rejection

    def refuse(self, message: Request, rejection: Rejection, queue: SendQueue | None) -> None:
        """Send an error for one message of a batch (ports.Conversation)."""
        if self._server_log.log_calls:
            self._log_rejection(self._call(message), rejection)
        stream = queue if queue is not None else self._pipe
        if stream is not None:
            stream.enqueue(jsonrpc.error(message.id, rejection.code, rejection.text))

    def listen(self, queue: SendQueue) -> None:
        """Open a stream for messages that belong to no request (ports.Conversation)."""
        queue.context, effects = self._session.on_listen(queue)
        queue.bind(self.backlog, pauses=False)
        self._perform(effects)

    def resume(self, last_event_id: str, queue: SendQueue) -> None:
        """Continue an interrupted stream (ports.Conversation)."""
        stream, effects = self._session.on_resume(last_event_id, queue)
        queue.context = stream
        queue.bind(self.backlog, pauses=not stream.listens)
        queue.replaying = True
        self._perform(effects)
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
        self.unanswered = self._session.unanswered_seconds(self._process.time(trio.current_time()))
        why = f"the session has ended: {reason}"
        if self._pipe is not None:
            self._pipe.close_reason = why
        self._perform(self._session.close(why))
        # Timers of the translator must send no request any more.
        self._translator = None
        if self._pipe is not None and self._begun:
            self._pipe.close()
        self._process.close()
        if self._shared is not None:
            self._shared.on_disconnect()
            if self._upstream is not None:
                self._upstream.on_disconnect(self._shared)
        for process, front in self._processes.items():
            process.leave(front)
        self._processes.clear()
        self._log.info("session_closed", session=self.id[:8], reason=reason)
        self.caller.end()
        self._hooks.on_end(self)

    def not_opened(self, reason: str) -> None:
        """End a session for which no process could be started. Its client receives the reason, and may try again."""
        self._begun = False
        self.end(reason)

    def expect(self, make: Callable[[], Translator] | None, trial: EraTrial | None = None) -> None:
        """Make a translator for each later process of a modern server, or none. `trial` finds out an era that is not certain."""
        self.make = make
        if trial is not None:
            self._trial = trial

    # ---- ProcessOwner

    @property
    def era_unresolved(self) -> bool:
        """Whether it is not known that the server speaks a handshake revision."""
        return self._trial.phase != OVER

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
        return self.make is not None

    def is_served_by(self, child: Child) -> bool:
        """Return whether this is the current process of the session."""
        return self._process.child is child

    def on_start(self, child: Child) -> None:
        """Use this process from now on."""
        self._process.child = child
        if self.ended:
            child.stop()
            return
        self._process.reads_on = bool(self.draining)
        self._process.update()
        self._translator = self.make() if self.make is not None else None
        opening = self._trial.take_opening()
        if opening:
            self._write(opening)
        elif self._session.phase == REVIVING:
            self._perform(self._session.on_server_start())

    def resolve_era(self, make: Callable[[], Translator] | None) -> None:
        """Process the deferred events, or with `make` start again through a translator."""
        failures = self._trial.resolve(legacy=make is None)
        if make is None:
            for failure in failures:
                self._fail(failure)
            return
        child = self._process.release()
        if child is not None:
            child.stop()
        self.make = make

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
        match verdict:
            case Verdict.HANDLE:
                return False
            case Verdict.OPENED:
                self._hooks.on_handshake(self, opened=True)
                return False
            case Verdict.FAILED:
                self._hooks.on_handshake(self, opened=False)
                return True
            case Verdict.HELD:
                return True
            case _:
                assert_never(verdict)

    def _from_server(self, message: Message) -> None:
        trial = self._trial
        if trial.phase != OVER and type(message) is Response and self._is_held(trial.on_response(message)):
            return
        if type(message) is Response and message.error and self._shared is None:
            # Errors of a shared upstream are counted there.
            self._server_log.errors += 1
        if self._translator is not None:
            self._translate(self._translator.from_server(message))
        else:
            self._perform(self._session.on_server_message(message))

    def _on_invalid_line(self, wire_id: bytes, text: str) -> None:
        self._from_server(Response(wire_id, b"", fault_text(SERVER_ERROR, text, INVALID_RESPONSE)))

    def on_exit(self, text: str, data: dict[str, object]) -> None:
        """Fail what is in flight, because the process has exited."""
        if not self._is_held(self._trial.on_exit(text, data)):
            self.failed(text, data)

    def failed(self, text: str, data: dict[str, object]) -> None:
        """Fail what is in flight, because there is no process."""
        self._translator = None
        self._process.on_exit()
        self._server_log.errors += self._session.in_flight
        self._perform(self._session.on_server_exit(text, data))
        if not self.version:
            self.end(text)

    def discard(self, reason: str) -> None:
        """Stop the process as if it had exited. The next request starts another (ProcessOwner)."""
        child = self._process.release()
        self.failed(reason, {"reason": "restarted"})
        if child is not None:
            child.stop()

    def on_tick(self, now: float) -> None:
        """Apply the time limits. `now` is in seconds."""
        if self.backlog.has_stalled(now):
            self.end(f"the client has not read for {self._limits.write_stall_seconds:g} s")
            return
        if self.backlog.dropped > self._lost:
            self._log.warning(
                "client_behind",
                session=self.id[:8],
                lost=self.backlog.dropped,
                unsent_bytes=self.backlog.at_most,
            )
            self._lost = self.backlog.dropped
        # The limits of a server do not count while it is not read.
        now = self._process.time(now)
        self._perform(self._session.on_tick(now))
        if self._translator is not None:
            self._translate(self._translator.on_tick(now))

    def read_on(self) -> None:
        """Read the process however much is unsent, because it is stopped after its responses."""
        self._process.read_on()

    # ---- a shared legacy process

    def on_shared_message(self, message: Message, about: bytes) -> None:
        """Process a message of the shared process. `about` is the wire id of the request that it belongs to."""
        if type(message) is Response:
            self._initialize = None
            if message.error:
                self._server_log.errors += 1
        self._perform(self._session.on_server_message(message, about))

    def calls_lost(self, wire_ids: tuple[bytes, ...], text: str, data: dict[str, object]) -> None:
        """Fail these requests, because the shared process has exited."""
        if not self.version:
            self.failed(text, data)
            return
        self._server_log.errors += len(wire_ids)
        self._perform(self._session.on_calls_lost(wire_ids, text, data))

    def translate_shared(self, make: Callable[[], Translator]) -> None:
        """Use an upstream of the modern era, and send it the `initialize` that has no response yet."""
        self._shared_process = None
        for process, front in self._processes.items():
            process.leave(front)
        self._processes.clear()
        self.make = make
        self.share_upstream()
        if self._initialize is not None:
            self._to_upstream(ToUpstream(self._initialize))

    def _to_upstream(self, effect: ToUpstream) -> None:
        message = effect.message
        if self._translator is not None:
            self._translate(self._translator.from_client(message))
        elif self.ended:
            return
        elif isinstance(message, Request):
            self._request_upstream(message, effect.token)
        elif isinstance(message, Notification) and message.method != "notifications/cancelled":
            if self._shared_process is not None and not self._shared_process.ended:
                self._shared_process.send(self._processes[self._shared_process], message)
        else:
            # It is about an id that only one of the processes has sent.
            for process, front in tuple(self._processes.items()):
                process.send(front, message)

    def _request_upstream(self, message: Request, token: bytes) -> None:
        if message.method == "initialize":
            self._initialize = message
        process = self._shared_process
        if process is None or process.ended:
            try:
                process = self._hooks.find_shared(self)
            except Rejection as rejection:
                fault = fault_text(rejection.code, rejection.text, rejection.data)
                self.on_shared_message(Response(message.id, b"", fault), b"")
                return
            if process is None:
                # `translate_shared` has sent `initialize`.
                if message.method != "initialize":
                    self.end("the server speaks another era since it was restarted")
                return
            self._join_process(process)
        process.send(self._processes[process], message, token)

    def _join_process(self, process: SharedProcess) -> None:
        front = Front(Client(self.id), self)
        before = next(reversed(self._processes.values()), None)
        if before is not None:
            front.follow(before)
        self._processes = {one: front for one, front in self._processes.items() if not one.ended}
        self._processes[process] = front
        self._shared_process = process
        process.join(front, self)

    # ---- an upstream of the modern era that others use as well

    def share_upstream(self) -> None:
        """Use a process that others use as well, through a translator."""
        self._shared = SendQueue(self._limits)
        self._shared.backlog = self.backlog
        self._shared.shortcut = self._on_shared_line
        self._shared.eager = True
        self._translator = self.make() if self.make is not None else None

    def _on_shared_line(self, text: bytes) -> bool:
        rest = self.on_line(text)
        if rest is not None:
            rest()
        return True

    def join(self, upstream: MultiplexedProcess) -> None:
        """Use this upstream, and send it what waits."""
        self._upstream = upstream
        # The session may have ended while the upstream was looked for.
        if self.ended:
            self._waiting.clear()
        while self._waiting:
            self._send_upstream(self._waiting.popleft())

    def detach(self) -> None:
        """Use another process for new requests. Responses of the current one are still received."""
        self._upstream = self._shared_process = None

    def on_no_upstream(self, rejection: Rejection) -> None:
        """Fail the requests that wait, because no upstream was found."""
        waiting, self._waiting = self._waiting, deque()
        for message in waiting:
            if isinstance(message, Request):
                self._refused(message, rejection)

    def _refused(self, message: Request, rejection: Rejection) -> None:
        self._server_log.errors += 1
        self._from_server(
            Response(message.id, b"", fault_text(rejection.code, rejection.text, rejection.data))
        )

    def _send_upstream(self, message: Message) -> None:
        upstream, queue = self._upstream, self._shared
        assert queue is not None  # noqa: S101 - `share_upstream` was called
        if self.ended:
            # An earlier effect has ended the session, and what that has closed must stay closed.
            return
        if upstream is None or upstream.ended:
            self._upstream = None
            if not self._waiting and not isinstance(message, Request):
                # It is about a request that has failed with its process.
                return
            self._waiting.append(message)
            if len(self._waiting) == 1 and isinstance(message, Request):
                read = read_envelope(message.method, message.params, self._limits)
                self._hooks.find_upstream(self, read.capabilities)
        elif isinstance(message, Request):
            try:
                read = read_envelope(message.method, message.params, self._limits)
                upstream.request(
                    ClientRequest(
                        self.principal,
                        message,
                        read,
                        None,
                        queue,
                        pipe=True,
                        policy=self._policy,
                        client=self.client,
                        caller=self.caller,
                    )
                )
            except Rejection as rejection:
                self._refused(message, rejection)
        elif isinstance(message, Notification) and message.method == "notifications/cancelled":
            upstream.cancel(queue, read_cancelled(message.params)[0], message.params)
        elif isinstance(message, Notification):
            upstream.notify(message, self.client)

    # ---- effects

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, ToClient):
                queue = effect.queue
                if isinstance(queue, SendQueue) and not queue.enqueue(
                    effect.message, effect.event_id, last=effect.last
                ):
                    self._log.warning(
                        "stream_closed",
                        reason="client behind",
                        session=self.id[:8],
                        bytes=queue.backlog.at_most if queue.backlog is not None else 0,
                    )
            elif isinstance(effect, ToChild):
                if self._translator is None and self._trial.phase == OVER:
                    self._send(effect.line)
                else:
                    self._write(effect.line)
            elif isinstance(effect, ToUpstream):
                self._to_upstream(effect)
            else:
                self._perform_rare(effect)

    def _perform_rare(
        self, effect: EndStream | StartProcess | KillProcess | RequestFinished | LogDebug
    ) -> None:
        if isinstance(effect, EndStream):
            if isinstance(effect.queue, SendQueue) and self._begun:
                effect.queue.close()
        elif isinstance(effect, StartProcess):
            self._hooks.start_process(self)
        elif isinstance(effect, KillProcess):
            self._kill_process(effect.text)
        elif isinstance(effect, RequestFinished):
            self._done(effect)
        else:
            self._log_debug(effect)

    def _translate(self, effects: orders.Effects) -> None:
        # Every effect is decided before the first is performed, because some lead to further events.
        for effect in tuple(effects):
            if isinstance(effect, ToServer):
                if self._shared is not None:
                    self._send_upstream(effect.message)
                else:
                    self._send(jsonrpc.line(effect.message))
            elif isinstance(effect, ToRequester):
                self._perform(self._session.on_server_message(effect.message, effect.about))
            elif isinstance(effect, SetTimer):
                self._call_back(effect)
            elif isinstance(effect, EraMismatch) and self._shared is None:
                # A shared upstream handles its own.
                self._hooks.on_era_mismatch(effect.text)
            elif isinstance(effect, LogDebug):
                self._log_debug(effect)

    def _log_debug(self, note: LogDebug) -> None:
        self._log.debug(note.event, session=self.id[:8])
        if note.unmatched is not None:
            self._server_log.unmatched(*note.unmatched)

    def _done(self, effect: RequestFinished) -> None:
        call = self._open.pop(effect.request, None) if isinstance(effect.request, bytes) else None
        if call is not None:
            self._server_log.done(call, effect.outcome)

    def _call_back(self, effect: SetTimer) -> None:
        translator = self._translator

        def on_timer() -> None:
            if translator is not None and translator is self._translator:
                self._translate(translator.on_timer(effect.timer))

        self._hooks.call_later(self, effect.seconds, on_timer)

    def _kill_process(self, text: str) -> None:
        if self._is_held(self._trial.on_timeout(text)):
            return
        text, data = self._hooks.on_start_timeout(
            self if self._shared_process is None else self._shared_process, text
        )
        child = self._process.release()
        self.failed(text, data)
        if child is not None:
            child.kill()

    def _write(self, line: bytes) -> None:
        self._trial.on_sent(line)
        if self._translator is not None:
            self._translate(self._translator.from_client(jsonrpc.decode(line, self._limits, deep=True)))
        else:
            self._send(line)

    def _send(self, line: bytes) -> None:
        reason = send_line(self._process.child, line)
        if reason:
            self._not_sent(jsonrpc.decode(line, self._limits, deep=True), reason)

    def _not_sent(self, message: Message, text: str) -> None:
        # No Rejection, because the request is in flight already and the message may be of another client.
        if isinstance(message, Request):
            self._from_server(Response(message.id, b"", fault_text(SERVER_ERROR, text)))
        else:
            self._log.warning("message_dropped", direction="to server", session=self.id[:8], reason=text)


def _stream_of(queue: SendQueue) -> Stream:
    stream = queue.context
    assert isinstance(stream, Stream)  # noqa: S101 - the endpoint received or listened first
    return stream
