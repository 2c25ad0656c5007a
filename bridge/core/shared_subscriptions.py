"""Subscriptions of several fronts to resources: the server receives one request for all of them. Pure.

The URIs of a front (`Front.uris`) outlive the process. This class has what belongs to one process.
"""

import re
from collections.abc import Collection, Iterable
from typing import Final

from ...validators import json_object
from ...validators.counted import counted
from ...validators.jsonrpc import Notification, Request, Response
from ...validators.limits import Limits
from ...validators.rejection import INVALID_PARAMS
from .effects import ToServer
from .front import Front
from .shared_calls import SharedCall, SharedCalls
from .shared_effects import Effects, ToFront, failure

_SLASHES: Final = re.compile("/+")
# As many as a URI of a scheme without an authority ends with: "file:///".
_MOST_SLASHES: Final = 3
# The most characters of all URIs that `_covering` returns, because a server may send a long URI with many slashes.
_MOST_COVERING: Final = 1024 * 1024


class SharedSubscriptions:
    """The subscriptions at one process, and its unanswered `resources/subscribe` requests."""

    __slots__ = ("_calls", "_fronts", "_limits", "_requests", "_uris")

    def __init__(self, limits: Limits, fronts: Collection[Front], calls: SharedCalls) -> None:
        self._limits = limits
        self._fronts = fronts
        self._calls = calls
        # By the wire id of the request at the server: the URI, and the requests of other fronts that wait for the response.
        # The response removes an entry.
        self._requests: dict[bytes, tuple[str, list[bytes]]] = {}
        # The wire id of the request at the server by URI. An unsubscription or the response removes an entry.
        self._uris: dict[str, bytes] = {}

    def subscribe(self, front: Front, message: Request, token: bytes) -> Effects:
        """Handle `resources/subscribe` of a front. Only the first for a URI is sent to the server."""
        uri = _uri_in(message.params)
        limit = self._limits.stream_messages
        if len(front.uris) >= limit and uri not in front.uris:
            text = f"the limit of {counted(limit, 'subscribed resource')} is reached (stream_messages)"
            return (ToFront(front, failure(message.id, INVALID_PARAMS, text)),)
        calls = self._calls.by_id
        # The server refuses a request without a URI.
        if not uri:
            calls[message.id] = SharedCall(front, message.method, token)
            return (ToServer(message),)
        first = not self._is_wanted(uri)
        front.uris[uri] = None
        if first:
            calls[message.id] = SharedCall(front, message.method, token, uri)
            self._requests[message.id] = (uri, [])
            self._uris[uri] = message.id
            return (ToServer(message),)
        pending = self._uris.get(uri)
        if pending is not None:
            calls[message.id] = SharedCall(front, message.method, token, uri)
            self._requests[pending][1].append(message.id)
            return ()
        return (ToFront(front, Response(message.id, b"{}", b"")),)

    def unsubscribe(self, front: Front, message: Request, token: bytes) -> Effects:
        """Handle `resources/unsubscribe` of a front. Only the last for a URI is sent to the server."""
        uri = _uri_in(message.params)
        front.uris.pop(uri, None)
        if self._is_wanted(uri):
            return (ToFront(front, Response(message.id, b"{}", b"")),)
        self._uris.pop(uri, None)
        self._calls.by_id[message.id] = SharedCall(front, message.method, token)
        return (ToServer(message),)

    def is_pending(self, wire_id: bytes) -> bool:
        """Return whether this request to subscribe was sent to the server and has no response."""
        return wire_id in self._requests

    def on_response(self, message: Response) -> Effects:
        """Handle the response to a request to subscribe: all fronts that wait for it get it."""
        uri, others = self._requests.pop(message.id, ("", []))
        if self._uris.get(uri) == message.id:
            del self._uris[uri]
            if message.error:
                for front in self._fronts:
                    front.uris.pop(uri, None)
        calls = self._calls.by_id
        waiting = [(one, calls.pop(one)) for one in others if one in calls]
        return tuple(
            ToFront(call.front, Response(one, bytes(message.result), message.error)) for one, call in waiting
        )

    def on_updated(self, message: Notification) -> Effects:
        """Send `notifications/resources/updated` to the fronts that have subscribed to the resource."""
        covering = _covering(_uri_in(message.params))
        return tuple(
            ToFront(front, message)
            for front in self._fronts
            if front.translated or not front.uris.keys().isdisjoint(covering)
        )

    # ---- requests of the bridge

    def restore(self, front: Front) -> Effects:
        """Subscribe to the URIs of a front that no other front has subscribed to."""
        return self._restore(self._only_of(front))

    def restore_all(self) -> Effects:
        """Subscribe to the URIs of all fronts, because the process has replaced another."""
        return self._restore(dict.fromkeys(uri for one in self._fronts for uri in one.uris))

    def _restore(self, uris: Iterable[str]) -> Effects:
        requests = self._requests_for("subscribe", uris)
        for uri, request in zip(uris, requests, strict=True):
            # A front that subscribes meanwhile waits for this response. If it is an error, no front is subscribed.
            self._requests[request.id] = (uri, [])
            self._uris[uri] = request.id
        return tuple(map(ToServer, requests))

    def remove(self, front: Front) -> Effects:
        """Unsubscribe from the URIs of a front that leaves, unless another front has subscribed to them."""
        return tuple(map(ToServer, self._requests_for("unsubscribe", self._only_of(front))))

    def _requests_for(self, method: str, uris: Iterable[str]) -> list[Request]:
        return [
            Request(self._calls.own_id(), f"resources/{method}", json_object.write({"uri": uri}))
            for uri in uris
        ]

    def _only_of(self, front: Front) -> list[str]:
        own = set(front.uris).difference(*(one.uris for one in self._fronts if one is not front))
        return [uri for uri in front.uris if uri in own]

    def _is_wanted(self, uri: str) -> bool:
        return any(uri in front.uris for front in self._fronts)


def _uri_in(params: bytes) -> str:
    return json_object.string(json_object.peek(params).get("uri"))


def _covering(uri: str) -> set[str]:
    """Return a URI and those of all resources that it is a part of, each with and without slashes at its end.

    There may be a thousand fronts with a thousand URIs each, so the URIs of a front are not compared one by one. Only the
    shortest are returned if all have more than `_MOST_COVERING` characters together.
    """
    found = {uri}
    left = _MOST_COVERING
    for match in _SLASHES.finditer(uri):
        end = match.start()
        left -= (_MOST_SLASHES + 1) * (end + _MOST_SLASHES)
        if left < 0:
            break
        found.update(uri[:end] + "/" * count for count in range(_MOST_SLASHES + 1))
    return found
