"""Accept access tokens (JWT) as credentials of TCP clients, and describe the protected resource (RFC 9728).

A token that was verified is stored by its digest, so that the signature is checked once. Each request is compared with its audience
and the end of its validity. The principal of a token stands for its issuer, its subject and what its scopes permit: two tokens of
one user with different rights are two principals, and none of them reaches the sessions of the other.
"""

import json
import re
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import attrs

from ...transports.http.gate import KeysNeeded
from ...validators.access_token import (
    BadAccessToken,
    ClaimRules,
    Claims,
    covers,
    looks_signed,
    read_claims,
    read_header,
)
from ...validators.rejection import INVALID_REQUEST, Rejection, retry_after
from ..config.access_token_settings import AccessTokenSettings
from ..core.grants import DERIVED, Grant, Roles
from .key_source import KeyLog, KeySource, now
from .signing_keys import verify

# The most tokens that are stored after their verification, and the most ends of validity.
_MOST_VERIFIED: Final = 4096
_MOST_ENDS: Final = 4096
# Characters of the digest in the name of a principal (base64url), of which each has 6 bits.
_NAME: Final = 22
_WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
# Paths that are repeated in metadata and challenges, without existence being checked.
_PLAIN_PATH: Final = re.compile(r"(?:/[A-Za-z0-9_.~-]{1,64}){0,8}/?\Z")


@attrs.frozen
class _Verified:
    """A token whose signature and claims were checked. `until` is in seconds since the epoch."""

    principal: str
    audience: tuple[str, ...]
    grants: tuple[Grant, ...]
    until: float


class AccessTokens:
    """The access tokens of one issuer (transports.http.gate.AccessTokens). `run` of `source` must be running.

    `roles` gets the grants of each principal that is admitted.
    """

    def __init__(self, settings: AccessTokenSettings, source: KeySource, roles: Roles, log: KeyLog) -> None:
        self._settings = settings
        self._source = source
        self._roles = roles
        self._log = log
        self._rules = ClaimRules(settings.issuer, settings.scope_claim, settings.skew)
        parts = urlsplit(settings.resource)
        self._origin, self._prefix = f"{parts.scheme}://{parts.netloc}", parts.path
        # By digest of the token, the least recently used first. Removed at the end of validity, over the limit, and when keys change.
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        # When tokens that were used stop being valid (seconds since the epoch, rounded up). Removed by `expire`.
        self._ends: set[int] = set()

    # ---- credentials

    def principal(self, token: str, path: str) -> str | None:
        """Return the principal of a token for a path, or None for one that is no JWT.

        Raises BadAccessToken, KeysNeeded where the key of the token may be published meanwhile, and Rejection 503 without any key.
        """
        if not looks_signed(token):
            return None
        if self._prefix and path.startswith(f"{self._prefix}/"):
            path = path.removeprefix(self._prefix)
        at, digest = now(), sha256(token.encode()).digest()
        found = self._verified.get(digest)
        if found is None:
            found = self._check(token, at)
            self._verified[digest] = found
            if len(self._verified) > _MOST_VERIFIED:
                self._verified.popitem(last=False)
        if not at < found.until:
            del self._verified[digest]
            raise BadAccessToken("expired")
        if not self._is_for(found.audience, path):
            raise BadAccessToken("audience")
        self._verified.move_to_end(digest)
        self._note_end(found.until)
        self._roles.admit(found.principal, found.grants)
        return found.principal

    def _check(self, token: str, at: float) -> _Verified:
        header = read_header(token, self._settings.algorithms)
        signed = verify(token, header, self._source.keys)
        if signed is None:
            if self._source.can_refresh:
                raise KeysNeeded(self._source.refreshed)
            if not self._source.keys:
                raise Rejection(
                    503,
                    INVALID_REQUEST,
                    "the keys of the issuer of access tokens cannot be read",
                    headers=retry_after(5),
                    reason="keys_unavailable",
                )
            raise BadAccessToken("unknown_key")
        if not signed:
            raise BadAccessToken("signature")
        claims = read_claims(token, self._rules, at)
        scopes = sorted(claims.scopes & self._settings.scopes.keys())
        grants = tuple(self._settings.scopes[scope] for scope in scopes)
        principal = self._name(claims, scopes, grants)
        self._log.info(
            "access_token_accepted",
            principal=principal,
            subject=claims.subject,
            client=claims.client,
            scopes=",".join(scopes),
        )
        return _Verified(principal, claims.audience, grants, claims.expires)

    def _name(self, claims: Claims, scopes: Iterable[str], grants: Iterable[Grant]) -> str:
        parts = [self._settings.issuer, claims.subject, *scopes, *map(_text_of, grants)]
        digest = sha256(json.dumps(parts).encode()).digest()
        return f"{DERIVED}jwt-{urlsafe_b64encode(digest).decode()[:_NAME]}"

    def _is_for(self, audience: Iterable[str], path: str) -> bool:
        if self._settings.audience:
            return not self._settings.audience.isdisjoint(audience)
        return covers(audience, self._settings.resource, path)

    def _note_end(self, until: float) -> None:
        self._ends.add(int(until) + 1)
        if len(self._ends) > _MOST_ENDS:
            # After an earlier end every open stream is checked again, and its end is noted again.
            self._ends.discard(max(self._ends))

    def expire(self, at: float) -> bool:
        """Return whether a token that was used has stopped being valid since the last call (seconds since the epoch)."""
        over = {end for end in self._ends if end <= at}
        self._ends -= over
        return bool(over)

    def drop(self) -> None:
        """Verify every token again, because the keys have changed."""
        self._verified.clear()

    # ---- the protected resource

    def challenge(self, path: str, error: str, description: str, scopes: Iterable[str] = ()) -> bytes:
        """Return the value of WWW-Authenticate for a path (RFC 6750 section 3, RFC 9728 section 5.1).

        The same for a path that does not exist, because it is sent without a credential.
        """
        fields = {"resource_metadata": f"{self._origin}{_WELL_KNOWN}{self._prefix}{_plain(path)}"}
        if error:
            fields |= {"error": error, "error_description": description}
        fields["scope"] = " ".join(scopes or self._settings.scopes)
        parameters = ", ".join(f'{name}="{value}"' for name, value in fields.items())
        return f"Bearer {parameters}".encode()

    def scopes_for(self, server: str) -> list[str]:
        """Return the scopes of which each permits the use of a server."""
        return [name for name, grant in self._settings.scopes.items() if grant.covers(server)]

    def metadata(self, path: str) -> bytes | None:
        """Return the metadata at a well-known path, None for another path. No path needs to exist."""
        if not path.startswith(_WELL_KNOWN):
            return None
        rest = path.removeprefix(_WELL_KNOWN)
        if self._prefix and (rest == self._prefix or rest.startswith(f"{self._prefix}/")):
            rest = rest.removeprefix(self._prefix)
        if rest and not _PLAIN_PATH.match(rest):
            return None
        found: Mapping[str, object] = {
            "resource": self._settings.resource + rest.removesuffix("/"),
            "authorization_servers": [self._settings.issuer],
            "scopes_supported": [*self._settings.scopes],
            "bearer_methods_supported": ["header"],
            "resource_name": "mcp-bridge",
        }
        return json.dumps(found).encode()

    @property
    def issuer(self) -> str:
        """Return the issuer."""
        return self._settings.issuer


def _plain(path: str) -> str:
    return path.removesuffix("/") if _PLAIN_PATH.match(path) else ""


def _text_of(grant: Grant) -> str:
    return repr((sorted(grant.servers), *attrs.astuple(grant)[1:]))
