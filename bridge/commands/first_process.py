"""Stop signals of a program that is the first process of a PID namespace, as in a container.

The kernel drops a signal without a handler there (pid_namespaces(7)). A container that is stopped while it starts would
otherwise be killed after the grace period only.
"""

import os
import signal
from typing import Final, NoReturn

# What a shell reports for a process that a signal has ended is the number of the signal and this.
_ENDED_BY_SIGNAL: Final = 128


def exit_on_stop_signals() -> None:
    """End this process on SIGTERM and SIGHUP, as another process would end, until other handlers replace these."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit)


def _exit(number: int, _frame: object) -> NoReturn:
    # Without any cleanup, as by the default action of the signal.
    os._exit(_ENDED_BY_SIGNAL + number)
