"""Obtain, refresh and revoke tokens for one remote server.

A client is, in this order: the configured one, the one of a Client ID Metadata Document, or one that is registered
dynamically (MCP 2026-07-28 basic/authorization/client-registration). Each belongs to one issuer and is used at no other.
"""

import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Protocol

import attrs
import msgspec
import trio

from ...transports.client.ports import Unreachable
from ...validators.oauth_challenge import BearerChallenge
from ...validators.oauth_messages import (
    Registration,
    Tokens,
    authorization_url,
    error_response,
    pkce_challenge,
    redirected_code,
    registration_request,
    registration_response,
    token_response,
)
from ...validators.oauth_metadata import CODE_GRANT, ServerMetadata
from ...validators.oauth_refusal import ErrorAnswer, OAuthRefusal, shown
from ...validators.oauth_scopes import Scopes, select_scopes, union
from ...validators.remote_url import RemoteUrl
from ..config.oauth_settings import OAuthSettings
from .client_auth import (
    PUBLIC,
    Authentication,
    Client,
    configured_client,
    method_of_registered,
    method_to_register,
    restored_client,
)
from .discovery import Discovered, discover
from .entries import Credentials, RegisteredClient, client_key
from .exchange import Exchange
from .loopback import DEFAULT_REDIRECT, Loopback
from .store import CredentialStore

# How long a user may take for a login (seconds).
LOGIN_SECONDS: Final = 600.0
_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# A secret that expires so soon is not used for a new login (seconds).
_SECRET_MARGIN: Final = 3600.0
# Errors of a token request that mean that the client is not registered (any more), and that the grant is used up.
UNKNOWN_CLIENT: Final = frozenset({"invalid_client", "unauthorized_client"})
USED_UP: Final = frozenset({"invalid_grant", "invalid_client", "unauthorized_client"})
# Errors that may be over at the next attempt. An empty code is a response without one, such as that of a proxy.
TEMPORARY: Final = frozenset({"", "server_error", "slow_down", "temporarily_unavailable"})


class Prompt(Protocol):
    """The user who can follow a link."""

    def show(self, url: str) -> None:
        """Show the link of a login. The URL has no control characters."""
        ...

    async def typed(self, accept: Callable[[str], str]) -> str:
        """Return what `accept` returns for a redirect URL that the user types. Waits forever where nothing can be typed.

        Raises OAuthRefusal.
        """
        ...


@attrs.frozen
class Flow:
    """The requests of one client at one server. `server` is its URL. All methods raise OAuthRefusal and Unreachable.

    Methods that need a secret raise BadCredential and BadKey as well, and those that use the store StoreFault.
    """

    exchange: Exchange
    server: RemoteUrl
    settings: OAuthSettings
    store: CredentialStore
    clock: Callable[[], float] = time.time

    async def obtain(
        self, challenge: BearerChallenge, previous: Credentials | None, prompt: Prompt | None
    ) -> Credentials:
        """Return new credentials. `previous` are the former ones, also if their tokens are used up.

        The grant authorization_code needs a prompt.
        """
        table = self.settings.table
        stored = "" if previous is None else previous.issuer
        found = await discover(
            self.exchange,
            self.server,
            challenge,
            # A client that was registered by hand belongs to the issuer that it was used at first.
            required=table.issuer or (stored if table.client_id else ""),
            stored=stored,
            grant=table.grant,
        )
        scopes = select_scopes(table.scopes, challenge.scopes, found.scopes, found.metadata.scopes)
        if previous is not None and previous.issuer == found.metadata.issuer:
            kept = () if table.scopes else previous.requested
            scopes = union(union(kept, scopes), previous.wanted)
        if table.grant == CODE_GRANT:
            if prompt is None:
                raise OAuthRefusal("a login needs a user who can follow a link")
            return await self._by_code(found, scopes, prompt)
        client = configured_client(self.settings, found.metadata)
        form = {"resource": found.resource, **await self._own_grant(scopes)}
        return await self._credentials(found, client, scopes, form)

    async def refreshed(self, former: Credentials) -> Credentials:
        """Return credentials with a fresh token, from the refresh token or from the client's own credentials.

        Raises ErrorAnswer with one of the codes USED_UP if only a login helps.
        """
        form = {"resource": former.resource}
        if former.refresh_token:
            form |= {"grant_type": "refresh_token", "refresh_token": former.refresh_token}
        else:
            form |= await self._own_grant(former.requested)
        client = restored_client(self.settings, former.client_id, former.auth_method, former.secret)
        since, tokens = await self._token(former.token_endpoint, former.issuer, client, None, form)
        return msgspec.structs.replace(
            former,
            obtained_at=since,
            expires_at=_expiry(since, tokens),
            access_token=tokens.access_token,
            # A server that does not rotate refresh tokens may omit it (RFC 6749 section 6).
            refresh_token=tokens.refresh_token or former.refresh_token,
            scopes=former.scopes if tokens.scopes is None else tokens.scopes,
        )

    async def _own_grant(self, scopes: Scopes) -> dict[str, str]:
        """Return the parameters of a grant that needs no user (RFC 6749 section 4.4, RFC 7523 section 2.1)."""
        scope = {"scope": " ".join(scopes)} if scopes else {}
        table = self.settings.table
        if not table.assertion:
            return {"grant_type": "client_credentials", **scope}
        assertion = await trio.to_thread.run_sync(self.settings.secret_from, table.assertion)
        return {"grant_type": _JWT_BEARER, "assertion": assertion.strip(), **scope}

    async def revoke(self, former: Credentials) -> bool:
        """Revoke the tokens (RFC 7009), and return whether the server could do it."""
        if not former.revocation_endpoint:
            return False
        client = restored_client(self.settings, former.client_id, former.auth_method, former.secret)
        tokens = {"refresh_token": former.refresh_token, "access_token": former.access_token}
        revoked = False
        for hint, token in tokens.items():
            if not token:
                continue
            authentication = await self._authentication(client, former.issuer, None)
            form = {"token": token, "token_type_hint": hint}
            status, data = await self.exchange.post_form(former.revocation_endpoint, form, authentication)
            # Many servers cannot revoke access tokens, which then expire on their own.
            if status != 200 and not revoked:
                raise error_response(status, data, "the authorization server has not revoked the token")
            revoked = True
        return revoked

    async def _by_code(self, found: Discovered, scopes: Scopes, prompt: Prompt) -> Credentials:
        metadata = found.metadata
        registered = await self._registered(metadata, scopes)
        async with self._listening(registered) as (loopback, registered):
            client = await self._client(metadata, scopes, loopback.redirect_uri, registered)
            verifier, state = secrets.token_urlsafe(64), secrets.token_urlsafe(32)
            url = authorization_url(
                metadata,
                client_id=client.client_id,
                redirect_uri=loopback.redirect_uri,
                state=state,
                challenge=pkce_challenge(verifier),
                resource=found.resource,
                scopes=scopes,
            )

            def accept(query: str) -> str:
                return redirected_code(query, state, metadata)

            prompt.show(url)
            code = ""
            with trio.move_on_after(LOGIN_SECONDS):
                code = await _first(lambda: loopback.wait(accept), lambda: prompt.typed(accept))
        if not code:
            raise OAuthRefusal(f"the login was not completed within {LOGIN_SECONDS:g} seconds")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": loopback.redirect_uri,
            "code_verifier": verifier,
            "resource": found.resource,
        }
        return await self._credentials(found, client, scopes, form)

    async def _registered(self, metadata: ServerMetadata, scopes: Scopes) -> RegisteredClient | None:
        """Return the client that was registered before, if it can be used for these scopes."""
        if self.settings.table.client_id or self._document(metadata):
            return None
        known = await self.store.read(client_key(metadata.issuer), RegisteredClient)
        if known is None:
            return None
        expired = known.secret_expires_at and known.secret_expires_at < self.clock() + _SECRET_MARGIN
        sufficient = known.scopes is None or set(scopes) <= set(known.scopes)
        return known if sufficient and not expired else None

    def _document(self, metadata: ServerMetadata) -> str:
        """Return the URL of the metadata document of the client, if the server supports it."""
        return self.settings.table.client_metadata_url if metadata.takes_documents else ""

    @asynccontextmanager
    async def _listening(
        self, registered: RegisteredClient | None
    ) -> AsyncGenerator[tuple[Loopback, RegisteredClient | None]]:
        """Listen for the redirect, at the port of the registered client if it is free."""
        configured = self.settings.table.redirect_uri or DEFAULT_REDIRECT
        async with AsyncExitStack() as stack:
            if registered is not None:
                try:
                    loopback = await stack.enter_async_context(Loopback.open(registered.redirect_uri))
                except OSError:
                    registered = None
                else:
                    yield loopback, registered
                    return
            try:
                loopback = await stack.enter_async_context(Loopback.open(configured))
            except OSError as fault:
                raise OAuthRefusal(
                    f"cannot listen at the redirect URI {configured}: {fault.strerror}"
                ) from None
            yield loopback, registered

    async def _client(
        self, metadata: ServerMetadata, scopes: Scopes, redirect_uri: str, known: RegisteredClient | None
    ) -> Client:
        if self.settings.table.client_id:
            return configured_client(self.settings, metadata)
        if document := self._document(metadata):
            return Client(document, PUBLIC)
        if known is None:
            known = await self._register(metadata, scopes, redirect_uri)
        return restored_client(self.settings, known.client_id, known.auth_method, known.secret)

    async def _register(
        self, metadata: ServerMetadata, scopes: Scopes, redirect_uri: str
    ) -> RegisteredClient:
        if not metadata.registration_endpoint:
            raise OAuthRefusal(
                f"the authorization server {shown(metadata.issuer)} does not register clients; register one there and configure"
                " its client_id in [servers.NAME.oauth]"
            )
        try:
            found = await self._registration(metadata, scopes, redirect_uri)
        except ErrorAnswer as fault:
            if fault.code != "invalid_client_metadata" or not scopes:
                raise
            # Some servers register only scopes of their own, and others only clients with the scopes that they request.
            scopes = ()
            found = await self._registration(metadata, scopes, redirect_uri)
        method = method_of_registered(found.auth_method, found.secret, metadata)
        # A server may limit a client to the scopes of its registration, whether or not it repeats them.
        limited = found.scopes if found.scopes is not None else scopes or None
        registered = RegisteredClient(
            found.client_id, redirect_uri, method, found.secret, found.secret_expires_at, limited
        )
        await self.store.write(client_key(metadata.issuer), registered)
        return registered

    async def _registration(
        self, metadata: ServerMetadata, scopes: Scopes, redirect_uri: str
    ) -> Registration:
        wanted = registration_request(metadata, redirect_uri, scopes, method_to_register(metadata))
        status, data = await self.exchange.post_json(metadata.registration_endpoint, wanted)
        return registration_response(status, data, redirect_uri)

    async def _credentials(
        self, found: Discovered, client: Client, scopes: Scopes, form: Mapping[str, str]
    ) -> Credentials:
        metadata = found.metadata
        try:
            since, tokens = await self._token(
                metadata.token_endpoint, metadata.issuer, client, metadata.algorithms, form
            )
        except ErrorAnswer as fault:
            if fault.code in UNKNOWN_CLIENT and client.client_id != self.settings.client:
                await self.store.erase(client_key(metadata.issuer))
            raise
        registered = client.client_id != self.settings.client
        return Credentials(
            metadata.issuer,
            found.resource,
            client.client_id,
            metadata.token_endpoint,
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
            obtained_at=since,
            expires_at=_expiry(since, tokens),
            # An absent scope is that of the request (RFC 6749 section 5.1).
            scopes=scopes if tokens.scopes is None else tokens.scopes,
            requested=scopes,
            auth_method=client.method,
            secret=client.secret() if registered and client.secret is not None else "",
            revocation_endpoint=metadata.revocation_endpoint,
        )

    async def _token(
        self,
        endpoint: str,
        issuer: str,
        client: Client,
        algorithms: tuple[str, ...] | None,
        form: Mapping[str, str],
    ) -> tuple[float, Tokens]:
        """Return the time before the request, and its tokens."""
        authentication = await self._authentication(client, issuer, algorithms)
        since = self.clock()
        status, data = await self.exchange.post_form(endpoint, form, authentication)
        if status >= 500:
            raise Unreachable(
                f"the authorization server {shown(issuer)} has responded with status {status}", sent=True
            )
        return since, token_response(status, data)

    async def _authentication(
        self, client: Client, issuer: str, algorithms: tuple[str, ...] | None
    ) -> Authentication:
        # In a thread, because a secret may be printed by a helper program.
        return await trio.to_thread.run_sync(client.authentication, issuer, algorithms)


async def _first(*waiting: Callable[[], Awaitable[str]]) -> str:
    """Return the first result, and cancel the others. Raises OAuthRefusal."""
    sender, receiver = trio.open_memory_channel[str | OAuthRefusal](len(waiting))

    async def wait(one: Callable[[], Awaitable[str]]) -> None:
        try:
            sender.send_nowait(await one())
        except OAuthRefusal as fault:
            sender.send_nowait(fault)

    async with trio.open_nursery() as nursery:
        for one in waiting:
            nursery.start_soon(wait, one)
        result = await receiver.receive()
        nursery.cancel_scope.cancel()
    if isinstance(result, OAuthRefusal):
        raise result
    return result


def _expiry(since: float, tokens: Tokens) -> float | None:
    return None if tokens.valid_seconds is None else since + tokens.valid_seconds
