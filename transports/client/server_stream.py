"""Event streams of one session that are requested by GET: its own stream, and the continuation of the stream of a request.

Sources: MCP 2025-11-25 basic/transports, "Listening for Messages from the Server" and "Resumability and Redelivery".
"""

from collections.abc import Callable
from typing import Final

import trio

from .calls import Call
from .http_calls import HttpCalls
from .http_failures import MAY_HAVE_RUN, Failure, login_required, unreachable
from .ports import LoginRequired, Unreachable
from .replay import LegacySession
from .response_reader import EVENTS, StreamProgress, media_type

# Attempts in a row to continue the stream of a request without any event, and to open the stream of a session.
_RESUMPTIONS: Final = 5
_OPENINGS: Final = 20
# A stream that was open for this time (seconds) was no failed attempt, though it had no event.
_LASTING_SECONDS: Final = 5.0
SESSION_LOST: Final = Failure(
    f"has ended the session before it has answered; {MAY_HAVE_RUN}", {"reason": "session lost"}
)


class ServerStreams:
    """The streams of one session. `on_lost` is called with the generation of a session that the server has ended."""

    def __init__(self, http: HttpCalls, session: LegacySession, on_lost: Callable[[int], None]) -> None:
        self._http = http
        self._session = session
        self._on_lost = on_lost

    async def listen(self) -> None:
        """Receive the messages that belong to no request, until the server offers no such stream or has ended the session."""
        progress, session, failures = StreamProgress(), self._session.id, 0
        while failures <= _OPENINGS:
            before, begun = progress.events, trio.current_time()
            failure, final = await self._attempt(None, progress, session)
            if final:
                if failure is not None:
                    self._http.link.note(f"no stream for messages that belong to no request: {failure.text}")
                return
            failures = 0 if _has_lasted(progress, before, begun) else failures + 1
            await trio.sleep(progress.pause(failures))

    async def resume(self, call: Call, progress: StreamProgress) -> Failure | None:
        """Continue the stream of a request that has ended before the response. Returns why that is not possible."""
        failures = 0
        failure: Failure | None = None
        while not call.ended and failures <= _RESUMPTIONS:
            await trio.sleep(progress.pause(failures))
            before, begun = progress.events, trio.current_time()
            failure, final = await self._attempt(call, progress, call.session)
            if final or not progress.last_event_id:
                break
            failures = 0 if _has_lasted(progress, before, begun) else failures + 1
        if failure is not None and MAY_HAVE_RUN not in failure.predicate:
            # The server had begun the response.
            failure = failure._replace(predicate=f"{failure.predicate}; {MAY_HAVE_RUN}")
        return failure

    async def _attempt(
        self, call: Call | None, progress: StreamProgress, session: str
    ) -> tuple[Failure | None, bool]:
        """Read a stream once. Returns the failure, and whether no further attempt can succeed."""
        generation = self._session.generation
        if session != self._session.id:
            return SESSION_LOST, True
        headers = [(b"Accept", b"text/event-stream"), *self._session.headers]
        if progress.last_event_id:
            headers.append((b"Last-Event-ID", progress.last_event_id))
        try:
            async with self._http.endpoint.request("GET", tuple(headers)) as response:
                if response.status == 200 and media_type(response) == EVENTS:
                    progress.opened = True
                    return await self._http.reader.read_events(response, call, progress), False
                if response.status == 404 and call is None and not progress.opened:
                    # Many servers have a route for POST only. If the session has ended, the next POST is refused as well.
                    return None, True
                if response.status == 404 and session:
                    self._on_lost(generation)
                    return SESSION_LOST, True
                if response.status == 405 and call is None:
                    return None, True
                body = await self._http.endpoint.beginning(response)
                if 200 <= response.status < 300:
                    return self._http.endpoint.type_failure(response, body), True
                failure = self._http.endpoint.status_failure(response, body)
                return failure, failure.final and response.status != 409
        except LoginRequired as fault:
            return login_required(fault, sent=True), True
        except Unreachable as fault:
            return unreachable(fault, sent=True), False


def _has_lasted(progress: StreamProgress, before: int, begun: float) -> bool:
    return progress.events > before or trio.current_time() - begun >= _LASTING_SECONDS
