"""Store what the client has sent to open and configure its session, and repeat it for another process. Pure."""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from ....validators import json_object, jsonrpc
from ....validators.jsonrpc import Request
from ....validators.limits import Limits
from ....validators.list_changes import declared_changes
from .effects import ToClient, ToServer
from .raw_messages import value_of

INITIALIZE: Final = "initialize"
# Subscriptions to resources that are repeated.
_MOST: Final = 128


class SessionSetup:
    """The setup of one session."""

    def __init__(self) -> None:
        # The request that opens the session, with its raw id; empty before it is sent and after it was rejected.
        self.initialize = b""
        self.initialize_id = b""
        # Whether a server has accepted it.
        self.accepted = False
        # The revision that was negotiated.
        self.revision = ""
        # `notifications/initialized`, as the client has sent it.
        self.initialized = b""
        # Raw params of the last `logging/setLevel`.
        self._level = b""
        # URIs of subscribed resources. Removed by `resources/unsubscribe`.
        self._uris: dict[str, None] = {}

    @property
    def opening(self) -> bool:
        """Return whether the client has sent `initialize` and has no response yet."""
        return bool(self.initialize) and not self.accepted

    def is_response(self, value: object) -> bool:
        """Return whether this is the id of the `initialize` that has no response yet."""
        return not self.accepted and bool(self.initialize) and value == value_of(self.initialize_id)

    def record(self, request: Request, text: bytes) -> None:
        """Store a request of the client, if it configures the session."""
        match request.method:
            case "initialize" if not self.accepted and not self.initialize:
                self.initialize, self.initialize_id = text, request.id
            case "logging/setLevel":
                self._level = request.params
            case "resources/subscribe":
                if (uri := _uri_in(request.params)) and len(self._uris) < _MOST:
                    self._uris[uri] = None
            case "resources/unsubscribe":
                self._uris.pop(_uri_in(request.params), None)
            case _:
                pass

    def repeat_initialize(self, raw_id: bytes, limits: Limits) -> ToServer:
        """Return the request that opens the session again, with an id of our own."""
        request = jsonrpc.decode(self.initialize, limits)
        assert isinstance(request, Request)  # noqa: S101 - it was one when it was stored
        return ToServer(jsonrpc.request(raw_id, INITIALIZE, request.params))

    def repeat_rest(self, new_id: Callable[[], bytes]) -> Iterator[ToServer]:
        """Yield what configures the session after `initialize`, with ids of our own."""
        if self.initialized:
            yield ToServer(jsonrpc.notification("notifications/initialized", b""))
        if self._level:
            yield ToServer(jsonrpc.request(new_id(), "logging/setLevel", self._level))
        for uri in self._uris:
            params = json_object.write({"uri": uri})
            yield ToServer(jsonrpc.request(new_id(), "resources/subscribe", params))

    def report_changes(self, result: bytes | msgspec.Raw) -> Iterator[ToClient]:
        """Yield notifications of changes, because another process may have other lists, and changes were missed meanwhile."""
        if not self.initialized:
            return
        offered = json_object.peek(json_object.peek(result).get("capabilities"))
        for method in declared_changes(offered):
            yield ToClient(jsonrpc.notification(method, b""))
        for uri in self._uris:
            params = json_object.write({"uri": uri})
            yield ToClient(jsonrpc.notification("notifications/resources/updated", params))


def _uri_in(params: bytes) -> str:
    return json_object.string(json_object.peek(params).get("uri"))
