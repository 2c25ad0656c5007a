"""The children of this process: those that it has started itself, and those that it adopts when a fork server was killed.

Every server leads a session (setsid(2)), so no adopted process is in that of this process. A process of its own that leads
one must be started with `start_tracked`, or a sweep would take it for an adopted one.
"""

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Collection
from typing import Final

from . import keeper

# Held while a process is being started: until its pid is known, a sweep must not look.
_STARTING: Final = threading.Lock()
_own: Final[set[int]] = set()


def start_tracked(start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Start a process that is to be left alone, from any thread."""
    with _STARTING:
        process = start()
        _own.add(process.pid)
        return process


def untrack(process: subprocess.Popen[bytes]) -> None:
    """Forget a process that has been waited for."""
    _own.discard(process.pid)


def sweep(kept: Collection[int]) -> bool:
    """Kill the adopted children but those kept; return whether there may be more."""
    if not _STARTING.acquire(blocking=False):
        return True
    try:
        spared = {*kept, *_own}
        session = os.getsid(0)
        found = [pid for pid in keeper.children() if pid not in spared and _session(pid) != session]
        keeper.kill(found)
        for pid in found:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return bool(found)
    finally:
        _STARTING.release()


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
