"""Interfaces between the parts of a connection to a remote server."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from ...validators.limits import Limits
from ..options import Headers
from ..server_io import Overlong
from .http_connection import RemoteResponse
from .messages import Sent

# Takes back messages that were not sent over another transport, in their order, and the reason as a predicate.
GiveBack = Callable[[str, list[Sent]], None]


class Http(Protocol):
    """The HTTP client of one server (`http_client.HttpClient`)."""

    def authorized_request(
        self,
        method: str,
        url: str,
        headers: Headers = (),
        body: bytes | None = None,
        *,
        renew: bool = True,
    ) -> AbstractAsyncContextManager[RemoteResponse]:
        """Send a request with credentials, and again with others if it is refused (`HttpClient.authorized_request`)."""
        ...


class Link(Protocol):
    """The connection, as its transport uses it."""

    # The origin of the server, for texts.
    origin: str
    # Whether the server has not answered over this connection yet.
    is_new: bool

    @property
    def limits(self) -> Limits:
        """The limits of the server."""
        ...

    @property
    def connect_seconds(self) -> float:
        """How long attempts to connect are repeated (seconds)."""
        ...

    def put(self, line: bytes | Overlong, related: bytes = b"") -> None:
        """Pass on a line of the server. `related` is the id of the request that it belongs to."""
        ...

    async def room(self) -> None:
        """Wait until more may be read from the server."""
        ...

    def hold(self, size: int) -> bool:
        """Count bytes of unfinished messages (a negative number: fewer). Return False over the limit, which counts nothing."""
        ...

    def settled(self, sent: Sent) -> None:
        """Count a message as read by the server."""
        ...

    def note(self, text: str, /) -> None:
        """Write a line to the log of the server."""
        ...

    def end(self, reason: str, /) -> None:
        """End the connection. `reason` is a predicate for the subject "the server"."""
        ...

    def answered(self, transport: str) -> None:
        """Note that the server has answered over this transport."""
        ...

    def forget(self) -> None:
        """Let the next connection find the transport again, because the server does not use it any more."""
        ...

    @property
    def has_answered(self) -> bool:
        """Whether the server has ever answered, over this or another connection."""
        ...

    def change_transport(self, messages: list[Sent], give_back: GiveBack) -> bool:
        """Send `initialize` and what follows it over HTTP+SSE instead, or return False.

        `give_back` is called if the server sends no event stream of HTTP+SSE.
        """
        ...
