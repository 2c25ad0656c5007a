"""Check the URLs of remote servers, compare origins, and classify addresses. Pure: no name is resolved.

A URL has one reading only: white space, control characters, backslashes and user names are refused instead of repaired,
because another program could read the repaired URL differently.
"""

import ipaddress
import re
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

import attrs

from .origin import LARGEST_PORT

HTTP_SCHEMES: Final = ("http", "https")
WEBSOCKET_SCHEMES: Final = ("ws", "wss")
# The schemes of SOCKS 5 proxies. There is no difference: the proxy resolves names.
SOCKS_SCHEMES: Final = ("socks5", "socks5h")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443, "socks5": 1080, "socks5h": 1080}
# The longest URL (characters).
LONGEST_URL: Final = 8192
_UNCLEAR: Final = re.compile(r"[\x00-\x20\x7f-\xa0\\\ud800-\udfff]")
# A host name in ASCII. An underscore is common in the names of containers.
_NAME: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*\.?\Z")
# Characters of a path and a query that are sent as they are (RFC 3986 appendix A), and the percent sign.
_SENT_AS_IS: Final = "/:@!$&'()*+,;=-._~%[]?"
# A name whose last label is a number is an IPv4 address for many programs (https://url.spec.whatwg.org/#ends-in-a-number-checker).
_ENDS_IN_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?\Z")

# Addresses that reach others than they show, or the site itself, and that `ipaddress` calls global: 6to4 (RFC 3056), NAT64
# (RFC 6052, RFC 8215), site-local (RFC 3879), and Teredo (RFC 4380).
_NOT_PUBLIC: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in ("2002::/16", "64:ff9b::/96", "64:ff9b:1::/48", "fec0::/10", "2001::/32")
)
# Private networks (RFC 1918, RFC 6598, RFC 4193), and site-local addresses, which preceded them.
_PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10")
)

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# The reach of an address, from the widest to the narrowest. Other addresses, such as link-local addresses, have none.
PUBLIC: Final = 0
PRIVATE: Final = 1
LOOPBACK: Final = 2
UNREACHED: Final = 3


class BadRemoteUrl(ValueError):
    """Raised for a URL that is not used. The text is the reason and contains no part of the URL but its scheme."""


@attrs.frozen
class RemoteUrl:
    """A URL in its only reading. `host` is in lower case, ASCII, and without brackets; `target` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme in ("https", "wss")

    @property
    def authority(self) -> str:
        """The value of a Host header: the port only if it is not that of the scheme (RFC 9110 section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """The origin (RFC 6454), which may be shown: it has no secret."""
        return f"{self.scheme}://{self.authority}"

    def __str__(self) -> str:
        return f"{self.origin}{self.target}"


def parse_remote_url(text: str, schemes: tuple[str, ...] = HTTP_SCHEMES) -> RemoteUrl:
    """Return a URL of one of these schemes. A fragment is dropped. Raises BadRemoteUrl."""
    if len(text) > LONGEST_URL:
        raise BadRemoteUrl(f"the URL has {len(text)} characters; the limit is {LONGEST_URL}")
    if _UNCLEAR.search(text):
        raise BadRemoteUrl("the URL has white space, a control character or a backslash")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise BadRemoteUrl("the URL has an invalid host or port") from None
    scheme = parts.scheme
    if scheme not in schemes:
        allowed = " or ".join(f"{name}://" for name in schemes)
        raise BadRemoteUrl(f"the URL must begin with {allowed}")
    if "@" in parts.netloc:
        raise BadRemoteUrl("the URL has a user name or password; use a header instead")
    if port == 0 or parts.netloc.endswith(":"):
        raise BadRemoteUrl(f"the port of the URL must be between 1 and {LARGEST_PORT}")
    target = quote(parts.path or "/", safe=_SENT_AS_IS.replace("?", ""))
    if parts.query:
        target += f"?{quote(parts.query, safe=_SENT_AS_IS)}"
    return RemoteUrl(
        scheme,
        _host(parts.hostname or "", literal="[" in parts.netloc),
        port or _DEFAULT_PORTS[scheme],
        target,
    )


def resolve_reference(base: RemoteUrl, reference: str) -> RemoteUrl:
    """Return the URL of a reference (RFC 3986 section 5) in a response from `base`. Raises BadRemoteUrl."""
    if len(reference) > LONGEST_URL:
        raise BadRemoteUrl(f"the URL has {len(reference)} characters; the limit is {LONGEST_URL}")
    if _UNCLEAR.search(reference):
        raise BadRemoteUrl("the URL has white space, a control character or a backslash")
    try:
        joined = urljoin(str(base), reference)
    except ValueError:
        raise BadRemoteUrl("the URL has an invalid host or port") from None
    return parse_remote_url(joined, (*HTTP_SCHEMES, *WEBSOCKET_SCHEMES))


def same_origin(one: RemoteUrl, other: RemoteUrl) -> bool:
    """Return whether two URLs have the same scheme, host and port (RFC 6454 section 5)."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def ends_in_number(host: str) -> bool:
    """Return whether a host that is no IP address is read as one by some programs, as 2130706433 and 0x7f.1 are."""
    return address_of(host) is None and bool(_ENDS_IN_NUMBER.match(host))


def address_of(host: str) -> IPAddress | None:
    """Return the IP address in its usual notation, None for a name. A zone is dropped."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def reach_of(address: IPAddress) -> int:
    """Return PUBLIC, PRIVATE, LOOPBACK or UNREACHED.

    An IPv4 address in an IPv6 address (RFC 4291 section 2.5.5) has the reach of the IPv4 address.
    """
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped
        if embedded is not None:
            return reach_of(embedded)
    if address.is_loopback:
        return LOOPBACK
    if any(address in network for network in _PRIVATE):
        return PRIVATE
    if (
        not address.is_global
        or address.is_multicast
        or address.is_reserved
        or any(address in network for network in _NOT_PUBLIC)
    ):
        return UNREACHED
    return PUBLIC


def _host(host: str, *, literal: bool) -> str:
    """Return a host in the form in which it is compared. `literal` is an address in brackets. Raises BadRemoteUrl."""
    if not host:
        raise BadRemoteUrl("the URL has no host")
    if literal or ":" in host:
        address = address_of(host)
        if not isinstance(address, ipaddress.IPv6Address) or "%" in host:
            raise BadRemoteUrl("the host of the URL is not an IPv6 address")
        return str(address)
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise BadRemoteUrl("the host of the URL is not a valid name") from None
    host = host.lower()
    if not _NAME.match(host):
        raise BadRemoteUrl("the host of the URL is not a valid name")
    return host
