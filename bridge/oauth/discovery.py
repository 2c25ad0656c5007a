"""Find the authorization server of a remote server, and its metadata.

The order is that of MCP 2026-07-28 basic/authorization/authorization-server-discovery. Servers without protected resource
metadata are their own authorization servers, as in MCP 2025-03-26 basic/authorization.
"""

from typing import Final

import attrs

from ...transports.client.ports import Redirected, Unreachable
from ...validators.oauth_challenge import BearerChallenge
from ...validators.oauth_metadata import (
    ProtectedResource,
    ServerMetadata,
    choose_issuer,
    default_metadata,
    protected_resource,
    read_object,
    server_metadata,
)
from ...validators.oauth_refusal import OAuthRefusal, shown
from ...validators.oauth_scopes import Scopes
from ...validators.oauth_urls import (
    check_issuer,
    check_named,
    protected_resource_urls,
    resource_of,
    server_metadata_urls,
)
from ...validators.remote_url import RemoteUrl
from .exchange import Exchange

_TOO_MANY_REQUESTS: Final = 429


@attrs.frozen
class Discovered:
    """The authorization server of a remote server, the resource to request tokens for, and the scopes of the resource."""

    resource: str
    metadata: ServerMetadata
    scopes: Scopes | None


async def discover(
    exchange: Exchange,
    server: RemoteUrl,
    challenge: BearerChallenge,
    *,
    required: str,
    stored: str,
    grant: str,
) -> Discovered:
    """Return the authorization server to use.

    `required` is the only issuer that may be used, or empty, `stored` the one that was used before. Raises OAuthRefusal and
    Unreachable.
    """
    found = await _resource(exchange, server, challenge)
    if found is None or not found.servers:
        alone = await _without_resource(exchange, server, required, grant)
        return alone if found is None else attrs.evolve(alone, resource=found.resource, scopes=found.scopes)
    issuer = choose_issuer(found.servers, required, stored)
    metadata = await issuer_metadata(exchange, server, issuer, grant)
    return Discovered(found.resource, metadata, found.scopes)


async def issuer_metadata(exchange: Exchange, server: RemoteUrl, issuer: str, grant: str) -> ServerMetadata:
    """Return the metadata of an issuer. Raises OAuthRefusal and Unreachable."""
    metadata = await _metadata(exchange, server, issuer, grant)
    if metadata is None:
        raise OAuthRefusal(
            f"the authorization server {shown(issuer)} has no metadata at its well-known URLs (RFC 8414)"
        )
    return metadata


async def _resource(
    exchange: Exchange, server: RemoteUrl, challenge: BearerChallenge
) -> ProtectedResource | None:
    """Return the metadata of the server, None if it has none. Raises OAuthRefusal and Unreachable."""
    urls = protected_resource_urls(server)
    if challenge.resource_metadata:
        named = check_named(challenge.resource_metadata, "the URL in resource_metadata", server)
        urls = tuple(dict.fromkeys((str(named), *urls)))
    search = _Search(exchange)
    refusal: OAuthRefusal | None = None
    for url in urls:
        data = await search.document(url)
        if data is not None:
            try:
                return protected_resource(data, server)
            except OAuthRefusal as fault:
                refusal = refusal or fault
    # Another document of the server may be valid, but a refused one is no proof that there is none.
    if refusal is not None:
        raise refusal
    search.check()
    return None


async def _without_resource(exchange: Exchange, server: RemoteUrl, required: str, grant: str) -> Discovered:
    resource = resource_of(server)
    if required:
        check_issuer(required, server)
        if required.removesuffix("/") != server.origin:
            return Discovered(resource, await issuer_metadata(exchange, server, required, grant), None)
    # The issuer is the origin, which is written with and without a slash.
    metadata = await _metadata(exchange, server, f"{server.origin}/", grant)
    return Discovered(resource, metadata or default_metadata(server), None)


async def _metadata(exchange: Exchange, server: RemoteUrl, issuer: str, grant: str) -> ServerMetadata | None:
    """Return the metadata of an issuer, None if there is none."""
    search = _Search(exchange)
    refusal: OAuthRefusal | None = None
    for url in server_metadata_urls(check_issuer(issuer, server)):
        data = await search.document(url)
        if data is None:
            continue
        try:
            return server_metadata(data, issuer, server, grant)
        except OAuthRefusal as fault:
            refusal = refusal or fault
    if refusal is not None:
        raise refusal
    search.check()
    return None


class _Search:
    """Requests documents at several URLs, of which some may have none."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._fault: Exception | None = None

    async def document(self, url: str) -> bytes | None:
        """Return the JSON object at a URL, None if there is none."""
        try:
            status, data = await self._exchange.get(url)
        except Redirected:
            # For example to a login page.
            return None
        except Unreachable as fault:
            self._fault = self._fault or fault
            return None
        if status >= 500 or status == _TOO_MANY_REQUESTS:
            self._fault = self._fault or Unreachable(
                f"{shown(url)} has responded with status {status}", sent=True
            )
        if status != 200:
            return None
        try:
            read_object(data, "the document")
        except OAuthRefusal:
            # Some servers respond to every path with a page.
            return None
        return data

    def check(self) -> None:
        """Raise the failure because of which the absence of a document is not certain."""
        if self._fault is not None:
            raise self._fault
