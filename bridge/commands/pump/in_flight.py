"""The requests of the client that have no response yet, and the requests of the server that the client has not answered. Pure."""

from .heads import Head, key_of
from .lines import PIECE, Line

# The most bytes of requests whose text is kept, so that they can be sent again if the daemon has not begun them.
_KEPT = 1024 * 1024
# The most requests of the server that are tracked, open ones and those of lost connections.
_TRACKED = 128


class RequestsInFlight:
    """Requests that were handed to the kernel, and have no response yet."""

    def __init__(self) -> None:
        # By key: raw ids, each with its line if that is kept. A client may use an id twice.
        self._requests: dict[bytes, list[tuple[bytes, Line | None]]] = {}
        # The size of the lines that are kept (bytes).
        self._kept = 0
        # Keys of requests that last until they are cancelled (MCP 2026-07-28 basic/patterns/subscriptions).
        self._lasting: set[bytes] = set()

    def __bool__(self) -> bool:
        return bool(self._requests)

    def __contains__(self, key: bytes) -> bool:
        return key in self._requests

    @property
    def are_due(self) -> bool:
        """Return whether a request has a response that comes by itself."""
        return not self._requests.keys() <= self._lasting

    def add(self, line: Line, head: Head) -> None:
        """Add a request. Its text is kept if it is small and alone in its line."""
        key = key_of(head.raw_id)
        fits = line.is_whole and line.size <= PIECE and self._kept + line.size <= _KEPT
        keeps = fits and len(line.heads) == 1
        if keeps:
            self._kept += line.size
        self._requests.setdefault(key, []).append((head.raw_id, line if keeps else None))
        if head.method == b"subscriptions/listen":
            self._lasting.add(key)

    def items(self) -> "list[tuple[bytes, bool]]":
        """Return the raw ids of all requests, and whether each lasts until it is cancelled."""
        return [
            (raw_id, key in self._lasting)
            for key, requests in self._requests.items()
            for raw_id, _ in requests
        ]

    def restore(self, raw_id: bytes, *, lasts: bool) -> None:
        """Add a request whose text is not kept."""
        key = key_of(raw_id)
        self._requests.setdefault(key, []).append((raw_id, None))
        if lasts:
            self._lasting.add(key)

    def take(self, key: bytes) -> "Line | None":
        """Remove the request with this key that was sent last. Return its line, if it is kept."""
        found = self._requests.get(key)
        if not found:
            return None
        _, line = found.pop()
        if line is not None:
            self._kept -= line.size
        if not found:
            del self._requests[key]
            self._lasting.discard(key)
        return line

    def is_kept(self, key: bytes) -> bool:
        """Return whether the text of the request with this key is kept."""
        found = self._requests.get(key)
        return found is not None and found[-1][1] is not None

    def clear(self) -> "list[bytes]":
        """Remove all requests, and return their raw ids."""
        found = [raw_id for raw_id, _ in self.items()]
        self._requests.clear()
        self._lasting.clear()
        self._kept = 0
        return found


class ServerRequests:
    """Requests of the server, on the open connection and on lost ones."""

    def __init__(self) -> None:
        # Raw ids by their keys. Removed at the response of the client, and when the server cancels the request.
        self._open: dict[bytes, bytes] = {}
        # Keys of lost connections, whose late responses are dropped. Removed at the response or a new request.
        self._lost: dict[bytes, None] = {}

    @property
    def raw_ids(self) -> "list[bytes]":
        """Return the raw ids of the open requests."""
        return list(self._open.values())

    def add(self, raw_id: bytes) -> None:
        """Add a request that was received."""
        key = key_of(raw_id)
        self._lost.pop(key, None)
        if len(self._open) < _TRACKED:
            self._open[key] = raw_id

    def remove(self, key: bytes) -> None:
        """Remove a request of the open connection, if there is one."""
        self._open.pop(key, None)

    @property
    def lost(self) -> "list[bytes]":
        """Return the keys of requests of lost connections."""
        return list(self._lost)

    def add_lost(self, key: bytes) -> None:
        """Add the key of a request of a lost connection."""
        self._lost[key] = None

    def remove_lost(self, key: bytes) -> bool:
        """Remove a request of a lost connection, and return whether there was one."""
        if key not in self._lost:
            return False
        del self._lost[key]
        return True

    def on_disconnect(self) -> "list[bytes]":
        """Return the raw ids of the requests on the connection that is lost."""
        found = self.raw_ids
        for key in self._open:
            self._lost.pop(key, None)
            self._lost[key] = None
        self._open.clear()
        while len(self._lost) > _TRACKED:
            del self._lost[next(iter(self._lost))]
        return found
