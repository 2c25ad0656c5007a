"""Encode event streams (WHATWG HTML, server-sent events), so that no content can end an event.

A message is compact JSON on one line. U+2028, U+2029 and U+0085 are escaped, because some readers split lines there.
"""

from typing import Final

HEARTBEAT: Final = b":\n\n"

# Characters in UTF-8 at which str.splitlines, and thus some clients, end a line, and their JSON escapes.
_SEPARATORS: Final = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))


def message(event_id: bytes, text: bytes) -> bytes:
    """Return an event with one JSON-RPC message, and with an event id where the stream can be resumed."""
    if not text.isascii():
        for character, escape in _SEPARATORS:
            if character in text:
                text = text.replace(character, escape)
    head = b"id: %b\nevent: message\ndata: " % event_id if event_id else b"event: message\ndata: "
    return b"".join((head, text, b"\n\n"))


def priming(event_id: bytes, retry_ms: int) -> bytes:
    """Return an empty event with an id, from which the client can resume (MCP 2025-11-25 basic/transports)."""
    return b"id: %b\nretry: %d\ndata: \n\n" % (event_id, retry_ms)


def endpoint(path: str) -> bytes:
    """Return the first event of HTTP+SSE with the relative URL for POSTs (MCP 2024-11-05 basic/transports)."""
    return b"event: endpoint\ndata: %b\n\n" % path.encode("ascii")
