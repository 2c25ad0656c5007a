"""Names of request headers that may become variables of a server (`env_from_header`): what an operator may choose. Pure."""

import re
from typing import Final

from ...validators.http_head import TCHAR
from .child_environment import BadEnvironment, shown

_NAME: Final = re.compile(rf"{TCHAR}{{1,64}}\Z")
# What HTTP, browsers, proxies and MCP mean something by (RFC 9110, 9111, 9112, 6265, Fetch).
REFUSED: Final = frozenset(
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
    """The name as the head of a request has it, in lower case. Raises BadEnvironment for one that is not the operator's."""
    if not _NAME.match(name):
        raise BadEnvironment(
            f"{shown(name)} is not the name of a header: 1 to 64 characters of RFC 9110's token"
        )
    lower = name.lower()
    if lower in REFUSED or lower.startswith(REFUSED_PREFIXES):
        raise BadEnvironment(f"the header {name} is refused: it has a meaning of its own in HTTP or MCP")
    return lower
