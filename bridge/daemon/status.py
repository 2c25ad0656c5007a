"""How the daemon and its servers are, as `mcp-bridge status --json` shows it: a stable shape, documented in mcp-bridge(1)."""

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec
import trio

from ...transports.http.quota import Quota
from ...transports.http.refusals import Refusals
from ..core.era_cache import LEGACY, MODERN
from ..runtime.server import LocalServer
from .certificates import Loaded
from .supervisor import Supervisor

_PAGE = os.sysconf("SC_PAGE_SIZE")


class ServerStatus(msgspec.Struct, frozen=True):
    """One server. `state` is idle, serving, silent, failed, failing or unapproved; `memory` that of all its processes, in bytes."""

    name: str
    state: str
    era: str
    share: str
    command: tuple[str, ...]
    pids: tuple[int, ...]
    sessions: int
    in_flight: int
    calls: int
    errors: int
    unmatched: int
    starts: int
    restarts: int
    memory: int
    last_exit: str
    fault: str
    left_out: dict[str, str]
    stderr: tuple[str, ...]
    withheld: tuple[str, ...]
    stdout: tuple[str, ...] = ()


class Status(msgspec.Struct, frozen=True):
    """The daemon. `uptime` in seconds, `memory` its own, in bytes; `cgroup` holds one for each server process, if not empty.

    `addresses` are all that it listens on, TCP before Unix, and `passed` says whether the service manager passed them.
    `connections` have a credential, `unauthenticated` ones have none; `refusals` are counted by kind since the start.
    `certificate` is the SHA-256 of that of the listener, in hexadecimal digits, and `certificate_expires` a time in ISO 8601,
    both empty without TLS; `warnings` say what clients refuse in the certificate.
    """

    version: str
    pid: int
    uptime: float
    memory: int
    url: str
    addresses: tuple[str, ...]
    passed: bool
    unix: str
    config: str
    cgroup: str
    connections: int
    unauthenticated: int
    refusals: dict[str, int]
    certificate: str
    certificate_expires: str
    warnings: tuple[str, ...]
    servers: tuple[ServerStatus, ...]


def server_status(server: LocalServer, memory: dict[int, int]) -> ServerStatus:
    """How one server is. `memory` is that of each session of processes (setsid(2))."""
    server_log = server.server_log
    pids = server.pids
    lines = [entry.text for entry in server_log.entries() if entry.kind == "stderr"]
    printed = [entry.text for entry in server_log.entries() if entry.kind == "stdout"]
    return ServerStatus(
        name=server.name,
        state=server.state,
        era=_era(server),
        share=server.config.share or "auto",
        command=server.config.launch.argv,
        pids=pids,
        sessions=server.sessions,
        in_flight=server.in_flight,
        calls=server_log.calls,
        errors=server_log.errors,
        unmatched=server_log.unmatched_answers,
        starts=server_log.starts,
        restarts=server_log.deaths,
        memory=sum(memory.get(pid, 0) for pid in pids),
        last_exit=server_log.last_exit,
        fault=server.failure,
        left_out=server.left_out,
        stderr=tuple(lines[-5:]),
        withheld=server_log.lacking,
        stdout=tuple(printed[-5:]),
    )


def _era(server: LocalServer) -> str:
    if server.config.era != "auto":
        return server.config.era
    spoken = server.eras
    if spoken[MODERN] is False:
        return LEGACY
    return " and ".join(era for era in (LEGACY, MODERN) if spoken[era]) or "not known yet"


def status(
    supervisor: Supervisor,
    version: str,
    since: float,
    addresses: tuple[str, ...],
    passed: bool,  # noqa: FBT001 - a field of the result
    unix: Path | None,
    config: Path | None,
    cgroup: Path | None,
    quota: Quota,
    refusals: Refusals,
    certificate: Loaded | None,
) -> Status:
    """How everything is. `since` is a time of Trio's clock."""
    memory = memory_by_session()
    return Status(
        version=version,
        pid=os.getpid(),
        uptime=round(trio.current_time() - since, 1),
        memory=_resident(os.getpid()),
        url=addresses[0],
        addresses=addresses,
        passed=passed,
        unix=str(unix or ""),
        config=str(config or ""),
        cgroup=str(cgroup or ""),
        connections=quota.connections,
        unauthenticated=quota.unauthenticated,
        refusals=dict(sorted(refusals.counts.items())),
        certificate=certificate.fingerprint if certificate else "",
        certificate_expires=certificate.expires if certificate else "",
        warnings=tuple(certificate.faults()) if certificate else (),
        servers=tuple(server_status(server, memory) for server in supervisor),
    )


def memory_by_session() -> dict[int, int]:
    """The resident memory of all processes in bytes, by the process that leads their session."""
    found: dict[int, int] = {}
    for pid in _processes():
        try:
            words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # it has just ended
        session, pages = int(words[3]), int(words[21])
        found[session] = found.get(session, 0) + pages * _PAGE
    return found


def _processes() -> Iterable[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - names are all we need


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
