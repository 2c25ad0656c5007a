"""`roots/list` of a legacy server outside of a call, as many servers send it after `initialize`. Pure."""

from typing import Final

from ...validators.jsonrpc import Request
from .legacy_call import LegacyCall

# The error text for a request that no call could carry to the client in time.
NO_CALL: Final = "no call of the client came that could have carried this request"


class RootsRequests:
    """The requests that wait for a call, and the roots that the client has sent last.

    A request is answered with the last roots, or it waits for the first call whose client has declared roots.
    """

    def __init__(self) -> None:
        # The last result of `roots/list` (raw), empty before the first.
        self.known = b""
        # By the server's id: the request, and when `late` first saw it (seconds). Removed when a call carries it.
        self.waiting: dict[bytes, tuple[Request, float | None]] = {}

    def __contains__(self, server_id: bytes) -> bool:
        return server_id in self.waiting

    def keep(self, message: Request, limit: int) -> bool:
        """Keep a request until a call can carry it. Returns False at the limit."""
        if len(self.waiting) >= limit:
            return False
        self.waiting[message.id] = (message, None)
        return True

    def withdraw(self, server_id: bytes) -> None:
        """Remove a request that the server has cancelled."""
        self.waiting.pop(server_id, None)

    def carried_by(self, call: LegacyCall) -> list[Request]:
        """Remove and return the requests that a new call can carry."""
        if not call.declares("roots/list", b""):
            return []
        waiting, self.waiting = self.waiting, {}
        return [message for message, _ in waiting.values()]

    def late(self, now: float, patience: float) -> list[Request]:
        """Remove and return the requests that have waited longer than `patience` (seconds)."""
        late: list[Request] = []
        for server_id, (message, since) in tuple(self.waiting.items()):
            if since is None:
                self.waiting[server_id] = (message, now)
            elif now - since > patience:
                del self.waiting[server_id]
                late.append(message)
        return late
