"""What the calls of both eras over HTTP have in common: their exchanges, and the errors of calls without a response."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import trio

from ...validators import jsonrpc
from ...validators.rejection import INTERNAL_ERROR
from ..options import Headers
from .calls import Call, Calls
from .http_connection import RemoteResponse
from .http_failures import READ, Failure, secrets_of, status_failure, type_failure
from .link import Http, Link
from .options import RemoteOptions
from .ports import LoginRequired, Unreachable
from .response_reader import EVENTS, JSON, ResponseReader, StreamProgress, media_type

# Both types, because the server chooses (MCP 2025-11-25 and 2026-07-28 basic/transports).
POST: Final[Headers] = (
    (b"Accept", b"application/json, text/event-stream"),
    (b"Content-Type", b"application/json"),
)
# Time for the body of an error response (seconds).
_BODY_SECONDS: Final = 5.0
# A server that has answered before may be restarting. The pauses between two attempts to connect (seconds).
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
# Time for the first connection after failed attempts (seconds).
_FIRST_CONTACT: Final = 2.0


class Endpoint:
    """The URL of one server, for one connection."""

    def __init__(self, http: Http, options: RemoteOptions, link: Link) -> None:
        self._http = http
        self._options = options
        self._link = link
        self.secrets = secrets_of(options.headers)

    @asynccontextmanager
    async def request(
        self, method: str, headers: Headers, body: bytes | None = None
    ) -> AsyncGenerator[RemoteResponse]:
        """Send a request, again while the server certainly has not received it. Raises Unreachable and LoginRequired."""
        patience = self._options.connect_seconds
        if not self._link.has_answered:
            patience = min(patience, _FIRST_CONTACT)
        deadline = trio.current_time() + patience
        pause = _FIRST_PAUSE
        while True:
            begun = False
            try:
                async with self._http.authorized_request(
                    method, self._options.url, headers, body
                ) as response:
                    begun = True
                    yield response
                    return
            except Unreachable as fault:
                if begun or fault.sent or trio.current_time() + pause > deadline:
                    raise
            await trio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def end_session(self, headers: Headers) -> None:
        """Send DELETE for the session that the headers name. The response is ignored; a refusal starts no login."""
        try:
            async with self._http.authorized_request("DELETE", self._options.url, headers, renew=False):
                pass
        except (Unreachable, LoginRequired):
            return

    async def beginning(self, response: RemoteResponse) -> bytes:
        """Return the first part of a body, within a short time."""
        with trio.move_on_after(_BODY_SECONDS):
            return await _beginning(response)
        return b""

    def status_failure(self, response: RemoteResponse, body: bytes) -> Failure:
        """Return the failure of a response with an error status."""
        return status_failure(
            self._link.origin, response.status, response.headers, body, self.secrets, time.time()
        )

    def type_failure(self, response: RemoteResponse, body: bytes) -> Failure:
        """Return the failure of a successful response that is neither JSON nor an event stream."""
        return type_failure(self._link.origin, media_type(response), body, self.secrets)


async def _beginning(response: RemoteResponse) -> bytes:
    """Return the first part of a body; all of a small one, after which the connection can be used again."""
    body = bytearray()
    try:
        async for piece in response.chunks():
            body += piece
            # A JSON-RPC error is longer than what is shown of a page.
            if len(body) > 16 * READ:
                break
    except Unreachable:
        pass
    return bytes(body)


class HttpCalls:
    """The calls of one era. `reader` passes their responses on."""

    def __init__(self, endpoint: Endpoint, link: Link, calls: Calls, reader: ResponseReader) -> None:
        self.endpoint = endpoint
        self.link = link
        self.calls = calls
        self.reader = reader

    def fail(self, call: Call, failure: Failure) -> None:
        """End a call with an error, unless it has ended. The client has no use for that of a call that it has cancelled."""
        if self.calls.end(call):
            self.link.settled(call.sent)
            if call.internal:
                return
            if not call.withdrawn:
                self.link.put(jsonrpc.error(call.id, INTERNAL_ERROR, failure.text, failure.data), call.id)

    async def read(self, call: Call, response: RemoteResponse, progress: StreamProgress) -> Failure | None:
        """Read a successful response. Returns why the call has no answer in it; None for an event stream. Raises Unreachable."""
        kind = media_type(response)
        if kind == EVENTS:
            return await self.reader.read_events(response, call, progress)
        if kind in (JSON, "") or kind.endswith("+json"):
            return await self.reader.read_json(response, call)
        return self.endpoint.type_failure(response, await self.endpoint.beginning(response))

    async def read_refusal(self, response: RemoteResponse) -> tuple[Failure, bytes]:
        """Read an error response. Returns its failure, and the body, empty for an event stream."""
        body = await self.endpoint.beginning(response)
        failure = self.endpoint.status_failure(response, body)
        return failure, b"" if media_type(response) == EVENTS else body
