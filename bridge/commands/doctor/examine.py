"""Examine this machine, the configuration, its servers and the running daemon."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from ....validators.counted import counted
from ...config import load
from ...config.helper_programs import Helpers
from ...config.settings import ServerConfig
from ...config.tables import BadConfig
from ...config.trust import replaceable_socket_places
from ..parser import COMMANDS
from ..progress import Progress
from ..running_daemon import ConfigSource, locate
from ..threads import AT_ONCE, map_in_threads
from .credentials import check_credentials
from .daemon import check_daemon
from .finding import ERROR, OK, Finding
from .machine import check_certificate, check_default_token, check_machine, compare_surroundings
from .sandbox import check_sandboxes
from .servers import check_replaceable, check_server


def examine(
    path: Path,
    environment: Mapping[str, str],
    source: ConfigSource | None = None,
    progress: Progress | None = None,
) -> Iterator[Finding]:
    """Yield the findings of all checks. Each server of a running daemon receives a request, which starts it if necessary.

    `environment` is that of this shell.
    """
    progress = progress or Progress()
    yield from check_machine(environment)
    from ...daemon.app import check  # noqa: PLC0415 - it loads the event loop

    source = source or locate(path, environment)
    try:
        planned = load.plan(path, source.environment)
        settings = load.resolved(planned, Helpers(planned.limits.helper_seconds))
        certificate = check(settings, source.environment)
    except BadConfig as fault:
        *others, last = fault.faults
        for one in others:
            yield Finding(ERROR, f"invalid configuration: {one}")
        yield Finding(ERROR, f"invalid configuration: {last}", _fix_of(path), _commands_of(path))
        return
    yield Finding(OK, f"{path}: {counted(settings.own_servers, 'server')}")
    yield from compare_surroundings(source, environment)
    yield from check_default_token(settings, environment)
    yield from check_certificate(certificate)
    yield from check_credentials(settings)
    yield from check_sandboxes(settings)

    def check_one(server: ServerConfig) -> list[Finding]:
        return [*check_server(server, source, environment), *check_replaceable(server)]

    tally = progress.count("checked", len(settings.servers))
    for findings in map_in_threads(check_one, settings.servers, AT_ONCE, tally.one_more):
        yield from findings
    for reason in replaceable_socket_places(settings):
        yield Finding(ERROR, f"listen: unix: {reason}", "use a directory that only you can write to")
    yield from check_daemon(settings, source.unix or settings.unix, certificate, progress)


def _fix_of(path: Path) -> str:
    if path.exists():
        return "correct it, then run mcp-bridge config check"
    return f"create {path}; mcp-bridge config import FILE converts the configuration of another client"


def _commands_of(path: Path) -> tuple[str, ...]:
    command = "edit" if path.exists() else "init"
    if command in COMMANDS:
        return (f"mcp-bridge {command}",)
    return (f"${{EDITOR:-vi}} {shlex.quote(str(path))}",)
