"""MCP over WebSocket: subprotocol `mcp`, a text message is one JSON-RPC message, or a batch in the revisions that have them.

`initialize` opens the one session of a connection. Requests of the stateless era are independent of it. Both end with the
connection. Messages of the server are written to the socket as soon as they arrive (`websocket_writer`).
"""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Final

import trio

from ...validators.json_object import LARGE, decoded_once
from ...validators.jsonrpc import (
    Message,
    Notification,
    Request,
    Response,
    decode,
    error,
    is_batch,
    refused_ids,
    response,
)
from ...validators.limits import Limits
from ...validators.mcp_params import read_cancelled
from ...validators.rejection import Rejection
from ...validators.stateless_request import check_meta, check_supported, is_modern, read_envelope
from ...validators.ws_frames import TOO_BIG, Close, FrameReader, Ping, Text, check_upgrade, upgrade_response
from ..client_process import Caller
from ..ports import Backend, Conversation, Exchange, Log, ModernRequest, UpgradedStream, Upstream
from ..rate_limited_log import RateLimitedLog
from ..send_queue import SendQueue
from .rejections import method_not_allowed
from .streamable_http import read_batch, receive_batch
from .websocket_writer import CloseLog, FrameWriter

# Bytes that are read at once: few, since they can hold a thousand frames, and many in the middle of a large frame.
_READ: Final = 8 * 1024
_READ_LARGE: Final = 64 * 1024
# Time that the input of one client may occupy the event loop (seconds).
_TURN_SECONDS: Final = 0.002
# Time for which the rest of a refused message is read and dropped (seconds).
_DROP_SECONDS: Final = 60.0


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
        queue = SendQueue(self._limits)
        exchange.attach(queue, ends_with_client=True)
        stream = exchange.upgrade()
        caller, ends_with_stream = exchange.caller.for_stream(head.headers)
        writer = FrameWriter(stream, queue, self._limits, self._log, self._closes)
        connection = _Connection(
            stream,
            writer,
            self._backend,
            exchange.principal,
            head.headers,
            queue,
            self._limits,
            self._log,
            caller,
        )
        try:
            offers = "sec-websocket-protocol" in head.headers
            await stream.send_all(upgrade_response(head.headers["sec-websocket-key"], subprotocol=offers))
            await connection.run()
        # The client has disconnected.
        except trio.BrokenResourceError:
            pass
        except Exception as fault:  # noqa: BLE001 - the boundary of an upgraded connection: no HTTP error can be sent
            self._log.error("internal_error", fault=fault)
            await writer.fail()
        finally:
            connection.end()
            if ends_with_stream:
                caller.end()


class _Unfinished:
    """Count the bytes that a connection holds of an unfinished message, in the total of its principal."""

    def __init__(self, stream: UpgradedStream, stack: ExitStack) -> None:
        self._stream = stream
        self._stack = stack
        self._count: Callable[[int], None] | None = None
        self._held = 0

    def follow(self, held: int) -> None:
        """Update the number of bytes held. Raises Rejection over the limit of the principal."""
        # Fewer than before: another message has begun.
        if held < self._held:
            self._stack.close()
            self._count, self._held = None, 0
        if held:
            self._count = self._count or self._stack.enter_context(self._stream.receiving())
            self._count(held - self._held)
            self._held = held


class _Connection:
    """An open WebSocket: read messages of the client, and pass them to its session and to servers."""

    def __init__(
        self,
        stream: UpgradedStream,
        writer: FrameWriter,
        backend: Backend,
        principal: str,
        headers: Mapping[str, str],
        queue: SendQueue,
        limits: Limits,
        log: RateLimitedLog,
        caller: Caller,
    ) -> None:
        self._stream = stream
        self._writer = writer
        self._backend = backend
        self._principal = principal
        self._headers = headers
        self._caller = caller
        self._conversation: Conversation | None = None
        # Servers that stateless requests were sent to, in order. Idle entries are removed when another is added.
        self._upstreams: dict[Upstream, None] = {}
        self._queue = queue
        self._limits = limits
        self._log = log

    async def run(self) -> None:
        """Read and write until either side closes."""
        self._writer.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._writer.run, nursery.cancel_scope)
            await self._read()
            nursery.cancel_scope.cancel()

    def end(self) -> None:
        """End the session and cancel all requests, because the connection has ended."""
        self._queue.on_disconnect()
        for upstream in self._upstreams:
            upstream.on_disconnect(self._queue)
        if self._conversation is not None:
            self._conversation.end(self._end_reason())

    def _end_reason(self) -> str:
        writer = self._writer
        if writer.closed_by_client:
            return f"the client closed its WebSocket: {writer.closed_by_client}"
        if self._queue.stalled:
            return f"the client has not read its WebSocket for {self._limits.write_stall_seconds:g} s"
        if writer.closed_because:
            return f"the bridge closed the WebSocket: {writer.closed_because}"
        return "the connection of the client ended without a close frame"

    # ---- frames

    async def _read(self) -> None:
        with ExitStack() as stack:
            await self._read_messages(_Unfinished(self._stream, stack))

    async def _read_messages(self, unfinished: _Unfinished) -> None:
        reader = FrameReader(self._limits.body, self._limits.json_depth)
        writer = self._writer
        end = refused = 0.0
        try:
            while data := await self._stream.receive_some(_READ_LARGE if reader.missing > _READ else _READ):
                writer.pinged_at = 0.0
                events = reader.feed(data, trio.current_time())
                try:
                    unfinished.follow(reader.held)
                # The message is refused, and the connection stays open.
                except Rejection as rejection:
                    reader.refuse(Rejection(rejection.status, rejection.code, rejection.text))
                # In the middle of a large message.
                if not events and time.perf_counter() > end:
                    await trio.lowlevel.checkpoint()
                    end = time.perf_counter() + _TURN_SECONDS
                events.reverse()
                while events:
                    # The input can hold thousands of frames.
                    if time.perf_counter() > end:
                        await trio.lowlevel.checkpoint()
                        end = time.perf_counter() + _TURN_SECONDS
                    event = events.pop()
                    if isinstance(event, Text):
                        held = [event.text]
                        # A large text has one reference only, which the callee removes.
                        del event
                        await self._receive(held)
                    elif isinstance(event, Ping):
                        writer.answer_ping(event.payload)
                    elif isinstance(event, Close):
                        await writer.answer_close(event.code, reader.reason, reader.close_reason)
                        return
                    else:
                        writer.pinged_at = 0.0
                refused = (refused or trio.current_time()) if reader.dropping else 0.0
                if refused and trio.current_time() - refused > _DROP_SECONDS:
                    reason = f"the rest of a message that was refused did not come within {_DROP_SECONDS:g} s"
                    await writer.send_close(TOO_BIG, reason)
                    return
        # The client has disconnected.
        except trio.BrokenResourceError:
            return

    # ---- messages

    async def _receive(self, held: list[bytes]) -> None:
        text = held.pop()
        conversation = self._conversation
        message: Message | None = None
        try:
            if conversation is not None and is_batch(text):
                messages = read_batch(text, conversation.version, self._limits)
                if len(text) > LARGE:
                    await trio.lowlevel.checkpoint()
                self._receive_batch(conversation, messages)
                return
            message = decode(text, self._limits)
            if len(text) > LARGE:
                text = b""
                await self._receive_large(message)
            else:
                await self._dispatch(message)
        except Rejection as rejection:
            self._refuse(text, message, rejection)
            if (
                rejection.close
                and self._conversation is None
                and not any(upstream.busy for upstream in self._upstreams)
            ):
                # The server of this connection has ended. On a new connection the client may get another.
                self._queue.close(rejection.text)

    def _receive_batch(self, conversation: Conversation, messages: list[Message]) -> None:
        try:
            receive_batch(conversation, messages, None)
        # The message has no response that could be an error.
        except Rejection as rejection:
            self._log.info("client_message_dropped", reason=rejection.text)

    def _refuse(self, text: bytes, message: Message | None, rejection: Rejection) -> None:
        """Send errors for a message that was refused, or for a text that cannot be read."""
        raw_ids: list[bytes] = []
        if message is None:
            raw_ids = refused_ids(text, self._limits)
        elif isinstance(message, Request):
            raw_ids = [message.id]
        if b"null" in raw_ids or not raw_ids:
            self._log.info("client_message_dropped", reason=rejection.text)
        for raw_id in raw_ids:
            self._queue.enqueue(error(raw_id, rejection.code, rejection.text, rejection.data))

    async def _receive_large(self, message: Message) -> None:
        # Each step may block the event loop for the time of one decoding, and not longer.
        await trio.lowlevel.checkpoint()
        with decoded_once():
            await self._dispatch(message)

    async def _dispatch(self, message: Message) -> None:
        if isinstance(message, Request) and is_modern(message.params):
            await self._start_request(message)
        elif self._conversation is not None:
            self._cancel(message)
            self._conversation.receive(message, None)
        elif isinstance(message, Request):
            await self._open_session(message)
        else:
            self._cancel(message)
            if isinstance(message, Notification) and self._upstreams:
                await self._backend.notify(self._principal, self._headers, message, self._caller)

    async def _open_session(self, message: Request) -> None:
        if message.method == "ping":
            self._queue.enqueue(response(message.id, Response(b"", b"{}", b"")))
            return
        # Raises Rejection, which names what the request lacks. No server is started for it.
        if message.method != "initialize":
            read_envelope(message.method, message.params, self._limits)
        self._conversation = await self._backend.open(self._principal, self._headers, self._queue)
        self._conversation.receive(message, None)

    async def _start_request(self, message: Request) -> None:
        if len(message.params) > LARGE:
            await trio.lowlevel.checkpoint()
        check_meta(message.params)
        if len(message.params) > LARGE:
            await trio.lowlevel.checkpoint()
        envelope = read_envelope(message.method, message.params, self._limits)
        check_supported(envelope.version)
        if len(message.params) > LARGE:
            await trio.lowlevel.checkpoint()
        request = ModernRequest(message, envelope, None)
        upstream = await self._backend.start_request(
            self._principal, self._headers, request, self._queue, pipe=True, caller=self._caller
        )
        # Idle upstreams need not be notified of the end of this connection.
        if upstream not in self._upstreams:
            self._upstreams = {upstream: None, **{other: None for other in self._upstreams if other.busy}}

    def _cancel(self, message: Message) -> None:
        if (
            self._upstreams
            and isinstance(message, Notification)
            and message.method == "notifications/cancelled"
        ):
            named, _ = read_cancelled(message.params)
            for upstream in self._upstreams:
                upstream.cancel(self._queue, named, message.params)
