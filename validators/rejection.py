"""The exception of all validators, and the error codes of JSON-RPC and MCP."""

import math
from typing import Final

# JSON-RPC 2.0 section 5.1, and codes that MCP servers add in the range for servers (MCP 2026-07-28 basic, "Error Codes").
PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
SERVER_ERROR: Final = -32000
SESSION_NOT_FOUND: Final = -32001
# The code of the official SDKs for a request that took too long.
TIMEOUT: Final = -32001


class Rejection(Exception):
    """The refusal of bytes or headers of a peer.

    `status` is the HTTP status of the response, `code` the JSON-RPC error code. `text` is a sentence that names the thing, the
    limit and the value, and never repeats bytes of the peer. `headers` are sent with the HTTP response (Allow, Retry-After,
    WWW-Authenticate), `data` in the error object. `close` is true if the connection must be closed after the response, because
    the begin of the next request is uncertain. `reason` is the identifier of the refusal in the log and in the counters;
    an empty reason follows from `status`. `correlation_id` is in the response and in the log; `transports.correlation` makes it.
    """

    def __init__(
        self,
        status: int,
        code: int,
        text: str,
        *,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        close: bool = False,
        data: dict[str, object] | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text
        self.headers = headers
        self.close = close
        self.data = data
        self.reason = reason
        self.correlation_id = ""


def retry_after(seconds: float) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header of a refusal after which the client may repeat the request (seconds; RFC 9110 section 10.2.3).

    >>> retry_after(1.2)
    ((b'Retry-After', b'2'),)
    """
    return ((b"Retry-After", b"%d" % math.ceil(seconds)),)


def too_large(what: str, limit: int, key: str) -> Rejection:
    """Return the Rejection of a value that is too large to be examined: 200, -32603.

    `what` names the value and its size, `key` the key in the table `limits` of the configuration.
    """
    return Rejection(200, INTERNAL_ERROR, f"{what} exceeds the limit of {limit} (limits.{key})")
