"""The children of the daemon: those that it started, and those that it adopted after a fork server was killed.

Every server leads a session (setsid(2)), so no adopted process is in the session of the daemon. A child of the daemon that
leads a session must be started with `start_tracked`, because a sweep would kill it otherwise.
"""

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Collection
from typing import Final

from . import keeper

# Held while a process is started. A sweep must wait until its pid is known.
_STARTING: Final = threading.Lock()
_own: Final[set[int]] = set()


def start_tracked(start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Start a process that sweeps do not kill. Any thread may call this."""
    with _STARTING:
        process = start()
        _own.add(process.pid)
        return process


def untrack(process: subprocess.Popen[bytes]) -> None:
    """Remove a process that was waited for."""
    _own.discard(process.pid)


def sweep(kept: Collection[int]) -> bool:
    """Kill the adopted children except `kept`. Returns whether there may be more."""
    if not _STARTING.acquire(blocking=False):
        return True
    try:
        excluded = {*kept, *_own}
        session = os.getsid(0)
        found = [pid for pid in keeper.children() if pid not in excluded and _session(pid) != session]
        keeper.kill(found)
        for pid in found:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return bool(found)
    finally:
        _STARTING.release()


def reap() -> None:
    """Remove the zombies among the adopted children. The exit status of a tracked process is left to its owner.

    In a container the daemon is the first process, which adopts whatever commands leave behind there.
    """
    # A process that is being started cannot be distinguished. Its exit is another occasion.
    if not _STARTING.acquire(blocking=False):
        return
    try:
        for pid in keeper.children():
            if pid not in _own:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
    finally:
        _STARTING.release()


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
