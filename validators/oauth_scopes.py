"""Select the scopes of an authorization request (MCP 2026-07-28 basic/authorization, "Scope Selection Strategy")."""

import re
from collections.abc import Iterable
from typing import Final

# A scope token (RFC 6749 section 3.3). Longer ones, and more of them, are left out.
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}\Z")
MOST_SCOPES: Final = 128
# Requested only if the authorization server supports it (OpenID Connect Core 1.0 section 11).
OFFLINE_ACCESS: Final = "offline_access"

Scopes = tuple[str, ...]


def parse_scopes(text: str) -> Scopes:
    """Return the scopes of a `scope` parameter. Words that are no scope tokens are left out."""
    return only_scopes(text.split(" "))


def only_scopes(words: Iterable[str]) -> Scopes:
    """Return the words that are scope tokens, each once, at most MOST_SCOPES."""
    return tuple(dict.fromkeys(word for word in words if _SCOPE.match(word)))[:MOST_SCOPES]


def union(one: Iterable[str], other: Iterable[str]) -> Scopes:
    """Return the scopes of both, each once: first those of `one`, at most MOST_SCOPES."""
    return tuple(dict.fromkeys((*one, *other)))[:MOST_SCOPES]


def select_scopes(
    configured: Scopes, challenged: Scopes | None, supported: Scopes | None, of_server: Scopes | None
) -> Scopes:
    """Return the scopes to request, none if the authorization server shall decide.

    `challenged` are those of the WWW-Authenticate field, `supported` those of the protected resource, and `of_server` those
    of the authorization server; None stands for an absent list. Configured scopes replace those of the protected resource.
    """
    if configured:
        chosen = union(configured, challenged or ())
    elif challenged is not None:
        chosen = challenged
    else:
        chosen = supported or ()
    # Without it, many authorization servers issue no refresh token (MCP 2026-07-28 basic/authorization, "Refresh Tokens").
    if chosen and OFFLINE_ACCESS in (of_server or ()):
        chosen = union(chosen, (OFFLINE_ACCESS,))
    return chosen
