"""Subscriptions of several fronts to one resource: the server receives one request for all of them. Pure."""

from ...validators import json_object
from ...validators.jsonrpc import Request


class SharedSubscriptions:
    """The unanswered `resources/subscribe` requests of one process."""

    __slots__ = ("_requests", "_uris")

    def __init__(self) -> None:
        # By the wire id of the request at the server: the URI, and the requests of other fronts that wait for the response.
        self._requests: dict[bytes, tuple[str, list[bytes]]] = {}
        # The wire id of the request at the server by URI. An unsubscription or the response drops an entry.
        self._uris: dict[str, bytes] = {}

    def begin(self, uri: str, wire_id: bytes) -> None:
        """Add a request that is sent to the server."""
        self._requests[wire_id] = (uri, [])
        self._uris[uri] = wire_id

    def join(self, uri: str, wire_id: bytes) -> bool:
        """Let a request wait for the response to another. Return False if there is none for this URI."""
        first = self._uris.get(uri)
        if first is not None:
            self._requests[first][1].append(wire_id)
        return first is not None

    def cancel(self, uri: str) -> None:
        """Let later requests for this URI wait no more."""
        self._uris.pop(uri, None)

    def is_pending(self, wire_id: bytes) -> bool:
        """Return whether this request was sent to the server and has no response."""
        return wire_id in self._requests

    def end(self, wire_id: bytes) -> tuple[str, list[bytes]]:
        """Remove a request. Return its URI, if it is the last request for it, and the requests that have waited."""
        uri, others = self._requests.pop(wire_id, ("", []))
        if self._uris.get(uri) != wire_id:
            return "", others
        del self._uris[uri]
        return uri, others


def request(method: str, wire_id: bytes, uri: str) -> Request:
    """Return a request of the bridge to subscribe to a resource, or to unsubscribe."""
    return Request(wire_id, f"resources/{method}", json_object.write({"uri": uri}))
