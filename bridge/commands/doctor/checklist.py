"""The deployment checklist: each item with its state in this configuration, and lines that do what is not done. Pure.

The items are those of the checklist in the security policy of MCP Context Forge 0.3.1
(https://github.com/IBM/mcp-context-forge, SECURITY.md), in their order.
"""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import attrs

from ....validators.counted import counted
from ....validators.version import VERSION
from ...config.addresses import is_loopback_host
from ...config.child_environment import looks_secret
from ...config.schema import File, Server
from ...config.settings import ServerConfig, Settings

BY_DEFAULT: Final = "done by default"
DONE: Final = "done"
OPEN: Final = "not done"
NOT_APPLICABLE: Final = "not applicable"
# The most important first.
STATES: Final = (OPEN, DONE, BY_DEFAULT, NOT_APPLICABLE)

# Bytes that the arguments of a tool may have, in the line that limits them: the limit of the checklist's program.
_ARGUMENT_BYTES: Final = 262_144
# Bytes of address space of a process, in the line that limits it: Node.js starts with a quarter of it.
_ADDRESS_SPACE: Final = 8 * 2**30
_RATE: Final = "600/minute"
# How long a token is valid after the line that ends its validity.
_VALID: Final = timedelta(days=90)
# Capabilities that servers use on clients and that few servers need.
_RARE: Final = ("roots", "sampling")


@attrs.frozen
class Fix:
    """A line of the configuration in its table, or a command if `table` is empty. `replaces` is a key that it stands for."""

    line: str
    table: str = ""
    replaces: str = ""


@attrs.frozen
class Item:
    """An item of the checklist. `why` is where its state comes from."""

    number: int
    name: str
    state: str
    why: str
    fixes: tuple[Fix, ...] = ()


@attrs.frozen
class Surroundings:
    """What the checklist reads besides the configuration.

    `environment` is that of the daemon, and `state` the directory of its state. `unit` is whether a unit of this user runs the
    daemon with a limit of memory, `limited` whether its cgroup has one, and `timer` whether a unit runs the daily check.
    `container` is whether the daemon runs in one, and `writable` whether its file system is.
    """

    now: datetime
    environment: Mapping[str, str]
    state: Path
    limited: bool = False
    is_root: bool = False
    unit: bool = False
    timer: bool = False
    container: bool = False
    writable: bool = True


@attrs.frozen
class _Context:
    """What an item is decided on. `servers` are those of the file that are processes."""

    file: File
    settings: Settings
    around: Surroundings

    @property
    def processes(self) -> list[ServerConfig]:
        return [one for one in self.settings.servers if one.aggregate is None and one.remote is None]

    @property
    def tables(self) -> Iterator[tuple[str, Server]]:
        yield from ((name, one) for name, one in self.file.servers.items() if one.enabled)


# The state, its reason, and the lines that change it.
_Result = tuple[str, str] | tuple[str, str, Sequence[Fix]]


def checklist(file: File, settings: Settings, around: Surroundings) -> tuple[Item, ...]:
    """Return all items. `settings` are those of the file."""
    context = _Context(file, settings, around)
    items: list[Item] = []
    for number, (name, judge) in enumerate(_ITEMS, 1):
        state, why, *fixes = judge(context)
        items.append(Item(number, name, state, why, tuple(fixes[0]) if fixes else ()))
    return tuple(items)


def _line(table: str, key: str, value: object, replaces: str = "") -> Fix:
    return Fix(f"{key} = {json.dumps(value)}", table, replaces)


def _features(context: _Context) -> _Result:
    denied = {name for server in context.settings.servers for name in server.without}
    denied.update(context.file.features.get("deny", ()))
    if denied:
        return DONE, f"denied: {', '.join(sorted(denied))}"
    why = "no capability is denied; deny those that your clients do not use (doctor names unused ones), for example"
    return OPEN, why, [_line("features", "deny", _RARE)]


def _admin(context: _Context) -> _Result:
    if context.settings.admin.enabled:
        return OPEN, "the page at /admin is served, to the owner only", [Fix("enabled = false", "admin")]
    return BY_DEFAULT, "the page at /admin has no path"


def _authentication(context: _Context) -> _Result:
    settings = context.settings
    if settings.port is not None and not settings.authenticate:
        why = "any program of this machine can use the TCP port"
        return OPEN, why, [Fix("authenticate = true", "listen")]
    if settings.tokens or settings.access_tokens is not None:
        issuer = " and tokens of an issuer" if settings.access_tokens is not None else ""
        return (
            DONE,
            f"each request needs a credential: {counted(len(settings.tokens), 'named token')}{issuer}",
        )
    return (
        BY_DEFAULT,
        "each request over TCP needs a token of 256 random bits; the Unix socket checks the user",
    )


def _tls(context: _Context) -> _Result:
    settings = context.settings
    if settings.tls_certificate is not None:
        return DONE, f"TLS 1.2 or newer with {settings.tls_certificate}"
    if settings.port is None:
        return NOT_APPLICABLE, "there is only a Unix socket"
    if is_loopback_host(settings.host):
        return NOT_APPLICABLE, f"{settings.host} is the loopback, whose traffic does not leave the machine"
    return NOT_APPLICABLE, "TLS ends at the reverse proxies of listen.trusted_proxies"


def _vetting(context: _Context) -> _Result:
    servers = context.processes
    if not servers:
        return (
            NOT_APPLICABLE,
            "no server is a program of this machine; mcp-bridge check examines what servers offer",
        )
    unpinned = [server.name for server in servers if not server.pin]
    if not unpinned:
        return DONE, "the command of each server is pinned, and changed definitions are reported"
    why = f"not pinned: {', '.join(unpinned)}; examine them with mcp-bridge check, then pin what they execute"
    return OPEN, why, [Fix(f"mcp-bridge approve {' '.join(unpinned)}")]


def _network(context: _Context) -> _Result:
    settings = context.settings
    if settings.port is None:
        return DONE, "there is only a Unix socket"
    if is_loopback_host(settings.host):
        return BY_DEFAULT, f"only this machine reaches {settings.host}"
    if settings.proxies.networks:
        return DONE, "connections of other machines are those of listen.trusted_proxies"
    if settings.requires_certificate:
        return DONE, "other machines need a client certificate"
    why = f"other machines reach {settings.host}; a firewall is not seen from here. Use a reverse proxy on this machine"
    return OPEN, why, [_line("listen", "http", f"127.0.0.1:{settings.port}")]


def _rates(context: _Context) -> _Result:
    rates = context.file.rates
    if rates.get("principal") or rates.get("server"):
        return DONE, ", ".join(f"{key} {rate}" for key, rate in rates.items())
    why = "requests in flight and wrong tokens are limited, and not the number of requests in a time"
    return OPEN, why, [_line("rates", "principal", _RATE)]


def _monitoring(context: _Context) -> _Result:
    if context.settings.metrics:
        return DONE, "/metrics is served; examples/alerts.yml has rules for alerts"
    why = "requests and errors are not counted for /metrics; examples/alerts.yml has rules for alerts"
    return OPEN, why, [Fix("enabled = true", "metrics")]


def _validation(context: _Context) -> _Result:
    limits = context.settings.limits
    if limits.argument_bytes or limits.argument_depth or any(one.argument_bytes for _, one in context.tables):
        return DONE, "arguments of tools have limits; mcp-bridge rules shows the others"
    why = "messages have limits of size and depth, and arguments of tools have none of their own"
    return OPEN, why, [_line("limits", "argument_bytes", _ARGUMENT_BYTES)]


def _no_database(_context: _Context) -> _Result:
    return NOT_APPLICABLE, "there is no database"


def _no_redis(_context: _Context) -> _Result:
    return NOT_APPLICABLE, "there is no Redis"


def _resources(context: _Context) -> _Result:
    unlimited = [name for name, one in context.tables if not one.url and not one.rlimits]
    if context.around.unit or context.around.limited:
        return DONE, f"the {'unit' if context.around.unit else 'cgroup of the daemon'} limits memory"
    if not unlimited:
        return DONE, "each server has rlimits"
    why = f"no unit limits the daemon, and these servers have no rlimits: {', '.join(unlimited)}. Use the unit, or for example"
    return OPEN, why, [Fix(f"rlimits = {{ as = {_ADDRESS_SPACE} }}", f"servers.{name}") for name in unlimited]


def _secrets(context: _Context) -> _Result:
    fixes: list[Fix] = []
    names: list[str] = []
    base = (context.settings.file or Path()).parent
    # A header that seems to be a secret is an error of the configuration.
    for name, server in context.tables:
        for key, value in server.env.items():
            if value and looks_secret(key, value):
                place = f"{base}/{name}-{key.lower()}"
                names.append(f"servers.{name}.env.{key}")
                fixes.append(Fix(f"install -m 600 /dev/stdin {shlex.quote(place)}"))
                fixes.append(_line(f"servers.{name}", f"secrets.{key}", place, f"env.{key}"))
    if names:
        return (
            OPEN,
            f"these values seem to be secrets: {', '.join(names)}. Keep them in files of mode 0600",
            fixes,
        )
    if any(one.secrets or one.secret_headers or one.env_file for _, one in context.tables):
        return DONE, "secrets are kept outside of the configuration"
    return BY_DEFAULT, "the configuration has no secret, and of tokens only hashes"


def _logging(context: _Context) -> _Result:
    if context.settings.log_format == "json":
        return DONE, "the log is lines of JSON, without secrets and payloads"
    return OPEN, "the log is text, without secrets and payloads", [_line("log", "format", "json")]


def _cors(context: _Context) -> _Result:
    if context.settings.origins:
        return DONE, f"only these origins: {', '.join(sorted(context.settings.origins))}"
    return BY_DEFAULT, "no page of another origin can use the port"


def _debug(context: _Context) -> _Result:
    if context.settings.log_level == "debug":
        return OPEN, "the level of the log is debug", [_line("log", "level", "info")]
    if not context.settings.shows_output:
        return DONE, "an error has a code and an id, no traceback, and no output of a server"
    return (
        BY_DEFAULT,
        "an error has a code and an id, and no traceback; errors.stderr withholds output of servers",
    )


def _backup(context: _Context) -> _Result:
    return (
        BY_DEFAULT,
        f"the state is {context.settings.file} and the files that it names; keep a copy of them",
    )


def _incidents(_context: _Context) -> _Result:
    return BY_DEFAULT, "docs/incident.md has the steps and commands"


def _rotation(context: _Context) -> _Result:
    files = [*filter(None, (context.settings.log_file, context.settings.audit.file))]
    if files:
        verb = "have" if len(files) > 1 else "has"
        return DONE, f"{' and '.join(map(str, files))} {verb} mode 0600, opened again on SIGHUP"
    if "JOURNAL_STREAM" in context.around.environment or context.around.unit:
        return DONE, "the log goes to the journal"
    state = context.around.state
    why = "the log and the audit events go to stderr only"
    fixes = [
        Fix(f"install -d -m 700 {shlex.quote(str(state))}"),
        _line("audit", "file", f"{state}/audit.jsonl"),
    ]
    return OPEN, why, fixes


def _container(context: _Context) -> _Result:
    around = context.around
    if not around.container:
        return NOT_APPLICABLE, "the daemon does not run in a container"
    if around.is_root or around.writable:
        lacks = [
            text
            for text, is_so in (("root", around.is_root), ("a writable file system", around.writable))
            if is_so
        ]
        why = f"the container has {' and '.join(lacks)}; start it as another user and read-only, and mount a volume for the state"
        return (
            OPEN,
            why,
            [
                Fix(
                    "podman run --user 1000:1000 --read-only --cap-drop ALL --security-opt no-new-privileges IMAGE"
                )
            ],
        )
    return DONE, "the container has no root and a read-only file system"


def _downstream(_context: _Context) -> _Result:
    return (
        NOT_APPLICABLE,
        "the controls of clients are theirs: payloads pass unchanged (docs/threat-model.md)",
    )


def _updates(_context: _Context) -> _Result:
    return (
        NOT_APPLICABLE,
        f"this is version {VERSION}; the program looks up no other version over the network",
    )


def _audits(context: _Context) -> _Result:
    if context.around.timer:
        return DONE, "mcp-bridge-check.timer checks all servers once a day"
    why = "servers are checked only when you run mcp-bridge check --all"
    return OPEN, why, [Fix("mcp-bridge service install --check-timer")]


def _sessions(context: _Context) -> _Result:
    endless = [token.name for token in context.settings.tokens if token.expires is None and token.sha256]
    if endless:
        end = (context.around.now + _VALID).strftime("%Y-%m-%dT%H:%M:%SZ")
        fixes = [Fix(f"expires = {end}", f"tokens.{name}") for name in endless]
        return OPEN, f"sessions end when idle, and these tokens never: {', '.join(endless)}", fixes
    if context.settings.tokens:
        return DONE, "sessions end when idle and after a day, and each named token has an end"
    return BY_DEFAULT, "sessions end when idle and after a day; mcp-bridge token rotate replaces the token"


def _connections(context: _Context) -> _Result:
    limits = context.settings.limits
    return (
        BY_DEFAULT,
        f"{limits.connections_per_principal} connections and {limits.sessions_per_principal} sessions at each server",
    )


def _pipeline(_context: _Context) -> _Result:
    return NOT_APPLICABLE, "scanners are a part of the development of the program (docs/POSTURE.md)"


def _environment(context: _Context) -> _Result:
    passed = [f"{name} ({', '.join(one.pass_env)})" for name, one in context.tables if one.pass_env]
    if passed:
        return DONE, f"servers get an allow-list of variables, and these: {', '.join(passed)}"
    return BY_DEFAULT, "servers get an allow-list of variables and those of their table"


_ITEMS: Final[tuple[tuple[str, Callable[[_Context], _Result]], ...]] = (
    ("unused features", _features),
    ("admin UI and API", _admin),
    ("authentication", _authentication),
    ("TLS", _tls),
    ("vetted servers", _vetting),
    ("network access", _network),
    ("rate limits", _rates),
    ("monitoring", _monitoring),
    ("validation rules", _validation),
    ("database", _no_database),
    ("Redis", _no_redis),
    ("resource limits", _resources),
    ("secrets", _secrets),
    ("structured logs", _logging),
    ("CORS", _cors),
    ("debug mode", _debug),
    ("backup", _backup),
    ("incident response", _incidents),
    ("log rotation", _rotation),
    ("container", _container),
    ("downstream", _downstream),
    ("updates", _updates),
    ("server audits", _audits),
    ("timeouts, rotation", _sessions),
    ("connections", _connections),
    ("scanning in CI", _pipeline),
    ("environment", _environment),
)
