"""Messages of one client that has a connection of its own, as on WebSocket and on the pipe endpoint.

`initialize` opens the one session of a connection. Requests of the stateless era are independent of it. Both end with the
connection. What must wait is returned, because most messages are processed in the callback that reads them (`receiver`).
"""

from collections.abc import Callable, Mapping
from functools import partial

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
from ...validators.token_bucket import RATE_LIMIT, Rate, TokenBucket
from ..client_process import Caller
from ..correlation import data_of
from ..ports import Backend, Conversation, ModernRequest, Upstream
from ..send_queue import ConnectionQueue, SendQueue
from ..turns import large_turns
from .receiver import Rest
from .streamable_http import read_batch, receive_batch


class ClientMessages:
    """Pass the messages of one connection to its session and to servers. Everything for the client goes to `queue`.

    With `lasts` the session may be as old as the connection.
    """

    def __init__(
        self,
        backend: Backend,
        principal: str,
        headers: Mapping[str, str],
        queue: SendQueue,
        limits: Limits,
        count_refusal: Callable[[Rejection], None],
        caller: Caller,
        *,
        lasts: bool = False,
    ) -> None:
        self._backend = backend
        self._principal = principal
        self._headers = headers
        self._caller = caller
        self._lasts = lasts
        self._conversation: Conversation | None = None
        # Servers that stateless requests were sent to, in order. Idle entries are removed when another is added.
        self._upstreams: dict[Upstream, None] = {}
        self._queue = queue
        # Counts requests that exceed a rate, None before the first.
        self._refusals: TokenBucket | None = None
        self._limits = limits
        self._count_refusal = count_refusal

    @property
    def waiting(self) -> bool:
        """Whether a request of the client has no response yet. Subscriptions do not count."""
        conversation = self._conversation
        return (conversation is not None and conversation.calling) or any(
            upstream.waits(self._queue) for upstream in self._upstreams
        )

    def close(self, reason: str) -> None:
        """End the session, cancel all other requests, and close the queue, which still gets the errors."""
        for upstream in self._upstreams:
            upstream.on_disconnect(self._queue)
        if self._conversation is not None:
            self._conversation.end(reason)
        self._queue.close(reason)

    def end(self, reason: str) -> None:
        """End the session and cancel all requests, because the connection has ended."""
        self._queue.on_disconnect()
        for upstream in self._upstreams:
            upstream.on_disconnect(self._queue)
        if self._conversation is not None:
            self._conversation.end(reason)

    def receive(self, held: list[bytes]) -> Rest | None:
        """Process one message (receiver.OnText)."""
        text, conversation = held[0], self._conversation
        if len(text) > LARGE:
            return partial(self._receive_large, held)
        if conversation is not None and is_batch(text):
            return partial(self._receive_batch, conversation, text)
        message: Message | None = None
        try:
            message = decode(text, self._limits)
            rest = self._dispatch(message)
        except Rejection as rejection:
            self._on_rejection(text, message, rejection)
            return None
        return None if rest is None else partial(self._finish, message, rest)

    async def _receive_large(self, held: list[bytes]) -> None:
        # Each step may block the event loop for the time of one decoding, and not longer.
        text, conversation = held.pop(), self._conversation
        if conversation is not None and is_batch(text):
            await self._receive_batch(conversation, text)
            return
        message: Message | None = None
        try:
            message = decode(text, self._limits)
            text = b""
            await large_turns.wait(self._principal)
            with decoded_once():
                if isinstance(message, Request) and is_modern(message.params):
                    await self._start_large(message)
                else:
                    rest = self._dispatch_legacy(message)
                    if rest is not None:
                        await rest()
        except Rejection as rejection:
            self._on_rejection(text, message, rejection)

    async def _finish(self, message: Message, rest: Rest) -> None:
        try:
            await rest()
        except Rejection as rejection:
            self._on_rejection(b"", message, rejection)

    async def _receive_batch(self, conversation: Conversation, text: bytes) -> None:
        try:
            messages = read_batch(text, conversation.version, self._limits)
        except Rejection as rejection:
            self._on_rejection(text, None, rejection)
            return
        if len(text) > LARGE:
            await large_turns.wait(self._principal)
        refused = receive_batch(conversation, messages, None, self._note_refusal)
        if refused is not None:
            self._count_refusal(refused)

    def _on_rejection(self, text: bytes, message: Message | None, rejection: Rejection) -> None:
        self._refuse(text, message, rejection)
        self._note_refusal(rejection)
        if (
            rejection.close
            and self._conversation is None
            and not any(upstream.busy for upstream in self._upstreams)
        ):
            # The server of this connection has ended. On a new connection the client may get another.
            self._queue.close(rejection.text)

    def _note_refusal(self, rejection: Rejection) -> None:
        """Close a WebSocket whose client exceeds a rate again and again."""
        queue = self._queue
        if rejection.reason != RATE_LIMIT or not isinstance(queue, ConnectionQueue):
            return
        # The aggregate sends the requests of other clients. A pipe has one client on this machine, as stdio has.
        if queue.forwards or queue.transport != "websocket" or queue.overused:
            return
        now = trio.current_time()
        if self._refusals is None:
            most = self._limits.refusals_per_minute
            self._refusals = TokenBucket(Rate(most, 60, most), now)
        if not self._refusals.wait(now):
            self._refusals.take()
            return
        most = self._limits.refusals_per_minute
        queue.overused = True
        queue.close(f"more than {most} requests in a minute exceeded a rate (limits.refusals_per_minute)")

    def _refuse(self, text: bytes, message: Message | None, rejection: Rejection) -> None:
        """Send errors for a message that was refused, or for a text that cannot be read."""
        raw_ids: list[bytes] = []
        if message is None:
            raw_ids = refused_ids(text, self._limits)
        elif isinstance(message, Request):
            raw_ids = [message.id]
        self._count_refusal(rejection)
        for raw_id in raw_ids:
            self._queue.enqueue(error(raw_id, rejection.code, rejection.text, data_of(rejection)))

    def _dispatch(self, message: Message) -> Rest | None:
        if isinstance(message, Request) and is_modern(message.params):
            check_meta(message.params)
            return self._start_request(self._read_request(message))
        return self._dispatch_legacy(message)

    def _dispatch_legacy(self, message: Message) -> Rest | None:
        conversation = self._conversation
        if conversation is not None:
            if self._upstreams:
                self._cancel(message)
            conversation.receive(message, None)
            return None
        if isinstance(message, Request):
            return self._open_session(message)
        if not (isinstance(message, Notification) and self._upstreams):
            return None
        self._cancel(message)
        return partial(self._backend.notify, self._principal, self._headers, message, self._caller)

    # ---- a legacy client

    def _open_session(self, message: Request) -> Rest | None:
        if message.method == "ping":
            self._queue.enqueue(response(message.id, Response(b"", b"{}", b"")))
            return None
        # Raises Rejection, which names what the request lacks. No server is started for it.
        if message.method != "initialize":
            read_envelope(message.method, message.params, self._limits)
        return partial(self._initialize, message)

    async def _initialize(self, message: Request) -> None:
        self._conversation = await self._backend.open(
            self._principal, self._headers, self._queue, lasts=self._lasts
        )
        self._conversation.receive(message, None)

    # ---- requests of the stateless era

    def _read_request(self, message: Request) -> ModernRequest:
        envelope = read_envelope(message.method, message.params, self._limits)
        check_supported(envelope.version)
        return ModernRequest(message, envelope, None)

    def _start_request(self, request: ModernRequest) -> Rest | None:
        upstream = self._backend.start_request_now(
            self._principal, request, self._queue, self._caller, pipe=True
        )
        if upstream is None:
            return partial(self._start_later, request)
        self._add_upstream(upstream)
        return None

    async def _start_later(self, request: ModernRequest) -> None:
        upstream = await self._backend.start_request(
            self._principal, self._headers, request, self._queue, pipe=True, caller=self._caller
        )
        self._add_upstream(upstream)

    async def _start_large(self, message: Request) -> None:
        await large_turns.wait(self._principal)
        check_meta(message.params)
        await large_turns.wait(self._principal)
        request = self._read_request(message)
        await large_turns.wait(self._principal)
        await self._start_later(request)

    def _add_upstream(self, upstream: Upstream) -> None:
        # Idle upstreams need not be notified of the end of this connection.
        if upstream not in self._upstreams:
            self._upstreams = {upstream: None, **{other: None for other in self._upstreams if other.busy}}

    def _cancel(self, message: Message) -> None:
        if isinstance(message, Notification) and message.method == "notifications/cancelled":
            named, _ = read_cancelled(message.params)
            for upstream in self._upstreams:
                upstream.cancel(self._queue, named, message.params)
