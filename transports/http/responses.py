"""Reason phrases, common headers, error bodies, and the bytes of a response that ends its connection.

All HTTP servers of the bridge take these from here. Rejections of the MCP endpoints are in `endpoints.rejections`.
"""

from typing import Final

from ...validators.jsonrpc import error
from ...validators.limits import Limits
from ...validators.rejection import INTERNAL_ERROR, INVALID_REQUEST, Rejection
from ..correlation import data_of, headers_of
from ..options import JSON, Headers

# RFC 9110 section 15, for the statuses that are sent.
REASONS: Final = {
    200: b"OK",
    202: b"Accepted",
    204: b"No Content",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    408: b"Request Timeout",
    409: b"Conflict",
    413: b"Content Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    426: b"Upgrade Required",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    503: b"Service Unavailable",
    505: b"HTTP Version Not Supported",
}

_PROTECTION: Final[Headers] = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Content-Security-Policy", b"default-src 'none'; frame-ancestors 'none'"),
)
# Headers of every response but an event stream. No Server header: the version of the program is not public.
SAFE_HEADERS: Final[Headers] = ((b"Cache-Control", b"no-store"), *_PROTECTION)
# Headers of an event stream. X-Accel-Buffering is read by nginx, which would hold events back.
STREAM_HEADERS: Final[Headers] = (
    (b"Content-Type", b"text/event-stream"),
    (b"Cache-Control", b"no-cache, no-store, no-transform"),
    (b"X-Accel-Buffering", b"no"),
    *_PROTECTION,
)

# After the last response, a peer may send for this long (seconds) and this much (bytes). Closing a socket with unread
# input makes the kernel send a reset, which can destroy the response on its way (RFC 9112 section 9.6).
LINGER_SECONDS: Final = 1.0
LINGER_BYTES: Final = 256 * 1024
# An authenticated client that is refused in the middle of a body may send this many times `limits.body`, because many
# clients read no response before they have sent everything.
DRAIN_BODIES: Final = 4


def header_lines(headers: Headers) -> bytes:
    """Return the field lines of HTTP/1.1, each with its line end."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


SAFE_LINES: Final = header_lines(SAFE_HEADERS)
STREAM_LINES: Final = header_lines(STREAM_HEADERS)
JSON_LINE: Final = b"Content-Type: %b\r\n" % JSON


def error_body(rejection: Rejection) -> bytes:
    """Return the JSON-RPC error of a request whose id was not read."""
    return error(b"null", rejection.code, rejection.text, data_of(rejection))


def last_response(rejection: Rejection) -> bytes:
    """Return the bytes of an HTTP/1.1 response that ends its connection."""
    body = error_body(rejection)
    return b"HTTP/1.1 %d %b\r\n%b%b%bConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (
        rejection.status,
        REASONS[rejection.status],
        SAFE_LINES,
        JSON_LINE,
        header_lines(headers_of(rejection)),
        len(body),
        body,
    )


def internal_error() -> Rejection:
    """Return the Rejection 500 that stands for an exception of the bridge."""
    return Rejection(500, INTERNAL_ERROR, "internal error", close=True)


def too_slow_body(limits: Limits) -> Rejection:
    """Return the Rejection 408 of a body that comes slower than `limits.body_rate`."""
    return Rejection(408, INVALID_REQUEST, f"the body comes slower than {limits.body_rate} bytes/s")
