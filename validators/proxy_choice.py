"""Choose the proxy for a URL, from a setting or from variables of the environment. Pure.

The variables are read as curl(1) reads them: http_proxy, https_proxy, all_proxy and no_proxy, each also in upper case. As in
Go, no variable makes a connection to this machine itself go through a proxy.
"""

import base64
import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import attrs

from .remote_url import (
    HTTP_SCHEMES,
    LOOPBACK,
    SOCKS_SCHEMES,
    BadRemoteUrl,
    RemoteUrl,
    address_of,
    parse_remote_url,
    reach_of,
)

# The value of the setting that stands for the variables of the environment.
FROM_ENVIRONMENT: Final = "env"
_SCHEMES: Final = {"http": "http", "ws": "http", "https": "https", "wss": "https"}


@attrs.frozen
class Proxy:
    """An HTTP or SOCKS 5 proxy. The user is empty if there is none."""

    url: RemoteUrl
    user: bytes = attrs.field(default=b"", repr=False)
    password: bytes = attrs.field(default=b"", repr=False)

    @property
    def socks(self) -> bool:
        """Whether it is a SOCKS 5 proxy."""
        return self.url.scheme in SOCKS_SCHEMES

    @property
    def authorization(self) -> bytes:
        """The value of Proxy-Authorization, or empty."""
        return b"Basic " + base64.b64encode(self.user + b":" + self.password) if self.user else b""


def choose_proxy(setting: str, url: RemoteUrl, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for a connection to the URL, None for a direct connection. Raises BadRemoteUrl.

    `setting` is empty, "env", or the URL of a proxy.
    """
    if setting != FROM_ENVIRONMENT:
        return parse_proxy(setting) if setting else None
    if _is_loopback(url.host):
        return None
    text = _variable(environ, f"{_SCHEMES[url.scheme]}_proxy") or _variable(environ, "all_proxy")
    if not text or _is_excluded(url, _variable(environ, "no_proxy")):
        return None
    return parse_proxy(text)


def parse_proxy(text: str) -> Proxy:
    """Return the proxy at a URL of http, https or socks5, with or without user and password. Raises BadRemoteUrl."""
    if "://" not in text:
        text = f"http://{text}"
    scheme = text.partition("://")[0].lower()
    if scheme not in (*HTTP_SCHEMES, *SOCKS_SCHEMES):
        raise BadRemoteUrl(f"{scheme[:16]}:// proxies are not supported; use an HTTP or SOCKS 5 proxy")
    try:
        parts = urlsplit(text)
        user, password = parts.username, parts.password
    except ValueError:
        raise BadRemoteUrl("the URL of the proxy has an invalid host or port") from None
    host = parts.netloc.rpartition("@")[2]
    try:
        url = parse_remote_url(f"{scheme}://{host}", (scheme,))
    except BadRemoteUrl as fault:
        raise BadRemoteUrl(f"the proxy cannot be used: {fault}") from None
    return Proxy(url, unquote(user or "").encode(), unquote(password or "").encode())


def _variable(environ: Mapping[str, str], name: str) -> str:
    """Return a variable in lower case or else in upper case.

    A web server passes the header field Proxy of its clients to CGI programs as HTTP_PROXY (CVE-2016-5385, https://httpoxy.org).
    """
    upper = name.upper()
    value = environ.get(name) or (
        "" if upper == "HTTP_PROXY" and "REQUEST_METHOD" in environ else environ.get(upper)
    )
    return (value or "").strip()


def _is_loopback(host: str) -> bool:
    address = address_of(host)
    if address is not None:
        return reach_of(address) == LOOPBACK
    bare = host.removesuffix(".")
    return bare == "localhost" or bare.endswith(".localhost")


def _is_excluded(url: RemoteUrl, exclusions: str) -> bool:
    return any(_matches(url, entry) for entry in exclusions.lower().replace(",", " ").split())


def _matches(url: RemoteUrl, entry: str) -> bool:
    """Return whether an entry of no_proxy names the host: *, a name or its parent, an address, or a network (CIDR)."""
    if entry == "*":
        return True
    address = address_of(url.host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    host, colon, port = entry.rpartition(":")
    if colon and port.isascii() and port.isdigit() and (":" not in host or host.endswith("]")):
        if int(port) != url.port:
            return False
        entry = host
    entry = entry.strip("[]")
    if address is not None:
        return address_of(entry) == address
    name = entry.lstrip("*").strip(".")
    bare = url.host.removesuffix(".")
    return bool(name) and (bare == name or bare.endswith(f".{name}"))
