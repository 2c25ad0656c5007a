"""`subscriptions/listen` in front of a legacy server (MCP 2026-07-28 basic/patterns/subscriptions).

A resource is subscribed at the server once for all listeners that want it. Pure.
"""

from collections.abc import Callable, Iterable

import msgspec

from ...validators import json_object, stateless_request
from ...validators.jsonrpc import Notification, Request, Response
from ...validators.list_changes import CAPABILITY_OF, KIND_OF
from ..core.abandoned_requests import AbandonedRequests
from ..core.effects import Effect, Effects, LogDebug, ToRequester, ToServer
from ..core.handshake import Handshake


class _Listener:
    """An open `subscriptions/listen`."""

    __slots__ = ("kinds", "missed", "names_resources", "uris", "waiting")

    def __init__(self, kinds: set[str], uris: list[str], *, names_resources: bool) -> None:
        self.kinds = kinds
        self.uris = uris
        # Whether resources were requested, so that the acknowledgement must name them.
        self.names_resources = names_resources
        # URIs whose `resources/subscribe` has no response. The listener is acknowledged when the set is empty.
        self.waiting: set[str] = set()
        # By method or URI: the last change before the acknowledgement, which must come first.
        self.missed: dict[str, Notification] = {}


class Subscriptions:
    """The listeners of one legacy server process.

    `mint` returns a new wire id. `abandoned` gets the ids of requests whose responses change nothing. `limit` is the number
    of resources that may be subscribed. With `several`, the process has several clients: an update of a resource under a URI
    that no listener has named is sent to none of them.
    """

    def __init__(
        self,
        handshake: Handshake,
        mint: Callable[[], bytes],
        abandoned: AbandonedRequests,
        limit: int,
        *,
        several: bool,
    ) -> None:
        self._handshake = handshake
        self._mint = mint
        self._abandoned = abandoned
        self._limit = limit
        self._several = several
        # By the id of the `subscriptions/listen`. Removed when it is closed.
        self._listeners: dict[bytes, _Listener] = {}
        # By subscribed URI: the number of its listeners.
        self._wanted: dict[str, int] = {}
        # By the wire id of a `resources/subscribe` without a response: its URI.
        self._subscribing: dict[bytes, str] = {}

    def __contains__(self, requester: bytes) -> bool:
        return requester in self._listeners

    def __len__(self) -> int:
        return len(self._listeners)

    def open(self, requester: bytes, params: bytes) -> Effects | None:
        """Open a listener. Returns None if more resources would be subscribed than the limit."""
        wanted = json_object.peek(json_object.read(params).get("notifications"))
        kinds = {
            kind
            for kind, capability in CAPABILITY_OF.items()
            if _is_true(wanted.get(kind)) and _is_true(self._handshake.setting(capability, "listChanged"))
        }
        uris = _strings(wanted.get("resourceSubscriptions"), self._limit)
        if uris is None or len(uris) + len(self._wanted) > self._limit:
            return None
        able = _is_true(self._handshake.setting("resources", "subscribe"))
        names_resources = "resourceSubscriptions" in wanted and able
        listener = _Listener(kinds, uris if able else [], names_resources=names_resources)
        self._listeners[requester] = listener
        return self._subscribe(requester, listener)

    def _subscribe(self, requester: bytes, listener: _Listener) -> Effects:
        effects: list[Effect] = []
        for uri in listener.uris:
            self._wanted[uri] = self._wanted.get(uri, 0) + 1
            if self._wanted[uri] == 1:
                wire_id = self._mint()
                self._subscribing[wire_id] = uri
                effects.append(
                    ToServer(Request(wire_id, "resources/subscribe", json_object.write({"uri": uri})))
                )
            if uri in self._subscribing.values():
                listener.waiting.add(uri)
        if not listener.waiting:
            effects.append(_acknowledged(requester, listener))
        return tuple(effects)

    def on_response(self, message: Response) -> Effects | None:
        """Handle the response to a `resources/subscribe`. Returns None if the response is to another request."""
        uri = self._subscribing.pop(message.id, None)
        if uri is None:
            return None
        effects: list[Effect] = []
        for requester, listener in self._listeners.items():
            if uri in listener.waiting:
                listener.waiting.discard(uri)
                if message.error:
                    listener.uris = [other for other in listener.uris if other != uri]
                if not listener.waiting:
                    effects.append(_acknowledged(requester, listener))
                    effects.extend(_caught_up(requester, listener))
        if message.error:
            self._wanted.pop(uri, None)
        return tuple(effects)

    def close(self, requester: bytes) -> Effects:
        """Close a listener, and unsubscribe the resources that no other listener wants."""
        effects: list[Effect] = []
        for uri in self._listeners.pop(requester).uris:
            left = self._wanted.pop(uri) - 1
            if left:
                self._wanted[uri] = left
            else:
                # A late response to this subscription must not be taken for a response to the next.
                for wire_id in [own_id for own_id, named in self._subscribing.items() if named == uri]:
                    del self._subscribing[self._abandoned.add(wire_id)]
                own_id = self._abandoned.add(self._mint())
                params = json_object.write({"uri": uri})
                effects.append(ToServer(Request(own_id, "resources/unsubscribe", params)))
        return tuple(effects)

    def on_list_changed(self, message: Notification) -> Effects:
        """Publish that a list of the server has changed."""
        kind = KIND_OF[message.method]
        effects: list[Effect] = []
        if kind == "toolsListChanged":
            # Without a subscription, this is for the multiplexer, which compares headers with the tools.
            effects.append(ToRequester(Notification(message.method, b"")))
        for requester, listener in self._listeners.items():
            if kind in listener.kinds and listener.waiting:
                listener.missed[message.method] = message
            elif kind in listener.kinds:
                effects.append(_published(message, requester))
        return tuple(effects)

    def on_resource_updated(self, message: Notification) -> Effects:
        """Publish that a resource has changed."""
        uri = json_object.string(json_object.peek(message.params).get("uri"))
        open_ = {name: listener for name, listener in self._listeners.items() if not listener.waiting}
        matching = [name for name, listener in open_.items() if _covers(listener.uris, uri)]
        # A server may name a sub-resource of a subscribed resource (MCP 2025-11-25 schema, ResourceUpdatedNotification).
        if not matching and not self._several:
            matching = [name for name, listener in open_.items() if listener.uris]
        for listener in self._listeners.values():
            if listener.waiting and uri in listener.uris:
                listener.missed[uri] = message
        if not matching:
            return (LogDebug("resource_update_without_listener"),)
        return tuple(_published(message, requester) for requester in matching)


def _acknowledged(requester: bytes, listener: _Listener) -> Effect:
    granted: dict[str, object] = dict.fromkeys(sorted(listener.kinds), True)
    if listener.names_resources:
        granted["resourceSubscriptions"] = listener.uris
    meta = {stateless_request.SUBSCRIPTION_ID: msgspec.Raw(requester)}
    params = json_object.write({"notifications": granted, "_meta": meta})
    return ToRequester(Notification(stateless_request.ACKNOWLEDGED, params), requester)


def _caught_up(requester: bytes, listener: _Listener) -> Iterable[Effect]:
    missed, listener.missed = listener.missed, {}
    return [
        _published(message, requester)
        for changed, message in missed.items()
        if changed in KIND_OF or changed in listener.uris
    ]


def _published(message: Notification, requester: bytes) -> ToRequester:
    found = json_object.peek(message.params)
    meta = json_object.peek(found.get("_meta"))
    meta[stateless_request.SUBSCRIPTION_ID] = msgspec.Raw(requester)
    found["_meta"] = json_object.raw(json_object.write(meta))
    return ToRequester(Notification(message.method, json_object.write(found)), requester)


def _covers(uris: Iterable[str], uri: str) -> bool:
    return any(uri == prefix or uri.startswith(prefix.rstrip("/") + "/") for prefix in uris)


def _is_true(raw: msgspec.Raw | None) -> bool:
    return raw is not None and bytes(raw) == b"true"


def _strings(raw: msgspec.Raw | None, most: int) -> list[str] | None:
    """Return the strings of an array, each once; None if it has more than `most` items."""
    items = json_object.items_up_to(most, raw)
    return (
        None
        if items is None
        else list(dict.fromkeys(text for text in map(json_object.string, items) if text))
    )
