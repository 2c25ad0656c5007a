"""The limit of open files (RLIMIT_NOFILE in getrlimit(2)): raised for the daemon, but not for servers.

Most systems set a soft limit of 1024, because select(2) supports no more. The daemon uses epoll and raises it to the hard
limit. A server gets the inherited limit.
"""

import contextlib
import resource
from typing import Final

import attrs

from ...validators.limits import Limits

# Descriptors of the daemon itself: listeners, pipes, log, files that are read.
_OWN: Final = 64
# An evicted connection keeps its descriptor until its task has run.
_FOR_AN_UNAUTHENTICATED: Final = 2

_inherited = resource.getrlimit(resource.RLIMIT_NOFILE)


def raise_soft_limit() -> int:
    """Raise the soft limit of open files to the hard limit, and return it."""
    _, hard = _inherited
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def give_inherited_limit(pid: int) -> None:
    """Give a process, and all its later descendants, the inherited limit of open files."""
    with contextlib.suppress(OSError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, _inherited)


def fit_limits(limits: Limits, descriptors: int) -> tuple[Limits, tuple[str, ...]]:
    """Return limits of connections that fit this number of descriptors, and a sentence for each lowered limit.

    Half of the descriptors is reserved for servers; each server process needs four.
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
