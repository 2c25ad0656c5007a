"""Check Host, Origin and Sec-Fetch-Site of a request, as a defence against DNS rebinding.

The headers are compared with sets that are built together with the listener. No name is resolved, no prefix or pattern is
matched, and no URL is made of a Host.
"""

import re
from collections.abc import Iterable
from typing import Final, Self

import attrs

from .rejection import INVALID_REQUEST, Rejection

# RFC 3986 section 3.2 without userinfo. Brackets need two colons inside. Other malformed addresses equal no known host.
_HOST: Final = re.compile(
    r"(\[(?=[^:\]]*+:[^:\]]*+:)[0-9A-Fa-f:.]{2,45}+\]"
    r"|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})++(?<!\.))"
    r"(?::([0-9]{1,5}))?+\Z"
)
LARGEST_PORT: Final = 65535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
# Addresses to listen on that are not allowed as Host, because some systems route them to the loopback.
_WILDCARDS: Final = frozenset({"0.0.0.0", "[::]", ""})  # noqa: S104 - refused, not bound
_STRANGE: Final = (
    "Host is not a name of this listener; --allowed-host HOST[:PORT], or hosts in [listen], adds one"
)
_NOT_A_PAGE: Final = frozenset({None, "none", "same-origin"})


def parse_host(value: str) -> tuple[str, int | None]:
    """Return the host of a Host header in lower case, IPv6 in brackets, and its port. Raises Rejection 400.

    >>> parse_host("Mcp.Example.Org:8443"), parse_host("[::1]")
    (('mcp.example.org', 8443), ('[::1]', None))
    """
    match = _HOST.match(value)
    port = match and match[2]
    if match is None or (port and not 0 < int(port) <= LARGEST_PORT):
        raise Rejection(
            400, INVALID_REQUEST, "Host is not a host name or address with an optional port", reason="host"
        )
    return match[1].lower(), int(port) if port else None


@attrs.frozen
class Site:
    """The host names of one listener as in a Host header, and the origins whose pages may send requests to it."""

    hosts: frozenset[str]
    origins: frozenset[str]

    @classmethod
    def for_listener(
        cls,
        scheme: str,
        host: str,
        port: int,
        extra_hosts: Iterable[str] = (),
        extra_origins: Iterable[str] = (),
    ) -> Self:
        """Return the site of a TCP listener: the loopback names and its address, with its port, and the extra hosts.

        An extra host adds no origin, because a proxy may serve other pages under that name.
        """
        bound = f"[{host}]" if ":" in host and not host.startswith("[") else host
        names = (_LOOPBACK | {bound.lower()}) - _WILDCARDS
        hosts = {f"{name}:{port}" for name in names}
        if port == _DEFAULT_PORTS[scheme]:
            hosts |= names
        # Also with http, because some clients, such as the official conformance suite, always send it.
        own = {f"{spoken}://{name}" for name in hosts for spoken in {scheme, "http"}}
        return cls(frozenset(hosts | {*extra_hosts}), frozenset(own | {*extra_origins}))

    @classmethod
    def for_unix(cls) -> Self:
        """Return the site of a Unix socket, which no web page can reach."""
        return cls(frozenset({"localhost"}), frozenset())

    def check_host(self, value: str) -> None:
        """Raise Rejection 421 for a Host header that is not a name of this listener, 400 for a malformed Host header."""
        if value in self.hosts:
            return
        host, port = parse_host(value)
        if (host if port is None else f"{host}:{port}") not in self.hosts:
            raise Rejection(421, INVALID_REQUEST, _STRANGE, reason="host")

    def check_origin(self, origin: str | None, sec_fetch_site: str | None) -> None:
        """Raise Rejection 403 for a request of a web page with another origin.

        Programs send neither header. A browser that sends no Origin (images, scripts, navigation) sends Sec-Fetch-Site.
        """
        if origin is None:
            if sec_fetch_site not in _NOT_A_PAGE:
                raise _foreign("Sec-Fetch-Site")
        elif origin not in self.origins:
            raise _foreign("Origin")


def _foreign(what: str) -> Rejection:
    return Rejection(
        403,
        INVALID_REQUEST,
        f"{what} is that of a page that is not allowed here; --cors ORIGIN, or origins in [listen], allows one",
        reason="origin",
    )
