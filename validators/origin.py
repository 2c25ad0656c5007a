"""Host, Origin and Sec-Fetch-Site: who a browser says it talks to, and for whom (attacks V1 to V8).

Exact members of small sets; no prefix, suffix or pattern is ever compared.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

import attrs

from .rejection import INVALID_REQUEST, Rejection

_HOST: Final = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?\Z"
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_OWN: Final = frozenset({None, "none", "same-origin"})


def parse_host(value: str) -> tuple[str, int | None]:
    """The lower-case host and the port of a Host header (RFC 3986 section 3.2.2). Raises Rejection 400."""
    found = _HOST.match(value)
    if found is None or (found["port"] and not 0 < int(found["port"]) < 2**16):
        raise Rejection(400, INVALID_REQUEST, "the Host header is not host[:port]", close=True)
    return found["name"].lower(), int(found["port"]) if found["port"] else None


@attrs.frozen
class Site:
    """The names one listener answers to, and the origins whose pages may talk to it."""

    hosts: frozenset[str]
    origins: frozenset[str]

    @classmethod
    def for_listener(cls, scheme: str, host: str, port: int, extra_origins: Iterable[str] = ()) -> "Site":
        """A TCP listener on a loopback address."""
        names = {*_LOOPBACK, _bracketed(host)}
        hosts = {f"{name}:{port}" for name in names}
        origins = {f"{scheme}://{name}:{port}" for name in names}
        if port == _DEFAULT_PORTS[scheme]:
            hosts |= names
            origins |= {f"{scheme}://{name}" for name in names}
        return cls(frozenset(hosts), frozenset(origins | set(extra_origins)))

    @classmethod
    def for_unix(cls) -> "Site":
        """A Unix socket: what its clients write as Host is `localhost`, and no page comes this way."""
        return cls(frozenset({"localhost"}), frozenset())

    def check_host(self, value: str) -> None:
        """Raise Rejection 421 for another host, 400 for what is none."""
        if value not in self.hosts:
            name, port = parse_host(value)
            if (name if port is None else f"{name}:{port}") not in self.hosts:
                raise Rejection(421, INVALID_REQUEST, "this host is not served here")

    def check_origin(self, origin: str | None, sec_fetch_site: str | None) -> None:
        """Raise Rejection 403 for a page of another origin."""
        if origin is None:
            if sec_fetch_site not in _OWN:
                raise Rejection(403, INVALID_REQUEST, "requests of other sites are not served")
        elif origin not in self.origins:
            raise Rejection(
                403, INVALID_REQUEST, "this origin is not allowed; the option --cors ORIGIN allows one"
            )


def _bracketed(host: str) -> str:
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host.lower()
