"""What may be listened on and who may call: checks that the command line and the configuration file share."""

import ipaddress
import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from ...transports.socket_owner import Socket, uid_of_unix_peer
from .child_environment import shown

_CONFIGURED_HOST: Final = re.compile(
    r"(?:\[[0-9a-f:.]{2,45}\]|[a-z0-9-]+(?:\.[a-z0-9-]+)*)(?::([0-9]{1,5}))?\Z"
)
_PORTS: Final = 65535


class BadAddress(ValueError):
    """An address, origin or path that cannot be used; the text says why."""


class NotLoopback(BadAddress):
    """An address that other machines could reach."""


class NotOurs(BadAddress):
    """A Unix socket on which a process of another user listens; the text names it and the uid."""


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
    """Raise NotOurs unless a process of our uid, or of root, listens on the Unix socket that this one is connected to.

    It is called before anything is sent. Where a service manager made the socket, its uid counts (unix(7), SO_PEERCRED).
    """
    uid = uid_of_unix_peer(sock)
    if uid not in (0, os.geteuid()):
        raise NotOurs(
            f"a process of uid {uid} listens on {path}, not of uid {os.geteuid()}; nothing was sent to it"
        )


def check_loopback(host: str) -> None:
    """Raise BadAddress for what is no address, and NotLoopback for one that other machines could reach."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise BadAddress(f"{shown(host)} is neither an IP address nor localhost") from None
    if not loopback:
        raise NotLoopback(f"{host} is not a loopback address; other machines are not served yet")


def check_path(text: str) -> str:
    """The path of a URL as it is. Raises BadAddress."""
    if not (text.startswith("/") and text.isascii() and text.isprintable()) or set(text) & set(' ?#%\\"<>'):
        raise BadAddress(f"a path begins with / and has no spaces, ?, # or %, unlike {shown(text)}")
    return text


def check_host(text: str) -> str:
    """The name as a Host header has it (RFC 9110 section 7.2). Raises BadAddress."""
    match = _CONFIGURED_HOST.match(text)
    if match is None or not 0 < int(match[1] or 1) <= _PORTS:
        raise BadAddress(
            f"a host is exactly name[:port] in lower case, without wildcards, unlike {shown(text)}"
        )
    return text


def check_origin(text: str) -> str:
    """The origin as it is (RFC 6454). Raises BadAddress."""
    scheme, separator, rest = text.partition("://")
    if (
        scheme not in ("http", "https")
        or not separator
        or not rest
        or set(rest) & set("/*?# @")
        or text != text.lower()
    ):
        raise BadAddress(f"an origin is exactly scheme://host[:port] in lower case, unlike {shown(text)}")
    return text


def websocket_of(text: str) -> SplitResult:
    """Where the WebSocket of a bridge is, with the scheme ws or wss; http://HOST/.../mcp names the one beside it.

    Raises BadAddress, also for what would cross a network in the clear.
    """
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as fault:
        # The text of some faults ends with a part of the URL.
        reason = str(fault).partition(" as ")[0]
        raise BadAddress(f"{shown(text)} is no URL: {reason}") from None
    scheme = {"http": "ws", "https": "wss"}.get(url.scheme, url.scheme)
    if (
        scheme not in ("ws", "wss")
        or not url.hostname
        or "@" in url.netloc
        or port == 0
        or url.query
        or url.fragment
    ):
        raise BadAddress(
            f"a URL is http(s):// or ws(s)://HOST[:PORT]/PATH, without a user and a query, unlike {shown(text)}"
        )
    if scheme == "ws":
        try:
            check_loopback(url.hostname)
        except BadAddress:
            raise BadAddress(
                f"{shown(text)} would be in the clear on the network; use wss:// or https://"
            ) from None
    path = check_path(url.path or "/")
    bare = path.removesuffix("/")
    if url.scheme.startswith("http") and bare.endswith("/mcp"):
        path = f"{bare.removesuffix('mcp')}ws"
    return url._replace(scheme=scheme, path=path)
