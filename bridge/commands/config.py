"""`mcp-bridge config`: check, show or import a configuration, or print its JSON Schema."""

import json
from collections.abc import Iterator

from ..config import schema
from ..config.settings import Settings
from ..config.tables import BadConfig
from ..config.trust import replaceable_server_files, replaceable_socket_places
from ..core.exit_codes import EX_OK
from ..log import escaped
from .effective import resolved, rows_of
from .invocation import BadUsage, Invocation
from .output import notice, print_line


def config(invocation: Invocation) -> int:
    """Carry out one of the actions of `config`. Raises BadUsage, BadConfig and BadImport."""
    action, imported = invocation.options.action, invocation.options.file
    if imported is not None and action != "import":
        raise BadUsage(f"config {action} takes no FILE; use --config {imported}")
    if action != "import" and any(
        vars(invocation.options)[name] for name in ("all", "write", "client", "project")
    ):
        raise BadUsage(f"config {action} takes none of --all, --write, --client and --project")
    match action:
        case "schema":
            print_line(json.dumps(schema.json_schema(), indent=2))
        case "check":
            _check(invocation)
        case "show":
            _show(resolved(invocation.file, invocation.source.environment))
        case _:
            from .client_import import import_config  # noqa: PLC0415 - the other commands need no readers

            return import_config(invocation)
    return EX_OK


def _check(invocation: Invocation) -> None:
    from ..daemon.app import check  # noqa: PLC0415 - the other commands need no event loop

    file = invocation.file
    settings = resolved(file, invocation.source.environment)
    faults = list(_faults(settings))
    if faults:
        raise BadConfig("\n".join(f"{file}: {fault}" for fault in faults))
    certificate = check(settings, invocation.source.environment)
    for reason in certificate.faults() if certificate else ():
        notice(f"warning: {file}: listen: tls_cert: {reason}")
    print_line(f"{file}: {settings.own_servers} servers, {len(settings.tokens)} tokens, no errors")


def _faults(settings: Settings) -> Iterator[str]:
    for server in settings.servers:
        if server.fault:
            yield f"servers.{server.name}: {server.fault}"
    for server in settings.servers:
        for reason in replaceable_server_files(server):
            use = "executes" if server.remote is None else "reads"
            yield f"servers.{server.name}: other users could replace a file that it {use}: {reason}"
    for reason in replaceable_socket_places(settings):
        yield f"listen: unix: {reason}"


def _show(settings: Settings) -> None:
    print_line(f"http   {settings.host}:{settings.port}" if settings.port is not None else "http   off")
    print_line(f"unix   {settings.unix or 'off'}")
    for server in settings.servers:
        print_line(f"\n{server.name}")
        for key, value in rows_of(server):
            print_line(escaped(f"  {key:<12}{value}"))
