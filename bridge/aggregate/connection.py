"""A WebSocket to one server of the daemon, and the requests in flight on it."""

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio
import trio_websocket

from ...validators import json_object, jsonrpc, stateless_request
from ...validators.jsonrpc import Notification, Response
from ...validators.limits import UNLIMITED
from ...validators.mcp_params import cancelled
from ...validators.rejection import Rejection
from ..core import extensions, input_over
from .output import log

# Notifications that belong to a request. All others of the core belong to a subscription.
_OF_REQUESTS: Final = frozenset({"notifications/progress", "notifications/message", input_over.METHOD})
# With more messages to write to a server, a notification is dropped.
_MOST_UNSENT: Final = 1024

OnNotification = Callable[[Notification], None]


class MemberRequest:
    """A request to a server. `on_notification` gets the notifications of the subscription that it opens, if it is one."""

    def __init__(self, wire_id: bytes, on_notification: OnNotification | None) -> None:
        self.wire_id = wire_id
        self.on_notification = on_notification
        # Set with the response, or when the connection is lost.
        self.done = trio.Event()
        self.response: Response | None = None


class MemberConnection:
    """An open WebSocket.

    `room` waits until the aggregate can take further messages, `on_notification` gets notifications of requests, and `close`
    closes the socket.
    """

    def __init__(
        self,
        socket: trio_websocket.WebSocketConnection,
        on_notification: OnNotification,
        close: Callable[[], None],
        room: Callable[[], Awaitable[None]],
    ) -> None:
        self._socket = socket
        self._room = room
        self._on_notification = on_notification
        self._close = close
        # By wire id. Removed with the response, or when the requester leaves.
        self._pending: dict[bytes, MemberRequest] = {}
        self._next_id = 1
        self._draining = False
        # Whether the socket is closed, and whether it was closed although a request was in flight.
        self.lost = False
        self.discarded = False
        self._used = trio.current_time()
        # A requester that leaves in the middle of a write would spoil the stream, so one task writes all messages. The
        # channel needs no limit, because the daemon limits the requests in flight.
        self._send, self._unsent = trio.open_memory_channel[bytes](math.inf)

    def begin(self, method: str, params: bytes, on_notification: OnNotification | None) -> MemberRequest:
        """Send a request. It has a response when it is `done`, unless the connection is lost."""
        self._used = trio.current_time()
        request = MemberRequest(b"%d" % self._next_id, on_notification)
        self._next_id += 1
        if self.lost:
            request.done.set()
        else:
            self._pending[request.wire_id] = request
            self._send.send_nowait(jsonrpc.request(request.wire_id, method, params))
        return request

    def notify(self, message: Notification) -> None:
        """Send a notification, or drop it if too many messages are unsent."""
        self._used = trio.current_time()
        if self._send.statistics().current_buffer_used < _MOST_UNSENT:
            self._send.send_nowait(jsonrpc.notification(message.method, message.params))

    def release(self, request: MemberRequest) -> None:
        """Remove a request whose requester does not wait any longer. Without a response it is cancelled."""
        if self._pending.pop(request.wire_id, None) is not None:
            params = cancelled(request.wire_id, b"")
            self._send.send_nowait(jsonrpc.notification("notifications/cancelled", params))
        self._close_if_drained()

    def idle_seconds(self, now: float) -> float:
        """Return the time since the last request, 0 with a request in flight (seconds)."""
        if self._pending:
            self._used = now
        return now - self._used

    def drain(self) -> None:
        """Close the connection after the last response."""
        self._draining = True
        self._close_if_drained()

    def _close_if_drained(self) -> None:
        if self._draining and not self._pending:
            self._close()

    def discard(self) -> None:
        """Close the connection at once."""
        self.discarded = bool(self._pending)
        self._close()

    def on_closed(self) -> None:
        """End all requests in flight without a response."""
        self.lost = True
        for request in self._pending.values():
            request.done.set()
        self._pending.clear()

    async def write(self) -> None:
        """Write messages until the socket is closed."""
        with suppress(trio_websocket.ConnectionClosed):
            async for text in self._unsent:
                await self._socket.send_message(text.decode())

    async def read(self) -> None:
        """Read messages until the socket is closed."""
        with suppress(trio_websocket.ConnectionClosed):
            while True:
                await self._room()
                self._on_message(await self._socket.get_message())

    def _on_message(self, text: str | bytes) -> None:
        try:
            message = jsonrpc.decode(text.encode() if isinstance(text, str) else text, UNLIMITED, deep=True)
        except Rejection as rejection:
            log("message_dropped", reason=rejection.text)
            return
        if isinstance(message, Response):
            request = self._pending.pop(message.id, None)
            if request is not None:
                request.response = message
                request.done.set()
        elif isinstance(message, Notification):
            self._dispatch(message)

    def _dispatch(self, message: Notification) -> None:
        meta = json_object.peek(json_object.peek(message.params).get("_meta"))
        if stateless_request.SUBSCRIPTION_ID in meta:
            stream = self._pending.get(bytes(meta[stateless_request.SUBSCRIPTION_ID]))
            if stream is not None and stream.on_notification is not None:
                stream.on_notification(message)
        elif message.method in _OF_REQUESTS or not extensions.is_core(message.method):
            self._on_notification(message)
