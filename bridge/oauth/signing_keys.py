"""The public keys with which the signatures of access tokens are verified, from a JWK Set (RFC 7517) or a PEM file.

joserfc is imported for the first key. No key is taken that could sign, that is symmetric, or that is too short.
"""

import json
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import attrs

from ...validators.access_token import TokenHeader

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

# The largest JWK Set (bytes), and the most keys of one.
LARGEST: Final = 64 * 1024
MOST_KEYS: Final = 32
# The most keys that are tried for a token without a key id.
_MOST_TRIED: Final = 4
# The shortest RSA key (bits, RFC 7518 section 3.3).
_SHORTEST_RSA: Final = 2048
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
# The algorithms by key type and curve (RFC 7518 section 3.1, RFC 8037).
_ALGORITHMS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("RSA", ""): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
_BEGIN: Final = "-----BEGIN "


class BadKeys(ValueError):
    """Raised for a document without usable keys. The text is the reason."""


@attrs.frozen
class SigningKey:
    """One public key, its key id (None without one), and the algorithms that it is for."""

    kid: str | None
    algorithms: frozenset[str]
    key: "RSAKey | ECKey | OKPKey" = attrs.field(repr=False)
    thumbprint: str = ""

    def fits(self, header: TokenHeader) -> bool:
        """Return whether a token with this header may have been signed with the key."""
        return header.algorithm in self.algorithms and (
            header.kid is None or self.kid is None or header.kid == self.kid
        )


def read_keys(text: str, algorithms: Iterable[str]) -> tuple[SigningKey, ...]:
    """Return the keys of a JWK Set, a JWK or a public key in PEM that fit one of the algorithms. Raises BadKeys."""
    allowed = frozenset(algorithms)
    if _BEGIN in text:
        found = [_imported(text.strip(), {}, allowed)]
    else:
        found = [_imported(one, one, allowed) for one in _documents(text) if _may_verify(one)]
    keys = tuple(key for key in found if key is not None)
    if not keys:
        raise BadKeys("there is no public key that fits the algorithms")
    return keys


def _documents(text: str) -> list[dict[str, Any]]:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        raise BadKeys("it is neither a JWK Set nor a public key in PEM") from None
    if not isinstance(found, dict):
        raise BadKeys("it is neither a JWK Set nor a public key in PEM")
    document = cast("dict[str, Any]", found)
    keys: object = document.get("keys", [document])
    if not isinstance(keys, list):
        raise BadKeys("it is neither a JWK Set nor a public key in PEM")
    listed = cast("list[object]", keys)
    if len(listed) > MOST_KEYS:
        raise BadKeys(f"it has more than {MOST_KEYS} keys, the limit")
    return [cast("dict[str, Any]", one) for one in listed if isinstance(one, dict)]


def _may_verify(document: Mapping[str, Any]) -> bool:
    """Return whether a JWK is a public key for signatures. Others in the set are left out (RFC 7517 section 5)."""
    operations = document.get("key_ops", ["verify"])
    return (
        (document.get("kty"), document.get("crv", "")) in _ALGORITHMS
        and "d" not in document
        and document.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )


def _imported(
    source: str | dict[str, Any], document: Mapping[str, Any], allowed: frozenset[str]
) -> SigningKey | None:
    from joserfc.errors import JoseError, SecurityWarning  # noqa: PLC0415 - see the module's docstring
    from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key, thumbprint  # noqa: PLC0415 - likewise

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SecurityWarning)
            key = _of_pem(source) if isinstance(source, str) else import_key(source)
            if not isinstance(key, RSAKey | ECKey | OKPKey) or key.is_private:
                return None
            described = key.as_dict(private=False)
            print_of_key = thumbprint(cast("Any", described))
    except (JoseError, SecurityWarning, ValueError, TypeError, KeyError, OverflowError):
        return None
    kind = (str(described["kty"]), str(described.get("crv", "")))
    if isinstance(key, RSAKey) and key.public_key.key_size < _SHORTEST_RSA:
        return None
    named: object = document.get("alg")
    fitting = frozenset(_ALGORITHMS.get(kind, ())) & allowed
    if named is not None:
        fitting &= {str(named)}
    kid: object = document.get("kid")
    if not fitting or not (kid is None or isinstance(kid, str)):
        return None
    return SigningKey(kid, fitting, key, print_of_key)


def _of_pem(text: str) -> "RSAKey | ECKey | OKPKey | None":
    from joserfc.errors import JoseError  # noqa: PLC0415 - see the module's docstring
    from joserfc.jwk import ECKey, OKPKey, RSAKey  # noqa: PLC0415 - likewise

    for cls in (RSAKey, ECKey, OKPKey):
        try:
            return cls.import_key(text)
        except (JoseError, ValueError, TypeError):
            continue
    return None


def verify(token: str, header: TokenHeader, keys: Iterable[SigningKey]) -> bool | None:
    """Return whether one of the keys has signed a token with this header; None if none of them may have."""
    from joserfc.errors import JoseError  # noqa: PLC0415 - see the module's docstring
    from joserfc.jws import JWSRegistry, deserialize_compact  # noqa: PLC0415 - likewise

    fitting = [key for key in keys if key.fits(header)][:_MOST_TRIED]
    if not fitting:
        return None
    algorithms = [header.algorithm]
    registry = JWSRegistry(algorithms=algorithms, strict_check_header=False)
    for one in fitting:
        try:
            deserialize_compact(token, one.key, algorithms, registry)
        except (JoseError, ValueError, TypeError):
            continue
        return True
    return False
