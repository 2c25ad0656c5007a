"""The effects of a shared server process, in the order in which they must be carried out. Pure."""

from typing import NamedTuple

import msgspec

from ...validators.jsonrpc import Message, Request, Response
from .attribution import Origin
from .effects import LogDebug, ServerRequestRefused, StartProcess, ToServer
from .errors import fault_text
from .front import Front


class ToFront(msgspec.Struct, frozen=True):
    """Send this message of the server to a front. `about` is the wire id of the call that it belongs to, or nothing."""

    front: Front
    message: Message
    about: bytes = b""


class Assigned(NamedTuple):
    """Send this request of the server to a translated front, for this call."""

    front: Front
    message: Request
    origin: Origin


class Undeclared(NamedTuple):
    """Notify a translated front that a request was refused, because the client of this call has not declared it."""

    front: Front
    message: Request
    origin: Origin


class FrontOpened(NamedTuple):
    """Notify a translated front of the end of the handshake. `result` is that of `initialize`."""

    front: Front
    result: bytes


class CallsLost(NamedTuple):
    """Fail the requests of a front with these wire ids, because the process has exited."""

    front: Front
    wire_ids: tuple[bytes, ...]
    text: str
    data: dict[str, object]


class Opened(NamedTuple):
    """Record that the server has accepted `initialize`. Returned once for each process."""


class Unopened(NamedTuple):
    """Record that the server has refused `initialize` with this error, and call `refuse` when that is final."""

    error: bytes


class KillProcess(NamedTuple):
    """Kill the process. Its fronts have been notified. `text` is the reason of a start that has taken too long."""

    text: str = ""


class LogOnly(NamedTuple):
    """Write a log message of the server to its log, because several clients can have caused it."""

    params: bytes


# The effects that are rare beside messages.
RareEffect = (
    Assigned
    | Undeclared
    | FrontOpened
    | CallsLost
    | Opened
    | Unopened
    | KillProcess
    | StartProcess
    | LogOnly
    | ServerRequestRefused
    | LogDebug
)
Effect = ToServer | ToFront | RareEffect
Effects = tuple[Effect, ...]


def failure(raw_id: bytes, code: int, text: str) -> Response:
    """Return an error response."""
    return Response(raw_id, b"", fault_text(code, text))
