"""What the transports need from whoever stands behind them, and what an endpoint needs from its HTTP server.

Nothing here knows how a session works or which HTTP version is spoken.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol, runtime_checkable

from ..validators.http_head import Head
from ..validators.jsonrpc import Message, Notification, Request
from ..validators.rejection import Rejection
from ..validators.stateless_request import Envelope
from .client_process import Caller
from .options import Headers
from .send_queue import SendQueue


class Log(Protocol):
    """Where events go: one line each, fields escaped by the receiver."""

    def debug(self, event: str, **fields: object) -> None: ...
    def info(self, event: str, **fields: object) -> None: ...
    def warning(self, event: str, **fields: object) -> None: ...
    def error(self, event: str, **fields: object) -> None: ...


class Conversation(Protocol):
    """A legacy client's session, whatever it is carried by.

    All methods act at once and never wait. They raise Rejection for what the client may not do.
    """

    @property
    def id(self) -> str:
        """The session id: visible ASCII, random, and no credential."""
        ...

    @property
    def version(self) -> str:
        """The negotiated revision, empty before `initialize` was answered."""
        ...

    def receive(self, message: Message, queue: SendQueue | None) -> None:
        """Take one message from the client. The answer to a request, and what belongs to it, goes to `outlet`."""
        ...

    def refuse(self, message: Request, rejection: Rejection, queue: SendQueue | None) -> None:
        """Answer one message of a batch with an error, on the stream that its answer would have gone to."""
        ...

    def listen(self, queue: SendQueue) -> None:
        """A stream for what belongs to no request. Raises Rejection 409 over `limits.streams_per_session`."""
        ...

    def resume(self, last_event_id: str, queue: SendQueue) -> None:
        """Continue an interrupted stream after this event. Raises Rejection 400 for an id that is not of this session."""
        ...

    def begin_events(self, queue: SendQueue) -> bytes:
        """This outlet becomes an event stream that can be resumed; answers the id of its priming event, or nothing."""
        ...

    def close_queue(self, queue: SendQueue, *, begun: bool = True) -> None:
        """This stream is over, by whichever side. Not `begun`: the client has left before it got the id of an event."""
        ...

    def end(self, reason: str) -> None:
        """End the session: cancel what is in flight, close every stream, stop the child."""
        ...


class ModernRequest(NamedTuple):
    """A request of the stateless era with what was read of it. `headers` are None where there are none to mirror it."""

    request: Request
    envelope: Envelope
    headers: Mapping[str, str] | None


class Upstream(Protocol):
    """Who has taken a modern request."""

    @property
    def busy(self) -> bool:
        """Whether anybody waits for something of it."""
        ...

    def on_disconnect(self, queue: SendQueue) -> None:
        """The client is gone, and with it everything that it asked on this outlet (digest 3.7)."""
        ...

    def cancel(self, queue: SendQueue, raw_id: bytes, params: bytes = b"") -> None:
        """Cancel one request of a client, on an outlet that carries others as well.

        `params` are those of its notification, if it has sent one.
        """
        ...


class Backend(Protocol):
    """One stdio server, as the transports see it."""

    async def open(
        self, principal: str, headers: Mapping[str, str], queue: SendQueue | None = None
    ) -> Conversation:
        """Start a conversation with a child of its own. `headers` are those of the request that opens it.

        With an `outlet` everything the server ever sends goes there (HTTP+SSE, WebSocket); without one each message
        goes to the stream it belongs to (Streamable HTTP). Raises Rejection 503 when a limit is reached or the server
        cannot be started, and 400 for a header that it cannot use.
        """
        ...

    async def start_request(
        self,
        principal: str,
        headers: Mapping[str, str],
        request: ModernRequest,
        queue: SendQueue,
        *,
        pipe: bool,
        caller: Caller | None = None,
    ) -> Upstream:
        """Take a request of the stateless era. Its answer, and what belongs to it, go to `outlet`, the answer last.

        With `pipe` the outlet carries other requests too, and does not end with the answer; then `headers` are those
        that opened it. `caller` is the client, or the connection by which it can be determined; None is an unknown
        client. Raises Rejection.
        """
        ...

    def start_request_now(
        self, principal: str, request: ModernRequest, queue: SendQueue, caller: Caller
    ) -> Upstream | None:
        """As `ask`, for one request on its own outlet. Returns None, and has done nothing, where that must wait."""
        ...

    async def notify(
        self,
        principal: str,
        headers: Mapping[str, str],
        message: Notification,
        caller: Caller | None = None,
    ) -> None:
        """Take a notification of the stateless era. One that has no receiver is dropped. Raises Rejection."""
        ...

    def find(self, session_id: str, principal: str) -> Conversation:
        """The conversation with this id, if it is this principal's. Raises the same Rejection 404 for all others."""
        ...


class Exchange(Protocol):
    """One HTTP request and its answer, whichever server carries it."""

    head: Head
    principal: str

    @property
    def caller(self) -> Caller:
        """The client at the other end of the connection, the same object for all its requests."""
        ...

    async def read_body(self) -> bytes:
        """The whole body. Raises Rejection 413 over the limit and 408 when it comes too slowly."""
        ...

    async def answer(self, status: int, content_type: bytes, body: bytes, headers: Headers = ()) -> None:
        """Send a whole answer."""
        ...

    async def begin_stream(self, headers: Headers = ()) -> None:
        """Send the head of a 200 event stream."""
        ...

    async def write(self, data: bytes) -> None:
        """Send a piece of the stream begun before."""
        ...

    def count_refusal(self, rejection: Rejection) -> None:
        """Count a refusal that the endpoint answers itself."""
        ...

    def queue(self, *, direct: bool = False) -> SendQueue:
        """An outlet for this request. `direct` lets its answer, if it is a single message, be sent by whoever brings it."""
        ...

    def attach(
        self, queue: SendQueue, *, ends_with_client: bool, first_heartbeat: float | None = None
    ) -> None:
        """Wake this outlet when a heartbeat is due, until the request is over.

        With `first_beat` the first heartbeat is due after so many seconds, unless the client has left by then.
        With `ends_with_client` the client's departure reaches it at once as well; without, a client that has closed its
        sending side still gets its answer (attacks H20).
        """
        ...

    def upgrade(self) -> "UpgradedStream":
        """Hand over the connection after the head, for WebSocket. Raises Rejection where that cannot be."""
        ...


Endpoint = Callable[[Exchange], Awaitable[None]]
# What is left to do for a request that was taken: it waits for the answer, unless that went out directly.
Continuation = Callable[[], Awaitable[None]]


@runtime_checkable
class EagerEndpoint(Protocol):
    """An endpoint that can begin a request without waiting."""

    def __call__(self, exchange: Exchange) -> Awaitable[None]:
        """Serve one request (Endpoint)."""
        ...

    def begin(self, exchange: Exchange, body: bytes) -> Continuation | None:
        """Begin a request with this body and return what is left to do.

        Returns None, and has sent nothing, for all that only the endpoint itself can serve, which then makes an outlet of its own.
        The head is that of a request that it has served before. Raises no Rejection.
        """
        ...


class UpgradedStream(Protocol):
    """The bytes of a connection after the head that asked for the upgrade, in the shape of a trio.abc.Stream."""

    def receiving(self) -> AbstractContextManager[Callable[[int], None]]:
        """Count the bytes of an unfinished message in a block, as `Quota.receiving` does."""
        ...

    async def receive_some(self, max_bytes: int | None = None) -> bytes: ...
    async def send_all(self, data: bytes) -> None: ...
    def send_some(self, data: bytes) -> int: ...
    @property
    def patient(self) -> bool:
        """Whether no pings are needed: on a Unix socket, and where the peer is our own aggregate."""
        ...
