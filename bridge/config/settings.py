"""The settings of the bridge: built once, from the command line or a file, passed on in parts, and never changed."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import attrs

from ...transports.options import Launch, Paths
from ...validators.forwarded import NO_PROXIES, TrustedProxies
from ...validators.limits import Limits
from ..core import grants
from ..core.access_policy import AccessPolicy
from ..core.aggregate_members import DEFAULT_NAME
from ..core.argument_limits import limits_of
from ..core.content_policy import NO_CHECKS, ContentModes
from ..core.grants import Grant
from ..core.request_rates import RateTable
from ..redaction import SHORTEST_SECRET
from .access_token_settings import AccessTokenSettings
from .addresses import DEFAULT_PORT
from .child_environment import shown
from .helper_programs import Helpers
from .remote import Remote

# The name in /servers/NAME/ of the server of `mcp-bridge --stdio`.
WRAPPED = "stdio"
# The name of the server that combines others.
AGGREGATE = "aggregate"
# The envelope of each message is checked, or also its params and its result against the schema of the revision.
ENVELOPE = "envelope"
STRICT = "strict"
PRINCIPAL_VARIABLE = "MCP_BRIDGE_PRINCIPAL"
# The variable with the name of an aggregate of [aggregates], for its processes.
AGGREGATE_VARIABLE = "MCP_BRIDGE_AGGREGATE"
# The path of the readiness check.
READY = "/readyz"
# The path of the metrics.
METRICS = "/metrics"
# The prefix of the control API.
CONTROL = "/control"
# The query of a reload by a command that may have removed the last statement of the file.
EMPTY: Final = "empty=yes"
# The path on the Unix socket that creates a link to the page at /admin.
ADMIN_LINK = f"{CONTROL}/admin-link"
# Stands for every server in the permissions of a token, and for every tool in a pattern.
ALL: Final = grants.ALL


# Limits that may be 0, which turns them off.
_CAN_BE_OFF = frozenset({"argument_bytes", "argument_depth", "free_heap_bytes", "notifications_per_second"})
# A decoder has a field for each of so many items, and 10,000 fields take 40 milliseconds of the event loop.
_AT_MOST = {"batch": 10_000, "list_items": 10_000}


# Why a server cannot start: the keys in its table that lead to the value, and the reason.
ServerFault = tuple[tuple[str, ...], str]
# The launch of a server that is no process of the bridge.
NO_LAUNCH: Final = Launch((), {})


class BadLimit(ValueError):
    """Raised for an unknown limit, or a value outside its range. The text names both."""


@attrs.frozen
class AggregateConfig:
    """The members and the serverInfo of the aggregate. A change of these closes no session.

    `version` is empty for that of the bridge, `instructions` for those of the servers. `without` are the capabilities that
    are disabled for every member. `named` is whether it is one of [aggregates], whose other keys are the last ones here.
    """

    servers: tuple[str, ...]
    name: str = DEFAULT_NAME
    version: str = ""
    title: str = ""
    instructions: str = ""
    without: tuple[str, ...] = ()
    named: bool = False
    allow: tuple[str, ...] = (ALL,)
    deny: tuple[str, ...] = ()
    rename: Mapping[str, str] = attrs.field(factory=dict[str, str])
    describe: Mapping[str, str] = attrs.field(factory=dict[str, str])
    surface: str = "all"


@attrs.frozen
class ServerConfig:
    """The configuration of one server: a process (`launch`), or a remote server (`remote`, with an empty launch).

    `share` is "session", "client", "principal", "server", or empty for the default of each protocol era. An `eager` server
    starts with the daemon. `spare` is the number of warm standby processes.
    """

    name: str
    launch: Launch = NO_LAUNCH
    era: str = "auto"
    share: str = ""
    eager: bool = False
    spare: int = 0
    allow: tuple[str, ...] = (ALL,)
    deny: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    limits: Limits = attrs.field(factory=Limits)
    # Bytes of the arguments by pattern of tools, in the order of the file.
    argument_bytes: tuple[tuple[str, int], ...] = ()
    # The names of the variables whose values are redacted.
    hidden: frozenset[str] = frozenset()
    # Whether PRINCIPAL_VARIABLE is set for its processes. Only aggregates get it.
    knows_principal: bool = False
    # Set for a server with a url.
    remote: Remote | None = None
    # Set for aggregates only.
    aggregate: AggregateConfig | None = None
    # The variables that request headers of the client set, with the name of the header in lower case.
    from_headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    # With `cwd = "client"` the directories for those of clients, absolute paths; otherwise empty.
    cwd_allowed: tuple[str, ...] = ()
    # Whether the command may execute code of these directories.
    cwd_trust: bool = False
    # The hash of what the command executes (runtime/pinning.py); empty without a pin.
    pin: str = ""
    needs_pin: bool = False
    # Whether changes of the definitions that it lists are ignored, reported or kept from clients: off, warn or block.
    definitions: str = "off"
    # How far its messages and those of its clients are checked: ENVELOPE or STRICT.
    validate: str = ENVELOPE
    # The checks of the content of calls.
    content: ContentModes = NO_CHECKS
    # The names of the variables that only this server has. They are part of the pin.
    variables: tuple[str, ...] = ()
    # The names of the variables of the daemon that are not passed. They follow from the other fields.
    withheld: tuple[str, ...] = attrs.field(default=(), eq=False)
    # The files that hold its variables and secrets.
    outside: tuple[Path, ...] = ()
    # Whether its secrets have not been read yet.
    pending: bool = False
    # The reason why it cannot start; empty otherwise. `not_there` is whether its program or directory is missing.
    fault: str = ""
    not_there: bool = False
    # The parts of `fault`, each with the keys in its table that it is about.
    faults: tuple[ServerFault, ...] = ()
    # Reads the values that are kept outside of the configuration (load.py). Blocks.
    resolver: Callable[[Helpers], "ServerConfig"] | None = attrs.field(default=None, eq=False, repr=False)

    def resolved(self, helpers: Helpers) -> "ServerConfig":
        """Return the configuration with the values of other files and helpers, or with a `fault`. Blocks."""
        if self.resolver is None:
            return self
        return attrs.evolve(self.resolver(helpers), resolver=self.resolver)

    def failed(self, faults: Iterable[ServerFault]) -> "ServerConfig":
        """Return the configuration of a server that cannot start for these reasons."""
        found = tuple(faults)
        return attrs.evolve(self, pending=False, fault="; ".join(text for _, text in found), faults=found)

    @property
    def start_config(self) -> "ServerConfig":
        """Return the part of the configuration that a running process cannot change."""
        if self.aggregate is None:
            return self
        argv = self.launch.argv[: len(self.launch.argv) - len(self.aggregate.servers)]
        return attrs.evolve(self, aggregate=None, launch=attrs.evolve(self.launch, argv=argv))

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the values to redact. Shorter values are left out, because they also occur in other text."""
        values = (self.launch.env[name] for name in self.hidden)
        found = tuple(value for value in values if len(value) >= SHORTEST_SECRET)
        return found if self.remote is None else (*found, *self.remote.secrets)

    @property
    def is_named_aggregate(self) -> bool:
        """Return whether it is one of [aggregates]."""
        return self.aggregate is not None and self.aggregate.named

    @property
    def table(self) -> tuple[str, ...]:
        """Return the keys that lead to its table in the file."""
        if self.aggregate is None:
            return "servers", self.name
        return ("aggregates", self.name) if self.aggregate.named else (AGGREGATE,)

    @property
    def where(self) -> str:
        """Return the name of its table, for messages."""
        return ".".join(self.table)

    @property
    def paths(self) -> Paths:
        """Return the paths that clients are shown."""
        return Paths.of_aggregate(self.name) if self.is_named_aggregate else Paths.below(self.name)

    @property
    def subject(self) -> str:
        """Return what errors name as the server: its program, or its URL without secrets."""
        return repr(self.launch.argv[0]) if self.remote is None else self.remote.shown

    @property
    def shares(self) -> bool:
        """Return whether clients of every protocol era share its processes."""
        return self.share in ("principal", "server")

    @property
    def policy(self) -> AccessPolicy:
        """Return the tools and capabilities that clients may use."""
        limits = self.limits
        arguments = limits_of(
            self.name, limits.argument_bytes, limits.argument_depth, dict(self.argument_bytes)
        )
        return AccessPolicy(self.allow, self.deny, self.without, arguments=arguments)


@attrs.frozen
class TokenConfig:
    """A credential with a name, and its permissions. Its name is the principal.

    `sha256` is that of the token; empty for a token that is kept in `secret`, or for none. The token before a rotation, `former`,
    is valid until `former_expires`. Nothing of the credential is valid after `expires`. `aggregates` are the named ones; those of a
    token for all servers are all, unless it names some.
    """

    name: str
    sha256: bytes = attrs.field(repr=False)
    servers: frozenset[str] = frozenset({ALL})
    allow: tuple[str, ...] = (ALL,)
    deny: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    # Whether the principal may read /metrics.
    metrics: bool = False
    aggregates: frozenset[str] = attrs.field(
        default=attrs.Factory(lambda self: self.servers & {ALL}, takes_self=True)
    )
    methods: tuple[str, ...] = (ALL,)
    read_only: bool = False
    expires: datetime | None = None
    former: bytes = attrs.field(default=b"", repr=False)
    former_expires: datetime | None = None
    # The place of the token (credentials.read_secret); empty for none.
    secret: str = attrs.field(default="", repr=False)
    # Names in client certificates (validators.client_certificate.check_name).
    certificates: frozenset[str] = frozenset()

    @property
    def grant(self) -> Grant:
        """Return its permissions."""
        return Grant(self.servers, self.allow, self.deny, self.without, self.methods, self.read_only)


@attrs.frozen
class AdminConfig:
    """The page at /admin: whether it is served, and whether it can restart servers and reload the configuration."""

    enabled: bool = False
    actions: bool = False


@attrs.frozen
class AuditConfig:
    """The audit log: whether it is on, its file (None for the log on stderr), and whether it has an event for each call."""

    enabled: bool = True
    file: Path | None = None
    calls: bool = False

    @property
    def logs_calls(self) -> bool:
        """Return whether the log on stderr has the events of calls."""
        return self.enabled and self.calls and self.file is None


@attrs.frozen
class Settings:
    """The settings of the bridge. `port` is None without TCP. `root` is the name of the server at `paths`; empty for none."""

    servers: tuple[ServerConfig, ...]
    root: str = ""
    host: str = "127.0.0.1"
    port: int | None = DEFAULT_PORT
    unix: Path | None = None
    authenticate: bool = True
    token_file: Path | None = None
    # The place of the owner's token (credentials.read_secret), BOOT for a token of each boot, or empty for the default token.
    token_source: str = attrs.field(default="", repr=False)
    # For how long the former token of the owner is valid after its file has changed (seconds).
    token_overlap: float = 60
    # The places of the keys that sign `requestState`; empty for a random key.
    state_key_sources: tuple[str, ...] = attrs.field(default=(), repr=False)
    tokens: tuple[TokenConfig, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    # Whether a connection without a client certificate is refused.
    requires_certificate: bool = False
    takes_basic: bool = False
    proxies: TrustedProxies = NO_PROXIES
    # In front of all paths; empty for none.
    root_path: str = ""
    # Allowed Host headers besides the names and addresses of the listener.
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    paths: Paths = attrs.field(factory=Paths)
    health: tuple[str, ...] = ("/healthz",)
    limits: Limits = attrs.field(factory=Limits)
    log_level: str = "info"
    log_format: str = "text"
    # --log-format of the command line, which takes precedence over the file; empty without it.
    log_format_given: str = ""
    log_calls: bool = False
    # The file of the log; None for stderr.
    log_file: Path | None = None
    # Whether requests are counted by method and tool, for `metrics` and for the page at /admin.
    counts_calls: bool = False
    # Whether an error has the last lines of the output of a process, for the only principal that it has served.
    shows_output: bool = True
    # Whether /metrics is served.
    metrics: bool = False
    # The URL of the OTLP collector; empty for none.
    otlp_endpoint: str = ""
    admin: AdminConfig = AdminConfig()
    audit: AuditConfig = AuditConfig()
    as_root: bool = False
    # The program that keeps the credentials for remote servers, as words; empty for a file.
    oauth_helper: tuple[str, ...] = ()
    # The accepted access tokens; None for none.
    access_tokens: AccessTokenSettings | None = None
    # How many requests clients may send. A reload changes them without a restart of any server.
    rates: RateTable = attrs.field(factory=RateTable)
    # By principal, the connections and the sessions at each server that a token may have, if they differ from the limits.
    connections_of: Mapping[str, int] = attrs.field(factory=dict[str, int])
    sessions_of: Mapping[str, int] = attrs.field(factory=dict[str, int])
    # The configuration file, which a reload reads again, and whether it has white space and comments only.
    file: Path | None = None
    is_empty: bool = False

    @property
    def scheme(self) -> str:
        """Return `https` with a certificate, otherwise `http`."""
        return "https" if self.tls_certificate else "http"

    @property
    def own_servers(self) -> int:
        """Return the number of servers, without aggregates."""
        return sum(server.aggregate is None for server in self.servers)

    @property
    def secrets(self) -> list[str]:
        """Return all values to redact."""
        return [secret for server in self.servers for secret in server.secrets]

    @property
    def fixed_values(self) -> dict[str, tuple[object, ...]]:
        """Return the values that a reload cannot change, by their table in the file."""
        return {
            "listen": (
                self.host,
                self.port,
                self.unix,
                self.authenticate,
                self.tls_certificate,
                self.tls_key,
                self.tls_client_ca,
                self.requires_certificate,
                self.takes_basic,
                self.proxies,
                self.root_path,
                self.hosts,
                self.origins,
                self.health,
            ),
            "log": (self.log_level, self.log_format, self.log_file),
            "limits": (self.limits,),
            "oauth": (self.oauth_helper,),
            "traces": (self.otlp_endpoint,),
        }


def changed_limits(base: Limits, changes: Mapping[str, object]) -> Limits:
    """Return limits with some values changed. Raises BadLimit."""
    fields = {field.name: field.type for field in attrs.fields(Limits)}
    values: dict[str, float] = {}
    for name, value in changes.items():
        if name not in fields:
            from .wording import suggestion  # noqa: PLC0415 - after an error only

            instead = suggestion(name, fields) or f"; there are {', '.join(sorted(fields))}"
            raise BadLimit(f"there is no limit {shown(name)}{instead}")
        whole = fields[name] is int
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise BadLimit(f"{name} needs a {'whole ' * whole}number, not {shown(value)}")
        off = name in _CAN_BE_OFF
        if not (0 < value < 2**40 or (off and value == 0)):
            least = "0 or more" if off else "more than 0"
            raise BadLimit(f"{name} must be {least} and less than 2^40, not {shown(value)}")
        if value > _AT_MOST.get(name, value):
            raise BadLimit(f"{name} must be at most {_AT_MOST[name]}, not {shown(value)}")
        values[name] = value
    return attrs.evolve(base, **values)  # type: ignore[arg-type]  # checked above
