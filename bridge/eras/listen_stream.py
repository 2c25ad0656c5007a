"""The subscriptions of a legacy client, as one `subscriptions/listen` at a modern server.

A legacy client receives changes of lists unsolicited, and subscribes to resources one by one (MCP 2025-11-25
server/resources#subscriptions). A modern server sends both on a stream that names all of them (MCP 2026-07-28
basic/patterns/subscriptions). Each change opens a new stream, and the old one is closed when the new one is acknowledged. Pure.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from ...validators import json_object
from ...validators.counted import counted
from ...validators.json_object import Members
from ...validators.jsonrpc import Notification, Request, Response
from ...validators.limits import Limits
from ...validators.list_changes import CAPABILITY_OF, KIND_OF, NOTIFICATION_OF
from ...validators.mcp_params import cancelled
from ...validators.rejection import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND
from ...validators.stateless_request import LISTEN
from ..core.abandoned_requests import AbandonedRequests
from ..core.effects import Effect, Effects, LogDebug, SetTimer, ToRequester, ToServer
from ..core.errors import Fault, read_fault
from .client_handshake import ClientHandshake
from .responses import fail, respond
from .timers import ListenDue

# The delay before a stream is opened again that the server has ended (seconds). It doubles after each failure.
LISTEN_DELAY: Final = 1.0
LONGEST_LISTEN_DELAY: Final = 60.0

_PUBLISHED: Final = frozenset({"notifications/resources/updated", *KIND_OF})
_ENDED: Final = Fault(message="the server has ended the subscription")


class _Change:
    """A change of the subscription: `requester` adds `uri` (`keep`) or removes it. Both are empty to open the stream again."""

    __slots__ = ("id", "keep", "requester", "uri", "uris")

    def __init__(self, requester: bytes = b"", uri: str = "", *, keep: bool = False) -> None:
        self.requester = requester
        self.uri = uri
        self.keep = keep
        # The resources of the stream that it opens, and the wire id of the stream.
        self.uris: tuple[str, ...] = ()
        self.id = b""

    def applied(self, uris: tuple[str, ...]) -> tuple[str, ...]:
        """Return these resources with the change."""
        others = tuple(uri for uri in uris if uri != self.uri)
        return (*others, self.uri) if self.keep else others


class ListenStream:
    """The stream of one client, and a queue of changes. A change that was begun ends before the next.

    | stream (`_open`) | change (`_change`) | the server                              |
    |------------------|--------------------|-----------------------------------------|
    | none             | none               | sends nothing, until a change or a timer |
    | none             | one                | has not acknowledged a new stream        |
    | one              | none               | sends notifications                      |
    | one              | one                | sends them until it acknowledges the new |

    `mint` returns a new wire id. `abandoned` gets the ids of closed streams.
    """

    def __init__(
        self,
        limits: Limits,
        handshake: ClientHandshake,
        mint: Callable[[], bytes],
        abandoned: AbandonedRequests,
    ) -> None:
        self._limits = limits
        self._handshake = handshake
        self._mint = mint
        self._abandoned = abandoned
        self._started = False
        # The wire id of the acknowledged stream, or empty, and its resources.
        self._open = b""
        self._uris: tuple[str, ...] = ()
        self._change: _Change | None = None
        self._changes: deque[_Change] = deque()
        # Whether notifications may have been missed since a stream was last open.
        self._missed = False
        self._delay = LISTEN_DELAY

    def start(self) -> Effects:
        """Open the stream for the first time, if the server sends changes of lists."""
        if self._started or not self._kinds():
            return ()
        self._started = True
        return self._enqueue(_Change())

    def reopen(self) -> Effects:
        """Open a stream again that the server has ended."""
        return () if self._open or self._change is not None else self._enqueue(_Change())

    def on_request(self, request: Request) -> Effects:
        """Handle `resources/subscribe` or `resources/unsubscribe`."""
        if not self._handshake.offers("resources", "subscribe"):
            return fail(request.id, METHOD_NOT_FOUND, "the server has no subscriptions to resources")
        uri = json_object.string(json_object.peek(request.params).get("uri"))
        limit = self._limits.in_flight
        if len(self._changes) >= limit:
            text = f"{counted(limit, 'change of a subscription waits', 'changes of subscriptions wait')} for the server"
            return fail(request.id, INTERNAL_ERROR, text)
        if request.method == "resources/unsubscribe":
            return (respond(request.id, b"{}"), *self._enqueue(_Change(b"", uri)))
        change = _Change(request.id, uri, keep=True)
        wanted = self._change.uris if self._change else self._uris
        for queued in (*self._changes, change):
            wanted = queued.applied(wanted)
        if len(wanted) > self._limits.stream_messages:
            text = f"the limit of {self._limits.stream_messages} subscribed resources is reached"
            return fail(request.id, INVALID_PARAMS, text)
        return self._enqueue(change)

    def publishes(self, method: str, stream: bytes) -> bool:
        """Return whether a notification with this method and subscription id is for the client."""
        return bool(stream) and stream == self._open and method in _PUBLISHED

    def owns(self, wire_id: bytes) -> bool:
        """Return whether this is the id of the stream, or of the one that is being opened."""
        return wire_id == self._open or (self._change is not None and wire_id == self._change.id)

    def on_acknowledged(self, stream: bytes, params: bytes) -> Effects:
        """Replace the stream by the one that the server has acknowledged."""
        change = self._change
        if change is None or stream != change.id:
            return (LogDebug("acknowledgement_unmatched"),)
        granted = json_object.peek(json_object.peek(params).get("notifications"))
        uris = {json_object.string(uri) for uri in json_object.items(granted.get("resourceSubscriptions"))}
        old, self._open = self._open, change.id
        self._uris = tuple(uri for uri in change.uris if uri in uris)
        self._change = None
        effects: list[Effect] = [*self._close(old)]
        if self._missed:
            self._missed, self._delay = False, LISTEN_DELAY
            effects.extend(self._all_changed(granted))
        if change.requester and change.uri in uris:
            effects.append(respond(change.requester, b"{}"))
        elif change.requester:
            text = "the server does not offer this resource for subscription"
            effects.extend(fail(change.requester, INVALID_PARAMS, text))
        return (*effects, *self._open_next())

    def on_cancelled(self, stream: bytes) -> Effects:
        """Handle `notifications/cancelled`, which a server may send for a stream only (MCP 2026-07-28 basic/patterns/cancellation)."""
        if stream and self.owns(stream):
            return self.on_response(Response(self._abandoned.add(stream), b"{}", b""))
        return (LogDebug("cancellation_unmatched"),)

    def on_response(self, message: Response) -> Effects:
        """Handle the end of a stream, which is the response to its request."""
        if message.id == self._open:
            self._open, self._missed = b"", True
            return (self._reopen_later(),)
        change, self._change = self._change, None
        effects: list[Effect] = []
        if change is not None and change.requester:
            fault = read_fault(message.error) if message.error else _ENDED
            effects.extend(fail(change.requester, INVALID_PARAMS, fault.message, fault.data))
        if self._missed and not self._changes:
            effects.append(self._reopen_later())
        return (*effects, *self._open_next())

    def _kinds(self) -> dict[str, object]:
        return {
            kind: True for kind, name in CAPABILITY_OF.items() if self._handshake.offers(name, "listChanged")
        }

    def _enqueue(self, change: _Change) -> Effects:
        self._changes.append(change)
        return self._open_next() if self._change is None else ()

    def _open_next(self) -> Effects:
        effects: list[Effect] = []
        while self._changes and self._change is None:
            change = self._changes.popleft()
            change.uris = change.applied(self._uris)
            wanted = self._kinds()
            if change.uris:
                wanted["resourceSubscriptions"] = list(change.uris)
            if not wanted:
                self._uris = ()
                effects.extend(self._close(self._open))
                self._open = b""
                continue
            self._change = change
            change.id = self._mint()
            params = self._handshake.envelope({"notifications": wanted})
            effects.append(ToServer(Request(change.id, LISTEN, params)))
        return tuple(effects)

    def _close(self, stream: bytes) -> Effects:
        if not stream:
            return ()
        self._abandoned.add(stream)
        return (ToServer(Notification("notifications/cancelled", cancelled(stream, b""))),)

    def _all_changed(self, granted: Members) -> Effects:
        """Notify the client of all that may have changed without a stream, because the server may have been restarted."""
        lists = (
            ToRequester(Notification(method, b""))
            for kind, method in NOTIFICATION_OF.items()
            if kind in granted
        )
        resources = (
            ToRequester(Notification("notifications/resources/updated", json_object.write({"uri": uri})))
            for uri in self._uris
        )
        return (*lists, *resources)

    def _reopen_later(self) -> Effect:
        delay, self._delay = self._delay, min(2 * self._delay, LONGEST_LISTEN_DELAY)
        return SetTimer(delay, ListenDue())
