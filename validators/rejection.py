"""What a validator answers when it will not let something pass."""

from typing import Final

# JSON-RPC 2.0 section 5.1, and the codes that MCP adds (specification digest, section 1.13).
PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
SERVER_ERROR: Final = -32000
SESSION_NOT_FOUND: Final = -32001
# What SDKs say for a request that took too long.
TIMEOUT: Final = -32001


class Rejection(Exception):
    """A peer sent something that we refuse.

    `status` is the HTTP status to answer with, `code` the JSON-RPC error code, and `text` a sentence
    that names the thing, the limit and the value, and never repeats what the peer sent. `headers` go out
    with the HTTP answer (Allow, Retry-After, WWW-Authenticate), `data` in the error object. `close` says that the connection
    can no longer be trusted to be in step and must end after the answer. `reason` is the kind of refusal in the log and
    in the counters, an identifier; without one, the kind follows from `status`.
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


def too_large(what: str, limit: int, key: str) -> Rejection:
    """Return the refusal of what a rule would have to look into and is too large for that: 200, -32603.

    `what` names the thing and its size, `key` the key in the table `limits` of the configuration.
    """
    return Rejection(200, INTERNAL_ERROR, f"{what} exceeds the limit of {limit} (limits.{key})")
