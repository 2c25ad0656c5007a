"""Read HTTP responses of a remote server, a JSON body or an event stream, and pass on the messages in them."""

import secrets
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from ...validators import jsonrpc
from ...validators.json_object import LARGE
from ...validators.rejection import INTERNAL_ERROR
from ...validators.sse_events import SseEvent, SseParser
from .calls import Call, Calls
from .http_connection import RemoteResponse
from .http_failures import MAY_HAVE_RUN, Failure, excerpt
from .link import Link
from .messages import CANCELLED, Received, one_line, read_received, read_sent, with_id

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"

# Time for the end of a stream whose response was received, so that its connection can be used again (seconds).
_END_SECONDS: Final = 0.25
# How much of a body without a message may be shown (bytes).
_SHOWN_BYTES: Final = 1024
# The pause before a stream is requested again, if the server names none, the shortest that it can name, and the longest after
# failures (seconds).
_PAUSE: Final = 1.0
_SHORTEST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 60.0
_LONGEST_RETRY: Final = 24 * 60 * 60.0


def media_type(response: RemoteResponse) -> str:
    """Return the media type of a response in lower case, empty for none."""
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


@attrs.define(eq=False)
class StreamProgress:
    """What was received of a stream that may be continued on another connection."""

    last_event_id: bytes = b""
    # The pause that the server demands (seconds).
    retry: float | None = None
    # Whether it was received on a connection of its own.
    opened: bool = False
    # The number of pieces with a new event id, or with an event.
    events: int = 0

    def on_piece(self, parser: SseParser, events: int) -> None:
        """Record what a piece of the stream has changed."""
        if parser.retry is not None:
            self.retry = min(parser.retry, _LONGEST_RETRY)
        if parser.last_event_id != self.last_event_id:
            self.last_event_id = parser.last_event_id
            events += 1
        self.events += events > 0

    def pause(self, failures: int) -> float:
        """Return how long to wait before the next attempt (seconds), after a number of failures in a row."""
        least = _PAUSE if self.retry is None else max(self.retry, _SHORTEST_PAUSE)
        if not failures:
            return least
        grown = min(_LONGEST_PAUSE, _PAUSE * 2.0 ** (min(failures, 10) - 2))
        # Clients that have lost their streams at the same time must not all return at the same time.
        return max(least, grown * (0.75 + secrets.randbelow(251) / 1000))


class ResponseReader:
    """Read responses, end the calls that they answer, and pass on all messages.

    `secrets` are removed from what is shown of a response. `on_request` is called with the id of each request of the server, and `on_withdrawn` with the params of each of its
    cancellations.
    """

    def __init__(
        self,
        link: Link,
        calls: Calls,
        secrets: Sequence[str],
        on_request: Callable[[bytes], None],
        on_withdrawn: Callable[[bytes], None],
    ) -> None:
        self._link = link
        self._calls = calls
        self._secrets = secrets
        self._on_request = on_request
        self._on_withdrawn = on_withdrawn

    # ---- bodies

    async def read_json(self, response: RemoteResponse, call: Call) -> Failure | None:
        """Read a body that has the response to a call. Returns why it has none. Raises Unreachable."""
        body = bytearray()
        try:
            failure = await self._collect(response, body)
            if failure is not None:
                return failure
            if not await self.take(bytes(body), call) and not call.ended:
                return self._not_readable(bytes(body[:_SHOWN_BYTES]))
        finally:
            self._link.hold(-len(body))
        return None

    async def _collect(self, response: RemoteResponse, body: bytearray) -> Failure | None:
        limit = self._link.limits.line
        announced = response.headers.get("content-length", "")
        if announced.isdigit() and int(announced[:20]) > limit:
            return self.too_large(f"of {announced[:20]} bytes")
        async for piece in response.chunks():
            await self._link.room()
            if len(body) + len(piece) > limit:
                return self.too_large(f"of more than {limit} bytes")
            if not self._link.hold(len(piece)):
                return self._too_many()
            # Piece by piece, because it takes time.
            body += one_line(piece)
        return None

    async def read_events(
        self, response: RemoteResponse, call: Call | None, progress: StreamProgress
    ) -> Failure | None:
        """Read an event stream until its end, or until shortly after the response to the call. Raises Unreachable."""
        parser = SseParser(self._link.limits.line, cut=True)
        held = 0
        with trio.CancelScope() as patience:
            try:
                async for piece in response.chunks():
                    await self._link.room()
                    count = 0
                    for event in parser.feed(piece):
                        count += 1
                        await self._pass_event(event, call)
                    progress.on_piece(parser, count)
                    if not self._link.hold(parser.held - held):
                        return self._too_many()
                    held = parser.held
                    end = trio.current_time() + _END_SECONDS
                    if call is not None and call.ended and patience.deadline > end:
                        patience.deadline = end
            finally:
                self._link.hold(-held)
        return None

    async def _pass_event(self, event: SseEvent, call: Call | None) -> None:
        if event.dropped:
            self._refuse(event)
        elif event.data and event.type == b"message":
            if not await self.take(event.data, call):
                self._link.note(
                    f"dropped an event that is no JSON-RPC message: {excerpt(event.data, self._secrets)}"
                )
            await self._link.room()

    def _refuse(self, event: SseEvent) -> None:
        """Fail the call whose response is in an event over the limit. Other messages of that size are dropped."""
        raw_id = jsonrpc.call_of_invalid_line(event.data)
        call = self._calls.find(raw_id) if raw_id else None
        failure = self.too_large(f"of {len(event.data) + event.dropped} bytes")
        if call is None:
            self._link.note(f"dropped a message: the server {failure.predicate}")
        elif self._calls.end(call) and not call.internal:
            self._link.put(jsonrpc.error(call.id, INTERNAL_ERROR, failure.text, failure.data), call.id)

    # ---- messages

    async def take(self, text: bytes, call: Call | None) -> bool:
        """Pass on the messages of a JSON text from the response of a call. Returns whether there are any."""
        large = len(text) > LARGE
        if large:
            # Reading it and passing it on are steps of their own, each with a whole pass over the text.
            await trio.lowlevel.checkpoint()
        messages = read_received(text, self._link.limits)
        if large:
            await trio.lowlevel.checkpoint()
        for message in messages:
            self._pass(message, call)
        return bool(messages)

    def take_refusal(self, text: bytes, call: Call) -> None:
        """Pass on the JSON-RPC errors in the body of an error response."""
        for message in read_received(text, self._link.limits):
            if message.error:
                self._pass(message, call)

    def _pass(self, message: Received, call: Call | None) -> None:
        if message.method:
            # Also after the end of the call, so that the message is assigned to no other call.
            related = b"" if call is None or call.internal else call.id
            if message.id:
                self._on_request(message.id)
            elif message.method == CANCELLED:
                self._on_withdrawn(read_sent(message.line).params)
            self._link.put(message.line, related)
            return
        found = self._calls.find(message.id) if message.id else None
        if found is None and call is not None and not call.ended and message.error:
            # An error before the server has read the id, or after it has lost it.
            line = with_id(call.id, message)
            if line:
                found, message = call, attrs.evolve(message, line=line, id=call.id)
        if found is None:
            self._link.note("dropped a response to no open request")
            return
        self.answer(found, message)
        if found is not call:
            found.scope.cancel()

    def answer(self, call: Call, message: Received) -> None:
        """End a call with its response, and pass the response on."""
        if self._calls.end(call):
            # The response of its own POST may not have begun.
            self._link.settled(call.sent)
            line = message.line if call.on_response is None else call.on_response(message)
            if line:
                self._link.put(line, call.id)

    # ---- failures

    def _not_readable(self, body: bytes) -> Failure:
        shown = excerpt(body, self._secrets) or "it is empty"
        text = f"at {self._link.origin} answered with a body that is no JSON-RPC message: {shown}"
        return Failure(text, {"reason": "invalid response"})

    def too_large(self, size: str) -> Failure:
        """Return the failure of a response of this size."""
        limit = f"the limit is {self._link.limits.line} (limits.line)"
        text = f"at {self._link.origin} sent a response {size}, and {limit}; {MAY_HAVE_RUN}"
        return Failure(text, {"reason": "too large"})

    def _too_many(self) -> Failure:
        limit = f"{self._link.limits.unfinished_bytes} bytes, the limit (limits.unfinished_bytes)"
        text = (
            f"at {self._link.origin} has unfinished responses of together more than {limit}; {MAY_HAVE_RUN}"
        )
        return Failure(text, {"reason": "too large"})
