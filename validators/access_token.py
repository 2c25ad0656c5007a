"""Check an access token in the form of a signed JWT (RFC 7519, RFC 8725, RFC 9068), without its signature. Pure.

A header never chooses the key by itself: `jwk`, `jku`, `x5c` and `x5u` are refused. An algorithm is one of an allow-list, which
has no symmetric algorithm and not `none`. Members that occur twice are refused, because two readers could differ.
"""

import binascii
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable
from typing import Any, Final, cast

import attrs

# The longest token (bytes). A header field has the same limit by default.
LONGEST: Final = 8 * 1024
# Base64url without padding (RFC 7515 section 2).
_PART: Final = re.compile(r"[A-Za-z0-9_-]+\Z")
_TYPES: Final = frozenset({None, "jwt", "at+jwt", "application/at+jwt", "application/jwt"})
# Members with which a token would bring its own key.
_KEY_MEMBERS: Final = ("jwk", "jku", "x5c", "x5u")
# The longest key id, issuer, subject and audience, and the most audiences and scopes.
_LONGEST_TEXT: Final = 1024
_MOST_VALUES: Final = 64
# The latest time in seconds that a date can have.
_LATEST: Final = 253402300799


class BadAccessToken(ValueError):
    """Raised for a token that is refused. The text is an identifier of the reason."""


@attrs.frozen
class TokenHeader:
    """The algorithm and the key id of a token; the key id is None where it has none."""

    algorithm: str
    kid: str | None


@attrs.frozen
class ClaimRules:
    """The issuer that a token must have, the claim with its scopes, and how far the clocks may differ (seconds)."""

    issuer: str
    scope_claim: str
    skew: float


@attrs.frozen
class Claims:
    """The claims of a token. `expires` is in seconds since the epoch."""

    subject: str
    audience: tuple[str, ...]
    scopes: frozenset[str]
    expires: float
    client: str = ""


def looks_signed(token: str) -> bool:
    """Return whether a token has the three parts of a signed JWT."""
    return token.count(".") == 2


def read_header(token: str, algorithms: Iterable[str]) -> TokenHeader:
    """Return the header of a token, if its algorithm is one of `algorithms`. Raises BadAccessToken."""
    if len(token) > LONGEST:
        raise BadAccessToken("too_long")
    parts = token.split(".")
    if len(parts) != 3:
        raise BadAccessToken("not_signed")
    header = _object(parts[0])
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise BadAccessToken("algorithm")
    if "crit" in header or "b64" in header or "enc" in header:
        raise BadAccessToken("critical_header")
    if any(member in header for member in _KEY_MEMBERS):
        raise BadAccessToken("key_in_header")
    if (kind.lower() if isinstance(kind, str) else kind) not in _TYPES:
        raise BadAccessToken("type")
    if kid is not None and not _is_text(kid):
        raise BadAccessToken("key_id")
    return TokenHeader(algorithm, kid)


def read_claims(token: str, rules: ClaimRules, now: float) -> Claims:
    """Return the claims of a token whose signature was verified. `now` is in seconds since the epoch. Raises BadAccessToken."""
    claims = _object(token.split(".")[1])
    if claims.get("iss") != rules.issuer:
        raise BadAccessToken("issuer")
    expires = _time(claims, "exp")
    if expires is None or not now < expires + rules.skew:
        raise BadAccessToken("expired")
    for name in ("nbf", "iat"):
        begin = _time(claims, name)
        if begin is not None and begin > now + rules.skew:
            raise BadAccessToken("not_yet_valid")
    # A token that is bound to a key or a certificate is no bearer token (RFC 7800, RFC 8705, RFC 9449).
    if "cnf" in claims:
        raise BadAccessToken("bound_to_a_key")
    subject, client = claims.get("sub"), claims.get("client_id", claims.get("azp", ""))
    if not isinstance(subject, str) or not _is_text(subject):
        raise BadAccessToken("subject")
    return Claims(
        subject,
        _texts(claims.get("aud"), "audience", separator=None),
        frozenset(_texts(claims.get(rules.scope_claim, ()), "scope", separator=" ")),
        expires + rules.skew,
        client if _is_text(client) else "",
    )


def _object(part: str) -> dict[str, Any]:
    if not _PART.match(part):
        raise BadAccessToken("encoding")
    try:
        found: object = json.loads(
            urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode(),
            object_pairs_hook=_unique,
            parse_constant=_refuse,
        )
    except BadAccessToken:
        raise
    except (ValueError, binascii.Error, RecursionError):
        raise BadAccessToken("encoding") from None
    if not isinstance(found, dict):
        raise BadAccessToken("encoding")
    return cast("dict[str, Any]", found)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadAccessToken("member_twice")
    return found


def _refuse(_constant: str) -> None:
    raise BadAccessToken("encoding")


def _time(claims: dict[str, Any], name: str) -> float | None:
    """Return a NumericDate, None without the claim. Raises BadAccessToken."""
    value: object = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise BadAccessToken("time")
    return float(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and value.isprintable()


def _texts(value: object, reason: str, *, separator: str | None) -> tuple[str, ...]:
    """Return the texts of a claim: one text, texts with a separator, or a list. Raises BadAccessToken."""
    if isinstance(value, str):
        found: tuple[object, ...] = (
            (value,) if separator is None else tuple(filter(None, value.split(separator)))
        )
    elif isinstance(value, list | tuple):
        found = tuple(cast("list[object]", value))
    else:
        raise BadAccessToken(reason)
    if len(found) > _MOST_VALUES or not all(map(_is_text, found)):
        raise BadAccessToken(reason)
    return cast("tuple[str, ...]", found)


def covers(audience: Iterable[str], base: str, path: str) -> bool:
    """Return whether one of the audiences is the resource at `base`, or the server of it that a path belongs to.

    The endpoints of one server are in one directory, such as /servers/NAME. A client names the endpoint that it connects to
    (RFC 8707), and HTTP+SSE has two.
    """
    directory = base + path.removesuffix("/").rpartition("/")[0]
    for one in audience:
        bare = one.removesuffix("/")
        if bare == base or (bare.startswith(f"{base}/") and bare.rpartition("/")[0] == directory):
            return True
    return False
