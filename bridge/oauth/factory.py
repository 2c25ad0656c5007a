"""Make the credential store and the authorizers of a configuration."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from ...transports.client.http_client import HttpClient, http_url
from ...transports.client.options import RemoteOptions
from ..config.credentials import read_secret
from ..config.helper_programs import Helpers
from ..config.oauth_settings import OAuth, OAuthSettings
from ..config.xdg import state_directory
from .authorizer import OAuthAuthorizer, SecretLog
from .flow import Prompt
from .helper_store import HelperBackend
from .store import CredentialStore, FileBackend


@attrs.frozen
class Surroundings:
    """What authorizers share: the variables of the program, the directory of relative paths, and helper programs."""

    environment: Mapping[str, str]
    base: Path
    helpers: Helpers = attrs.field(factory=Helpers)

    def secret(self, source: str) -> str:
        """Return the secret from a place of the configuration. Blocks. Raises BadCredential."""
        return read_secret(source, self.environment, self.base, self.helpers)


def open_store(surroundings: Surroundings, helper: Sequence[str] = ()) -> CredentialStore:
    """Return the credential store: a file in the state directory, or the program `oauth.helper`."""
    directory = state_directory(surroundings.environment)
    if not helper:
        return CredentialStore(FileBackend(directory), directory)
    return CredentialStore(HelperBackend(helper, surroundings.environment, surroundings.helpers), directory)


def new_authorizer(
    name: str,
    options: RemoteOptions,
    table: OAuth | None,
    store: CredentialStore,
    surroundings: Surroundings,
    log: SecretLog,
    *,
    prompt: Prompt | None = None,
    plain_http: bool = False,
) -> OAuthAuthorizer:
    """Return the authorizer of a remote server.

    `name` is what the user types after `mcp-bridge login`: the name of the server, or its URL. `options` are those of the
    server, whose own authorizer is not used. With `plain_http` credentials may be sent to another machine without encryption.
    """
    # The same for all spellings of the URL, and for ws:// as for http://, because credentials are stored by it.
    url = str(http_url(options.url))
    plain = attrs.evolve(options, authorizer=None)
    return OAuthAuthorizer(
        OAuthSettings(name, url, table or OAuth(), plain_http, surroundings.secret),
        store,
        lambda: HttpClient.for_discovery(plain),
        log,
        prompt=prompt,
    )
