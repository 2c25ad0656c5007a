"""Choose the request that a notification of a modern server belongs to (MCP 2026-07-28 basic/patterns/subscriptions). Pure.

`calls` are the unanswered requests at the server, oldest first.
"""

from collections.abc import Mapping
from typing import Final

from ...validators import json_object, jsonrpc, stateless_request
from .requests import ClientRequest

_LEVELS: Final = stateless_request.LOG_LEVELS

Calls = Mapping[bytes, ClientRequest]


def subscription_of(params: bytes) -> bytes:
    """Return the raw id of the subscription that a notification names, or nothing."""
    meta = json_object.peek(json_object.peek(params).get("_meta"))
    return jsonrpc.wire_id(bytes(meta.get(stateless_request.SUBSCRIPTION_ID, b"")))


def target_of_log_message(calls: Calls, params: bytes) -> ClientRequest | None:
    """Return the newest request that has enabled log messages of this level, None if there may be another.

    On stdio a log message does not name a request. It is not sent where there are several principals, or several clients
    with calls. A subscription gets notifications of changes only.
    """
    level = json_object.string(json_object.peek(params).get("level"))
    if level not in _LEVELS:
        return None
    rank = _LEVELS.index(level)
    if len({call.principal for call in calls.values()}) != 1:
        return None
    called = [call for call in calls.values() if call.request.method != stateless_request.LISTEN]
    if len({_client_of(call) for call in called}) > 1:
        return None
    asking = (
        call
        for call in reversed(called)
        if call.envelope.log_level and _LEVELS.index(call.envelope.log_level) <= rank
    )
    return next(asking, None)


def target_of_extension(calls: Calls, params: bytes, about: bytes) -> ClientRequest | None:
    """Return the request that a notification of an extension belongs to: the named one, else the only client's newest.

    `about` is the request on whose response stream it came, which may have been answered: then there is none.
    """
    named = calls.get(about or subscription_of(params))
    if named is not None or about:
        return named
    if len({(call.principal, call.client) for call in calls.values()}) != 1:
        return None
    newest = [*calls.values()][::-1]
    return next((call for call in newest if call.request.method != stateless_request.LISTEN), newest[0])


def _client_of(call: ClientRequest) -> tuple[str, object]:
    # All requests of a connection that carries several belong to one client.
    return call.principal, call.queue if call.pipe else call.client
