"""The HTTP+SSE transport of a remote server (MCP 2024-11-05 basic/transports): an event stream, and a POST for each message.

A message is sent once. If its POST fails, the error says whether the server may have received it.
"""

import math
from typing import Final

import trio

from ...validators import jsonrpc
from ...validators.jsonrpc import Request
from ...validators.limits import UNLIMITED
from ...validators.rejection import INTERNAL_ERROR, Rejection
from ...validators.remote_url import BadRemoteUrl, resolve_reference, same_origin
from ...validators.sse_events import SseEvent, SseParser
from .carrier_state import Inbox, Outbox
from .http_client import HttpClient, RemoteResponse
from .http_failures import READ, excerpt, secrets_of
from .options import RemoteOptions
from .ports import LoginRequired, Lost, OnMessage, Unreachable

_EVENTS: Final = "text/event-stream"
# POSTs that are open at the same time.
_MOST_POSTS: Final = 64
# How long a message waits for the POSTs of those before it, if the order of the two matters (seconds).
_ORDER_SECONDS: Final = 1.0
# Of the response to a POST, which has no content of use (bytes, seconds).
_RESPONSE_BYTES: Final = READ
_RESPONSE_SECONDS: Final = 5.0
# The statuses by which a server refuses a session that it does not know.
_NO_SESSION: Final = (404, 410)
_MAY_HAVE_RUN: Final = "it may have been carried out"


class HttpSse:
    """A carrier (ports.Carrier) over HTTP+SSE. Raises BadRemoteUrl for the URL of the options."""

    def __init__(self, options: RemoteOptions) -> None:
        self._options = options
        self._http = HttpClient(options)
        self._outbox = Outbox(options.limits)
        self._inbox = Inbox(options.limits, self._outbox)
        self._name = self._http.home.origin
        self._endpoint = ""
        # Messages whose POST has no response yet.
        self._open_posts = 0
        self._post_ended = trio.Event()
        # Why the connection has ended, set by any task of it.
        self._lost = ""
        self._scope = trio.CancelScope()
        self.send = self._outbox.put
        self.pause = self._inbox.pause
        self.resume = self._inbox.resume

    async def run(
        self, on_message: OnMessage, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Request the event stream, and carry messages until it ends (ports.Carrier.run)."""
        self._inbox.start(on_message)
        opening = trio.CancelScope(deadline=trio.current_time() + self._options.connect_seconds)
        fields = ((b"Accept", _EVENTS.encode()), (b"Cache-Control", b"no-cache"))
        try:
            with self._scope, opening:
                async with (
                    self._http,
                    self._http.authorized_request("GET", self._options.url, fields) as response,
                ):
                    self._check(response)
                    events = _Events(response, self._options.limits.line, self._inbox)
                    await self._read_endpoint(events)
                    opening.deadline = math.inf
                    self._outbox.open = True
                    task_status.started()
                    await self._carry(events)
        except Unreachable as fault:
            if not self._outbox.open:
                raise
            self._lost = self._lost or fault.reason
        finally:
            self._outbox.open = False
        if opening.cancelled_caught:
            raise Unreachable(
                f"{self._name} sent no endpoint within {self._options.connect_seconds:g} s (HTTP+SSE)"
            )
        raise Lost(self._lost)

    def _check(self, response: RemoteResponse) -> None:
        """Check the response to the GET. Raises Unreachable."""
        found = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status != 200:
            raise Unreachable(f"{self._name} answered the GET of HTTP+SSE with status {response.status}")
        if found != _EVENTS:
            shown = repr(found[:64]) if found else "no content type"
            raise Unreachable(f"{self._name} answered the GET of HTTP+SSE with {shown}, not with {_EVENTS}")

    async def _read_endpoint(self, events: "_Events") -> None:
        """Read the first event, which names the URL for messages. Raises Unreachable."""
        while event := await events.next():
            if event.type == b"endpoint":
                self._take_endpoint(event)
                return
        raise Unreachable(f"{self._name} closed the event stream before it sent an endpoint")

    def _take_endpoint(self, event: SseEvent) -> None:
        """Store the URL for messages. Raises Unreachable for another origin, because messages have credentials."""
        try:
            url = resolve_reference(self._http.home, event.data.decode(errors="replace").strip())
        except BadRemoteUrl as fault:
            raise Unreachable(f"{self._name} sent an endpoint that cannot be used: {fault}") from None
        if event.dropped or not same_origin(url, self._http.home):
            raise Unreachable(
                f"{self._name} sent an endpoint of another origin, {url.origin}, which gets no message"
            )
        self._endpoint = str(url)

    async def _carry(self, events: "_Events") -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._post_all, nursery)
            try:
                while event := await events.next():
                    if event.type == b"endpoint":
                        self._take_endpoint(event)
                    elif event.type == b"message" and event.dropped:
                        await self._inbox.take_cut(event.data)
                    elif event.type == b"message":
                        await self._inbox.take(event.data)
                self._lose(f"{self._name} ended the event stream")
            except Unreachable as fault:
                self._lose(fault.reason)

    def _lose(self, reason: str) -> None:
        self._lost = self._lost or reason
        self._outbox.open = False
        self._scope.cancel()

    # ---- messages to the server

    async def _post_all(self, nursery: trio.Nursery) -> None:
        """Send each message with a POST of its own.

        Requests are sent without waiting for each other. The order of all other messages is kept, because a notification or a
        response may change what a request means. A server that delays its response to a POST delays them for a short time only.
        """
        while True:
            line = await self._outbox.get()
            raw_id, ordered = _read(line)
            if ordered:
                await self._wait_for_posts(0, _ORDER_SECONDS)
            await self._wait_for_posts(_MOST_POSTS - 1, math.inf)
            self._open_posts += 1
            nursery.start_soon(self._post, line, raw_id)
            if ordered:
                await self._wait_for_posts(0, _ORDER_SECONDS)

    async def _wait_for_posts(self, most: int, seconds: float) -> None:
        with trio.move_on_after(seconds):
            while self._open_posts > most:
                self._post_ended = trio.Event()
                await self._post_ended.wait()

    async def _post(self, line: bytes, raw_id: bytes) -> None:
        failure = data = lost = ""
        try:
            async with self._http.authorized_request(
                "POST", self._endpoint, ((b"Content-Type", b"application/json"),), line
            ) as response:
                with trio.move_on_after(_RESPONSE_SECONDS):
                    await response.preload(_RESPONSE_BYTES)
                if not 200 <= response.status < 300:
                    failure, data = await self._refusal(response), "refused"
                    if response.status in _NO_SESSION:
                        lost = f"{self._name} does not know the session any more"
        except Unreachable as fault:
            failure = f"{fault.reason}; {_MAY_HAVE_RUN if fault.sent else 'it was not sent'}"
            data = "unreachable"
        except LoginRequired as fault:
            failure, data = str(fault), "login required"
        finally:
            self._outbox.settled(line)
            self._open_posts -= 1
            self._post_ended.set()
        if failure and raw_id:
            self._inbox.put(jsonrpc.error(raw_id, INTERNAL_ERROR, failure, {"reason": data}))
        if lost:
            self._lose(lost)

    async def _refusal(self, response: RemoteResponse) -> str:
        shown = excerpt(await response.read(_RESPONSE_BYTES), secrets_of(self._options.headers))
        return f"{self._name} refused the message with HTTP status {response.status}{shown and ': '}{shown}"


class _Events:
    """The events of a response, one after the other."""

    def __init__(self, response: RemoteResponse, limit: int, inbox: Inbox) -> None:
        self._response = response
        self._parser = SseParser(limit, cut=True)
        self._events = iter(self._parser.feed(b""))
        self._inbox = inbox

    async def next(self) -> SseEvent | None:
        """Return the next event, None at the end of the stream. Raises Unreachable."""
        while True:
            event = next(self._events, None)
            if event is not None:
                return event
            await self._inbox.ready()
            data = await self._response.receive()
            if not data:
                return None
            self._events = self._parser.feed(data)


def _read(line: bytes) -> tuple[bytes, bool]:
    """Return the id of a request, and whether a message must be sent after those before it and before those after it."""
    try:
        message = jsonrpc.decode(line, UNLIMITED)
    except Rejection:
        return b"", True
    if isinstance(message, Request):
        return message.id, message.method == "initialize"
    return b"", True
