"""MCP over WebSocket (specification digest, section 5.2): subprotocol `mcp`, one text message is one JSON-RPC message.

In the revisions that have them it may be a batch. Requests of the modern era are each for themselves; `initialize` opens
the one session of the connection. The loss of the connection ends both. What the server says goes to the socket in the
turn of the loop in which it came, as long as the socket takes it; a writer task does the rest.
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
from ...validators.ws_frames import (
    GOING_AWAY,
    INTERNAL,
    TOO_BIG,
    TRY_LATER,
    Close,
    FrameReader,
    Ping,
    Text,
    accepted,
    check_upgrade,
    close_frame,
    ping_frame,
    pong_frame,
    text_frame,
)
from .. import client_process
from ..client_process import Caller
from ..ports import Backend, Conversation, Exchange, Log, ModernRequest, UpgradedStream, Upstream
from ..rate_limited_log import RateLimitedLog
from ..send_queue import DISCONNECTED, OVERFLOWED, SendQueue, Signal
from .rejections import method_not_allowed
from .streamable_http import read_batch, receive_batch

# As much as is read at once: a little holds a thousand frames, a large frame is read in large pieces.
_READ: Final = 8 * 1024
_READ_LARGE: Final = 64 * 1024
# How long, in seconds, what one client sends may keep everybody else waiting.
_TURN_SECONDS: Final = 0.002
# How long a client may leave pings unanswered (seconds): its program may be stopped, which its kernel does not show. With
# heartbeats shorter than by default it is so many of them. A host that is gone acknowledges nothing, and TCP_USER_TIMEOUT
# closes the connection earlier.
_PONG_SECONDS: Final = 300.0
_USUAL_HEARTBEAT: Final = Limits().heartbeat_seconds
_MISSED: Final = 5
# How long a client may take to answer our close frame, in seconds.
_CLOSE_SECONDS: Final = 1.0
# How long what still comes of a message that was refused is read and dropped, in seconds.
_DROP_SECONDS: Final = 60.0
# The reasons of closes that have no other (RFC 6455 section 5.5.1).
_ENDED: Final = "the session has ended"
_ECHO: Final = "closed by the client"


class WebSocket:
    """The endpoint `/ws` of one server."""

    def __init__(self, backend: Backend, limits: Limits, log: Log) -> None:
        self._backend = backend
        self._limits = limits
        self._log = RateLimitedLog(log)
        self._closes = Closes(log)

    async def __call__(self, exchange: Exchange) -> None:
        """Upgrade and serve one connection until either side leaves. Raises Rejection before the upgrade only."""
        head = exchange.head
        if head.method != "GET":
            raise method_not_allowed(b"GET")
        check_upgrade(head.headers, head.upgrade, head.version)
        queue = SendQueue(self._limits)
        exchange.attach(queue, ends_with_client=True)
        stream = exchange.upgrade()
        caller, ends = exchange.caller.for_stream(head.headers)
        talk = _Talk(
            stream,
            self._backend,
            exchange.principal,
            head.headers,
            queue,
            self._limits,
            self._log,
            caller,
            self._closes,
        )
        try:
            offers = "sec-websocket-protocol" in head.headers
            await stream.send_all(accepted(head.headers["sec-websocket-key"], subprotocol=offers))
            await talk.run()
        except trio.BrokenResourceError:
            pass  # the client is gone
        except Exception as fault:  # noqa: BLE001 - the boundary of an upgraded connection, on which HTTP must not answer
            self._log.error("internal error", fault=fault)
            await talk.fail()
        finally:
            talk.end()
            if ends:
                caller.end()


class Closes:
    """The log of close frames that were sent: each code of each side once in a second, with the number in between."""

    def __init__(self, log: Log) -> None:
        self._log = log
        # By the code, which is 0 for all that only answer a close frame of the client: at most one for each code of ours.
        self._by_code: dict[int, RateLimitedLog] = {}

    def note(self, code: int, reason: str, *, by_client: bool) -> None:
        """Log one."""
        rate_limited = self._by_code.setdefault(0 if by_client else code, RateLimitedLog(self._log))
        rate_limited.info(
            "websocket_closed", side="client" if by_client else "bridge", code=code, reason=reason
        )


class _Unfinished:
    """What a connection holds of an unfinished message, in the sum of its principal."""

    def __init__(self, stream: UpgradedStream, stack: ExitStack) -> None:
        self._stream = stream
        self._stack = stack
        self._count: Callable[[int], None] | None = None
        self._held = 0

    def follow(self, held: int) -> None:
        """Take note of how many bytes are held now. Raises Rejection over the limit of the principal."""
        if held < self._held:  # that message is over
            self._stack.close()
            self._count, self._held = None, 0
        if held:
            self._count = self._count or self._stack.enter_context(self._stream.receiving())
            self._count(held - self._held)
            self._held = held


class _Talk:
    """Both directions of an open WebSocket."""

    def __init__(
        self,
        stream: UpgradedStream,
        backend: Backend,
        principal: str,
        headers: Mapping[str, str],
        queue: SendQueue,
        limits: Limits,
        log: RateLimitedLog,
        caller: Caller | None = None,
        closes: Closes | None = None,
    ) -> None:
        self._stream = stream
        self._backend = backend
        self._principal = principal
        self._headers = headers
        self._caller = client_process.stream() if caller is None else caller
        self._conversation: Conversation | None = None
        self._upstreams: dict[Upstream, None] = {}
        self._queue = queue
        self._limits = limits
        self._log = log
        self._closes = closes
        self._closed_because = ""  # why the bridge has closed, if it was first
        self._closed_by_client = ""  # the code and the reason of its close frame, if it was first
        self._sending = trio.Lock()
        self._rest = b""  # of a frame that the socket took a part of
        self._cut = False  # whether a frame is being written, or was given up in the middle
        # The payload of the newest ping that is not answered (RFC 6455, section 5.5.3).
        self._pong: bytes | None = None
        self._pinged = 0.0

    async def run(self) -> None:
        """Talk until either side closes."""
        self._queue.shortcut = self._send_at_once
        self._queue.eager = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, nursery.cancel_scope)
            await self._read()
            nursery.cancel_scope.cancel()

    async def fail(self) -> None:
        """Close after an error of ours, if the last frame is whole."""
        with trio.move_on_after(_CLOSE_SECONDS):
            try:
                if not self._cut:
                    await self._send_close(INTERNAL, "internal error")
            except trio.BrokenResourceError:
                return  # the client is gone

    def end(self) -> None:
        """The connection is over, and with it everything that was asked on it."""
        self._queue.on_disconnect()
        for upstream in self._upstreams:
            upstream.on_disconnect(self._queue)
        if self._conversation is not None:
            reason = "the connection of the client ended without a close frame"
            if self._closed_by_client:
                reason = f"the client closed its WebSocket: {self._closed_by_client}"
            elif self._queue.stalled:
                reason = f"the client has not read its WebSocket for {self._limits.write_stall_seconds:g} s"
            elif self._closed_because:
                reason = f"the bridge closed the WebSocket: {self._closed_because}"
            self._conversation.end(reason)

    # ---- from the client

    async def _read(self) -> None:
        with ExitStack() as stack:
            await self._read_messages(_Unfinished(self._stream, stack))

    async def _read_messages(self, unfinished: "_Unfinished") -> None:
        reader = FrameReader(self._limits.body, self._limits.json_depth)
        end = refused = 0.0
        try:
            while data := await self._stream.receive_some(_READ_LARGE if reader.missing > _READ else _READ):
                self._pinged = 0.0  # whatever it sends is a sign of life
                events = reader.feed(data, trio.current_time())
                try:
                    unfinished.follow(reader.held)
                except Rejection as rejection:  # which costs this message, not the connection
                    reader.refuse(Rejection(rejection.status, rejection.code, rejection.text))
                if not events and time.perf_counter() > end:  # a large message is under way
                    await trio.lowlevel.checkpoint()
                    end = time.perf_counter() + _TURN_SECONDS
                events.reverse()
                while events:
                    if time.perf_counter() > end:  # thousands of frames can be in what was read
                        await trio.lowlevel.checkpoint()
                        end = time.perf_counter() + _TURN_SECONDS
                    event = events.pop()
                    if isinstance(event, Text):
                        held = [event.text]
                        del event  # a large text is held in one place only, from where it is taken
                        await self._receive(held)
                    elif isinstance(event, Ping):
                        self._answer_ping(event.payload)
                    elif isinstance(event, Close):
                        await self._answer_close(event.code, reader.reason, reader.given)
                        return
                    else:
                        self._pinged = 0.0
                refused = (refused or trio.current_time()) if reader.dropping else 0.0
                if refused and trio.current_time() - refused > _DROP_SECONDS:
                    reason = f"the rest of a message that was refused did not come within {_DROP_SECONDS:g} s"
                    await self._send_close(TOO_BIG, reason)
                    return
        except trio.BrokenResourceError:
            return  # the client is gone

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
                await self._take(message)
        except Rejection as rejection:
            self._refuse(text, message, rejection)
            if (
                rejection.close
                and self._conversation is None
                and not any(upstream.busy for upstream in self._upstreams)
            ):
                # There is no server behind this connection any more, and behind another there may be.
                self._queue.close(rejection.text)

    def _receive_batch(self, conversation: Conversation, messages: list[Message]) -> None:
        try:
            receive_batch(conversation, messages, None)
        except Rejection as rejection:  # of a message that has no answer
            self._log.info("dropped a message of a client", reason=rejection.text)

    def _refuse(self, text: bytes, message: Message | None, rejection: Rejection) -> None:
        """Answer a message that was refused, or a text that cannot be read."""
        raw_ids: list[bytes] = []
        if message is None:
            raw_ids = refused_ids(text, self._limits)
        elif isinstance(message, Request):
            raw_ids = [message.id]
        if b"null" in raw_ids or not raw_ids:
            self._log.info("dropped a message of a client", reason=rejection.text)
        for raw_id in raw_ids:
            self._queue.enqueue(error(raw_id, rejection.code, rejection.text, rejection.data))

    async def _receive_large(self, message: Message) -> None:
        # Each step may hold the event loop for as long as one decoding of the message takes, and not longer.
        await trio.lowlevel.checkpoint()
        with decoded_once():
            await self._take(message)

    async def _take(self, message: Message) -> None:
        if isinstance(message, Request) and is_modern(message.params):
            await self._ask(message)
        elif self._conversation is not None:
            self._take_back(message)
            self._conversation.receive(message, None)
        elif isinstance(message, Request):
            await self._begin(message)
        else:
            self._take_back(message)
            if isinstance(message, Notification) and self._upstreams:
                await self._backend.notify(self._principal, self._headers, message, self._caller)

    async def _begin(self, message: Request) -> None:
        if message.method == "ping":
            self._queue.enqueue(response(message.id, Response(b"", b"{}", b"")))
            return
        if message.method != "initialize":  # it says what is missing, and starts nothing (digest 2.5)
            read_envelope(message.method, message.params, self._limits)
        self._conversation = await self._backend.open(self._principal, self._headers, self._queue)
        self._conversation.receive(message, None)

    async def _ask(self, message: Request) -> None:
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
        if (
            upstream not in self._upstreams
        ):  # of those before it, what nobody waits for need not be told of our end
            self._upstreams = {upstream: None, **{one: None for one in self._upstreams if one.busy}}

    def _take_back(self, message: Message) -> None:
        if (
            self._upstreams
            and isinstance(message, Notification)
            and message.method == "notifications/cancelled"
        ):
            named, _ = read_cancelled(message.params)
            for upstream in self._upstreams:
                upstream.cancel(self._queue, named, message.params)

    # ---- to the client

    def _send_at_once(self, text: bytes) -> bool:
        if self._rest or self._sending.locked():
            return False
        frame = text_frame(text)
        sent = self._stream.send_some(frame)
        if 0 < sent < len(frame):
            self._rest = frame[sent:]
            self._queue.count_unsent(len(self._rest))
            self._queue.heartbeat()  # wakes the writer
        return sent > 0

    def _answer_ping(self, payload: bytes) -> None:
        # The reading must not wait for a client that does not read: what it sends may be what it waits for.
        if self._rest or self._sending.locked():
            self._pong = payload
            return
        frame = pong_frame(payload)
        sent = self._stream.send_some(frame)
        if 0 < sent < len(frame):
            self._rest = frame[sent:]
        elif not sent:
            self._pong = payload
        if sent < len(frame):
            self._queue.heartbeat()  # wakes the writer

    async def _write(self, scope: trio.CancelScope) -> None:
        queue = self._queue
        try:
            while True:
                if self._rest or self._pong is not None:
                    await self._send(b"")
                match await queue.dequeue():
                    case Signal.END:
                        break
                    case Signal.HEARTBEAT:
                        # Also the wake-up for the rest of a frame: a ping behind each would be a flood of pongs.
                        if not self._rest and self._pong is None:
                            await self._heartbeat()
                    case (_, message):
                        await self._send(text_frame(message))
            await self._close()
        except trio.BrokenResourceError:
            pass  # the client is gone
        scope.cancel()

    async def _heartbeat(self) -> None:
        now, patience = trio.current_time(), _MISSED * self._limits.heartbeat_seconds
        if self._limits.heartbeat_seconds >= _USUAL_HEARTBEAT:
            patience = max(patience, _PONG_SECONDS)
        if self._stream.patient:
            return
        if not self._pinged:
            self._pinged = now
            await self._send(ping_frame())
        elif now - self._pinged >= patience:
            self._log.info("a client does not answer pings", seconds=patience)
            await self._send_close(INTERNAL, f"no pong within {patience:g} s")
            self._queue.on_disconnect()
        else:
            await self._send(ping_frame())

    async def _close(self) -> None:
        if self._queue.state == DISCONNECTED:
            return
        if self._queue.state == OVERFLOWED:
            await self._send_close(
                TRY_LATER, "more is waiting for this client than may (limits.unsent_bytes)"
            )
        else:
            await self._send_close(GOING_AWAY, self._queue.close_reason or _ENDED)
        await trio.sleep(_CLOSE_SECONDS)  # the client's answer ends the reading, and with it this

    async def _answer_close(self, code: int, reason: str, given: str) -> None:
        """Close for this reason, or where there is none answer the close frame of the client with its own code."""
        if reason or self._closed_because:  # the client answers a close frame of ours
            await self._send_close(code, reason)
            return
        self._closed_by_client = f"{code or 'no code'} {given}".rstrip()
        if self._closes is not None:
            self._closes.note(code, given, by_client=True)
        await self._send(close_frame(code, _ECHO))

    async def _send_close(self, code: int, reason: str) -> None:
        """Send a close frame and log it, unless one was sent before (RFC 6455 section 5.5.1)."""
        if self._closed_because or self._closed_by_client:
            return
        self._closed_because = reason
        if self._closes is not None:
            self._closes.note(code, reason, by_client=False)
        await self._send(close_frame(code, reason))

    async def _send(self, frame: bytes) -> None:
        async with self._sending:
            rest, self._rest = self._rest, b""
            if self._pong is not None:
                rest, self._pong = rest + pong_frame(self._pong), None
            began, self._cut = trio.current_time(), True
            await self._stream.send_all(rest + frame if rest else frame)
            self._cut = False
        now = trio.current_time()
        # A client that was behind and reads has its pong on the way.
        if self._pinged and now - began > 1:
            self._pinged = now
