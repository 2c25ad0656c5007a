"""HTTP+SSE, the transport of revision 2024-11-05 (specification digest, section 5.1).

A GET opens the session and is its only stream; a POST to the path that its first event names is a message to it. The
session lives as long as that stream.
"""

import trio

from ..validators.envelope import decode, is_batch
from ..validators.limits import Limits
from ..validators.media import accepts
from ..validators.members import LARGE
from ..validators.rejection import INVALID_REQUEST, Rejection
from . import event_stream
from .ports import Backend, Exchange
from .streamable import (
    check_content_type,
    method_not_allowed,
    read_batch,
    receive_batch,
    refuse_message,
    stand_in,
)
from .streaming import write_events

_PARAMETER = "sessionId="


class EventStream:
    """The endpoint `/sse` of one server."""

    def __init__(self, backend: Backend, limits: Limits, messages_path: str) -> None:
        self._backend = backend
        self._limits = limits
        self._messages_path = messages_path

    async def __call__(self, exchange: Exchange) -> None:
        """Open a session and stream to it until either side leaves. Raises Rejection."""
        if exchange.head.method != "GET":
            raise method_not_allowed(b"GET")
        if not accepts(exchange.head.headers.get("accept")).events:
            raise Rejection(406, INVALID_REQUEST, "Accept must allow text/event-stream")
        outlet = exchange.outlet()
        conversation = await self._backend.open(exchange.principal, exchange.head.headers, outlet)
        try:
            exchange.attend(outlet, to_the_end=True)
            await exchange.begin_stream()
            await exchange.write(
                event_stream.endpoint(f"{self._messages_path}?{_PARAMETER}{conversation.id}")
            )
            await write_events(exchange, outlet)
        finally:
            stalled = f"the client has not read its event stream for {self._limits.write_stall_seconds:g} s"
            conversation.end(stalled if outlet.stalled else "the client closed its event stream")


class MessagePost:
    """The endpoint `/messages` of one server."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self._backend = backend
        self._limits = limits

    async def __call__(self, exchange: Exchange) -> None:
        """Hand one message to its session. Raises Rejection."""
        head = exchange.head
        if head.method != "POST":
            raise method_not_allowed(b"POST")
        check_content_type(head.headers.get("content-type"))
        if not head.query.startswith(_PARAMETER):
            raise Rejection(
                400, INVALID_REQUEST, "the query must be sessionId=... as the endpoint event says"
            )
        body = await exchange.read_body()
        try:  # what cannot be read is refused here; what the session refuses is answered on its stream, as on a pipe
            conversation = self._backend.find(head.query[len(_PARAMETER) :], exchange.principal)
            if is_batch(body):
                messages = read_batch(body, conversation.version, self._limits)
            else:
                messages = [decode(body, self._limits)]
            if len(body) > LARGE:
                # Each step may hold the event loop for as long as one decoding takes; the body is not needed any more.
                if len(messages) == 1:
                    body = stand_in(messages[0])
                await trio.lowlevel.checkpoint()
            receive_batch(conversation, messages, None)
        except Rejection as rejection:
            await refuse_message(exchange, body, rejection)
            return
        await exchange.answer(202, b"text/plain", b"Accepted")
