"""Build the settings of the daemon from the tables of the configuration file.

No process is started, and no secret is read, before the whole file is known to be valid.
"""

import contextlib
import os
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, Literal

import attrs

from ...transports.options import Launch, Paths
from ...validators.client_certificate import check_name
from ...validators.forwarded import TrustedProxies, parse_networks
from ...validators.limits import Limits
from ...validators.token_bucket import Rate, parse_rate
from ..core.content_policy import ContentModes
from ..core.request_rates import TRANSPORTS, RateTable, ServerRates, ToolRates
from .access_token_settings import settings_of as access_token_settings
from .aggregate_checks import members_of
from .checks import check_values, oauth_helper, parse_address, socket_path
from .child_directory import check_directory_code, client_directories
from .child_environment import (
    BadEnvironment,
    inherited,
    passed_variables,
    read_lines,
    secret_names,
    withheld,
)
from .content import content_modes
from .credentials import BOOT, BadCredential, expand_home, is_file_source, read_private, read_secret
from .executable import NotRunnable, check_program, why_not_there
from .expansion import NotSet, expanded
from .header_names import header_name
from .helper_programs import Helpers
from .remote import Remote
from .remote_table import BadRemote, files_of, remote_of, with_secrets
from .sandbox import BadSandbox, own_files, sandbox_of, why_path_missing
from .schema import Aggregate, File, NamedAggregate, Server, Token
from .settings import (
    AGGREGATE,
    AGGREGATE_VARIABLE,
    ALL,
    AdminConfig,
    AggregateConfig,
    AuditConfig,
    ServerConfig,
    ServerFault,
    Settings,
    TokenConfig,
    changed_limits,
)
from .tables import BadConfig, Fault, Reading, examine, examine_text, has_no_statement, located_in
from .xdg import stopping_path

# Secrets are read in so many threads.
_SIDE_BY_SIDE: Final = 8


def load(path: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings of a file, with the secrets that it names. Blocks. Raises BadConfig."""
    settings = plan(path, environment)
    settings = resolved(settings, Helpers(settings.limits.helper_seconds))
    check_resolved(settings, path)
    return settings


def plan_text(text: str, path: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings of a text that may become the content of a file, as `plan`. Raises BadConfig."""
    return plan_tables(examine_text(text.encode()), path, environment)


def plan(path: Path, environment: Mapping[str, str], log_format: str = "") -> Settings:
    """Return the settings of a file, without its secrets. Raises BadConfig with all errors of the file.

    `log_format` is that of the command line, which takes precedence over the file.

    A server whose secrets have not been read is `pending`. A server that needs a value which this machine does not have
    carries the reason as `fault`.
    """
    reading = examine(path)
    settings = plan_tables(reading, path, environment)
    settings = attrs.evolve(settings, is_empty=has_no_statement(reading.text))
    if not log_format:
        return settings
    return attrs.evolve(settings, log_format=log_format, log_format_given=log_format)


def plan_tables(reading: Reading, path: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings of these tables, as `plan`. Raises BadConfig with all errors."""
    if reading.whole:
        check_values(reading, environment)
    reading.check(path)
    return _planned(reading.file, path, environment)


def resolved(settings: Settings, helpers: Helpers) -> Settings:
    """Return the settings with the secrets of all servers, which are read in parallel. Blocks."""

    def look(server: ServerConfig) -> ServerConfig:
        return server.resolved(helpers) if server.pending else server

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return attrs.evolve(settings, servers=tuple(pool.map(look, settings.servers)))


def build_settings(file: File, path: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings of these tables, with their secrets. Blocks. Raises BadConfig, also for an unreadable secret."""
    settings = plan_tables(Reading(file, ""), path, environment)
    settings = resolved(settings, Helpers(settings.limits.helper_seconds))
    check_resolved(settings)
    return settings


def check_resolved(settings: Settings, path: Path | None = None) -> None:
    """Raise BadConfig with the errors of the secrets and files that servers need, except missing programs."""
    faults = [
        fault
        for server in settings.servers
        if server.fault and not server.not_there
        for fault in faults_of(server)
    ]
    if faults:
        raise BadConfig(faults=located_in(path, faults) if path else faults)


def faults_of(server: ServerConfig) -> list[Fault]:
    """Return the reasons why a server cannot start, with the keys that they are about."""
    path = ("servers", server.name)
    return [Fault(f"servers.{server.name}: {text}", (*path, *keys)) for keys, text in server.faults]


def _planned(file: File, path: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings of tables that have no errors."""
    limits = changed_limits(Limits(), file.limits)
    hidden = own_files(path, environment, _private_files(file, path.parent))
    servers = [
        _server(
            name,
            _with_features(server, file),
            limits,
            path.parent,
            environment,
            hidden,
            needs_pin=file.approval,
            definitions=file.definitions,
            validate=server.validate or file.validate,
            content=content_modes(server.content, file.content),
        )
        for name, server in file.servers.items()
        if server.enabled
    ]
    host, port = parse_address(file.listen.http)
    unix = socket_path(file.listen.unix, environment)
    if unix is not None:
        servers += _aggregates(file, servers, unix, limits, environment)
    return Settings(
        servers=tuple(servers),
        host=host,
        port=port,
        unix=unix,
        authenticate=file.listen.authenticate,
        token_source=file.listen.token,
        token_overlap=file.listen.token_overlap,
        state_key_sources=file.listen.request_state_keys,
        tokens=tuple(_token(name, token) for name, token in file.tokens.items()),
        tls_certificate=_file(file.listen.tls_cert, path.parent),
        tls_key=_file(file.listen.tls_key, path.parent),
        tls_client_ca=_file(file.listen.tls_client_ca, path.parent),
        requires_certificate=file.listen.tls_client_cert == "required",
        takes_basic=file.listen.basic,
        proxies=TrustedProxies(parse_networks(file.listen.trusted_proxies), file.listen.forwarded_header),
        root_path=file.listen.root_path,
        hosts=frozenset(file.listen.hosts),
        origins=frozenset(file.listen.origins),
        root=AGGREGATE if file.aggregate else "",
        paths=Paths() if file.aggregate else Paths("", "", "", "", ""),
        health=file.listen.health,
        limits=limits,
        log_level=file.log.level,
        log_format=file.log.format,
        log_calls=file.log.calls,
        log_file=_file(file.log.file, path.parent),
        counts_calls=file.metrics.enabled or file.admin.enabled,
        audit=AuditConfig(file.audit.enabled, _file(file.audit.file, path.parent), file.audit.calls),
        shows_output=file.errors.stderr == "owner",
        metrics=file.metrics.enabled,
        otlp_endpoint=file.traces.otlp_endpoint,
        admin=AdminConfig(file.admin.enabled, file.admin.actions),
        oauth_helper=oauth_helper(file),
        access_tokens=None
        if file.access_tokens is None
        else access_token_settings(file.access_tokens, path.parent),
        rates=_rates(file),
        connections_of=_quotas(file, "connections"),
        sessions_of=_quotas(file, "sessions"),
        file=path,
    )


def _rates(file: File) -> RateTable:
    """Return the rates of all servers and tokens."""
    common = {str(key): rate for key, text in file.rates.items() if (rate := _rate(text))}
    return RateTable(
        principal=common.get("principal"),
        transports={key: common[key] for key in TRANSPORTS if key in common},
        server=common.get("server"),
        tools=_tool_rates(file.tool_rates),
        servers={
            name: ServerRates(
                _rate(server.rates.get("principal", "")),
                _rate(server.rates.get("server", "")),
                _tool_rates(server.tool_rates),
            )
            for name, server in file.servers.items()
            if server.rates or server.tool_rates
        },
        tokens={
            name: rate
            for name, token in file.tokens.items()
            if (rate := _rate(token.rates.get("requests", "")))
        },
    )


def _quotas(file: File, key: Literal["connections", "sessions"]) -> dict[str, int]:
    """Return a limit of the tokens that have one of their own, by the name of the token."""
    return {name: token.limits[key] for name, token in file.tokens.items() if key in token.limits}


def _rate(text: str) -> Rate | None:
    return parse_rate(text) if text else None


def _tool_rates(table: Mapping[str, str]) -> ToolRates:
    return tuple((pattern, rate) for pattern, text in table.items() if (rate := _rate(text)))


def _with_features(server: Server, file: File) -> Server:
    """Return the table of a server with the features that are denied for all servers."""
    common = file.features.get("deny", ())
    if not common:
        return server
    denied = tuple(dict.fromkeys((*common, *server.features.get("deny", ()))))
    return attrs.evolve(server, features={"deny": denied})


def _server(
    name: str,
    server: Server,
    limits: Limits,
    base: Path,
    environment: Mapping[str, str],
    hidden: tuple[str, ...],
    *,
    needs_pin: bool,
    definitions: str,
    validate: str,
    content: ContentModes,
) -> ServerConfig:
    if server.url:
        return _remote_server(name, server, limits, base, environment, definitions, validate, content)
    try:
        server = expanded(server, environment)
    except NotSet as fault:
        key = str(fault).partition(":")[0]
        return ServerConfig(name, Launch(server.words, {})).failed([((key,), str(fault))])
    allowed = client_directories(f"servers.{name}", server)
    # Nothing is resolved in the directory of a client before a process is started there.
    cwd = Path("/") if allowed else expand_home(server.cwd) if server.cwd else None
    limits = changed_limits(limits, server.limits)
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
        argument_bytes=tuple(server.argument_bytes.items()),
        from_headers={key: header_name(name) for key, name in server.env_from_header.items()},
        cwd_allowed=allowed,
        cwd_trust=server.cwd_trust,
        pin=server.pin,
        needs_pin=needs_pin,
        definitions=server.definitions or definitions,
        validate=validate,
        content=content,
        outside=tuple(base / expand_home(name) for name in _files_outside(server)),
        pending=True,
    )
    config = attrs.evolve(config, resolver=partial(_resolve, config, server, base, environment, hidden))
    # Without other files and helpers the variables can be read at once.
    return config if server.secrets or server.env_file else config.resolved(Helpers())


def _remote_server(
    name: str,
    server: Server,
    limits: Limits,
    base: Path,
    environment: Mapping[str, str],
    definitions: str,
    validate: str,
    content: ContentModes,
) -> ServerConfig:
    remote = remote_of(server, base)
    limits = changed_limits(limits, server.limits)
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
        argument_bytes=tuple(server.argument_bytes.items()),
        outside=tuple(base / expand_home(file) for file in (*files_of(server), *sources)),
        pending=True,
        remote=remote,
        definitions=server.definitions or definitions,
        validate=validate,
        content=content,
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
        return config.failed([(("secret_headers",), str(fault))])
    return attrs.evolve(config, pending=False, remote=found)


def _resolve(
    config: ServerConfig,
    server: Server,
    base: Path,
    environment: Mapping[str, str],
    hidden: tuple[str, ...],
    helpers: Helpers,
) -> ServerConfig:
    """Return the configuration of a server with all its variables, or with the reason why it cannot start."""
    faults: list[ServerFault] = []
    variables, names, secrets = _variables(server, base, environment, helpers, faults)
    with _noted(faults, "command"):
        check_program(server.words[0])
    if not faults and config.cwd_allowed and not config.cwd_trust:
        with _noted(faults, "cwd"):
            check_directory_code(server.words, variables)
    launch = attrs.evolve(config.launch, env=variables)
    if not faults:
        try:
            launch = attrs.evolve(launch, sandbox=sandbox_of(server, launch, hidden))
        except BadSandbox as fault:
            faults.append(((fault.key,), str(fault)))
    if faults:
        return config.failed(faults)
    names = {*names, *config.from_headers}
    whole = attrs.evolve(
        config,
        pending=False,
        launch=launch,
        hidden=secrets,
        variables=tuple(sorted(names)),
        withheld=withheld(environment, {**config.from_headers, **variables}),
    )
    missing = why_not_there(launch)
    key = "cwd" if missing.startswith("cwd ") else "command"
    if not missing:
        key, missing = why_path_missing(launch.sandbox)
    if not missing:
        return whole
    return attrs.evolve(whole.failed([((key,), missing)]), not_there=True)


@contextmanager
def _noted(faults: list[ServerFault], *keys: str) -> Generator[None]:
    """Add an exception of the block to the reasons why a server cannot start."""
    try:
        yield
    except (BadEnvironment, BadCredential, NotRunnable) as fault:
        faults.append((keys, str(fault)))


def _aggregates(
    file: File,
    servers: Iterable[ServerConfig],
    unix: Path,
    limits: Limits,
    environment: Mapping[str, str],
) -> list[ServerConfig]:
    known = {server.name: server for server in servers}
    wanted: dict[str, Aggregate | NamedAggregate] = {**file.aggregates}
    if file.aggregate is not None:
        wanted = {AGGREGATE: file.aggregate, **wanted}
    found: list[ServerConfig] = []
    for name, one in wanted.items():
        about = _about(name, one, known)
        words = (sys.executable, "-m", "mcpbridged.bridge.aggregate.server", str(unix), *about.servers)
        variables = inherited(environment)
        if about.named:
            variables |= {AGGREGATE_VARIABLE: name}
        launch = Launch(words, variables, umask=0o077)
        found.append(
            ServerConfig(
                name,
                launch,
                "modern",
                "principal",
                limits=limits,
                knows_principal=True,
                aggregate=about,
                validate=file.validate,
            )
        )
    return found


def _about(
    name: str, wanted: Aggregate | NamedAggregate, known: Mapping[str, ServerConfig]
) -> AggregateConfig:
    """Return what the process of an aggregate is sent."""
    servers = members_of(wanted.servers, known)
    without = tuple(sorted(set[str].intersection(*(set(known[server].without) for server in servers))))
    about = AggregateConfig(
        servers, wanted.name or name, wanted.version, wanted.title, wanted.instructions, without
    )
    if isinstance(wanted, Aggregate):
        return about
    return attrs.evolve(
        about,
        named=True,
        allow=wanted.tools.get("allow", (ALL,)),
        deny=wanted.tools.get("deny", ()),
        rename=wanted.rename,
        describe=wanted.describe,
        surface=wanted.surface,
    )


def _private_files(file: File, base: Path) -> Iterator[Path]:
    """Yield the files with secrets, and the socket, that the configuration names."""
    names = [name for server in file.servers.values() if not server.url for name in _files_outside(server)]
    names += [
        source
        for server in file.servers.values()
        for source in server.secret_headers.values()
        if is_file_source(source)
    ]
    names += [key for server in file.servers.values() if (key := server.client_key)]
    names += [file.listen.tls_key]
    names += [file.listen.token] if is_file_source(file.listen.token) and file.listen.token != BOOT else []
    names += filter(is_file_source, file.listen.request_state_keys)
    for name in filter(None, names):
        # A path that cannot be expanded is reported by the server or listener that uses it.
        with contextlib.suppress(BadCredential):
            yield base / expand_home(name)
    # With bwrap a listed directory gives its sockets.
    if isinstance(file.listen.unix, str) and file.listen.unix:
        socket = base / expand_home(file.listen.unix)
        yield socket
        if socket.name:
            yield stopping_path(socket)


def _files_outside(server: Server) -> Iterator[str]:
    if server.env_file:
        yield server.env_file
    yield from (source for source in server.secrets.values() if is_file_source(source))


def _variables(
    server: Server, base: Path, environment: Mapping[str, str], helpers: Helpers, faults: list[ServerFault]
) -> tuple[dict[str, str], set[str], frozenset[str]]:
    """Return all variables, the names of those that only this server has, and the names of secrets.

    A variable that cannot be read is added to `faults`.
    """
    hidden: dict[str, str] = {}
    variables = inherited(environment, server.withhold_env)
    passed: dict[str, str] = {}
    for key in server.pass_env:
        with _noted(faults, "pass_env"):
            passed |= passed_variables(key, environment)
    variables |= passed
    if server.env_file:
        with _noted(faults, "env_file"):
            hidden |= _variables_of_file(base / expand_home(server.env_file), faults)
    variables |= server.env
    for key, source in server.secrets.items():
        try:
            hidden[key] = read_secret(source, environment, base, helpers)
        except BadCredential as fault:
            faults.append((("secrets", key), f"{fault} (secrets.{key})"))
    variables |= hidden
    if server.path:
        # execvp(3) searches os.defpath without a PATH.
        found = variables.get("PATH") or os.defpath
        variables["PATH"] = os.pathsep.join([*map(str, map(expand_home, server.path)), found])
    # The entries of pass_env and not the variables found for them: the proxies differ from login to login.
    names = {*server.pass_env, *server.env, *hidden}
    return variables, names, frozenset(hidden) | (secret_names(passed) - server.env.keys())


def _variables_of_file(path: Path, faults: list[ServerFault]) -> dict[str, str]:
    """Return the variables of an environment file, and add the errors of its lines. Blocks. Raises BadCredential."""
    content = read_private(path, "environment file").decode(errors="replace")
    found, bad_lines = read_lines(content)
    faults += ((("env_file",), f"env_file: {path}:{number}: {reason}") for number, reason in bad_lines)
    return found


def _token(name: str, token: Token) -> TokenConfig:
    return TokenConfig(
        name,
        bytes.fromhex(token.sha256),
        frozenset(token.permitted_servers),
        token.tools.get("allow", (ALL,)),
        token.tools.get("deny", ()),
        token.features.get("deny", ()),
        token.metrics,
        frozenset(token.permitted_aggregates),
        token.methods,
        token.read_only,
        token.expires,
        bytes.fromhex(token.former),
        token.former_expires,
        token.secret,
        frozenset(map(check_name, token.certificates)),
    )


def _file(name: str, base: Path) -> Path | None:
    return base / expand_home(name) if name else None
