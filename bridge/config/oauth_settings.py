"""The table [servers.NAME.oauth]: how the OAuth client of a remote server identifies itself, and what it requests.

The keys are those of RFC 7591 (dynamic client registration) and RFC 8414 (authorization server metadata) where these have
a word. No secret is in the file: `client_secret` and `private_key` are places of secrets.
"""

import re
from collections.abc import Callable
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import attrs
from msgspec import Meta

# The longest string of a table, as in `schema` (characters).
_Text = Annotated[str, Meta(max_length=4096)]
Grant = Literal["authorization_code", "client_credentials", "jwt_bearer"]
AuthMethod = Literal["", "none", "client_secret_basic", "client_secret_post", "private_key_jwt"]
# Algorithms of a signed assertion (RFC 7518 section 3.1, RFC 8037). Symmetric ones and "none" prove no private key.
Algorithm = Literal[
    "", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
# Hosts on which only a process of this machine can listen (RFC 8252 section 7.3).
LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})
# A token of a scope (RFC 6749 section 3.3).
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}\Z")
# No white space, control character or backslash.
_CLEAR: Final = re.compile(r"[\x21-\x5b\x5d-\x7e]+\Z")


class BadOAuthTable(ValueError):
    """Raised for keys of [servers.NAME.oauth] that cannot be used. The text names the key."""


@attrs.frozen
class OAuth:
    """[servers.NAME.oauth]: the OAuth client of a remote server."""

    grant: Annotated[
        Grant,
        Meta(
            description="Who the tokens are for: the user who runs `mcp-bridge login` (authorization_code), the client itself (client_credentials), or the subject of an assertion (jwt_bearer)."
        ),
    ] = "authorization_code"
    client_id: Annotated[
        _Text, Meta(description="The ID of a client that is registered with the authorization server.")
    ] = ""
    client_secret: Annotated[
        _Text, Meta(description="Where the secret of that client is kept (see SECRETS).")
    ] = ""
    private_key: Annotated[
        _Text,
        Meta(description="Where the private key (PEM) of that client is kept (see SECRETS)."),
    ] = ""
    signing_algorithm: Annotated[
        Algorithm,
        Meta(
            description="The algorithm of signatures with private_key; empty for the usual one of its type."
        ),
    ] = ""
    assertion: Annotated[
        _Text,
        Meta(
            description="Where the assertion (JWT) for the grant jwt_bearer is kept (see SECRETS); it is read for each token."
        ),
    ] = ""
    token_endpoint_auth_method: Annotated[
        AuthMethod,
        Meta(
            description="How the client authenticates; empty for the first usable method of the authorization server."
        ),
    ] = ""
    client_metadata_url: Annotated[
        _Text,
        Meta(
            description="The https URL of a Client ID Metadata Document, for authorization servers that support it."
        ),
    ] = ""
    redirect_uri: Annotated[
        _Text,
        Meta(
            description="The loopback redirect URI of the client; without a port a free port is used. Empty for http://127.0.0.1/callback."
        ),
    ] = ""
    issuer: Annotated[
        _Text,
        Meta(
            description="The issuer of the only authorization server that may be used; empty for the choice of the server, which is kept from the first login on."
        ),
    ] = ""
    scopes: Annotated[
        tuple[_Text, ...],
        Meta(description="The scopes to request; empty for those that the server requires."),
    ] = ()


def check_oauth(table: OAuth) -> None:
    """Check that the keys of a table fit together. No secret is read. Raises BadOAuthTable."""
    if table.client_secret and table.private_key:
        raise BadOAuthTable("client_secret and private_key exclude each other")
    if (table.client_secret or table.private_key) and not table.client_id:
        raise BadOAuthTable("client_secret and private_key need the client_id that they belong to")
    if table.grant == "client_credentials" and not (table.client_secret or table.private_key):
        raise BadOAuthTable('grant = "client_credentials" needs client_id, and client_secret or private_key')
    if (table.grant == "jwt_bearer") != bool(table.assertion):
        raise BadOAuthTable('grant = "jwt_bearer" and assertion need each other')
    _check_method(table)
    if table.client_metadata_url:
        _check_client_metadata_url(table.client_metadata_url)
    if table.redirect_uri:
        _check_redirect_uri(table.redirect_uri)
    for scope in table.scopes:
        if not _SCOPE.match(scope):
            raise BadOAuthTable("each of scopes is a scope token without spaces, as in RFC 6749 section 3.3")


def _check_method(table: OAuth) -> None:
    method = table.token_endpoint_auth_method
    if method == "private_key_jwt" and not table.private_key:
        raise BadOAuthTable('token_endpoint_auth_method = "private_key_jwt" needs private_key')
    if method.startswith("client_secret_") and not table.client_secret:
        raise BadOAuthTable(f'token_endpoint_auth_method = "{method}" needs client_secret')
    if method == "none" and (table.client_secret or table.private_key):
        raise BadOAuthTable('token_endpoint_auth_method = "none" excludes client_secret and private_key')


def _check_client_metadata_url(text: str) -> None:
    """Check the form of a client ID URL (draft-ietf-oauth-client-id-metadata-document-00 section 3)."""
    try:
        parts = urlsplit(text)
        dots = {".", ".."}.intersection(parts.path.split("/"))
        good = parts.scheme == "https" and parts.hostname and "@" not in parts.netloc and not dots
    except ValueError:
        good = False
        parts = urlsplit("")
    if not (good and _CLEAR.match(text) and parts.path not in ("", "/") and "#" not in text):
        raise BadOAuthTable(
            "client_metadata_url must be an https URL with a path, without user name, fragment and dot segments"
        )


def _check_redirect_uri(text: str) -> None:
    try:
        parts = urlsplit(text)
        good = parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS and parts.port != 0
    except ValueError:
        good = False
    if not (good and _CLEAR.match(text)) or "@" in text or "#" in text or "?" in text:
        raise BadOAuthTable(
            "redirect_uri must be an http URL of 127.0.0.1, [::1] or localhost, without query and fragment"
        )


def _no_secret(source: str) -> str:
    raise LookupError(source)


@attrs.frozen
class OAuthSettings:
    """The OAuth client of one server. `name` is what follows `mcp-bridge login`: the name of the server, or its URL.

    `secret_from` returns a secret from its place; it blocks and raises BadCredential. Secrets are read at each use, so that
    a changed secret or key needs no reload.
    """

    name: str
    url: str
    table: OAuth = attrs.field(factory=OAuth)
    # Whether credentials may be sent to another machine without encryption (`plain_http` of the server).
    plain_http: bool = False
    secret_from: Callable[[str], str] = attrs.field(default=_no_secret, eq=False, repr=False)

    @property
    def client(self) -> str:
        """Return the configured client ID, or the URL of its metadata document; empty for a client that registers itself."""
        return self.table.client_id or self.table.client_metadata_url
