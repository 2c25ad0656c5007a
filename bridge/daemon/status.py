"""The state of the daemon and its servers, as `mcp-bridge status --json` prints it. mcp-bridge(1) documents the fields."""

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec
import trio

from ...transports.client_process import finds_processes
from ..core.call_metrics import CallMetrics
from ..core.era_cache import LEGACY, MODERN
from ..runtime.server import LocalServer
from .listeners import Listeners
from .running_config import RunningConfig
from .supervisor import Supervisor

_PAGE = os.sysconf("SC_PAGE_SIZE")


class ServerStatus(msgspec.Struct, frozen=True):
    """One server. `state` is idle, serving, connected, silent, failed, failing, unapproved or login required.

    `memory` is that of all processes (bytes). A remote server has a `url` and `connections` in place of a command and pids.
    """

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
    url: str = ""
    connections: int = 0
    # With `cwd = "client"`: the directory of each process, by pid.
    directories: dict[int, str] = {}
    # When `last_exit` was (seconds since 1970, 0 without one), and whether the server has started since.
    last_exit_at: float = 0.0
    recovered: bool = False
    # The time from which the numbers count, and the methods of the requests of clients since `methods_since`, if the daemon
    # counts them. Times in seconds since 1970.
    since: float = 0.0
    methods_since: float = 0.0
    used_methods: tuple[str, ...] = ()
    # What its processes may use. The lists are empty where files are not confined.
    sandbox: str = "basic"
    network: bool = True
    connect: tuple[int, ...] = ()
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    # The tools, prompts and resource templates that are not approved.
    pending_definitions: int = 0
    # What its processes have written to stdout and read from stdin, or will (bytes).
    bytes_received: int = 0
    bytes_sent: int = 0


class Status(msgspec.Struct, frozen=True):
    """The daemon. `uptime` is in seconds, and `memory` that of the daemon alone (bytes).

    `cgroup` is the parent of the cgroups of the server processes; empty without cgroups.
    `addresses` are all listen addresses, TCP before Unix. `passed` is whether the service manager passed the sockets.
    `connections` and `unauthenticated` count connections with and without a credential, `refusals` those refused, by kind.
    `certificate` is the SHA-256 of the certificate (hexadecimal) and `certificate_expires` an ISO 8601 time, both empty
    without TLS. `warnings` are the reasons why clients refuse the certificate. `identifies_tcp_clients` is whether the daemon
    can find the process of a connection over TCP, if it is one of the same user.
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
    # The tokens that no client has used since the start.
    unused_tokens: tuple[str, ...] = ()
    identifies_tcp_clients: bool = True


def server_status(server: LocalServer, memory: dict[int, int]) -> ServerStatus:
    """Return the state of one server. `memory` is in bytes, by process session (setsid(2))."""
    server_log = server.server_log
    pids = server.pids
    received, sent = server.transferred
    sandbox = server.config.launch.sandbox
    lines = [entry.text for entry in server_log.buffer.entries() if entry.kind == "stderr"]
    printed = [entry.text for entry in server_log.buffer.entries() if entry.kind == "stdout"]
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
        starts=server_log.history.starts,
        restarts=server_log.history.exits,
        memory=sum(memory.get(pid, 0) for pid in pids),
        last_exit=server_log.history.last_exit,
        fault=server.failure,
        left_out=server.left_out,
        stderr=tuple(lines[-5:]),
        withheld=server_log.history.lacking,
        stdout=tuple(printed[-5:]),
        url="" if server.config.remote is None else server.config.remote.shown,
        connections=server.connections,
        directories=server.directories,
        last_exit_at=round(server_log.history.last_exit_at, 1),
        recovered=server_log.history.recovered,
        since=round(server_log.since, 1),
        methods_since=round(server_log.methods_since, 1),
        used_methods=_used(server_log.metrics),
        sandbox=sandbox.level,
        network=sandbox.network,
        connect=sandbox.connect,
        read=(*sandbox.read, *sandbox.base_read),
        write=(*sandbox.write, *sandbox.base_write),
        pending_definitions=server.pending_definitions,
        bytes_received=received,
        bytes_sent=sent,
    )


def _used(metrics: CallMetrics | None) -> tuple[str, ...]:
    return () if metrics is None else tuple(sorted({series.method for series in metrics if series.count}))


def _era(server: LocalServer) -> str:
    if server.config.era != "auto":
        return server.config.era
    spoken = server.eras
    if spoken[MODERN] is False:
        return LEGACY
    return " and ".join(era for era in (LEGACY, MODERN) if spoken[era]) or "not known yet"


def status(
    config: RunningConfig,
    supervisor: Supervisor,
    listeners: Listeners,
    version: str,
    started: float,
    cgroup: Path | None,
) -> Status:
    """Return the state of the daemon and of each server. `started` is a time of Trio's clock."""
    memory = memory_by_session()
    certificate = config.certificate
    return Status(
        version=version,
        pid=os.getpid(),
        uptime=round(trio.current_time() - started, 1),
        memory=resident(os.getpid()),
        url=config.addresses[0],
        addresses=config.addresses,
        passed=config.sockets.passed,
        unix=str(config.sockets.unix_path or ""),
        config=str(config.settings.file or ""),
        cgroup=str(cgroup or ""),
        connections=listeners.quota.connections,
        unauthenticated=listeners.quota.unauthenticated,
        refusals=dict(sorted(listeners.refusals.counts.items())),
        certificate=certificate.fingerprint if certificate else "",
        certificate_expires=certificate.expires if certificate else "",
        warnings=tuple(config.certificate_faults),
        servers=tuple(server_status(server, memory) for server in supervisor),
        unused_tokens=tuple(
            token.name for token in config.settings.tokens if listeners.quota.use_of(token.name) == (0, 0.0)
        ),
        identifies_tcp_clients=finds_processes(),
    )


def memory_by_session() -> dict[int, int]:
    """Return the resident memory of all processes (bytes), by the leader of their process session."""
    found: dict[int, int] = {}
    for pid in processes():
        add_memory(pid, found)
    return found


def add_memory(pid: int, found: dict[int, int]) -> None:
    """Add the resident memory of a process (bytes) to that of its process session, unless it has exited."""
    try:
        words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return
    session, pages = int(words[3]), int(words[21])
    found[session] = found.get(session, 0) + pages * _PAGE


def processes() -> Iterable[int]:
    """Return the ids of all processes of the machine."""
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - only names are needed


def resident(pid: int) -> int:
    """Return the resident memory of a process (bytes)."""
    return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
