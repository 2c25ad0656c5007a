"""The table [access_tokens]: which access tokens (JWT) of an authorization server are accepted, and what their scopes permit."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import attrs
from msgspec import Meta

from ..core.grants import ALL, Grant

_Text = Annotated[str, Meta(max_length=4096)]
# Algorithms with a public key (RFC 7518 section 3.1, RFC 8037).
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
DEFAULT_ALGORITHMS: Final[tuple[Algorithm, ...]] = ("ES256", "ES384", "RS256", "PS256", "EdDSA")
# A token of a scope (RFC 6749 section 3.3).
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}\Z")
# The most scopes that are configured.
_MOST_SCOPES: Final = 64
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_URL: Final = re.compile(r"https?://[\x21-\x7e]+\Z")


class BadAccessTokenTable(ValueError):
    """Raised for keys of [access_tokens] that cannot be used. `key` is the key that the text is about."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


@attrs.frozen
class Scope:
    """[access_tokens.scopes.SCOPE]: what a scope permits. A token with several scopes may use what one of them permits."""

    servers: Annotated[tuple[_Text, ...], Meta(description="The servers that may be used; * for all.")] = (
        ALL,
    )
    tools: Annotated[
        dict[Literal["allow", "deny"], tuple[_Text, ...]],
        Meta(
            description="Patterns of the tools that may be seen and called (allow), and of those that are hidden (deny)."
        ),
    ] = attrs.field(factory=dict[Literal["allow", "deny"], tuple[str, ...]])
    methods: Annotated[
        tuple[_Text, ...],
        Meta(description="Patterns of the methods whose requests may be sent, such as tools/*."),
    ] = (ALL,)
    read_only: Annotated[
        bool,
        Meta(
            description="Whether only requests that read, and tools that are annotated as read-only, are permitted."
        ),
    ] = False

    @property
    def grant(self) -> Grant:
        """Return what the scope permits."""
        return Grant(
            frozenset(self.servers),
            self.tools.get("allow", (ALL,)),
            self.tools.get("deny", ()),
            (),
            self.methods,
            self.read_only,
        )


@attrs.frozen
class AccessTokens:
    """[access_tokens]: access tokens (JWT) of an authorization server, over TCP."""

    issuer: Annotated[
        _Text,
        Meta(min_length=1, description="The issuer, a URL, exactly as the tokens have it in the claim iss."),
    ]
    resource: Annotated[
        _Text,
        Meta(
            min_length=1,
            description="The URL of the bridge as clients see it, such as https://mcp.example.org.",
        ),
    ]
    keys: Annotated[
        _Text,
        Meta(
            description="The keys of the issuer: the URL of a JWK Set, or a file with one or with a public key (PEM); empty for the URL in the metadata of the issuer."
        ),
    ] = ""
    ca_file: Annotated[
        _Text,
        Meta(
            description="Certificates (PEM) that are trusted for the issuer in addition to those of the system."
        ),
    ] = ""
    audience: Annotated[
        tuple[_Text, ...],
        Meta(
            max_length=16,
            description="Accepted values of the claim aud; empty for the resource and the URLs of its servers.",
        ),
    ] = ()
    algorithms: Annotated[
        tuple[Algorithm, ...], Meta(min_length=1, description="Accepted algorithms of signatures.")
    ] = DEFAULT_ALGORITHMS
    scope_claim: Annotated[
        _Text,
        Meta(min_length=1, description="The claim with the scopes: a text with spaces, or a list of texts."),
    ] = "scope"
    clock_skew_seconds: Annotated[
        int, Meta(ge=0, le=300, description="How far the clock of the issuer may differ (seconds).")
    ] = 60
    refresh_seconds: Annotated[
        int, Meta(ge=30, le=86400, description="How often the keys at a URL are requested (seconds).")
    ] = 600
    scopes: Annotated[dict[str, Scope], Meta(description="What each scope permits.")] = attrs.field(
        factory=dict[str, Scope]
    )


@attrs.frozen
class AccessTokenSettings:
    """What the daemon needs of [access_tokens]. `keys_url` is empty for the URL in the metadata, and for a file."""

    issuer: str
    resource: str
    keys_url: str
    keys_file: Path | None
    ca_file: str
    audience: frozenset[str]
    algorithms: tuple[str, ...]
    scope_claim: str
    skew: float
    refresh_seconds: float
    scopes: Mapping[str, Grant]


def check_table(table: AccessTokens) -> None:
    """Check the values that depend on each other or have a syntax of their own. Raises BadAccessTokenTable."""
    _check_url("issuer", table.issuer)
    _check_url("resource", table.resource)
    if table.resource.endswith("/") or "?" in table.resource:
        raise BadAccessTokenTable("resource", "must have no slash at its end, and no query")
    if table.keys and "://" in table.keys:
        _check_url("keys", table.keys)
    if not table.scopes:
        raise BadAccessTokenTable("scopes", "there is no scope, so that no token would permit anything")
    if len(table.scopes) > _MOST_SCOPES:
        raise BadAccessTokenTable("scopes", f"there are {len(table.scopes)}, and the limit is {_MOST_SCOPES}")
    for scope in table.scopes:
        if not _SCOPE.match(scope):
            raise BadAccessTokenTable("scopes", "a scope has visible ASCII characters, without quotes")


def _check_url(key: str, text: str) -> None:
    parts = urlsplit(text) if _URL.match(text) else None
    if parts is None or not parts.hostname or "#" in text or "@" in parts.netloc:
        raise BadAccessTokenTable(key, "must be a URL without user name and fragment")
    if key != "resource" and parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise BadAccessTokenTable(
            key, "must begin with https://, because a key that others could replace proves nothing"
        )


def settings_of(table: AccessTokens, base: Path) -> AccessTokenSettings:
    """Return the settings of a table that was checked. Relative paths begin at `base`."""
    is_url = "://" in table.keys
    return AccessTokenSettings(
        table.issuer,
        table.resource,
        table.keys if is_url else "",
        base / Path(table.keys).expanduser() if table.keys and not is_url else None,
        str(base / Path(table.ca_file).expanduser()) if table.ca_file else "",
        frozenset(table.audience),
        table.algorithms,
        table.scope_claim,
        table.clock_skew_seconds,
        table.refresh_seconds,
        {name: scope.grant for name, scope in table.scopes.items()},
    )
