"""Connect the pure `Multiplexer` to stateless clients and to their process, through a translator if that is a legacy one.

Each event is processed in the task that brings it, without `await`. The first request starts the process, as does the first
after its exit.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol, assert_never

from ...transports.correlation import MEMBER, data_of, id_of, new_id
from ...transports.ports import ServerConnection
from ...transports.rate_limited_log import RateLimitedLog
from ...transports.send_queue import SendQueue
from ...transports.server_io import OnLine, ignore
from ...validators import jsonrpc
from ...validators.jsonrpc import Message, Notification, Request, Response
from ...validators.limits import Limits
from ...validators.rejection import INTERNAL_ERROR, Rejection
from ...validators.revisions import MODERN_REVISION
from ..core import multiplexer as multiplexing
from ..core.attribution import Client, Origin
from ..core.client_environment import NOTHING, ClientEnvironment
from ..core.effects import (
    EraMismatch,
    LogDebug,
    RequestFinished,
    ServerRequestRefused,
    StartProcess,
    ToClient,
    ToServer,
    Unassigned,
    failed_with,
    finished,
)
from ..core.link import Link, LinkEffect, StartTimer
from ..core.multiplexer import Multiplexer
from ..core.requests import ClientRequest
from ..eras.legacy_adapter import LegacyAdapter
from .attachment import Attachment
from .link_owner import LinkOwner
from .moved_requests import MovedRequests
from .pace import StatelessProcess
from .process_owner import send_line
from .server_log import TIMED_OUT, ServerLog
from .shared_process import SharedProcess
from .taps import Sender

Effects = tuple[multiplexing.Effect | LinkEffect, ...]


class MultiplexerHooks(Protocol):
    """The server, as the stateless clients of one key use it."""

    def start_again(self, upstream: "MultiplexedProcess", /) -> None:
        """Start a process."""
        ...

    def on_era_mismatch(self, upstream: "MultiplexedProcess", /, reason: str) -> None:
        """Replace or end a process of another era."""
        ...


class MultiplexedProcess(LinkOwner[StatelessProcess]):
    """The clients of one key (`placement.Key`) and their process.

    `translator` makes the translator of a legacy process, and is None for a modern one. `later` calls a function after a time
    (seconds). With `attach` the process is one that sessions share as well: it returns that and a translator, or raises
    Rejection.
    """

    error_code = INTERNAL_ERROR

    def __init__(
        self,
        principal: str,
        limits: Limits,
        multiplexer: Multiplexer,
        server_log: ServerLog,
        hooks: MultiplexerHooks,
        *,
        translator: Callable[[], LegacyAdapter] | None,
        later: Callable[["MultiplexedProcess", float, Callable[[], None]], None],
        client_environment: ClientEnvironment = NOTHING,
        attach: Callable[["MultiplexedProcess"], tuple[SharedProcess, LegacyAdapter]] | None = None,
    ) -> None:
        self.principal = principal
        self.client_environment = client_environment
        self.touched = 0.0
        self.ended = False
        # The principals whose requests the process has received, two at most; cleared when it exits (ProcessOwner).
        self.principals: set[str] = set()
        self._log = server_log
        self._refusals = RateLimitedLog(server_log)
        self._hooks = hooks
        self._later = later
        self._multiplexer = multiplexer
        self._link = Link(multiplexer, limits, translator)
        self._process = StatelessProcess(limits, multiplexer)
        # None for a process of its own.
        self._shared = Attachment(attach) if attach is not None else None
        self._moved = MovedRequests()
        # Whether a request has come since the last `on_tick`.
        self._used = False
        reader = self._reader(limits, server_log)
        # Reads a line of the process (ProcessOwner). Replaced by `end`, because the reader refers to this object.
        self.on_line: OnLine = reader.on_line

    @property
    def busy(self) -> bool:
        """Whether a client waits for a message of this process."""
        translator = self._link.translator
        return (
            bool(self._multiplexer.in_flight)
            or (translator is not None and translator.busy)
            or self._moved.busy
        )

    @property
    def attached(self) -> bool:
        """Whether its process is one that legacy sessions share as well."""
        return self._shared is not None

    @property
    def speaks_modern(self) -> bool:
        """Whether the process receives requests of the modern era (ProcessOwner)."""
        return self._link.make is None

    @property
    def calling(self) -> bool:
        """Whether a call is in flight."""
        return bool(self._multiplexer.calling)

    @property
    def subscribed(self) -> bool:
        """Whether a client has a subscription."""
        return self._multiplexer.in_flight > self._multiplexer.calling

    @property
    def requests(self) -> tuple[ClientRequest, ...]:
        """The requests without a response."""
        return self._multiplexer.requests

    @property
    def process_owner(self) -> "MultiplexedProcess | SharedProcess | None":
        """The owner of the process: of its own, or one that sessions share; None before that is found."""
        return self if self._shared is None else self._shared.process

    @property
    def era_unresolved(self) -> bool:
        """Whether a failure may only mean that the server speaks another era (ProcessOwner)."""
        return False

    @property
    def is_ordinary(self) -> bool:
        """Whether every server should accept its `initialize` (ProcessOwner)."""
        return True

    def sender(self, wire_id: bytes) -> Sender:
        """Return the client of a request at the server (ProcessOwner)."""
        translator = self._link.translator
        requester = wire_id if translator is None else translator.requester_of(wire_id)
        call = self._multiplexer.request_of(requester)
        if call is not None:
            return Sender(call.principal, "", call.envelope.info)
        principals = self.principals
        return Sender(next(iter(principals)) if len(principals) == 1 else "")

    # ---- clients

    def request(self, asked: ClientRequest) -> None:
        """Send a request. Its response, and what belongs to it, go to its send queue. Raises Rejection."""
        self._used = True
        effects = self._multiplexer.on_request(asked)
        through = effects if self._link.translator is None else self._link.through(effects)
        self._process.bind(asked)
        # Only whether there is more than one counts.
        if len(self.principals) < 2:
            self.principals.add(asked.principal)
        self._perform(through)
        if self._process.behind:
            self._process.update()

    def start(self) -> None:
        """Start the process before a request needs it."""
        self._perform(self._link.through(self._multiplexer.start_process()))

    def waits(self, queue: object) -> bool:
        """Return whether a request with this send queue has no response yet, subscriptions excepted."""
        return self._multiplexer.waits(queue) or self._moved.waits(queue)

    def on_disconnect(self, queue: object) -> None:
        """Cancel the requests of a send queue whose client has disconnected."""
        self._moved.on_disconnect(queue)
        self._process.extend(queue)
        self._perform(self._link.through(self._multiplexer.on_disconnect(queue)))

    def cancel(self, queue: object, raw_id: bytes, params: bytes = b"") -> None:
        """Cancel one request of a client. `params` are those of its notification, if it has sent one."""
        if params and not self._fits(Notification("notifications/cancelled", params)):
            return
        self._moved.cancel(queue, raw_id, params)
        self._process.extend(queue)
        self._perform(self._link.through(self._multiplexer.on_cancelled(queue, raw_id, params=params)))

    def _fits(self, message: Notification) -> bool:
        try:
            if self._log.gate is not None:
                self._log.gate.from_client(message, MODERN_REVISION, principal=self._principal_alone())
        except Rejection:
            return False
        return True

    def notify(self, message: Notification, client: Client) -> None:  # noqa: ARG002 - a subclass names the client
        """Send a notification of a client."""
        self._used = True
        self._perform(self._link.through(self._multiplexer.on_notification(message)))

    def on_permissions_changed(self, principal: str) -> None:
        """End what a principal has open, because its permissions have changed."""
        self._perform(self._link.through(self._multiplexer.on_permissions_changed(principal)))

    # ---- ProcessOwner

    def on_start(self, child: ServerConnection) -> None:
        """Use this process from now on."""
        self._process.child = child
        if self.ended:
            child.stop()
            return
        self._process.update()
        self._perform(self._link.on_start())

    # ---- a process that legacy sessions share (shared_members.Stateless)

    def _join(self, shared: "Attachment[MultiplexedProcess]") -> None:
        try:
            translator = shared.find(self)
        except Rejection as rejection:
            self.failed(rejection.text, rejection.data or {"reason": "not started"})
            return
        self._link.use(translator)
        shared.join(self)
        self._perform(self._link.through(self._multiplexer.on_server_start()))

    def on_shared_message(self, message: Message, about: bytes) -> None:  # noqa: ARG002 - the translator has it
        """Process a message of the shared process."""
        self._from_server(message)

    def calls_lost(self, wire_ids: tuple[bytes, ...], text: str, data: dict[str, object]) -> None:  # noqa: ARG002 - as above
        """Fail what is in flight, because the shared process has exited or has refused `initialize`."""
        self.failed(text, data)

    def shared_opened(self, result: bytes) -> None:
        """Process the result of `initialize` of the shared process."""
        if self._link.translator is not None:
            self._perform(self._link.translated(self._link.translator.opened(result)))

    def assigned(self, message: Request, origin: Origin) -> None:
        """Process a request of the shared process that belongs to this call."""
        if self._link.translator is not None:
            self._perform(self._link.translated(self._link.translator.assigned(message, origin)))

    def undeclared(self, message: Request, origin: Origin) -> None:
        """Note that a request of the shared process was refused, because the client of this call has not declared it."""
        if self._link.translator is not None:
            self._link.translator.undeclared(message, origin)

    def on_exit(self, text: str, data: dict[str, object]) -> None:
        """Fail what is in flight, because the process has exited."""
        self.failed(text, data)

    def failed(self, text: str, data: dict[str, object]) -> None:
        """Fail what is in flight, because there is no process."""
        self._process.child = None
        if self._shared is not None:
            self._shared.leave()
        self._process.on_exit()
        lost = self._multiplexer.calling
        self._log.errors += lost
        if lost and MEMBER not in data:
            data = {**data, MEMBER: new_id()}
            self._log.request_failed(str(data[MEMBER]), text, self._principal_alone())
        self._perform(self._link.on_server_exit(text, data))
        self.principals.clear()

    def _principal_alone(self) -> str:
        return next(iter(self.principals)) if len(self.principals) == 1 else ""

    # ---- requests that were sent to a server of another era

    def withdraw(self) -> None:
        """Withdraw the requests that the process has not received, for `next_moving`."""
        self._perform(self._link.drop_translator())
        self._moved.begin(self._multiplexer.remove_requests())

    def next_moving(self) -> ClientRequest | None:
        """Return a request that waits for another process, None if there is none."""
        return self._moved.next

    def move(self, asked: ClientRequest, upstream: "MultiplexedProcess") -> None:
        """Note which process has received a request that waited."""
        self._moved.on_moved(asked, upstream)

    def refuse(self, asked: ClientRequest, rejection: Rejection) -> None:
        """Send an error for a request that no other process accepts."""
        self._moved.remove(asked)
        self._log.errors += 1
        self._log.request_failed(id_of(rejection), rejection.text, asked.principal)
        error = jsonrpc.error(asked.request.id, rejection.code, rejection.text, data_of(rejection))
        self._put(ToClient(asked.queue, error, last=not asked.pipe, status=rejection.status))
        for effect in finished(asked, failed_with(rejection.code)):
            self._log.finish(effect)

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
        self._perform(self._link.on_tick(now, self._new_timeout))

    def _new_timeout(self) -> str:
        """Return the correlation id of a call that took too long, and log the call."""
        correlation_id = new_id()
        self._log.request_failed(correlation_id, TIMED_OUT, self._principal_alone())
        return correlation_id

    def discard(self, reason: str) -> None:
        """End, because another process serves the next request (ProcessOwner)."""
        self.end(reason)

    def end(self, reason: str) -> None:
        """Close the subscriptions in order, fail what is in flight, and stop the process."""
        if self.ended:
            return
        self.ended = True
        if self._shared is not None:
            self._shared.leave()
        self._perform(self._link.close(reason))
        self._process.close()
        self.on_line = ignore

    # ---- effects

    def _from_server(self, message: Message) -> None:
        if type(message) is Response and message.error:
            self._count_error()
        # As the link does, without a call on the way of each response.
        receiver = self._multiplexer if self._link.translator is None else self._link
        about = b"" if type(message) is Response else self._process.related
        self._perform(receiver.on_server_message(message, about))

    def _count_error(self) -> None:
        # For an error of `initialize` the requests that fail with it are counted instead.
        translator = self._link.translator
        if translator is None or not translator.opening:
            self._log.errors += 1

    def _perform(self, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, ToClient):
                self._put(effect)
            elif isinstance(effect, ToServer):
                self._write(effect.message)
            elif isinstance(effect, RequestFinished):
                self._log.finish(effect)
            else:
                self._perform_rare(effect)

    def _perform_rare(
        self,
        effect: StartProcess | StartTimer | EraMismatch | Unassigned | ServerRequestRefused | LogDebug,
    ) -> None:
        match effect:
            case StartProcess():
                if self._shared is not None:
                    self._join(self._shared)
                else:
                    self._hooks.start_again(self)
            case StartTimer():
                self._later(self, effect.seconds, partial(self._on_timer, effect))
            case EraMismatch(text):
                self._hooks.on_era_mismatch(self, text)
            case Unassigned(message, client):
                if self._shared is not None:
                    self._shared.reassign(message, client)
            case ServerRequestRefused(method, reason):
                self._refusals.info("server_request_refused", method=method, reason=reason)
            case LogDebug():
                self._log_debug(effect)
            case _:
                assert_never(effect)

    def _on_timer(self, timer: StartTimer) -> None:
        self._perform(self._link.on_timer(timer))

    def _log_debug(self, note: LogDebug) -> None:
        self._log.debug(note.event)
        if note.unmatched is not None:
            self._log.unmatched(*note.unmatched)

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
            self._log.warning(
                "stream_closed", reason="client behind", bytes=backlog.at_most if backlog else 0
            )
            self.on_disconnect(queue)
        elif backlog is not None and backlog.full and not self.ended:
            self._process.on_full(backlog)

    def _write(self, message: Message) -> None:
        if self._shared is not None:
            self._shared.send(message)
            return
        # Most messages are requests. The test here saves a call for each.
        if type(message) is Request:
            line = jsonrpc.request(message.id, message.method, message.params)
        else:
            line = jsonrpc.line(message)
        reason = send_line(self._process.child, line)
        if reason:
            self._not_sent(message, reason)

    def _message_dropped(self, reason: str) -> None:
        self._log.warning("message_dropped", direction="to server", reason=reason)
