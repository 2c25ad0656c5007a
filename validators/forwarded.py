"""Find the client of a request that trusted reverse proxies have forwarded. Pure.

Each proxy appends the address of its own peer, so only the end of the list is known to be true. The client is the rightmost address
that is not that of a trusted proxy. Entries before it may come from anyone.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final, Literal

import attrs

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
# The header that the proxies write; the other one is not read.
Which = Literal["x-forwarded-for", "forwarded"]
# The most entries that are examined, from the right.
_MOST: Final = 32
# A node of RFC 7239 section 6, or the address and port that some proxies write: an address, perhaps in brackets, and a port.
_NODE: Final = re.compile(
    r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9.]{7,15})|([0-9A-Fa-f:.]{2,45}))(?::[0-9]{1,5})?\Z"
)
_PAIR: Final = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=(?:"([^"\\]*)"|([^\s";,=]*))\s*\Z')


@attrs.frozen
class TrustedProxies:
    """The networks of the trusted proxies, and the header that they write."""

    networks: tuple[IPNetwork, ...] = ()
    header: Which = "x-forwarded-for"

    def trusts(self, address: str) -> bool:
        """Return whether an address is that of a trusted proxy."""
        found = parse_address(address)
        return found is not None and self._has(found)

    def _has(self, address: IPAddress) -> bool:
        return any(address in network for network in self.networks)

    def client(self, peer: str, value: str | None) -> str:
        """Return the address of the client. `peer` is that of the connection, and `value` the value of the header.

        Returns `peer` for one that is not trusted, and without the header. An entry that is no address hides what is before it:
        the address is then empty, which is not known.
        """
        if value is None or not self.trusts(peer):
            return peer
        entries = value.split(",")[-_MOST:]
        for entry in reversed(entries):
            found = parse_address(entry.strip() if self.header == "x-forwarded-for" else _for_of(entry))
            if found is None:
                return ""
            if not self._has(found):
                return str(found)
        # Every entry is that of a proxy, so that the first of them is the client.
        return str(
            parse_address(entries[0].strip() if self.header == "x-forwarded-for" else _for_of(entries[0]))
        )

    def is_secure(self, peer: str, proto: str | None, forwarded: str | None) -> bool:
        """Return whether the trusted proxy at `peer` states that it was reached with TLS.

        `proto` is the value of X-Forwarded-Proto, and `forwarded` that of Forwarded. The last entry is that of the peer.
        """
        if not self.trusts(peer):
            return False
        if self.header == "forwarded":
            return _value_of((forwarded or "").rpartition(",")[2], "proto").lower() == "https"
        return (proto or "").rpartition(",")[2].strip().lower() == "https"


NO_PROXIES: Final = TrustedProxies()


def _for_of(entry: str) -> str:
    return _value_of(entry, "for")


def _value_of(entry: str, name: str) -> str:
    """Return a parameter of one element of Forwarded (RFC 7239 section 4), or an empty text."""
    for pair in entry.split(";"):
        match = _PAIR.match(pair)
        if match is not None and match[1].lower() == name:
            return match[2] if match[2] is not None else match[3]
    return ""


def parse_address(text: str) -> IPAddress | None:
    """Return the address in a text, which may have a port or a zone; None for another text.

    >>> parse_address("[2001:db8::1]:4711"), parse_address("unknown")
    (IPv6Address('2001:db8::1'), None)
    """
    match = _NODE.match(text.partition("%")[0])
    if match is None:
        return None
    try:
        found = ipaddress.ip_address(match[1] or match[2] or match[3])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def parse_networks(texts: Iterable[str]) -> tuple[IPNetwork, ...]:
    """Return the networks of addresses such as 10.0.0.1 or 10.0.0.0/8. Raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)
