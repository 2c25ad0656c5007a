"""Make the connections to one server: start a process, or open a connection to a remote server."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from ...transports.options import Directory
from ...transports.ports import ServerConnection
from ..config.executable import explained
from ..config.settings import ServerConfig

if TYPE_CHECKING:
    from ...transports.poller import Poller
    from ...transports.process.spawner import Spawner

# Make one more connection to a server. Raises SpawnFailed.
Connect = Callable[[], Awaitable[ServerConnection]]
NO_VARIABLES: Final[Mapping[str, str]] = {}


class Connector(Protocol):
    """The way to one server."""

    async def connect(
        self,
        config: ServerConfig,
        variables: Mapping[str, str] = NO_VARIABLES,
        directory: Directory | None = None,
    ) -> ServerConnection:
        """Return a new connection, whose process gets these variables as well and runs in this directory.

        Raises SpawnFailed.
        """
        ...

    @property
    def login_required(self) -> str:
        """Why the server accepts no request before a login; empty if it does, as far as is known."""
        ...

    def restart(self) -> None:
        """Drop what was learned of the server."""
        ...


class ProcessConnector:
    """Starts a process of the server for each connection (Connector)."""

    def __init__(self, spawner: "Spawner", poller: "Poller") -> None:
        self._spawner = spawner
        self._poller = poller

    @property
    def login_required(self) -> str:
        """Nothing (Connector)."""
        return ""

    def restart(self) -> None:
        """Do nothing: each process reads its files again (Connector)."""

    async def connect(
        self,
        config: ServerConfig,
        variables: Mapping[str, str] = NO_VARIABLES,
        directory: Directory | None = None,
    ) -> ServerConnection:
        """Start a process (Connector)."""
        launch = config.launch
        if variables:
            launch = attrs.evolve(launch, env={**launch.env, **variables})
        if directory is not None:
            # Shells and Node.js take the path of their working directory from PWD (POSIX.1-2024 sh).
            launch = attrs.evolve(launch, directory=directory, env={**launch.env, "PWD": directory.path})
        with explained(launch):
            return await self._spawner.spawn(launch, limits=config.limits, poller=self._poller)
