"""The effective settings of servers, with their secrets: as `config`, `env` and `approve` show and check them."""

import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import attrs

from ..config import load, tables
from ..config.child_environment import SECRET_KEY, SECRET_VALUE, looks_secret
from ..config.helper_programs import Helpers
from ..config.remote import shown_url
from ..config.remote_table import PROCESS_KEYS, REMOTE_KEYS
from ..config.sandbox import described
from ..config.schema import File, Server
from ..config.server_names import why_not_served
from ..config.settings import ServerConfig, Settings
from ..config.tables import BadConfig
from ..log import escaped

# The tables of names and values that may be secrets by mistake.
_VALUES_BY_NAME: Final = frozenset({"env", "headers"})


def resolved(file: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings with the secrets of all servers that are available. Raises BadConfig."""
    planned = load.plan(file, environment)
    return load.resolved(planned, Helpers(planned.limits.helper_seconds))


def find_process_server(file: Path, servers: Iterable[ServerConfig], name: str) -> ServerConfig:
    """Return a server that is a process, as `find_server`. Raises BadConfig for a remote server."""
    server = find_server(file, servers, name)
    if server.remote is not None:
        raise BadConfig(f"{file}: servers.{name} is a remote server (url), which has no process")
    return server


def find_server(file: Path, servers: Iterable[ServerConfig], name: str) -> ServerConfig:
    """Return a server whose variables are all available. Raises BadConfig."""
    known = {server.name: server for server in servers}
    if name not in known:
        raise BadConfig(f"{file}: {why_not_served(name, tables.read(file), known)}")
    server = known[name]
    if server.fault and not server.not_there:
        raise BadConfig(f"{file}: servers.{name}: {server.fault}")
    return server


def variables_of(server: ServerConfig) -> list[tuple[str, str]]:
    """Return the environment variables of the processes of a server, without secrets."""
    found = {key: "[secret]" if key in server.hidden else value for key, value in server.launch.env.items()}
    if server.launch.has_scratch:
        found["TMPDIR"] = "[private directory]"
    for variable, header in server.from_headers.items():
        otherwise = f", or {found[variable]}" if variable in found else ""
        found[variable] = f"[client header {header}{otherwise}]"
    return sorted(found.items())


def tables_of_file(path: Path) -> dict[str, Any]:
    """Return the tables of a valid file, as they are written in it."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def effective_tables(file: File, settings: Settings) -> dict[str, Any]:
    """Return the tables of a file with the default of each key that it does not have."""
    found = _table_of(file)
    found["limits"] = _finite(attrs.asdict(settings.limits))
    if settings.unix is not None and file.listen.unix is True:
        found["listen"]["unix"] = str(settings.unix)
    return found


def _table_of(table: object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(type(table))  # type: ignore[arg-type]  # a class of `schema`
    left_out: tuple[str, ...] = ()
    if isinstance(table, Server):
        left_out = PROCESS_KEYS if table.url else REMOTE_KEYS
    for field in fields:
        value = getattr(table, field.name)
        if field.name in left_out or value is None:
            continue
        found[field.name] = _plain(value)
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401 - a value of `schema`
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in cast("dict[str, Any]", value).items()}
    return _table_of(value) if hasattr(value, "__attrs_attrs__") else value


def _finite(limits: Mapping[str, float]) -> dict[str, float]:
    """Return the limits that are set; the others have no value that the file could hold."""
    return {name: value for name, value in limits.items() if math.isfinite(value)}


def without_secrets(value: Any, path: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 - a value of TOML
    """Return tables with each value replaced that may be a secret. The result is valid where the tables are."""
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        return {name: without_secrets(one, (*path, name)) for name, one in named.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(one, path) for one in cast("list[Any]", value)]
    if not isinstance(value, str):
        return value
    if path[-1:] == ("url",):
        return value if "…" not in shown_url(value) else shown_url(value).replace("…", "hidden")
    # Other tables hold the places of secrets.
    by_name = len(path) > 1 and path[-2] in _VALUES_BY_NAME and value and SECRET_KEY.search(path[-1])
    return "[secret]" if by_name or SECRET_VALUE.search(value) else value


def faults_as_notes(settings: Settings) -> dict[tuple[str, ...], list[str]]:
    """Return why servers cannot start, as comments of their tables."""
    return {server.table: [escaped(f"fails: {server.fault}")] for server in settings.servers if server.fault}


def notes_of(settings: Settings) -> dict[tuple[str, ...], list[str]]:
    """Return what follows from the configuration and has no key, as comments of the tables."""
    notes: dict[tuple[str, ...], list[str]] = {}
    unlimited = [name for name, value in attrs.asdict(settings.limits).items() if not math.isfinite(value)]
    notes["limits",] = [f"no limit: {', '.join(unlimited)}"] if unlimited else []
    for server in settings.servers:
        found = notes.setdefault(server.table, [])
        if server.fault:
            found.append(f"fails: {server.fault}")
        if not server.share:
            found.append("share: session; client or principal for stateless clients")
        if server.needs_pin and not server.pin:
            found.append("pin: none (required, so the server is not started)")
        if server.remote is not None:
            found.append(f"login: {'when the server requires it' if server.remote.authorizes else 'never'}")
        if server.remote is None and server.aggregate is None and not server.fault:
            found += described(server.launch.sandbox)
        found += (
            f"env: {key}={'[secret]' if looks_secret(key, value) else value}"
            for key, value in variables_of(server)
        )
    return {path: [*map(escaped, found)] for path, found in notes.items()}
