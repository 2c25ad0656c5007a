"""The parts of a daemon that all its servers use, and the parts of one server that most of its other parts use."""

import attrs

from ...transports.poller import Poller
from ...transports.ports import ServerConnection
from ...transports.process.spawner import Spawner
from .adapters import AdapterFactory
from .circuit_breakers import CircuitBreakers
from .connector import Connector
from .era_facts import EraFacts
from .era_store import EraStore
from .owner_control import OwnerControl
from .policies import PolicyTable
from .process_table import ProcessTable
from .server_log import ServerLog
from .start_checks import StartChecks
from .tasks import ServerTasks


@attrs.frozen(eq=False)
class DaemonParts:
    """Handed down to each server. Without `era_store` no era is stored across restarts of the daemon."""

    spawner: Spawner
    poller: Poller
    version: str = "0"
    era_store: EraStore | None = None


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

    async def connect(self) -> ServerConnection:
        """Open a connection to the server that serves no client yet. Raises SpawnFailed."""
        return await self.connector.connect(self.checks.config)
