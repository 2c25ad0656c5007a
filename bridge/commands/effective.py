"""The effective settings of servers, with their secrets: as `config`, `env` and `approve` show and check them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..config import load, tables
from ..config.helper_programs import Helpers
from ..config.settings import ServerConfig, Settings
from ..config.tables import BadConfig


def resolved(file: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings with the secrets of all servers that are available. Raises BadConfig."""
    planned = load.plan(file, environment)
    return load.resolved(planned, Helpers(planned.limits.helper_seconds))


def find_server(file: Path, servers: Iterable[ServerConfig], name: str) -> ServerConfig:
    """Return a server whose variables are all available. Raises BadConfig."""
    known = {server.name: server for server in servers}
    if name not in known:
        raise BadConfig(f"{file}: {load.why_not_served(name, tables.read(file), known)}")
    server = known[name]
    if server.fault and not server.not_there:
        raise BadConfig(f"{file}: servers.{name}: {server.fault}")
    return server


def rows_of(server: ServerConfig) -> Iterator[tuple[str, str]]:
    """Yield the settings of a server as names and texts, without secrets."""
    launch = server.launch
    if server.fault:
        yield "failed", server.fault
    yield "command", " ".join(launch.argv)
    yield "cwd", launch.cwd or "inherited from the daemon"
    yield "umask", "inherited from the start of the daemon" if launch.umask is None else f"{launch.umask:04o}"
    yield "tmp", "private" if launch.private_tmp else "shared"
    for name, limit in launch.rlimits.items():
        yield "rlimit", f"{name}={limit}"
    yield "share", server.share or "session; client or principal for stateless clients"
    yield "era", server.era
    yield (
        "pin",
        server.pin or ("none (required, so the server is not started)" if server.needs_pin else "none"),
    )
    yield "features", f"deny {', '.join(server.without) or 'none'}"
    yield "tools", f"allow {', '.join(server.allow)}; deny {', '.join(server.deny) or 'none'}"
    for key, value in variables_of(server):
        yield "env", f"{key}={value}"


def variables_of(server: ServerConfig) -> list[tuple[str, str]]:
    """Return the environment variables of the processes of a server, without secrets."""
    found = {key: "[secret]" if key in server.hidden else value for key, value in server.launch.env.items()}
    if server.launch.private_tmp:
        found["TMPDIR"] = "[private directory]"
    for variable, header in server.from_headers.items():
        otherwise = f", or {found[variable]}" if variable in found else ""
        found[variable] = f"[client header {header}{otherwise}]"
    return sorted(found.items())
