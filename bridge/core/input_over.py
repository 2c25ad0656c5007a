"""An extension between parts of the bridge: withdraw the input that an `input_required` result has requested. Pure.

A legacy server may answer a call, or cancel its own request, while the client collects the input. A modern client gets that
answer when it retries the request. A legacy client of the aggregate must get the cancellation at once: the adapter in front of
the legacy server sends `METHOD` with the `requestState`, and the adapter in front of the legacy client cancels its requests to
the client and retries. The notification is sent only on a connection that carries many requests, and only for requests that
declare the extension.
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
    """Return the notification that withdraws the input requests with this `requestState`."""
    return Notification(METHOD, json_object.write({"requestState": state}))


def state_of(params: bytes) -> str:
    """Return the `requestState` that a notification names."""
    return json_object.string(json_object.peek(params).get("requestState"))
