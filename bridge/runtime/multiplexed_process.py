"""Connect the pure `Multiplexer` to stateless clients and to their process, through a translator if that is a legacy one.

Each event is processed in the task that brings it, without `await`. The first request starts the process, and so does the
first after its exit.
"""

from collections.abc import Callable, Iterable

from ...transports.ports import Log
from ...transports.process.child import Child
from ...transports.rate_limited_log import RateLimitedLog
from ...transports.send_queue import SendQueue
from ...validators import jsonrpc
from ...validators.jsonrpc import Message, Notification, Request, Response
from ...validators.limits import Limits
from ...validators.rejection import INTERNAL_ERROR, Rejection
from ..core import effects as orders
from ..core.attribution import Client, Origin
from ..core.client_environment import NOTHING, ClientEnvironment
from ..core.effects import (
    EraMismatch,
    LogDebug,
    RequestFinished,
    ServerRequestRefused,
    SetTimer,
    StartProcess,
    ToClient,
    ToRequester,
    ToServer,
    Unassigned,
    failed_with,
)
from ..core.errors import fault_text
from ..core.front import Front
from ..core.multiplexer import Effect, Multiplexer
from ..core.requests import ClientRequest
from ..eras.legacy_adapter import LegacyAdapter
from .message_reader import INVALID_RESPONSE, MessageReader
from .pace import StatelessProcess
from .process_owner import send_line
from .server_log import Call, ServerLog
from .shared_process import SharedProcess


def call_of(ask: ClientRequest) -> Call:
    """Return a stateless request as the access log shows it."""
    request = ask.request
    return Call(ask.principal, "", request.id, request.method, ask.envelope.name, ask.since or 0.0)


class MultiplexedProcess:
    """The clients of one key (`placement.Key`) and their process.

    `translator` makes the translator of a legacy process, and is None for a modern one. `start` starts the process, `later`
    calls a function after a time (seconds), `on_era_mismatch` replaces a process of another era. With `attach` the process is
    one that sessions share as well: it returns that and a translator, or raises Rejection.
    """

    def __init__(
        self,
        principal: str,
        limits: Limits,
        log: Log,
        multiplexer: Multiplexer,
        server_log: ServerLog,
        *,
        translator: Callable[[], LegacyAdapter] | None,
        start: Callable[["MultiplexedProcess"], None],
        later: Callable[["MultiplexedProcess", float, Callable[[], None]], None],
        on_era_mismatch: Callable[["MultiplexedProcess", str], None],
        client_environment: ClientEnvironment = NOTHING,
        attach: Callable[["MultiplexedProcess"], tuple[SharedProcess, LegacyAdapter]] | None = None,
    ) -> None:
        self.principal = principal
        self.client_environment = client_environment
        self.touched = 0.0
        self.ended = False
        self._limits = limits
        self._log = log
        self._refusals = RateLimitedLog(log)
        self._multiplexer = multiplexer
        self._server_log = server_log
        self._make = translator
        self._start = start
        self._later = later
        self._on_era_mismatch = on_era_mismatch
        self._translator: LegacyAdapter | None = None
        self._process = StatelessProcess(limits, multiplexer)
        self._attach = attach
        # Whether its process is one that legacy sessions share as well.
        self.attached = attach is not None
        self._shared: SharedProcess | None = None
        self._front: Front | None = None
        self.on_line = MessageReader(
            limits, log, self._from_server, self._on_invalid_line
        ).on_line  # ProcessOwner
        # Whether a request has come since the last `on_tick`.
        self._used = False
        # The principals whose requests the process has received, two at most; cleared when it exits (ProcessOwner).
        self.principals: set[str] = set()
        # Requests that are moved to another process, and by send queue the processes of those that were.
        self._moving: list[ClientRequest] = []
        self._moved: dict[object, list[MultiplexedProcess]] = {}

    @property
    def busy(self) -> bool:
        """Whether a client waits for a message of this process."""
        return (
            bool(self._multiplexer.in_flight or self._moving)
            or (self._translator is not None and self._translator.busy)
            or any(upstream.busy for upstreams in self._moved.values() for upstream in upstreams)
        )

    @property
    def speaks_modern(self) -> bool:
        """Whether the process receives requests of the modern era (ProcessOwner)."""
        return self._make is None

    @property
    def calling(self) -> bool:
        """Whether a call is in flight."""
        return bool(self._multiplexer.calling)

    @property
    def era_unresolved(self) -> bool:
        """Whether a failure may only mean that the server speaks another era (ProcessOwner)."""
        return False

    @property
    def is_ordinary(self) -> bool:
        """Whether every server should accept its `initialize` (ProcessOwner)."""
        return True

    # ---- clients

    def request(self, asked: ClientRequest) -> None:
        """Send a request. Its response, and what belongs to it, go to its send queue. Raises Rejection."""
        self._used = True
        effects = self._multiplexer.on_request(asked)
        self._process.bind(asked)
        # Only whether there is more than one counts.
        if len(self.principals) < 2:
            self.principals.add(asked.principal)
        self._perform(effects)
        if self._process.behind:
            self._process.update()

    def start(self) -> None:
        """Start the process before a request needs it."""
        self._perform(self._multiplexer.start_process())

    def on_disconnect(self, queue: object) -> None:
        """Cancel the requests of a send queue whose client has disconnected."""
        self._moving = [asked for asked in self._moving if asked.queue is not queue]
        for upstream in self._moved.pop(queue, ()):
            upstream.on_disconnect(queue)
        self._process.extend(queue)
        self._perform(self._multiplexer.on_disconnect(queue))

    def cancel(self, queue: object, raw_id: bytes, params: bytes = b"") -> None:
        """Cancel one request of a client. `params` are those of its notification, if it has sent one."""
        self._moving = [asked for asked in self._moving if (asked.queue, asked.request.id) != (queue, raw_id)]
        for upstream in self._moved.get(queue, ()):
            upstream.cancel(queue, raw_id, params)
        self._process.extend(queue)
        self._perform(self._multiplexer.on_cancelled(queue, raw_id, params=params))

    def notify(self, message: Notification, client: Client) -> None:  # noqa: ARG002 - a subclass names the client
        """Send a notification of a client."""
        self._used = True
        self._perform(self._multiplexer.on_notification(message))

    def on_permissions_changed(self, principal: str) -> None:
        """End what a principal has open, because its permissions have changed."""
        self._perform(self._multiplexer.on_permissions_changed(principal))

    def read_on(self) -> None:
        """Read the process although a client is behind, because it is stopped after its responses (ProcessOwner)."""
        self._process.read_on()

    # ---- ProcessOwner

    def is_served_by(self, child: Child) -> bool:
        """Return whether this is the current process."""
        return self._process.child is child

    def on_start(self, child: Child) -> None:
        """Use this process from now on."""
        self._process.child = child
        if self.ended:
            child.stop()
            return
        self._process.update()
        if self._make is not None:
            self._translator = self._make()
            self._translate(self._translator.on_start())
        self._perform(self._multiplexer.on_server_start())

    # ---- a process that legacy sessions share (shared_members.Stateless)

    def _join(self, attach: Callable[["MultiplexedProcess"], tuple[SharedProcess, LegacyAdapter]]) -> None:
        try:
            shared, self._translator = attach(self)
        except Rejection as rejection:
            self.failed(rejection.text, rejection.data or {"reason": "not started"})
            return
        self._shared = shared
        self._front = Front(Client(""), self._translator, translated=True)
        shared.join_stateless(self._front, self)
        self._perform(self._multiplexer.on_server_start())

    def _leave_shared(self) -> None:
        shared, front = self._shared, self._front
        self._shared = self._front = None
        if shared is not None and front is not None:
            shared.leave(front)

    def on_shared_message(self, message: Message, about: bytes) -> None:  # noqa: ARG002 - the translator has it
        """Process a message of the shared process."""
        self._from_server(message)

    def calls_lost(self, wire_ids: tuple[bytes, ...], text: str, data: dict[str, object]) -> None:  # noqa: ARG002
        """Fail what is in flight, because the shared process has exited or has refused `initialize`."""
        self.failed(text, data)

    def shared_opened(self, result: bytes) -> None:
        """Process the result of `initialize` of the shared process."""
        if self._translator is not None:
            self._translate(self._translator.opened(result))

    def assigned(self, message: Request, origin: Origin) -> None:
        """Process a request of the shared process that belongs to this call."""
        if self._translator is not None:
            self._translate(self._translator.assigned(message, origin))

    def undeclared(self, message: Request, origin: Origin) -> None:
        """Note that a request of the shared process was refused, because the client of this call has not declared it."""
        if self._translator is not None:
            self._translator.undeclared(message, origin)

    def _on_invalid_line(self, wire_id: bytes, text: str) -> None:
        self._from_server(Response(wire_id, b"", fault_text(INTERNAL_ERROR, text, INVALID_RESPONSE)))

    def on_exit(self, text: str, data: dict[str, object]) -> None:
        """Fail what is in flight, because the process has exited."""
        self.failed(text, data)

    def failed(self, text: str, data: dict[str, object]) -> None:
        """Fail what is in flight, because there is no process."""
        self._lose_translator()
        self._process.release()
        self._leave_shared()
        self._process.on_exit()
        self._server_log.errors += self._multiplexer.calling
        self._perform(self._multiplexer.on_server_exit(text, data))
        self.principals.clear()

    # ---- requests that were sent to a server of another era

    def withdraw(self) -> None:
        """Withdraw the requests that the process has not received, for `next_moving`."""
        self._lose_translator()
        self._moving = self._multiplexer.remove_requests()

    def next_moving(self) -> ClientRequest | None:
        """Return a request that waits for another process, None if there is none."""
        return self._moving[0] if self._moving else None

    def move(self, asked: ClientRequest, upstream: "MultiplexedProcess | None") -> None:
        """Note which process has received a request that waited."""
        self._moving.remove(asked)
        if upstream is not None:
            self._moved.setdefault(asked.queue, []).append(upstream)

    def refuse(self, asked: ClientRequest, rejection: Rejection) -> None:
        """Send an error for a request that no other process accepts."""
        self._moving.remove(asked)
        self._server_log.errors += 1
        error = jsonrpc.error(asked.request.id, rejection.code, rejection.text, rejection.data)
        self._perform([ToClient(asked.queue, error, last=not asked.pipe, status=rejection.status)])
        if asked.since is not None:
            self._server_log.done(call_of(asked), failed_with(rejection.code))

    def not_opened(self, text: str, data: dict[str, object]) -> None:
        """Stop a process that has not opened its session, and fail what is in flight."""
        child = self._process.child
        self.failed(text, data)
        if child is not None:
            child.stop()

    def on_tick(self, now: float) -> None:
        """Apply the time limits. `now` is in seconds."""
        if self.busy or self._used:
            self.touched, self._used = now, False
        if not self.busy:
            self._process.drop_idle()
        # The limits of a server do not count while it is not read.
        now = self._process.time(now)
        self._perform(self._multiplexer.on_tick(now))
        if self._translator is not None:
            self._translate(self._translator.on_tick(now))

    def discard(self, reason: str) -> None:
        """End, because another process serves the next request (ProcessOwner)."""
        self.end(reason)

    def end(self, reason: str) -> None:
        """Close the subscriptions in order, fail what is in flight, and stop the process."""
        if self.ended:
            return
        self.ended = True
        self._lose_translator()
        self._leave_shared()
        self._perform(self._multiplexer.close(reason))
        self._process.close()

    def _lose_translator(self) -> None:
        if self._translator is not None:
            self._translate(self._translator.on_exit())
        self._translator = None

    # ---- effects

    def _from_server(self, message: Message) -> None:
        if type(message) is Response and message.error:
            self._count_error()
        if self._translator is not None:
            self._translate(self._translator.from_server(message))
        else:
            self._perform(self._multiplexer.on_server_message(message))

    def _count_error(self) -> None:
        # For an error of `initialize` the requests that fail with it are counted instead.
        if self._translator is None or not self._translator.opening:
            self._server_log.errors += 1

    def _perform(self, effects: Iterable[Effect]) -> None:
        # Every effect is decided before the first is performed, because some lead to further events.
        for effect in tuple(effects):
            if isinstance(effect, ToClient):
                self._put(effect)
            elif isinstance(effect, ToServer):
                if self._translator is not None:
                    self._translate(self._translator.from_client(effect.message, effect.request))
                else:
                    self._write(effect.message)
            elif isinstance(effect, StartProcess):
                if self._attach is not None:
                    self._join(self._attach)
                else:
                    self._start(self)
            elif isinstance(effect, EraMismatch):
                self._on_era_mismatch(self, effect.text)
            elif isinstance(effect, RequestFinished):
                if isinstance(effect.request, ClientRequest):
                    self._server_log.done(call_of(effect.request), effect.outcome)
            else:
                self._log_debug(effect)

    def _translate(self, effects: orders.Effects) -> None:
        for effect in tuple(effects):
            if isinstance(effect, ToServer):
                self._write(effect.message)
            elif isinstance(effect, ToRequester):
                self._perform(self._multiplexer.on_server_message(effect.message, effect.about))
            elif isinstance(effect, SetTimer):
                self._call_back(effect)
            elif isinstance(effect, EraMismatch):
                self._on_era_mismatch(self, effect.text)
            elif isinstance(effect, Unassigned):
                if self._shared is not None:
                    self._shared.unassigned(effect.message, effect.client)
            elif isinstance(effect, ServerRequestRefused):
                self._refusals.info("server_request_refused", method=effect.method, reason=effect.reason)
            else:
                self._log_debug(effect)

    def _log_debug(self, note: LogDebug) -> None:
        self._log.debug(note.event)
        if note.unmatched is not None:
            self._server_log.unmatched(*note.unmatched)

    def _call_back(self, effect: SetTimer) -> None:
        translator = self._translator

        def on_timer() -> None:
            if translator is not None and translator is self._translator:
                self._translate(translator.on_timer(effect.timer))

        self._later(self, effect.seconds, on_timer)

    def _put(self, effect: ToClient) -> None:
        queue = effect.queue
        if not isinstance(queue, SendQueue):
            return
        if queue.answers_only and not effect.last:
            return
        queue.status = effect.status
        kept = queue.enqueue(effect.message, effect.event_id, last=effect.last)
        backlog = queue.backlog
        if not kept:
            self._log.warning("stream_closed", reason="client behind", bytes=self._limits.unsent_bytes)
            self.on_disconnect(queue)
        elif backlog is not None and backlog.full:
            self._process.on_full(backlog)

    def _write(self, message: Message) -> None:
        if self._shared is not None and self._front is not None:
            self._shared.send(self._front, message)
            return
        reason = send_line(self._process.child, jsonrpc.line(message))
        if not reason:
            return
        if isinstance(message, Request):
            self._from_server(Response(message.id, b"", fault_text(INTERNAL_ERROR, reason)))
        else:
            self._log.warning("message_dropped", direction="to server", reason=reason)
