"""The effective settings of servers, with their secrets: as `config`, `env` and `approve` show and check them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ...validators.proxy_choice import FROM_ENVIRONMENT
from ..config import checks, load, tables
from ..config.helper_programs import Helpers
from ..config.remote import Remote
from ..config.settings import ServerConfig, Settings
from ..config.tables import BadConfig


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
        raise BadConfig(f"{file}: {checks.why_not_served(name, tables.read(file), known)}")
    server = known[name]
    if server.fault and not server.not_there:
        raise BadConfig(f"{file}: servers.{name}: {server.fault}")
    return server


def rows_of(server: ServerConfig) -> Iterator[tuple[str, str]]:
    """Yield the settings of a server as names and texts, without secrets."""
    if server.fault:
        yield "failed", server.fault
    yield from _rows_of_process(server) if server.remote is None else _rows_of_remote(server.remote)
    yield "share", server.share or "session; client or principal for stateless clients"
    yield "era", server.era
    if server.remote is None:
        none = "none (required, so the server is not started)" if server.needs_pin else "none"
        yield "pin", server.pin or none
    yield "features", f"deny {', '.join(server.without) or 'none'}"
    yield "tools", f"allow {', '.join(server.allow)}; deny {', '.join(server.deny) or 'none'}"
    for key, value in variables_of(server):
        yield "env", f"{key}={value}"


def _rows_of_remote(remote: Remote) -> Iterator[tuple[str, str]]:
    yield "url", remote.shown
    yield "transport", remote.transport
    for name, value in remote.headers:
        yield "header", f"{name}: {'[secret]' if name in remote.secret_names else value}"
    for name, value in (("ca", remote.ca_file), ("cert", remote.client_cert), ("key", remote.client_key)):
        if value:
            yield name, value
    yield (
        "proxy",
        {"": "none", FROM_ENVIRONMENT: "that of the daemon's environment"}.get(remote.proxy, remote.proxy),
    )
    yield "login", "when the server requires it" if remote.authorizes else "never"


def _rows_of_process(server: ServerConfig) -> Iterator[tuple[str, str]]:
    launch = server.launch
    yield "command", " ".join(launch.argv)
    if server.cwd_allowed:
        trusted = "; its code is trusted" if server.cwd_trust else ""
        yield "cwd", f"that of each client, in {', '.join(server.cwd_allowed)}{trusted}"
    else:
        yield "cwd", launch.cwd or "inherited from the daemon"
    yield "umask", "inherited from the start of the daemon" if launch.umask is None else f"{launch.umask:04o}"
    yield "tmp", "private" if launch.private_tmp else "shared"
    for name, limit in launch.rlimits.items():
        yield "rlimit", f"{name}={limit}"


def variables_of(server: ServerConfig) -> list[tuple[str, str]]:
    """Return the environment variables of the processes of a server, without secrets."""
    found = {key: "[secret]" if key in server.hidden else value for key, value in server.launch.env.items()}
    if server.launch.private_tmp:
        found["TMPDIR"] = "[private directory]"
    for variable, header in server.from_headers.items():
        otherwise = f", or {found[variable]}" if variable in found else ""
        found[variable] = f"[client header {header}{otherwise}]"
    return sorted(found.items())
