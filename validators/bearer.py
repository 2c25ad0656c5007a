"""Bearer tokens (RFC 6750): found in one header only, compared in constant time, kept as digests.

Every failure is the same Rejection 401, so that nothing can be learnt from it.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final

from .rejection import INVALID_REQUEST, Rejection

_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9._~+/-]{1,512}=*)\Z", re.IGNORECASE)
_QUERY: Final = re.compile(
    r"(?:\A|&)(?:access_token|api_key|apikey|auth|authorization|token)(?:=|&|\Z)", re.IGNORECASE
)
_CHALLENGE: Final = ((b"WWW-Authenticate", b"Bearer"),)
# 128 bits in base64 and more; a token that people make up is shorter, or repeats itself.
_SHORTEST: Final = 32
_LONGEST: Final = 512
_FEWEST_CHARACTERS: Final = 12


def unauthorized() -> Rejection:
    """The one Rejection 401."""
    return Rejection(401, INVALID_REQUEST, "a valid bearer token is needed", headers=_CHALLENGE)


def bearer_token(value: str | None) -> str:
    """The token in an Authorization header. Raises Rejection 401."""
    found = _BEARER.match(value) if value is not None else None
    if found is None:
        raise unauthorized()
    return found[1]


def refuse_query_token(query: str) -> None:
    """Raise Rejection 400 for a credential in the query: it would end up in logs and referrers (attacks H23)."""
    if _QUERY.search(query):
        raise Rejection(
            400, INVALID_REQUEST, "a token belongs into the Authorization header, never into the URL"
        )


class TokenSet:
    """Who may come in: digests of tokens, each with its principal.

    Raises ValueError for a token that is too short, too long, too uniform or not one word.
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        for token in tokens:
            _check_strength(token)
        self._principals = [(_digest(token), principal) for token, principal in tokens.items()]

    def principal(self, token: str) -> str | None:
        """Whose token this is. Takes the same time for every token."""
        digest = _digest(token)
        found = None
        for known, principal in self._principals:
            if hmac.compare_digest(known, digest):
                found = principal
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _check_strength(token: str) -> None:
    if not _SHORTEST <= len(token) <= _LONGEST:
        raise ValueError(f"a token of {len(token)} characters; the limit is {_SHORTEST} to {_LONGEST}")
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", token):
        raise ValueError("a token holds letters, digits and -._~+/ only")
    if len(set(token)) < _FEWEST_CHARACTERS:
        raise ValueError(
            f"a token with {len(set(token))} different characters; at least {_FEWEST_CHARACTERS} are needed"
        )
