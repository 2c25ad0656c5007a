"""Check the URLs of an OAuth discovery, and derive well-known URLs (RFC 9728 section 3.1, RFC 8414 sections 3.1 and 5).

Every URL that a server names must be https. http is accepted for a loopback host only if the configured server is on the
loopback itself, so that a remote server cannot direct requests to programs of this machine, and for the origin of a server
for which the user has accepted plain HTTP.
"""

from typing import Final

import attrs

from .oauth_refusal import OAuthRefusal, shown
from .remote_url import (
    HTTP_SCHEMES,
    LOOPBACK,
    WEBSOCKET_SCHEMES,
    BadRemoteUrl,
    RemoteUrl,
    address_of,
    parse_remote_url,
    reach_of,
    same_origin,
)

_PROTECTED_RESOURCE: Final = "/.well-known/oauth-protected-resource"
_AUTHORIZATION_SERVER: Final = "/.well-known/oauth-authorization-server"
_OPENID: Final = "/.well-known/openid-configuration"
# The schemes of the HTTP endpoints of a WebSocket server.
_HTTP_OF: Final = {"ws": "http", "wss": "https"}


def configured_server(text: str, *, plain_http: bool = False) -> RemoteUrl:
    """Return the configured URL of a server with its HTTP scheme. Raises OAuthRefusal if credentials cannot be sent to it.

    With `plain_http` the user accepts that credentials are sent without encryption.
    """
    try:
        url = parse_remote_url(text, (*HTTP_SCHEMES, *WEBSOCKET_SCHEMES))
    except BadRemoteUrl as fault:
        raise OAuthRefusal(str(fault)) from None
    url = attrs.evolve(url, scheme=_HTTP_OF.get(url.scheme, url.scheme))
    if not url.tls and not plain_http and not is_loopback(url):
        raise OAuthRefusal(
            f"{url.origin} uses no TLS; OAuth needs an https URL, or an http URL of a loopback address (RFC 6750 section 5.3)"
        )
    return url


def is_loopback(url: RemoteUrl) -> bool:
    """Return whether the host is a loopback address, or a name that always stands for one (RFC 6761 section 6.3)."""
    address = address_of(url.host)
    if address is None:
        name = url.host.removesuffix(".")
        return name == "localhost" or name.endswith(".localhost")
    return reach_of(address) == LOOPBACK


def check_named(text: object, what: str, server: RemoteUrl) -> RemoteUrl:
    """Return a URL that a server or an authorization server names. Raises OAuthRefusal."""
    if not isinstance(text, str) or not text:
        raise OAuthRefusal(f"{what} is missing")
    try:
        url = parse_remote_url(text)
    except BadRemoteUrl as fault:
        raise OAuthRefusal(f"{what} {shown(text)} is refused: {fault}") from None
    if "#" in text:
        raise OAuthRefusal(f"{what} {shown(text)} is refused: it has a fragment")
    # The server's own origin is http only if `configured_server` has accepted it.
    if not url.tls and not (is_loopback(url) and is_loopback(server)) and not same_origin(url, server):
        raise OAuthRefusal(
            f"{what} {shown(text)} is refused: it must be https (http only on the loopback, for a server on the loopback)"
        )
    return url


def check_issuer(text: object, server: RemoteUrl) -> RemoteUrl:
    """Return the URL of an issuer, which has no query and no fragment (RFC 8414 section 2). Raises OAuthRefusal."""
    url = check_named(text, "the issuer", server)
    if "?" in str(text):
        raise OAuthRefusal(f"the issuer {shown(text)} is refused: it has a query")
    return url


def protected_resource_urls(server: RemoteUrl) -> tuple[str, ...]:
    """Return the well-known URLs of the metadata of a protected resource, in order: with its path, and at the root."""
    path, mark, query = server.target.partition("?")
    root = f"{server.origin}{_PROTECTED_RESOURCE}"
    if path == "/" and not mark:
        return (root,)
    inserted = "" if path == "/" else path
    return f"{root}{inserted}{mark}{query}", root


def server_metadata_urls(issuer: RemoteUrl) -> tuple[str, ...]:
    """Return the URLs of the metadata of an authorization server, in order."""
    path = issuer.target.removesuffix("/")
    if not path:
        return f"{issuer.origin}{_AUTHORIZATION_SERVER}", f"{issuer.origin}{_OPENID}"
    return (
        f"{issuer.origin}{_AUTHORIZATION_SERVER}{path}",
        f"{issuer.origin}{_OPENID}{path}",
        f"{issuer.origin}{path}{_OPENID}",
    )


def resource_of(server: RemoteUrl) -> str:
    """Return the canonical URI of a server (RFC 8707 section 2), without a slash after the host alone."""
    return server.origin if server.target == "/" else str(server)


def check_resource(text: object, server: RemoteUrl) -> str:
    """Return the `resource` of protected resource metadata. Raises OAuthRefusal for that of another server.

    It must be the URL of the server or the beginning of it, up to the end of a path segment: the official SDKs accept both,
    because one resource may have several endpoints.
    """
    if not isinstance(text, str) or not text:
        raise OAuthRefusal("the metadata of the server has no resource")
    try:
        found = parse_remote_url(text)
    except BadRemoteUrl as fault:
        raise OAuthRefusal(f"the resource {shown(text)} is refused: {fault}") from None
    above = found.target.removesuffix("/") + "/"
    path = server.target.partition("?")[0].removesuffix("/") + "/"
    same = found.target == server.target or path.startswith(above)
    if found.origin != server.origin or not same or "#" in text:
        raise OAuthRefusal(
            f"the metadata is that of the resource {shown(text)}, and not of {resource_of(server)} (RFC 9728 section 3.3)"
        )
    return text
