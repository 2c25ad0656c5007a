"""Bearer tokens (RFC 6750), and the same as a WebSocket subprotocol, compared without showing how near a guess was.

A token is known here by its SHA-256 alone, and never appears in a message.
"""

import re
from collections.abc import Container, Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from .rejection import INVALID_REQUEST, Rejection

_LONGEST: Final = 512
# 32 characters carry 128 bits even if they are only hexadecimal digits.
_SHORTEST: Final = 32
# Random ones have nearly as many different pairs of neighbours as characters; typed and repeated ones do not.
_PAIRS: Final = 16

_CREDENTIAL: Final = re.compile(rf"[Bb][Ee][Aa][Rr][Ee][Rr] ++([A-Za-z0-9._~+/-]{{1,{_LONGEST}}}+=*+)\Z")
_SUBPROTOCOL: Final = re.compile(rf"bearer\.([A-Za-z0-9._~+/-]{{1,{_LONGEST}}}+=*+)\Z")
_B64TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]++=*+\Z")
_BEARER: Final = "bearer."
_QUERY_TOKEN: Final = re.compile(r"(?:\A|[&;])(?:access_?token|token|api_?key)=", re.ASCII | re.IGNORECASE)


def bearer_token(value: str | None) -> str:
    """The token of an Authorization header. Raises Rejection 401, the same for every reason."""
    if value is None:
        raise unauthorized("credential_missing")
    match = _CREDENTIAL.match(value)
    if match is None or len(match[1]) > _LONGEST:
        raise unauthorized("credential_malformed")
    return match[1]


def offered_token(offer: str) -> str | None:
    """Return the token of `bearer.TOKEN` in a Sec-WebSocket-Protocol header, or None where there is none.

    Browsers and most WebSocket clients cannot send an Authorization header. Names of subprotocols are compared with their
    case (RFC 6455 section 4.1). Raises Rejection 401 for a malformed token and for several, so that one request is one guess.
    """
    if _BEARER not in offer:
        return None
    names = [name.strip(" \t") for name in offer.split(",")]
    offered = [name for name in names if name.startswith(_BEARER)]
    if not offered:
        return None
    match = _SUBPROTOCOL.match(offered[0])
    if match is None or len(match[1]) > _LONGEST or len(offered) > 1:
        raise unauthorized("credential_malformed")
    return match[1]


def unauthorized(reason: str) -> Rejection:
    """Return the one refusal for no credential, a malformed one and a wrong one; `reason` is for the counters alone."""
    return Rejection(
        401,
        INVALID_REQUEST,
        "a valid bearer token is needed",
        headers=((b"WWW-Authenticate", b"Bearer"),),
        reason=reason,
    )


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
    """The tokens that are valid, and whose they are.

    The tokens of the principals in `local` are good for processes of our own uid only, where the uid can be found.
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
        self._principals = [(_digest(token), principal) for token, principal in tokens.items()]
        self._principals += [*(digests or {}).items()]

    def replace(self, other: "TokenSet") -> None:
        """Hold what the other holds, from now on."""
        self._principals = other._principals  # noqa: SLF001 - of our own kind
        self._local = other._local  # noqa: SLF001 - likewise

    def is_local(self, principal: str) -> bool:
        """Return whether the token of this principal is good for processes of our own uid only."""
        return principal in self._local

    def principal(self, token: str) -> str | None:
        """Whose token this is. Takes the same time for every answer."""
        digest = _digest(token)
        found = None
        for known, principal in self._principals:
            if compare_digest(known, digest):
                found = principal
        return found


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()


def _check_strength(token: str) -> None:
    if not _SHORTEST <= len(token) <= _LONGEST:
        raise ValueError(f"a token has {_SHORTEST} to {_LONGEST} characters, this one has {len(token)}")
    if not _B64TOKEN.match(token):
        raise ValueError("a token has letters, digits and -._~+/ only, and = at its end")
    pairs = len({token[at : at + 2] for at in range(len(token) - 1)})
    if pairs < _PAIRS:
        raise ValueError(
            f"a token has at least {_PAIRS} different pairs of neighbouring characters, this one has {pairs}"
        )
