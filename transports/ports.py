"""Interfaces between the HTTP servers, the MCP endpoints, and the servers behind the endpoints.

No interface depends on an HTTP version, or on how sessions are implemented.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol, runtime_checkable

from ..validators.http_head import Head
from ..validators.jsonrpc import Message, Notification, Request
from ..validators.rejection import Rejection
from ..validators.stateless_request import Envelope
from .client_process import Caller
from .lent_descriptors import LentDescriptors
from .open_pipes import OpenPipes
from .options import Headers
from .send_queue import SendQueue
from .server_io import Exit, Filter, OnLine, OnStderr, Watchers


class Log(Protocol):
    """The log. An event is one line: an identifier, and fields, which the implementation escapes."""

    def debug(self, event: str, **fields: object) -> None: ...
    def info(self, event: str, **fields: object) -> None: ...
    def warning(self, event: str, **fields: object) -> None: ...
    def error(self, event: str, **fields: object) -> None: ...


class ServerConnection(Protocol):
    """A connection to one server: a process (`process.child.Child`) or a remote server.

    A line is one JSON-RPC message without line end. No method but `run` waits. All but `send` need `run` to be running.
    """

    @property
    def pid(self) -> int:
        """The process id. Of a remote server: a negative number that no other connection of the daemon has."""
        ...

    def serve(self, principal: str) -> None:
        """Count the time that its lines take in the share of this principal, before the first line. Empty for several principals."""
        ...

    def send(self, line: bytes, /) -> None:
        """Write one line without waiting. Raises ChildGone if the server reads no further line, and ChildBusy over a limit."""
        ...

    @property
    def related(self) -> bytes:
        """The wire id of the request whose response stream carried the line that is passed on now; empty if not known.

        A server request on the response stream of a request belongs to that request (MCP 2025-11-25 basic/transports). Valid
        during the call of the line handler, and of the rest that it returns. Always empty for a process.
        """
        ...

    @property
    def watchers(self) -> Watchers:
        """Functions that are called with each message and its direction. The list may be shared and change at any time."""
        ...

    @watchers.setter
    def watchers(self, watchers: Watchers, /) -> None: ...
    @property
    def has_unread_input(self) -> bool:
        """Whether the server has not read everything that was sent."""
        ...

    @property
    def transferred(self) -> tuple[int, int]:
        """The bytes that were read from the pipes of a process, and written to them; 0 for a remote server."""
        ...

    @property
    def ended(self) -> bool:
        """Whether no further line will be read."""
        ...

    @property
    def unfinished(self) -> tuple[bytes, bytes]:
        """The beginnings of the unfinished lines of stdout and stderr."""
        ...

    def set_line_handler(self, on_line: OnLine) -> None:
        """Pass each line from now on to `on_line`, until `stop`. Lines before the first call are dropped."""
        ...

    def pause(self) -> None:
        """Stop reading lines until `resume`, unless the connection is ending."""
        ...

    def resume(self) -> None:
        """Continue to read lines."""
        ...

    def active_time(self, now: float) -> float:
        """Return the time `now` without all pauses (seconds), for the time limits of the server."""
        ...

    def stop(self) -> None:
        """End the connection in an orderly way. No further line is passed on."""
        ...

    def kill(self) -> None:
        """End the connection at once. No further line is passed on."""
        ...

    async def run(
        self, on_stderr: OnStderr, on_exit: Callable[[Exit], None], stderr_filter: Filter | None = None
    ) -> None:
        """Read and write until the connection and all that belongs to it have ended. Cancelling ends it at once.

        `on_exit` is called once, when no further line will come. An exception in a callback, such as the line handler, ends
        the connection and is raised here. stderr passes `stderr_filter` before it is split into lines.
        """
        ...


class Conversation(Protocol):
    """The session of a legacy client, over any transport.

    No method waits. All raise Rejection for requests that the client may not make.
    """

    @property
    def id(self) -> str:
        """The session id: visible ASCII and random. It is no credential."""
        ...

    @property
    def version(self) -> str:
        """The negotiated revision; empty before the response to `initialize`."""
        ...

    def receive(
        self, message: Message, queue: SendQueue | None, headers: Mapping[str, str] | None = None
    ) -> None:
        """Receive one message of the client. The response and related messages are sent to `queue`.

        `headers` are those of the HTTP request of this message; None where it has none of its own.
        """
        ...

    def refuse(self, message: Request, rejection: Rejection, queue: SendQueue | None) -> None:
        """Send an error for one request of a batch to the queue of its response."""
        ...

    def listen(self, queue: SendQueue) -> None:
        """Add a stream for messages that belong to no request. Raises Rejection 409 over `limits.streams_per_session`."""
        ...

    def resume(self, last_event_id: str, queue: SendQueue) -> None:
        """Continue an interrupted stream after this event. Raises Rejection 400 for an event id of another session."""
        ...

    def begin_events(self, queue: SendQueue) -> bytes:
        """Make the queue a resumable event stream. Returns the id of its priming event, or an empty value."""
        ...

    def close_queue(self, queue: SendQueue, *, begun: bool = True) -> None:
        """End a stream. `begun` is false where the client disconnected before it received an event id."""
        ...

    @property
    def calling(self) -> bool:
        """Whether a request of the client has no response yet."""
        ...

    def end(self, reason: str) -> None:
        """End the session: cancel running requests, close all streams, stop the server process."""
        ...


class ModernRequest(NamedTuple):
    """A request of the stateless era and its parsed `_meta`. `headers` are None on transports without headers."""

    request: Request
    envelope: Envelope
    headers: Mapping[str, str] | None


class Upstream(Protocol):
    """The server that a stateless request was sent to."""

    @property
    def busy(self) -> bool:
        """Whether a client waits for a response or a subscription."""
        ...

    def waits(self, queue: SendQueue) -> bool:
        """Return whether a request whose response goes to this queue has none yet. Subscriptions do not count."""
        ...

    def on_disconnect(self, queue: SendQueue) -> None:
        """Cancel all requests whose responses go to this queue (MCP 2026-07-28 basic/transports)."""
        ...

    def cancel(self, queue: SendQueue, raw_id: bytes, params: bytes = b"") -> None:
        """Cancel one request of a client whose queue carries other requests as well.

        `params` are those of the `notifications/cancelled` of the client, or empty.
        """
        ...


class Backend(Protocol):
    """One MCP server, as the endpoints use it."""

    @property
    def pipes(self) -> OpenPipes:
        """The open connections with lines."""
        ...

    async def open(
        self,
        principal: str,
        headers: Mapping[str, str],
        queue: SendQueue | None = None,
        *,
        lasts: bool = False,
    ) -> Conversation:
        """Start a session with a server process of its own. `headers` are those of the request that opens it.

        With a `queue` all messages of the server are sent there (HTTP+SSE, WebSocket). Without, each message is sent
        to the stream that it belongs to (Streamable HTTP). With `lasts` the session may be as old as its client, a program
        on this machine whose end is noticed. Raises Rejection 503 where a limit is reached or the server
        does not start, and 400 for a header value that the server cannot be started with.
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
        """Send a stateless request to the server. Related messages and then the response are sent to `queue`.

        With `pipe` the queue carries other requests too and stays open after the response; `headers` are then those of
        the request that opened the connection. `caller` is the client, or the connection that identifies it; None is an
        unknown client. Raises Rejection.
        """
        ...

    def start_request_now(
        self,
        principal: str,
        request: ModernRequest,
        queue: SendQueue,
        caller: Caller,
        *,
        pipe: bool = False,
    ) -> Upstream | None:
        """Send a request as `start_request`. Returns None, without effect, if that must wait. Raises Rejection."""
        ...

    async def notify(
        self, principal: str, headers: Mapping[str, str], message: Notification, caller: Caller | None = None
    ) -> None:
        """Send a notification of the stateless era. A notification without a receiver is dropped. Raises Rejection."""
        ...

    def find(self, session_id: str, principal: str) -> Conversation:
        """Return the session with this id. Raises the same Rejection 404 for other principals and unknown ids."""
        ...


class Exchange(Protocol):
    """One HTTP request and its response, over any HTTP version."""

    head: Head
    principal: str

    @property
    def caller(self) -> Caller:
        """The client at the other end of the connection: one object for all its requests."""
        ...

    async def read_body(self) -> bytes:
        """Return the whole body. Raises Rejection 413 over the limit and 408 when it comes too slowly."""
        ...

    async def answer(
        self,
        status: int,
        content_type: bytes,
        body: bytes,
        headers: Headers = (),
        *,
        protection: Headers | None = None,
    ) -> None:
        """Send a whole response. `protection` replaces the headers that keep a browser from showing it as a page."""
        ...

    async def begin_stream(self, headers: Headers = ()) -> None:
        """Send the head of an event stream, with status 200."""
        ...

    async def write(self, data: bytes) -> None:
        """Send a part of the event stream."""
        ...

    def count_refusal(self, rejection: Rejection) -> None:
        """Count a refusal whose response the endpoint sends."""
        ...

    def queue(self, *, direct: bool = False) -> SendQueue:
        """Return a send queue for this request. With `direct`, `enqueue` may send a single-message response at once."""
        ...

    def attach(
        self, queue: SendQueue, *, ends_with_client: bool, first_heartbeat: float | None = None
    ) -> None:
        """Attach the send queue of this request: the reader is woken when a heartbeat is due.

        With `first_heartbeat` the first heartbeat is due after this time (seconds), unless the client disconnects
        before. With `ends_with_client` the queue is discarded as soon as the client closes its sending side. Without,
        such a client still gets its response, because a half-close is no cancellation (RFC 9112 section 9.6).
        """
        ...

    def upgrade(self, *, local: bool = False) -> "UpgradedStream":
        """Hand over the connection after the head, for WebSocket and for the pipe endpoint.

        With `local` the peer may stop reading for any time. Raises Rejection on other HTTP versions, and with `local` over
        TLS and for a peer that is not on this machine.
        """
        ...


Endpoint = Callable[[Exchange], Awaitable[None]]
# The rest of a request that was begun: waits for the response and sends it, unless it was sent directly.
Continuation = Callable[[], Awaitable[None]]


@runtime_checkable
class EagerEndpoint(Protocol):
    """An endpoint that can begin a request without waiting, in the callback that reads it."""

    def __call__(self, exchange: Exchange) -> Awaitable[None]:
        """Serve one request (Endpoint)."""
        ...

    def begin(self, exchange: Exchange, body: bytes) -> Continuation | None:
        """Begin a request with this body and return the rest of the work.

        Returns None, without effect, for a request that only `__call__` can serve. The head is equal to that of a
        request that was served before. Raises no Rejection.
        """
        ...


# Called with received bytes. Returns whether input may be passed on further, False where the task must continue.
OnInput = Callable[[bytes], bool]


class ByteStream(Protocol):
    """The bytes of one client in both directions, in the shape of trio.abc.Stream."""

    def receiving(self) -> AbstractContextManager[Callable[[int], None]]:
        """Return a context in which the bytes of an unfinished message are counted (`Quota.receiving`)."""
        ...

    async def receive_some(self, max_bytes: int | None = None) -> bytes: ...
    async def pass_input(self, max_bytes: int, on_input: OnInput) -> bool:
        """Wait while `on_input` gets the input in the callback that reads it, at most `max_bytes` at once.

        Returns True when `on_input` has returned False. Returns False when `receive_some` must be called, perhaps without a
        checkpoint. Raises the exceptions of `on_input`.
        """
        ...

    async def send_all(self, data: bytes) -> None:
        """Send all data. Raises trio.BrokenResourceError where the peer does not read any more."""
        ...

    def send_some(self, data: bytes) -> int:
        """Send without waiting and return the number of bytes, also 0."""
        ...

    @property
    def gone(self) -> bool:
        """Whether the peer reads no more, which is not the same as the end of its input."""
        ...


class UpgradedStream(ByteStream, Protocol):
    """The bytes of a connection after the head of an upgrade request."""

    def lent_descriptors(self) -> AbstractContextManager[LentDescriptors | None]:
        """Return a context in which descriptors are received together with bytes. None where the peer cannot send any."""
        ...

    def call_when_revoked(self, call: Callable[[], None]) -> None:
        """Call `call`, instead of aborting the connection, when its client is no longer admitted."""
        ...

    @property
    def exempt_from_pings(self) -> bool:
        """Whether the peer needs no pings: on a Unix socket, and where it is the aggregate of this daemon."""
        ...
