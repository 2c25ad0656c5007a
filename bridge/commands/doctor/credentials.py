"""Check the named tokens and the issuer of access tokens: what ends, what never ends, what is too wide, what cannot be read."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from ....validators.counted import counted
from ...config.access_token_settings import AccessTokenSettings
from ...config.addresses import is_loopback_host
from ...config.settings import Settings, TokenConfig
from ...core.grants import UNRESTRICTED
from .finding import ERROR, OK, WARNING, Finding

# A token that expires within this time is reported.
_SOON: Final = timedelta(days=14)
# How long a token is valid after the line that ends or prolongs its validity.
_VALID: Final = timedelta(days=90)
# Time for the metadata and the keys of the issuer (seconds).
_ISSUER_SECONDS: Final = 20.0


def check_credentials(settings: Settings) -> Iterator[Finding]:
    """Yield the findings about all credentials. Requests the keys of the issuer, if there is one."""
    yield from check_tokens(settings, datetime.now(UTC))
    if settings.access_tokens is not None:
        yield from check_transport(settings, settings.access_tokens)
        yield issuer_finding(settings.access_tokens, keys_fault(settings.access_tokens))


def check_tokens(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Yield the findings about the named tokens."""
    for token in settings.tokens:
        yield from _expiry(token, now)
    several = settings.own_servers > 1
    for token in settings.tokens:
        if several and token.grant == UNRESTRICTED:
            yield Finding(
                WARNING,
                f"tokens.{token.name}: it may use every tool of all {settings.own_servers} servers",
                f"name the servers that its client needs: add to [tokens.{token.name}], for example",
                (f'servers = ["{settings.servers[0].name}"]', "mcp-bridge reload"),
            )


def _expiry(token: TokenConfig, now: datetime) -> Iterator[Finding]:
    if token.expires is None:
        # A token in a file is replaced there, and a certificate has an end of its own.
        if token.sha256:
            yield Finding(
                WARNING,
                f"tokens.{token.name}: it never expires",
                f"limit its validity: add to [tokens.{token.name}]",
                (_expires(now), "mcp-bridge reload"),
            )
        return
    shown = token.expires.isoformat(timespec="minutes")
    if token.expires <= now:
        yield Finding(
            WARNING,
            f"tokens.{token.name}: it expired at {shown}",
            "revoke it",
            (f"mcp-bridge token revoke {token.name}", "mcp-bridge reload"),
        )
    elif token.expires - now < _SOON:
        left = counted((token.expires - now).days, "day")
        yield Finding(
            WARNING,
            f"tokens.{token.name}: it expires in {left}, at {shown}",
            f"give its client another token, and change in [tokens.{token.name}]",
            (f"mcp-bridge token rotate {token.name}", _expires(now), "mcp-bridge reload"),
        )


def _expires(now: datetime) -> str:
    return f"expires = {(now + _VALID).strftime('%Y-%m-%dT%H:%M:%SZ')}"


def check_transport(settings: Settings, tokens: AccessTokenSettings) -> Iterator[Finding]:
    """Yield the finding about access tokens that are sent without encryption."""
    host = tokens.resource.partition("://")[2].partition("/")[0].rpartition(":")[0]
    plain = tokens.resource.startswith("http://")
    if plain and not is_loopback_host((host or tokens.resource.partition("://")[2]).strip("[]")):
        yield Finding(
            WARNING,
            f"access_tokens: resource: clients send their tokens to {tokens.resource} without encryption",
            "use https: TLS of listen.tls_cert, or of a reverse proxy",
        )
    elif settings.port is not None and not is_loopback_host(settings.host) and not settings.tls_certificate:
        yield Finding(
            WARNING,
            f"access_tokens: other machines reach {settings.host} without TLS, except through trusted_proxies",
            "let only the proxy reach the port: a loopback address for listen.http, or a firewall",
        )


def keys_fault(tokens: AccessTokenSettings) -> str:
    """Return why the keys of the issuer cannot be read; empty if they can. Blocks."""
    import trio  # noqa: PLC0415 - only with access tokens

    from ...oauth.key_source import KeySource  # noqa: PLC0415 - likewise

    async def read() -> str:
        with trio.move_on_after(_ISSUER_SECONDS):
            return await KeySource(tokens, _NoLog(), lambda: None).read_once()
        return f"no response within {_ISSUER_SECONDS:g} s"

    return trio.run(read)


def issuer_finding(tokens: AccessTokenSettings, fault: str) -> Finding:
    """Return the finding about the issuer, whose keys cannot be read for this reason, or can."""
    if not fault:
        return Finding(OK, f"access_tokens: the keys of {tokens.issuer} can be read")
    return Finding(
        ERROR,
        f"access_tokens: the keys of {tokens.issuer} cannot be read: {fault}",
        "correct issuer, keys or ca_file in [access_tokens], or make the issuer reachable from this machine",
    )


class _NoLog:
    """Drops what the daemon logs."""

    def info(self, event: str, **fields: object) -> None:
        """Drop an event."""

    def warning(self, event: str, **fields: object) -> None:
        """Drop an event."""
