"""Decide to which addresses a URL that a remote server has sent may lead, and connect to an address that was checked.

A server that is not trusted must not make this machine send requests into its own network (MCP 2025-11-25
basic/security_best_practices, server-side request forgery). A name is therefore resolved once, each of its addresses is
checked, and the connection goes to a checked address and not to the name.
"""

import socket
from typing import Final

import trio

from ...validators.remote_url import (
    LOOPBACK,
    PRIVATE,
    PUBLIC,
    IPAddress,
    RemoteUrl,
    address_of,
    ends_in_number,
    reach_of,
    same_origin,
)
from .ports import Unreachable

# Time for one of several addresses, before the next is tried (seconds).
_ATTEMPT_SECONDS: Final = 2.0
# The most addresses of one name.
_MOST_ADDRESSES: Final = 16


class Guard:
    """Permits the addresses of URLs that the server at `home`, the configured URL, has sent.

    Its own origin is always permitted. Else the scheme is https, and all addresses are public. A server at a private address may
    name private addresses too, and a server at a loopback address (or localhost) both and loopback addresses, the latter also
    with http. Link-local addresses, such as those of cloud metadata, are never permitted.
    """

    def __init__(self, home: RemoteUrl) -> None:
        self._home = home

    async def permitted(self, url: RemoteUrl, *, resolve: bool = True) -> tuple[str, ...]:
        """Return the addresses of a URL. Raises Unreachable for a URL that is not permitted.

        Without `resolve` (a proxy resolves names) the tuple may be empty, and a name without an address here is permitted.
        """
        if same_origin(url, self._home):
            return await _addresses(url) if resolve else ()
        reach = await self._reach()
        if url.scheme != "https" and not (reach == LOOPBACK and _is_loopback_name(url.host)):
            raise _refused(url, "the scheme must be https")
        if ends_in_number(url.host):
            raise _refused(url, "its host is a number that some programs read as an address")
        try:
            found = await _addresses(url)
        except Unreachable:
            if resolve:
                raise
            return ()
        for text in found:
            address = address_of(text)
            if address is None or reach_of(address) > reach:
                raise _refused(url, f"its address {text} is not {_REACH[reach]}")
        return found

    async def _reach(self) -> int:
        """Return the narrowest reach of an address that the server may name.

        A name is resolved by servers of its owner, who could change the answer at any time. Only a literal address or localhost
        therefore permits loopback addresses.
        """
        literal = address_of(self._home.host)
        if _is_loopback_name(self._home.host):
            return LOOPBACK
        if literal is not None:
            return _at_most_private(literal)
        try:
            found = await _addresses(self._home)
        except Unreachable:
            return PUBLIC
        return min(_at_most_private(address) for text in found if (address := address_of(text)) is not None)


_REACH: Final = {PUBLIC: "public", PRIVATE: "public or private", LOOPBACK: "public, private or loopback"}


async def open_guarded(guard: Guard, url: RemoteUrl) -> trio.SocketStream:
    """Return a connection to one of the permitted addresses of a URL. Raises Unreachable and OSError."""
    addresses = await guard.permitted(url)
    for address in addresses[:-1]:
        with trio.move_on_after(_ATTEMPT_SECONDS):
            try:
                return await trio.open_tcp_stream(address, url.port)
            except OSError:
                continue
    return await trio.open_tcp_stream(addresses[-1], url.port)


async def _addresses(url: RemoteUrl) -> tuple[str, ...]:
    """Return the addresses of a host, each once. Raises Unreachable."""
    try:
        found = await trio.socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as fault:
        reason = getattr(fault, "strerror", None) or "it is not a valid name"
        raise Unreachable(
            f"cannot connect to {url.origin}: the host name cannot be resolved: {reason}"
        ) from None
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))[:_MOST_ADDRESSES]


def _at_most_private(address: IPAddress) -> int:
    return PUBLIC if reach_of(address) == PUBLIC else PRIVATE


def _is_loopback_name(host: str) -> bool:
    address = address_of(host)
    return host == "localhost" if address is None else reach_of(address) == LOOPBACK


def _refused(url: RemoteUrl, reason: str) -> Unreachable:
    return Unreachable(f"{url.origin}, which the server has named, is not used: {reason}")
