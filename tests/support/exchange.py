"""An HTTP request, a session and a server without any of them, for tests of one endpoint (transports.ports)."""

from typing import Any

import attrs
import trio

from mcpbridged.transports.client_process import Caller
from mcpbridged.transports.open_pipes import OpenPipes
from mcpbridged.transports.send_queue import SendQueue
from mcpbridged.validators.http_head import Head, parse_head
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import SESSION_NOT_FOUND, Rejection


def head(method: str = "POST", target: str = "/mcp", headers: dict[str, str] | None = None) -> Head:
    """Return the head of an HTTP/1.1 request with these headers and a Host."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return parse_head("\r\n".join([*lines, "", ""]).encode(), Limits())


@attrs.define(eq=False)
class FakeExchange:
    """One request, and what is sent for it (ports.Exchange).

    `answers` has the arguments of each whole response, `stream` the bytes of an event stream after its head.
    """

    head: Head
    body: bytes = b""
    principal: str = "owner"
    upgraded: Any = None
    limits: Limits = attrs.field(factory=Limits)
    caller: Caller = attrs.field(factory=lambda: Caller(name="test"))
    answers: list[tuple[int, bytes, bytes]] = attrs.field(factory=list)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    refusals: list[int] = attrs.field(factory=list)
    stream: bytes | None = None
    attached: SendQueue | None = None
    ends_with_client: bool | None = None
    first_heartbeat: float | None = None
    # Whether the client disconnects before the queue is attached.
    is_gone: bool = False
    # The headers in place of those that keep a browser from showing a response as a page.
    protection: Any = None
    # Whether the endpoint requires a local peer.
    is_local: bool = False

    async def read_body(self) -> bytes:
        return self.body

    async def answer(
        self, status: int, content_type: bytes, body: bytes, headers: Any = (), *, protection: Any = None
    ) -> None:
        self.answers.append((status, content_type, body))
        self.headers = tuple(headers)
        self.protection = protection

    async def begin_stream(self, headers: Any = ()) -> None:
        self.stream, self.headers = b"", tuple(headers)

    async def write(self, data: bytes) -> None:
        assert self.stream is not None
        self.stream += data

    def count_refusal(self, rejection: Rejection) -> None:
        self.refusals.append(rejection.status)

    def queue(self, *, direct: bool = False) -> SendQueue:
        return SendQueue(self.limits)

    def attach(
        self, queue: SendQueue, *, ends_with_client: bool, first_heartbeat: float | None = None
    ) -> None:
        self.attached = queue
        self.ends_with_client = ends_with_client
        self.first_heartbeat = first_heartbeat
        if self.is_gone:
            self.disconnect()

    def disconnect(self) -> None:
        """Close the sending side of the client."""
        assert self.attached is not None
        if self.ends_with_client:
            self.attached.on_disconnect()

    def upgrade(self, *, local: bool = False) -> Any:
        self.is_local = local
        return self.upgraded


@attrs.define(eq=False)
class FakeConversation:
    """A session that records its calls (ports.Conversation). `reply` (message, queue) may enqueue responses."""

    id: str = "s1"
    version: str = "2025-11-25"
    reply: Any = None
    received: list[Any] = attrs.field(factory=list)
    headers: list[Any] = attrs.field(factory=list)
    refused: list[tuple[bytes, str]] = attrs.field(factory=list)
    ended: list[str] = attrs.field(factory=list)
    streams: list[Any] = attrs.field(factory=list)
    first_event: bytes = b""
    calling: bool = False

    def receive(self, message: Any, queue: SendQueue | None, headers: Any = None) -> None:
        self.headers.append(headers)
        self.received.append(message)
        if self.reply is not None:
            self.reply(message, queue)

    def refuse(self, message: Any, rejection: Rejection, queue: SendQueue | None) -> None:
        self.refused.append((message.id, rejection.text))

    def listen(self, queue: SendQueue) -> None:
        self.streams.append("listen")

    def resume(self, last_event_id: str, queue: SendQueue) -> None:
        self.streams.append(("resume", last_event_id))

    def begin_events(self, queue: SendQueue) -> bytes:
        self.streams.append("begin")
        return self.first_event

    def close_queue(self, queue: SendQueue, *, begun: bool = True) -> None:
        self.streams.append(("close", begun))

    def end(self, reason: str) -> None:
        self.ended.append(reason)


@attrs.define(eq=False)
class FakeUpstream:
    """The server of stateless requests (ports.Upstream)."""

    busy: bool = False
    disconnects: int = 0
    cancelled: list[bytes] = attrs.field(factory=list)
    # Whether a request waits for its response.
    waiting: bool = False

    def waits(self, queue: SendQueue) -> bool:
        return self.waiting

    def on_disconnect(self, queue: SendQueue) -> None:
        self.disconnects += 1

    def cancel(self, queue: SendQueue, raw_id: bytes, params: bytes = b"") -> None:
        self.cancelled.append(raw_id)


@attrs.define(eq=False)
class FakeBackend:
    """One server with at most one session (ports.Backend). `reply` (request, queue) answers stateless requests."""

    conversation: FakeConversation = attrs.field(factory=FakeConversation)
    upstream: FakeUpstream = attrs.field(factory=FakeUpstream)
    reply: Any = None
    # Whether the session exists, and for which principal.
    is_open: bool = False
    owner: str = "owner"
    # Raised instead of opening a session or starting a request.
    refusal: Rejection | None = None
    # Whether `start_request_now` must wait.
    slow: bool = False
    queue: SendQueue | None = None
    requests: list[Any] = attrs.field(factory=list)
    notifications: list[Any] = attrs.field(factory=list)
    opened: int = 0
    lasts: bool = False
    pipes: OpenPipes = attrs.field(factory=OpenPipes)

    async def open(
        self, principal: str, headers: Any, queue: SendQueue | None = None, *, lasts: bool = False
    ) -> FakeConversation:
        await trio.lowlevel.checkpoint()
        self.lasts = lasts
        if self.refusal is not None:
            raise self.refusal
        self.opened += 1
        self.is_open, self.queue = True, queue
        return self.conversation

    def start_request_now(
        self, principal: str, request: Any, queue: SendQueue, caller: Caller, *, pipe: bool = False
    ) -> Any:
        if self.slow:
            return None
        if self.refusal is not None:
            raise self.refusal
        self.requests.append(request.request)
        if self.reply is not None:
            self.reply(request.request, queue)
        return self.upstream

    async def start_request(
        self, principal: str, headers: Any, request: Any, queue: SendQueue, *, pipe: bool, caller: Any = None
    ) -> Any:
        await trio.lowlevel.checkpoint()
        self.slow = False
        return self.start_request_now(principal, request, queue, caller)

    async def notify(self, principal: str, headers: Any, message: Any, caller: Caller | None = None) -> None:
        self.notifications.append(message)

    def find(self, session_id: str, principal: str) -> FakeConversation:
        if not self.is_open or (session_id, principal) != (self.conversation.id, self.owner):
            raise Rejection(404, SESSION_NOT_FOUND, "Session not found")
        return self.conversation
