"""Streamable HTTP of the stateless era, on the same URL as sessions (MCP 2026-07-28 basic/transports).

A response is JSON with a status for the kind of error, or an event stream where other messages come before it. A client that
disconnects cancels its request. There are no sessions, event ids or resumption.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial

from ...validators.content_negotiation import Accepts
from ...validators.json_object import LARGE, decoded_once
from ...validators.jsonrpc import Message, Notification, Request, invalid
from ...validators.limits import Limits
from ...validators.mirrored_headers import check_headers
from ...validators.rejection import INVALID_REQUEST, Rejection
from ...validators.stateless_request import LISTEN, check_meta, read_envelope
from ..options import JSON
from ..ports import Backend, Continuation, Exchange, ModernRequest, Upstream
from ..send_queue import CLOSED, DISCONNECTED, SendQueue
from ..turns import large_turns
from . import sse_codec
from .sse_writer import write_events


async def serve_modern(
    exchange: Exchange, backend: Backend, message: Message, limits: Limits, acceptable: Accepts
) -> None:
    """Serve one message of the stateless era. Raises Rejection.

    A client that accepts JSON only gets the response without the notifications before it, which a server may omit.
    """
    headers = exchange.head.headers
    if isinstance(message, Notification):
        exchange.caller.note_headers(headers)
        await backend.notify(exchange.principal, headers, message, exchange.caller)
        await exchange.answer(202, b"", b"")
        return
    if not isinstance(message, Request):
        raise invalid("a response is not expected: in this revision servers send no requests")
    large = len(message.params) > LARGE
    # Each step may block the event loop for the time of one decoding.
    if large:
        await large_turns.wait(exchange.principal)
    check_meta(message.params)
    if large:
        await large_turns.wait(exchange.principal)
    request = read_modern(headers, message, limits)
    if message.method == LISTEN and not acceptable.events:
        raise Rejection(406, INVALID_REQUEST, f"{LISTEN} needs text/event-stream in Accept")
    queue = exchange.queue(direct=acceptable.json)
    queue.answers_only = not acceptable.events
    exchange.attach(queue, ends_with_client=True)
    if queue.state == DISCONNECTED:
        return
    caller = exchange.caller
    caller.note_headers(headers)
    if large:
        await large_turns.wait(exchange.principal)
    with decoded_once() if large else nullcontext():
        upstream = await backend.start_request(
            exchange.principal, headers, request, queue, pipe=False, caller=caller
        )
    await _send_answer(exchange, upstream, queue, acceptable)


def read_modern(headers: Mapping[str, str], message: Request, limits: Limits) -> ModernRequest:
    """Parse the `_meta` of a request and compare it with the headers. Raises Rejection."""
    envelope = read_envelope(message.method, message.params, limits)
    check_headers(headers, message.method, envelope)
    return ModernRequest(message, envelope, headers)


def begin_modern(
    exchange: Exchange, backend: Backend, request: ModernRequest, acceptable: Accepts
) -> Continuation | None:
    """Begin a request without waiting (ports.EagerEndpoint). Raises Rejection."""
    if request.request.method == LISTEN:
        return None
    queue = exchange.queue(direct=acceptable.json)
    queue.answers_only = not acceptable.events
    exchange.attach(queue, ends_with_client=True)
    if queue.state == DISCONNECTED:
        return None
    caller = exchange.caller
    caller.note_headers(exchange.head.headers)
    upstream = backend.start_request_now(exchange.principal, request, queue, caller)
    return None if upstream is None else partial(_send_answer, exchange, upstream, queue, acceptable)


async def _send_answer(exchange: Exchange, upstream: Upstream, queue: SendQueue, acceptable: Accepts) -> None:
    try:
        await _answer(exchange, queue, acceptable)
    finally:
        finished = queue.state == CLOSED
        queue.on_disconnect()
        if not finished:
            upstream.on_disconnect(queue)


async def _answer(exchange: Exchange, queue: SendQueue, acceptable: Accepts) -> None:
    if await queue.wait_answer():
        answer = queue.pop_answer()
        # None: the response was sent directly.
        if answer is not None:
            # An event stream always has status 200.
            if acceptable.json or queue.status != 200:
                await exchange.answer(queue.status, JSON, answer)
            else:
                await exchange.begin_stream()
                await exchange.write(sse_codec.message(b"", answer))
            queue.on_sent()
        return
    if queue.state == DISCONNECTED or not acceptable.events:
        return
    queue.shortcut = None
    await exchange.begin_stream()
    await write_events(exchange, queue)
