"""Streamable HTTP for the legacy revisions 2025-03-26, 2025-06-18 and 2025-11-25 (specification digest, section 4).

Modern clients use the same URL; their requests are told apart here and served in `modern`. One POST is one message (or,
in 2025-03-26, one batch). Its answer is JSON where nothing comes before it, and an event stream where something does, where
the client prefers one, or where the answer takes long enough that the client deserves a sign of life. A client that drops the
connection has not cancelled anything; only `initialize` ends with it, since nobody could ever learn the session's id.
"""

from typing import Final

import trio

from ..validators.envelope import (
    Message,
    Request,
    Response,
    decode,
    error,
    invalid,
    is_batch,
    readable_id,
    request,
    split_batch,
)
from ..validators.limits import Limits
from ..validators.media import Accepts, accepts, is_json
from ..validators.members import LARGE, decoded_once
from ..validators.modern import SUPPORTED
from ..validators.rejection import INVALID_REQUEST, Rejection
from ..validators.shapes import BATCH_REVISION, check_version_header
from . import event_stream
from .modern import serve_modern, speaks_modern
from .options import Headers
from .outlet import GONE, Outlet
from .ports import Backend, Conversation, Exchange
from .streaming import write_events

JSON: Final = b"application/json"
# What a client is told to wait before it comes back for an interrupted stream, in milliseconds (SEP-1699).
RETRY_MS: Final = 1000
_SESSION: Final = "mcp-session-id"
# So much may come before the answer to `initialize` until it becomes a stream of events (bytes).
_BEFORE_INITIALIZED: Final = 64 * 1024
# JSON-RPC itself has batches, so the first revision may have them on what it has: a pipe, and HTTP+SSE (digest 1.2).
_BATCHES_ON_A_PIPE: Final = ("2024-11-05", BATCH_REVISION)


class StreamableHttp:
    """The endpoint `/mcp` of one server."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self._backend = backend
        self._limits = limits

    async def __call__(self, exchange: Exchange) -> None:
        """Serve one request. Raises Rejection."""
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

    async def _post(self, exchange: Exchange) -> None:
        headers = exchange.head.headers
        acceptable = accepts(headers.get("accept"))
        check_content_type(headers.get("content-type"))
        if not (acceptable.json and acceptable.events):
            raise Rejection(406, INVALID_REQUEST, "Accept must allow application/json and text/event-stream")
        body = await exchange.read_body()
        session_id = headers.get(_SESSION)
        try:
            if is_batch(body):
                await self._post_batch(exchange, body, session_id)
                return
            message = decode(body, self._limits)
            if len(body) > LARGE:
                # Each step may hold the event loop for as long as one decoding takes; and nobody needs the body any more.
                body = stand_in(message)
                await trio.lowlevel.checkpoint()
            if speaks_modern(message, headers.get("mcp-protocol-version")):
                await serve_modern(exchange, self._backend, message, self._limits)
                return
            check_version_header(headers.get("mcp-protocol-version"))
            if isinstance(message, Request) and message.method == "initialize":
                await self._initialize(exchange, message, session_id, acceptable)
                return
            conversation = self._conversation(session_id, exchange.principal)
            await self._converse(exchange, conversation, message, acceptable)
        except Rejection as rejection:
            await refuse_message(exchange, body, rejection)

    async def _converse(
        self, exchange: Exchange, conversation: Conversation, message: Message, acceptable: Accepts
    ) -> None:
        if not isinstance(message, Request):
            receive(conversation, message, None)
            await exchange.answer(202, b"", b"")
            return
        outlet = exchange.outlet(direct=not acceptable.events_first)
        if len(message.params) <= LARGE:
            conversation.receive(message, outlet)
        else:
            receive(conversation, message, outlet)
        await self._answer(exchange, conversation, outlet, acceptable)

    async def _answer(
        self, exchange: Exchange, conversation: Conversation, outlet: Outlet, acceptable: Accepts
    ) -> None:
        exchange.attend(outlet, to_the_end=False)
        if not acceptable.events_first:
            if await outlet.answered():
                answer = outlet.take_answer()
                if answer is not None:  # otherwise it was sent directly
                    await exchange.answer(200, JSON, answer)
                    outlet.sent()
                return
            outlet.shortcut = None
        await self._stream(exchange, conversation, outlet)

    async def _stream(
        self, exchange: Exchange, conversation: Conversation, outlet: Outlet, headers: Headers = ()
    ) -> None:
        try:
            await exchange.begin_stream(headers)
            event_id = conversation.begin_events(outlet)
            if event_id:
                await exchange.write(event_stream.priming(event_id, RETRY_MS))
            await write_events(exchange, outlet)
        finally:
            outlet.leave()
            conversation.close_outlet(outlet)

    async def _initialize(
        self, exchange: Exchange, message: Request, session_id: str | None, acceptable: Accepts
    ) -> None:
        if session_id is not None and self._knows(session_id, exchange.principal):
            raise invalid("this session is already initialized")
        conversation = await self._backend.open(exchange.principal, exchange.head.headers)
        outlet = exchange.outlet()
        exchange.attend(outlet, to_the_end=True)  # who leaves now never learns the session's id
        try:
            receive(conversation, message, outlet)
            # The session id goes into the head, so the answer should be known first, as long as little comes before it.
            settled = await outlet.settled(_BEFORE_INITIALIZED)
            if outlet.state == GONE:
                conversation.end("the client left before it was answered")
                return
            headers: Headers = ((b"Mcp-Session-Id", conversation.id.encode("ascii")),)
            if not settled:
                await self._stream(exchange, conversation, outlet, headers)
                if not conversation.version:
                    conversation.end("the server refused to initialize, or the client left before")
                return
            if not conversation.version:
                headers = ()
                conversation.end("the server refused to initialize")
            if len(outlet) == 1 and not acceptable.events_first:
                await exchange.answer(200, JSON, outlet.take_answer() or b"", headers)
                outlet.sent()
            else:
                await self._stream(exchange, conversation, outlet, headers)
        except BaseException:  # nobody knows the session's id
            conversation.end("initialize was not answered")
            raise

    async def _post_batch(self, exchange: Exchange, body: bytes, session_id: str | None) -> None:
        texts = split_batch(body, self._limits)
        check_version_header(exchange.head.headers.get("mcp-protocol-version"))
        conversation = self._conversation(session_id, exchange.principal)
        if conversation.version != BATCH_REVISION:
            raise invalid(f"a batch is allowed in revision {BATCH_REVISION} only")
        if len(body) > LARGE:
            await trio.lowlevel.checkpoint()
        messages = [decode(text, self._limits) for text in texts]
        _refuse_initialize(messages)
        if len(body) > LARGE:
            await trio.lowlevel.checkpoint()
        if not any(isinstance(message, Request) for message in messages):
            for message in messages:
                conversation.receive(message, None)
            await exchange.answer(202, b"", b"")
            return
        if any(isinstance(message, Response) for message in messages):
            raise invalid("a batch holds responses, or requests and notifications")
        outlet = exchange.outlet()
        exchange.attend(outlet, to_the_end=False)
        receive_batch(conversation, messages, outlet)
        await self._stream(exchange, conversation, outlet)

    # ---- GET and DELETE

    async def _get(self, exchange: Exchange) -> None:
        headers = exchange.head.headers
        if headers.get("mcp-protocol-version") in SUPPORTED:
            raise method_not_allowed(b"POST")
        if not accepts(headers.get("accept")).events:
            raise Rejection(406, INVALID_REQUEST, "Accept must allow text/event-stream")
        check_version_header(headers.get("mcp-protocol-version"))
        conversation = self._conversation(headers.get(_SESSION), exchange.principal)
        outlet = exchange.outlet()
        last_event_id = headers.get("last-event-id")
        if last_event_id is None:
            conversation.listen(outlet)
        else:
            conversation.resume(last_event_id, outlet)
        exchange.attend(outlet, to_the_end=True)
        await self._stream(exchange, conversation, outlet)

    async def _delete(self, exchange: Exchange) -> None:
        headers = exchange.head.headers
        if headers.get("mcp-protocol-version") in SUPPORTED:
            raise method_not_allowed(b"POST")
        check_version_header(headers.get("mcp-protocol-version"))
        conversation = self._conversation(headers.get(_SESSION), exchange.principal)
        conversation.end("the client ended the session")
        await exchange.answer(204, b"", b"")

    def _conversation(self, session_id: str | None, principal: str) -> Conversation:
        if session_id is None:
            raise invalid("the header Mcp-Session-Id is missing; a session begins with initialize")
        return self._backend.find(session_id, principal)

    def _knows(self, session_id: str, principal: str) -> bool:
        try:
            self._backend.find(session_id, principal)
        except Rejection:
            return False
        return True


def receive(conversation: Conversation, message: Message, outlet: Outlet | None) -> None:
    """Hand a message to its conversation, which may read its params more than once, but decodes large ones once."""
    if isinstance(message, Response) or len(message.params) <= LARGE:
        conversation.receive(message, outlet)
        return
    with decoded_once():
        conversation.receive(message, outlet)


def stand_in(message: Message) -> bytes:
    """Return a small message with the same id, in whose place a refusal can be answered."""
    return request(message.id, message.method, b"") if isinstance(message, Request) else b""


def read_batch(body: bytes, version: str, limits: Limits) -> list[Message]:
    """The messages of a batch on a transport with one stream for all answers. Raises Rejection."""
    if version not in _BATCHES_ON_A_PIPE:
        raise invalid(f"a batch is allowed up to revision {BATCH_REVISION} only")
    messages = [decode(text, limits) for text in split_batch(body, limits)]
    _refuse_initialize(messages)
    return messages


def _refuse_initialize(messages: list[Message]) -> None:
    if any(isinstance(message, Request) and message.method == "initialize" for message in messages):
        raise invalid("initialize must not be part of a batch")


def receive_batch(conversation: Conversation, messages: list[Message], outlet: Outlet | None) -> None:
    """Take several messages; a request that is refused is answered on its own, and the others go on."""
    for message in messages:
        try:
            receive(conversation, message, outlet)
        except Rejection as rejection:
            if not isinstance(message, Request):
                raise
            conversation.refuse(message, rejection, outlet)


def check_content_type(value: str | None) -> None:
    """Raise Rejection 415 for anything but JSON in UTF-8: a form of a web page must never get here (attacks V5)."""
    if not is_json(value):
        raise Rejection(415, INVALID_REQUEST, "Content-Type must be application/json")


def method_not_allowed(allowed: bytes) -> Rejection:
    """The Rejection 405 with the verbs that there are."""
    return Rejection(405, INVALID_REQUEST, "this path has no such method", headers=((b"Allow", allowed),))


async def refuse_message(exchange: Exchange, body: bytes, rejection: Rejection) -> None:
    """Answer a refused message with an error under its own id, where one can be read (digest 1.3)."""
    exchange.count_refusal(rejection)
    text = error(readable_id(body), rejection.code, rejection.text, rejection.data)
    await exchange.answer(rejection.status, JSON, text, rejection.headers)
