"""Track the requests of the server, on the open connection and on lost connections. Pure."""

from typing import Final

from .raw_messages import value_of

# Of each kind. Beyond that a request on the open connection is not stored, and the oldest request of lost connections is removed.
_MOST: Final = 128


class OpenServerRequests:
    """Which requests of the server have no response of the client yet."""

    def __init__(self) -> None:
        # Raw ids by their values. Removed at the response of the client, and when the server cancels the request.
        self._open: dict[object, bytes] = {}
        # Values of ids of lost connections, whose late responses are dropped. Removed at the response or a new request.
        self._lost: dict[object, None] = {}

    def add(self, raw_id: bytes) -> None:
        """Add a request that was received."""
        value = value_of(raw_id)
        self._lost.pop(value, None)
        if len(self._open) < _MOST:
            self._open[value] = raw_id

    def remove(self, value: object) -> bool:
        """Remove a request of the open connection, and return whether there was one."""
        return self._open.pop(value, None) is not None

    def remove_lost(self, value: object) -> bool:
        """Remove a request of a lost connection, and return whether there was one."""
        if value not in self._lost:
            return False
        del self._lost[value]
        return True

    def on_disconnect(self) -> list[bytes]:
        """Return the raw ids of the requests on the connection that is lost."""
        ids = list(self._open.values())
        self._lost.update(dict.fromkeys(self._open))
        self._open.clear()
        while len(self._lost) > _MOST:
            del self._lost[next(iter(self._lost))]
        return ids
