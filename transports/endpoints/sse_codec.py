"""The text of a server-sent event stream (WHATWG HTML section 9.2), written so that no content can end an event.

A message is compact JSON on one line; U+2028, U+2029 and U+0085, at which some readers split lines, are escaped.
"""

from typing import Final

HEARTBEAT: Final = b":\n\n"

# Characters at which str.splitlines, and so some clients, end a line, as UTF-8 and as JSON escapes (attacks V35).
_SEPARATORS: Final = (
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
    (b"\xc2\x85", b"\\u0085"),
)


def message(event_id: bytes, text: bytes) -> bytes:
    """One JSON-RPC message as an event, with its id where the stream can be resumed."""
    if not text.isascii():
        for character, escape in _SEPARATORS:
            if character in text:
                text = text.replace(character, escape)
    head = b"id: %b\nevent: message\ndata: " % event_id if event_id else b"event: message\ndata: "
    return b"".join((head, text, b"\n\n"))


def priming(event_id: bytes, retry_ms: int) -> bytes:
    """The empty event that gives the client an id to resume from before anything was sent (digest 4.5)."""
    return b"id: %b\nretry: %d\ndata: \n\n" % (event_id, retry_ms)


def endpoint(path: str) -> bytes:
    """The first event of HTTP+SSE: where to POST (digest 5.1). A relative path, never made from Host."""
    return b"event: endpoint\ndata: %b\n\n" % path.encode("ascii")
