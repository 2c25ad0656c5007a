"""Make connections to one remote server. Imported only where a server has a URL, because it loads the HTTP client."""

from collections.abc import Callable, Iterator, Mapping

from ...transports.client.detection import SSE, RemoteMemory
from ...transports.client.http_sse import HttpSse
from ...transports.client.options import RemoteOptions
from ...transports.client.ports import Authorizer, Carrier, Challenge, LoginRequired
from ...transports.client.remote_server import RemoteServer
from ...transports.client.websocket import WebSocket
from ...transports.options import Directory, Headers, SpawnFailed
from ...transports.ports import ServerConnection
from ...validators.remote_url import BadRemoteUrl
from ..config.remote import Remote
from ..config.settings import ServerConfig
from .connector import NO_VARIABLES
from .server_log import ServerLog

# Returns the credentials of a remote server. The options are those of its connections, without credentials.
MakeAuthorizer = Callable[[ServerConfig, RemoteOptions, ServerLog], Authorizer]


class RemoteConnector:
    """Connections to the URL of a server (Connector). `numbers` are the negative numbers that connections have as pids."""

    def __init__(
        self, log: ServerLog, numbers: Iterator[int], make_authorizer: MakeAuthorizer | None
    ) -> None:
        self._log = log
        self._numbers = numbers
        self._make_authorizer = make_authorizer
        # Made for the first connection, which has the secrets. Shared by all, so that one of them refreshes a token.
        self._login: LoginState | None = None
        self._memory = RemoteMemory()

    @property
    def login_required(self) -> str:
        """Why a login is required (Connector)."""
        return "" if self._login is None else self._login.required

    def restart(self) -> None:
        """Find the transport and read the credentials again (Connector)."""
        self._login = None
        self._memory = RemoteMemory()

    async def connect(
        self,
        config: ServerConfig,
        variables: Mapping[str, str] = NO_VARIABLES,  # noqa: ARG002 - a remote server has no environment
        directory: Directory | None = None,  # noqa: ARG002 - and no directory
    ) -> ServerConnection:
        """Return a connection, which connects when it is first used (Connector)."""
        remote = config.remote
        assert remote is not None  # noqa: S101 - otherwise it has a ProcessConnector
        options = _options_of(remote, config)
        if remote.authorizes and self._make_authorizer is not None:
            if self._login is None:
                self._login = LoginState(self._make_authorizer(config, options, self._log))
            options = _options_of(remote, config, self._login)

        def make_carrier(transport: str) -> Carrier:
            return HttpSse(options) if transport == SSE else WebSocket(options)

        try:
            return RemoteServer(options, self._memory, next(self._numbers), make_carrier)
        except BadRemoteUrl as fault:
            raise SpawnFailed(f"cannot connect to {remote.shown}: {fault}") from None


class LoginState:
    """The credentials of one remote server, and whether it requires a login (Authorizer)."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer
        # Why a login is required; empty otherwise. Removed when there are other credentials.
        self.required = ""
        # The credentials that were refused when it was set.
        self._refused: Headers = ()

    async def headers(self) -> Headers:
        """Return the credentials (Authorizer)."""
        try:
            found = await self._authorizer.headers()
        except LoginRequired as fault:
            self.required = str(fault)
            raise
        if found and found != self._refused:
            self.required = ""
        return found

    async def renew(self, challenge: Challenge, used: Headers) -> bool:
        """Return whether there are other credentials (Authorizer)."""
        try:
            return await self._authorizer.renew(challenge, used)
        except LoginRequired as fault:
            self.required, self._refused = str(fault), used
            raise


def _options_of(remote: Remote, config: ServerConfig, authorizer: Authorizer | None = None) -> RemoteOptions:
    return RemoteOptions(
        remote.url,
        remote.transport,
        headers=remote.fields,
        ca_file=remote.ca_file,
        cert_file=remote.client_cert,
        key_file=remote.client_key,
        proxy=remote.proxy,
        connect_seconds=remote.connect_seconds,
        limits=config.limits,
        authorizer=authorizer,
    )
