"""Run the key source of the authorization server whose access tokens are accepted, under the present configuration."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from ...validators.http_head import Head
from ...validators.rejection import INVALID_REQUEST, Rejection
from ..config.access_token_settings import AccessTokenSettings
from ..core.grants import DERIVED, Roles
from ..log import LineLog

if TYPE_CHECKING:
    from ..oauth.access_tokens import AccessTokens
    from ..oauth.key_source import KeySource


class Issuer:
    """The accepted access tokens, if there are any. `on_changed` is called when tokens are, or are not, valid any more.

    The modules for access tokens, and joserfc, are imported with the first table [access_tokens].
    """

    def __init__(self, roles: Roles, log: LineLog, on_changed: Callable[[], None]) -> None:
        self._roles = roles
        self._log = log
        self._on_changed = on_changed
        self._settings: AccessTokenSettings | None = None
        self._tokens: AccessTokens | None = None
        self._scope = trio.CancelScope()

    def current(self) -> "AccessTokens | None":
        """Return the accepted access tokens, or None."""
        return self._tokens

    def use(self, settings: AccessTokenSettings | None, nursery: trio.Nursery) -> None:
        """Accept access tokens by these settings from now on. With other settings each token is verified again."""
        if settings == self._settings:
            return
        self._settings = settings
        self._scope.cancel()
        self._scope = trio.CancelScope()
        self._tokens = None
        if settings is not None:
            from ..oauth.access_tokens import AccessTokens  # noqa: PLC0415 - see the docstring of the class
            from ..oauth.key_source import KeySource  # noqa: PLC0415 - likewise

            source = KeySource(settings, self._log, self._on_keys)
            # At once, so that the first client waits for the keys and is not refused.
            self._tokens = AccessTokens(settings, source, self._roles, self._log)
            nursery.start_soon(self._run, source, self._scope)

    @staticmethod
    async def _run(source: "KeySource", scope: trio.CancelScope) -> None:
        with scope:
            await source.run()

    def _on_keys(self) -> None:
        if self._tokens is not None:
            self._tokens.drop()
        self._on_changed()

    def end_expired(self) -> bool:
        """Return whether an access token that was used has expired since the last call."""
        return self._tokens is not None and self._tokens.expire(time.time())

    def metadata(self, path: str) -> bytes | None:
        """Return the metadata of the protected resource at a path of OAuth discovery, or None."""
        return None if self._tokens is None else self._tokens.metadata(path)

    def refusal(self, head: Head, principal: str, server: str) -> Rejection:
        """Return the Rejection of a principal that has no right to a server."""
        text = f"the token of {principal!r} has no right to {server!r}"
        if self._tokens is None or not principal.startswith(DERIVED):
            return Rejection(403, INVALID_REQUEST, text, reason="server_denied")
        challenge = self._tokens.challenge(
            head.path, "insufficient_scope", "another scope is needed", self._tokens.scopes_for(server)
        )
        return Rejection(
            403,
            INVALID_REQUEST,
            text,
            headers=((b"WWW-Authenticate", challenge),),
            reason="insufficient_scope",
        )
