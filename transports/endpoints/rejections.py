"""Rejections of the MCP endpoints, and their responses."""

from ...validators.content_negotiation import is_json
from ...validators.jsonrpc import error, readable_id
from ...validators.rejection import INVALID_REQUEST, Rejection
from ..correlation import data_of, headers_of
from ..options import JSON
from ..ports import Exchange
from . import sse_codec


def method_not_allowed(allowed: bytes) -> Rejection:
    """Return the Rejection 405 with the methods that are allowed (RFC 9110 section 10.2.1)."""
    return Rejection(405, INVALID_REQUEST, "method not allowed", headers=((b"Allow", allowed),))


def not_acceptable(needed: str = "application/json or text/event-stream") -> Rejection:
    """Return the Rejection 406 of a request whose Accept lacks what the response needs."""
    return Rejection(406, INVALID_REQUEST, f"Accept must allow {needed}")


def events_not_acceptable() -> Rejection:
    """Return the Rejection 406 of a request that opens an event stream and does not accept one."""
    return not_acceptable("text/event-stream")


def check_content_type(value: str | None) -> None:
    """Raise Rejection 415 for any Content-Type but JSON, because web pages send forms to any origin."""
    if not is_json(value):
        raise Rejection(415, INVALID_REQUEST, "Content-Type must be application/json")


async def refuse_message(exchange: Exchange, body: bytes, rejection: Rejection, *, json: bool = True) -> None:
    """Send a JSON-RPC error under the id of the refused message, or `null` where the id cannot be read.

    Without `json` the client accepts events only. It gets an event where the status is 200.
    """
    exchange.count_refusal(rejection)
    text = error(readable_id(body), rejection.code, rejection.text, data_of(rejection))
    if json or rejection.status != 200:
        await exchange.answer(rejection.status, JSON, text, headers_of(rejection))
    else:
        await exchange.begin_stream(headers_of(rejection))
        await exchange.write(sse_codec.message(b"", text))
