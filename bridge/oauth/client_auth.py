"""Authenticate an OAuth client at the token endpoint (RFC 6749 section 2.3, RFC 7523 section 2.2).

joserfc is imported only for a client with a private key.
"""

import base64
import secrets
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote_plus

import attrs
import msgspec

from ...validators.oauth_metadata import ServerMetadata
from ...validators.oauth_refusal import OAuthRefusal, shown
from ..config.oauth_settings import OAuthSettings

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

PUBLIC: Final = "none"
BASIC: Final = "client_secret_basic"
POST: Final = "client_secret_post"
PRIVATE_KEY: Final = "private_key_jwt"
_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# How long an assertion is valid (seconds). It is used at once; the rest is for the difference between two clocks.
_ASSERTION_SECONDS: Final = 60
# The algorithms of a type of key, the usual one first. That of an elliptic curve follows from the curve.
_ALGORITHMS: Final[Mapping[str, Sequence[str]]] = {
    "RSA": ("RS256", "PS256", "RS384", "RS512", "PS384", "PS512"),
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "Ed25519": ("EdDSA", "Ed25519"),
    "Ed448": ("EdDSA", "Ed448"),
}


class BadKey(Exception):
    """Raised for a private key that cannot be used. The text never has a part of the key."""


class Authentication(NamedTuple):
    """What a request to an endpoint of the authorization server has beside its own parameters."""

    form: Mapping[str, str]
    authorization: str = ""


@attrs.frozen
class Client:
    """A client ID with its way of authentication. `secret` and `private_key` return the secret and the key; they block."""

    client_id: str
    method: str
    secret: Callable[[], str] | None = attrs.field(default=None, repr=False)
    private_key: Callable[[], str] | None = attrs.field(default=None, repr=False)
    algorithm: str = ""

    def authentication(self, issuer: str, algorithms: Sequence[str] | None = None) -> Authentication:
        """Return the authentication of one request. `algorithms` are those that the server accepts, None if unknown.

        Blocks. Raises BadCredential and BadKey.
        """
        if self.method == PRIVATE_KEY and self.private_key is not None:
            assertion = signed_assertion(
                self.client_id, issuer, self.private_key(), self.algorithm, algorithms
            )
            return Authentication(
                {
                    "client_id": self.client_id,
                    "client_assertion_type": _ASSERTION_TYPE,
                    "client_assertion": assertion,
                }
            )
        secret = "" if self.secret is None else self.secret()
        if self.method == BASIC:
            pair = f"{quote_plus(self.client_id)}:{quote_plus(secret)}"
            return Authentication({}, f"Basic {base64.b64encode(pair.encode()).decode()}")
        form = {"client_id": self.client_id} if self.client_id else {}
        return Authentication({**form, "client_secret": secret} if self.method == POST else form)


def configured_client(settings: OAuthSettings, metadata: ServerMetadata) -> Client:
    """Return the client with the configured client ID. Raises OAuthRefusal if it cannot authenticate at this server."""
    table = settings.table
    if not table.client_id:
        # An assertion may stand for the client as well (RFC 7521 section 4.1).
        return Client("", PUBLIC)
    secret, key = table.client_secret, table.private_key
    possible = (PRIVATE_KEY,) if key else (BASIC, POST) if secret else (PUBLIC,)
    method = table.token_endpoint_auth_method or first_supported(possible, metadata)
    if not method:
        raise OAuthRefusal(
            f"the authorization server {shown(metadata.issuer)} supports none of the methods"
            f" {', '.join(possible)}; token_endpoint_auth_method can force one"
        )
    return restored_client(settings, table.client_id, method, "")


def restored_client(settings: OAuthSettings, client_id: str, method: str, secret: str) -> Client:
    """Return the client of stored credentials: with their secret, or with the configured one if they have none."""
    table = settings.table
    if client_id != table.client_id:
        return Client(client_id, method, (lambda: secret) if secret else None)
    return Client(
        client_id,
        method,
        (lambda: settings.secret_from(table.client_secret)) if table.client_secret else None,
        (lambda: settings.secret_from(table.private_key)) if table.private_key else None,
        table.signing_algorithm,
    )


def method_to_register(metadata: ServerMetadata) -> str:
    """Return the authentication method of a registration. A program on a user's machine is a public client (RFC 8252)."""
    supported = metadata.auth_methods
    return first_supported((PUBLIC, BASIC, POST), metadata) if supported is not None else PUBLIC


def method_of_registered(registered: str, secret: str, metadata: ServerMetadata) -> str:
    """Return the method of a client as it was registered. Raises OAuthRefusal if it cannot be used."""
    # RFC 7591 section 2: an absent method is client_secret_basic.
    method = registered or (first_supported((BASIC, POST), metadata) or BASIC if secret else PUBLIC)
    if method not in (PUBLIC, BASIC, POST):
        raise OAuthRefusal(
            f"the client was registered with the authentication method {shown(method)}, which it cannot use"
        )
    if method != PUBLIC and not secret:
        raise OAuthRefusal(f"the client was registered for {method}, but it got no secret")
    return method


def first_supported(methods: Sequence[str], metadata: ServerMetadata) -> str:
    """Return the first method that the server supports, empty for none. Without a list all are (RFC 8414 section 2)."""
    supported = metadata.auth_methods
    return next((method for method in methods if supported is None or method in supported), "")


def signed_assertion(
    client_id: str, issuer: str, key_text: str, algorithm: str, algorithms: Sequence[str] | None
) -> str:
    """Return a signed JWT that authenticates the client at an issuer. Raises BadKey."""
    # Imported here, because only a client with a private key needs it.
    from joserfc import jwt  # noqa: PLC0415 - see above
    from joserfc.errors import JoseError, SecurityWarning  # noqa: PLC0415 - see above

    # It warns of algorithms that some authorization servers accept only.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    key, usual = _key_of(key_text)
    chosen = algorithm or next((one for one in usual if algorithms is None or one in algorithms), "")
    if not chosen:
        raise BadKey(
            f"the authorization server {shown(issuer)} accepts no signature of the private key; it accepts {shown(' '.join(algorithms or ()))}"
        )
    header = {"alg": chosen, "typ": "JWT", **({"kid": key.kid} if key.kid else {})}
    now = int(time.time())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "iat": now,
        "exp": now + _ASSERTION_SECONDS,
        "jti": secrets.token_urlsafe(16),
    }
    try:
        return jwt.encode(header, claims, key, algorithms=[chosen])
    except (JoseError, ValueError, TypeError):
        raise BadKey(f"the private key cannot sign with {chosen}") from None


def _key_of(text: str) -> "tuple[RSAKey | ECKey | OKPKey, Sequence[str]]":
    """Return a private key, and the algorithms of its type. Raises BadKey."""
    from joserfc.errors import JoseError  # noqa: PLC0415 - as above
    from joserfc.jwk import ECKey, OKPKey, RSAKey  # noqa: PLC0415 - as above

    data: str | dict[str, str | list[str]] = text
    with suppress(ValueError, RecursionError):
        data = msgspec.json.decode(text, type=dict[str, str | list[str]])
    for kind in (RSAKey, ECKey, OKPKey):
        try:
            key = kind.import_key(data)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if not key.is_private:
            raise BadKey("the private key is a public key")
        return key, _ALGORITHMS.get("RSA" if isinstance(key, RSAKey) else key.curve_name, ())
    raise BadKey(
        "the private key is neither a PEM file without a passphrase nor a JWK of type RSA, EC or OKP"
    )
