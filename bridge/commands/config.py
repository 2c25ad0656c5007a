"""`mcp-bridge config`: check, show, format or import a configuration, or print its JSON Schema."""

import json
from collections.abc import Iterator

from ...validators.counted import counted
from ..config import edit, load, schema, tables
from ..config.settings import Settings
from ..config.tables import BadConfig, Fault
from ..config.trust import replaceable_server_files, replaceable_socket_places
from ..core.exit_codes import EX_CONFIG, EX_FAILED, EX_OK
from .effective import (
    effective_tables,
    faults_as_notes,
    notes_of,
    resolved,
    tables_of_file,
    without_secrets,
)
from .invocation import BadUsage, Invocation
from .output import notice, print_json, print_line


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
            return _check(invocation)
        case "show":
            _show(invocation)
        case "fmt":
            return _format(invocation)
        case _:
            from .client_import import import_config  # noqa: PLC0415 - the other commands need no readers

            return import_config(invocation)
    return EX_OK


def _check(invocation: Invocation) -> int:
    from ..daemon.app import check  # noqa: PLC0415 - the other commands need no event loop

    file = invocation.file
    faults: list[Fault] = []
    warnings: list[str] = []
    counts = {"servers": 0, "tokens": 0}
    try:
        settings = resolved(file, invocation.source.environment)
        counts = {"servers": settings.own_servers, "tokens": len(settings.tokens)}
        faults += tables.located_in(file, _faults(settings))
        certificate = check(settings, invocation.source.environment)
        warnings += (
            f"{file}: listen: tls_cert: {reason}" for reason in (certificate.faults() if certificate else ())
        )
    except BadConfig as fault:
        faults += tables.located_in(file, fault.faults)
    if invocation.options.json:
        report = {
            "file": str(file),
            "valid": not faults,
            **counts,
            "errors": [*map(_as_json, faults)],
            "warnings": warnings,
        }
        print_line(json.dumps(report, indent=2))
        return EX_CONFIG if faults else EX_OK
    if faults:
        raise BadConfig(faults=faults)
    for reason in warnings:
        notice(f"warning: {reason}")
    found = ", ".join(counted(counts[f"{noun}s"], noun) for noun in ("server", "token"))
    print_line(f"{file}: {found}, no errors")
    return EX_OK


def _as_json(fault: Fault) -> dict[str, object]:
    place = {"line": fault.spot.line, "column": fault.spot.column} if fault.spot else {}
    key = ".".join(str(part) for part in fault.path if isinstance(part, str))
    return {"file": fault.file, **place, "key": key, "message": fault.text}


def _faults(settings: Settings) -> Iterator[Fault]:
    for server in settings.servers:
        yield from load.faults_of(server)
    for server in settings.servers:
        for reason in replaceable_server_files(server):
            use = "executes" if server.remote is None else "reads"
            text = f"servers.{server.name}: other users could replace a file that it {use}: {reason}"
            yield Fault(text, ("servers", server.name), is_key=True)
    for reason in replaceable_socket_places(settings):
        yield Fault(f"listen: unix: {reason}", ("listen", "unix"))


def _show(invocation: Invocation) -> None:
    """Print the configuration as TOML: the keys of the file, or with `--effective` all keys, and what follows from them."""
    from ..config import toml_text  # noqa: PLC0415 - the other commands need it not

    file = tables.read(invocation.file)
    settings = resolved(invocation.file, invocation.source.environment)
    if invocation.options.effective:
        shown, notes = effective_tables(file, settings), notes_of(settings)
    else:
        shown, notes = tables_of_file(invocation.file), faults_as_notes(settings)
    if invocation.options.json:
        print_json(without_secrets(shown))
        return
    print_line(toml_text.written(without_secrets(shown), notes).rstrip("\n"))


def _format(invocation: Invocation) -> int:
    """Give the file its usual form; with `--check` return 1 if it has another one."""
    from ..config import formatting  # noqa: PLC0415 - the other commands need it not

    file = invocation.file
    # An invalid file is reported with all its errors.
    tables.read(file)
    before = file.read_bytes().decode()
    try:
        after = formatting.formatted(before)
    except formatting.CannotFormat as fault:
        raise BadConfig(f"{file}: {fault}") from None
    if before == after:
        print_line(f"{file}: is formatted")
        return EX_OK
    if invocation.options.check:
        print_line(f"{file}: is not formatted; run mcp-bridge config fmt")
        return EX_FAILED
    edit.rewrite(file, after)
    print_line(f"{file}: formatted")
    return EX_OK
