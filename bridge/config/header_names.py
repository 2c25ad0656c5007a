"""Check the names of the request headers that may set variables of a server (`env_from_header`)."""

import re
from typing import Final

from ...validators.http_head import TCHAR
from .child_environment import BadEnvironment, shown

_NAME: Final = re.compile(rf"{TCHAR}{{1,64}}\Z")
# Headers with a meaning in HTTP, browsers or proxies (RFC 9110, 9111, 9112, 6265, the Fetch standard).
REFUSED_HEADERS: Final = frozenset(
    {
        "age",
        "allow",
        "alt-used",
        "authentication-info",
        "authorization",
        "cache-control",
        "close",
        "connection",
        "cookie",
        "cookie2",
        "date",
        "early-data",
        "etag",
        "expect",
        "expires",
        "forwarded",
        "from",
        "host",
        "http2-settings",
        "keep-alive",
        "last-event-id",
        "last-modified",
        "location",
        "max-forwards",
        "origin",
        "pragma",
        "priority",
        "range",
        "referer",
        "retry-after",
        "server",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "upgrade-insecure-requests",
        "user-agent",
        "vary",
        "via",
        "warning",
        "www-authenticate",
    }
)
REFUSED_PREFIXES: Final = ("accept", "access-control-", "content-", "if-", "mcp-", "proxy-", "sec-")


def header_name(name: str) -> str:
    """Return the name of a header in lower case. Raises BadEnvironment for a reserved or invalid name."""
    if not _NAME.match(name):
        raise BadEnvironment(
            f"{shown(name)} is not the name of a header: it must be a token of 1 to 64 characters (RFC 9110)"
        )
    lower = name.lower()
    if lower in REFUSED_HEADERS or lower.startswith(REFUSED_PREFIXES):
        raise BadEnvironment(f"the header {name} is refused: HTTP or MCP defines it")
    return lower
