"""An extension between parts of the bridge: the input that a result has required is not needed any more.

A legacy server may answer a call, or cancel its request, while the client is being asked. A modern client learns that with
its retry. A legacy client behind the aggregate is to learn it at once, as on a pipe: the adapter in front of the legacy
server sends `METHOD` with the `requestState`, and the adapter in front of the legacy client cancels its requests to it and
retries. It is sent only on a connection for many requests, and only for requests that declare the extension. Pure.
"""

from typing import Final

from ...validators import json_object
from ...validators.jsonrpc import Notification

METHOD: Final = "notifications/mcp-bridge/input_over"
EXTENSION: Final = "mcp-bridge/input-over"
_MARK: Final = EXTENSION.encode()


def declared_in(capabilities: bytes) -> bool:
    """Return whether the client capabilities of a request declare the extension."""
    return _MARK in capabilities and EXTENSION in json_object.peek(
        json_object.peek(capabilities).get("extensions")
    )


def notification(state: str) -> Notification:
    """Return the notification for the round with this `requestState`."""
    return Notification(METHOD, json_object.write({"requestState": state}))


def state_of(params: bytes) -> str:
    """Return the `requestState` that a notification names."""
    return json_object.string(json_object.peek(params).get("requestState"))
