"""The shape of the configuration file: one class for each table, with the type and the description of each key.

The JSON Schema for editors and the manual page mcp-bridge.toml(5) are made of these classes.
"""

from typing import Annotated, Any, Final, Literal

import attrs
import msgspec
from msgspec import Meta

from ..log_levels import Level
from .settings import ALL

# The version of the format.
VERSION: Final = 1
# The longest name of a server or a token, in characters.
LONGEST_NAME: Final = 32
NAME: Final = rf"^[a-z0-9][a-z0-9-]{{0,{LONGEST_NAME - 1}}}\Z"
# The longest string of the file, in characters.
LONGEST_TEXT: Final = 4096
# The program and the arguments of one command together.
MOST_WORDS: Final = 256

Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
LimitTable = dict[str, int | float]
Feature = Literal[
    "tools", "resources", "prompts", "completions", "logging", "sampling", "elicitation", "roots"
]


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

    level: Annotated[Level, Meta(description="How much.")] = "info"
    format: Annotated[Literal["text", "json"], Meta(description="For people or for machines.")] = "text"
    calls: Annotated[bool, Meta(description="Whether each request of a client is told when it ends.")] = False


@attrs.frozen
class Server:
    """[servers.NAME]: one stdio server."""

    command: Annotated[
        tuple[Text, ...],
        Meta(
            min_length=1,
            max_length=MOST_WORDS,
            description="The program and its arguments; no shell reads them.",
        ),
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

    config_version: Annotated[int, Meta(ge=1, description="The version of this format.")] = VERSION
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
