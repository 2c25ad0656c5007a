"""The parts of one server that most of its other parts use."""

import attrs

from .adapters import AdapterFactory
from .circuit_breakers import CircuitBreakers
from .era_facts import EraFacts
from .owner_control import OwnerControl
from .policies import PolicyTable
from .process_table import ProcessTable
from .server_log import ServerLog
from .start_checks import StartChecks
from .tasks import ServerTasks


@attrs.frozen(eq=False)
class CommonParts:
    """Handed down to each part that starts, finds or observes processes. It holds no session.

    `control` starts, replaces and ends what a process serves.
    """

    log: ServerLog
    tasks: ServerTasks
    checks: StartChecks
    policies: PolicyTable
    breakers: CircuitBreakers
    processes: ProcessTable
    facts: EraFacts
    adapters: AdapterFactory
    control: OwnerControl
