"""Find the transport of a remote server.

A server of the first revision has HTTP+SSE only. It refuses an `initialize` by POST, with a body of any kind, and sends the
event `endpoint` to a GET of the same URL (MCP 2026-07-28 basic/transports/streamable-http, "Backward Compatibility"; MCP 2025-03-26
basic/transports). Whether a failure of the network or of a gateway, missing credentials or a rate limit is one of the server
cannot be known, so they decide nothing (`http_failures.Failure.refused`).
"""

import re
from typing import Final

import attrs

from ...validators import json_object
from ...validators.mirrored_headers import HEADER_MISMATCH
from ...validators.partial_object import outline
from ...validators.remote_url import WEBSOCKET_SCHEMES
from ...validators.stateless_request import MISSING_CAPABILITY, UNSUPPORTED_VERSION
from .options import RemoteOptions

HTTP: Final = "http"
SSE: Final = "sse"
WEBSOCKET: Final = "websocket"

_NO_SESSION: Final = re.compile(
    rb"\b(?:no|invalid|unknown|expired|missing|bad)\b(?: \w{1,16}){0,2} session\b"
    rb"|\bsession\b(?: \w{1,16}){0,3} (?:not found|expired|invalid|unknown|terminated|not exist)\b",
    re.IGNORECASE,
)
_MODERN_ERRORS: Final = frozenset({HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION})
# The part of a body that is searched for such words (bytes).
_HEAD: Final = 4096


def names_no_session(body: bytes, raw_id: bytes) -> bool:
    """Return whether the body of a response with status 400 means that the session of the request does not exist.

    MCP demands 404 for that. Servers after an example of the official TypeScript SDK respond with 400 and an error without the
    id of the request.
    """
    found = outline(body).members
    return found.get("id", b"null") != raw_id and _NO_SESSION.search(body[:_HEAD]) is not None


def is_modern_error(body: bytes) -> bool:
    """Return whether the body of a refusal has an error that only servers of MCP 2026-07-28 send.

    Such a server has Streamable HTTP (MCP 2026-07-28 basic/transports/streamable-http, "Backward Compatibility").
    """
    error = json_object.peek(outline(body).members.get("error"))
    return json_object.number(error.get("code")) in _MODERN_ERRORS


def refuses_request(body: bytes, raw_id: bytes) -> bool:
    """Return whether the body of a response with status 404 is the answer to a request, and does not mean its session.

    Servers respond so to a method that they do not have (MCP 2026-07-28 basic/transports/streamable-http), some of them in
    sessions as well.
    """
    found = outline(body).members
    return found.get("id") == raw_id and "error" in found and _NO_SESSION.search(body[:_HEAD]) is None


@attrs.define(eq=False)
class RemoteMemory:
    """What the connections to one server have learned of it. They share it, and it is lost with the configuration."""

    # The transport, or empty. Written when a server has answered over it.
    transport: str = ""

    def transport_for(self, options: RemoteOptions) -> str:
        """Return the transport of the next connection, empty where `initialize` must find it."""
        if options.transport == "websocket" or options.url.partition(":")[0].lower() in WEBSOCKET_SCHEMES:
            return WEBSOCKET
        return self.transport if options.transport == "auto" else options.transport

    def found(self, transport: str) -> None:
        """Store the transport over which the server has answered; empty for one that is to be found again."""
        self.transport = transport
