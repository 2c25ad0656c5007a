"""Build the settings of the daemon from the tables of the configuration file.

No process is started, and no secret is read, before the whole file is known to be valid.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, Literal

import attrs

from ...transports.options import Launch, Paths, spellings
from ...validators.limits import Limits
from ...validators.origin import LARGEST_PORT
from ..core.suggestion import suggestion
from .addresses import BadAddress, check_host, check_loopback, check_origin, check_path
from .child_directory import check_directory_code, client_directories
from .child_environment import (
    BadEnvironment,
    check_entry,
    check_from_client,
    check_variable,
    inherited,
    passed_variables,
    read_variables,
    secret_names,
    shown,
    withheld,
)
from .credentials import (
    BadCredential,
    check_source,
    expand_home,
    is_file_source,
    read_private,
    read_secret,
    split_helper,
)
from .executable import NotRunnable, check_program, check_word, why_not_there
from .expansion import BadExpansion, NotSet, expanded
from .header_names import header_name
from .helper_programs import Helpers
from .remote import Remote
from .remote_table import BadRemote, files_of, remote_of, with_secrets
from .schema import Aggregate, File, Listen, Server, Token
from .settings import (
    AGGREGATE,
    ALL,
    READY,
    AdminConfig,
    AggregateConfig,
    BadLimit,
    ServerConfig,
    Settings,
    TokenConfig,
    changed_limits,
)
from .tables import BadConfig, located, read
from .xdg import default_socket

# Secrets are read in so many threads.
_SIDE_BY_SIDE: Final = 8
# sun_path of unix(7) without the final zero byte (bytes).
_LONGEST_SOCKET: Final = 107
# Prefixes of the paths of servers, of the control API and of the page.
_OURS: Final = ("/servers/", "/control/", "/admin")


def load(path: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings of a file, with the secrets that it names. Blocks. Raises BadConfig."""
    file = read(path)
    try:
        return build_settings(file, path, environment)
    except BadConfig as fault:
        raise located(path, fault) from None


def plan(path: Path, environment: Mapping[str, str], log_format: str = "") -> Settings:
    """Return the settings of a file, without its secrets. Raises BadConfig.

    `log_format` is that of the command line, which takes precedence over the file.

    A server whose secrets have not been read is `pending`. A server that needs a value which this machine does not have
    carries the reason as `fault`.
    """
    file = read(path)
    try:
        settings = _planned(file, path, environment)
        if not log_format:
            return settings
        return attrs.evolve(settings, log_format=log_format, log_format_given=log_format)
    except BadConfig as fault:
        raise located(path, fault) from None


def resolved(settings: Settings, helpers: Helpers) -> Settings:
    """Return the settings with the secrets of all servers, which are read in parallel. Blocks."""

    def look(server: ServerConfig) -> ServerConfig:
        return server.resolved(helpers) if server.pending else server

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return attrs.evolve(settings, servers=tuple(pool.map(look, settings.servers)))


def build_settings(file: File, path: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings of these tables, with their secrets. Blocks. Raises BadConfig, also for an unreadable secret."""
    settings = resolved(_planned(file, path, environment), Helpers(file.limits.get("helper_seconds")))
    for server in settings.servers:
        if server.fault and not server.not_there:
            raise BadConfig(f"servers.{server.name}: {server.fault}")
    return settings


def _planned(file: File, path: Path, environment: Mapping[str, str]) -> Settings:
    try:
        limits = changed_limits(Limits(), file.limits)
    except BadLimit as fault:
        raise BadConfig(f"limits: {fault}") from None
    servers = [
        _server(name, server, limits, path.parent, environment, needs_pin=file.approval)
        for name, server in file.servers.items()
        if server.enabled
    ]
    host, port = parse_address(file.listen.http)
    unix = socket_path(file.listen.unix, environment)
    if file.aggregate is not None:
        servers.append(_aggregate(file.aggregate, file, servers, unix, limits, environment))
    if port is None and unix is None:
        raise BadConfig("listen: both http and unix are false, so that no client can connect")
    if bool(file.listen.tls_cert) != bool(file.listen.tls_key):
        raise BadConfig("listen: tls_cert and tls_key must be set together")
    _check_pages(file.listen)
    _check_tokens(file.tokens)
    return Settings(
        servers=tuple(servers),
        host=host,
        port=port,
        unix=unix,
        authenticate=file.listen.authenticate,
        token_source=file.listen.token,
        tokens=tuple(_token(name, token, file) for name, token in file.tokens.items()),
        tls_certificate=_file(file.listen.tls_cert, path.parent),
        tls_key=_file(file.listen.tls_key, path.parent),
        hosts=frozenset(file.listen.hosts),
        origins=frozenset(file.listen.origins),
        root=AGGREGATE if file.aggregate else "",
        paths=Paths() if file.aggregate else Paths("", "", "", "", ""),
        health=file.listen.health,
        limits=limits,
        log_level=file.log.level,
        log_format=file.log.format,
        log_calls=file.log.calls,
        counts_calls=file.metrics.enabled or file.admin.enabled,
        admin=AdminConfig(file.admin.enabled, file.admin.actions),
        oauth_helper=oauth_helper(file),
        file=path,
    )


def oauth_helper(file: File) -> tuple[str, ...]:
    """Return the words of `oauth.helper`. Raises BadConfig."""
    if not file.oauth.helper:
        return ()
    try:
        return tuple(split_helper(file.oauth.helper))
    except BadCredential as fault:
        raise BadConfig(f"oauth: {fault}") from None


def why_not_served(name: str, file: File, served: Iterable[str]) -> str:
    """Return the error text for a name that no enabled server has."""
    if name in file.servers:
        return f"servers.{name} is disabled (enabled = false)"
    known = list(served)
    return f"there is no server {name!r}; there are {', '.join(known) or 'none'}{suggestion(name, known)}"


def _server(
    name: str, server: Server, limits: Limits, base: Path, environment: Mapping[str, str], *, needs_pin: bool
) -> ServerConfig:
    where = f"servers.{name}"
    if server.url:
        return _remote_server(name, server, limits, base, environment)
    try:
        server = expanded(server, environment)
        allowed = client_directories(where, server)
        # Nothing is resolved in the directory of a client before a process is started there.
        cwd = Path("/") if allowed else expand_home(server.cwd) if server.cwd else None
        if cwd is not None and not cwd.is_absolute():
            raise BadConfig(f"{where}: cwd: must be an absolute path, not {shown(server.cwd)}", where, "cwd")
        for directory in server.path:
            if not expand_home(directory).is_absolute() or os.pathsep in directory:
                raise BadConfig(
                    f"{where}: path: must hold absolute paths without {os.pathsep!r}, not {shown(directory)}"
                )
        _check_variables(server)
        from_headers = _from_headers(server)
        check_word(server.words[0])
        limits = changed_limits(limits, server.limits)
    except BadLimit as fault:
        raise BadConfig(f"{where}: limits: {fault}") from None
    except BadExpansion as fault:
        raise BadConfig(f"{where}: {fault}", where, fault.key) from None
    except NotSet as fault:
        return ServerConfig(name, Launch(server.words, {}), fault=str(fault))
    except (BadEnvironment, BadCredential, NotRunnable) as fault:
        raise BadConfig(f"{where}: {fault}") from None
    launch = Launch(
        server.words,
        inherited(environment, server.withhold_env),
        str(cwd) if cwd else None,
        int(server.umask, 8) if server.umask else None,
        {str(name): value for name, value in server.rlimits.items()},
        server.private_tmp,
    )
    config = ServerConfig(
        name,
        launch,
        server.era,
        server.share,
        server.start == "eager",
        server.spare,
        server.tools.get("allow", (ALL,)),
        server.tools.get("deny", ()),
        server.features.get("deny", ()),
        limits,
        from_headers=from_headers,
        cwd_allowed=allowed,
        cwd_trust=server.cwd_trust,
        pin=server.pin,
        needs_pin=needs_pin,
        outside=tuple(base / expand_home(name) for name in _files_outside(server)),
        pending=True,
    )
    config = attrs.evolve(config, resolver=partial(_resolve, config, server, base, environment))
    # Without other files and helpers the variables can be read at once.
    return config if server.secrets or server.env_file else config.resolved(Helpers())


def _remote_server(
    name: str, server: Server, limits: Limits, base: Path, environment: Mapping[str, str]
) -> ServerConfig:
    where = f"servers.{name}"
    try:
        remote = remote_of(server, base)
        limits = changed_limits(limits, server.limits)
    except BadLimit as fault:
        raise BadConfig(f"{where}: limits: {fault}") from None
    except BadCredential as fault:
        raise BadConfig(f"{where}: {fault}") from None
    sources = filter(is_file_source, server.secret_headers.values())
    config = ServerConfig(
        name,
        era=server.era,
        share=server.share,
        eager=server.start == "eager",
        allow=server.tools.get("allow", (ALL,)),
        deny=server.tools.get("deny", ()),
        without=server.features.get("deny", ()),
        limits=limits,
        outside=tuple(base / expand_home(file) for file in (*files_of(server), *sources)),
        pending=True,
        remote=remote,
    )
    config = attrs.evolve(
        config, resolver=partial(_resolve_remote, config, remote, server, base, environment)
    )
    return config if server.secret_headers else config.resolved(Helpers())


def _resolve_remote(
    config: ServerConfig,
    remote: Remote,
    server: Server,
    base: Path,
    environment: Mapping[str, str],
    helpers: Helpers,
) -> ServerConfig:
    """Return the configuration of a remote server with its secrets, or with the reason why it cannot be used."""
    try:
        found = with_secrets(remote, server, base, environment, helpers)
    except (BadCredential, BadRemote) as fault:
        return attrs.evolve(config, pending=False, fault=str(fault))
    return attrs.evolve(config, pending=False, remote=found)


def _resolve(
    config: ServerConfig, server: Server, base: Path, environment: Mapping[str, str], helpers: Helpers
) -> ServerConfig:
    """Return the configuration of a server with all its variables, or with the reason why it cannot start."""
    try:
        variables, names, hidden = _variables(server, base, environment, helpers)
        check_program(server.words[0])
        if config.cwd_allowed and not config.cwd_trust:
            check_directory_code(server.words, variables)
    except (BadEnvironment, BadCredential, NotRunnable) as fault:
        return attrs.evolve(config, pending=False, fault=str(fault))
    launch = attrs.evolve(config.launch, env=variables)
    names = {*names, *config.from_headers}
    whole = attrs.evolve(
        config,
        pending=False,
        launch=launch,
        hidden=hidden,
        variables=tuple(sorted(names)),
        withheld=withheld(environment, {**config.from_headers, **variables}),
    )
    missing = why_not_there(launch)
    return attrs.evolve(whole, fault=missing, not_there=True) if missing else whole


def _aggregate(
    wanted: Aggregate,
    file: File,
    servers: Iterable[ServerConfig],
    unix: Path | None,
    limits: Limits,
    environment: Mapping[str, str],
) -> ServerConfig:
    known = {server.name: server for server in servers}
    if unix is None:
        raise BadConfig("aggregate: it needs the Unix socket, but listen.unix is false")
    if AGGREGATE in known:
        raise BadConfig(f"servers.{AGGREGATE}: the name is reserved for the [aggregate]")
    for name in wanted.servers:
        if name not in known:
            raise BadConfig(f"aggregate: servers: {why_not_served(name, file, known)}")
        if wanted.servers.count(name) > 1:
            raise BadConfig(f"aggregate: servers: {name!r} is listed {wanted.servers.count(name)} times")
    words = (sys.executable, "-m", "mcpbridged.bridge.aggregate.server", str(unix), *wanted.servers)
    launch = Launch(words, inherited(environment), umask=0o077)
    about = AggregateConfig(
        wanted.servers,
        wanted.name,
        wanted.version,
        wanted.title,
        wanted.instructions,
        tuple(sorted(set[str].intersection(*(set(known[name].without) for name in wanted.servers)))),
    )
    return ServerConfig(
        AGGREGATE, launch, "modern", "principal", limits=limits, knows_principal=True, aggregate=about
    )


def _files_outside(server: Server) -> Iterator[str]:
    if server.env_file:
        yield server.env_file
    yield from (source for source in server.secrets.values() if is_file_source(source))


def _check_variables(server: Server) -> None:
    """Check the variables of a server without reading them. Raises BadEnvironment, BadCredential."""
    for key in (*server.pass_env, *server.withhold_env):
        check_entry(key)
    for key, value in server.env.items():
        check_variable(key, value)
    if server.env_file:
        expand_home(server.env_file)
    for key, source in server.secrets.items():
        check_variable(key)
        check_source(source)


def _variables(
    server: Server, base: Path, environment: Mapping[str, str], helpers: Helpers
) -> tuple[dict[str, str], set[str], frozenset[str]]:
    """Return all variables, the names of those that only this server has, and the names of secrets."""
    hidden: dict[str, str] = {}
    variables = inherited(environment, server.withhold_env)
    passed: dict[str, str] = {}
    for key in server.pass_env:
        passed |= passed_variables(key, environment)
    variables |= passed
    if server.env_file:
        content = read_private(base / expand_home(server.env_file), "environment file")
        hidden |= read_variables(content.decode(errors="replace"))
    variables |= server.env
    for key, source in server.secrets.items():
        try:
            hidden[key] = read_secret(source, environment, base, helpers)
        except BadCredential as fault:
            raise BadCredential(f"{fault} (secrets.{key})") from None
    variables |= hidden
    if server.path:
        # execvp(3) searches os.defpath without a PATH.
        found = variables.get("PATH") or os.defpath
        variables["PATH"] = os.pathsep.join([*map(str, map(expand_home, server.path)), found])
    # The entries of pass_env and not the variables found for them: the proxies differ from login to login.
    names = {*server.pass_env, *server.env, *hidden}
    return variables, names, frozenset(hidden) | (secret_names(passed) - server.env.keys())


def _from_headers(server: Server) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        for variable, name in server.env_from_header.items():
            check_from_client(variable, server.env_from_header_allow)
            found[variable] = header_name(name)
    except BadEnvironment as fault:
        raise BadEnvironment(f"env_from_header: {fault}") from None
    if found and server.share == "server":
        raise BadEnvironment(
            'env_from_header: with share = "server" all clients have one process, which cannot have the values of each'
        )
    return found


def parse_address(http: str | Literal[False]) -> tuple[str, int | None]:
    """Return the host and the TCP port of `listen.http`. Raises BadConfig."""
    if http is False:
        return "127.0.0.1", None
    host, colon, port = http.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not (port.isascii() and port.isdecimal() and int(port) <= LARGEST_PORT):
        raise BadConfig(f"listen: http: must be ADDRESS:PORT, not {shown(http)}")
    try:
        check_loopback(host)
    except BadAddress as fault:
        raise BadConfig(f"listen: http: {fault}") from None
    return host, int(port)


def socket_path(unix: bool | str, environment: Mapping[str, str]) -> Path | None:  # noqa: FBT001 - the value of the file
    """Return the path of `listen.unix`, or None without a Unix socket. Raises BadConfig."""
    if not unix:
        return None
    path = default_socket(environment) if unix is True else _file(unix, Path())
    if path is None or not path.is_absolute():
        raise BadConfig(f"listen: unix: must be an absolute path, not {shown(str(path))}")
    length = len(os.fsencode(path))
    if length > _LONGEST_SOCKET:
        raise BadConfig(f"listen: unix: {path} has {length} bytes, and the limit is {_LONGEST_SOCKET}")
    return path


def _check_pages(listen: Listen) -> None:
    taken = {READY, *attrs.astuple(Paths())}
    try:
        for host in listen.hosts:
            check_host(host)
        for origin in listen.origins:
            check_origin(origin)
        for path in listen.health:
            check_path(path)
            if path.startswith(_OURS) or not taken.isdisjoint(spellings(path)):
                raise BadConfig(f"listen: health: {path} is already the path of another endpoint")
    except BadAddress as fault:
        raise BadConfig(f"listen: {fault}") from None


def _check_tokens(tokens: Mapping[str, Token]) -> None:
    known: dict[str, str] = {}
    for name, token in tokens.items():
        if known.setdefault(token.sha256, name) != name:
            raise BadConfig(f"tokens.{name}: sha256 is that of tokens.{known[token.sha256]} as well")


def check_token_servers(name: str, servers: Iterable[str], file: File) -> None:
    """Check that the servers of a token exist. Raises BadConfig."""
    for server in servers:
        if server not in (ALL, AGGREGATE, *file.servers):
            raise BadConfig(
                f"tokens.{name}: servers: there is no server {shown(server)}; there are "
                f"{', '.join(file.servers) or 'none'}{suggestion(server, file.servers)}"
            )


def _token(name: str, token: Token, file: File) -> TokenConfig:
    check_token_servers(name, token.servers, file)
    return TokenConfig(
        name,
        bytes.fromhex(token.sha256),
        frozenset(token.servers),
        token.tools.get("allow", (ALL,)),
        token.tools.get("deny", ()),
        token.features.get("deny", ()),
    )


def _file(name: str, base: Path) -> Path | None:
    try:
        return base / expand_home(name) if name else None
    except BadCredential as fault:
        raise BadConfig(f"listen: {fault}") from None
