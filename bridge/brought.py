"""What a client brings for the process that serves it: headers of its requests that become variables (env_from_header).

Pure. The operator names each variable and its header; nothing else of a request reaches an environment. Values are
secrets: nothing here shows one.
"""

import re
from collections.abc import Mapping
from typing import Final

import attrs

from ..validators.http_head import TCHAR
from ..validators.rejection import INVALID_REQUEST, Rejection
from .environment import BadEnvironment, shown
from .log import SHORTEST_SECRET

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
# The head's grammar lets a tab pass, which is the only control character that it does.
_VISIBLE: Final = re.compile(r"[ -~]*+\Z")


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


@attrs.frozen
class Brought:
    """The variables of one client, with their values. Two that are equal may share a process."""

    variables: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown while a process has it."""
        return tuple(value for _, value in self.variables if len(value) >= SHORTEST_SECRET)


NOTHING: Final = Brought()


def brought_in(headers: Mapping[str, str], wanted: Mapping[str, str]) -> Brought:
    """What these headers bring of the `wanted` ones, by variable. One that is missing or empty brings nothing.

    Raises Rejection 400 for a value with a control character.
    """
    found: list[tuple[str, str]] = []
    for variable, name in wanted.items():
        value = headers.get(name)
        if not value:
            continue
        if not _VISIBLE.match(value):
            raise Rejection(
                400, INVALID_REQUEST, f"the header {name} must hold visible ASCII and spaces only"
            )
        found.append((variable, value))
    return Brought(tuple(found))
