"""Interfaces between the clients of remote servers, the credentials that they send, and the users of their messages."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import trio

from ..options import Headers

# Called with one message, without a line end, and with the raw id of the request on whose response stream it came. The id
# is empty for messages of a stream that belongs to no request.
OnMessage = Callable[[bytes, bytes], None]


class Unreachable(Exception):
    """A request has no response. `sent` is False only if the server has certainly not received the request.

    The text names the server and the cause.
    """

    def __init__(self, reason: str, *, sent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent


class Redirected(Unreachable):
    """The response is a redirect that is not followed."""


class Lost(Exception):
    """The stream of a carrier has ended. The text names the server and the cause.

    Requests that were sent and have no response may have been carried out.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CarrierBusy(Exception):
    """The server reads too slowly: unsent messages have reached a limit. The message was not sent."""


class LoginRequired(Exception):
    """There are no credentials that the server accepts. The text contains the command that requests them."""


class Challenge(NamedTuple):
    """A response of status 401 or 403, with the values of its WWW-Authenticate fields (RFC 9110 section 11.6.1)."""

    status: int
    www_authenticate: tuple[str, ...]
    url: str


class Authorizer(Protocol):
    """The credentials of one remote server. They are sent to the origin of its configured URL only."""

    async def headers(self) -> Headers:
        """Return the header fields with the credentials, which are read or refreshed first if necessary.

        Raises LoginRequired.
        """
        ...

    async def renew(self, challenge: Challenge, used: Headers) -> bool:
        """Return whether there are other credentials than the `used`, which the server has refused.

        Raises LoginRequired.
        """
        ...


class Carrier(Protocol):
    """One connection with a remote server over which JSON-RPC messages pass, in the order in which they are sent."""

    async def run(
        self, on_message: OnMessage, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Connect, report that messages can be sent, and receive messages until the stream is lost.

        Returns never. Raises Unreachable and LoginRequired if there is no connection, and Lost after there was one.
        Cancelling closes the connection at once.
        """
        ...

    def send(self, line: bytes) -> None:
        """Send one message, without waiting. A line end at the end of it is ignored.

        Raises CarrierBusy over the limit `stdin_bytes`, and Lost before and after the connection.
        """
        ...

    def pause(self) -> None:
        """Read no further messages until `resume`, so that the server must wait."""
        ...

    def resume(self) -> None:
        """Continue to read messages."""
        ...
