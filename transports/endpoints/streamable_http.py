"""Streamable HTTP of MCP 2025-03-26, 2025-06-18 and 2025-11-25 (basic/transports).

Clients of the stateless era use the same URL; their requests are passed to `stateless_http`. A POST is one message or, in
2025-03-26, one batch. The response is JSON if no other message comes before it. It is an event stream otherwise, and where
the client prefers one, or the response takes so long that a heartbeat is due. Since 2025-11-25 that is after a second,
because the first event then has an id from which a disconnected client can resume. A disconnect cancels nothing except
`initialize`, whose session id no client would receive.

A client that does not accept event streams gets JSON without the notifications before it. Meanwhile, requests of the server
are sent to the GET stream, or refused where there is none, as the servers of the SDKs do in their JSON mode.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from ...validators.content_negotiation import Accepts, accepts
from ...validators.json_object import LARGE, decoded_once
from ...validators.jsonrpc import (
    Message,
    Request,
    Response,
    decode,
    error,
    invalid,
    is_batch,
    request,
    response_id,
    split_batch,
)
from ...validators.limits import Limits
from ...validators.rejection import INVALID_PARAMS, INVALID_REQUEST, SERVER_ERROR, Rejection
from ...validators.revisions import (
    BATCH_REVISION,
    BATCHES_ON_A_PIPE,
    LEGACY_REVISIONS,
    MODERN_REVISIONS,
    PRIMING_SINCE,
    check_version_header,
    known_revision,
)
from ...validators.stateless_request import is_modern, may_be_modern
from ..options import JSON, Headers
from ..ports import Backend, Continuation, Conversation, Exchange
from ..send_queue import DISCONNECTED, SendQueue, Signal
from ..turns import large_turns
from . import sse_codec
from .rejections import (
    check_content_type,
    events_not_acceptable,
    method_not_allowed,
    not_acceptable,
    refuse_message,
)
from .sse_writer import write_events
from .stateless_http import begin_modern, read_modern, serve_modern

if TYPE_CHECKING:
    from collections.abc import Callable

# Time that a client must wait before it resumes an interrupted stream (milliseconds, SEP-1699).
RETRY_MS: Final = 1000
# A call without a response becomes an event stream after this time (seconds), in revisions with priming events.
_COMMIT_SECONDS: Final = 1.0
# Bodies up to this size are served at once, if they were received in whole (bytes).
_TAKEN: Final = 64 * 1024
_SESSION: Final = "mcp-session-id"
_VERSION: Final = "mcp-protocol-version"
# Bytes before the response to `initialize` above which the response becomes an event stream.
_BEFORE_INITIALIZED: Final = 64 * 1024


class StreamableHttp:
    """The endpoint `/mcp` of one server."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self._backend = backend
        self._limits = limits

    async def __call__(self, exchange: Exchange) -> None:
        """Serve one HTTP request. Raises Rejection."""
        match exchange.head.method:
            case "POST":
                await self._post(exchange)
            case "GET":
                await self._get(exchange)
            case "DELETE":
                await self._delete(exchange)
            case _:
                raise method_not_allowed(b"GET, POST, DELETE")

    # ---- POST

    def begin(self, exchange: Exchange, body: bytes) -> Continuation | None:
        """Begin an ordinary request at once (ports.EagerEndpoint). Its Content-Type was checked before."""
        if len(body) > _TAKEN or body[:1] != b"{":
            return None
        headers = exchange.head.headers
        acceptable = accepts(headers.get("accept"))
        begin: Callable[[], Continuation | None]
        try:
            message = decode(body, self._limits)
            if type(message) is not Request or not (acceptable.json or acceptable.events):
                return None
            if may_be_modern(message.params):
                request = read_modern(headers, message, self._limits)
                begin = partial(begin_modern, exchange, self._backend, request, acceptable)
            else:
                version = headers.get(_VERSION)
                if message.method == "initialize" or not (version is None or version in LEGACY_REVISIONS):
                    return None
                conversation = self._conversation(headers.get(_SESSION), exchange.principal)
                begin = partial(self._begin, exchange, conversation, message, acceptable)
        # `_post` raises the same Rejection again, where it can be sent.
        except Rejection:
            return None
        try:
            return begin()
        except Rejection as rejection:
            return partial(refuse_message, exchange, body, rejection, json=acceptable.json)

    async def _post(self, exchange: Exchange) -> None:
        headers = exchange.head.headers
        check_content_type(headers.get("content-type"))
        body = await exchange.read_body()
        continuation = self.begin(exchange, body)
        if continuation is not None:
            await continuation()
            return
        acceptable = accepts(headers.get("accept"))
        session_id = headers.get(_SESSION)
        try:
            if is_batch(body):
                await self._post_batch(exchange, body, session_id, acceptable)
                return
            message = decode(body, self._limits)
            if len(body) > LARGE:
                # Each step may block the event loop for the time of one decoding. The body is needed no more.
                body = stand_in(message)
                await large_turns.wait(exchange.principal)
            if isinstance(message, Request):
                if not (acceptable.json or acceptable.events):
                    raise not_acceptable()
                if is_modern(message.params):
                    await serve_modern(exchange, self._backend, message, self._limits, acceptable)
                    return
                # A handshake, whatever the header MCP-Protocol-Version is.
                if message.method == "initialize":
                    await self._initialize(exchange, message, session_id, acceptable)
                    return
            version = headers.get(_VERSION)
            if version is not None and version not in LEGACY_REVISIONS:
                negotiated = self._negotiated(version, session_id, exchange.principal)
                if negotiated is None and (isinstance(message, Request) or version in MODERN_REVISIONS):
                    await serve_modern(exchange, self._backend, message, self._limits, acceptable)
                    return
                if negotiated != version:
                    code = INVALID_PARAMS if isinstance(message, Request) else INVALID_REQUEST
                    check_version_header(version, code)
            conversation = self._conversation(session_id, exchange.principal)
            await self._converse(exchange, conversation, message, acceptable)
        except Rejection as rejection:
            await refuse_message(exchange, body, rejection, json=acceptable.json)

    async def _converse(
        self, exchange: Exchange, conversation: Conversation, message: Message, acceptable: Accepts
    ) -> None:
        if not isinstance(message, Request):
            receive(conversation, message, None)
            await exchange.answer(202, b"", b"")
            return
        await self._begin(exchange, conversation, message, acceptable)()

    def _begin(
        self, exchange: Exchange, conversation: Conversation, message: Request, acceptable: Accepts
    ) -> Continuation:
        queue = exchange.queue(direct=not acceptable.events_first)
        queue.answers_only = not acceptable.events
        if len(message.params) <= LARGE:
            conversation.receive(message, queue, exchange.head.headers)
        else:
            receive(conversation, message, queue, exchange.head.headers)
        primed = acceptable.events and not acceptable.events_first and conversation.version >= PRIMING_SINCE
        exchange.attach(queue, ends_with_client=False, first_heartbeat=_COMMIT_SECONDS if primed else None)
        return partial(self._answer, exchange, conversation, queue, acceptable)

    async def _answer(
        self, exchange: Exchange, conversation: Conversation, queue: SendQueue, acceptable: Accepts
    ) -> None:
        if not acceptable.events_first:
            answered = await queue.wait_answer()
            if answered or not acceptable.events:
                answer = queue.pop_answer()
                # None: the response was sent directly.
                if answer is not None:
                    # The stream and the queue refer to each other until then.
                    conversation.close_queue(queue)
                    await exchange.answer(200, JSON, answer)
                    queue.on_sent()
                return
            queue.shortcut = None
        await self._stream(exchange, conversation, queue)

    async def _stream(
        self, exchange: Exchange, conversation: Conversation, queue: SendQueue, headers: Headers = ()
    ) -> None:
        begun = False
        try:
            # Before the first wait, so that a response that comes meanwhile gets an event id as well.
            event_id = conversation.begin_events(queue)
            await exchange.begin_stream(headers)
            if event_id:
                await exchange.write(sse_codec.priming(event_id, RETRY_MS))
            begun = True
            await write_events(exchange, queue)
        finally:
            queue.on_disconnect()
            conversation.close_queue(queue, begun=begun)

    async def _initialize(
        self, exchange: Exchange, message: Request, session_id: str | None, acceptable: Accepts
    ) -> None:
        if session_id is not None and self._has_session(session_id, exchange.principal):
            raise invalid("this session is already initialized")
        conversation = await self._backend.open(exchange.principal, exchange.head.headers)
        queue = exchange.queue()
        queue.answers_only = not acceptable.events
        # A client that disconnects now never receives the session id.
        exchange.attach(queue, ends_with_client=True)
        try:
            receive(conversation, message, queue, exchange.head.headers)
            # The session id goes into the head, so the response is awaited, unless much comes before it.
            settled = await queue.wait_closed(_BEFORE_INITIALIZED)
            if queue.state == DISCONNECTED:
                conversation.end("the client disconnected before the response to initialize")
                return
            headers: Headers = ((b"Mcp-Session-Id", conversation.id.encode("ascii")),)
            if not settled:
                await self._stream(exchange, conversation, queue, headers)
                if not conversation.version:
                    conversation.end("the server refused to initialize, or the client disconnected before")
                return
            if not conversation.version:
                headers = ()
                conversation.end("the server refused to initialize")
            if len(queue) == 1 and not acceptable.events_first:
                answer = queue.pop_answer() or b""
                # The stream and the queue refer to each other until then.
                conversation.close_queue(queue)
                await exchange.answer(200, JSON, answer, headers)
                queue.on_sent()
            else:
                await self._stream(exchange, conversation, queue, headers)
        # No client has the session id.
        except BaseException:
            conversation.end("initialize failed")
            raise

    async def _post_batch(
        self, exchange: Exchange, body: bytes, session_id: str | None, acceptable: Accepts
    ) -> None:
        texts = split_batch(body, self._limits)
        self._check_version(exchange, session_id)
        conversation = self._conversation(session_id, exchange.principal)
        if known_revision(conversation.version) != BATCH_REVISION:
            raise invalid(f"a batch is allowed in revision {BATCH_REVISION} only")
        if len(body) > LARGE:
            await large_turns.wait(exchange.principal)
        messages = [decode(text, self._limits) for text in texts]
        _refuse_initialize(messages)
        if len(body) > LARGE:
            await large_turns.wait(exchange.principal)
        if not any(isinstance(message, Request) for message in messages):
            refused = receive_batch(conversation, messages, None)
            if refused is not None:
                raise refused
            await exchange.answer(202, b"", b"")
            return
        if any(isinstance(message, Response) for message in messages):
            raise invalid("a batch holds responses, or requests and notifications")
        if not (acceptable.json or acceptable.events):
            raise not_acceptable()
        queue = exchange.queue()
        queue.answers_only = not acceptable.events
        exchange.attach(queue, ends_with_client=False)
        receive_batch(conversation, messages, queue, headers=exchange.head.headers)
        if acceptable.events:
            await self._stream(exchange, conversation, queue)
            return
        try:
            conversation.begin_events(queue)
            answers = await _gathered(queue, self._limits)
            if answers:
                await exchange.answer(200, JSON, b"[%b]" % b",".join(answers))
            # Each of the requests was cancelled.
            else:
                await exchange.answer(202, b"", b"")
        finally:
            queue.on_disconnect()
            conversation.close_queue(queue)

    # ---- GET and DELETE

    async def _get(self, exchange: Exchange) -> None:
        headers = exchange.head.headers
        self._check_version(exchange, headers.get(_SESSION))
        if not accepts(headers.get("accept")).events:
            raise events_not_acceptable()
        conversation = self._conversation(headers.get(_SESSION), exchange.principal)
        queue = exchange.queue()
        last_event_id = headers.get("last-event-id")
        if last_event_id is None:
            conversation.listen(queue)
        else:
            conversation.resume(last_event_id, queue)
        exchange.attach(queue, ends_with_client=True)
        await self._stream(exchange, conversation, queue)

    async def _delete(self, exchange: Exchange) -> None:
        session_id = exchange.head.headers.get(_SESSION)
        self._check_version(exchange, session_id)
        conversation = self._conversation(session_id, exchange.principal)
        conversation.end("the client ended the session")
        await exchange.answer(204, b"", b"")

    def _conversation(self, session_id: str | None, principal: str) -> Conversation:
        if session_id is None:
            raise invalid("the header Mcp-Session-Id is missing; a session begins with initialize")
        return self._backend.find(session_id, principal)

    def _check_version(self, exchange: Exchange, session_id: str | None) -> None:
        """Raise Rejection for a header MCP-Protocol-Version that does not fit the session."""
        version = exchange.head.headers.get(_VERSION)
        if version is None or version in LEGACY_REVISIONS:
            return
        if self._negotiated(version, session_id, exchange.principal) == version:
            return
        if version in MODERN_REVISIONS and exchange.head.method != "POST":
            raise method_not_allowed(b"POST")
        check_version_header(version)

    def _negotiated(self, version: str, session_id: str | None, principal: str) -> str | None:
        """Return the negotiated revision of the session, or None without a session.

        Raises Rejection 404 for a session that has ended.
        """
        if session_id is None:
            return None
        try:
            return self._backend.find(session_id, principal).version
        except Rejection:
            # The stateless era has no sessions, and ignores their header.
            if version in MODERN_REVISIONS:
                return None
            raise

    def _has_session(self, session_id: str, principal: str) -> bool:
        try:
            self._backend.find(session_id, principal)
        except Rejection:
            return False
        return True


def receive(
    conversation: Conversation,
    message: Message,
    queue: SendQueue | None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Pass a message to its session, decoding large params once although they may be read several times."""
    if isinstance(message, Response) or len(message.params) <= LARGE:
        conversation.receive(message, queue, headers)
        return
    with decoded_once():
        conversation.receive(message, queue, headers)


def stand_in(message: Message) -> bytes:
    """Return a small message with the same id, to release the memory of a large one. A refusal needs the id only."""
    return request(message.id, message.method, b"") if isinstance(message, Request) else b""


def read_batch(body: bytes, version: str, limits: Limits) -> list[Message]:
    """Return the messages of a batch on a transport with one stream for all responses. Raises Rejection."""
    # Before the response to `initialize` the revision is not known, and messages are held back.
    if version and known_revision(version) not in BATCHES_ON_A_PIPE:
        raise invalid(f"a batch is allowed up to revision {BATCH_REVISION} only")
    messages = [decode(text, limits) for text in split_batch(body, limits)]
    _refuse_initialize(messages)
    return messages


def _refuse_initialize(messages: list[Message]) -> None:
    if any(isinstance(message, Request) and message.method == "initialize" for message in messages):
        raise invalid("initialize must not be part of a batch")


def receive_batch(
    conversation: Conversation,
    messages: list[Message],
    queue: SendQueue | None,
    on_refused: "Callable[[Rejection], None] | None" = None,
    headers: Mapping[str, str] | None = None,
) -> Rejection | None:
    """Pass several messages to a session. A refused request gets an error of its own; the others continue.

    `on_refused` is called for each refused request. Returns why the first of the other messages was refused, because it has no response that could be an error.
    """
    first: Rejection | None = None
    for message in messages:
        try:
            receive(conversation, message, queue, headers)
        except Rejection as rejection:
            if isinstance(message, Request):
                conversation.refuse(message, rejection, queue)
                if on_refused is not None:
                    on_refused(rejection)
            else:
                first = first or rejection
    return first


async def _gathered(queue: SendQueue, limits: Limits) -> list[bytes]:
    """Return the responses of a batch. A response above `unsent_bytes` is replaced by an error."""
    answers: list[bytes] = []
    room = limits.unsent_bytes
    while (item := await queue.dequeue()) is not Signal.END:
        if isinstance(item, Signal):
            continue
        text = item[1]
        if len(text) > room:
            raw_id = response_id(text) or b"null"
            fault = f"the answers of the batch exceed the limit of {limits.unsent_bytes} bytes (limits.unsent_bytes)"
            text = error(raw_id, SERVER_ERROR, fault)
        room -= len(text)
        answers.append(text)
    return answers
