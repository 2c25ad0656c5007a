"""HTTP+SSE, the transport of MCP 2024-11-05 (basic/transports).

A GET opens a session and is its only stream. Its first event names the path to which the client POSTs messages. The session
ends with the stream.
"""

from collections.abc import Callable, Mapping

import trio

from ...validators.content_negotiation import accepts
from ...validators.json_object import LARGE
from ...validators.jsonrpc import decode, is_batch
from ...validators.limits import Limits
from ...validators.rejection import INVALID_REQUEST, SESSION_NOT_FOUND, Rejection
from ..ports import Backend, Endpoint, Exchange
from . import sse_codec
from .rejections import check_content_type, events_not_acceptable, method_not_allowed, refuse_message
from .sse_writer import write_events
from .streamable_http import read_batch, receive_batch, stand_in

_PARAMETER = "sessionId="


def relative(stream: str, messages: str) -> str:
    """Return the relative reference from the path of a stream to the path of its messages (RFC 3986 section 4.2).

    A relative reference stays valid behind a proxy that adds a prefix to both paths.
    """
    base, target = stream.split("/")[:-1], messages.split("/")
    common = 0
    while common < min(len(base), len(target) - 1) and base[common] == target[common]:
        common += 1
    reference = "/".join([".."] * (len(base) - common) + target[common:])
    first = reference.partition("/")[0]
    # An empty first segment would begin an absolute path, and a colon in it a scheme.
    return f"./{reference}" if not first or ":" in first else reference


def session_of(query: str) -> str:
    """Return the session id in the query of a POST. Raises Rejection 400."""
    found = [item for item in query.split("&") if item.startswith(_PARAMETER)]
    if len(found) != 1:
        raise Rejection(
            400, INVALID_REQUEST, "the query must hold sessionId=... once, as in the endpoint event"
        )
    return found[0][len(_PARAMETER) :]


class EventStream:
    """The endpoint `/sse` of one server."""

    def __init__(self, backend: Backend, limits: Limits, messages_path: str, path: str = "") -> None:
        self._path = path
        self._backend = backend
        self._limits = limits
        self._messages_path = messages_path

    def _prefix(self, path: str) -> str:
        """Return what is in front of the path of this endpoint: the root path, which the messages have as well."""
        bare = path.removesuffix("/")
        return bare.removesuffix(self._path) if self._path and bare.endswith(self._path) else ""

    async def __call__(self, exchange: Exchange) -> None:
        """Open a session and stream its messages until either side closes. Raises Rejection."""
        if exchange.head.method != "GET":
            raise method_not_allowed(b"GET")
        if not accepts(exchange.head.headers.get("accept")).events:
            raise events_not_acceptable()
        queue = exchange.queue()
        conversation = await self._backend.open(exchange.principal, exchange.head.headers, queue)
        try:
            exchange.attach(queue, ends_with_client=True)
            await exchange.begin_stream()
            await exchange.write(
                sse_codec.endpoint(
                    f"{relative(exchange.head.path, self._prefix(exchange.head.path) + self._messages_path)}?{_PARAMETER}{conversation.id}"
                )
            )
            await write_events(exchange, queue)
        finally:
            stalled = f"the client has not read its event stream for {self._limits.write_stall_seconds:g} s"
            conversation.end(stalled if queue.stalled else "the client closed its event stream")


def _session_of_post(exchange: Exchange) -> str:
    """Return the session id of a POST. Raises Rejection for another method, another Content-Type, or no session id."""
    head = exchange.head
    if head.method != "POST":
        raise method_not_allowed(b"POST")
    check_content_type(head.headers.get("content-type"))
    return session_of(head.query)


class MessagePost:
    """The endpoint `/messages` of one server."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self._backend = backend
        self._limits = limits

    async def __call__(self, exchange: Exchange) -> None:
        """Pass one message to its session. Raises Rejection."""
        session_id = _session_of_post(exchange)
        body = await exchange.read_body()
        # Unreadable messages are refused here. The session sends its refusals on the event stream, as on a pipe.
        try:
            conversation = self._backend.find(session_id, exchange.principal)
            if is_batch(body):
                messages = read_batch(body, conversation.version, self._limits)
            else:
                messages = [decode(body, self._limits)]
            if len(body) > LARGE:
                # Each step may block the event loop for the time of one decoding. The body is needed no more.
                if len(messages) == 1:
                    body = stand_in(messages[0])
                await trio.lowlevel.checkpoint()
            refused = receive_batch(conversation, messages, None, headers=exchange.head.headers)
            if refused is not None:
                raise refused
        except Rejection as rejection:
            await refuse_message(exchange, body, rejection)
            return
        await exchange.answer(202, b"text/plain", b"Accepted")


class SharedMessagePost:
    """The endpoint `/messages` of all servers. The session id of a message determines its server.

    Some clients resolve the reference in the endpoint event against the root of the URL. `servers` holds backend and
    endpoint by server name; `may_use` (principal, server) returns whether a principal may use a server.
    """

    def __init__(
        self, servers: Mapping[str, tuple[Backend, Endpoint]], may_use: Callable[[str, str], bool]
    ) -> None:
        self._servers = servers
        self._may_use = may_use

    async def __call__(self, exchange: Exchange) -> None:
        """Pass one message to the endpoint of the server that has its session. Raises Rejection."""
        session_id = _session_of_post(exchange)
        for name, (backend, endpoint) in self._servers.items():
            if self._may_use(exchange.principal, name) and _has_session(
                backend, session_id, exchange.principal
            ):
                await endpoint(exchange)
                return
        unknown = Rejection(404, SESSION_NOT_FOUND, "Session not found")
        await refuse_message(exchange, await exchange.read_body(), unknown)


def _has_session(backend: Backend, session_id: str, principal: str) -> bool:
    try:
        backend.find(session_id, principal)
    except Rejection:
        return False
    return True
