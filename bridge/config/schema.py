"""The configuration file: TOML in, `Settings` out, and every fault named with its file, key, limit and value.

The classes here are the file's shape; the JSON Schema for editors and the manual are made of the same ones. Nothing is
started, and no secret is read, before the whole file has been understood.
"""

import hashlib
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from secrets import token_hex as random_name
from typing import Annotated, Any, Final, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import attrs
import msgspec
from msgspec import Meta

from ...transports.options import LOCAL, Launch, Paths, spellings
from ...validators.limits import Limits
from .addresses import BadAddress, check_host, check_loopback, check_origin, check_path
from .child_environment import (
    BadEnvironment,
    check_from_client,
    check_variable,
    check_wish,
    inherited,
    passed_on,
    read_variables,
    secrets_of,
    shown,
    withheld,
)
from .credentials import (
    PRINCIPAL,
    BadCredential,
    check_source,
    check_trusted,
    directory_in,
    expanded,
    home_in,
    names_file,
    read_private,
    read_secret,
    runtime_directory,
    sync_directory,
)
from .executable import NotRunnable, check_program, check_word, why_not_there
from .header_names import header_name
from .helper_programs import Helpers
from .settings import (
    AGGREGATE,
    ALL,
    READY,
    AggregateConfig,
    BadLimit,
    ServerConfig,
    Settings,
    TokenConfig,
    changed_limits,
)

T = TypeVar("T")

# A file of a thousand servers has some hundred kilobytes.
LARGEST: Final = 1024 * 1024
_MOST_SERVERS: Final = 256
# The helpers that run at the same time when all secrets are read.
_SIDE_BY_SIDE: Final = 8
_VERSION: Final = 1
# Keys whose values may hold a secret, so that no error shows them.
_NEVER_SHOWN: Final = frozenset({"command", "args", "env", "headers", "secrets", "sha256", "token", "url"})
# More decimal digits than Python reads as one number, with the underscores that TOML lets stand between them.
_LONG_NUMBER: Final = re.compile(r"[0-9](?:_?[0-9]){4300,}")
# The form of the log, in its table or by its whole name, in a text that is no TOML.
_FORMAT: Final = re.compile(
    r"""^\s*(?:\[\s*["']?log["']?\s*\][^\[]*?^\s*|["']?log["']?\s*\.\s*|["']?log["']?\s*=\s*\{[^}\n]*?)"""
    r"""["']?format["']?\s*=\s*["'](\w+)["']""",
    re.MULTILINE,
)
# The head of a table, and the key of a line, as most files are written.
_HEADER: Final = re.compile(r"\s*\[{1,2}([^\[\]]+)\]")
_KEY: Final = re.compile(r"""\s*([\w."' -]+?)\s*=""")
# sun_path of unix(7) without its end, in bytes.
_LONGEST_SOCKET: Final = 107
# Where the servers' paths, and those of the person's commands, begin.
_OURS: Final = ("/servers/", "/control/")
# What a name of 255 bytes has room for beside what a draft of a file adds to it.
_DRAFT_NAME: Final = 200
NAME: Final = r"^[a-z0-9][a-z0-9-]{0,31}\Z"
_LONGEST_NAME: Final = 32

Text = Annotated[str, Meta(max_length=4096)]
LimitTable = dict[str, int | float]
Feature = Literal[
    "tools", "resources", "prompts", "completions", "logging", "sampling", "elicitation", "roots"
]


class BadConfig(Exception):
    """A configuration that cannot be used; the text names the file, the key, the limit and the value.

    `table` and `key` say where in the file it is, if that is known.
    """

    def __init__(self, text: str, table: str = "", key: str = "") -> None:
        super().__init__(text)
        self.table = table
        self.key = key


@attrs.frozen
class Listen:
    """[listen]: where clients find us."""

    http: Annotated[
        Text | Literal[False], Meta(description="The loopback address and TCP port, or false for no TCP.")
    ] = "127.0.0.1:8808"
    unix: Annotated[
        bool | Text,
        Meta(
            description="The Unix socket: a path, true for $XDG_RUNTIME_DIR/mcp-bridge/mcp-bridge.sock, or false."
        ),
    ] = True
    authenticate: Annotated[bool, Meta(description="Whether a bearer token is asked for over TCP.")] = True
    token: Annotated[
        Text,
        Meta(
            description='Where the owner\'s token is kept, see SECRETS; empty for one that is minted and kept, "boot" for one of each boot.'
        ),
    ] = ""
    tls_cert: Annotated[Text, Meta(description="The file of the certificate chain (PEM).")] = ""
    tls_key: Annotated[Text, Meta(description="The file of its key (PEM).")] = ""
    hosts: Annotated[
        tuple[Text, ...],
        Meta(description="Further names by which clients may call, such as localhost:9000 through a tunnel."),
    ] = ()
    origins: Annotated[
        tuple[Text, ...], Meta(description="Origins whose pages may call, such as http://localhost:6274.")
    ] = ()
    health: Annotated[tuple[Text, ...], Meta(description="Paths that answer 'ok' without a credential.")] = (
        "/healthz",
    )


@attrs.frozen
class Log:
    """[log]: what is said on stderr."""

    level: Annotated[Literal["debug", "info", "warning", "error", "none"], Meta(description="How much.")] = (
        "info"
    )
    format: Annotated[Literal["text", "json"], Meta(description="For people or for machines.")] = "text"
    calls: Annotated[bool, Meta(description="Whether each request of a client is told when it ends.")] = False


@attrs.frozen
class Server:
    """[servers.NAME]: one stdio server."""

    command: Annotated[
        tuple[Text, ...],
        Meta(min_length=1, max_length=256, description="The program and its arguments; no shell reads them."),
    ]
    enabled: Annotated[bool, Meta(description="Whether it is served.")] = True
    share: Annotated[
        Literal["", "session", "client", "principal", "server"],
        Meta(description="Who shares a process of it; empty for what suits the client's era."),
    ] = ""
    era: Annotated[
        Literal["auto", "legacy", "modern", "dual"], Meta(description="Which protocol eras it speaks.")
    ] = "auto"
    start: Annotated[
        Literal["lazy", "eager"],
        Meta(description="Whether the first process of it waits for a client, or starts with the daemon."),
    ] = "lazy"
    spare: Annotated[
        int,
        Meta(
            ge=0,
            le=8,
            description="Processes that are started ahead, so that a new session need not wait for one.",
        ),
    ] = 0
    tools: Annotated[
        dict[Literal["allow", "deny"], tuple[Text, ...]],
        Meta(
            description="Patterns of the tools that clients see and may call, and of those that they may not."
        ),
    ] = attrs.field(factory=dict[Literal["allow", "deny"], tuple[str, ...]])
    features: Annotated[
        dict[Literal["deny"], tuple[Feature, ...]],
        Meta(description="Parts of the protocol that are switched off."),
    ] = attrs.field(factory=dict[Literal["deny"], tuple[Feature, ...]])
    cwd: Annotated[Text, Meta(description="The working directory, an absolute path; ~ is the home.")] = ""
    umask: Annotated[
        str,
        Meta(
            pattern=r"^(?:0?[0-7]{3})?\Z",
            description="The file mode creation mask, octal; empty for that of a login.",
        ),
    ] = ""
    rlimits: Annotated[
        dict[Literal["as", "cpu", "fsize", "nofile", "nproc"], Annotated[int, Meta(ge=0, le=2**63 - 1)]],
        Meta(description="Limits of its processes, as in getrlimit(2): bytes, seconds or counts."),
    ] = attrs.field(factory=dict[Literal["as", "cpu", "fsize", "nofile", "nproc"], int])
    private_tmp: Annotated[
        bool, Meta(description="Whether TMPDIR is a directory of its own, removed when the process ends.")
    ] = False
    env: Annotated[dict[str, Text], Meta(description="Variables that are no secrets, with their values.")] = (
        attrs.field(factory=dict[str, str])
    )
    env_file: Annotated[Text, Meta(description="A file of KEY=VALUE lines that only you can read.")] = ""
    pass_env: Annotated[
        tuple[Text, ...],
        Meta(description="Variables of ours that it gets as well, or @ and a group of them."),
    ] = ()
    withhold_env: Annotated[
        tuple[Text, ...],
        Meta(description="Variables of ours, or groups, that it does not get although servers usually do."),
    ] = ()
    path: Annotated[
        tuple[Text, ...],
        Meta(description="Directories that come before those of PATH, absolute paths; ~ is the home."),
    ] = ()
    secrets: Annotated[
        dict[str, Text], Meta(description="Variables whose values are kept elsewhere: see SECRETS.")
    ] = attrs.field(factory=dict[str, str])
    env_from_header: Annotated[
        dict[str, Text], Meta(description="Variables that a client brings, with the headers that hold them.")
    ] = attrs.field(factory=dict[str, str])
    env_from_header_allow: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9_*]{1,64}\Z")], ...],
        Meta(max_length=64, description="Patterns of the variables that clients may bring."),
    ] = ()
    pin: Annotated[
        str,
        Meta(
            pattern=r"^(?:sha256:[0-9a-f]{64})?\Z",
            description="What it may start and nothing else, as `mcp-bridge approve NAME` writes it.",
        ),
    ] = ""
    limits: Annotated[
        LimitTable, Meta(description="Changes of limits for this server; mcp-bridge(1) lists them.")
    ] = attrs.field(factory=dict[str, int | float])


@attrs.frozen
class Token:
    """[tokens.NAME]: a credential, whose name is the principal."""

    sha256: Annotated[
        str,
        Meta(
            pattern=r"^[0-9a-f]{64}\Z",
            description="The SHA-256 of the token; `mcp-bridge token new NAME` makes both.",
        ),
    ]
    servers: Annotated[tuple[Text, ...], Meta(description="The servers it may use; * is every one.")] = (ALL,)
    tools: Annotated[
        dict[Literal["allow", "deny"], tuple[Text, ...]],
        Meta(description="Patterns of the tools that it may see and call, and of those that it may not."),
    ] = attrs.field(factory=dict[Literal["allow", "deny"], tuple[str, ...]])
    features: Annotated[
        dict[Literal["deny"], tuple[Feature, ...]],
        Meta(description="Parts of the protocol that it may not use."),
    ] = attrs.field(factory=dict[Literal["deny"], tuple[Feature, ...]])


@attrs.frozen
class Aggregate:
    """[aggregate]: several servers offered as one, at /mcp and its like."""

    servers: Annotated[tuple[Text, ...], Meta(min_length=1, description="Which, in this order.")]
    name: Annotated[
        str, Meta(min_length=1, max_length=128, description="The name of it that clients get (serverInfo).")
    ] = "mcp-bridge aggregate"
    version: Annotated[
        str, Meta(max_length=128, description="Its version; empty for the version of mcp-bridge.")
    ] = ""
    title: Annotated[str, Meta(max_length=128, description="Its title for people; empty for none.")] = ""
    instructions: Annotated[
        str,
        Meta(
            max_length=65536,
            description="Its instructions for models; empty for those of the servers, one after the other.",
        ),
    ] = ""


@attrs.frozen
class File:
    """The whole file."""

    config_version: Annotated[int, Meta(ge=1, description="The version of this format.")] = _VERSION
    approval: Annotated[bool, Meta(description="Whether a server without a pin is not started.")] = False
    listen: Annotated[Listen, Meta(description="Where clients find us.")] = attrs.field(factory=Listen)
    log: Annotated[Log, Meta(description="What is said on stderr.")] = attrs.field(factory=Log)
    limits: Annotated[
        LimitTable, Meta(description="Changes of limits, for all servers; mcp-bridge(1) lists them.")
    ] = attrs.field(factory=dict[str, int | float])
    servers: Annotated[dict[str, Server], Meta(description="The servers by name.")] = attrs.field(
        factory=dict[str, Server]
    )
    aggregate: Annotated[Aggregate | None, Meta(description="Servers that are offered as one as well.")] = (
        None
    )
    tokens: Annotated[
        dict[str, Token], Meta(description="Further tokens by the name of their principal.")
    ] = attrs.field(factory=dict[str, Token])


# ---- from the text to the classes


def check_name(where: str, name: str) -> None:
    """Raise BadConfig for what cannot be the name of a server or a token."""
    try:
        msgspec.convert(name, Annotated[str, Meta(pattern=NAME)])
    except msgspec.ValidationError:
        raise BadConfig(
            f"{where}.{name[:40]!r}: a name is 1 to 32 lower-case letters, digits and dashes and begins with no dash"
        ) from None
    if where == "tokens" and name in (PRINCIPAL, LOCAL):
        raise BadConfig(f"tokens.{name}: this is what the owner is called; choose another name")


def default_path(environment: Mapping[str, str]) -> Path:
    """Where the configuration is when nobody says another place; never the working directory (attacks V27)."""
    home = directory_in(environment, "XDG_CONFIG_HOME") or home_in(environment) / ".config"
    return home / "mcp-bridge" / "config.toml"


def default_socket(environment: Mapping[str, str]) -> Path:
    """Where the Unix socket is when the configuration does not say another place."""
    return runtime_directory(environment) / "mcp-bridge.sock"


def load(path: Path, environment: Mapping[str, str]) -> Settings:
    """The settings of a file that nobody else can change, with the secrets that it names. Raises BadConfig."""
    file = read(path)
    try:
        return settings_of(file, path, environment)
    except BadConfig as fault:
        raise BadConfig(f"{path}: {fault}") from None


def plan(path: Path, environment: Mapping[str, str], log_format: str = "") -> Settings:
    """Return the settings of a file that nobody else can change, without its secrets. Raises BadConfig.

    `log_format` is what the command line says instead of the file, if anything.

    A server with a value that depends on the machine, and cannot be had, carries the reason; one whose secrets are still
    to be read is pending.
    """
    file = read(path)
    try:
        settings = _planned(file, path, environment)
        if not log_format:
            return settings
        return attrs.evolve(settings, log_format=log_format, log_format_given=log_format)
    except BadConfig as fault:
        raise BadConfig(f"{path}: {fault}") from None


def resolved(settings: Settings, helpers: Helpers) -> Settings:
    """Return the settings with the secrets of all servers, which are read side by side. Blocks."""

    def look(server: ServerConfig) -> ServerConfig:
        return server.resolved(helpers) if server.pending else server

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return attrs.evolve(settings, servers=tuple(pool.map(look, settings.servers)))


def read(path: Path) -> File:
    """The tables of a file that nobody else can change. Raises BadConfig."""
    try:
        if not path.exists():
            raise BadConfig(
                f"{path}: there is no such file; mcp-bridge.toml(5) says what it holds, and `mcp-bridge config import FILE` makes one"
            )
        check_trusted(path)
        if not path.is_file():
            raise BadConfig(f"{path} is not a regular file")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except BadCredential as fault:
        raise BadConfig(str(fault)) from None
    except OSError as fault:
        raise BadConfig(f"{path} cannot be read: {fault.strerror}") from None
    if len(data) > LARGEST:
        raise BadConfig(f"{path} has more than {LARGEST} bytes, the limit")
    try:
        return read_file(data)
    except BadConfig as fault:
        raise BadConfig(f"{path}: {fault}") from None


def limits_of(path: Path, server: str = "") -> Limits:
    """Return the limits that the file sets for a server, or for all; the usual ones where it cannot be read."""
    try:
        file = read(path) if path.exists() else File()
        limits = changed_limits(Limits(), file.limits)
        return changed_limits(limits, file.servers[server].limits) if server in file.servers else limits
    except (BadConfig, BadLimit):
        return Limits()


def log_format_of(path: Path) -> str:
    """Return the form of the log that a file chooses which may be wrong elsewhere; text where it cannot be read."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST).decode("utf-8-sig", errors="replace")
    except OSError:
        return "text"
    try:
        log: Any = tomllib.loads(text).get("log")
        form: Any = cast("dict[str, Any]", log).get("format") if isinstance(log, dict) else None
    except (ValueError, RecursionError):
        found = _FORMAT.search(text)
        form = found[1] if found else None
    return form if form == "json" else "text"


def read_file(data: bytes) -> File:
    """The file's tables, each key known and of its type. Raises BadConfig."""
    try:
        text = data.decode()
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        raise BadConfig(f"is not UTF-8 at byte {fault.start} (line {line})") from None
    if text.startswith("\ufeff"):
        raise BadConfig("begins with a byte order mark, which TOML has none of (line 1)")
    try:
        return _read_tables(_parsed(text))
    except RecursionError:
        raise BadConfig("is nested too deeply") from None
    except BadConfig as fault:
        line = line_of(text, fault.table, fault.key) if fault.key else 0
        if line:
            raise BadConfig(f"{fault} (line {line})", fault.table, fault.key) from None
        raise


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise BadConfig(str(fault)) from None
    except ValueError:
        # Python reads no decimal number of so many digits (sys.set_int_max_str_digits).
        number = _LONG_NUMBER.search(text)
        line = text.count("\n", 0, number.start()) + 1 if number else 0
        raise BadConfig(f"holds a number that is too long (line {line})") from None


def line_of(text: str, table: str, key: str) -> int:
    """Return the number of the line where this key of a table stands, or 0 where that cannot be told by its look."""
    inside = ""
    for number, line in enumerate(text.splitlines(), 1):
        if head := _HEADER.match(line):
            inside = head[1].replace('"', "").replace("'", "").replace(" ", "")
        whole = f"{table}.{key}" if table else key
        begun = f"{inside}." if inside else ""
        named = _KEY.match(line)
        if inside == whole or inside.startswith(f"{whole}."):
            return number
        if named:
            written = begun + named[1].replace('"', "").replace("'", "").replace(" ", "")
            if written == whole or written.startswith(f"{whole}."):
                return number
    return 0


def _read_tables(table: dict[str, Any]) -> File:
    version = table.get("config_version", _VERSION)
    if version != _VERSION:
        raise BadConfig(f"config_version: this program knows version {_VERSION}, not {shown(version)}")
    if len(_sub(table, "servers")) > _MOST_SERVERS:
        raise BadConfig(f"servers: there are {len(table['servers'])}, and the limit is {_MOST_SERVERS}")
    parts: dict[str, Any] = {
        "listen": _convert(Listen, table.pop("listen", {}), "listen"),
        "log": _convert(Log, table.pop("log", {}), "log"),
        "servers": _named(Server, table, "servers"),
        "tokens": _named(Token, table, "tokens"),
    }
    if "aggregate" in table:
        parts["aggregate"] = _convert(Aggregate, table.pop("aggregate"), "aggregate")
    rest = _convert(File, {key: value for key, value in table.items() if key not in parts}, "")
    return attrs.evolve(rest, **parts)


def _sub(table: dict[str, Any], key: str) -> dict[str, Any]:
    sub = table.get(key, {})
    if not isinstance(sub, dict):
        raise BadConfig(f"{key} must be a table, not {type(sub).__name__}", "", key)
    return cast("dict[str, Any]", sub)


def _named(cls: type[T], table: dict[str, Any], key: str) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, value in _sub(table, key).items():
        check_name(key, name)
        found[name] = _convert(cls, value, f"{key}.{name}")
    table.pop(key, None)
    return found


def _convert(cls: type[T], value: object, where: str) -> T:
    at = f"{where}: " if where else ""
    if not isinstance(value, dict):
        parent, _, last = where.rpartition(".")
        raise BadConfig(f"{at}must be a table, not {type(value).__name__}", parent, last)
    fields_of: tuple[attrs.Attribute[Any], ...] = attrs.fields(cls)  # type: ignore[arg-type]  # one of ours
    known = [field.name for field in fields_of]
    table = cast("dict[str, object]", value)
    for key in table:
        if key not in known:
            raise BadConfig(f"{at}there is no key {shown(key)}; there are {', '.join(known)}", where, key)
    hints = get_type_hints(cls, include_extras=True)
    fields: dict[str, Any] = {}
    for key, given in table.items():
        try:
            fields[key] = msgspec.convert(given, hints[key], strict=True)
        except msgspec.ValidationError as fault:
            if unknown := re.match(r"Invalid enum value ('.*?')(?: - at |$)", str(fault)):
                choices = ", ".join(map(repr, _choices(hints[key])))
                wrong = shown(unknown[1][1:-1])
                raise BadConfig(f"{at}{key}: there is no {wrong}; there are {choices}", where, key) from None
            reason = str(fault).replace(" - at `$", f" - at `{key}")
            told = "" if key in _NEVER_SHOWN else f", not {shown(given)}"
            raise BadConfig(f"{at}{key}: {reason}{told}", where, key) from None
        if _holds_zero(given):
            raise BadConfig(f"{at}{key}: holds a zero byte", where, key)
    try:
        return cls(**fields)
    except TypeError:
        missing = [
            field.name for field in fields_of if field.default is attrs.NOTHING and field.name not in fields
        ]
        raise BadConfig(f"{at}{', '.join(missing)} is missing") from None


def _choices(hint: object) -> list[str]:
    """The words that a type is made of, wherever in it they stand."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [word for inner in get_args(hint) for word in _choices(inner)]


def _holds_zero(value: object) -> bool:
    if isinstance(value, dict):
        table = cast("dict[object, object]", value)
        return any(map(_holds_zero, table)) or any(map(_holds_zero, table.values()))
    if isinstance(value, list):
        return any(map(_holds_zero, cast("list[object]", value)))
    return isinstance(value, str) and "\0" in value


# ---- from the classes to the settings


def settings_of(file: File, path: Path, environment: Mapping[str, str]) -> Settings:
    """What the file means in this environment, with its secrets. Raises BadConfig, also for a secret that cannot be had."""
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
    host, port = address_of(file.listen.http)
    unix = socket_of(file.listen.unix, environment)
    if file.aggregate is not None:
        servers.append(_aggregate(file.aggregate, file, servers, unix, limits, environment))
    if port is None and unix is None:
        raise BadConfig("listen: both http and unix are false, so nobody could connect")
    if bool(file.listen.tls_cert) != bool(file.listen.tls_key):
        raise BadConfig("listen: tls_cert and tls_key go together")
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
        paths=Paths() if file.aggregate else Paths("", "", "", ""),
        health=file.listen.health,
        limits=limits,
        log_level=file.log.level,
        log_format=file.log.format,
        log_calls=file.log.calls,
        file=path,
    )


def why_not_served(name: str, file: File, served: Iterable[str]) -> str:
    """What is told about a name that none of the served servers has."""
    if name in file.servers:
        return f"servers.{name} is not served: it says enabled = false"
    return f"there is no server {name!r}; there are {', '.join(served) or 'none'}"


def _server(
    name: str,
    server: Server,
    limits: Limits,
    base: Path,
    environment: Mapping[str, str],
    *,
    needs_pin: bool,
) -> ServerConfig:
    where = f"servers.{name}"
    try:
        cwd = expanded(server.cwd) if server.cwd else None
        if cwd is not None and not cwd.is_absolute():
            raise BadConfig(f"{where}: cwd: must be an absolute path, not {shown(server.cwd)}")
        for directory in server.path:
            if not expanded(directory).is_absolute() or os.pathsep in directory:
                raise BadConfig(
                    f"{where}: path: must hold absolute paths without {os.pathsep!r}, not {shown(directory)}"
                )
        _check_variables(server)
        from_headers = _from_headers(server)
        check_word(server.command[0])
        limits = changed_limits(limits, server.limits)
    except BadLimit as fault:
        raise BadConfig(f"{where}: limits: {fault}") from None
    except (BadEnvironment, BadCredential, NotRunnable) as fault:
        raise BadConfig(f"{where}: {fault}") from None
    launch = Launch(
        server.command,
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
        pin=server.pin,
        needs_pin=needs_pin,
        outside=tuple(base / expanded(name) for name in _files_outside(server)),
        pending=True,
    )
    config = attrs.evolve(config, resolver=partial(_resolve, config, server, base, environment))
    # What needs no other file and no helper is known at once.
    return config if server.secrets or server.env_file else config.resolved(Helpers())


def _resolve(
    config: ServerConfig, server: Server, base: Path, environment: Mapping[str, str], helpers: Helpers
) -> ServerConfig:
    """Return the configuration of a server with all its variables, or with the reason why it cannot be started."""
    try:
        variables, names, hidden = _variables(server, base, environment, helpers)
        check_program(server.command[0])
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
        raise BadConfig("aggregate: it needs the Unix socket, and listen.unix is false")
    if AGGREGATE in known:
        raise BadConfig(f"servers.{AGGREGATE}: this name is that of the [aggregate]")
    for name in wanted.servers:
        if name not in known:
            raise BadConfig(f"aggregate: servers: {why_not_served(name, file, known)}")
        if wanted.servers.count(name) > 1:
            raise BadConfig(f"aggregate: servers: {name!r} is there {wanted.servers.count(name)} times")
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
        AGGREGATE,
        launch,
        "modern",
        "principal",
        limits=limits,
        knows_principal=True,
        aggregate=about,
    )


def _files_outside(server: Server) -> Iterator[str]:
    if server.env_file:
        yield server.env_file
    yield from (source for source in server.secrets.values() if names_file(source))


def _check_variables(server: Server) -> None:
    """Raise BadEnvironment or BadCredential for what no machine could give a server."""
    for key in (*server.pass_env, *server.withhold_env):
        check_wish(key)
    for key, value in server.env.items():
        check_variable(key, value)
    if server.env_file:
        expanded(server.env_file)
    for key, source in server.secrets.items():
        check_variable(key)
        check_source(source)


def _variables(
    server: Server, base: Path, environment: Mapping[str, str], helpers: Helpers
) -> tuple[dict[str, str], set[str], frozenset[str]]:
    """All variables of its processes, and the names of those that are not as for every server, and that must not be shown."""
    hidden: dict[str, str] = {}
    variables = inherited(environment, server.withhold_env)
    passed: dict[str, str] = {}
    for key in server.pass_env:
        passed |= passed_on(key, environment)
    variables |= passed
    if server.env_file:
        content = read_private(base / expanded(server.env_file), "environment file")
        hidden |= read_variables(content.decode(errors="replace"))
    variables |= server.env
    for key, source in server.secrets.items():
        try:
            hidden[key] = read_secret(source, environment, base, helpers)
        except BadCredential as fault:
            raise BadCredential(f"{fault} (secrets.{key})") from None
    variables |= hidden
    if server.path:
        # os.defpath is where exec looks without a PATH.
        found = variables.get("PATH") or os.defpath
        variables["PATH"] = os.pathsep.join([*map(str, map(expanded, server.path)), found])
    # By the wish, not by what was found of it: which proxies there are differs from login to login.
    names = {*server.pass_env, *server.env, *hidden}
    return variables, names, frozenset(hidden) | (secrets_of(passed) - server.env.keys())


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
            'env_from_header: with share = "server" one process would get what every client brings'
        )
    return found


def address_of(http: str | Literal[False]) -> tuple[str, int | None]:
    """The host and the TCP port of `listen.http`. Raises BadConfig."""
    if http is False:
        return "127.0.0.1", None
    host, colon, port = http.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise BadConfig(f"listen: http: must be ADDRESS:PORT, not {shown(http)}")
    try:
        check_loopback(host)
    except BadAddress as fault:
        raise BadConfig(f"listen: http: {fault}") from None
    return host, int(port)


def socket_of(unix: bool | str, environment: Mapping[str, str]) -> Path | None:  # noqa: FBT001 - the file's own value
    """The path of `listen.unix`. Raises BadConfig."""
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
                raise BadConfig(f"listen: health: {path} leads somewhere else already")
    except BadAddress as fault:
        raise BadConfig(f"listen: {fault}") from None


def _check_tokens(tokens: Mapping[str, Token]) -> None:
    known: dict[str, str] = {}
    for name, token in tokens.items():
        if known.setdefault(token.sha256, name) != name:
            raise BadConfig(f"tokens.{name}: this is the token of {known[token.sha256]} as well")


def check_rights(name: str, servers: Iterable[str], file: File) -> None:
    """Raise BadConfig where this token would be good for a server that there is not."""
    for server in servers:
        if server not in (ALL, AGGREGATE, *file.servers):
            raise BadConfig(
                f"tokens.{name}: servers: there is no server {shown(server)}; there are {', '.join(file.servers) or 'none'}"
            )


def _token(name: str, token: Token, file: File) -> TokenConfig:
    check_rights(name, token.servers, file)
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
        return base / expanded(name) if name else None
    except BadCredential as fault:
        raise BadConfig(f"listen: {fault}") from None


# ---- changes by a program


def without_token(text: str, name: str) -> str:
    """The text without one token's table. Raises BadConfig where the table cannot be told from the rest."""
    kept: list[str] = []
    inside = False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            head = line.split("#")[0].strip()
            inside = head == f"[tokens.{name}]" or head.startswith(f"[tokens.{name}.")
        if not inside:
            kept.append(line)
    changed = "".join(kept)
    wanted = tomllib.loads(text)
    wanted.get("tokens", {}).pop(name, None)
    found = tomllib.loads(changed)
    found.setdefault("tokens", {})
    wanted.setdefault("tokens", {})
    if found != wanted:
        raise BadConfig(
            f"tokens.{name}: its table is not written as [tokens.{name}] of its own; remove it by hand"
        )
    return changed


def token_name(client: str, server: str) -> str:
    """Return the name of the token that `client-config` makes for a client of one server."""
    name = f"{client}-{server}"
    if len(name) <= _LONGEST_NAME:
        return name
    # Two long names that begin alike stay apart.
    return f"{name[: _LONGEST_NAME - 7]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def with_token(text: str, name: str, sha256: str, servers: Iterable[str]) -> str:
    """Return the text with another token at its end."""
    end = "" if text.endswith("\n") or not text else "\n"
    return f'{text}{end}\n[tokens.{name}]\nsha256 = "{sha256}"\nservers = {json.dumps([*servers])}\n'


def with_pin(text: str, name: str, pin: str) -> str:
    """The text with this pin in one server's table. Raises BadConfig where the table cannot be told from the rest."""
    return with_key(text, "servers", name, "pin", pin)


def with_key(text: str, table: str, name: str, key: str, value: str) -> str:
    """Return the text with this value in a table of a name. Raises BadConfig where the table cannot be told from the rest."""
    header = re.compile(rf"""\s*\[\s*{table}\s*\.\s*(["']?){re.escape(name)}\1\s*\]\s*(#.*)?""")
    line_of_ours = f'{key} = "{value}"\n'
    changed: list[str] = []
    inside = False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            inside = header.fullmatch(line.rstrip("\r\n")) is not None
            changed += [line if line.endswith("\n") else line + "\n", line_of_ours] if inside else [line]
        elif not (inside and re.match(rf"\s*{key}\s*=", line)):
            changed.append(line)
    wanted = tomllib.loads(text)
    wanted[table][name][key] = value
    new = "".join(changed)
    try:
        found = tomllib.loads(new)
    except tomllib.TOMLDecodeError:
        found = {}
    if found != wanted:
        raise BadConfig(
            f"{table}.{name}: its table is not written as [{table}.{name}] of its own; write there by hand: {line_of_ours}"
        )
    return new


def rewrite(path: Path, text: str) -> None:
    """Put another text into the file, all of it or nothing, with the mode and the group that it had. Raises BadConfig.

    A link stays: the file that it leads to is replaced, if that is ours.
    """
    read_file(text.encode())
    try:
        target = path.resolve(strict=True)
        check_trusted(path)
        found = target.stat()
        if found.st_uid != os.geteuid():
            raise BadConfig(
                f"{target} belongs to uid {found.st_uid}, so uid {os.geteuid()} does not replace it"
            )
        _replace(target, text, found)
    except BadCredential as fault:
        raise BadConfig(str(fault)) from None
    except (OSError, RuntimeError) as fault:
        raise BadConfig(f"{path} cannot be written: {getattr(fault, 'strerror', None) or fault}") from None


def _replace(target: Path, text: str, found: os.stat_result) -> None:
    draft = target.with_name(f".{target.name[:_DRAFT_NAME]}.{random_name(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            if os.fstat(descriptor).st_gid != found.st_gid:
                os.fchown(descriptor, -1, found.st_gid)
            # After the group, which clears some bits; the umask has no part in it.
            os.fchmod(descriptor, found.st_mode & 0o777)
            file.write(text.encode())
            file.flush()
            os.fsync(descriptor)
        draft.replace(target)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


# ---- for editors


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the file, of the classes above."""
    described = _portable(msgspec.json.schema(File))
    definitions: dict[str, Any] = described["$defs"]
    for cls in (File, Listen, Log, Server, Token, Aggregate):
        definition = definitions[cls.__name__]
        definition["additionalProperties"] = False
    for key in ("servers", "tokens"):
        definitions["File"]["properties"][key]["propertyNames"] = _portable({"pattern": NAME})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "mcp-bridge", **described}


def _portable(schema: dict[str, Any]) -> dict[str, Any]:
    # The end of a text has another name in the regular expressions of editors (ECMA 262).
    portable: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema).replace(rb"\\Z", b"$"))
    return portable
