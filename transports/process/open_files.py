"""The limit of open files (RLIMIT_NOFILE in getrlimit(2)): raised for the daemon, not for the servers that it starts.

A soft limit of 1024 is inherited on most systems, because select(2) cannot watch more. The daemon uses epoll, so it takes
what it may have; a server gets the limit that was inherited.
"""

import contextlib
import resource
from typing import Final

import attrs

from ...validators.limits import Limits

# What the daemon itself has open: listeners, pipes, log, files that are read for a moment.
_OWN: Final = 64
# A connection that was evicted keeps its descriptor until its task has run.
_FOR_AN_UNAUTHENTICATED: Final = 2

_inherited = resource.getrlimit(resource.RLIMIT_NOFILE)


def raise_soft_limit() -> int:
    """Raise the soft limit of open files to the hard one. Returns what it is then."""
    _, hard = _inherited
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def give_inherited_limit(pid: int) -> None:
    """Give a process, and so all that it starts, the limit of open files that this process has inherited."""
    with contextlib.suppress(OSError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, _inherited)


def fit_limits(limits: Limits, descriptors: int) -> tuple[Limits, tuple[str, ...]]:
    """Return limits of connections that this many descriptors are enough for, and a sentence for each that is lowered.

    Half of the descriptors is left for the servers, each process of which needs four.
    """
    if descriptors == resource.RLIM_INFINITY:
        return limits, ()
    room = max(0, descriptors - _OWN - limits.connections_control) // 2
    if limits.connections + _FOR_AN_UNAUTHENTICATED * limits.connections_unauthenticated <= room:
        return limits, ()
    unauthenticated = min(limits.connections_unauthenticated, max(1, room // 4 // _FOR_AN_UNAUTHENTICATED))
    connections = min(limits.connections, max(1, room - _FOR_AN_UNAUTHENTICATED * unauthenticated))
    changes = {"connections": connections, "connections_unauthenticated": unauthenticated}
    sentences = tuple(
        f"limits.{name} is lowered from {getattr(limits, name)} to {value}, because at most {descriptors} files can be "
        "open (ulimit -n, or LimitNOFILE in systemd.exec(5))"
        for name, value in changes.items()
        if value < getattr(limits, name)
    )
    return attrs.evolve(
        limits, connections=connections, connections_unauthenticated=unauthenticated
    ), sentences
