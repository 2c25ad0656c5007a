"""Make the credentials of the remote servers of the daemon, from the logins of its user."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.settings import ServerConfig
from ..runtime.server_log import ServerLog

if TYPE_CHECKING:
    from ...transports.client.options import RemoteOptions
    from ...transports.client.ports import Authorizer
    from ..oauth.store import CredentialStore


class Logins:
    """The credential store, which is opened for the first remote server (remote_connector.MakeAuthorizer).

    `base` is the directory of relative paths in the configuration. `helper` is the program that keeps the credentials; empty
    for a file.
    """

    def __init__(self, environment: Mapping[str, str], base: Path, helper: Sequence[str] = ()) -> None:
        self._environment = environment
        self._base = base
        self._helper = helper
        self._store: CredentialStore | None = None

    def __call__(self, config: ServerConfig, options: "RemoteOptions", log: ServerLog) -> "Authorizer":
        """Return the credentials of a remote server, whose lack names the command for a login."""
        from ..oauth.factory import Surroundings, new_authorizer, open_store  # noqa: PLC0415 - only for remote servers

        surroundings = Surroundings(self._environment, self._base)
        if self._store is None:
            self._store = open_store(surroundings, self._helper)
        table = None if config.remote is None else config.remote.oauth
        open_to_others = config.remote is not None and config.remote.plain_http
        return new_authorizer(
            config.name, options, table, self._store, surroundings, log, plain_http=open_to_others
        )
