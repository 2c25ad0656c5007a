"""MCP over WebSocket: subprotocol `mcp`, a text message is one JSON-RPC message, or a batch in the revisions that have them.

`client_messages` passes the messages of the client on, `websocket_receiver` reads them, and `websocket_writer` writes those of
the server.
"""

import trio

from ...validators.limits import Limits
from ...validators.ws_frames import check_upgrade, upgrade_response
from ..ports import Backend, Exchange, Log
from ..rate_limited_log import RateLimitedLog
from ..send_queue import ConnectionQueue, SendQueue
from .client_messages import ClientMessages
from .rejections import method_not_allowed
from .websocket_receiver import MessageReceiver
from .websocket_writer import CloseLog, FrameWriter


class WebSocket:
    """The endpoint `/ws` of one server."""

    def __init__(self, backend: Backend, limits: Limits, log: Log) -> None:
        self._backend = backend
        self._limits = limits
        self._log = RateLimitedLog(log)
        self._closes = CloseLog(log)

    async def __call__(self, exchange: Exchange) -> None:
        """Upgrade and serve one connection until either side closes. Raises Rejection before the upgrade only."""
        head = exchange.head
        if head.method != "GET":
            raise method_not_allowed(b"GET")
        check_upgrade(head.headers, head.upgrade, head.version)
        forwards = exchange.caller.forwards(head.headers)
        queue = ConnectionQueue(self._limits, "websocket", forwards=forwards)
        exchange.attach(queue, ends_with_client=True)
        stream = exchange.upgrade()
        caller, ends_with_stream = exchange.caller.for_stream(head.headers)
        writer = FrameWriter(stream, queue, self._limits, self._log, self._closes)
        messages = ClientMessages(
            self._backend,
            exchange.principal,
            head.headers,
            queue,
            self._limits,
            exchange.count_refusal,
            caller,
        )
        try:
            offers = "sec-websocket-protocol" in head.headers
            await stream.send_all(upgrade_response(head.headers["sec-websocket-key"], subprotocol=offers))
            writer.start()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.run, nursery.cancel_scope)
                receive, principal = messages.receive, exchange.principal
                await MessageReceiver(stream, writer, self._limits, receive, principal).run()
                nursery.cancel_scope.cancel()
        # The client has disconnected.
        except trio.BrokenResourceError:
            pass
        except Exception as fault:  # noqa: BLE001 - the boundary of an upgraded connection: no HTTP error can be sent
            self._log.error("internal_error", fault=fault)
            await writer.fail()
        finally:
            messages.end(self._end_reason(writer, queue))
            if ends_with_stream:
                caller.end()

    def _end_reason(self, writer: FrameWriter, queue: SendQueue) -> str:
        if writer.closed_by_client:
            return f"the client closed its WebSocket: {writer.closed_by_client}"
        if queue.stalled:
            return f"the client has not read its WebSocket for {self._limits.write_stall_seconds:g} s"
        if writer.closed_because:
            return f"the bridge closed the WebSocket: {writer.closed_because}"
        return "the connection of the client ended without a close frame"
