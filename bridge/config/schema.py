"""The shape of the configuration file: one class for each table, with the type and the description of each key.

The JSON Schema for editors and the manual page mcp-bridge.toml(5) are made of these classes.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import attrs
import msgspec
from msgspec import Meta

from ...validators.script_addresses import FORM as SCHEME_FORM
from ...validators.script_addresses import PATTERN as SCHEME_PATTERN
from ...validators.token_bucket import FORM as RATE_FORM
from ...validators.token_bucket import PATTERN as RATE_PATTERN
from ..core.aggregate_members import DEFAULT_NAME
from ..core.sandbox_presets import Preset
from ..log_levels import Level
from .access_token_settings import AccessTokens, Scope
from .addresses import DEFAULT_PORT
from .oauth_settings import OAuth
from .settings import ALL

# The version of the format.
VERSION: Final = 1
# The longest name of a server or a token, in characters.
LONGEST_NAME: Final = 32
NAME: Final = rf"^[A-Za-z0-9][A-Za-z0-9_-]{{0,{LONGEST_NAME - 1}}}\Z"
# The name of a tool (MCP 2025-11-25 server/tools).
TOOL_NAME: Final = r"^[A-Za-z0-9_.-]{1,128}\Z"
# The longest string of the file, in characters.
LONGEST_TEXT: Final = 4096
# The program and the arguments of one command together.
MOST_WORDS: Final = 256

Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
LimitTable = dict[str, int | float]
# Empty for the value of [content].
ContentMode = Literal["", "off", "warn", "refuse"]
CharactersMode = Literal["", "off", "warn", "refuse", "rewrite"]
SchemeText = Annotated[str, Meta(max_length=128, pattern=SCHEME_PATTERN, extra={"form": SCHEME_FORM})]
RateText = Annotated[str, Meta(pattern=RATE_PATTERN, extra={"form": RATE_FORM})]
Feature = Literal[
    "tools", "resources", "prompts", "completions", "logging", "sampling", "elicitation", "roots"
]


@attrs.frozen
class Listen:
    """[listen]: listen addresses and authentication."""

    http: Annotated[
        Text | Literal[False],
        Meta(
            description="The address and TCP port, or false for no TCP; see OTHER MACHINES for an address that is not loopback."
        ),
    ] = f"127.0.0.1:{DEFAULT_PORT}"
    unix: Annotated[
        bool | Text,
        Meta(
            description="The Unix socket: a path, true for $XDG_RUNTIME_DIR/mcp-bridge/mcp-bridge.sock, or false."
        ),
    ] = True
    authenticate: Annotated[bool, Meta(description="Whether TCP clients must send a bearer token.")] = True
    token: Annotated[
        Text,
        Meta(
            description='Where the token of the owner is kept (see SECRETS); empty for a generated token, "boot" for a token that changes at each boot.'
        ),
    ] = ""
    token_overlap: Annotated[
        int,
        Meta(
            ge=0,
            le=86400,
            description="For how long the former token is valid after the file of the token has changed (seconds).",
        ),
    ] = 60
    tls_cert: Annotated[Text, Meta(description="TLS certificate chain (PEM).")] = ""
    tls_key: Annotated[Text, Meta(description="TLS private key (PEM).")] = ""
    tls_client_ca: Annotated[
        Text,
        Meta(
            description="Certificates (PEM) of the authorities of client certificates; empty to request none."
        ),
    ] = ""
    tls_client_cert: Annotated[
        Literal["optional", "required"],
        Meta(description="Whether a connection without a client certificate is refused."),
    ] = "optional"
    basic: Annotated[
        bool,
        Meta(
            description="Whether a token may be sent as the password of HTTP Basic, with its name as the user name, over TLS."
        ),
    ] = False
    trusted_proxies: Annotated[
        tuple[Text, ...],
        Meta(
            max_length=64,
            description="Addresses and networks of the reverse proxies whose forwarding headers are read, such as 10.0.0.0/8.",
        ),
    ] = ()
    forwarded_header: Annotated[
        Literal["x-forwarded-for", "forwarded"],
        Meta(description="The header in which the trusted proxies write the address of the client."),
    ] = "x-forwarded-for"
    root_path: Annotated[
        Text,
        Meta(
            description="A path in front of all paths, which a reverse proxy has not removed, such as /bridge."
        ),
    ] = ""
    hosts: Annotated[
        tuple[Text, ...],
        Meta(
            description="Additional allowed Host headers, such as localhost:9000 for a tunnel or a reverse proxy."
        ),
    ] = ()
    origins: Annotated[
        tuple[Text, ...],
        Meta(description="Allowed cross-origin (CORS) origins, such as http://localhost:6274."),
    ] = ()
    health: Annotated[
        tuple[Text, ...], Meta(description="Paths of the liveness check, which returns 200 without a token.")
    ] = ("/healthz",)


@attrs.frozen
class Log:
    """[log]: the log on stderr."""

    level: Annotated[Level, Meta(description="Log level.")] = "info"
    format: Annotated[Literal["text", "json"], Meta(description="Log format.")] = "text"
    calls: Annotated[bool, Meta(description="Log one line per client request (access log).")] = False


@attrs.frozen
class Audit:
    """[audit]: the audit log, events that show who did what (docs/EVENTS.md)."""

    enabled: Annotated[bool, Meta(description="Whether audit events are recorded.")] = True
    file: Annotated[
        Text,
        Meta(
            description="The file that the events are appended to as lines of JSON; empty for the log on stderr only."
        ),
    ] = ""
    calls: Annotated[bool, Meta(description="Whether each request of a client is an audit event.")] = False


@attrs.frozen
class Metrics:
    """[metrics]: counters and latencies by server, method and tool, at /metrics."""

    enabled: Annotated[
        bool,
        Meta(description="Whether requests are counted by method and tool, and /metrics is served."),
    ] = False


@attrs.frozen
class Traces:
    """[traces]: spans of requests for OpenTelemetry."""

    otlp_endpoint: Annotated[
        Text,
        Meta(
            description="The URL of an OTLP/HTTP collector, such as http://127.0.0.1:4318; empty for none. It needs the extra mcpbridged[otlp]."
        ),
    ] = ""


@attrs.frozen
class Admin:
    """[admin]: the page at /admin, for the owner and on this machine only (`mcp-bridge admin` opens it)."""

    enabled: Annotated[bool, Meta(description="Whether the page is served.")] = False
    actions: Annotated[
        bool,
        Meta(
            description="Whether the page can restart servers and reload the configuration; otherwise it only shows."
        ),
    ] = False


@attrs.frozen
class Content:
    """[content] and [servers.NAME.content]: checks of what clients send to tools, and of what servers send to clients."""

    arguments: Annotated[
        ContentMode,
        Meta(
            description="Whether arguments that violate the inputSchema of their tool pass (off), are reported (warn) or refused (refuse)."
        ),
    ] = ""
    output: Annotated[
        ContentMode,
        Meta(
            description="Whether results that violate the outputSchema of their tool pass (off), are reported (warn) or refused (refuse)."
        ),
    ] = ""
    mime: Annotated[
        ContentMode,
        Meta(
            description="Whether messages of servers with media types or base64 that are not valid pass (off), are reported (warn) or refused (refuse)."
        ),
    ] = ""
    schemes: Annotated[
        ContentMode,
        Meta(
            description="Whether messages of servers with addresses of refused schemes pass (off), are reported (warn) or refused (refuse)."
        ),
    ] = ""
    refused_schemes: Annotated[
        tuple[SchemeText, ...],
        Meta(
            max_length=64,
            description="Schemes of addresses, and media types of data URLs (data:TYPE/SUBTYPE), that the key schemes refuses; empty for those that run a script in a browser.",
        ),
    ] = ()
    characters: Annotated[
        CharactersMode,
        Meta(
            description="Whether messages of servers with hidden characters pass (off), are reported (warn), refused (refuse), or lose these characters (rewrite)."
        ),
    ] = ""


@attrs.frozen
class Server:
    """[servers.NAME]: one server, a stdio program (command) or a remote server (url)."""

    command: Annotated[
        Annotated[Text, Meta(min_length=1)]
        | Annotated[tuple[Text, ...], Meta(min_length=1, max_length=MOST_WORDS)],
        Meta(
            description="The program, or the program and its arguments; no shell is involved.",
        ),
    ] = ()
    args: Annotated[
        tuple[Text, ...],
        Meta(max_length=MOST_WORDS, description="Further arguments of the program."),
    ] = ()
    url: Annotated[Text, Meta(description="The URL of a remote server, in place of a command.")] = ""
    transport: Annotated[
        Literal["auto", "http", "sse", "websocket"],
        Meta(description="The MCP transport of the url; auto detects it."),
    ] = "auto"
    headers: Annotated[
        dict[str, Text],
        Meta(description="Header fields of each request to the url; secrets belong into secret_headers."),
    ] = attrs.field(factory=dict[str, str])
    secret_headers: Annotated[
        dict[str, Text],
        Meta(
            description="Header fields of each request to the url whose values are kept elsewhere (see SECRETS)."
        ),
    ] = attrs.field(factory=dict[str, str])
    ca_file: Annotated[
        Text, Meta(description="Certificates (PEM) that are trusted in addition to those of the system.")
    ] = ""
    client_cert: Annotated[Text, Meta(description="The certificate (PEM) that is shown to the url.")] = ""
    client_key: Annotated[
        Text, Meta(description="The private key (PEM) of client_cert; empty if client_cert has it.")
    ] = ""
    proxy: Annotated[
        Text,
        Meta(
            description='The URL of an HTTP or SOCKS 5 proxy, "env" for the variables of the daemon, or empty for none.'
        ),
    ] = "env"
    connect_seconds: Annotated[
        float,
        Meta(ge=1, le=3600, description="Time limit of one connection attempt to the url (seconds)."),
    ] = 30
    plain_http: Annotated[
        bool, Meta(description="Whether credentials may be sent to another machine without encryption.")
    ] = False
    oauth: Annotated[OAuth | None, Meta(description="How the bridge logs in at the url.")] = None
    enabled: Annotated[bool, Meta(description="Whether the server is available to clients.")] = True
    share: Annotated[
        Literal["", "session", "client", "principal", "server"],
        Meta(description="Process sharing; empty for the default, which depends on the protocol revision."),
    ] = ""
    era: Annotated[
        Literal["auto", "legacy", "modern", "dual"],
        Meta(description="Protocol eras that the server supports."),
    ] = "auto"
    start: Annotated[
        Literal["lazy", "eager"],
        Meta(
            description="Whether the first process starts with the daemon (eager) or at the first request (lazy)."
        ),
    ] = "lazy"
    spare: Annotated[
        int,
        Meta(
            ge=0,
            le=8,
            description="Number of warm standby processes, so that a new session need not wait for a start.",
        ),
    ] = 0
    tools: Annotated[
        dict[Literal["allow", "deny"], tuple[Text, ...]],
        Meta(
            description="Patterns of the tools that clients may see and call (allow), and of those that are hidden (deny)."
        ),
    ] = attrs.field(factory=dict[Literal["allow", "deny"], tuple[str, ...]])
    features: Annotated[
        dict[Literal["deny"], tuple[Feature, ...]],
        Meta(description="MCP capabilities that are disabled for the server and its clients."),
    ] = attrs.field(factory=dict[Literal["deny"], tuple[Feature, ...]])
    argument_bytes: Annotated[
        dict[Text, Annotated[int, Meta(ge=1, le=2**40)]],
        Meta(
            description="Bytes that the arguments of a tool may have, by pattern of tools, in place of limits.argument_bytes."
        ),
    ] = attrs.field(factory=dict[str, int])
    rates: Annotated[
        dict[Literal["principal", "server"], RateText],
        Meta(
            description="Requests that each principal (principal), and that all principals together (server), may send to the server."
        ),
    ] = attrs.field(factory=dict[Literal["principal", "server"], str])
    tool_rates: Annotated[
        dict[Text, RateText],
        Meta(description="Calls that each principal may make at the server, by pattern of tools."),
    ] = attrs.field(factory=dict[str, str])
    cwd: Annotated[
        Text,
        Meta(
            description='The working directory: an absolute path, ~ is the home directory; "client" for that of each client.'
        ),
    ] = ""
    cwd_allowed: Annotated[
        tuple[Text, ...],
        Meta(
            max_length=64,
            description='With cwd = "client": the directories that the directory of a client must be, or lie in.',
        ),
    ] = ()
    cwd_trust: Annotated[
        bool,
        Meta(
            description='With cwd = "client": whether the command may execute code that the directory of a client has.'
        ),
    ] = False
    umask: Annotated[
        str,
        Meta(
            pattern=r"^(?:0?[0-7]{3})?\Z",
            extra={"form": 'three octal digits in quotes, such as "027"'},
            description="The file mode creation mask, octal; empty for that of the daemon's login.",
        ),
    ] = ""
    rlimits: Annotated[
        dict[Literal["as", "cpu", "fsize", "nofile", "nproc"], Annotated[int, Meta(ge=0, le=2**63 - 1)]],
        Meta(description="Resource limits of each process, as in getrlimit(2): bytes, seconds or counts."),
    ] = attrs.field(factory=dict[Literal["as", "cpu", "fsize", "nofile", "nproc"], int])
    private_tmp: Annotated[
        bool, Meta(description="Whether each process gets its own TMPDIR, removed when the process exits.")
    ] = False
    sandbox: Annotated[
        Literal["basic", "landlock", "bwrap"],
        Meta(description="How far each process is confined (see SANDBOX)."),
    ] = "basic"
    sandbox_preset: Annotated[
        Preset,
        Meta(description="The well-known server whose needs are added to read, write and network."),
    ] = ""
    read: Annotated[
        tuple[Text, ...],
        Meta(
            max_length=256,
            description='With a sandbox: the paths that each process may read, absolute paths; "cwd" for the working directory.',
        ),
    ] = ()
    write: Annotated[
        tuple[Text, ...],
        Meta(max_length=256, description="With a sandbox: the paths that each process may read and change."),
    ] = ()
    connect: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=65535)], ...],
        Meta(
            max_length=64,
            description="With a sandbox: the TCP ports that each process may connect to; empty for all.",
        ),
    ] = ()
    network: Annotated[
        bool | None,
        Meta(description="Whether each process may use the network; by default yes, or as the preset needs."),
    ] = None
    env: Annotated[
        dict[str, Text], Meta(description="Environment variables; secrets belong into secrets or env_file.")
    ] = attrs.field(factory=dict[str, str])
    env_file: Annotated[Text, Meta(description="A file of KEY=VALUE lines with mode 0600.")] = ""
    pass_env: Annotated[
        tuple[Text, ...],
        Meta(description="Variables of the daemon, or @GROUP, that are passed to the server as well."),
    ] = ()
    withhold_env: Annotated[
        tuple[Text, ...],
        Meta(
            description="Variables of the daemon, or @GROUP, that are not passed although servers get them by default."
        ),
    ] = ()
    path: Annotated[
        tuple[Text, ...],
        Meta(description="Directories in front of PATH, absolute paths; ~ is the home directory."),
    ] = ()
    secrets: Annotated[
        dict[str, Text],
        Meta(description="Environment variables whose values are kept elsewhere (see SECRETS)."),
    ] = attrs.field(factory=dict[str, str])
    env_from_header: Annotated[
        dict[str, Text],
        Meta(description="Environment variables that are set from request headers of the client."),
    ] = attrs.field(factory=dict[str, str])
    env_from_header_allow: Annotated[
        tuple[
            Annotated[
                str,
                Meta(
                    pattern=r"^[A-Za-z0-9_*]{1,64}\Z",
                    extra={"form": "1 to 64 letters, digits, underscores and *"},
                ),
            ],
            ...,
        ],
        Meta(max_length=64, description="Patterns of the variables that env_from_header may set."),
    ] = ()
    pin: Annotated[
        str,
        Meta(
            pattern=r"^(?:sha256:[0-9a-f]{64})?\Z",
            extra={
                "form": "sha256: and 64 hexadecimal digits in lower case, as `mcp-bridge approve NAME` writes it"
            },
            description="The hash of what the command executes, as written by `mcp-bridge approve NAME`.",
        ),
    ] = ""
    definitions: Annotated[
        Literal["", "off", "warn", "block"],
        Meta(
            description="What happens to tools, prompts and resource templates that are not approved; empty for the value of the file."
        ),
    ] = ""
    content: Annotated[
        Content, Meta(description="Checks of the content of calls that differ from [content].")
    ] = attrs.field(factory=Content)
    limits: Annotated[
        LimitTable,
        Meta(description="Limits of this server that differ from [limits]; mcp-bridge(1) lists them."),
    ] = attrs.field(factory=dict[str, int | float])

    @property
    def words(self) -> tuple[str, ...]:
        """Return the program and all its arguments."""
        program = (self.command,) if isinstance(self.command, str) else self.command
        return (*program, *self.args)


@attrs.frozen
class OAuthStore:
    """[oauth]: where the credentials for remote servers are kept."""

    helper: Annotated[
        Text,
        Meta(
            description="A program that keeps the credentials, such as one for a keyring (see LOGINS); empty for a file of mode 0600."
        ),
    ] = ""


_DIGEST: Final = r"^(?:[0-9a-f]{64})?\Z"
_DIGEST_FORM: Final = "64 hexadecimal digits in lower case, as `mcp-bridge token new NAME` writes them"
Moment = Annotated[datetime, Meta(tz=True)]


@attrs.frozen
class Token:
    """[tokens.NAME]: a bearer token. Its name is the principal."""

    sha256: Annotated[
        str,
        Meta(
            pattern=_DIGEST,
            extra={"form": _DIGEST_FORM},
            description="The SHA-256 of the token, as written by `mcp-bridge token new NAME`.",
        ),
    ] = ""
    secret: Annotated[
        Text, Meta(description="Where the token itself is kept, in place of sha256 (see SECRETS).")
    ] = ""
    certificates: Annotated[
        tuple[Text, ...],
        Meta(
            max_length=64,
            description="Names in client certificates that are credentials for it, such as URI:spiffe://example.org/ci (see OTHER MACHINES).",
        ),
    ] = ()
    expires: Annotated[
        Moment | None, Meta(description="When the token stops being valid, such as 2027-01-31T00:00:00Z.")
    ] = None
    former: Annotated[
        str,
        Meta(
            pattern=_DIGEST,
            extra={"form": _DIGEST_FORM},
            description="The SHA-256 of the token before the last rotation, as written by `mcp-bridge token rotate NAME`.",
        ),
    ] = ""
    former_expires: Annotated[Moment | None, Meta(description="When the former token stops being valid.")] = (
        None
    )
    servers: Annotated[
        tuple[Text, ...] | None,
        Meta(
            description="The servers that the token is valid for; * for all. Without it: all, or none if aggregates is set."
        ),
    ] = None
    aggregates: Annotated[
        tuple[Text, ...] | None,
        Meta(
            description="The named aggregates that the token is valid for; * for all. Without it: all if the token is valid for all servers, otherwise none."
        ),
    ] = None
    tools: Annotated[
        dict[Literal["allow", "deny"], tuple[Text, ...]],
        Meta(
            description="Patterns of the tools that it may see and call (allow), and of those that are hidden (deny)."
        ),
    ] = attrs.field(factory=dict[Literal["allow", "deny"], tuple[str, ...]])
    features: Annotated[
        dict[Literal["deny"], tuple[Feature, ...]],
        Meta(description="MCP capabilities that are disabled for this token."),
    ] = attrs.field(factory=dict[Literal["deny"], tuple[Feature, ...]])
    metrics: Annotated[
        bool,
        Meta(description="Whether it is valid for /metrics, which is otherwise for the owner only."),
    ] = False
    methods: Annotated[
        tuple[Text, ...],
        Meta(description="Patterns of the methods whose requests it may send, such as tools/*."),
    ] = (ALL,)
    read_only: Annotated[
        bool,
        Meta(
            description="Whether it may send requests that read only, and call tools that are annotated as read-only only."
        ),
    ] = False
    rates: Annotated[
        dict[Literal["requests"], RateText],
        Meta(description="Requests that it may send to all servers together, in place of rates.principal."),
    ] = attrs.field(factory=dict[Literal["requests"], str])
    limits: Annotated[
        dict[Literal["connections", "sessions"], Annotated[int, Meta(ge=1, le=2**31)]],
        Meta(
            description="Connections, and sessions at each server, that it may have at once, in place of limits.connections_per_principal and limits.sessions_per_principal."
        ),
    ] = attrs.field(factory=dict[Literal["connections", "sessions"], int])

    @property
    def permitted_servers(self) -> tuple[str, ...]:
        """Return the servers that the token is valid for."""
        if self.servers is None:
            return (ALL,) if self.aggregates is None else ()
        return self.servers

    @property
    def permitted_aggregates(self) -> tuple[str, ...]:
        """Return the named aggregates that the token is valid for."""
        if self.aggregates is None:
            return (ALL,) if ALL in self.permitted_servers else ()
        return self.aggregates


@attrs.frozen
class Aggregate:
    """[aggregate]: several servers combined as one, at /mcp, /sse and /ws."""

    servers: Annotated[
        tuple[Text, ...], Meta(min_length=1, description="The servers of the aggregate, in this order.")
    ]
    name: Annotated[str, Meta(min_length=1, max_length=128, description="The name in serverInfo.")] = (
        DEFAULT_NAME
    )
    version: Annotated[
        str,
        Meta(max_length=128, description="The version in serverInfo; empty for the version of mcp-bridge."),
    ] = ""
    title: Annotated[str, Meta(max_length=128, description="The title in serverInfo; empty for none.")] = ""
    instructions: Annotated[
        str,
        Meta(
            max_length=65536,
            description="The instructions for the model; empty for those of the servers, joined.",
        ),
    ] = ""


@attrs.frozen
class NamedAggregate:
    """[aggregates.NAME]: several servers combined as one, at /aggregates/NAME/mcp, /sse and /ws."""

    servers: Annotated[
        tuple[Text, ...],
        Meta(min_length=1, description="The servers of the aggregate, in this order; * for all the others."),
    ]
    tools: Annotated[
        dict[Literal["allow", "deny"], tuple[Text, ...]],
        Meta(
            description="Patterns of the tools that it offers (allow), and of those that it hides (deny), as SERVER__TOOL."
        ),
    ] = attrs.field(factory=dict[Literal["allow", "deny"], tuple[str, ...]])
    rename: Annotated[
        dict[
            str,
            Annotated[
                str,
                Meta(
                    pattern=TOOL_NAME,
                    extra={"form": "1 to 128 letters, digits, underscores, dashes and dots"},
                ),
            ],
        ],
        Meta(description="New names of tools, by SERVER__TOOL."),
    ] = attrs.field(factory=dict[str, str])
    describe: Annotated[
        dict[str, Text], Meta(description="Descriptions in place of those of the servers, by SERVER__TOOL.")
    ] = attrs.field(factory=dict[str, str])
    surface: Annotated[
        Literal["all", "search"],
        Meta(
            description="Whether clients see all tools, or three tools that search, describe and call them."
        ),
    ] = "all"
    name: Annotated[str, Meta(max_length=128, description="The name in serverInfo; empty for NAME.")] = ""
    version: Annotated[
        str,
        Meta(max_length=128, description="The version in serverInfo; empty for the version of mcp-bridge."),
    ] = ""
    title: Annotated[str, Meta(max_length=128, description="The title in serverInfo; empty for none.")] = ""
    instructions: Annotated[
        str,
        Meta(
            max_length=65536,
            description="The instructions for the model; empty for those of the servers, joined.",
        ),
    ] = ""


@attrs.frozen
class File:
    """The whole file."""

    config_version: Annotated[int, Meta(ge=1, description="The version of this format.")] = VERSION
    approval: Annotated[bool, Meta(description="Whether a server without a pin is refused.")] = False
    definitions: Annotated[
        Literal["off", "warn", "block"],
        Meta(
            description="Whether changed definitions of servers are ignored (off), reported (warn) or also kept from clients (block)."
        ),
    ] = "warn"
    content: Annotated[Content, Meta(description="Checks of the content of calls at all servers.")] = (
        attrs.field(factory=Content)
    )
    listen: Annotated[Listen, Meta(description="Listen addresses and authentication.")] = attrs.field(
        factory=Listen
    )
    log: Annotated[Log, Meta(description="The log on stderr.")] = attrs.field(factory=Log)
    audit: Annotated[Audit, Meta(description="The audit log.")] = attrs.field(factory=Audit)
    metrics: Annotated[Metrics, Meta(description="Counters and latencies by server, method and tool.")] = (
        attrs.field(factory=Metrics)
    )
    traces: Annotated[Traces, Meta(description="Spans of requests for OpenTelemetry.")] = attrs.field(
        factory=Traces
    )
    admin: Annotated[Admin, Meta(description="The page at /admin.")] = attrs.field(factory=Admin)
    limits: Annotated[
        LimitTable,
        Meta(description="Limits of all servers that differ from the defaults; mcp-bridge(1) lists them."),
    ] = attrs.field(factory=dict[str, int | float])
    features: Annotated[
        dict[Literal["deny"], tuple[Feature, ...]],
        Meta(description="MCP capabilities that are disabled for all servers and their clients."),
    ] = attrs.field(factory=dict[Literal["deny"], tuple[Feature, ...]])
    rates: Annotated[
        dict[Literal["principal", "http", "sse", "websocket", "pipe", "server"], RateText],
        Meta(
            description="Requests that each principal may send in all (principal) and over each transport, and that each server gets (server)."
        ),
    ] = attrs.field(factory=dict[Literal["principal", "http", "sse", "websocket", "pipe", "server"], str])
    tool_rates: Annotated[
        dict[Text, RateText],
        Meta(description="Calls that each principal may make at each server, by pattern of tools."),
    ] = attrs.field(factory=dict[str, str])
    servers: Annotated[dict[str, Server], Meta(description="The servers by name.")] = attrs.field(
        factory=dict[str, Server]
    )
    oauth: Annotated[OAuthStore, Meta(description="Where the credentials for remote servers are kept.")] = (
        attrs.field(factory=OAuthStore)
    )
    aggregate: Annotated[Aggregate | None, Meta(description="Several servers combined as one.")] = None
    aggregates: Annotated[
        dict[str, NamedAggregate], Meta(description="Further combinations of servers, by name.")
    ] = attrs.field(factory=dict[str, NamedAggregate])
    tokens: Annotated[
        dict[str, Token], Meta(description="Additional tokens, by the name of their principal.")
    ] = attrs.field(factory=dict[str, Token])
    access_tokens: Annotated[
        AccessTokens | None, Meta(description="Access tokens of an authorization server.")
    ] = None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the file."""
    described = _portable(msgspec.json.schema(File))
    definitions: dict[str, Any] = described["$defs"]
    for cls in (
        File,
        Listen,
        Log,
        Audit,
        Metrics,
        Traces,
        Admin,
        Content,
        Server,
        OAuth,
        OAuthStore,
        Token,
        AccessTokens,
        Scope,
        Aggregate,
        NamedAggregate,
    ):
        definition = definitions[cls.__name__]
        definition["additionalProperties"] = False
    server = definitions["Server"]
    # It has a default for a remote server only, and no empty command is accepted.
    del server["properties"]["command"]["default"]
    server["oneOf"] = [{"required": ["command"]}, {"required": ["url"]}]
    for key in ("servers", "aggregates", "tokens"):
        definitions["File"]["properties"][key]["propertyNames"] = _portable({"pattern": NAME})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "mcp-bridge", **described}


def _portable(schema: dict[str, Any]) -> dict[str, Any]:
    # ECMA 262, which JSON Schema uses, has $ in place of \Z.
    portable: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema).replace(rb"\\Z", b"$"))
    return portable
