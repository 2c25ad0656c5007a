"""Check addresses, hosts, origins and URL paths of the command line and the configuration file."""

import ipaddress
import os
import re
from pathlib import Path
from typing import Final

from ...transports.socket_owner import Socket, uid_of_unix_peer
from ...validators.origin import LARGEST_PORT
from ..core.exit_codes import EX_UNAVAILABLE, EX_USAGE, ReportedError
from .child_environment import shown

DEFAULT_PORT: Final = 8808
# The names in `hosts` are compared with the Host header. Unlike that, they are in lower case and have no percent-encoding.
_CONFIGURED_HOST: Final = re.compile(
    r"(?:\[[0-9a-f:.]{2,45}\]|[a-z0-9-]+(?:\.[a-z0-9-]+)*)(?::([0-9]{1,5}))?\Z"
)


class BadAddress(ReportedError, ValueError):
    """Raised for an address, origin or path that cannot be used. The text is the reason."""

    exit_code = EX_USAGE


class NotLoopback(BadAddress):
    """Raised for an address that other machines can reach."""


class NotOurs(BadAddress):
    """Raised for a Unix socket on which a process of another user listens. The text names the socket and the uid."""

    exit_code = EX_UNAVAILABLE


def shown_address(scheme: str, name: str | bytes | tuple[object, ...]) -> str:
    """Return the URL of a listening TCP socket, or unix:PATH, from its name as getsockname() gives it.

    The name of a Unix socket in the abstract namespace begins with @, as in systemd.socket(5).
    """
    if isinstance(name, tuple):
        host, port = str(name[0]), name[1]
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    path = os.fsdecode(name)
    return f"unix:@{path[1:]}" if path.startswith("\0") else f"unix:{path}"


def check_listener(sock: Socket, path: Path) -> None:
    """Check that a process of this user, or of root, listens on the Unix socket at the other end. Raises NotOurs.

    Call it before anything is sent. For a socket that a service manager opened, its uid counts (unix(7), SO_PEERCRED).
    """
    uid = uid_of_unix_peer(sock)
    if uid not in (0, os.geteuid()):
        raise NotOurs(
            f"a process of uid {uid} listens on {path}, not of uid {os.geteuid()}; nothing was sent to it"
        )


def check_loopback(host: str) -> None:
    """Check that a host is a loopback address or localhost. Raises BadAddress, and NotLoopback for other addresses."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise BadAddress(f"{shown(host)} is neither an IP address nor localhost") from None
    if not loopback:
        raise NotLoopback(
            f"{host} is not a loopback address; other machines are served with a configuration only (listen.http)"
        )


def is_loopback_host(host: str) -> bool:
    """Return whether a host is a loopback address or localhost."""
    try:
        check_loopback(host)
    except BadAddress:
        return False
    return True


def is_wildcard_host(host: str) -> bool:
    """Return whether a host stands for every address of this machine."""
    return ipaddress.ip_address(host).is_unspecified


def check_path(text: str) -> str:
    """Return the path of a URL unchanged. Raises BadAddress."""
    if not (text.startswith("/") and text.isascii() and text.isprintable()) or set(text) & set(' ?#%\\"<>'):
        raise BadAddress(f"a path must begin with / and have no spaces, ?, # or %, not {shown(text)}")
    return text


def check_host(text: str) -> str:
    """Return the value of a Host header unchanged (RFC 9110 section 7.2). Raises BadAddress."""
    match = _CONFIGURED_HOST.match(text)
    if match is None or not 0 < int(match[1] or 1) <= LARGEST_PORT:
        raise BadAddress(f"a host must be name[:port] in lower case, without wildcards, not {shown(text)}")
    return text


def check_origin(text: str) -> str:
    """Return an origin unchanged (RFC 6454). Raises BadAddress."""
    scheme, separator, rest = text.partition("://")
    if (
        scheme not in ("http", "https")
        or not separator
        or not rest
        or set(rest) & set("/*?# @")
        or text != text.lower()
    ):
        raise BadAddress(f"an origin must be scheme://host[:port] in lower case, not {shown(text)}")
    return text
