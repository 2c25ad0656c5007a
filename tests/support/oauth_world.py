"""An OAuth authorizer with a server, a user, a store, and a clock of the wall that tests set."""

from contextlib import asynccontextmanager

import attrs
import trio

from mcpbridged.bridge.config.oauth_settings import OAuth, OAuthSettings
from mcpbridged.bridge.oauth.authorizer import OAuthAuthorizer
from mcpbridged.bridge.oauth.entries import Credentials, RegisteredClient, client_key, credentials_key
from mcpbridged.bridge.oauth.store import CredentialStore, FileBackend
from mcpbridged.transports.client.http_client import HttpClient
from mcpbridged.transports.client.options import RemoteOptions
from mcpbridged.transports.client.ports import Challenge

from .authorization_server import User, authorization_server


class FakeLog:
    """A log that keeps its events, and counts hidden secrets."""

    def __init__(self):
        self.events = []
        self.hidden = []

    def info(self, event, **fields):
        # The log of a server of the daemon adds this field itself.
        assert "server" not in fields
        self.events.append((event, fields))

    debug = warning = error = info

    def hide(self, secrets):
        self.hidden += secrets

    def unhide(self, secrets):
        for one in secrets:
            self.hidden.remove(one)

    def names(self):
        return [event for event, _ in self.events]


@attrs.define(eq=False)
class World:
    """A server, a user, a store, and a clock of the wall that tests set."""

    server: object
    user: User
    store: CredentialStore
    folder: object
    now: float = 1_000_000.0
    log: FakeLog = attrs.field(factory=FakeLog)

    def authorizer(self, *, prompt=None, **keys):
        url = self.server.url
        settings = OAuthSettings(
            "remote", url, OAuth(**keys), secret_from=lambda source: f"content of {source}"
        )
        return OAuthAuthorizer(
            settings,
            self.store,
            lambda: HttpClient.for_discovery(RemoteOptions(url)),
            self.log,
            prompt=prompt,
            clock=lambda: self.now,
        )

    async def call(self, authorizer, do="", most=3):
        """Make a request as the HTTP client does. Return the status and the body."""
        async with HttpClient(RemoteOptions(self.server.url)) as client:
            for _ in range(most):
                used = await authorizer.headers()
                async with client.request("POST", f"{self.server.url}?do={do}", used, b"{}") as response:
                    status, body = response.status, (await response.read(1000)).decode()
                    challenge = Challenge(status, response.www_authenticate, self.server.url)
                if status not in (401, 403) or not await authorizer.renew(challenge, used):
                    break
            return status, body

    async def credentials(self, client=""):
        return await self.store.read(credentials_key(self.server.url, client), Credentials)

    async def registered(self):
        """Return the registered client."""
        return await self.store.read(client_key(self.server.origin), RegisteredClient)


@asynccontextmanager
async def oauth_world(folder):
    """Run a server, and yield a World whose store is in a folder."""
    async with authorization_server() as server, trio.open_nursery() as nursery:
        yield World(server, User(server, nursery), CredentialStore(FileBackend(folder), folder), folder)
        nursery.cancel_scope.cancel()
