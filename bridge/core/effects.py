"""What the pure core orders its shell to do, and the shape of a translator.

A translator stands between the two sides of one server process: messages of the client's era go in on one side, messages
of the server's era come out on the other. It is pure: an event is a method call that answers with these effects, to be
carried out in their order before the next event.
"""

from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from ...validators.jsonrpc import Message, Request

if TYPE_CHECKING:
    from .attribution import Client
    from .requests import ClientRequest


class ToClient(msgspec.Struct, frozen=True):
    """Put this message on a stream; with `last`, nothing more will follow.

    `status` is the HTTP status for a transport that can still say one.
    """

    queue: object
    message: bytes
    event_id: bytes = b""
    last: bool = False
    status: int = 200


class RequestFinished(NamedTuple):
    """A request of the client has come to its end, one way or another: said once for each, where that is wanted."""

    request: object  # what its shell knows it by
    outcome: str


OK = "ok"
CANCELLED = "cancelled"


def failed_with(code: int) -> str:
    """The outcome of a request that was answered with an error."""
    return f"error {code}"


class StartProcess(NamedTuple):
    """Start a server process, and say so when it is there."""


class ToServer(msgspec.Struct, frozen=True):
    """Send this message to the server. `request` is the request of a client that it stands for, where there is one."""

    message: Message
    request: "ClientRequest | None" = None


class ToRequester(msgspec.Struct, frozen=True):
    """Say this to the client's side. `about` is the id of the client's request that it belongs to, or nothing."""

    message: Message
    about: bytes = b""


class Timer(msgspec.Struct, frozen=True):
    """The purpose of a timer. Each translator has its own subclasses."""


class SetTimer(NamedTuple):
    """Call `on_timer(timer)` of the translator after `seconds`."""

    seconds: float
    timer: Timer


class EraMismatch(NamedTuple):
    """The server does not speak the era that it was started for."""

    text: str


class LogDebug(NamedTuple):
    """Something worth a line in the log, that needs no other answer.

    `unmatched` is the sender, "server" or "client", and the id of a response that matches no request, where that is the event.
    """

    text: str
    unmatched: tuple[str, bytes] | None = None


class ServerRequestRefused(NamedTuple):
    """A request of the server was answered with an error, because it cannot be given to a client."""

    method: str
    reason: str


class Unassigned(NamedTuple):
    """A request of a shared server process must be assigned again: the call of `client` that it was assigned to has ended."""

    message: Request
    client: "Client"


Effect = ToServer | ToRequester | SetTimer | EraMismatch | LogDebug | ServerRequestRefused | Unassigned
Effects = tuple[Effect, ...]


class Translator(Protocol):
    """Speaks one era to the client's side and the other to one server process."""

    def on_start(self) -> Effects:
        """The process is there and has heard nothing yet."""
        ...

    def from_client(self, message: Message) -> Effects:
        """A message of the client's side."""
        ...

    def from_server(self, message: Message) -> Effects:
        """A message of the server. Never an exception, however wrong it is."""
        ...

    def on_timer(self, timer: Timer) -> Effects:
        """Handle a timer that has expired. A timer whose purpose no longer exists has no effect."""
        ...

    def on_tick(self, now: float) -> Effects:
        """Time has passed, in seconds on any steady clock; said about once a second."""
        ...
