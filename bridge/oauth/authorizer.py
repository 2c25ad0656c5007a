"""The credentials of one remote server, as the HTTP client uses them (`transports.client.ports.Authorizer`).

One login or refresh runs at a time, in all processes of a user together: the others wait for the lock of the store and then
use the result. A refresh token is therefore used once, which matters where the authorization server rotates them.
"""

import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

import attrs
import msgspec
import trio

from ...transports.client.ports import Challenge, LoginRequired, Unreachable
from ...transports.options import Headers
from ...transports.ports import Log
from ...validators.oauth_challenge import BearerChallenge, bearer_challenge
from ...validators.oauth_metadata import CODE_GRANT
from ...validators.oauth_refusal import ErrorAnswer, OAuthRefusal
from ...validators.oauth_scopes import union
from ...validators.oauth_urls import configured_server
from ..config.credentials import BadCredential
from ..config.oauth_settings import OAuthSettings
from ..redaction import SHORTEST_SECRET
from .client_auth import BadKey
from .entries import Credentials, client_key, credentials_key
from .exchange import DiscoveryClient, Exchange
from .flow import TEMPORARY, USED_UP, Flow, Prompt
from .store import CredentialStore, StoreFault

# A token is refreshed this long before it expires (seconds), or after nine tenths of its validity if that is later.
_EARLY_SECONDS: Final = 60.0
_EARLY_SHARE: Final = 0.1
# Logins or refreshes that a server can cause within a time by refusing tokens (seconds).
_MOST_RENEWALS: Final = 4
_RENEWAL_SECONDS: Final = 60.0
# A failed refresh is not repeated before (seconds), and a refresh takes at most so long (seconds).
_RETRY_SECONDS: Final = 5.0
_REFRESH_SECONDS: Final = 30.0
# How long a program without a prompt waits for the login or refresh of another process (seconds).
_LOCK_SECONDS: Final = 30.0
# A store that does not report changes is read again after this time (seconds).
_REREAD_SECONDS: Final = 5.0

# What keeps from obtaining credentials, beside the network.
_FAULTS: Final = (OAuthRefusal, StoreFault, BadCredential, BadKey)

OpenClient = Callable[[], AbstractAsyncContextManager[DiscoveryClient]]


class SecretLog(Log, Protocol):
    """A log that redacts secrets."""

    def hide(self, secrets: Iterable[str]) -> None:
        """Redact these secrets from now on."""
        ...

    def unhide(self, secrets: Iterable[str]) -> None:
        """Undo one `hide` of these secrets."""
        ...


@attrs.frozen(eq=False)
class _Failure:
    """Why an attempt to obtain credentials has failed. Each attempt has another one."""

    reason: str


class OAuthAuthorizer:
    """Credentials of one client at one server.

    `open_client` opens an HTTP client for discoveries. With a `prompt` a login runs here; without one it needs the command
    `mcp-bridge login`.
    """

    def __init__(
        self,
        settings: OAuthSettings,
        store: CredentialStore,
        open_client: OpenClient,
        log: SecretLog,
        *,
        prompt: Prompt | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._store = store
        self._open_client = open_client
        self._log = log
        self._prompt = prompt
        self._clock = clock
        self._key = credentials_key(settings.url, settings.client)
        self._lock = trio.Lock()
        # What the store had at the last reading, and its mark then.
        self._credentials: Credentials | None = None
        self._mark: object = object()
        self._read_at = float("-inf")
        self._hidden: tuple[str, ...] = ()
        # The access token of the last refresh. If the server refuses it, another refresh does not help.
        self._refreshed_token = ""
        # When and why a refresh has failed for reasons of the network.
        self._unreachable: tuple[float, str] | None = None
        # The last failure. Its reason was logged.
        self._failure: _Failure | None = None
        # When the server has caused a login or refresh.
        self._renewals: deque[float] = deque(maxlen=_MOST_RENEWALS)

    async def headers(self) -> Headers:
        """Return the Authorization field, none without a token. Refreshes a token that expires.

        Raises LoginRequired and Unreachable.
        """
        found: Credentials | None = None
        try:
            found = await self._current()
            if found is not None and self._expires(found) and self._can_refresh(found):
                found = await self._refresh_once(found)
        except _FAULTS as fault:
            raise self._failed(fault) from None
        except Unreachable:
            # The token may be valid for some more seconds.
            if found is None or found.expires_at is None or self._clock() >= found.expires_at:
                raise
        return _fields(found)

    async def renew(self, challenge: Challenge, used: Headers) -> bool:
        """Return whether there are other credentials than the `used`, which the server has refused.

        Raises LoginRequired and Unreachable.
        """
        bearer = bearer_challenge(challenge.www_authenticate)
        if challenge.status == 403 and bearer.error != "insufficient_scope":
            return False
        before = self._failure
        try:
            async with self._exclusive():
                found = await self._read()
                if _fields(found) not in ((), used):
                    # Another task or process was faster.
                    return True
                if self._failure is not None and self._failure is not before:
                    # Requests that waited for a login which has failed do not begin others, one after the other.
                    raise LoginRequired(self._lacking(self._failure.reason))
                if challenge.status == 403:
                    return await self._step_up(found, bearer)
                return await self._replace(found, bearer)
        except _FAULTS as fault:
            raise self._failed(fault) from None
        except Unreachable as fault:
            # The request itself was refused, and is certainly not carried out.
            raise Unreachable(fault.reason) from None

    async def log_in(self, challenge: BearerChallenge) -> Credentials:
        """Obtain new credentials whatever the store has. The grant authorization_code needs a prompt.

        Raises LoginRequired without a prompt, OAuthRefusal, Unreachable, StoreFault, BadCredential and BadKey.
        """
        async with self._exclusive():
            return await self._obtain(await self._read(), challenge)

    async def log_out(self) -> tuple[bool, bool]:
        """Erase the credentials. Returns whether there were any, and whether the server has revoked them.

        Raises StoreFault.
        """
        async with self._exclusive():
            found = await self._read()
            if found is None:
                return False, False
            await self._store.erase(self._key)
            await self._store.erase(client_key(found.issuer))
            self._keep(None)
        try:
            async with self._open_client() as client:
                return True, await self._flow(client).revoke(found)
        except (Unreachable, *_FAULTS) as fault:
            self._log.warning("oauth_not_revoked", reason=str(fault))
            return True, False

    @asynccontextmanager
    async def _exclusive(self) -> AsyncGenerator[None]:
        """Keep other tasks and processes from a login, a refresh and a logout. Raises StoreFault."""
        # A login of another process may take minutes. A request of a program that cannot log in itself does not wait for it.
        deadline = trio.current_time() + (math.inf if self._prompt is not None else _LOCK_SECONDS)
        async with self._lock, self._store.locked(self._key, deadline - trio.current_time()):
            yield

    def _flow(self, client: DiscoveryClient) -> Flow:
        server = configured_server(self._settings.url, plain_http=self._settings.plain_http)
        return Flow(Exchange(client), server, self._settings, self._store, self._clock)

    async def _current(self) -> Credentials | None:
        """Return the stored credentials, which are read again after a change."""
        mark = self._store.mark()
        if mark is None:
            # Each reading runs a program. A token that the server accepts needs none.
            lacking = self._credentials is None or not self._credentials.access_token
            changed = lacking and trio.current_time() - self._read_at > _REREAD_SECONDS
        else:
            changed = mark != self._mark
        return await self._read() if changed else self._credentials

    async def _read(self) -> Credentials | None:
        # The mark from before the reading: a later change is then noticed, too early at worst.
        self._mark, self._read_at = self._store.mark(), trio.current_time()
        self._keep(await self._store.read(self._key, Credentials))
        return self._credentials

    async def _write(self, credentials: Credentials) -> None:
        await self._store.write(self._key, credentials)
        self._keep(credentials)

    def _keep(self, credentials: Credentials | None) -> None:
        tokens = (
            ()
            if credentials is None
            else (credentials.access_token, credentials.refresh_token, credentials.secret)
        )
        hidden = tuple(token for token in tokens if len(token) >= SHORTEST_SECRET)
        self._log.hide(hidden)
        self._log.unhide(self._hidden)
        self._credentials, self._hidden = credentials, hidden

    def _expires(self, found: Credentials) -> bool:
        if not found.access_token or found.expires_at is None:
            return False
        # A clock that is wrong delays this at most until the server refuses the token.
        early = min(_EARLY_SECONDS, _EARLY_SHARE * (found.expires_at - found.obtained_at))
        return self._clock() >= found.expires_at - early

    def _can_refresh(self, found: Credentials | None) -> bool:
        """Return whether a new token needs no user."""
        return found is not None and bool(found.refresh_token or self._settings.table.grant != CODE_GRANT)

    async def _refresh_once(self, former: Credentials) -> Credentials | None:
        async with self._exclusive():
            found = await self._read()
            if found is None or found.access_token != former.access_token:
                return found
            if self._unreachable is not None and trio.current_time() - self._unreachable[0] < _RETRY_SECONDS:
                # Requests that waited for the lock meanwhile fail together, and not one after the other.
                raise Unreachable(self._unreachable[1])
            try:
                return await self._refreshed(found)
            except Unreachable as fault:
                self._unreachable = trio.current_time(), fault.reason
                raise Unreachable(fault.reason) from None

    async def _refreshed(self, former: Credentials) -> Credentials:
        """Return refreshed credentials, or credentials without tokens if only a login helps."""
        # A refresh that was sent must be completed: a server that rotates refresh tokens accepts the former one only once.
        with trio.move_on_after(_REFRESH_SECONDS, shield=True):
            try:
                async with self._open_client() as client:
                    fresh = await self._flow(client).refreshed(former)
            except ErrorAnswer as fault:
                if fault.code in TEMPORARY:
                    raise Unreachable(str(fault), sent=True) from None
                if fault.code not in USED_UP:
                    raise
                self._log.warning("oauth_refresh_refused", reason=str(fault))
                fresh = msgspec.structs.replace(former, access_token="", refresh_token="", expires_at=None)
            else:
                # First of all, because a server that rotates refresh tokens has made the former one invalid.
                await self._write(fresh)
                self._refreshed_token = fresh.access_token
                self._log.info("oauth_token_refreshed")
                return fresh
            await self._write(fresh)
            return fresh
        raise Unreachable(
            f"the authorization server has not responded within {_REFRESH_SECONDS:g} seconds", sent=True
        )

    def _count_renewal(self) -> None:
        """Count a login or refresh that the server causes. Raises LoginRequired over the limit, with the last reason."""
        now = trio.current_time()
        if len(self._renewals) == _MOST_RENEWALS and now - self._renewals[0] < _RENEWAL_SECONDS:
            reason = f"the server has refused {_MOST_RENEWALS} tokens within {_RENEWAL_SECONDS:g} seconds"
            raise LoginRequired(self._lacking(reason if self._failure is None else self._failure.reason))
        self._renewals.append(now)

    async def _replace(self, found: Credentials | None, bearer: BearerChallenge) -> bool:
        """Replace credentials that the server has refused with 401."""
        if found is not None and found.refresh_token and found.access_token != self._refreshed_token:
            self._count_renewal()
            found = await self._refreshed(found)
            if found.access_token:
                return True
        if self._can_obtain:
            self._count_renewal()
        await self._obtain(found, bearer)
        return True

    async def _step_up(self, found: Credentials | None, bearer: BearerChallenge) -> bool:
        """Obtain credentials for more scopes (MCP 2026-07-28 basic/authorization, "Step-Up Authorization Flow")."""
        needed = bearer.scopes or ()
        if found is None or set(needed) <= set(found.requested):
            # Another login for the same scopes would have the same result.
            return False
        wanted = msgspec.structs.replace(found, wanted=union(found.wanted, needed))
        if not self._can_obtain:
            await self._write(wanted)
            raise LoginRequired(
                f"the server requires the additional scopes {' '.join(needed)}; login required: {self._command}"
            )
        self._count_renewal()
        await self._obtain(wanted, bearer)
        return True

    @property
    def _can_obtain(self) -> bool:
        return self._prompt is not None or self._settings.table.grant != CODE_GRANT

    @property
    def _command(self) -> str:
        return f"run `mcp-bridge login {self._settings.name}`"

    async def _obtain(self, previous: Credentials | None, challenge: BearerChallenge) -> Credentials:
        if not self._can_obtain:
            raise LoginRequired(f"{self._settings.name}: login required: {self._command}")
        async with self._open_client() as client:
            fresh = await self._flow(client).obtain(challenge, previous, self._prompt)
        await self._write(fresh)
        self._log.info("oauth_token_obtained", issuer=fresh.issuer)
        return fresh

    def _failed(self, fault: Exception) -> LoginRequired:
        reason = str(fault)
        if self._failure is None or reason != self._failure.reason:
            # Once, and not for each request.
            self._log.warning("oauth_failed", reason=reason)
        self._failure = _Failure(reason)
        return LoginRequired(self._lacking(reason))

    def _lacking(self, reason: str) -> str:
        return f"{self._settings.name}: no credentials: {reason}; login required: {self._command}"


def _fields(found: Credentials | None) -> Headers:
    if found is None or not found.access_token:
        return ()
    return ((b"Authorization", b"Bearer " + found.access_token.encode()),)
