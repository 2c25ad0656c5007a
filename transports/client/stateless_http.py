"""The Streamable HTTP client of MCP 2026-07-28 (basic/transports/streamable-http): a POST for each request, without a session.

Closing the response cancels its request. A request is sent again only if the server has refused it for its headers, which
differ from the current annotations of its tool, for its credentials, or if no connection was made.
"""

from typing import Final

import trio

from ...validators import json_object, jsonrpc, stateless_request
from ...validators.limits import Limits
from ...validators.mcp_params import read_cancelled
from ...validators.mirrored_headers import HEADER_MISMATCH, encode_value
from ...validators.rejection import Rejection
from ...validators.revisions import MODERN_REVISION
from ...validators.stateless_request import PROTOCOL_VERSION, read_envelope
from ..options import Headers
from .calls import Call, Calls
from .detection import HTTP, is_modern_error
from .http_calls import POST, Endpoint, HttpCalls
from .http_failures import MAY_HAVE_RUN, Failure, login_required, unreachable
from .link import Link
from .messages import Received, Sent, read_received
from .ports import LoginRequired, Unreachable
from .response_reader import ResponseReader, StreamProgress
from .tool_list import ToolList

DISCOVER: Final = "server/discover"
_TOOLS_CALL: Final = "tools/call"
_TOOLS_LIST: Final = "tools/list"
# No client uses such an id.
_ID_PREFIX: Final = "mcp-bridge-tools-"
_NO_RESPONSE: Final = Failure(
    f"has ended the response without an answer; {MAY_HAVE_RUN}", {"reason": "no response"}
)


class StatelessHttp:
    """The requests of one client."""

    def __init__(self, endpoint: Endpoint, link: Link, nursery: trio.Nursery) -> None:
        self._link = link
        self._nursery = nursery
        self._calls = Calls()
        # Requests of a server do not exist in this era. The receiver of the line refuses them.
        reader = ResponseReader(link, self._calls, endpoint.secrets, _ignore, _ignore)
        self._http = HttpCalls(endpoint, link, self._calls, reader)
        self._tools = ToolList(link.limits)
        # Held while the list of tools is read again.
        self._listing = trio.Lock()
        # The number of requests of the bridge itself.
        self._numbers = 0

    def send(self, sent: Sent) -> None:
        """Send a request or a notification."""
        if sent.id:
            call = Call(sent, self._on_tools if sent.method == _TOOLS_LIST else self._on_answered)
            self._calls.add(call)
            self._nursery.start_soon(self._call, call)
        else:
            self._nursery.start_soon(self._notify, sent)

    def cancel(self, sent: Sent) -> bool:
        """Cancel the request that a notification of the client names. Returns False if it is none of this era."""
        call = self._calls.find(read_cancelled(sent.params)[0])
        if call is None:
            return False
        self._link.settled(sent)
        self._link.settled(call.sent)
        self._calls.end(call)
        call.scope.cancel()
        return True

    # ---- notifications

    async def _notify(self, sent: Sent) -> None:
        version, _ = _described(sent, self._link.limits)
        headers = (*POST, *_headers(sent, version, ""))
        try:
            async with self._http.endpoint.request("POST", headers, sent.line) as response:
                self._link.settled(sent)
                if response.status >= 300:
                    body = await self._http.endpoint.beginning(response)
                    failure = self._http.endpoint.status_failure(response, body)
                    self._link.note(f"{sent.method} was refused: {failure.text}")
        except (Unreachable, LoginRequired) as fault:
            self._link.settled(sent)
            self._link.note(f"{sent.method} was not sent: {fault}")

    # ---- requests

    async def _call(self, call: Call) -> None:
        failure: Failure | None = None
        with call.scope:
            failure = await self._exchange(call)
        if call.ended:
            return
        failure = failure or _NO_RESPONSE
        if call.sent.method == DISCOVER and self._link.is_new and not failure.refused:
            # An error would be an answer, and show that the server is of another era.
            self._link.end(failure.predicate)
        else:
            self._http.fail(call, failure)

    async def _exchange(self, call: Call) -> Failure | None:
        """Send a request and read its response. Returns why there is none, if that is known."""
        # Decoding large params takes time.
        await trio.lowlevel.checkpoint()
        version, name = _described(call.sent, self._link.limits)
        headers = (*POST, *_headers(call.sent, version, name))
        if call.sent.method != _TOOLS_CALL:
            return (await self._attempt(call, headers))[0]
        seen = self._tools.version
        mirrored = self._tools.headers(name, call.sent.params)
        failure, mismatch = await self._attempt(call, (*headers, *mirrored), again=True)
        if mismatch is None:
            return failure
        # The server has refused the call before its execution, because its tool has other annotations.
        if not await self._list_tools(seen):
            self._http.reader.take_refusal(mismatch, call)
            return _NO_RESPONSE
        mirrored = self._tools.headers(name, call.sent.params)
        return (await self._attempt(call, (*headers, *mirrored)))[0]

    async def _attempt(
        self, call: Call, headers: Headers, *, again: bool = False
    ) -> tuple[Failure | None, bytes | None]:
        """Send a request once. Returns the failure; with `again` instead the body of a refusal of its headers."""
        try:
            async with self._http.endpoint.request("POST", headers, call.sent.line) as response:
                self._link.settled(call.sent)
                if 200 <= response.status < 300:
                    call.begun = True
                    return await self._http.read(call, response, StreamProgress()), None
                body = await self._http.endpoint.beginning(response)
                if again and response.status == 400 and _is_mismatch(body, self._link.limits):
                    return None, body
                failure = self._http.endpoint.status_failure(response, body)
                if not (call.internal or is_modern_error(body)):
                    # A server that has HTTP+SSE only may refuse each POST with an error of JSON-RPC.
                    call.on_response = None
                if call.sent.method != DISCOVER or failure.refused:
                    self._http.reader.take_refusal(body, call)
                return failure, None
        except LoginRequired as fault:
            return login_required(fault), None
        except Unreachable as fault:
            return unreachable(fault, sent=call.begun or fault.sent), None

    # ---- responses

    def _on_answered(self, received: Received) -> bytes:
        """Process the response to a request (Call.on_response)."""
        self._link.answered(HTTP)
        return received.line

    def _on_tools(self, received: Received) -> bytes:
        """Process a page of the list of tools that the client has requested (Call.on_response)."""
        self._link.answered(HTTP)
        line, dropped = self._tools.on_page(received)
        for name in dropped:
            self._link.note(
                f"dropped the tool {name[:64]!r} from a list, because an x-mcp-header of it is invalid"
            )
        return line

    # ---- the list of tools

    async def _list_tools(self, seen: int) -> bool:
        """Read the list of tools again, unless that was done since the version `seen`. Returns whether there is a newer one."""
        async with self._listing:
            if self._tools.version != seen:
                return True
            self._tools.begin()
            with trio.move_on_after(self._link.limits.start_seconds):
                return await self._read_pages()
            return False

    async def _read_pages(self) -> bool:
        cursor = b""
        while True:
            params: dict[str, object] = {"_meta": stateless_request.OWN_META}
            if cursor:
                params["cursor"] = json_object.raw(cursor)
            page = await self._request(_TOOLS_LIST, json_object.write(params))
            if page is None:
                return False
            try:
                cursor = self._tools.on_own_page(page)
            except Rejection as rejection:
                self._link.note(f"the list of tools was not read: {rejection.text}")
                return False
            if not cursor:
                return True

    async def _request(self, method: str, params: bytes) -> Received | None:
        """Send a request of the bridge itself. Returns None without a response."""
        self._numbers += 1
        raw_id = json_object.text(f"{_ID_PREFIX}{self._numbers}")
        sent = Sent(jsonrpc.request(raw_id, method, params), raw_id, method, params, unsent=False)
        found: list[Received] = []

        def on_response(received: Received) -> bytes:
            found.append(received)
            return b""

        call = Call(sent, on_response, internal=True)
        self._calls.add(call)
        await self._attempt(call, (*POST, *_headers(sent, MODERN_REVISION, "")))
        self._calls.end(call)
        return found[0] if found else None


def _ignore(_text: bytes) -> None:
    """Do nothing."""


def _described(sent: Sent, limits: Limits) -> tuple[str, str]:
    """Return the revision of a message, and the name that a header mirrors, or empty."""
    try:
        envelope = read_envelope(sent.method, sent.params, limits)
    except Rejection:
        meta = json_object.peek(json_object.peek(sent.params).get("_meta"))
        return json_object.string(meta.get(PROTOCOL_VERSION)) or MODERN_REVISION, ""
    return envelope.version, envelope.name


def _headers(sent: Sent, version: str, name: str) -> Headers:
    fields = [
        (b"MCP-Protocol-Version", encode_value(version).encode()),
        (b"Mcp-Method", encode_value(sent.method).encode()),
    ]
    if name:
        fields.append((b"Mcp-Name", encode_value(name).encode()))
    return tuple(fields)


def _is_mismatch(body: bytes, limits: Limits) -> bool:
    for received in read_received(body, limits):
        error = json_object.peek(json_object.peek(received.line).get("error"))
        if json_object.number(error.get("code")) == HEADER_MISMATCH:
            return True
    return False
