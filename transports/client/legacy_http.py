"""The Streamable HTTP client of the handshake revisions (MCP 2025-03-26 to 2025-11-25 basic/transports).

Messages are sent in the order of the client as far as the server can see it: a notification waits for its acceptance before the
next message is sent; requests run beside each other. A response to the server never waits.

A request is sent once. It is sent again only if the server has refused it because its session has ended (404), for other
credentials, or if no connection was made.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from ...validators import jsonrpc
from ...validators.mcp_params import read_cancelled
from ..options import Headers
from .calls import Call, Calls
from .detection import HTTP, is_modern_error, names_no_session, refuses_request
from .http_calls import POST, Endpoint, HttpCalls
from .http_connection import RemoteResponse
from .http_failures import MAY_HAVE_RUN, Failure, login_required, unreachable
from .link import Link
from .messages import CANCELLED, INITIALIZE, INITIALIZED, Received, Sent, own
from .ports import LoginRequired, Unreachable
from .replay import LegacySession
from .response_reader import EVENTS, ResponseReader, StreamProgress, media_type
from .server_stream import SESSION_LOST, ServerStreams

# Time for the server to accept a notification before the next message is sent (seconds).
_ACCEPT_SECONDS: Final = 2.0
# Notifications that belong to one request only, so that other messages need not wait for them.
_INDEPENDENT: Final = frozenset({CANCELLED, "notifications/progress"})
# Time for the response to a request to begin before its cancellation is sent (seconds).
_REACH_SECONDS: Final = 0.5
# Notifications without further effect if the server receives them twice.
_REPEATABLE: Final = frozenset({CANCELLED, INITIALIZED, "notifications/roots/list_changed"})
# The most attempts to send a message after a failure that may pass: one whose repetition has no effect, and `initialize` of a
# session that the server has ended, whose time is limited. The pauses between them grow from the first to the second (seconds).
_TRIES: Final = 3
_MANY_TRIES: Final = 1000
_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0
# How often one request is sent again because its session has ended.
_MOST_REFUSALS: Final = 2
# How long the stream of a cancelled request is read (seconds).
_WITHDRAWN_SECONDS: Final = 30.0
_INITIALIZED: Final = jsonrpc.notification(INITIALIZED, b"")
_NOTHING: Final = Failure("", {})
_NO_RESPONSE: Final = Failure(
    f"has ended the response without an answer; {MAY_HAVE_RUN}", {"reason": "no response"}
)
_ACCEPTED_ONLY: Final = Failure(
    f"has accepted the request and sends no answer; {MAY_HAVE_RUN}", {"reason": "no response"}
)
_ALWAYS_LOST: Final = Failure(
    "has ended each of several sessions before the request", {"reason": "session lost"}
)


class LegacyHttp:
    """One session of one client."""

    def __init__(self, endpoint: Endpoint, link: Link, nursery: trio.Nursery) -> None:
        self._link = link
        self._nursery = nursery
        self._session = LegacySession(link.limits)
        self._calls = Calls()
        reader = ResponseReader(
            link, self._calls, endpoint.secrets, self._session.add_request, self._session.withdrawn
        )
        self._http = HttpCalls(endpoint, link, self._calls, reader)
        # Messages that are to be sent, oldest first.
        self._waiting: deque[Call | Sent] = deque()
        # Whether nothing is sent, because `initialize` or a notification has no response yet.
        self._held = False
        # Whether nothing is sent, because the session is opened again.
        self._reopening = False
        self._wake = trio.Event()
        # The session id in the head of the response to `initialize`.
        self._offered_id: str | None = None
        # Of the stream of messages that belong to no request; None for none.
        self._listening: trio.CancelScope | None = None

    @property
    def begun(self) -> bool:
        """Whether the client has begun a session."""
        return self._session.begun

    @property
    def session_headers(self) -> Headers:
        """The header fields that name the session, empty if there is none that the server could end."""
        return self._session.headers if self._session.id else ()

    # ---- from the client

    def send(self, sent: Sent) -> None:
        """Send a message as soon as its order permits."""
        if not sent.method:
            if self._session.answers(sent.id):
                self._nursery.start_soon(self._notify, sent)
            else:
                self._link.settled(sent)
            return
        self._session.record(sent)
        if sent.method == CANCELLED and self._withdraw(sent):
            self._link.settled(sent)
            return
        if sent.id:
            call = Call(sent, self._on_opened if sent.method == INITIALIZE else None)
            self._calls.add(call)
            self._waiting.append(call)
        else:
            self._waiting.append(sent)
        self._wake.set()

    def _withdraw(self, sent: Sent) -> bool:
        """Process the cancellation of a request. Return True if the server must not receive it."""
        call = self._calls.find(read_cancelled(sent.params)[0])
        if call is None or call.sent.method == INITIALIZE:
            # Only a request in progress can be cancelled, except `initialize` (MCP 2025-11-25 basic/utilities/cancellation).
            return True
        call.withdrawn = True
        if call in self._waiting:
            self._waiting.remove(call)
            self._http.fail(call, _NOTHING)
            return True
        if call.elsewhere:
            self._http.fail(call, _NOTHING)
        call.scope.deadline = min(call.scope.deadline, trio.current_time() + _WITHDRAWN_SECONDS)
        return False

    async def run(self) -> None:
        """Send what waits, in order, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._waiting and not (self._held or self._reopening):
                message = self._waiting.popleft()
                if isinstance(message, Call):
                    self._held = message.sent.method == INITIALIZE
                    self._nursery.start_soon(self._call, message)
                else:
                    self._held = message.method not in _INDEPENDENT
                    self._nursery.start_soon(self._notify_in_order, message)
                # The task of a message begins before that of the next one.
                await trio.lowlevel.checkpoint()

    def _release(self) -> None:
        self._held = False
        self._wake.set()

    # ---- notifications and responses

    async def _notify_in_order(self, sent: Sent) -> None:
        if self._reopening:
            # The session was lost after this task was started.
            self._waiting.appendleft(sent)
            self._release()
            return
        if sent.method in _INDEPENDENT:
            await self._wait_for_request(sent)
            await self._notify(sent)
            return
        opens = sent.method == INITIALIZED
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                self._release_later, self._link.limits.start_seconds if opens else _ACCEPT_SECONDS
            )
            await self._notify(sent)
            nursery.cancel_scope.cancel()
        self._release()
        if opens:
            self._listen()

    async def _wait_for_request(self, sent: Sent) -> None:
        """Wait a short time until the server has received the request that a cancellation names.

        The two are sent on different connections, and a server ignores the cancellation of a request that it does not know.
        """
        call = self._calls.find(read_cancelled(sent.params)[0]) if sent.method == CANCELLED else None
        if call is not None:
            with trio.move_on_after(_REACH_SECONDS):
                await call.reached.wait()

    async def _release_later(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self._release()

    async def _notify(self, sent: Sent) -> None:
        """Send a notification or a response of the client, again after a failure if a repetition has no effect."""
        tries = _TRIES if not sent.method or sent.method in _REPEATABLE else 1
        for number in range(1, tries + 1):
            if await self._post(sent, last=number == tries):
                return
            await trio.sleep(_PAUSE * number)

    async def _post(self, sent: Sent, *, last: bool) -> bool:
        """Send a message once. Returns whether the server has accepted or refused it."""
        generation, session = self._session.generation, self._session.id
        headers = (*POST, *self._session.headers)
        try:
            async with self._http.endpoint.request("POST", headers, sent.line) as response:
                self._link.settled(sent)
                if response.status == 404 and session:
                    self._lose(generation)
                    return True
                body = b""
                if media_type(response) != EVENTS:
                    body = await self._http.endpoint.beginning(response)
                if response.status < 300:
                    return True
                failure = self._http.endpoint.status_failure(response, body)
                reason, final = failure.text, failure.final
        except (Unreachable, LoginRequired) as fault:
            self._link.settled(sent)
            reason, final = str(fault), isinstance(fault, LoginRequired)
        if last or final:
            self._link.note(f"{sent.method or 'a response'} was not accepted: {reason}")
        return final

    # ---- requests

    async def _call(self, call: Call) -> None:
        if self._reopening:
            # The session was lost after this task was started.
            self._waiting.appendleft(call)
            return
        if call.sent.method == INITIALIZE:
            failure = await self._initialize(call, _TRIES)
            if not call.ended:
                self._link.end(failure.predicate)
            return
        failure = _NO_RESPONSE
        # Another one for each time that it is sent.
        call.scope = trio.CancelScope(deadline=call.scope.deadline)
        with call.scope:
            failure = await self._exchange(call) or _NO_RESPONSE
        if not (call.ended or call.elsewhere or call in self._waiting):
            self._http.fail(call, _NOTHING if call.withdrawn else failure)

    async def _initialize(self, call: Call, tries: int) -> Failure:
        """Send `initialize`, again after a failure that may pass, because it has no effect without a session.

        Returns why there is no response, if the call has not ended.
        """
        failure = _NO_RESPONSE
        for number in range(1, tries + 1):
            failure = await self._exchange(call) or _NO_RESPONSE
            # Attempts to connect were repeated before.
            if call.ended or failure.final or (failure.data.get("sent") is False and not call.internal):
                break
            await trio.sleep(min(_PAUSE * number, _LONGEST_PAUSE))
        return failure

    async def _exchange(self, call: Call) -> Failure | None:
        """Send a request and read its response. Returns why there is none, if that is known."""
        progress = StreamProgress()
        opens = call.sent.method == INITIALIZE
        call.generation = self._session.generation
        call.session = "" if opens else self._session.id
        headers = POST if opens else (*POST, *self._session.headers)
        failure: Failure | None = None
        try:
            async with self._http.endpoint.request("POST", headers, call.sent.line) as response:
                self._link.settled(call.sent)
                failure = await self._read(call, response, progress)
        except LoginRequired as fault:
            failure = login_required(fault)
        except Unreachable as fault:
            failure = unreachable(fault, sent=call.begun or fault.sent)
        if progress.last_event_id and not (call.ended or opens):
            failure = await self._streams().resume(call, progress)
        return failure

    async def _read(self, call: Call, response: RemoteResponse, progress: StreamProgress) -> Failure | None:
        opens = call.sent.method == INITIALIZE
        if not 200 <= response.status < 300:
            failure, body = await self._http.read_refusal(response)
            if response.status == 404 and call.session and not refuses_request(body, call.id):
                return self._refused(call)
            if opens and not call.internal:
                self._on_refused(call, failure, body)
            else:
                self._http.reader.take_refusal(body, call)
            if call.session and response.status == 400 and names_no_session(body, call.id):
                # Some servers do not use the status 404. The request fails, and the following get another session.
                self._lose(call.generation)
            return failure
        call.begin()
        if opens:
            self._offered_id = response.headers.get("mcp-session-id")
        elif response.status in (202, 204):
            # Its answer may come on the stream of the session.
            call.elsewhere = self._listening is not None
            return _ACCEPTED_ONLY
        return await self._http.read(call, response, progress)

    def _refused(self, call: Call) -> Failure | None:
        """Send a request in the next session, because the server has refused it with the former."""
        call.refusals += 1
        if call.internal:
            return SESSION_LOST
        if call.refusals > _MOST_REFUSALS:
            failure = _ALWAYS_LOST
        else:
            failure = None
            self._waiting.appendleft(call)
        self._lose(call.generation)
        return failure

    # ---- the session

    def _on_opened(self, received: Received) -> bytes:
        """Process the response to `initialize` of the client (Call.on_response)."""
        self._session.open(received, self._offered_id)
        self._link.answered(HTTP)
        self._release()
        return received.line

    def _on_opening_refused(self, received: Received) -> bytes:
        """Process an error in place of the response to `initialize`, with an error status (Call.on_response).

        A gateway may have sent it, so it does not show which transport the server has.
        """
        self._session.open(received, None)
        self._release()
        return received.line

    def _on_refused(self, call: Call, failure: Failure, body: bytes) -> None:
        """Find out after a refusal of `initialize` whether the server has HTTP+SSE. If not, the refusal counts."""

        def give_back(reason: str, messages: list[Sent]) -> None:
            again = Call(call.sent, self._on_opening_refused)
            self._calls.add(again)
            self._http.reader.take_refusal(body, again)
            if not again.ended:
                self._link.end(f"{failure.predicate} (and HTTP+SSE: {reason})")
            # The first is `initialize`.
            for sent in messages[1:]:
                self.send(sent)

        call.on_response = self._on_opening_refused
        if failure.refused and not is_modern_error(body):
            waiting = [one.sent if isinstance(one, Call) else one for one in self._waiting]
            if self._link.change_transport([call.sent, *waiting], give_back):
                for one in (call, *self._waiting):
                    if isinstance(one, Call):
                        self._calls.end(one)
                self._waiting.clear()
                return
        self._http.reader.take_refusal(body, call)

    def _streams(self) -> ServerStreams:
        # Made for each stream, because they refer to each other.
        return ServerStreams(self._http, self._session, self._lose)

    def _lose(self, generation: int) -> None:
        """Open the session again, because the server has ended it."""
        if generation != self._session.generation or self._reopening:
            self._wake.set()
            return
        self._reopening = True
        self._link.note("the server has ended the session, which is opened again")
        if self._listening is not None:
            self._listening.cancel()
        for line in self._session.lose():
            self._link.put(line)
        for call in self._calls:
            # The response of another request may still show that it was not carried out.
            if call.begun and call not in self._waiting:
                self._http.fail(call, SESSION_LOST)
                call.scope.cancel()
        self._nursery.start_soon(self._open_again)

    async def _open_again(self) -> None:
        seconds = self._link.limits.start_seconds
        reason = f"has ended the session, and has not opened another within {seconds:g} s"
        with trio.move_on_after(seconds):
            reason = await self._open()
        if reason:
            self._link.end(reason)
            return
        for line in self._session.missed():
            self._link.put(line)
        self._reopening = False
        self._wake.set()

    async def _open(self) -> str:
        """Open the session again, and bring it into the state of the former. Returns why that is not possible."""
        reason = ""

        def on_response(received: Received) -> bytes:
            nonlocal reason
            reason = self._session.open(received, self._offered_id)
            return b""

        call = Call(self._session.initialize_again(), on_response, internal=True)
        self._calls.add(call)
        failure = await self._initialize(call, _MANY_TRIES)
        if self._calls.end(call) or reason:
            return f"has ended the session, and has not opened another: it {reason or failure.predicate}"
        if self._session.initialized:
            await self._notify(own(_INITIALIZED))
            self._listen()
        for sent in self._session.restore():
            # The server may refuse them, as it may have done before.
            if await self._request(sent, lambda _: b"") is SESSION_LOST:
                return "has ended two sessions in a row"
        return ""

    async def _request(self, sent: Sent, on_response: Callable[[Received], bytes]) -> Failure | None:
        """Send a request of the bridge itself. Returns why it has no response."""
        call = Call(sent, on_response, internal=True)
        self._calls.add(call)
        failure = await self._exchange(call)
        return (failure or _NO_RESPONSE) if self._calls.end(call) else None

    def _listen(self) -> None:
        """Open the stream of messages that belong to no request."""
        if self._listening is None:
            self._listening = trio.CancelScope()
            self._nursery.start_soon(self._read_stream, self._listening)

    async def _read_stream(self, scope: trio.CancelScope) -> None:
        with scope:
            await self._streams().listen()
        self._listening = None
        for call in self._calls:
            if call.elsewhere:
                self._http.fail(call, _ACCEPTED_ONLY)
