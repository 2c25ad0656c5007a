"""Check bearer tokens (RFC 6750), in an Authorization header or as a WebSocket subprotocol.

Only the SHA-256 of a token is stored, and no message contains a token. Comparisons take the same time for every token.
"""

import re
from base64 import b64decode
from collections.abc import Container, Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from .rejection import INVALID_REQUEST, Rejection

# The longest token of the configuration (characters).
LONGEST_TOKEN: Final = 512
# 32 characters carry 128 bits even if they are only hexadecimal digits.
_SHORTEST: Final = 32
# A random token has nearly as many different pairs of neighbouring characters as characters. A typed or repeated text has not.
_PAIRS: Final = 16

_CREDENTIAL: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] ++([A-Za-z0-9._~+/-]++=*+)\Z")
_SUBPROTOCOL: Final = re.compile(r"bearer\.([A-Za-z0-9._~+/-]++=*+)\Z")
_B64TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]++=*+\Z")
_BASIC: Final = re.compile(r"[Bb][Aa][Ss][Ii][Cc] ++([A-Za-z0-9+/]{1,1024}+=*+)\Z")
_BEARER: Final = "bearer."
_QUERY_TOKEN: Final = re.compile(r"(?:\A|[&;])(?:access_?token|token|api_?key)=", re.ASCII | re.IGNORECASE)


def bearer_token(value: str | None, longest: int = LONGEST_TOKEN) -> str:
    """Return the token of an Authorization header. Raises Rejection 401, the same for every reason.

    `longest` is the length of the longest token (characters).
    """
    if value is None:
        raise unauthorized("credential_missing")
    match = _CREDENTIAL.match(value)
    if match is None or len(match[1]) > longest:
        raise unauthorized("credential_malformed")
    return match[1]


def offered_token(offer: str, longest: int = LONGEST_TOKEN) -> str | None:
    """Return the token of `bearer.TOKEN` in a Sec-WebSocket-Protocol header, or None where there is none.

    Browsers and most WebSocket clients cannot send an Authorization header. Names of subprotocols are compared with their
    case (RFC 6455 section 4.1). Raises Rejection 401 for a malformed token and for several tokens, because one request is one
    guess.
    """
    if _BEARER not in offer:
        return None
    names = [name.strip(" \t") for name in offer.split(",")]
    offered = [name for name in names if name.startswith(_BEARER)]
    if not offered:
        return None
    match = _SUBPROTOCOL.match(offered[0])
    if match is None or len(match[1]) > longest or len(offered) > 1:
        raise unauthorized("credential_malformed")
    return match[1]


def unauthorized(reason: str, challenge: bytes = b"Bearer") -> Rejection:
    """Return the refusal of a missing, malformed or wrong credential. `reason` is for the counters only."""
    return Rejection(
        401,
        INVALID_REQUEST,
        "a valid bearer token is needed",
        headers=((b"WWW-Authenticate", challenge),),
        reason=reason,
    )


def basic_credential(value: str | None) -> tuple[str, str] | None:
    """Return user name and password of a Basic credential (RFC 7617), None for another scheme. Raises Rejection 401."""
    match = _BASIC.match(value or "")
    if match is None:
        return None
    try:
        user, colon, password = b64decode(match[1], validate=True).decode().partition(":")
    except ValueError:
        raise unauthorized("credential_malformed") from None
    if not colon or len(password) > LONGEST_TOKEN:
        raise unauthorized("credential_malformed")
    return user, password


def refuse_query_token(query: str) -> None:
    """Raise Rejection 400 for a credential in a URL, where logs and histories would keep it."""
    if "=" in query and _QUERY_TOKEN.search(query):
        raise Rejection(
            400,
            INVALID_REQUEST,
            "a token goes into the Authorization header, never into the URL",
            reason="token_in_url",
        )


class TokenSet:
    """Map the digests of valid tokens to their principals.

    `tokens` maps tokens, and `digests` SHA-256 digests, to principals. Tokens of the principals in `local` are valid only for
    processes with the uid of the bridge, where the uid can be found.
    Raises ValueError for a token that could be guessed or that no client could send.
    """

    def __init__(
        self,
        tokens: Mapping[str, str],
        digests: Mapping[bytes, str] | None = None,
        local: Container[str] = (),
    ) -> None:
        for token in tokens:
            _check_strength(token)
        self._local = local
        self._principals = [(digest_of(token), principal) for token, principal in tokens.items()]
        self._principals += [*(digests or {}).items()]

    def replace(self, other: "TokenSet") -> None:
        """Replace all tokens by those of another set, in place."""
        self._principals = other._principals  # noqa: SLF001 - of the same class
        self._local = other._local  # noqa: SLF001 - of the same class

    def is_local(self, principal: str) -> bool:
        """Return whether the token of this principal is valid only for processes with the uid of the bridge."""
        return principal in self._local

    def principal(self, token: str) -> str | None:
        """Return the principal of a token, or None. Takes the same time for every token."""
        digest = digest_of(token)
        found = None
        for known, principal in self._principals:
            if compare_digest(known, digest):
                found = principal
        return found


def digest_of(token: str) -> bytes:
    """Return the form in which a token is stored."""
    return sha256(token.encode()).digest()


def _check_strength(token: str) -> None:
    if not _SHORTEST <= len(token) <= LONGEST_TOKEN:
        raise ValueError(f"a token has {_SHORTEST} to {LONGEST_TOKEN} characters, this one has {len(token)}")
    if not _B64TOKEN.match(token):
        raise ValueError("a token has letters, digits and -._~+/ only, and = at its end")
    pairs = len({token[at : at + 2] for at in range(len(token) - 1)})
    if pairs < _PAIRS:
        raise ValueError(
            f"a token has at least {_PAIRS} different pairs of neighbouring characters, this one has {pairs}"
        )
