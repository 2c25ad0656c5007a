"""Streamable HTTP for the modern era: every request for itself, on the same URL as the sessions (specification digest, section 3).

An answer is JSON with a status that says what kind of error it is, or an event stream where something comes before it. A client
that drops the connection has cancelled its request. No session, no event id, no resumption.
"""

from contextlib import nullcontext
from typing import Final

import trio

from ..validators.envelope import Message, Notification, Request, invalid
from ..validators.limits import Limits
from ..validators.members import LARGE, decoded_once
from ..validators.modern import SUPPORTED, check_headers, is_modern, read_envelope
from ..validators.shapes import LEGACY_REVISIONS
from .outlet import FINISHED, GONE, Outlet
from .ports import Backend, Exchange, ModernRequest
from .streaming import write_events

JSON: Final = b"application/json"


def speaks_modern(message: Message, version: str | None) -> bool:
    """Whether a message is of the modern era, by its envelope, or by its MCP-Protocol-Version (digest 3.4)."""
    if isinstance(message, Request) and is_modern(message.params):
        return True
    if version is None or version in LEGACY_REVISIONS:
        return False
    return isinstance(message, Request) or version in SUPPORTED


async def serve_modern(exchange: Exchange, backend: Backend, message: Message, limits: Limits) -> None:
    """Serve one message of the modern era. Raises Rejection."""
    if isinstance(message, Notification):  # there is none that means anything over HTTP (digest 3.1)
        await exchange.answer(202, b"", b"")
        return
    if not isinstance(message, Request):
        raise invalid("a response is not expected: in this revision a server asks nothing")
    headers = exchange.head.headers
    large = len(message.params) > LARGE
    if large:  # each step may hold the event loop for as long as one decoding takes
        await trio.lowlevel.checkpoint()
    envelope = read_envelope(message.method, message.params, limits)
    check_headers(headers, message.method, envelope)
    outlet = exchange.outlet(direct=True)
    exchange.attend(outlet, to_the_end=True)
    if outlet.state == GONE:
        return
    caller = exchange.caller
    caller.note_headers(headers)
    if large:
        await trio.lowlevel.checkpoint()
    with decoded_once() if large else nullcontext():
        desk = await backend.ask(
            exchange.principal,
            headers,
            ModernRequest(message, envelope, headers),
            outlet,
            pipe=False,
            caller=caller,
        )
    try:
        await _answer(exchange, outlet)
    finally:
        finished = outlet.state == FINISHED
        outlet.leave()
        if not finished:
            desk.left(outlet)


async def _answer(exchange: Exchange, outlet: Outlet) -> None:
    if await outlet.answered():
        answer = outlet.take_answer()
        if answer is not None:  # otherwise it was sent directly
            await exchange.answer(outlet.status, JSON, answer)
            outlet.sent()
        return
    if outlet.state == GONE:
        return
    outlet.shortcut = None
    await exchange.begin_stream()
    await write_events(exchange, outlet)
