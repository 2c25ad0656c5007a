"""The ways of a session to a process that it shares with others.

A process of the legacy era gets the messages of the session unchanged (`LegacyRoute`), a process of the modern era those of its
translator (`ModernRoute`).
"""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from ...transports.client_process import Caller
from ...transports.send_queue import Backlog, SendQueue
from ...transports.server_io import OnLine
from ...validators.jsonrpc import Message, Notification, Request, Response
from ...validators.limits import Limits
from ...validators.mcp_params import read_cancelled
from ...validators.rejection import Rejection
from ...validators.stateless_request import read_envelope
from ..core.access_policy import AccessPolicy
from ..core.attribution import Client
from ..core.effects import Translator
from ..core.errors import fault_text
from ..core.front import Front
from ..core.requests import ClientRequest
from .multiplexed_process import MultiplexedProcess
from .shared_process import SharedProcess
from .taps import Sender

_CANCELLED: Final = "notifications/cancelled"


class LegacyMember(Protocol):
    """A session that uses shared processes of the legacy era."""

    id: str
    principal: str

    def on_shared_message(self, message: Message, about: bytes) -> None:
        """Process a message of the process. `about` is the wire id of the request that it belongs to."""
        ...

    @property
    def version(self) -> str:
        """The negotiated revision, empty before."""
        ...

    def on_calls_lost(self, wire_ids: tuple[bytes, ...], text: str, data: dict[str, object]) -> None:
        """Fail these requests, because the process has exited."""
        ...

    def failed(self, text: str, data: dict[str, object]) -> None:
        """Fail what is in flight, because there is no process."""
        ...

    def translate_shared(self, make: Callable[[], Translator]) -> None:
        """Use a process of the modern era."""
        ...

    def sender(self, wire_id: bytes, /) -> Sender:
        """Return the client of the session."""
        ...

    def end(self, reason: str) -> None:
        """End the session."""
        ...


class LegacyRoute:
    """The way to shared processes of the legacy era, and the member of each of them (`shared_members.Member`).

    `find` returns the process for the next request, or None after it has given the session another route. It raises
    Rejection.
    """

    __slots__ = ("_find", "_fronts", "_initialize", "_session", "process")

    def __init__(self, session: LegacyMember, find: Callable[[], SharedProcess | None]) -> None:
        self._session = session
        self._find = find
        # The process for the next request. None before the first request, and after `detach`.
        self.process: SharedProcess | None = None
        # The processes that may still send a message for the session, `process` last. Ended ones are removed by `_join`.
        self._fronts: dict[SharedProcess, Front] = {}
        # Until a process has answered it.
        self._initialize: Request | None = None

    def send(self, message: Message, token: bytes = b"") -> None:
        """Send a message of the client. `token` is the raw progress token of a request."""
        process = self.process
        if isinstance(message, Request):
            if process is None or process.ended or message.method == "initialize":
                process = self._open(message)
            if process is not None:
                process.send(self._fronts[process], message, token)
        elif isinstance(message, Notification) and message.method != _CANCELLED:
            if process is not None and not process.ended:
                process.send(self._fronts[process], message)
        else:
            # The message is about an id that only one of the processes has sent.
            for process, front in tuple(self._fronts.items()):
                process.send(front, message)

    @property
    def owner(self) -> SharedProcess | None:
        """The owner of the process for new requests."""
        return self.process

    def sender(self, wire_id: bytes) -> Sender:
        """Return the client of the session (shared_members.Member)."""
        return self._session.sender(wire_id)

    def detach(self) -> None:
        """Use another process for new requests. Responses of the current one are still received."""
        self.process = None

    def close(self) -> Request | None:
        """Leave every process. Return the `initialize` that no process has answered, if there is one."""
        self.process = None
        for process, front in self._fronts.items():
            process.leave(front)
        self._fronts = {}
        return self._initialize

    # ---- shared_members.Member

    @property
    def principal(self) -> str:
        """The principal of the session."""
        return self._session.principal

    def on_shared_message(self, message: Message, about: bytes) -> None:
        """Pass on a message of the server. The first response is that to `initialize`."""
        if type(message) is Response:
            self._initialize = None
        self._session.on_shared_message(message, about)

    def calls_lost(self, wire_ids: tuple[bytes, ...], text: str, data: dict[str, object]) -> None:
        """Fail these requests, because the process has exited."""
        if self._session.version:
            self._session.on_calls_lost(wire_ids, text, data)
        else:
            self._session.failed(text, data)

    def translate(self, make: Callable[[], Translator]) -> None:
        """Give the session another route, because the server speaks the modern era. `make` makes its translator."""
        self._session.translate_shared(make)

    def end(self, reason: str) -> None:
        """End the session."""
        self._session.end(reason)

    # ---- requests of the client

    def _open(self, message: Request) -> SharedProcess | None:
        """Return the process for a request, None if the request was answered or sent on another route."""
        if message.method == "initialize":
            self._initialize = message
        process = self.process
        if process is not None and not process.ended:
            return process
        try:
            process = self._find()
        except Rejection as rejection:
            self.on_shared_message(error_of(message, rejection), b"")
            return None
        if process is None:
            # The other route has sent `initialize`.
            if message.method != "initialize":
                self._session.end("the server speaks another era since it was restarted")
            return None
        self._join(process)
        # None if the session has ended, for example because of what it missed.
        return self.process

    def _join(self, process: SharedProcess) -> None:
        front = Front(Client(self._session.id), principal=self._session.principal)
        former, before = next(reversed(self._fronts.items()), (None, None))
        if before is not None:
            front.follow(before)
        self._fronts = {one: front for one, front in self._fronts.items() if not one.ended}
        self._fronts[process] = front
        self.process = process
        process.join(front, self)
        if former is not None and before is not None and self.process is process:
            for request, token in former.hand_over(before):
                process.send(front, request, token)


class ModernMember(Protocol):
    """A session at a shared process of the modern era."""

    principal: str
    caller: Caller

    @property
    def on_line(self) -> OnLine:
        """Process a line for the session."""
        ...

    def on_refused(self, message: Request, rejection: Rejection) -> None:
        """Process the refusal of a request."""
        ...


class _Joined(NamedTuple):
    """A process, and the policy and the client of the requests to it."""

    process: MultiplexedProcess
    policy: AccessPolicy
    client: Client


class ModernRoute:
    """The way to shared processes of the modern era.

    `find` finds the process for clients with these capabilities. `join` or `refuse` of the route follows.
    """

    __slots__ = ("_find", "_joined", "_limits", "_queue", "_session", "_waiting")

    # A shared process of the legacy era (LegacyRoute).
    process: SharedProcess | None = None

    def __init__(
        self,
        session: ModernMember,
        limits: Limits,
        backlog: Backlog,
        find: Callable[["ModernRoute", bytes], None],
    ) -> None:
        self._session = session
        self._limits = limits
        self._find = find
        # The process for new requests. Written by `join`, removed when it has ended and by `detach`.
        self._joined: _Joined | None = None
        # Messages that wait for `join`.
        self._waiting: deque[Message] = deque()
        # Receives what the process sends for the session. None after `close`.
        self._queue: SendQueue | None = SendQueue(limits)
        self._queue.backlog = backlog
        self._queue.shortcut = self._on_line
        self._queue.eager = True

    def send(self, message: Message, _token: bytes = b"") -> None:
        """Send a message of the translator."""
        joined, queue = self._joined, self._queue
        if queue is None:
            return
        if joined is None or joined.process.ended:
            self._joined = None
            self._wait(message)
        elif isinstance(message, Request):
            try:
                self._request(joined, message, queue)
            except Rejection as rejection:
                self._session.on_refused(message, rejection)
        elif isinstance(message, Notification) and message.method == _CANCELLED:
            joined.process.cancel(queue, read_cancelled(message.params)[0], message.params)
        elif isinstance(message, Notification):
            joined.process.notify(message, joined.client)

    @property
    def owner(self) -> MultiplexedProcess | SharedProcess | None:
        """The owner of the process for new requests."""
        return self._joined.process.process_owner if self._joined is not None else None

    def join(self, upstream: MultiplexedProcess, policy: AccessPolicy, client: Client) -> None:
        """Use this process, and send it what waits. `policy` and `client` are those of the session's requests."""
        self._joined = _Joined(upstream, policy, client)
        # If the process ends meanwhile, the rest waits again.
        waiting, self._waiting = self._waiting, deque()
        for message in waiting:
            self.send(message)

    def refuse(self, rejection: Rejection) -> None:
        """Fail the requests that wait, because no process was found."""
        waiting, self._waiting = self._waiting, deque()
        for message in waiting:
            if isinstance(message, Request):
                self._session.on_refused(message, rejection)

    def detach(self) -> None:
        """Use another process for new requests. Responses of the current one are still received."""
        self._joined = None

    def close(self) -> None:
        """Cancel everything, because the session has ended."""
        queue, self._queue = self._queue, None
        self._waiting.clear()
        if queue is not None:
            queue.on_disconnect()
            if self._joined is not None:
                self._joined.process.on_disconnect(queue)

    def _wait(self, message: Message) -> None:
        if not self._waiting and not isinstance(message, Request):
            # The message is about a request that has failed with its process.
            return
        self._waiting.append(message)
        if len(self._waiting) == 1 and isinstance(message, Request):
            read = read_envelope(message.method, message.params, self._limits)
            self._find(self, read.capabilities)

    def _request(self, joined: _Joined, message: Request, queue: SendQueue) -> None:
        session = self._session
        joined.process.request(
            ClientRequest(
                session.principal,
                message,
                read_envelope(message.method, message.params, self._limits),
                None,
                queue,
                pipe=True,
                policy=joined.policy,
                client=joined.client,
                caller=session.caller,
            )
        )

    def _on_line(self, text: bytes) -> bool:
        rest = self._session.on_line(text)
        if rest is not None:
            rest()
        return True


def error_of(message: Request, rejection: Rejection) -> Response:
    """Return the response to a request that was rejected."""
    return Response(message.id, b"", fault_text(rejection.code, rejection.text, rejection.data))
