"""Effects that the state machines of the core return, and the interface of an adapter between the eras.

An adapter stands between a client of one era and a server process of the other. Each event is a method call that returns
effects; the caller carries them out in order before the next event. Pure.
"""

from typing import NamedTuple, Protocol

import msgspec

from ...validators.jsonrpc import Message, Request
from .attribution import Client
from .requests import ClientRequest


class ToClient(msgspec.Struct, frozen=True):
    """Put this message on the queue of a stream. After the `last` message the stream ends.

    `status` is the HTTP status, for a transport that has not sent its response head.
    """

    queue: object
    message: bytes
    event_id: bytes = b""
    last: bool = False
    status: int = 200


class EndStream(NamedTuple):
    """End the stream of this queue. Nothing more is put on it."""

    queue: object


class RequestFinished(msgspec.Struct, frozen=True, gc=False):
    """Record the outcome of a request of a client. It is returned once for each request that has a `since`.

    `name` is that of the tool, prompt or resource, or empty. `since` is the time of the request on the caller's clock.
    """

    id: bytes
    method: str
    name: str
    since: float
    outcome: str
    # Empty for a session, which has one principal.
    principal: str = ""


def finished(call: ClientRequest, outcome: str) -> tuple[RequestFinished, ...]:
    """Return the effect that records the end of a stateless request, if that is recorded."""
    if call.since is None:
        return ()
    request = call.request
    return (
        RequestFinished(request.id, request.method, call.envelope.name, call.since, outcome, call.principal),
    )


OK = "ok"
CANCELLED = "cancelled"


def failed_with(code: int) -> str:
    """Return the outcome of a request whose response was this error."""
    return f"error {code}"


class StartProcess(NamedTuple):
    """Start a server process. An event reports when it has started."""


class ToServer(msgspec.Struct, frozen=True):
    """Send this message to the server. `request` is the request of a client that it stands for, if any."""

    message: Message
    request: ClientRequest | None = None


class ToChild(msgspec.Struct, frozen=True):
    """Write this line to the server process of a session."""

    line: bytes


class ToUpstream(msgspec.Struct, frozen=True):
    """Send this message to the shared server process of a session. `token` is the raw progress token of a request."""

    message: Message
    token: bytes = b""


class ToRequester(msgspec.Struct, frozen=True):
    """Send this message to the client's side. `about` is the id of the client's request that it belongs to, or nothing."""

    message: Message
    about: bytes = b""


class Timer(msgspec.Struct, frozen=True):
    """The purpose of a timer. Each translator has its own subclasses."""


class SetTimer(NamedTuple):
    """Call `on_timer(timer)` of the translator after `seconds`."""

    seconds: float
    timer: Timer


class EraMismatch(NamedTuple):
    """Handle a server that does not speak the era that its process was started for."""

    text: str


class LogDebug(NamedTuple):
    """Log an event at the level debug. `event` is an identifier.

    `unmatched` is set for a response without a request: its sender, "server" or "client", and its id.
    """

    event: str
    unmatched: tuple[str, bytes] | None = None


class ServerRequestRefused(NamedTuple):
    """Log that a request of the server was answered with an error, because it cannot be sent to a client."""

    method: str
    reason: str


class Unassigned(NamedTuple):
    """Assign a request of a shared server process again, because the call of `client` that it was assigned to has ended."""

    message: Request
    client: Client


Effect = ToServer | ToRequester | SetTimer | EraMismatch | LogDebug | ServerRequestRefused | Unassigned
Effects = tuple[Effect, ...]


class Translator(Protocol):
    """An adapter with a client of one era on its one side and a server process of the other era on its other side."""

    def on_start(self) -> Effects:
        """Handle the start of the process. It has received no message yet."""
        ...

    def from_client(self, message: Message, client_request: "ClientRequest | None" = None, /) -> Effects:
        """Handle a message of the client's side. `client_request` is the stateless request that it stands for, if any."""
        ...

    def from_server(self, message: Message, related: bytes = b"") -> Effects:
        """Handle a message of the server. Never raises, however wrong the message is.

        `related` is the wire id of the request on whose response stream it came, where that is known.
        """
        ...

    def on_exit(self) -> Effects:
        """Handle the exit of the process, which receives no more messages. The default is to do nothing."""
        return ()

    def on_timer(self, timer: Timer) -> Effects:
        """Handle a timer that has expired. A timer whose purpose no longer exists has no effect."""
        ...

    def on_tick(self, now: float) -> Effects:
        """Handle the passing of time, about once a second. `now` is in seconds on any steady clock."""
        ...
