"""The parts of a daemon that all its servers use, and the parts of one server that most of its other parts use."""

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

import attrs

from ...transports.options import Directory
from ...transports.poller import Poller
from ...transports.ports import ServerConnection
from ..core.request_rates import RequestRates
from ..core.request_state import SharedKeys
from .adapters import AdapterFactory
from .circuit_breakers import CircuitBreakers
from .connector import Connector
from .definition_store import DefinitionStore
from .era_facts import EraFacts
from .era_store import EraStore
from .owner_control import OwnerControl
from .policies import PolicyTable
from .process_table import ProcessTable
from .server_log import ServerLog
from .start_checks import StartChecks
from .tasks import ServerTasks

if TYPE_CHECKING:
    from ...transports.process.spawner import Spawner
    from .remote_connector import MakeAuthorizer


@attrs.frozen(eq=False)
class DaemonParts:
    """Handed down to each server. Without `era_store` no era is stored across restarts of the daemon.

    Without `definition_store` no definition is compared.
    Without a `spawner` all servers are remote. Without `make_authorizer` no login is made at remote servers.
    """

    spawner: "Spawner | None"
    poller: Poller
    version: str = "0"
    era_store: EraStore | None = None
    definition_store: DefinitionStore | None = None
    make_authorizer: "MakeAuthorizer | None" = None
    # The numbers of connections to remote servers, in the place of pids.
    numbers: Iterator[int] = attrs.field(factory=lambda: count(-1, -1))
    # How many requests clients may send to all servers.
    rates: RequestRates = attrs.field(factory=RequestRates)
    # The keys of the states of modern servers. The supervisor changes the content.
    state_keys: SharedKeys = attrs.field(factory=SharedKeys)
    # By principal, the sessions at each server that a token may have. The supervisor changes the content.
    sessions_of: dict[str, int] = attrs.field(factory=dict[str, int])


@attrs.frozen(eq=False)
class CommonParts:
    """Handed down to each part that starts, finds or observes processes. It holds no session.

    `control` starts, replaces and ends what a process serves.
    """

    daemon: DaemonParts
    log: ServerLog
    tasks: ServerTasks
    checks: StartChecks
    connector: Connector
    policies: PolicyTable
    breakers: CircuitBreakers
    processes: ProcessTable
    facts: EraFacts
    adapters: AdapterFactory
    control: OwnerControl

    async def connect(self, directory: Directory | None = None) -> ServerConnection:
        """Open a connection to the server that serves no client yet, in a directory if it has one. Raises SpawnFailed."""
        return await self.connector.connect(self.checks.config, directory=directory)
