"""Check the metadata of protected resources (RFC 9728) and of authorization servers (RFC 8414, OpenID Connect Discovery)."""

from collections.abc import Sequence
from typing import Final, cast

import attrs
import msgspec

from .oauth_refusal import OAuthRefusal, shown
from .oauth_scopes import Scopes, only_scopes
from .oauth_urls import check_issuer, check_named, check_resource
from .remote_url import RemoteUrl

# Further authorization servers of one resource are not considered.
_MOST_SERVERS: Final = 32
# A list of names with more entries is cut.
_MOST_NAMES: Final = 256
CODE_GRANT: Final = "authorization_code"


@attrs.frozen
class ProtectedResource:
    """The metadata of a protected resource. `servers` are the issuers of its authorization servers.

    A resource that names none is its own authorization server, as in MCP 2025-03-26 basic/authorization.
    """

    resource: str
    servers: tuple[str, ...]
    scopes: Scopes | None = None


@attrs.frozen
class ServerMetadata:
    """The metadata of an authorization server. An absent endpoint is empty, and an absent list is None."""

    issuer: str
    token_endpoint: str
    authorization_endpoint: str = ""
    registration_endpoint: str = ""
    revocation_endpoint: str = ""
    scopes: Scopes | None = None
    grants: tuple[str, ...] | None = None
    auth_methods: tuple[str, ...] | None = None
    algorithms: tuple[str, ...] | None = None
    # Whether each redirect has `iss` (RFC 9207 section 3).
    sends_issuer: bool = False
    # Whether a client ID may be the URL of a metadata document.
    takes_documents: bool = False


def read_object(data: bytes, what: str) -> dict[str, object]:
    """Return the members of a JSON object. Raises OAuthRefusal."""
    try:
        found: object = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        raise OAuthRefusal(f"{what} is not JSON") from None
    if not isinstance(found, dict):
        raise OAuthRefusal(f"{what} is not a JSON object")
    return cast("dict[str, object]", found)


def protected_resource(data: bytes, server: RemoteUrl) -> ProtectedResource:
    """Return the metadata of the configured server. Raises OAuthRefusal."""
    found = read_object(data, "the metadata of the server")
    resource = check_resource(found.get("resource"), server)
    methods = _names(found.get("bearer_methods_supported"))
    # An empty list is that of a resource that accepts no bearer token (RFC 9728 section 2).
    if methods is not None and "header" not in methods:
        raise OAuthRefusal(
            "the server accepts no token in the Authorization header, and a token is sent nowhere else"
        )
    named = _names(found.get("authorization_servers")) or ()
    servers: list[str] = []
    reason = ""
    for issuer in named[:_MOST_SERVERS]:
        try:
            check_issuer(issuer, server)
        except OAuthRefusal as fault:
            reason = reason or str(fault)
        else:
            servers.append(issuer)
    if reason and not servers:
        raise OAuthRefusal(reason)
    return ProtectedResource(resource, tuple(servers), _scopes(found.get("scopes_supported")))


def choose_issuer(listed: Sequence[str], required: str, stored: str) -> str:
    """Return the authorization server to use: the required one, or the stored one if it is still listed, or the first.

    `required` is the issuer of the configuration. Raises OAuthRefusal if it is not listed. The result is the listed spelling.
    """
    if required:
        found = _listed(required, listed)
        if not found:
            raise OAuthRefusal(
                f"the server names the authorization server {shown(listed[0])}, and not the configured issuer {shown(required)}"
            )
        return found
    return _listed(stored, listed) or listed[0]


def _listed(issuer: str, listed: Sequence[str]) -> str:
    """Return the listed spelling of an issuer, empty if there is none."""
    return next((one for one in listed if is_issuer_of(issuer, one)), "")


def is_issuer_of(issuer: object, url: str) -> bool:
    """Return whether an issuer is that of the URL of an authorization server in the metadata of a resource.

    The official SDKs write a URL without a path with a slash, and accept the issuer without it. Both have the same metadata.
    """
    return issuer == url or (url.endswith("/") and issuer == url[:-1])


def server_metadata(data: bytes, issuer: str, server: RemoteUrl, grant: str = CODE_GRANT) -> ServerMetadata:
    """Return the metadata of the authorization server with this issuer. Raises OAuthRefusal.

    `server` is the configured server, `grant` the one that is going to be used. The issuer of the result is that of the
    metadata (`is_issuer_of`).
    """
    found = read_object(data, "the metadata of the authorization server")
    written = found.get("issuer")
    if not isinstance(written, str) or not is_issuer_of(written, issuer):
        raise OAuthRefusal(
            f"the metadata is that of the issuer {shown(written)}, and not of {shown(issuer)} (RFC 8414 section 3.3)"
        )
    metadata = ServerMetadata(
        written,
        str(check_named(found.get("token_endpoint"), "the token endpoint", server)),
        scopes=_scopes(found.get("scopes_supported")),
        grants=_names(found.get("grant_types_supported")),
        auth_methods=_names(found.get("token_endpoint_auth_methods_supported")),
        algorithms=_names(found.get("token_endpoint_auth_signing_alg_values_supported")),
        sends_issuer=found.get("authorization_response_iss_parameter_supported") is True,
        takes_documents=found.get("client_id_metadata_document_supported") is True,
        registration_endpoint=_optional(
            found.get("registration_endpoint"), "the registration endpoint", server
        ),
        revocation_endpoint=_optional(found.get("revocation_endpoint"), "the revocation endpoint", server),
    )
    if grant != CODE_GRANT:
        return metadata
    if "S256" not in (_names(found.get("code_challenge_methods_supported")) or ()):
        raise OAuthRefusal(
            f"the authorization server {shown(issuer)} does not announce PKCE with S256 (code_challenge_methods_supported)"
        )
    types = _names(found.get("response_types_supported"))
    if types is not None and "code" not in types:
        raise OAuthRefusal(
            f"the authorization server {shown(issuer)} does not support the response type code"
        )
    return attrs.evolve(
        metadata,
        authorization_endpoint=str(
            check_named(found.get("authorization_endpoint"), "the authorization endpoint", server)
        ),
    )


def default_metadata(server: RemoteUrl) -> ServerMetadata:
    """Return the endpoints of a server without any metadata (MCP 2025-03-26 basic/authorization, "Fallbacks")."""
    return ServerMetadata(
        server.origin,
        f"{server.origin}/token",
        f"{server.origin}/authorize",
        f"{server.origin}/register",
    )


def _optional(value: object, what: str, server: RemoteUrl) -> str:
    return "" if value is None else str(check_named(value, what, server))


def _names(value: object) -> tuple[str, ...] | None:
    """Return the strings of an array, None for any other value."""
    if not isinstance(value, list):
        return None
    items = cast("list[object]", value)[:_MOST_NAMES]
    return tuple(item for item in items if isinstance(item, str))


def _scopes(value: object) -> Scopes | None:
    names = _names(value)
    return None if names is None else only_scopes(names)
