"""`mcp-bridge config import`: add the servers of other clients to the configuration.

Without --write nothing is changed, and the change is printed as a diff. Secrets of the clients' files go into files of mode
0600 beside the configuration.
"""

import contextlib
import difflib
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs

from ...validators.counted import counted
from ..config import tables
from ..config.addresses import DEFAULT_PORT
from ..config.child_environment import looks_secret
from ..config.credentials import BadCredential, is_file_source, read_private
from ..config.edit import write_with_backup
from ..config.import_clients import BadImport, Import, Origin, SecretFile, import_servers
from ..config.import_json import read_json
from ..config.import_match import origins_of
from ..config.import_sources import ALIASES, CLIENTS, Client, client_of, places_of, project_of
from ..config.import_texts import NoServers, object_in, objects_in
from ..config.import_variables import Surroundings
from ..config.remote import hidden_parts
from ..config.schema import VERSION
from ..config.xdg import home_in
from ..core.exit_codes import EX_INCOMPLETE, EX_OK
from ..log import escaped
from .invocation import BadUsage, Invocation
from .output import notice, print_json, print_line
from .progress import Progress
from .reload import report_change

# The largest file of a client (bytes).
_LARGEST: Final = 4 * 1024 * 1024
_PORT: Final = re.compile(r":([0-9]{1,5})\Z")
_STDIN: Final = "-"
_HIDDEN: Final = "[secret]"


@attrs.frozen
class _File:
    """A file of a client. `client` is None for a client that is found by the path and the content."""

    path: Path
    client: Client | None


def import_config(invocation: Invocation) -> int:
    """Print the change, or make it with --write. Raises BadUsage, BadConfig and BadImport."""
    options, file = invocation.options, invocation.file
    files = [*_files(invocation)]
    before = _present_text(file)
    whole = tomllib.loads(before)
    loaded: dict[str, Any] = whole.get("servers", {})
    port = _PORT.search(str(object_in(whole, "listen").get("http")))
    into = Import(
        tables=dict(loaded),
        origins=origins_of(before),
        present=partial(_content, file.parent),
        ports=(int(port[1]) if port else DEFAULT_PORT,),
    )
    progress = Progress()
    for one in files:
        with progress.wait(f"reading {one.path if str(one.path) != _STDIN else 'standard input'}"):
            _read_into(one, into, invocation, every=options.all)
    after = _with_tables(before, into.toml)
    if options.json:
        return _print_json(invocation, before, after, into, [*into.hidden, *_secrets_in(loaded)])
    if into.added and options.write:
        _write(file, after, into)
        print_line(f"added to {file}: {', '.join(into.added)}")
        report_change(invocation.source)
    elif into.added:
        for line in _diff(file, before, after, [*into.hidden, *_secrets_in(loaded)]):
            print_line(escaped(line))
    else:
        notice("there is no server to add")
    for note in into.notes:
        notice(note)
    for problem in into.problems:
        notice(f"warning: {problem}")
    if into.added and not options.write:
        notice(f"nothing was changed; --write adds the servers to {file}")
    return EX_INCOMPLETE if into.problems else EX_OK


def _print_json(invocation: Invocation, before: str, after: str, into: Import, hidden: list[str]) -> int:
    """Make the change with --write, and print it as JSON."""
    options, file = invocation.options, invocation.file
    writes = bool(into.added and options.write)
    if writes:
        _write(file, after, into)
    print_json(
        {
            "file": str(file),
            "written": writes,
            "added": list(into.added),
            "diff": [*_diff(file, before, after, hidden)] if into.added else [],
            "notes": list(into.notes),
            "problems": list(into.problems),
        }
    )
    if writes:
        report_change(invocation.source)
    return EX_INCOMPLETE if into.problems else EX_OK


def _content(directory: Path, name: str) -> str | None:
    """Return the secret in a file beside the configuration: None without the file, and empty if it cannot be read."""
    if not is_file_source(name):
        return ""
    path = directory / name
    if not os.path.lexists(path):
        return None
    try:
        return read_private(path, "secret").decode().rstrip("\r\n")
    except (BadCredential, UnicodeDecodeError):
        return ""


def _files(invocation: Invocation) -> Iterator[_File]:
    """Yield the files that the arguments name. Raises BadUsage and BadImport."""
    options, environment = invocation.options, invocation.environment
    named: str = str(options.file) if options.file is not None else ""
    if options.all == bool(named):
        raise BadUsage("config import needs a FILE, - for standard input, the name of a client, or --all")
    if options.all:
        for client in CLIENTS.values():
            yield from (_File(path, client) for path in _found(client, environment))
        return
    given = CLIENTS[options.client] if options.client else None
    meant = CLIENTS.get(ALIASES.get(named, named))
    # A directory may have the name of a client.
    if meant is None or Path(named).is_file():
        yield _File(Path(named), given)
        return
    found = [*_found(meant, environment)]
    if not found:
        places = ", ".join(map(str, places_of(meant, environment))) or "no usual place"
        raise BadImport(f"{meant.title} has no file here ({places}); name its file")
    yield from (_File(path, meant) for path in found)


def _found(client: Client, environment: Mapping[str, str]) -> Iterator[Path]:
    for place in places_of(client, environment):
        # A file in a directory without access is found too, and named as unreadable.
        if os.path.lexists(place) and not place.is_dir():
            yield place
    if client.name == "continue":
        blocks = home_in(environment) / ".continue" / "mcpServers"
        yield from sorted(path for path in blocks.glob("*") if path.suffix in (".yaml", ".yml", ".json"))


def _read_into(file: _File, into: Import, invocation: Invocation, *, every: bool) -> None:
    """Add the servers of one file. With `every`, a file that cannot be used is a problem, and the others are read."""
    environment = invocation.environment
    path = file.path
    stdin = str(path) == _STDIN
    try:
        text = _read(path)
        client = file.client or (None if stdin else client_of(path.absolute(), environment))
        project: str = str(Path(invocation.options.project).absolute()) if invocation.options.project else ""
        if not project and not stdin:
            project = project_of(path.absolute(), environment)
        around = Surroundings(environment, str(home_in(environment)), project)
        switches = _switches(path, client, environment)
        source = import_servers(text, into, Origin(client, path.suffix.lower(), around, switches))
    except NoServers as fault:
        if not every:
            raise BadImport(f"{path}: {fault}") from None
    except BadImport as fault:
        if not every:
            raise BadImport(str(fault) if str(path) in str(fault) else f"{path}: {fault}") from None
        into.problems.append(str(fault) if str(path) in str(fault) else f"{path}: {fault}")
    else:
        into.notes.insert(
            0, f"{path}: {counted(len(source.servers), 'server')}, in the form of {source.client.title}"
        )


def _switches(path: Path, client: Client | None, environment: Mapping[str, str]) -> str:
    """Return the text of the file that switches servers of this file off; empty if there is none. Raises BadImport."""
    if client is None or not client.switches or path.absolute() not in places_of(client, environment):
        return ""
    beside = path.with_name(client.switches)
    if not os.path.lexists(beside):
        return ""
    text = _read(beside)
    try:
        read_json(text)
    except BadImport as fault:
        raise BadImport(f"{beside}: {fault}") from None
    return text


def _read(path: Path) -> str:
    try:
        if str(path) == _STDIN:
            content = sys.stdin.buffer.read(_LARGEST + 1)
        else:
            with path.open("rb") as file:
                content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise BadImport(f"{path} has more than {_LARGEST} bytes")
        return content.decode()
    except OSError as fault:
        raise BadImport(f"{path} cannot be read: {fault.strerror}") from None
    except UnicodeDecodeError as fault:
        raise BadImport(f"{path} is not UTF-8 at byte {fault.start}") from None


def _present_text(file: Path) -> str:
    """Return the text of the configuration, which is valid, or that of a new one."""
    if not file.exists():
        return ""
    tables.read(file)
    return file.read_bytes().decode()


def _with_tables(before: str, toml: str) -> str:
    if not before:
        return f"config_version = {VERSION}\n\n{toml}"
    gap = "\n" if before.endswith("\n") else "\n\n"
    return f"{before}{gap}{toml}"


def _secrets_in(servers: Mapping[str, Any]) -> Iterator[str]:
    """Yield what looks like a secret in the present servers, whose last lines the diff shows."""
    for server in objects_in(servers).values():
        with contextlib.suppress(ValueError):
            yield from hidden_parts(str(server.get("url", "")))
        for key in ("env", "headers"):
            for name, value in object_in(server, key).items():
                if looks_secret(name, str(value)):
                    yield str(value)


def _diff(file: Path, before: str, after: str, hidden: list[str]) -> Iterator[str]:
    old = before.splitlines()
    for line in difflib.unified_diff(old, after.splitlines(), str(file), str(file), lineterm=""):
        shown = line
        for secret in filter(None, hidden):
            shown = shown.replace(secret, _HIDDEN)
        yield shown


def _write(file: Path, text: str, into: Import) -> None:
    """Write the secrets, and then the configuration that names them. Raises BadConfig."""
    tables.parse(text.encode())
    for secret in into.files:
        if secret.value is not None:
            _write_secret(file.parent / secret.name, secret)
    if into.hidden and file.exists():
        file.chmod(0o600)
    backup = write_with_backup(file, text)
    if backup is not None:
        notice(f"the former configuration is in {backup}")


def _write_secret(path: Path, secret: SecretFile) -> None:
    if not path.exists():
        write_with_backup(path, f"{secret.value}\n")
    # A file that is there has this content already.
