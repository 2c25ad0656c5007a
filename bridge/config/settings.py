"""What one bridge is told to do: built once, by the command line or from a file, handed down in parts, never changed."""

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from ...transports.options import Launch, Paths
from ...validators.limits import Limits
from ..core.access_policy import AccessPolicy
from ..redaction import SHORTEST_SECRET
from .child_environment import shown
from .helper_programs import Helpers

# The one server of the wrapper has this name in /servers/NAME/... .
WRAPPED = "stdio"
# The server that offers others as one.
AGGREGATE = "aggregate"
PRINCIPAL_VARIABLE = "MCP_BRIDGE_PRINCIPAL"
# Where it says whether the servers would serve a client.
READY = "/readyz"
# Where the person's commands ask the daemon.
CONTROL = "/control"
# Every server, in the rights of a token.
ALL = "*"


class BadLimit(ValueError):
    """A limit that there is not, or a value that it cannot have; the text names both."""


@attrs.frozen
class AggregateConfig:
    """What is particular to the server that offers others as one. A change of it ends no session.

    `version` is empty for that of the bridge, `instructions` for those of the servers. `without` are the capabilities that
    are switched off for each of the servers.
    """

    servers: tuple[str, ...]
    name: str = "mcp-bridge aggregate"
    version: str = ""
    title: str = ""
    instructions: str = ""
    without: tuple[str, ...] = ()


@attrs.frozen
class ServerConfig:
    """One stdio server as the operator describes it.

    `share` is who shares a child: "session", "client", "principal", "server", or nothing for what suits both eras. An `eager`
    one is started before anybody asks for it; `spare` children wait for the next session.
    """

    name: str
    launch: Launch
    era: str = "auto"
    share: str = ""
    eager: bool = False
    spare: int = 0
    allow: tuple[str, ...] = (ALL,)
    deny: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    limits: Limits = attrs.field(factory=Limits)
    # The variables whose values must never be shown to anybody.
    hidden: frozenset[str] = frozenset()
    # Whether its processes are told in PRINCIPAL_VARIABLE for whom they work: ours only, since it is nobody else's business.
    knows_principal: bool = False
    # Of the server that offers others as one only.
    aggregate: AggregateConfig | None = None
    # The variables that a client brings in its headers, with the headers' names in lower case.
    from_headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    # What it may start (approval.py), if not anything; and the names of the variables that are part of it.
    pin: str = ""
    needs_pin: bool = False
    variables: tuple[str, ...] = ()
    # The names of the daemon's variables that it does not get; they follow from the rest.
    withheld: tuple[str, ...] = attrs.field(default=(), eq=False)
    # The files that hold its variables.
    outside: tuple[Path, ...] = ()
    # Whether its secrets are still to be read; why it cannot be started as it is; and whether that is for want of its
    # program or directory. A fault that is found again is no change of the configuration.
    pending: bool = False
    fault: str = ""
    not_there: bool = False
    # Reads what is kept outside of the configuration (config.py). It may take its time.
    resolver: Callable[[Helpers], "ServerConfig"] | None = attrs.field(default=None, eq=False, repr=False)

    def resolved(self, helpers: Helpers) -> "ServerConfig":
        """Return this with all that is kept outside of the configuration, or with the reason why it cannot be had. Blocks."""
        if self.resolver is None:
            return self
        return attrs.evolve(self.resolver(helpers), resolver=self.resolver)

    @property
    def lasting(self) -> "ServerConfig":
        """Return what its processes were started with, which no running process can be told anew."""
        if self.aggregate is None:
            return self
        argv = self.launch.argv[: len(self.launch.argv) - len(self.aggregate.servers)]
        return attrs.evolve(self, aggregate=None, launch=attrs.evolve(self.launch, argv=argv))

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not turn up in anything that is shown: values that are long enough to be told from other text."""
        values = (self.launch.env[name] for name in self.hidden)
        return tuple(value for value in values if len(value) >= SHORTEST_SECRET)

    @property
    def shares(self) -> bool:
        """Whether clients share its processes, whatever era they speak."""
        return self.share in ("principal", "server")

    @property
    def policy(self) -> AccessPolicy:
        """What of it there is for clients."""
        return AccessPolicy(self.allow, self.deny, self.without)


@attrs.frozen
class TokenConfig:
    """A credential by its SHA-256, whose name is the principal, the servers that it may use, and what of them."""

    name: str
    sha256: bytes = attrs.field(repr=False)
    servers: frozenset[str] = frozenset({ALL})
    allow: tuple[str, ...] = (ALL,)
    deny: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def role(self) -> tuple[tuple[str, ...], ...]:
        """What it may use of those servers, as a value."""
        return self.allow, self.deny, self.without


@attrs.frozen
class Settings:
    """All of it. `port` is None without TCP. `root` is the server that is served at `paths` as well, if any is."""

    servers: tuple[ServerConfig, ...]
    root: str = ""
    host: str = "127.0.0.1"
    port: int | None = 8808
    unix: Path | None = None
    authenticate: bool = True
    token_file: Path | None = None
    # Where the owner's token is kept (credentials.read_secret), BOOT for one of each boot; empty for one that is kept.
    token_source: str = attrs.field(default="", repr=False)
    tokens: tuple[TokenConfig, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    # Besides the names that the listener has by itself.
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    paths: Paths = attrs.field(factory=Paths)
    health: tuple[str, ...] = ("/healthz",)
    limits: Limits = attrs.field(factory=Limits)
    log_level: str = "info"
    log_format: str = "text"
    # The same where the command line says it, which goes before what a file says.
    log_format_given: str = ""
    log_calls: bool = False
    as_root: bool = False
    # Where it was read from, and can be read again.
    file: Path | None = None

    @property
    def scheme(self) -> str:
        """`https` where a certificate is given."""
        return "https" if self.tls_certificate else "http"

    @property
    def own_servers(self) -> int:
        """How many servers there are, without the one that offers others."""
        return sum(server.name != AGGREGATE for server in self.servers)

    @property
    def secrets(self) -> list[str]:
        """What must never be shown to anybody."""
        return [secret for server in self.servers for secret in server.secrets]

    @property
    def lasting(self) -> dict[str, tuple[object, ...]]:
        """What a reload cannot change, by its table in the file."""
        return {
            "listen": (
                self.host,
                self.port,
                self.unix,
                self.authenticate,
                self.tls_certificate,
                self.tls_key,
                self.hosts,
                self.origins,
                self.health,
            ),
            "log": (self.log_level, self.log_format, self.log_calls),
            "limits": (self.limits,),
        }


def changed_limits(base: Limits, changes: Mapping[str, object]) -> Limits:
    """These limits with other values. Raises BadLimit."""
    fields = {field.name: field.type for field in attrs.fields(Limits)}
    values: dict[str, float] = {}
    for name, value in changes.items():
        if name not in fields:
            raise BadLimit(f"there is no limit {shown(name)}; there are {', '.join(sorted(fields))}")
        whole = fields[name] is int
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise BadLimit(f"{name} needs a {'whole ' * whole}number, not {shown(value)}")
        if not 0 < value < 2**40:
            raise BadLimit(f"{name} must be more than 0 and less than 2^40, not {shown(value)}")
        values[name] = value
    return attrs.evolve(base, **values)  # type: ignore[arg-type]  # they have just been looked at
